"""Rescue, case by case: what is asked of who goes on, what the caller is told, and when it stays an error."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from trivium.dialects import get
from trivium.errors import UpstreamCut
from trivium.gateway import kept, pipeline, rescue
from trivium.gateway.exchange import Exchange
from trivium.gateway.wish import Wish
from trivium.ledger.record import Closed, Settled
from trivium.testing import FakeUpstream
from trivium.testing.answers import words
from trivium.types import event as ev
from trivium.types.data import DataClass
from trivium.types.event import Event
from trivium.types.message import Message, Text
from trivium.types.request import Request, Sampling
from trivium.types.response import Response, fold
from unit.gateway.world import CHAT, MESSAGES, Sink, World

TEXT = words(30)
CUT = "a/cut-after-10"
SAID = words(11)[: -len(words(11).split()[-1])]
"""What the caller has of an answer that is cut after ten pieces."""


def _config(url: str, targets: list[str], more: str = "", models: str = "") -> str:
    at = f'base_url = "{url}"\napi_key = "k"\n'
    return f"""
[[providers]]
id = "a"
{at}
[[providers]]
id = "b"
capabilities = ["prefill", "tools", "json_schema", "n"]
{at}
[[providers]]
id = "c"
dialect = "anthropic_messages"
capabilities = ["prefill"]
{at}
[[providers]]
id = "v"
capabilities = ["prefill"]
quirks = ["continue_final_message"]
{at}
[[engines]]
id = "one"
model = "smollm2-135m"
[[engines]]
id = "two"
model = "smollm2-135m"
{models}
[[routes]]
name = "r"
targets = {json.dumps(targets)}
rescue_other_model = true
{more or 'rescue = "continue"'}
"""


Make = Callable[..., World]


@pytest.fixture
def up() -> Iterator[FakeUpstream]:
    with FakeUpstream(time_scale=20, text=TEXT) as server:
        yield server


@pytest.fixture
def make(up: FakeUpstream, tmp_path: Path) -> Iterator[Make]:
    made: list[World] = []

    def world(*targets: str, more: str = "", models: str = "") -> World:
        made.append(World(tmp_path, _config(up.base_url, list(targets), more, models)))
        made[-1].owner.base_url = up.base_url
        return made[-1]

    yield world
    for one in made:
        one.close()


def ask(world: World, wish: Wish | None = None, **more: Any) -> tuple[Exchange, Sink, list[Event]]:
    dialect = more.get("dialect", CHAT)
    exchange, sink = world.ask("r", wish, stream=True, **{"max_tokens": 1000, **more})
    return exchange, sink, dialect.decoder().feed(sink.data)


def outcomes(world: World) -> list[tuple[str, str]]:
    return [(row.outcome, row.error) for row in world.records() if isinstance(row, Settled)]


def closed(world: World) -> Closed:
    (row,) = [row for row in world.records() if isinstance(row, Closed)]
    return row


def asked(up: FakeUpstream, index: int = -1) -> dict[str, Any]:
    return up.requests[index].json


def whole(events: list[Event]) -> Response:
    assert sum(isinstance(event, ev.End) for event in events) == 1
    return fold(events)


def failed(sink: Sink, events: list[Event], kind: str = "upstream_cut") -> None:
    assert not any(isinstance(event, ev.End | ev.Finish) for event in events)
    assert kind.encode() in sink.data
    assert sink.log[-1][0] == "cut"


# ---- what is asked


def test_the_next_endpoint_is_given_what_was_said_and_less_to_say(make: Make, up: FakeUpstream) -> None:
    world = make(CUT, "b/ok")
    _, _, events = ask(world, max_tokens=20)
    body = asked(up)
    assert body["messages"][-1] == {"role": "assistant", "content": SAID.rstrip()}
    assert body["max_tokens"] == 9  # ten pieces and the role were events
    assert body["stream"] is True
    assert whole(events).finish_reason == "length"
    assert up.count() == 2


def test_another_dialect_is_given_the_same(make: Make, up: FakeUpstream) -> None:
    _, _, events = ask(make(CUT, "c/ok"))
    assert asked(up)["messages"][-1] == {"role": "assistant", "content": SAID.rstrip()}
    assert whole(events).text == TEXT


def test_an_answer_that_its_caller_began_stays_one_message(make: Make, up: FakeUpstream) -> None:
    world = make(CUT, "b/ok")
    begun = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Well: "}]
    ask(world, messages=begun)
    assert [message["role"] for message in asked(up)["messages"]] == ["user", "assistant"]
    said = asked(up)["messages"][-1]["content"]
    assert "".join(part["text"] for part in said) == "Well: " + SAID.rstrip()


def test_a_server_that_must_be_told_so_is_told_that_it_continues(make: Make, up: FakeUpstream) -> None:
    assert whole(ask(make(CUT, "v/ok"))[2]).text == TEXT
    assert asked(up)["continue_final_message"] is True
    assert asked(up)["add_generation_prompt"] is False
    assert "grammar" not in asked(up)


def test_our_engine_is_bound_to_repeat_what_was_cut(make: Make, up: FakeUpstream) -> None:
    world = make(CUT, "local/two", more='rescue = "auto"')
    assert whole(ask(world)[2]).text == TEXT
    assert asked(up)["grammar"] == r'root ::= " " .*'
    assert closed(world).endpoint == "local/two"


def test_an_engine_that_was_unloaded_is_asked_for_once_more(make: Make, up: FakeUpstream) -> None:
    world = make(CUT, "local/two", more='rescue = "auto"')
    world.owner.base_url = "http://127.0.0.1:1/v1"
    exchange, sink = world.begin("r", stream=True)
    world.until(lambda: ("error", "upstream_unreachable") in outcomes(world))
    world.owner.base_url = up.base_url
    world.until(lambda: sink.over)
    assert exchange.attempts == 3
    assert world.owner.asked == 2


# ---- what the caller gets


def test_the_seam_and_the_sum_stand_in_the_last_chunk(make: Make) -> None:
    prices = "".join(f'[[models]]\nid = "{name}"\nprice = {{ input = 1.0, output = 10.0 }}\n' for name in (CUT, "b/ok"))
    world = make(CUT, "b/ok", models=prices)
    exchange, sink, events = ask(world, stream_options={"include_usage": True})
    last = json.loads(sink.data.split(b"\n\n")[-3].removeprefix(b"data: "))
    seam = {"offset": len(SAID), "mode": "continue", "before": CUT, "after": "b/ok", "reason": "upstream_cut"}
    assert last["trivium"] == {"rescue": [seam]}
    assert sink.data.count(b'"trivium"') == 1
    rows = [row for row in world.records() if isinstance(row, Settled)]
    assert last["usage"]["completion_tokens"] == sum(row.output_tokens for row in rows)
    assert last["usage"]["prompt_tokens"] == sum(row.input_tokens for row in rows)
    assert last["usage"]["cost"] * 1e9 == pytest.approx(exchange.total_cost_nanos)
    assert closed(world).cost_nanos == sum(row.cost_nanos or 0 for row in rows)
    assert len({json.loads(line[6:])["id"] for line in sink.data.split(b"\n\n") if line.startswith(b"data: {")}) == 1
    assert whole(events).text == TEXT


def test_without_usage_the_seam_stands_where_the_answer_finishes(make: Make) -> None:
    _, sink, _ = ask(make(CUT, "b/ok"))
    last = json.loads(sink.data.split(b"\n\n")[-3].removeprefix(b"data: "))
    assert last["choices"][0]["finish_reason"] == "stop"
    assert last["trivium"]["rescue"][0]["after"] == "b/ok"


def test_the_ledger_tells_who_went_on(make: Make) -> None:
    world = make("c/cut-after-10", "b/ok")
    ask(world, dialect=MESSAGES)
    assert outcomes(world)[0] == ("error_midstream", "upstream_cut")
    assert (
        closed(world).fallback == f"c broke off; b/ok went on (continue) behind character {len(SAID)} of c/cut-after-10"
    )
    assert (closed(world).status, closed(world).attempts) == (200, 2)


def test_an_error_in_the_stream_is_rescued(make: Make) -> None:
    world = make("a/error-midstream-10", "b/ok")
    assert whole(ask(world)[2]).text == TEXT
    assert outcomes(world)[0][1] == "upstream_overloaded"


def test_a_stall_is_rescued(make: Make) -> None:
    world = make("a/stall-after-10", "b/ok", more='rescue = "continue"\ntimeouts = { idle = "5s" }')
    exchange, sink = world.begin("r", stream=True, max_tokens=1000)
    world.until(lambda: exchange.released)
    world.settle()
    world.sweep(exchange, 0.1)
    world.sweep(exchange, 6.0)
    world.until(lambda: sink.over)
    assert whole(CHAT.decoder().feed(sink.data)).text == TEXT


def test_who_goes_on_may_break_off_too(make: Make, up: FakeUpstream) -> None:
    world = make(CUT, "b/cut-after-10", "c/ok")
    _, sink, events = ask(world)
    assert whole(events).text == TEXT
    assert outcomes(world)[:2] == [("error_midstream", "upstream_cut")] * 2
    said = asked(up)["messages"][-1]["content"]
    assert TEXT.startswith(said)
    assert len(said) > len(SAID)
    (told,) = [json.loads(line[6:])["trivium"] for line in sink.data.split(b"\n\n") if b'"trivium"' in line]
    assert [seam["after"] for seam in told["rescue"]] == ["b/cut-after-10", "c/ok"]


def test_the_library_sees_the_seam_as_an_event(make: Make) -> None:
    world = make(CUT, "b/ok")
    request = Request(model="r", messages=(Message("user", (Text("Hello"),)),), stream=True)
    _, sink = world.begin_request(request)
    world.until(lambda: sink.over)
    events = [event for answer in sink.answers if isinstance(answer, list) for event in answer]
    (seam,) = [event for event in events if isinstance(event, ev.Seam)]
    assert seam == ev.Seam(offset=len(SAID), mode="continue", before=CUT, after="b/ok", reason="upstream_cut")
    assert whole(events).text == TEXT
    assert "".join(event.text for event in events[: events.index(seam)] if isinstance(event, ev.TextDelta)) == SAID


@pytest.mark.parametrize("stop", ["Paris. The capital of France", "France is Paris. The capital of"])
def test_a_stop_sequence_over_the_seam_ends_the_answer(make: Make, stop: str) -> None:
    """It has begun before the cut; the fake upstream heeds no stops of its own."""
    world = make("a/cut-after-6", "b/ok")
    said = "The capital of France is Paris. "
    assert TEXT.startswith(said)
    exchange, sink, events = ask(world, stop=[stop])
    answer = whole(events)
    assert answer.text == said
    assert answer.finish_reason == "stop"
    assert exchange.closed
    assert outcomes(world)[-1] == ("ok", "")
    assert sink.log[-1][0] in ("end", "done")


def test_a_stop_sequence_that_only_seemed_to_begin_costs_nothing(make: Make) -> None:
    _, _, events = ask(make("a/cut-after-6", "b/ok"), stop=["Paris. The cat", "nothing"])
    assert whole(events).text == TEXT


# ---- when it stays an error


def test_a_refused_prefill_never_replaces_the_first_error(make: Make) -> None:
    world = make(CUT, "b/400")
    exchange, sink, events = ask(world)
    failed(sink, events)
    assert outcomes(world) == [("error_midstream", "upstream_cut"), ("error", "upstream_rejected")]
    assert (closed(world).error, closed(world).status) == ("upstream_cut", 502)
    assert exchange.id.encode() in sink.data.splitlines()[-2]


def test_who_refuses_is_followed_by_the_next(make: Make) -> None:
    world = make(CUT, "b/400", "b/503", "c/ok")
    assert whole(ask(world)[2]).text == TEXT
    assert [outcome for outcome, _ in outcomes(world)] == ["error_midstream", "error", "error", "ok"]


def test_two_answers_are_never_joined(make: Make) -> None:
    world = make(CUT, "b/echo", more='rescue = "restart"')
    _, sink, events = ask(world, temperature=0)
    failed(sink, events)
    assert fold(events).text == SAID
    assert outcomes(world)[-1] == ("error", "upstream_differs")


def test_a_shorter_answer_is_another_one(make: Make) -> None:
    world = make(CUT, "b/ok", more='rescue = "restart"')
    _, sink, events = ask(world, temperature=0, max_tokens=5)
    failed(sink, events)
    assert outcomes(world)[-1] == ("error", "upstream_differs")


def test_an_answer_is_paid_for_once_more_and_not_twice(make: Make, up: FakeUpstream) -> None:
    world = make(CUT, "b/cut-after-12", "b/ok", more='rescue = "restart"')
    _, sink, events = ask(world, temperature=0)
    failed(sink, events)
    assert up.count() == 2


@pytest.mark.parametrize(
    "more",
    [
        {"tools": [{"type": "function", "function": {"name": "look", "parameters": {}}}]},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "string"}}}},
        {"n": 2},
        {"grammar": "root ::= .*"},
    ],
    ids=["tools", "json", "n", "grammar"],
)
def test_what_cannot_be_continued_is_not(make: Make, up: FakeUpstream, more: dict[str, Any]) -> None:
    capable = f'[[models]]\nid = "{CUT}"\ncapabilities = ["tools", "json_schema", "n"]\n'
    world = make(CUT, "b/ok", models=capable)
    exchange, sink = world.ask("r", stream=True, **more)
    assert up.count() <= 2
    assert b"[DONE]" not in sink.data or up.count() == 1
    if exchange.attempts == 1:
        assert closed(world).error in ("upstream_cut", "")


def test_thoughts_that_were_said_are_not_continued(make: Make, up: FakeUpstream) -> None:
    world = make("a/reasoning+cut-after-12", "b/ok")
    _, sink, events = ask(world)
    failed(sink, events)
    assert up.count() == 1


def test_a_tool_call_is_repeated_by_a_restart(make: Make) -> None:
    properties = {"city": {"type": "string"}}
    look = {"name": "look", "parameters": {"type": "object", "properties": properties}}
    tools = [{"type": "function", "function": look}]
    capable = '[[models]]\nid = "a/tool+cut-after-1"\ncapabilities = ["tools"]\n'
    world = make("a/tool+cut-after-1", "b/tool", more='rescue = "restart"', models=capable)
    _, sink, events = ask(world, tools=tools, temperature=0)
    (call,) = whole(events).tool_calls
    assert (call.name, json.loads(call.arguments)) == ("look", {"city": "Paris"})
    assert sink.data.count(b'"name":"look"') == 1


def test_the_data_class_holds_for_who_goes_on(make: Make, up: FakeUpstream) -> None:
    world = make(CUT, "b/ok", models="")
    _, sink, events = ask(world, Wish(data_class=DataClass.ANY))
    assert whole(events).text == TEXT
    exchange, sink = world.begin("r", Wish(data_class=DataClass.PREMISES), stream=True)
    world.until(lambda: sink.over)
    assert exchange.attempts == 0
    assert up.count() == 2


def _opened(world: World) -> None:
    """The breaker of `b/503`, whose failures count for nobody else."""
    for _ in range(5):
        world.ask("b/503")


def test_an_open_breaker_is_passed_over(make: Make, up: FakeUpstream) -> None:
    world = make(CUT, "b/503", "c/ok")
    _opened(world)
    before = up.count(model="503")
    _, _, events = ask(world)
    assert whole(events).text == TEXT
    assert up.count(model="503") == before


def test_who_is_behind_a_breaker_that_has_opened_since_must_be_able_to_go_on_too(make: Make, up: FakeUpstream) -> None:
    world = make("a/stall-after-10", "b/503", "a/ok", more='rescue = "continue"\ntimeouts = { idle = "5s" }')
    exchange, sink = world.begin("r", stream=True, max_tokens=1000)
    world.until(lambda: exchange.released)
    _opened(world)
    before = up.count(model="503")
    world.sweep(exchange, 0.1)
    world.sweep(exchange, 6.0)
    world.until(lambda: sink.over)
    assert b"upstream_timeout" in sink.data
    assert up.count(model="ok") == 0
    assert up.count(model="503") == before


def test_a_rescue_counts_as_an_attempt(make: Make, up: FakeUpstream) -> None:
    world = make(CUT, "b/ok", more='rescue = "continue"\nattempts = 1')
    _, sink, events = ask(world)
    failed(sink, events)
    assert up.count() == 1


def test_without_time_left_there_is_no_rescue(make: Make, up: FakeUpstream) -> None:
    world = make("a/stall-after-10", "b/ok", more='rescue = "continue"\ntimeouts = { idle = "60s", total = "5s" }')
    exchange, sink = world.begin("r", stream=True)
    world.until(lambda: exchange.released)
    world.sweep(exchange, 6.0)
    world.until(lambda: sink.over)
    assert up.count() == 1
    assert b"upstream_timeout" in sink.data


def test_an_answer_that_had_finished_is_not_gone_on_with(make: Make, up: FakeUpstream) -> None:
    world = make("a/rst-after-10", "b/ok")
    exchange, _ = world.begin("r", stream=True)
    world.until(lambda: exchange.released)
    assert exchange.attempt is not None
    bytes_ = exchange.attempt.kept
    assert bytes_ is not None
    bytes_(b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n')
    assert not rescue.begin(exchange, exchange.attempt, UpstreamCut("x"))
    pipeline.caller_gone(exchange)


def test_a_caller_who_leaves_during_a_rescue_stops_it(make: Make, up: FakeUpstream) -> None:
    world = make(CUT, "b/stall-after-3")
    exchange, _ = world.begin("r", stream=True, max_tokens=1000)
    world.until(lambda: exchange.rescue is not None and exchange.rescue.offset > len(SAID))
    pipeline.caller_gone(exchange)
    up.wait_until(lambda: not up.busy)
    world.settle()
    assert outcomes(world) == [("error_midstream", "upstream_cut"), ("aborted_by_client", "client_closed_request")]
    assert closed(world).error == "client_closed_request"


def test_nothing_is_kept_where_nobody_goes_on(make: Make) -> None:
    world = make("a/stall-after-10", "b/ok", more='rescue = "auto"')
    exchange, _ = world.begin("r", stream=True)
    world.until(lambda: exchange.released)
    assert exchange.attempt is not None
    assert exchange.attempt.kept is None


def test_what_is_too_long_to_keep_is_not_rescued(make: Make, up: FakeUpstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "KEPT_BYTES_MAX", 500)
    _, sink, events = ask(make(CUT, "b/ok"))
    failed(sink, events)
    assert up.count() == 1


def test_an_answer_with_a_broken_frame_is_not_rescued(make: Make, up: FakeUpstream) -> None:
    """Nobody knows what its caller has made of it."""
    remembers = kept.Kept(lambda _: None)
    remembers(b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\ndata: {broken\n\n')
    assert remembers.events(CHAT.decoder()) == []
    assert up.count() == 0


def test_a_slow_caller_is_not_read_ahead_of_by_who_goes_on(make: Make) -> None:
    world = make(CUT, "b/stall-after-3")
    exchange, _ = world.begin("r", stream=True, max_tokens=1000)
    world.until(lambda: exchange.rescue is not None)
    exchange.on_caller_writable(writable=False)
    world.until(lambda: exchange.attempt is not None and exchange.attempt.relay is not None)
    connection = exchange.attempt.connection if exchange.attempt else None
    assert connection is not None
    assert connection._paused  # pyright: ignore[reportPrivateUsage]
    pipeline.caller_gone(exchange)


def test_a_responses_stream_goes_on_in_the_item_that_was_open(up: FakeUpstream, make: Make) -> None:
    responses = get("openai_responses")
    rows = f'[[providers]]\nid = "s"\ndialect = "openai_responses"\nbase_url = "{up.base_url}"\napi_key = "k"\n'
    world = make("s/cut-after-10", "b/ok", models=rows)
    request = Request(
        model="r", messages=(Message("user", (Text("Hello"),)),), stream=True, sampling=Sampling(temperature=0)
    )
    _, sink = world.begin_raw(responses.build_request(request).body, None, responses)
    world.until(lambda: sink.over)
    frames = [json.loads(line[6:]) for line in sink.data.splitlines() if line.startswith(b"data: ")]
    assert [frame["sequence_number"] for frame in frames] == list(range(len(frames)))
    assert len({frame["item_id"] for frame in frames if "item_id" in frame}) == 1
    assert len({frame["response"]["id"] for frame in frames if "response" in frame}) == 1
    assert frames[-1]["type"] == "response.completed"
    assert frames[-1]["response"]["output"][0]["content"][0]["text"] == TEXT


def test_a_caller_is_kept_company_while_somebody_gets_ready_to_go_on(make: Make) -> None:
    world = make(CUT, "local/two", more='rescue = "auto"')
    world.owner.base_url = None
    exchange, sink = world.begin("r", stream=True)
    world.clock += 100.0  # it has been silent for no longer than since it broke off
    world.until(lambda: exchange.rescue is not None)
    before = sink.data
    world.sweep(exchange, 1.0)
    assert sink.data == before
    world.sweep(exchange, 9.5)
    assert sink.data == before + CHAT.keep_alive
    pipeline.caller_gone(exchange)


def test_a_request_that_was_passed_unread_and_cannot_be_read_ends_with_its_own_error(make: Make) -> None:
    world = make(CUT, "b/ok")
    odd = [{"role": "user", "content": "Hello"}, {"role": "nobody", "content": "?"}]
    _, sink, events = ask(world, messages=odd)
    failed(sink, events)
    assert closed(world).error == "upstream_cut"
