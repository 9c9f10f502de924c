"""Rescue over every cut point of a stream, in each mode: whoever asks gets one whole answer, or an error and no end.

In the process, with real sockets to the fake upstream: callers of all dialects and of the library, passed and
translated.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from trivium.dialects import get
from trivium.dialects.base import Addressed
from trivium.gateway.exchange import Exchange
from trivium.gateway.wish import Wish
from trivium.ledger.record import Closed, Reserved, Settled
from trivium.testing import FakeUpstream
from trivium.testing.answers import words
from trivium.types import event as ev
from trivium.types.event import Event
from trivium.types.message import Message, Text
from trivium.types.request import Request, Sampling
from trivium.types.response import Response, fold
from unit.gateway.world import Sink, World

POINTS = range(65)
PIECES = 70
TEXT = words(PIECES)
MODES = ("continue", "restart", "hold", "complete", "terminate")
WIRES = ("openai_chat", "anthropic_messages", "openai_responses", "gemini", "cohere_v2", "ollama")


class Pair(NamedTuple):
    """Who asks, in which dialect or in the library, and in which the endpoint speaks that breaks off."""

    caller: str
    broken: str

    @property
    def passed(self) -> bool:
        return self.caller == self.broken


PAIRS = [
    Pair("openai_chat", "openai_chat"),
    Pair("anthropic_messages", "anthropic_messages"),
    Pair("openai_responses", "openai_responses"),
    Pair("openai_chat", "anthropic_messages"),
    Pair("anthropic_messages", "openai_chat"),
    Pair("openai_responses", "openai_chat"),
    Pair("library", "openai_chat"),
]
MORE = [
    *(Pair(name, name) for name in ("gemini", "cohere_v2", "ollama")),
    Pair("gemini", "anthropic_messages"),
    Pair("cohere_v2", "openai_chat"),
    Pair("ollama", "anthropic_messages"),
    Pair("openrouter", "openai_chat"),
    Pair("library", "anthropic_messages"),
]
ALL = [*PAIRS, *(pytest.param(pair, marks=pytest.mark.long) for pair in MORE)]
SURE, SPENT = 16, 41
"""Pieces that are within a window of 40 tokens by any count, and beyond it; between them counts differ."""


def _config(url: str, origin: str) -> str:
    at = dict.fromkeys(WIRES, url) | {"gemini": f"{origin}/v1beta", "ollama": origin, "cohere_v2": f"{origin}/v2"}
    rows = [
        f'[[providers]]\nid = "{name.replace("_", "-")}"\ndialect = "{name}"\nbase_url = "{at[name]}"\napi_key = "k"\n'
        for name in WIRES
    ]
    rows.append(f'[[providers]]\nid = "next"\nbase_url = "{url}"\napi_key = "k"\ncapabilities = ["prefill"]\n')
    rows.append('[[models]]\nid = "next/ok"\nweights = "w"\nprice = { input = 3.0, output = 5.0 }\n')
    for name in WIRES:
        for point in POINTS:
            broken = f"{name.replace('_', '-')}/cut-after-{point}"
            rows.append(f'[[models]]\nid = "{broken}"\nweights = "w"\nprice = {{ input = 1.0, output = 2.0 }}\n')
            for mode in MODES:
                rescue = {"complete": 'rescue = "hold"\nhold = "complete"'}.get(mode, f'rescue = "{mode}"')
                rows.append(
                    f'[[routes]]\nname = "{mode}-{name}-{point}"\ntargets = ["{broken}", "next/ok"]\n'
                    f"{rescue}\nbreaker = {{ failures = 1000000 }}\n"
                )
    return "\n".join(rows)


@pytest.fixture(scope="module")
def up() -> Iterator[FakeUpstream]:
    with FakeUpstream(time_scale=20, text=TEXT) as server:
        yield server


@pytest.fixture(scope="module")
def world(up: FakeUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder: Path = tmp_path_factory.mktemp("rescue")
    made = World(folder, _config(up.base_url, up.origin))
    yield made
    made.close()


def _ask(world: World, pair: Pair, route: str) -> tuple[Exchange, Sink]:
    message = Message("user", (Text("Hello"),))
    request = Request(
        model=route,
        messages=(message,),
        max_output_tokens=10_000,
        sampling=Sampling(temperature=0),
        stream=True,
        include_usage=True,
    )
    if pair.caller == "library":
        exchange, sink = world.begin_request(request)
    else:
        dialect = get(pair.caller)
        body = dialect.build_request(request).body
        wish = _addressed(pair.caller, route)
        exchange, sink = world.begin_raw(body, wish, dialect)
    world.until(lambda: sink.over)
    return exchange, sink


def _addressed(caller: str, route: str) -> Wish:
    return Wish(addressed=Addressed(route, stream=True)) if caller == "gemini" else Wish()


def _events(pair: Pair, sink: Sink) -> list[Event]:
    if pair.caller == "library":
        return [event for answer in sink.answers if isinstance(answer, list) for event in answer]
    decoder = get("openai_chat" if pair.caller == "openrouter" else pair.caller).decoder()
    events = decoder.feed(sink.data) + decoder.close()
    assert not decoder.malformed
    return events


def _rows(world: World, exchange: Exchange) -> tuple[list[Reserved], list[Settled], Closed]:
    own = [record for record in world.new_records() if record.id == exchange.id]
    closed = [record for record in own if isinstance(record, Closed)]
    assert len(closed) == 1
    reserved = [record for record in own if isinstance(record, Reserved)]
    return reserved, [record for record in own if isinstance(record, Settled)], closed[0]


def _seams(events: list[Event]) -> list[ev.Seam]:
    return [event for event in events if isinstance(event, ev.Seam)]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("pair", ALL, ids="-from-".join)
def test_every_cut_point(world: World, up: FakeUpstream, mode: str, pair: Pair) -> None:
    world.clock += 1000.0  # what failed in other tests is forgotten
    for point in POINTS:
        if mode == "hold" and SURE < point < SPENT:
            continue
        exchange, sink = _ask(world, pair, f"{mode}-{pair.broken}-{point}")
        events = _events(pair, sink)
        answer = fold(events)
        reserved, settled, closed = _rows(world, exchange)
        where = (point, sink.data[-600:], settled, closed)
        safe = point and (mode == "terminate" or (mode == "hold" and point >= SPENT))
        if safe:
            assert not any(isinstance(event, ev.End) for event in events), where
            assert closed.error == "upstream_cut", where
            assert settled[-1].outcome == "error_midstream", where
            continue
        assert sum(isinstance(event, ev.End) for event in events) == 1, where
        assert answer.text == TEXT, where
        assert answer.finish_reason == "stop", where
        assert (closed.error, closed.endpoint) == ("", "next/ok"), where
        assert [row.outcome for row in settled][-1] == "ok", where
        assert len(reserved) == len(settled) == 2, where
        seamed = point and mode in ("continue", "restart")
        assert settled[0].outcome == ("error_midstream" if seamed else "error"), where
        if seamed:
            _check_figures(exchange, answer, settled, closed)
            _check_seam(pair, sink, events, closed, mode, point)
    assert up.busy == 0


def _check_figures(exchange: Exchange, answer: Response, settled: list[Settled], closed: Closed) -> None:
    assert answer.usage is not None
    assert answer.usage.output_tokens == sum(row.output_tokens for row in settled)
    assert answer.usage.prompt_tokens == sum(row.input_tokens for row in settled)
    costs = [row.cost_nanos for row in settled]
    assert closed.cost_nanos == sum(cost for cost in costs if cost is not None)
    assert exchange.total_cost_nanos == closed.cost_nanos


def _check_seam(pair: Pair, sink: Sink, events: list[Event], closed: Closed, mode: str, point: int) -> None:
    offset = len("".join(TEXT.split(" ")[:point])) + point
    assert f"next/ok went on ({mode}) behind character {offset} of " in closed.fallback
    if pair.caller == "library":
        (seam,) = _seams(events)
        assert (seam.offset, seam.mode, seam.after, seam.reason) == (offset, mode, "next/ok", "upstream_cut")
    if pair.caller in ("openai_chat", "openrouter"):
        assert sink.data.count(b'"trivium":{"rescue":[{"offset":%d,' % offset) == 1
