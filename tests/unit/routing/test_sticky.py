"""Where conversations stay, against a model of what is promised, on a virtual clock."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from trivium.routing import sticky
from trivium.routing.sticky import IDLE_S, LOOKED_BYTES_MAX, Session, Sticky, likeness
from trivium.testing.clock import Clock

SESSIONS = [Session("a", "m", "s", named=True), Session("b", "m", "s", named=True), Session("a", "m", "s", named=False)]


class StickyMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock(1000.0)
        self.table = Sticky()
        self.model: dict[Session, tuple[str, float]] = {}

    @rule(seconds=st.sampled_from([0.0, 1.0, IDLE_S / 2, IDLE_S - 0.5, IDLE_S + 1]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(session=st.sampled_from(SESSIONS), endpoint=st.sampled_from("xyz"), cached=st.booleans())
    def answer(self, session: Session, endpoint: str, cached: bool) -> None:
        now = self.clock.now()
        known = session in self.model and now - self.model[session][1] <= IDLE_S
        self.table.find(session, now)
        self.table.answered(session, endpoint, now, cached=cached)
        if session.named or cached or known:
            self.model[session] = endpoint, now

    @invariant()
    def a_session_is_where_it_was_answered_last(self) -> None:
        now = self.clock.now()
        for session in SESSIONS:
            place, at = self.model.get(session, (None, 0.0))
            assert self.table.find(session, now) == (place if now - at <= IDLE_S else None)


TestSticky = StickyMachine.TestCase
TestSticky.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)


def test_the_table_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sticky, "SESSIONS_MAX", 3)
    table = Sticky()
    for number in range(10):
        table.answered(Session("", "m", str(number), named=True), "x", 0.0, cached=False)
    assert len(table) == 3
    assert table.find(Session("", "m", "9", named=True), 0.0) == "x"
    assert table.find(Session("", "m", "0", named=True), 0.0) is None


def said(*texts: str, role: str = "system") -> bytes:
    roles = [role, "user", "assistant", "user", "assistant", "user"]
    return json.dumps([{"role": r, "content": t} for r, t in zip(roles, texts, strict=False)]).encode()


def test_the_turns_of_a_conversation_are_alike() -> None:
    first = likeness(said("Be kind.", "Hello"))
    assert first == likeness(said("Be kind.", "Hello", "Hi!", "How are you?"))
    assert first != likeness(said("Be kind.", "Good day"))
    assert first != likeness(said("Be brief.", "Hello"))
    alone = likeness(said("Hello", role="user"))
    assert alone == likeness(said("Hello", "Hi", "And?", role="user"))


def test_long_ones_too_and_nonsense_is_nobodys() -> None:
    text = "word " * LOOKED_BYTES_MAX
    assert likeness(said("Be kind.", text)) == likeness(said("Be kind.", text, "More", "and more"))
    assert likeness(b"{") == ""
    assert likeness(msgspec.json.encode({"a": 1})) == ""
