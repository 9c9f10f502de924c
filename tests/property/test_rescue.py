"""The seam of a rescued answer, however two endpoints cut their texts: nothing is missing, nothing is said twice."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivium.catalog.rows import Endpoint, Provider
from trivium.errors import UpstreamCut, UpstreamDiffers
from trivium.gateway.rescue import Rescue
from trivium.gateway.seam import Seamed, slot_of
from trivium.types import event as ev
from trivium.types.data import DataClass
from trivium.types.event import Event
from trivium.types.message import Message, Text
from trivium.types.request import Request
from trivium.types.usage import Usage

ENDPOINT = Endpoint(
    id="a/x",
    provider=Provider(id="a"),
    model="x",
    price=None,
    context=None,
    max_output=None,
    capabilities=frozenset(),
    ceiling=DataClass.ANY,
    weights="w",
)
TEXTS = st.text("ab #\n", min_size=1, max_size=40)


class Collected:
    """A target that remembers."""

    bytes_max = 1.0

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.finished = 0

    def add(self, events: list[Event]) -> None:
        assert not self.finished
        self.events += events

    def finish(self) -> None:
        self.finished += 1

    def text(self, choice: int = 0) -> str:
        return "".join(e.text for e in self.events if isinstance(e, ev.TextDelta) and e.choice == choice)


@st.composite
def slices(draw: st.DrawFn, text: str) -> list[str]:
    cuts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=6)))
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def broken(events: list[Event], stop: tuple[str, ...] = ()) -> tuple[Rescue, Any]:
    """An answer that broke off after these events, and the attempt that goes on: what a seam asks of one."""
    attempt: Any = SimpleNamespace(
        endpoint=ENDPOINT,
        relay=None,
        pace=(0.0, 0.0),
        exchange=SimpleNamespace(usage=Usage(input_tokens=3, output_tokens=4), fallback=""),
        bill=lambda usage: None,
        used=lambda outcome: Usage(input_tokens=5, output_tokens=6, estimated=True),
    )
    request = Request(model="x", messages=(Message("user", (Text("Hello"),)),), stop=stop)
    return Rescue(UpstreamCut("x"), attempt, request, events), attempt


def go_on(rescue: Rescue, attempt: Any, batches: list[list[Event]]) -> Collected:
    inner = Collected()
    seamed = Seamed(rescue, attempt, cast("Any", inner))
    seamed.add([ev.Start(id="other")])
    for batch in batches:
        seamed.add(batch)
        if inner.finished:
            return inner
    seamed.finish()
    return inner


def deltas(texts: list[str], choice: int = 0) -> list[Event]:
    return [ev.TextDelta(text, choice) for text in texts]


@given(TEXTS, TEXTS, st.data())
def test_a_restart_that_says_the_same_is_joined_without_a_gap(said: str, rest: str, data: st.DataObject) -> None:
    rescue, attempt = broken(deltas(data.draw(slices(said))))
    rescue.take("restart")
    again = deltas(data.draw(slices(said + rest)))
    inner = go_on(rescue, attempt, [[event] for event in again] + [[ev.Finish(reason="stop")]])
    assert inner.text() == rest
    (seam,) = [event for event in inner.events if isinstance(event, ev.Seam)]
    assert seam.offset == len(said)
    assert inner.events[0] == seam
    assert rescue.text == said + rest
    assert inner.finished == 1


@given(TEXTS, TEXTS, st.data())
def test_a_restart_that_says_anything_else_says_nothing(said: str, other: str, data: st.DataObject) -> None:
    rescue, attempt = broken(deltas([said]))
    rescue.take("restart")
    batches: list[list[Event]] = [[event] for event in deltas(data.draw(slices(other)))]
    batches.append([ev.Finish(reason="stop")])
    if other.startswith(said):
        assert go_on(rescue, attempt, batches).text() == other[len(said) :]
    else:
        with pytest.raises(UpstreamDiffers):
            go_on(rescue, attempt, batches)
        assert rescue.text == said


@given(TEXTS, TEXTS, st.data())
def test_a_continuation_repeats_what_was_cut_and_no_more(said: str, rest: str, data: st.DataObject) -> None:
    rescue, attempt = broken(deltas(data.draw(slices(said))))
    asked = rescue.asked(rescue._request, ENDPOINT)  # pyright: ignore[reportPrivateUsage]
    given_ = asked.messages[-1].text if asked.messages[-1].role == "assistant" else ""
    assert said.startswith(given_)
    whole = said[len(given_) :] if said.strip() else ""  # blanks alone are nothing that must be repeated
    inner = go_on(rescue, attempt, [deltas(data.draw(slices(whole + rest)))])
    assert inner.text() == rest
    assert rescue.text == said + rest


@given(TEXTS, TEXTS, st.text("ab#", min_size=1, max_size=4), st.data())
def test_a_stop_sequence_over_the_seam_ends_the_answer_before_its_rest(
    said: str, rest: str, stop: str, data: st.DataObject
) -> None:
    """One inside the continuation is the upstream's to find, who has been told of it."""
    if stop in said or stop in rest or not said.strip():
        return
    rescue, attempt = broken(deltas([said]), (stop,))
    cut = said[rescue.cut(ENDPOINT) :]
    inner = go_on(rescue, attempt, [deltas(data.draw(slices(cut + rest))), [ev.Finish(reason="length")]])
    (finish,) = [event for event in inner.events if isinstance(event, ev.Finish)]
    if stop in said + rest:
        assert (finish.reason, finish.stop_sequence, inner.text()) == ("stop", stop, "")
    else:
        assert (finish.reason, inner.text()) == ("length", rest)
    assert inner.finished == 1


