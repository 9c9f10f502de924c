"""The Chat API of Cohere: round trips, folds, slicing, and mutations that must not hurt."""

from __future__ import annotations

import itertools
import json
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

from cohere.v2.types.v2chat_response import V2ChatResponse
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from cohere_help import check_request, check_strictly, stream_event
from property.hostile import mutated, mutated_bytes, mutated_values, read_broken
from property.strategies import ARGUMENTS, NAMES, WORDS, pieces, requests
from trivium.dialects import get
from trivium.dialects.base import AnswerContext
from trivium.dialects.cohere_v2.build import STOPS_MAX
from trivium.errors import InvalidRequest, UpstreamProtocolError
from trivium.types.event import (
    CitationDelta,
    End,
    Event,
    Finish,
    LogprobsDelta,
    ReasoningDelta,
    Start,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    UsageReport,
)
from trivium.types.message import Citation, File, Message, Part, Reasoning, Text, ToolCall
from trivium.types.request import ReasoningOptions, Request, ResponseFormat, ToolChoice
from trivium.types.response import Choice, Response, fold
from trivium.types.usage import Usage
from trivium.wire.sse import FrameCutter, SSEParser

DIALECT = get("cohere_v2")
CONTEXT = AnswerContext(id="gen-1", model="m", created=0)


def clamped(request: Request, losses: set[str]) -> Any:
    ranges = {"temperature": 1, "top_p": 0.99, "top_k": 500, "frequency_penalty": 1, "presence_penalty": 1}
    changes: dict[str, Any] = {}
    for name, most in ranges.items():
        least = 0.01 if name == "top_p" else 0
        value = getattr(request.sampling, name)
        if value is not None and not least <= value <= most:
            losses.add(name)
            changes[name] = min(max(value, least), most)
    return replace(request.sampling, **changes)


def expected_of(request: Request) -> tuple[Request, set[str]]:
    """What comes back of a request on this wire, and the names of what does not."""
    losses: set[str] = set()
    changes: dict[str, Any] = {"include_usage": False, "parallel_tools": None, "user": None}
    changes["sampling"] = clamped(request, losses)
    losses |= {"user"} if request.user else set()
    losses |= {"parallel_tool_calls"} if request.parallel_tools is False else set()
    tools, choice = request.tools, request.tool_choice
    if choice is not None and choice.mode == "named":
        named = tuple(tool for tool in tools if tool.name == choice.name)
        losses |= {"tools" if named else "tool_choice.name"} if named != tools else set()
        tools = named or tools
        choice = ToolChoice("required")
    changes["tool_choice"] = None if choice == ToolChoice("auto") else choice
    wanted = {tool.strict for tool in tools}
    if len(wanted) > 1:
        losses |= {"tools.strict"} if True in wanted else set()
        tools = tuple(replace(tool, strict=None) for tool in tools)
    changes["tools"] = tuple(replace(tool, parameters=tool.parameters or {"type": "object"}) for tool in tools)
    if (form := request.response_format) is not None:
        changes["response_format"] = ResponseFormat(type=form.type, schema=form.schema)
    if request.reasoning is not None:
        losses |= {"reasoning.effort"} if request.reasoning.effort != "medium" else set()
        changes["reasoning"] = ReasoningOptions(effort="medium")
    return replace(request, **changes), losses


@given(requests())
def test_requests_come_back_up_to_their_losses(request: Request) -> None:
    built = DIALECT.build_request(request)
    check_request(built.body)
    expected, losses = expected_of(request)
    assert DIALECT.parse_request(built.body) == expected
    assert set(built.losses) == losses


def encoded(text: str) -> str:
    return b64encode(text.encode()).decode()


plans = WORDS.map(lambda text: Reasoning(text=text, format="cohere-tool-plan"))
thoughts = WORDS.map(lambda text: Reasoning(text=text))
documents = st.one_of(
    st.builds(File, data=WORDS.map(encoded), media_type=st.just("text/plain"), name=st.none() | NAMES),
    st.builds(
        File,
        data=st.sampled_from(['{"title":"t","date":"now"}', '{"a":1}', '{"text":["x"]}']).map(encoded),
        media_type=st.just("application/json"),
        name=st.none() | NAMES,
    ),
)


@st.composite
def cited(draw: st.DrawFn) -> Text:
    text = draw(WORDS)
    start, end = sorted(draw(st.tuples(*[st.integers(0, len(text))] * 2)))
    made = st.builds(
        Citation, source=NAMES, title=st.none() | WORDS, quote=st.none() | WORDS, start=st.just(start), end=st.just(end)
    )
    return Text(text, citations=tuple(draw(st.lists(made, max_size=2))))


