"""Gemini's API: round trips, folds, slicing, and mutations that must not hurt."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

from google.genai import types as sdk
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from property.hostile import mutated, mutated_bytes, read_broken
from property.strategies import ARGUMENTS, BASE64, NAMES, WORDS, pieces, requests
from trivium.dialects import get
from trivium.dialects.base import Addressed, AnswerContext
from trivium.dialects.gemini import DIALECT
from trivium.errors import InvalidRequest, UpstreamError
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
from trivium.types.message import Citation, Message, Part, Reasoning, Text, ToolCall
from trivium.types.request import Request, ResponseFormat
from trivium.types.response import Choice, Response, fold
from trivium.types.usage import Usage
from trivium.wire.sse import FrameCutter, SSEParser

CONTEXT = AnswerContext(id="gen-1", model="m", created=0)
PATH = Addressed("m", stream=False)


def expected_of(request: Request) -> tuple[Request, set[str]]:
    """What comes back of a request on this wire, and the names of what does not."""
    losses: set[str] = set()
    changes: dict[str, Any] = {"include_usage": False, "user": None, "parallel_tools": None}
    if request.user:
        losses.add("user")
    if request.parallel_tools is False:
        losses.add("parallel_tools")
    if any(tool.strict for tool in request.tools):
        losses.add("tools.strict")
    changes["tools"] = tuple(replace(tool, strict=None) for tool in request.tools)
    if (wanted := request.response_format) is not None:
        changes["response_format"] = ResponseFormat(type=wanted.type, schema=wanted.schema)
    return replace(request, **changes), losses


@given(requests())
def test_requests_come_back_up_to_their_losses(request: Request) -> None:
    built = DIALECT.build_request(request)
    expected, losses = expected_of(request)
    assert DIALECT.parse_request(built.body, Addressed(request.model, request.stream)) == expected
    assert set(built.losses) == losses


@given(requests(), NAMES, st.none() | st.booleans())
def test_passed_bytes_stay_as_they_are(request: Request, model: str, stream: bool | None) -> None:
    body = DIALECT.build_request(request).body
    assert DIALECT.pass_request(body, DIALECT.peek(body, PATH), model, stream=stream) == body


counts = st.integers(0, 10**6)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    fresh, output = draw(counts), draw(counts)
    audio = draw(st.integers(0, fresh))
    reasoning = draw(st.integers(0, output))
    return Usage(
        input_tokens=fresh,
        output_tokens=output,
        cache_read_tokens=draw(counts),
        reasoning_tokens=reasoning,
        input_audio_tokens=audio,
        input_image_tokens=draw(st.integers(0, fresh - audio)),
        output_audio_tokens=draw(st.integers(0, output - reasoning)),
    )


FORMAT = "google-gemini-v1"
thoughts = st.one_of(
    st.builds(Reasoning, text=WORDS, signature=BASE64, format=st.just(FORMAT)),
    st.builds(Reasoning, signature=BASE64, format=st.just(FORMAT)),
)
calls = st.builds(ToolCall, id=NAMES, name=NAMES, arguments=ARGUMENTS, signature=st.none() | BASE64)
finishes = st.sampled_from(
    [("stop", "STOP"), ("length", "MAX_TOKENS"), ("content_filter", "SAFETY"), ("error", "OTHER")]
)
tokens = st.builds(
    lambda token, tops: {"token": token, "logprob": -0.5, "bytes": list(token.encode()), "top_logprobs": tops},
    WORDS,
    st.just([{"token": "a", "logprob": -1.5, "bytes": [97]}]) | st.just([]),
)


@st.composite
def cited_texts(draw: st.DrawFn) -> Text:
    text = draw(WORDS)
    spans = draw(st.lists(st.tuples(st.integers(0, len(text)), st.integers(0, len(text))), max_size=2))
    cited = [
        Citation(source="https://e.test", title="t", quote=draw(st.none() | WORDS), start=min(span), end=max(span))
        for span in spans
    ]
    return Text(text, citations=(*cited, *draw(st.just([]) | st.just([Citation(source="x")]))))


@st.composite
def answers(draw: st.DrawFn) -> Response:
    parts: list[Part] = draw(st.lists(thoughts, max_size=2))
    parts += draw(st.just([]) | cited_texts().map(lambda text: [text]))
    parts += draw(st.lists(st.one_of(calls, thoughts), max_size=3))
    reason, native = draw(finishes)
    if reason == "stop" and any(isinstance(part, ToolCall) for part in parts):
        reason = "tool_calls"
    choice = Choice(
        message=Message("assistant", tuple(parts)),
        finish_reason=reason,
        native_finish_reason=native,
        logprobs=draw(st.none() | st.lists(tokens, min_size=1, max_size=2)),
    )
    others = [replace(choice, index=1, message=Message("assistant", (Text("x"),)))] if draw(st.booleans()) else []
    if reason == "tool_calls":
        others = []
    return Response(choices=(choice, *others), usage=draw(usages()))


def events_of(answer: Response) -> Iterator[Event]:
    """A stream that says the answer in pieces."""
    yield Start(usage=Usage(input_tokens=1))
    for choice in answer.choices:
        numbers = itertools.count()
        for block, part in enumerate(choice.message.parts):
            match part:
                case Text():
                    yield from (TextDelta(text, choice.index, block) for text in pieces(part.text))
                    for citation in part.citations:
                        yield CitationDelta(citation=citation, choice=choice.index, block=block)
                case Reasoning():
                    said = [ReasoningDelta(text=text, block=block, format=FORMAT) for text in pieces(part.text) if text]
                    yield from (replace(event, choice=choice.index) for event in said)
                    yield ReasoningDelta(signature=part.signature, format=FORMAT, block=block, choice=choice.index)
                case ToolCall():
                    index = next(numbers)
                    yield ToolCallStart(
                        index=index, id=part.id, name=part.name, signature=part.signature, choice=choice.index
                    )
                    for text in pieces(part.arguments):
                        yield ToolCallDelta(index=index, arguments=text, choice=choice.index)
                case _:
                    raise AssertionError(part)
        if choice.logprobs:
            yield LogprobsDelta(content=choice.logprobs, choice=choice.index)
    for choice in answer.choices:
        assert choice.finish_reason is not None
        yield Finish(reason=choice.finish_reason, native=choice.native_finish_reason, choice=choice.index)
    assert answer.usage is not None
    yield UsageReport(answer.usage)
    yield End()


def said(answer: Response) -> Response:
    return replace(answer, id="", model="")


def decoded(stream: bytes) -> list[Event]:
    decoder = DIALECT.decoder()
    return decoder.feed(stream) + decoder.close()


@given(answers())
def test_an_answer_comes_back_as_it_was(answer: Response) -> None:
    built = DIALECT.encode_answer(answer, CONTEXT)
    sdk.GenerateContentResponse.model_validate_json(built.body)
    assert built.losses == ()
    assert said(fold(DIALECT.decode_answer(built.body))) == answer


@given(answers())
def test_a_stream_folds_to_the_same_answer(answer: Response) -> None:
    encoder = DIALECT.encoder(CONTEXT)
    stream = b"".join(encoder.encode([event]) for event in events_of(answer))
    for frame in SSEParser().feed(stream):
        sdk.GenerateContentResponse.model_validate_json(frame.data)
    assert encoder.losses == ()
    assert said(fold(decoded(stream))) == answer
    meter = DIALECT.meter(True)
    assert meter.feed(stream) == stream
    assert not meter.complete
    assert meter.close() == b""
    assert (meter.complete, meter.usage) == (True, answer.usage)


@given(answers(), st.lists(st.integers(0, 10**4)))
def test_slicing_changes_nothing(answer: Response, cuts: list[int]) -> None:
    stream = DIALECT.encoder(CONTEXT).encode(events_of(answer))
    offsets = [0, *sorted(cut % len(stream) for cut in cuts), len(stream)]
    slices = [stream[start:end] for start, end in itertools.pairwise(offsets)]
    decoder, meter = DIALECT.decoder(), DIALECT.meter(True)
    assert [event for data in slices for event in decoder.feed(data)] + decoder.close() == decoded(stream)
    assert b"".join(map(meter.feed, slices)) == stream
    meter.close()
    assert (meter.complete, meter.usage) == (True, answer.usage)


RICH = {
    "contents": [
        {"parts": [{"text": "hi"}]},
        {
            "role": "model",
            "parts": [
                {"text": "hm", "thought": True, "thoughtSignature": "c2ln"},
                {"text": "é", "thoughtSignature": "c2ln"},
                {"functionCall": {"name": "f", "args": {"a": [1, {"b": None}]}}, "thoughtSignature": "c2ln"},
                {"functionCall": {"id": "c", "name": "f"}},
                {"executableCode": {"code": "1", "language": "PYTHON"}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"name": "f", "response": {"output": "r"}}},
                {
                    "functionResponse": {
                        "id": "c",
                        "name": "f",
                        "response": {"error": {"code": 1}},
                        "parts": [{"inlineData": {"mimeType": "image/png", "data": "AAAA"}}],
                    }
                },
                {"inline_data": {"mime_type": "audio/mpeg", "data": "__-_"}, "video_metadata": {"fps": 1}},
                {"fileData": {"fileUri": "https://e.test/a.pdf"}},
            ],
        },
    ],
    "model": "models/another",
    "system_instruction": {"parts": {"text": "s"}},
    "tools": [
        {
            "functionDeclarations": [
                {
                    "name": "f",
                    "parameters": {
                        "type": "OBJECT",
                        "properties": {"a": {"type": "ARRAY", "items": {"type": "STRING"}, "nullable": True}},
                        "property_ordering": ["a"],
                    },
                },
                {"name": "g", "parametersJsonSchema": {"type": "object"}},
            ]
        },
        {"googleSearch": {}},
    ],
    "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
    "generationConfig": {
        "maxOutputTokens": 2000,
        "temperature": 0.5,
        "topK": 3.0,
        "stopSequences": ["x"],
        "candidateCount": 2,
        "responseMimeType": "application/json",
        "responseSchema": {"type": "OBJECT", "anyOf": [{"max_length": "3"}], "enum": ["a"], "format": "enum"},
        "thinkingConfig": {"thinkingBudget": 1500, "thinkingLevel": "LOW", "includeThoughts": True},
        "responseModalities": ["TEXT"],
    },
    "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
    "serviceTier": "flex",
    "trivium": {"strict": True},
    "models": ["a"],
}
hostile = mutated(RICH)


@given(hostile)
def test_a_hostile_request_is_refused_or_passed_as_it_is(body: bytes) -> None:
    try:
        head = DIALECT.peek(body, PATH)
    except InvalidRequest:
        return
    DIALECT.media(head.messages)
    original = json.loads(body)
    for name in ("trivium", "models", "model"):
        original.pop(name, None)
    assert json.loads(DIALECT.pass_request(body, head, "other")) == original


@given(hostile)
def test_a_hostile_request_is_refused_or_understood(body: bytes) -> None:
    try:
        request = DIALECT.parse_request(body, PATH)
    except InvalidRequest:
        return
    for name in ("gemini", "openai_chat", "anthropic_messages"):
        get(name).build_request(request)


def test_the_rich_request_is_understood() -> None:
    DIALECT.parse_request(json.dumps(RICH).encode(), PATH)


WHOLE = DIALECT.encode_answer(
    Response(
        choices=(
            Choice(
                message=Message(
                    "assistant",
                    (
                        Text("é", citations=(Citation(source="u", start=0, end=1),)),
                        ToolCall(id="c", name="f", arguments='{"a":1}'),
                    ),
                ),
                finish_reason="tool_calls",
                logprobs=[{"token": "a", "logprob": -1.0, "top_logprobs": []}],
            ),
        ),
        usage=Usage(input_tokens=2, output_tokens=2, input_audio_tokens=1),
    ),
    CONTEXT,
).body
STREAM = DIALECT.encoder(CONTEXT).encode(DIALECT.decode_answer(WHOLE))


@given(mutated_bytes(WHOLE))
def test_a_broken_answer_is_an_upstream_error(body: bytes) -> None:
    read_broken(DIALECT, body)
    DIALECT.decode_error(429, body)


@given(mutated_bytes(STREAM))
def test_a_broken_stream_never_hurts(stream: bytes) -> None:
    decoder, meter = DIALECT.decoder(), DIALECT.meter(True)
    events = decoder.feed(stream) + decoder.close()
    DIALECT.encoder(CONTEXT).encode(events)
    frames = iter(FrameCutter().feed(stream))
    assert all(frame in frames for frame in FrameCutter().feed(meter.feed(stream)))  # in order, some left out
    meter.close()


ERROR = json.dumps({"error": {"code": 429, "message": "m", "status": "S", "details": [{"retryDelay": "3s"}]}}).encode()


@given(mutated_bytes(ERROR), st.sampled_from([200, 400, 429, 500]))
def test_a_broken_error_is_one(body: bytes, status: int) -> None:
    assert isinstance(DIALECT.decode_error(status, body), UpstreamError)
