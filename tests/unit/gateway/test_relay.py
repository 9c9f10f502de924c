"""Relays without sockets: what is held, released, completed, and what a caller is told that it costs."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from trivium.dialects import get as dialect_named
from trivium.dialects.base import AnswerContext, Dialect
from trivium.errors import UpstreamCut, UpstreamProtocolError
from trivium.gateway.relay import (
    Events,
    PassedAnswer,
    PassedStream,
    Relay,
    StreamTarget,
    WholeSource,
    WholeTarget,
    translated,
)
from trivium.types.event import Event, ReasoningDelta, RefusalDelta, TextDelta, ToolCallDelta
from trivium.types.response import Response
from trivium.types.usage import Usage
from trivium.wire.sse import SSEParser

CHAT = dialect_named("openai_chat")
MESSAGES = dialect_named("anthropic_messages")
GEMINI = dialect_named("gemini")
COHERE = dialect_named("cohere_v2")


class Outlet:
    """Remembers what a relay says; gives it bytes as its attempt and their connection do."""

    def __init__(self) -> None:
        self.released = b""
        self.last: bytes | None = None
        self.failed: Exception | None = None
        self.relay: Relay
        self.feed = self.on_body

    def on_body(self, data: bytes) -> None:
        self.relay.feed(data)

    def fail_of(self, error: Exception) -> None:
        self.failed = error

    def flow(self, body: Callable[[bytes], None]) -> None:
        assert self.released
        self.feed = body

    def release(self, first: bytes) -> None:
        assert not self.released
        self.released = first

    def chunk(self, data: bytes) -> None:
        assert self.released
        self.released += data

    def objects(self, events: list[Event]) -> None:
        raise AssertionError

    def complete(self, last: bytes | Response | list[Event], losses: tuple[str, ...] = ()) -> None:
        assert isinstance(last, bytes)
        self.last = last

    @property
    def events(self) -> list[Any]:
        frames = SSEParser().feed(self.released + (self.last or b""))
        return [json.loads(frame.data) for frame in frames if frame.data != b"[DONE]"]


def chat(delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any) -> bytes:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return b"data: %b\n\n" % json.dumps({"id": "c", "choices": choices, **more}).encode()


def passed(outlet: Outlet, *, wants_usage: bool = True, nanos: int | None = 1_234_567) -> PassedStream:
    outlet.relay = relay = PassedStream(outlet, CHAT, wants_usage=wants_usage, bill=lambda _: nanos)
    return relay


USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
ANSWER = [chat({"content": "Hi"}), chat({}, "stop"), chat(usage=USAGE), b"data: [DONE]\n\n"]


@pytest.mark.parametrize("together", [True, False])
def test_usage_that_was_asked_for_has_its_cost(together: bool) -> None:
    outlet = Outlet()
    passed(outlet)
    for piece in [b"".join(ANSWER)] if together else ANSWER:
        outlet.feed(piece)
    assert outlet.events[-1]["usage"] == {"cost": 0.001234567, **USAGE}
    assert b"0.001234567" in outlet.released + (outlet.last or b"")


@pytest.mark.parametrize(
    ("usage", "nanos", "shown"),
    [
        (USAGE, None, USAGE),
        ({**USAGE, "cost": 0.5}, 7, {**USAGE, "cost": 0.5}),
        (USAGE, 0, {"cost": 0.0, **USAGE}),
        (USAGE, 2_000_000_001, {"cost": 2.000000001, **USAGE}),
    ],
)
def test_a_cost_is_only_said_where_it_is_known_and_nobody_said_it(usage: Any, nanos: int | None, shown: Any) -> None:
    outlet = Outlet()
    passed(outlet, nanos=nanos)
    for piece in [*ANSWER[:2], chat(usage=usage), ANSWER[3]]:
        outlet.feed(piece)
    assert outlet.events[-1]["usage"] == shown


def test_an_answer_that_speaks_of_usage_is_not_edited() -> None:
    outlet = Outlet()
    passed(outlet)
    text = 'Write {"usage":{"a":1}} or {"usage": {"a":1}}, "thinking":"x".'
    for piece in [chat({"content": text}), *ANSWER[1:]]:
        outlet.feed(piece)
    assert outlet.events[0]["choices"][0]["delta"]["content"] == text


def test_the_last_figures_of_an_anthropic_stream_have_a_cost() -> None:
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": 3, "output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
        {"type": "message_stop"},
    ]
    outlet = Outlet()
    outlet.relay = PassedStream(outlet, MESSAGES, wants_usage=True, bill=lambda _: 5_000)
    for event in events:
        outlet.feed(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
    assert outlet.events[0] == events[0]
    assert outlet.events[4]["usage"] == {"cost": 0.000005, "output_tokens": 2}


def test_the_last_figures_of_a_stream_without_a_marker_have_a_cost() -> None:
    def chunk(text: str, usage: dict[str, Any], **end: str) -> dict[str, Any]:
        content = {"parts": [{"text": text}], "role": "model"}
        return {"candidates": [{"content": content, "index": 0, **end}], "usageMetadata": usage}

    chunks = [chunk("Hi", {"promptTokenCount": 3}), chunk("", {"promptTokenCount": 3, "x": 1}, finishReason="STOP")]
    outlet = Outlet()
    outlet.relay = PassedStream(outlet, GEMINI, wants_usage=True, bill=lambda _: 5_000)
    for piece in chunks:
        outlet.feed(f"data: {json.dumps(piece)}\n\n".encode())
    assert outlet.last is None
    outlet.relay.end()
    assert outlet.last == b""
    assert outlet.events[0] == chunks[0]
    assert outlet.events[1]["usageMetadata"] == {"cost": 0.000005, "promptTokenCount": 3, "x": 1}


def test_a_translated_stream_has_its_cost_too() -> None:
    outlet = Outlet()
    context = AnswerContext(id="gen", model="m", created=1, include_usage=True)
    relay = Events(CHAT.decoder(), StreamTarget(outlet, MESSAGES, context, lambda _: 5_000))
    for piece in ANSWER:
        relay.feed(piece)
    delta = next(event for event in outlet.events if event["type"] == "message_delta")
    assert delta["usage"]["cost"] == 0.000005
    assert relay.seen.usage is not None
    assert relay.seen.usage.cost_usd is None  # what the ledger keeps as the upstream's own word


@pytest.mark.parametrize(
    ("frame", "thinks"),
    [
        (chat({"role": "assistant", "content": ""}), False),
        (chat({"reasoning_content": None}), False),
        (chat({"reasoning_content": ""}), False),
        (chat({"reasoning_content": "Hm"}), True),
        (chat({"reasoning": "Hm"}), True),
        (b": keep-alive\n\n", False),
    ],
)
def test_thinking_is_a_sign_of_life_and_no_content(frame: bytes, thinks: bool) -> None:
    outlet = Outlet()
    relay = passed(outlet)
    outlet.feed(frame)
    assert (relay.thinking, relay.seen.content, outlet.released) == (thinks, False, b"")


def test_a_thought_of_gemini_is_one() -> None:
    outlet = Outlet()
    outlet.relay = relay = PassedStream(outlet, GEMINI, wants_usage=True, bill=lambda _: None)
    outlet.feed(b'data: {"candidates": [{"content": {"parts": [{"text": "Hm", "thought": true}]}}]}\n\n')
    assert (relay.thinking, relay.seen.content, outlet.released) == (True, False, b"")


@pytest.mark.parametrize(("plan", "thinks"), [("", False), ("I", True)])
def test_a_plan_of_cohere_is_a_thought(plan: str, thinks: bool) -> None:
    outlet = Outlet()
    outlet.relay = relay = PassedStream(outlet, COHERE, wants_usage=True, bill=lambda _: None)
    outlet.feed(b'data: {"type":"tool-plan-delta","delta":{"message":{"tool_plan":"%b"}}}\n\n' % plan.encode())
    assert (relay.thinking, relay.seen.content, outlet.released) == (thinks, False, b"")


def test_nothing_is_released_before_content_and_nothing_false_after_a_cut() -> None:
    outlet = Outlet()
    relay = passed(outlet)
    outlet.feed(chat({"role": "assistant", "content": ""}))
    assert outlet.released == b""
    outlet.feed(chat({"content": "Hi"}))
    assert outlet.released == chat({"role": "assistant", "content": ""}) + chat({"content": "Hi"})
    with pytest.raises(UpstreamCut):
        relay.end()
    assert outlet.last is None


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"choices": []}', b"\xff", b'{"choices": [{"message": {"content": "\xff"}}]}']
)
def test_a_whole_answer_that_is_none(body: bytes) -> None:
    outlet = Outlet()
    relay = PassedAnswer(outlet, CHAT)
    relay.feed(body)
    with pytest.raises(UpstreamProtocolError):
        relay.end()
    assert outlet.last is None


def test_what_continues_a_text_is_passed_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    outlet = Outlet()
    relay = passed(outlet)
    shape = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"%b"},"finish_reason":null}]}\n\n'
    frames = [shape % text for text in (b"a", b"b", b'c\\n\\"', b"d")]
    outlet.feed(frames[0])
    with monkeypatch.context() as patch:
        patch.setattr(relay, "feed", lambda data: pytest.fail(f"a closer look at {data!r}"))
        outlet.feed(frames[1])
        outlet.feed(b"".join(frames))
    assert outlet.released == frames[0] + frames[1] + b"".join(frames)
    assert relay.output_estimate == 6
    outlet.feed(frames[1][:9])
    outlet.feed(frames[1])  # not overtaken by what looks whole
    assert outlet.released.count(b"data: ") == 6
    for piece in ANSWER[1:]:
        outlet.feed(piece)
    assert outlet.last == ANSWER[-1]
    assert relay.seen.malformed == 1


def test_usage_of_a_relay_is_the_upstreams_own() -> None:
    outlet = Outlet()
    relay = passed(outlet, nanos=7)
    for piece in ANSWER:
        outlet.feed(piece)
    assert relay.seen.usage == Usage(input_tokens=3, output_tokens=2)


@pytest.mark.parametrize(
    "delta",
    [
        TextDelta("x" * 40),
        RefusalDelta("x" * 40),
        ReasoningDelta(text="x" * 40),
        ReasoningDelta(summary="x" * 40),
        ToolCallDelta(index=0, arguments="x" * 40),
    ],
    ids=lambda delta: type(delta).__name__,
)
def test_all_that_a_model_says_is_counted(delta: Event) -> None:
    source: Any = SimpleNamespace(feed=lambda _: [delta], malformed=0)
    target: Any = SimpleNamespace(add=lambda _: None, bytes_max=9)
    relay = Events(source, target)
    relay.feed(b"")
    assert relay.output_estimate == 11


def call(arguments: str, name: str | None = "f") -> dict[str, Any]:
    said = {"arguments": arguments} if name is None else {"name": name, "arguments": arguments}
    return {"tool_calls": [{"index": 0, "id": "c", "function": said}]}


HALF = ['{"path":"/', '{"a":1', "[1]", '"text"', "{}}"]


def through(caller: Dialect, stream: bool, arguments: str, finish: str) -> bytes:
    """What a caller gets of a call, by a stream or as a whole."""
    outlet = Outlet()
    context = AnswerContext(id="gen", model="m", created=1, include_usage=True)
    if stream:
        relay = Events(CHAT.decoder(), StreamTarget(outlet, caller, context, lambda _: None))
        pieces = [chat(call("")), *(chat(call(one, None)) for one in arguments), chat({}, finish), b"data: [DONE]\n\n"]
    else:
        relay = Events(WholeSource(CHAT), WholeTarget(outlet, caller, context, lambda _: None))
        choice = {"index": 0, "message": call(arguments), "finish_reason": finish}
        pieces = [json.dumps({"id": "c", "choices": [choice]}).encode()]
    for piece in pieces:
        relay.feed(piece)
    relay.end()
    return outlet.released + (outlet.last or b"")


@pytest.mark.parametrize("caller", [MESSAGES, GEMINI, COHERE], ids=lambda dialect: dialect.name)
@pytest.mark.parametrize("stream", [True, False])
class TestHalfMadeCalls:
    @pytest.mark.parametrize("finish", ["tool_calls", "stop"])
    @pytest.mark.parametrize("arguments", HALF)
    def test_a_finished_answer_has_none(self, caller: Dialect, stream: bool, arguments: str, finish: str) -> None:
        with pytest.raises(UpstreamProtocolError, match="arguments of a tool call"):
            through(caller, stream, arguments, finish)

    @pytest.mark.parametrize("arguments", ["", " ", "{}", ' {"a": {"b": "}"}}\n'])
    def test_a_whole_call_goes_on(self, caller: Dialect, stream: bool, arguments: str) -> None:
        assert b'"f"' in through(caller, stream, arguments, "tool_calls")

    def test_a_call_that_a_limit_cut_says_so(self, caller: Dialect, stream: bool) -> None:
        assert b"MAX_TOKENS" in through(caller, stream, '{"path":"/', "length").upper()


@pytest.mark.parametrize(
    "calls", [[{}], [{"function": {}}], [{"id": "c", "function": {"name": "", "arguments": "{}"}}]]
)
def test_a_call_has_a_name(calls: list[Any]) -> None:
    outlet = Outlet()
    context = AnswerContext(id="gen", model="m", created=1, include_usage=True)
    relay = Events(CHAT.decoder(), StreamTarget(outlet, MESSAGES, context, lambda _: None))
    with pytest.raises(UpstreamProtocolError, match="naming"):
        relay.feed(chat({"tool_calls": calls}))
    assert outlet.released == b""


@pytest.mark.parametrize("translates", [False, True])
def test_an_error_on_the_short_way_is_seen_to(translates: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    outlet = Outlet()
    if translates:
        target = StreamTarget(outlet, CHAT, AnswerContext(id="i", model="m", created=0), lambda _: None)
        outlet.relay = translated(outlet, CHAT.decoder(), target)
    else:
        passed(outlet)
    for _ in range(2):
        outlet.feed(ANSWER[0].replace(b'": ', b'":'))
    assert outlet.feed != outlet.on_body
    error = TypeError("a bug")

    def broken(data: bytes) -> None:
        raise error

    monkeypatch.setattr(outlet, "on_body", broken)
    outlet.feed(b"data: {}\n\n")
    assert outlet.failed is error