@given(
    st.lists(plans, max_size=1),
    st.lists(st.one_of(thoughts, cited()), min_size=1),
    st.lists(documents),
    st.sampled_from(["none", "medium"]),
)
def test_what_is_its_own_comes_back(plan: list[Part], said: list[Part], files: list[Part], effort: Any) -> None:
    messages = (Message("assistant", (*plan, *said)), Message("user", (*files, Text("q"))))
    extra = {"citation_options": {"mode": "FAST"}, "safety_mode": "STRICT", "priority": 3}
    request = Request(model="m", messages=messages, reasoning=ReasoningOptions(effort=effort), extra=extra)
    built = DIALECT.build_request(request)
    check_request(built.body)
    assert built.losses == ()
    assert DIALECT.parse_request(built.body) == request


@given(requests(), NAMES, st.none() | st.booleans())
def test_passed_bytes_differ_in_model_and_stream_only(request: Request, model: str, stream: bool | None) -> None:
    body = DIALECT.build_request(request).body
    passed = json.loads(DIALECT.pass_request(body, DIALECT.peek(body), model, stream=stream))
    assert bool(passed.pop("stream", False)) == (request.stream if stream is None else stream)
    wanted = json.loads(body) | {"model": model}
    wanted.pop("stream", None)
    assert passed == wanted


counts = st.integers(0, 10**6)
usages = st.builds(Usage, input_tokens=counts, output_tokens=counts, cache_read_tokens=counts)
finishes = st.sampled_from(
    [("stop", "COMPLETE"), ("stop", "STOP_SEQUENCE"), ("length", "MAX_TOKENS"), ("tool_calls", "TOOL_CALL")]
)
logprobs = st.lists(
    st.builds(
        lambda token, logprob: {
            "token": token,
            "logprob": logprob,
            "bytes": list(token.encode()),
            "top_logprobs": [],
        },
        WORDS,
        st.floats(-100, 0),
    ),
    min_size=1,
    max_size=2,
)


@st.composite
def answers(draw: st.DrawFn) -> Response:
    """A plan at most, then thinking and texts, then calls."""
    parts: list[Part] = [
        *draw(st.lists(plans, max_size=1)),
        *draw(st.lists(st.one_of(thoughts, cited()))),
        *draw(st.lists(st.builds(ToolCall, id=NAMES, name=NAMES, arguments=ARGUMENTS))),
    ]
    reason, native = draw(finishes)
    choice = Choice(
        message=Message("assistant", tuple(parts)),
        finish_reason=reason,
        native_finish_reason=native,
        logprobs=draw(st.none() | logprobs) if any(isinstance(part, Text) for part in parts) else None,
    )
    return Response(choices=(choice,), usage=draw(usages))


def events_of(answer: Response) -> Iterator[Event]:
    """A stream that says the answer in pieces."""
    yield Start()
    calls = itertools.count()
    choice = answer.choices[0]
    logprobs = list(choice.logprobs or ())
    for block, part in enumerate(choice.message.parts):
        match part:
            case Text():
                yield from (TextDelta(text, block=block) for text in pieces(part.text))
                yield from (CitationDelta(citation=citation, block=block) for citation in part.citations)
                if logprobs:
                    yield LogprobsDelta(content=logprobs)
                    logprobs = []
            case Reasoning():
                yield from (ReasoningDelta(text=text, format=part.format, block=block) for text in pieces(part.text))
            case ToolCall():
                index = next(calls)
                yield ToolCallStart(index=index, id=part.id, name=part.name)
                yield from (ToolCallDelta(index=index, arguments=text) for text in pieces(part.arguments))
            case _:
                raise AssertionError(part)
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
    check_strictly(V2ChatResponse, json.loads(built.body), beyond=("cost",))
    assert built.losses == ()
    assert said(fold(DIALECT.decode_answer(built.body))) == answer