@given(st.lists(TEXTS, min_size=2, max_size=3), TEXTS, st.data())
def test_choices_and_calls_are_each_repeated_by_themselves(said: list[str], rest: str, data: st.DataObject) -> None:
    first: list[Event] = [event for number, text in enumerate(said) for event in deltas([text], number)]
    call: list[Event] = [
        ev.ToolCallStart(index=0, id="one", name="look", choice=9),
        ev.ToolCallDelta(index=0, arguments='{"a', choice=9),
    ]
    rescue, attempt = broken(first + call)
    rescue.take("restart")
    again: list[list[Event]] = [
        deltas(data.draw(slices(text + rest)), number) for number, text in reversed(list(enumerate(said)))
    ]
    again.append([ev.ToolCallStart(index=0, id="two", name="look", choice=9)])
    again.append([ev.ToolCallDelta(index=0, arguments='{"a":1}', choice=9)])
    inner = go_on(rescue, attempt, again)
    assert [inner.text(number) for number in range(len(said))] == [rest] * len(said)
    assert [e for e in inner.events if isinstance(e, ev.ToolCallStart)] == []
    assert [e.arguments for e in inner.events if isinstance(e, ev.ToolCallDelta)] == ['":1}']


def test_usage_is_the_sum_and_an_estimate_where_none_was_told() -> None:
    rescue, attempt = broken(deltas(["so"]))
    told = go_on(rescue, attempt, [[ev.TextDelta(" it")], [ev.UsageReport(Usage(input_tokens=1, output_tokens=2))]])
    assert told.events[-1] == ev.UsageReport(Usage(input_tokens=4, output_tokens=6, requests=2))
    rescue, attempt = broken(deltas(["so"]))
    silent = go_on(rescue, attempt, [[ev.TextDelta(" it")]])
    assert silent.events[-1] == ev.UsageReport(Usage(input_tokens=8, output_tokens=10, requests=2, estimated=True))


def test_sealed_thoughts_are_no_text() -> None:
    assert slot_of(ev.ReasoningDelta(text="a", signature="s")) is None
    assert slot_of(ev.CitationDelta(citation=cast("Any", None))) is None


def test_a_longer_thought_before_the_text_is_another_answer() -> None:
    said: list[Event] = [ev.ReasoningDelta(text="so"), ev.TextDelta("it is")]
    rescue, attempt = broken(said)
    rescue.take("restart")
    with pytest.raises(UpstreamDiffers):
        go_on(rescue, attempt, [[ev.ReasoningDelta(text="so much")], [ev.TextDelta("it is so")]])
