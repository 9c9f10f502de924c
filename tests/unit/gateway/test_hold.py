"""Held streams: a break inside the window is made good unseen, and what is let go was not held up longer than said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trivium.gateway import hold
from trivium.ledger.record import Settled
from trivium.testing import FakeUpstream
from trivium.testing.answers import words
from trivium.types.message import Message, Text
from trivium.types.request import Request
from trivium.types.response import fold
from unit.gateway.world import CHAT, MESSAGES, World

TEXT = words(30)
ROUTES: dict[str, Any] = {
    "tokens": "hold = { tokens = 8, ms = 60000 }",
    "ms": "hold = { tokens = 1000, ms = 2000 }",
    "complete": 'hold = "complete"',
}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with FakeUpstream(time_scale=20, text=TEXT) as up:
        at = f'base_url = "{up.base_url}"\napi_key = "k"\n'
        text = f'[[providers]]\nid = "a"\n{at}[[providers]]\nid = "b"\n{at}'
        for name, rule in ROUTES.items():
            for fault in ("cut-after-3", "cut-after-20", "stall-after-3", "ok"):
                targets = f'["a/{fault}", "b/ok"]'
                text += f'[[routes]]\nname = "{name}-{fault}"\ntargets = {targets}\nrescue = "hold"\n{rule}\n'
        made = World(tmp_path, text)
        yield made
        made.close()


def begun(world: World) -> bool:
    return any(what == "begin" for what, _ in world.log)


@pytest.mark.parametrize("dialect", [CHAT, MESSAGES], ids=["passed", "translated"])
def test_a_break_within_the_window_is_unseen(world: World, dialect: Any) -> None:
    _, sink = world.ask("tokens-cut-after-3", stream=True, dialect=dialect, max_tokens=1000)
    assert fold(dialect.decoder().feed(sink.data)).text == TEXT
    assert [row.outcome for row in world.records() if isinstance(row, Settled)] == ["error", "ok"]


def test_a_break_behind_the_window_is_an_error(world: World) -> None:
    exchange, sink = world.ask("tokens-cut-after-20", stream=True, max_tokens=1000)
    assert b"upstream_cut" in sink.data
    assert b"[DONE]" not in sink.data
    assert exchange.attempts == 1


def test_a_complete_hold_gives_all_at_once_and_only_then(world: World) -> None:
    _, sink = world.ask("complete-cut-after-20", stream=True, max_tokens=1000)
    assert [what for what, _ in sink.log if what in ("begin", "chunk", "end")] == ["begin", "end"]
    assert fold(CHAT.decoder().feed(sink.data)).text == TEXT


@pytest.mark.parametrize("dialect", [CHAT, MESSAGES], ids=["passed", "translated"])
def test_after_its_time_what_is_held_is_let_go_though_nothing_comes(world: World, dialect: Any) -> None:
    exchange, sink = world.begin("ms-stall-after-3", stream=True, dialect=dialect, max_tokens=1000)
    world.until(lambda: exchange.attempt is not None and exchange.attempt.has_spoken)
    world.settle()
    world.sweep(exchange, 1.9)
    assert not begun(world)
    assert not exchange.released
    world.sweep(exchange, 0.2)
    assert exchange.released
    assert b"capital" in sink.data


def test_the_time_to_the_first_content_is_the_upstreams(world: World) -> None:
    exchange, _ = world.begin("ms-stall-after-3", stream=True)
    world.until(lambda: exchange.attempt is not None and exchange.attempt.has_spoken)
    made = exchange.attempt
    world.sweep(exchange, 3.0)
    assert made is not None
    assert made.pace[0] == 0.0


def test_a_whole_answer_is_not_held(world: World) -> None:
    _, sink = world.ask("complete-ok")
    assert [what for what, _ in sink.log if what not in ("append", "flush", "done")] == ["whole"]


def test_the_library_is_held_too(world: World) -> None:
    message = Message("user", (Text("Hello"),))
    exchange, sink = world.begin_request(Request(model="complete-cut-after-20", messages=(message,), stream=True))
    world.until(lambda: sink.over)
    events = [event for answer in sink.answers if isinstance(answer, list) for event in answer]
    assert len(sink.answers) == 1
    assert fold(events).text == TEXT
    assert exchange.attempts == 2


def test_a_caller_is_kept_company_while_it_waits(world: World) -> None:
    exchange, sink = world.begin("complete-stall-after-3", stream=True)
    world.until(lambda: exchange.attempt is not None and exchange.attempt.has_spoken)
    world.sweep(exchange, 6.0)
    assert sink.data == CHAT.keep_alive
    assert not exchange.released


def test_what_is_too_large_to_hold_is_let_go(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hold, "ANSWER_BYTES_MAX", 300)
    exchange, _ = world.begin("complete-stall-after-3", stream=True, max_tokens=1000)
    world.until(lambda: exchange.released)
    assert exchange.attempts == 1