@given(answers())
def test_a_stream_folds_to_the_same_answer(answer: Response) -> None:
    encoder = DIALECT.encoder(CONTEXT)
    stream = b"".join(encoder.encode([event]) for event in events_of(answer))
    frames = SSEParser().feed(stream)
    assert [stream_event(frame.data).type for frame in frames] == [frame.event for frame in frames]
    assert encoder.losses == ()
    assert said(fold(DIALECT.decoder().feed(stream))) == answer
    meter = DIALECT.meter(True)
    assert meter.feed(stream) == stream
    assert (meter.complete, meter.usage, meter.close()) == (True, answer.usage, b"")
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
        {"role": "system", "content": [{"type": "text", "text": "s"}]},
        {"role": "user", "content": "hi"},
        {
            "role": "assistant",
            "tool_plan": "p",
            "content": [{"type": "thinking", "thinking": "t"}, {"type": "text", "text": "é"}],
            "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}],
            "citations": [
                {
                    "start": 0,
                    "end": 1,
                    "text": "é",
                    "sources": [{"type": "document", "id": "d", "document": {"title": "t", "snippet": "s"}}],
                    "content_index": 1,
                    "type": "TEXT_CONTENT",
                }
            ],
        },
        {
            "role": "tool",
            "tool_call_id": "c",
            "content": [{"type": "document", "document": {"data": {"a": 1}, "id": "1"}}, {"type": "text", "text": "r"}],
        },
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "q"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}},
            ],
        },
    ],
    "model": "m",
    "documents": ["d", {"id": "1", "data": {"title": "t", "snippet": "s"}}],
    "tools": [{"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}],
    "tool_choice": "REQUIRED",
    "strict_tools": True,
    "thinking": {"type": "enabled", "token_budget": 1500},
    "response_format": {"type": "json_object", "json_schema": {"type": "object"}},
    "citation_options": {"mode": "FAST"},
    "stop_sequences": ["x"],
    "temperature": 0.5,
    "p": 0.9,
    "k": 3,
    "seed": 5,
    "frequency_penalty": 0.1,
    "logprobs": True,
    "stream": True,
    "trivium": {"strict": True},
    "models": ["a"],
}
hostile = mutated(RICH)


@given(hostile)
def test_a_hostile_request_is_refused_or_passed_as_it_is(body: bytes) -> None:
    try:
        head = DIALECT.peek(body)
    except InvalidRequest:
        return
    original = json.loads(body)
    for name in ("trivium", "models"):
        original.pop(name, None)
    assert json.loads(DIALECT.pass_request(body, head, "other")) == original | {"model": "other"}


@given(hostile)
def test_a_hostile_request_is_refused_or_understood(body: bytes) -> None:
    try:
        request = DIALECT.parse_request(body)
    except InvalidRequest:
        return
    built = DIALECT.build_request(request)
    check_request(built.body)
    again = DIALECT.parse_request(built.body)
    assert [message.text for message in again.messages if message.text] == [
        message.text for message in request.messages if message.text
    ]
    assert len(again.stop) <= STOPS_MAX


WHOLE = DIALECT.encode_answer(
    Response(
        choices=(
            Choice(
                message=Message(
                    "assistant",
                    (
                        Reasoning(text="t"),
                        Text("é", citations=(Citation(source="d", title="t", quote="q", start=0, end=1),)),
                        ToolCall(id="c", name="f", arguments='{"a":1}'),
                    ),
                ),
                finish_reason="tool_calls",
                logprobs=[{"token": "é", "logprob": -0.5, "bytes": [195, 169], "top_logprobs": []}],
            ),
        ),
        usage=Usage(input_tokens=1, output_tokens=2),
    ),
    CONTEXT,
).body
STREAM = DIALECT.encoder(CONTEXT).encode(DIALECT.decode_answer(WHOLE))


@given(st.one_of(mutated_bytes(WHOLE), mutated_values(json.loads(WHOLE))))
def test_a_broken_answer_is_an_upstream_error(body: bytes) -> None:
    read_broken(DIALECT, body)


def frames_of(data: bytes) -> list[Any]:
    return [json.loads(frame.data) for frame in SSEParser().feed(data)]


@st.composite
def mutated_streams(draw: st.DrawFn) -> bytes:
    """A stream with one event left out, said twice, or with any value in it replaced by any other."""
    events = frames_of(STREAM)
    index = draw(st.integers(0, len(events) - 1))
    kind = draw(st.sampled_from(["drop", "twice", "mutate"]))
    if kind == "drop":
        del events[index]
    elif kind == "twice":
        events.insert(draw(st.integers(0, len(events))), events[index])
    else:
        events[index] = json.loads(draw(mutated_values(events[index])))
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)


def test_every_offset_cuts_alike() -> None:
    whole = DIALECT.decoder().feed(STREAM)
    for offset in range(len(STREAM)):
        decoder, meter = DIALECT.decoder(), DIALECT.meter(True)
        halves = STREAM[:offset], STREAM[offset:]
        assert [event for half in halves for event in decoder.feed(half)] == whole
        assert b"".join(map(meter.feed, halves)) == STREAM
        assert meter.complete


@given(st.one_of(mutated_bytes(STREAM), mutated_streams()))
def test_a_broken_stream_never_hurts(stream: bytes) -> None:
    decoder, meter = DIALECT.decoder(), DIALECT.meter(True)
    try:
        events = decoder.feed(stream) + decoder.close()
    except UpstreamProtocolError:
        events = []
    calls = {event.index for event in events if isinstance(event, ToolCallStart)}
    assert all(event.index in calls for event in events if isinstance(event, ToolCallDelta))
    whole = bool(events) and isinstance(events[-1], End) and fold(events).finish_reason != "length"
    assert all(call.name and call.id and (call.arguments or not whole) for call in fold(events).tool_calls)
    DIALECT.encoder(CONTEXT).encode(events)
    frames = iter(FrameCutter().feed(stream))
    assert all(frame in frames for frame in FrameCutter().feed(meter.feed(stream)))  # in order, some left out
    assert meter.complete or meter.close() == b""
