"""The Messages API: round trips, folds, slicing, and mutations that must not hurt."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

from anthropic.types import Message as SdkMessage
from anthropic.types import RawMessageStreamEvent
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from pydantic import TypeAdapter

from property.hostile import mutated, mutated_bytes, read_broken
from property.strategies import ARGUMENTS, NAMES, WORDS, pieces, requests
from trivium.dialects.anthropic_messages import DIALECT
from trivium.dialects.base import AnswerContext
from trivium.errors import InvalidRequest
from trivium.types.event import (
    End,
    Event,
    Finish,
    ReasoningDelta,
    Start,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    UsageReport,
)
from trivium.types.message import Message, Part, Reasoning, Text, ToolCall
from trivium.types.request import Request, ResponseFormat, Sampling, ToolChoice
from trivium.types.response import Choice, Response, fold
from trivium.types.usage import Usage
from trivium.wire.sse import FrameCutter, SSEParser

CONTEXT = AnswerContext(id="gen-1", model="m", created=0)
EVENTS = TypeAdapter[Any](RawMessageStreamEvent)


def expected_of(request: Request) -> tuple[Request, set[str]]:
    """What comes back of a request on this wire, and the names of what does not."""
    losses: set[str] = set()
    changes: dict[str, Any] = {"include_usage": False}
    said = request.sampling
    losses |= {name for name in ("frequency_penalty", "presence_penalty") if getattr(said, name)}
    if said.seed is not None:
        losses.add("seed")
    sampling = Sampling(temperature=said.temperature, top_p=said.top_p, top_k=said.top_k)
    if request.reasoning is not None:
        if said.temperature not in {None, 1}:
            losses.add("temperature")
            sampling = replace(sampling, temperature=None)
        if said.top_k is not None:
            losses.add("top_k")
            sampling = replace(sampling, top_k=None)
    changes["sampling"] = sampling
    if request.max_output_tokens is None:
        changes["max_output_tokens"] = 4096
    if (wanted := request.response_format) is not None:
        kept = wanted.type == "json_schema"
        changes["response_format"] = ResponseFormat(type="json_schema", schema=wanted.schema) if kept else None
        losses |= set() if kept else {"response_format"}
    if request.parallel_tools is not None:
        changes["tool_choice"] = choice = request.tool_choice or ToolChoice()
        if choice.mode == "none":
            changes["parallel_tools"] = None
    return replace(request, **changes), losses


@given(requests())
def test_requests_come_back_up_to_their_losses(request: Request) -> None:
    built = DIALECT.build_request(request)
    expected, losses = expected_of(request)
    assert DIALECT.parse_request(built.body) == expected
    assert set(built.losses) == losses


@given(requests(), NAMES, st.none() | st.booleans())
def test_passed_bytes_differ_in_model_and_stream_only(request: Request, model: str, stream: bool | None) -> None:
    body = DIALECT.build_request(request).body
    passed = json.loads(DIALECT.pass_request(body, DIALECT.peek(body), model, stream=stream))
    assert bool(passed.pop("stream", False)) == (request.stream if stream is None else stream)
    wanted = json.loads(body) | {"model": model}
    wanted.pop("stream", None)
    assert passed == wanted


counts = st.integers(0, 10**6)
usages = st.builds(
    Usage,
    input_tokens=counts,
    output_tokens=counts,
    cache_read_tokens=counts,
    cache_write_tokens=counts,
    cache_write_1h_tokens=counts,
    reasoning_tokens=counts,
)
thoughts = st.one_of(
    st.builds(Reasoning, text=WORDS, signature=NAMES, format=st.just("anthropic-claude-v1")),
    st.builds(Reasoning, encrypted=NAMES, format=st.just("anthropic-claude-v1")),
)
finishes = st.sampled_from(
    [("stop", "end_turn"), ("length", "max_tokens"), ("tool_calls", "tool_use"), ("refusal", "refusal")]
)


@st.composite
def answers(draw: st.DrawFn) -> Response:
    parts: list[Part] = draw(
        st.lists(st.one_of(thoughts, WORDS.map(Text), st.builds(ToolCall, id=NAMES, name=NAMES, arguments=ARGUMENTS)))
    )
    reason, native = draw(finishes)
    choice = Choice(
        message=Message("assistant", tuple(parts)),
        finish_reason=reason,
        native_finish_reason=native,
        stop_sequence=None,
    )
    return Response(choices=(choice,), usage=draw(usages))


def events_of(answer: Response) -> Iterator[Event]:
    """A stream that says the answer in pieces."""
    yield Start(usage=Usage(input_tokens=1))
    calls = itertools.count()
    for block, part in enumerate(answer.choices[0].message.parts):
        match part:
            case Text():
                yield from (TextDelta(text, block=block) for text in pieces(part.text))
            case Reasoning():
                yield from (ReasoningDelta(text=text, block=block) for text in pieces(part.text) if text)
                yield ReasoningDelta(
                    signature=part.signature, encrypted=part.encrypted, format=part.format, block=block
                )
            case ToolCall():
                index = next(calls)
                yield ToolCallStart(index=index, id=part.id, name=part.name)
                yield from (ToolCallDelta(index=index, arguments=text) for text in pieces(part.arguments))
            case _:
                raise AssertionError(part)
    choice = answer.choices[0]
    assert choice.finish_reason is not None
    yield Finish(reason=choice.finish_reason, native=choice.native_finish_reason)
    assert answer.usage is not None
    yield UsageReport(answer.usage)
    yield End()


def said(answer: Response) -> Response:
    return replace(answer, id="", model="")


@given(answers())
def test_an_answer_comes_back_as_it_was(answer: Response) -> None:
    built = DIALECT.encode_answer(answer, CONTEXT)
    SdkMessage.model_validate_json(built.body, strict=True)
    assert built.losses == ()
    assert said(fold(DIALECT.decode_answer(built.body))) == answer


@given(answers())
def test_a_stream_folds_to_the_same_answer(answer: Response) -> None:
    encoder = DIALECT.encoder(CONTEXT)
    stream = b"".join(encoder.encode([event]) for event in events_of(answer))
    for frame in SSEParser().feed(stream):
        assert EVENTS.validate_json(frame.data, strict=True).type == frame.event
    assert encoder.losses == ()
    assert said(fold(DIALECT.decoder().feed(stream))) == answer
    meter = DIALECT.meter(True)
    assert meter.feed(stream) == stream
    assert (meter.complete, meter.usage) == (True, answer.usage)
    assert meter.finish_reason == answer.finish_reason


@given(answers(), st.lists(st.integers(0, 10**4)))
def test_slicing_changes_nothing(answer: Response, cuts: list[int]) -> None:
    stream = DIALECT.encoder(CONTEXT).encode(events_of(answer))
    offsets = [0, *sorted(cut % len(stream) for cut in cuts), len(stream)]
    slices = [stream[start:end] for start, end in itertools.pairwise(offsets)]
    decoder, meter = DIALECT.decoder(), DIALECT.meter(True)
    assert [event for data in slices for event in decoder.feed(data)] == DIALECT.decoder().feed(stream)
    assert b"".join(map(meter.feed, slices)) == stream
    assert (meter.complete, meter.usage) == (True, answer.usage)


RICH = {
    "max_tokens": 2000,
    "messages": [
        {"role": "user", "content": "hi"},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "t", "signature": "s"},
                {"type": "text", "text": "é", "citations": [{"type": "char_location", "cited_text": "q"}]},
                {"type": "tool_use", "id": "c", "name": "f", "input": {"a": [1, {"b": None}]}},
                {"type": "server_tool_use", "id": "s", "name": "w", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "c", "content": [{"type": "text", "text": "r"}]},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
                {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "d"}},
            ],
        },
    ],
    "model": "m",
    "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
    "tools": [{"name": "f", "input_schema": {"type": "object"}}, {"type": "web_search_20260318", "name": "w"}],
    "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": True},
    "thinking": {"type": "enabled", "budget_tokens": 1500, "display": "omitted"},
    "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {}}},
    "metadata": {"user_id": "u"},
    "stop_sequences": ["x"],
    "temperature": 0.5,
    "stream": True,
    "trivium": {"strict": True},
    "models": ["a"],
}


@given(mutated(RICH))
def test_a_hostile_request_is_refused_or_passed_as_it_is(body: bytes) -> None:
    try:
        head = DIALECT.peek(body)
    except InvalidRequest:
        return
    original = json.loads(body)
    for name in ("trivium", "models"):
        original.pop(name, None)
    assert json.loads(DIALECT.pass_request(body, head, "other")) == original | {"model": "other"}


@given(mutated(RICH))
def test_a_hostile_request_is_refused_or_understood(body: bytes) -> None:
    try:
        request = DIALECT.parse_request(body)
    except InvalidRequest:
        return
    DIALECT.build_request(request)


WHOLE = DIALECT.encode_answer(
    Response(
        choices=(
            Choice(
                message=Message("assistant", (Text("é"), ToolCall(id="c", name="f", arguments='{"a":1}'))),
                finish_reason="tool_calls",
            ),
        ),
        usage=Usage(input_tokens=1, output_tokens=2),
    ),
    CONTEXT,
).body
STREAM = DIALECT.encoder(CONTEXT).encode(DIALECT.decode_answer(WHOLE))


@given(mutated_bytes(WHOLE))
def test_a_broken_answer_is_an_upstream_error(body: bytes) -> None:
    read_broken(DIALECT, body)


@given(mutated_bytes(STREAM))
def test_a_broken_stream_never_hurts(stream: bytes) -> None:
    decoder, meter = DIALECT.decoder(), DIALECT.meter(True)
    events = decoder.feed(stream) + decoder.close()
    DIALECT.encoder(CONTEXT).encode(events)
    frames = iter(FrameCutter().feed(stream))
    assert all(frame in frames for frame in FrameCutter().feed(meter.feed(stream)))  # in order, some left out
    meter.close()
