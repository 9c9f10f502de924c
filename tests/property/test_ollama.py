"""Ollama's API: round trips, folds, slicing, and mutations that must not hurt."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from ollama import ChatResponse, GenerateResponse
from ollama._types import ChatRequest, GenerateRequest

from property.hostile import mutated, mutated_bytes, read_broken
from property.strategies import ARGUMENTS, NAMES, WORDS, plain, requests
from trivium.dialects import get
from trivium.dialects.base import AnswerContext, Dialect
from trivium.errors import InvalidRequest
from trivium.types.event import (
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
from trivium.types.message import Image, Message, Part, Reasoning, Text, ToolCall, ToolResult
from trivium.types.request import Request, ResponseFormat
from trivium.types.response import Choice, Response, fold
from trivium.types.usage import Usage
from trivium.wire.ndjson import LineCutter

CHAT, PROMPT = get("ollama"), get("ollama_generate")
TYPES: dict[str, Any] = {"ollama": ChatResponse, "ollama_generate": GenerateResponse}
ASKED: dict[str, Any] = {"ollama": ChatRequest, "ollama_generate": GenerateRequest}
CONTEXT = AnswerContext(id="gen-1", model="m", created=1_790_000_000)
both = pytest.mark.parametrize("dialect", [CHAT, PROMPT], ids=lambda dialect: dialect.name)


def parts_of(request: Request) -> Iterator[tuple[Part, ...]]:
    for message in request.messages:
        results = [part.parts for part in message.parts if isinstance(part, ToolResult)]
        yield from results or [message.parts]


def expected_of(request: Request) -> tuple[Request, set[str]]:
    """What comes back of a chat on this wire, and the names of what does not."""
    losses = {"user"} if request.user else set[str]()
    contents = [[part for part in parts if isinstance(part, Text | Image)] for parts in parts_of(request)]
    said = [[part for part in parts if not (isinstance(part, Image) and part.url)] for parts in contents]
    if said != contents:
        losses.add("messages.image.url")
    if any(isinstance(part, Text) for parts in said for part in parts[1:]):
        losses.add("messages.parts")
    if request.parallel_tools is False:
        losses.add("parallel_tool_calls")
    tools, choice = request.tools, request.tool_choice.mode if request.tool_choice else "auto"
    if choice == "none" and tools:
        losses.add("tools")
        tools = ()
    if choice in {"required", "named"}:
        losses.add("tool_choice")
    if any(tool.strict for tool in tools):
        losses.add("tools.strict")
    wanted = request.response_format
    if wanted is not None and wanted.type == "json_schema":
        wanted = ResponseFormat(type="json_schema", schema=wanted.schema)
    changes: dict[str, Any] = {
        "messages": tuple(map(plain, request.messages)),
        "tools": tuple(replace(tool, strict=None) for tool in tools),
        "response_format": wanted,
        "include_usage": False,
        "tool_choice": None,
        "parallel_tools": None,
        "user": None,
    }
    return replace(request, **changes), losses


@given(requests())
def test_requests_come_back_up_to_their_losses(request: Request) -> None:
    built = CHAT.build_request(request)
    ChatRequest.model_validate_json(built.body, strict=True)
    expected, losses = expected_of(request)
    assert CHAT.parse_request(built.body) == expected
    assert set(built.losses) == losses


@given(requests(), WORDS, st.none() | WORDS)
def test_prompts_come_back(request: Request, asked: str, system: str | None) -> None:
    messages = (Message("system", (Text(system),)),) if system else ()
    request = replace(request, messages=(*messages, Message("user", (Text(asked),))), tools=(), tool_choice=None)
    built = PROMPT.build_request(request)
    GenerateRequest.model_validate_json(built.body, strict=True)
    expected, losses = expected_of(request)
    assert PROMPT.parse_request(built.body) == expected
    assert set(built.losses) == losses


@both
@given(request=requests(), model=NAMES, stream=st.none() | st.booleans(), silent=st.booleans())
def test_passed_bytes_differ_in_model_and_stream_only(
    dialect: Dialect, request: Request, model: str, stream: bool | None, silent: bool
) -> None:
    sent = json.loads(dialect.build_request(request).body) | {"prompt": "hi"}
    if silent:
        del sent["stream"]
    streams = sent.get("stream", True)
    body = json.dumps(sent).encode()
    passed = json.loads(dialect.pass_request(body, dialect.peek(body), model, stream=stream))
    assert passed.pop("stream", True) == (streams if stream is None else stream)
    wanted = sent | {"model": model}
    wanted.pop("stream", None)
    assert passed == wanted


counts = st.integers(0, 10**6)
logprobs = st.lists(
    st.fixed_dictionaries(
        {
            "token": WORDS,
            "logprob": st.floats(-9, 0),
            "bytes": st.none() | st.lists(st.integers(0, 255)),
            "top_logprobs": st.just([]),
        }
    ),
    min_size=1,
    max_size=2,
)


@st.composite
def answers(draw: st.DrawFn) -> Response:
    """What this wire can say: a thought, a text, calls."""
    parts: list[Part] = draw(st.lists(st.builds(Reasoning, text=WORDS), max_size=1))
    parts += draw(st.lists(WORDS.map(Text), max_size=1))
    calls = draw(st.lists(st.builds(ToolCall, id=NAMES, name=NAMES, arguments=ARGUMENTS), max_size=3))
    reason = draw(st.sampled_from(["length", "tool_calls" if calls else "stop"]))
    choice = Choice(
        message=Message("assistant", (*parts, *calls)),
        finish_reason=reason,
        native_finish_reason="length" if reason == "length" else "stop",
        logprobs=draw(st.none() | logprobs),
    )
    return Response(choices=(choice,), usage=draw(st.builds(Usage, input_tokens=counts, output_tokens=counts)))


def events_of(answer: Response) -> Iterator[Event]:
    """A stream that says the answer in pieces, its calls interleaved."""
    choice = answer.choices[0]
    yield Start()
    for part in choice.message.parts:
        if isinstance(part, Text):
            yield from (TextDelta(text) for text in part.text)
        elif isinstance(part, Reasoning):
            yield from (ReasoningDelta(text=text) for text in part.text)
    calls = [part for part in choice.message.parts if isinstance(part, ToolCall)]
    for index, call in enumerate(calls):
        yield ToolCallStart(index=index, id=call.id, name=call.name)
    for letters in itertools.zip_longest(*(call.arguments for call in calls), fillvalue=""):
        for index, letter in enumerate(letters):
            yield ToolCallDelta(index=index, arguments=letter)
    yield from (LogprobsDelta(content=[one]) for one in choice.logprobs or ())
    assert choice.finish_reason is not None
    yield Finish(reason=choice.finish_reason)
    assert answer.usage is not None
    yield UsageReport(answer.usage)
    yield End()


def said(answer: Response) -> Response:
    return replace(answer, model="", created=0)


@both
@given(answer=answers())
def test_an_answer_comes_back_as_it_was(dialect: Dialect, answer: Response) -> None:
    built = dialect.encode_answer(answer, CONTEXT)
    TYPES[dialect.name].model_validate_json(built.body, strict=True)
    assert built.losses == ()
    back = fold(dialect.decode_answer(built.body))
    assert (back.model, back.created) == ("m", CONTEXT.created)
    assert said(back) == answer
    passed = dialect.read_answer(built.body)
    assert (passed.usage, passed.finish_reason) == (answer.usage, answer.finish_reason)


@both
@given(answer=answers())
def test_a_stream_folds_to_the_same_answer(dialect: Dialect, answer: Response) -> None:
    encoder = dialect.encoder(CONTEXT)
    stream = b"".join(encoder.encode([event]) for event in events_of(answer))
    for line in stream.splitlines():
        TYPES[dialect.name].model_validate_json(line, strict=True)
    assert encoder.losses == ()
    assert said(fold(dialect.decoder().feed(stream))) == answer
    meter = dialect.meter(True)
    assert meter.feed(stream) == stream
    assert (meter.complete, meter.usage, meter.finish_reason) == (True, answer.usage, answer.finish_reason)


@both
@given(answer=answers(), cuts=st.lists(st.integers(0, 10**4)))
def test_slicing_changes_nothing(dialect: Dialect, answer: Response, cuts: list[int]) -> None:
    stream = dialect.encoder(CONTEXT).encode(events_of(answer))
    offsets = [0, *sorted(cut % len(stream) for cut in cuts), len(stream)]
    slices = [stream[start:end] for start, end in itertools.pairwise(offsets)]
    decoder, meter = dialect.decoder(), dialect.meter(True)
    assert [event for data in slices for event in decoder.feed(data)] == dialect.decoder().feed(stream)
    assert b"".join(map(meter.feed, slices)) == stream
    assert (meter.complete, meter.usage) == (True, answer.usage)


def test_a_stream_cut_at_any_byte_is_the_same_or_has_no_end() -> None:
    answer = Response(
        choices=(
            Choice(
                message=Message("assistant", (Text("é\n"), ToolCall(id="c", name="f", arguments='{"a":1}'))),
                finish_reason="tool_calls",
            ),
        ),
        usage=Usage(input_tokens=1, output_tokens=2),
    )
    stream = CHAT.encoder(CONTEXT).encode(events_of(answer))
    whole = CHAT.decoder().feed(stream)
    for cut in range(len(stream) + 1):
        decoder, meter = CHAT.decoder(), CHAT.meter(True)
        assert decoder.feed(stream[:cut]) + decoder.feed(stream[cut:]) == whole
        decoder = CHAT.decoder()
        ended = End() in decoder.feed(stream[:cut]) + decoder.close()
        meter.feed(stream[:cut])
        meter.close()
        assert ended == meter.complete == (cut >= len(stream) - 1)


RICH = {
    "messages": [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "hi", "images": ["iVBORw0KGgo="]},
        {
            "role": "assistant",
            "content": "é",
            "thinking": "t",
            "tool_calls": [
                {"function": {"name": "f", "arguments": {"a": [1, {"b": None}]}}},
                {"id": "c", "function": {"index": 1, "name": "g", "arguments": {}}},
            ],
        },
        {"role": "tool", "content": "r", "tool_name": "f"},
        {"role": "tool", "content": "r", "tool_call_id": "c"},
    ],
    "model": "m",
    "prompt": "p",
    "system": "s",
    "images": ["iVBORw0KGgo="],
    "tools": [{"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}],
    "format": {"type": "object"},
    "think": "low",
    "options": {"num_predict": 5, "num_ctx": 4096, "stop": ["x"], "top_k": 1.0, "temperature": 0.5},
    "keep_alive": "5m",
    "logprobs": True,
    "top_logprobs": 2,
    "stream": True,
    "trivium": {"strict": True},
    "models": ["a"],
}
hostile = mutated(RICH)


@both
@given(body=hostile)
def test_a_hostile_request_is_refused_or_passed_as_it_is(dialect: Dialect, body: bytes) -> None:
    try:
        head = dialect.peek(body)
    except InvalidRequest:
        return
    dialect.media(head.messages)
    assert head.needs is not None
    assert head.max_output_tokens is None or head.max_output_tokens > 0
    original = json.loads(body)
    for name in ("trivium", "models"):
        original.pop(name, None)
    assert json.loads(dialect.pass_request(body, head, "other")) == original | {"model": "other"}


@both
@given(body=hostile)
def test_a_hostile_request_is_refused_or_understood(dialect: Dialect, body: bytes) -> None:
    try:
        request = dialect.parse_request(body)
    except InvalidRequest:
        return
    dialect.build_request(request)


WHOLE = CHAT.encode_answer(
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
STREAM = CHAT.encoder(CONTEXT).encode(CHAT.decode_answer(WHOLE))


@given(mutated_bytes(WHOLE))
def test_a_broken_answer_is_an_upstream_error(body: bytes) -> None:
    read_broken(CHAT, body)


@given(mutated_bytes(STREAM))
def test_a_broken_stream_never_hurts(stream: bytes) -> None:
    decoder, meter = CHAT.decoder(), CHAT.meter(True)
    events = decoder.feed(stream) + decoder.close()
    CHAT.encoder(CONTEXT).encode(events)
    calls = [event for event in events if isinstance(event, ToolCallDelta)]
    assert all(isinstance(json.loads(call.arguments), dict | list | str | int | float | None) for call in calls)
    lines = iter(LineCutter().feed(stream))
    assert all(line in lines for line in LineCutter().feed(meter.feed(stream)))  # in order, some left out
    meter.close()
