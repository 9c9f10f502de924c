"""The Responses API: round trips, folds, slicing, and mutations that must not hurt."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from openai.types.responses import Response as SdkResponse
from openai.types.responses import ResponseStreamEvent
from openai.types.responses.response_create_params import (
    ResponseCreateParamsNonStreaming,
    ResponseCreateParamsStreaming,
)

from property.hostile import mutated, mutated_bytes, mutated_values, read_broken
from property.strategies import ARGUMENTS, NAMES, WORDS, pieces, requests
from sdk_types import judge
from trivium.dialects.base import AnswerContext, TextSource
from trivium.dialects.openai_responses import DIALECT
from trivium.errors import InvalidRequest
from trivium.types.event import (
    CitationDelta,
    End,
    Event,
    Finish,
    LogprobsDelta,
    ReasoningDelta,
    RefusalDelta,
    Start,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    UsageReport,
)
from trivium.types.message import Citation, Message, Part, Reasoning, Refusal, Text, ToolCall
from trivium.types.request import Request
from trivium.types.response import Choice, Response, fold
from trivium.types.usage import Usage
from trivium.wire.sse import FrameCutter, SSEParser

CONTEXT = AnswerContext(id="gen-1", model="m", created=5)
FORMAT = "openai-responses-v1"
BODIES = {False: ResponseCreateParamsNonStreaming, True: ResponseCreateParamsStreaming}
for each in (SdkResponse, ResponseStreamEvent, *BODIES.values()):
    judge(each)  # made here, since the first example would take too long


def judged(kind: Any, wire: dict[str, Any]) -> None:
    """By the SDK's types, which know neither what an answer costs nor the bytes of a token while it is streamed."""
    (wire.get("response", wire).get("usage") or {}).pop("cost", None)
    for entry in wire.get("logprobs", ()):
        for token in (entry, *entry["top_logprobs"]):
            token.pop("bytes")
    judge(kind).validate_json(json.dumps(wire), strict=True)


def expected_of(request: Request) -> tuple[Request, set[str]]:
    """What comes back of a request on this wire, and the names of what does not."""
    said, gone = request.sampling, ("top_k", "seed", "frequency_penalty", "presence_penalty")
    losses = {name for name in gone if getattr(said, name) is not None and (name in gone[:2] or getattr(said, name))}
    changes: dict[str, Any] = {"include_usage": False, "sampling": replace(said, **dict.fromkeys(gone))}
    if request.stop:
        losses.add("stop")
        changes["stop"] = ()
    if request.max_output_tokens is not None and request.max_output_tokens < 16:
        losses.add("max_output_tokens")
        changes["max_output_tokens"] = 16
    changes["tools"] = tuple(replace(tool, strict=tool.strict is True) for tool in request.tools)
    return replace(request, **changes), losses


@given(requests())
def test_requests_come_back_up_to_their_losses(request: Request) -> None:
    built = DIALECT.build_request(request)
    judge(BODIES[request.stream]).validate_json(built.body)
    expected, losses = expected_of(request)
    assert DIALECT.parse_request(built.body) == expected
    assert set(built.losses) == losses


@given(requests())
def test_the_first_look_agrees_with_the_whole(request: Request) -> None:
    head = DIALECT.peek(DIALECT.build_request(request).body)
    assert (head.model, head.stream, head.wants_usage) == (request.model, request.stream, True)
    assert ("tools" in head.needs) == bool(request.tools)
    assert head.needs - {"tools"} == ({request.response_format.type} if request.response_format else set())


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
    output_tokens=st.integers(1000, 10**6),
    cache_read_tokens=counts,
    cache_write_tokens=counts,
    reasoning_tokens=st.integers(0, 1000),
    cost_usd=st.none() | st.floats(0, 10),
)
thoughts = st.one_of(
    st.builds(Reasoning, text=WORDS, summary=st.none() | WORDS, format=st.just(FORMAT)),
    st.builds(Reasoning, summary=WORDS, encrypted=NAMES, format=st.just(FORMAT)),
)
citations = st.builds(Citation, source=NAMES, title=NAMES, start=st.just(0), end=st.just(1))
texts = st.builds(Text, WORDS, citations=st.lists(citations, max_size=2).map(tuple))
tokens = st.fixed_dictionaries({"token": NAMES, "logprob": st.floats(-9, 0)})


def logprob(entry: dict[str, Any]) -> dict[str, Any]:
    return {"token": entry["token"], "bytes": list(entry["token"].encode()), "logprob": entry["logprob"]}


@st.composite
def answers(draw: st.DrawFn) -> Response:
    """Thoughts have ids of their own, as they must."""
    drawn = draw(
        st.lists(st.one_of(thoughts, texts, st.builds(ToolCall, id=NAMES, name=NAMES, arguments=ARGUMENTS)), min_size=1)
    )
    parts: list[Part] = [
        replace(part, id=f"rs_{index}") if isinstance(part, Reasoning) else part for index, part in enumerate(drawn)
    ]
    if draw(st.booleans()):
        parts.append(Refusal(draw(WORDS)))
    calls = any(isinstance(part, ToolCall) for part in parts)
    reason, native = draw(
        st.sampled_from(
            [
                ("tool_calls" if calls else "stop", "completed"),
                ("length", "max_output_tokens"),
                ("content_filter", "content_filter"),
            ]
        )
    )
    said = draw(st.lists(tokens, max_size=2)) if any(isinstance(part, Text) for part in parts) else []
    choice = Choice(
        message=Message("assistant", tuple(parts)),
        finish_reason=reason,  # type: ignore[arg-type]
        native_finish_reason=native,
        logprobs=[logprob(entry) | {"top_logprobs": [logprob(entry)]} for entry in said] or None,
    )
    return Response(choices=(choice,), usage=draw(usages), created=5)


def events_of(answer: Response) -> Iterator[Event]:
    """A stream that says the answer in pieces."""
    yield Start(usage=Usage(input_tokens=1))
    choice, calls = answer.choices[0], itertools.count()
    logprobs = choice.logprobs
    for block, part in enumerate(choice.message.parts):
        match part:
            case Text():
                yield from (TextDelta(text, block=block) for text in pieces(part.text))
                yield from (CitationDelta(citation=citation, block=block) for citation in part.citations)
                if logprobs:
                    yield from (LogprobsDelta(content=[entry]) for entry in logprobs)
                    logprobs = None
            case Refusal():
                yield from (RefusalDelta(text) for text in pieces(part.text))
            case Reasoning():
                yield ReasoningDelta(id=part.id, format=part.format, block=block)
                yield from (ReasoningDelta(text=text, block=block) for text in pieces(part.text) if text)
                yield from (ReasoningDelta(summary=text, block=block) for text in pieces(part.summary or "") if text)
                yield ReasoningDelta(encrypted=part.encrypted, block=block)
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
    judged(SdkResponse, json.loads(built.body))
    assert built.losses == ()
    assert said(fold(DIALECT.decode_answer(built.body))) == answer
    seen = DIALECT.read_answer(built.body)
    assert (seen.usage, seen.finish_reason) == (answer.usage, answer.finish_reason)


@given(answers())
def test_a_stream_folds_to_the_same_answer(answer: Response) -> None:
    encoder = DIALECT.encoder(CONTEXT)
    stream = b"".join(encoder.encode([event]) for event in events_of(answer))
    frames = SSEParser().feed(stream)
    for number, frame in enumerate(frames):
        event = json.loads(frame.data)
        assert (event["type"], event["sequence_number"]) == (frame.event, number)
        judged(ResponseStreamEvent, event)
    assert encoder.losses == ()
    assert said(fold(DIALECT.decoder().feed(stream))) == answer
    last, whole = json.loads(frames[-1].data)["response"], json.loads(DIALECT.encode_answer(answer, CONTEXT).body)
    for wire in (last, whole):
        for item in wire["output"]:
            for part in item.get("content") or ():
                part.pop("logprobs", None)  # a whole answer has them all on its first text
    assert last == whole
    meter = DIALECT.meter(True)
    assert meter.feed(stream) == stream
    assert (meter.complete, meter.usage, meter.finish_reason) == (True, answer.usage, answer.finish_reason)


@given(answers(), st.lists(st.integers(0, 10**4)))
def test_slicing_changes_nothing(answer: Response, cuts: list[int]) -> None:
    stream = DIALECT.encoder(CONTEXT).encode(events_of(answer))
    offsets = [0, *sorted(cut % len(stream) for cut in cuts), len(stream)]
    slices = [stream[start:end] for start, end in itertools.pairwise(offsets)]
    decoder, meter = DIALECT.decoder(), DIALECT.meter(True)
    assert [event for data in slices for event in decoder.feed(data)] == DIALECT.decoder().feed(stream)
    assert b"".join(map(meter.feed, slices)) == stream
    assert (meter.complete, meter.usage) == (True, answer.usage)


@given(answers(), st.integers(1, 3), st.booleans())
def test_what_goes_by_unread_is_what_would_be_read(answer: Response, at_once: int, ascii_only: bool) -> None:
    """Reads of some frames each, of which those that only continue a text are neither decoded nor looked at."""
    stream = DIALECT.encoder(CONTEXT).encode(events_of(answer))
    if ascii_only:
        stream = "".join(f"\\u{ord(c):04x}" if "\x7f" < c < "\ud800" else c for c in stream.decode()).encode()
    frames = FrameCutter().feed(stream)
    decoder, meter = DIALECT.decoder(), DIALECT.meter(True)
    assert isinstance(decoder, TextSource)
    events: list[Event] = []
    for number in range(0, len(frames), at_once):
        data = b"".join(frames[number : number + at_once])
        found, place = decoder.texts(data), decoder.place
        if found and place is not None:
            events += [TextDelta(json.loads(b'"%b"' % text), *place) for text in found]
            assert meter.ordinary(data) == len(found)
        else:
            events += decoder.feed(data)
            assert meter.feed(data) == data
    assert fold(events) == fold(DIALECT.decoder().feed(stream))
    assert (meter.complete, meter.usage) == (True, answer.usage)


def test_every_single_cut() -> None:
    parts = (Reasoning(summary="é", id="rs_1", format=FORMAT), Text("Zürich"), ToolCall(id="c", name="f"))
    choice = Choice(message=Message("assistant", parts), finish_reason="tool_calls", native_finish_reason="completed")
    stream = DIALECT.encoder(CONTEXT).encode(events_of(Response(choices=(choice,), usage=Usage(output_tokens=1))))
    expected = DIALECT.decoder().feed(stream)
    for cut in range(len(stream)):
        decoder = DIALECT.decoder()
        assert decoder.feed(stream[:cut]) + decoder.feed(stream[cut:]) == expected


RICH = {
    "input": [
        {"role": "developer", "content": "d"},
        {
            "type": "message",
            "role": "user",
            "content": [
                {"type": "input_text", "text": "é", "prompt_cache_breakpoint": {"mode": "explicit"}},
                {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "low"},
                {"type": "input_file", "file_data": "data:application/pdf;base64,AAAA", "filename": "a.pdf"},
                {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
            ],
        },
        {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": "t"}], "encrypted_content": "e"},
        {
            "type": "message",
            "id": "msg",
            "role": "assistant",
            "status": "completed",
            "content": [
                {"type": "output_text", "text": "so", "annotations": [{"type": "url_citation", "url": "u"}]},
                {"type": "refusal", "refusal": "no"},
            ],
        },
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}", "namespace": "n"},
        {"type": "custom_tool_call", "call_id": "k", "name": "apply_patch", "input": "*** Begin"},
        {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "r"}]},
        {"type": "custom_tool_call_output", "call_id": "k", "output": "ok"},
        {"type": "web_search_call", "id": "w", "status": "completed"},
        {"type": "additional_tools", "role": "developer", "tools": [{"type": "function", "name": "g"}]},
    ],
    "model": "m",
    "instructions": "i",
    "tools": [
        {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": False, "defer_loading": True},
        {"type": "custom", "name": "apply_patch", "format": {"type": "grammar", "syntax": "lark", "definition": "x"}},
        {"type": "namespace", "name": "n", "description": "d", "tools": [{"type": "function", "name": "f"}]},
        {"type": "web_search"},
    ],
    "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
    "reasoning": {"effort": "low", "summary": "auto", "context": "auto"},
    "text": {"format": {"type": "json_schema", "name": "a", "schema": {}, "strict": True}, "verbosity": "low"},
    "include": ["reasoning.encrypted_content", "message.output_text.logprobs"],
    "max_output_tokens": 100,
    "metadata": {"a": "b"},
    "previous_response_id": "r",
    "prompt_cache_key": "k",
    "safety_identifier": "s",
    "store": False,
    "stream_options": {"include_obfuscation": False},
    "top_logprobs": 2,
    "temperature": 0.5,
    "truncation": "auto",
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
    DIALECT.media(head.messages)


@given(hostile)
def test_a_hostile_request_is_refused_or_understood(body: bytes) -> None:
    try:
        request = DIALECT.parse_request(body)
    except InvalidRequest:
        return
    DIALECT.build_request(request)
    encoder = DIALECT.encoder(replace(CONTEXT, request=request))
    events = [ToolCallStart(index=i, id=str(i), name=tool.name) for i, tool in enumerate(request.tools)]
    encoder.encode([Start(), *events, Finish(reason="tool_calls"), End()])


WHOLE = DIALECT.encode_answer(
    Response(
        choices=(
            Choice(
                message=Message(
                    "assistant",
                    (
                        Reasoning(summary="s", encrypted="e", id="rs", format=FORMAT),
                        Text("é", citations=(Citation(source="u", start=0, end=1),)),
                        ToolCall(id="c", name="f", arguments='{"a":1}'),
                    ),
                ),
                finish_reason="tool_calls",
            ),
        ),
        usage=Usage(input_tokens=1, output_tokens=2),
    ),
    CONTEXT,
).body
STREAM = DIALECT.encoder(CONTEXT).encode(DIALECT.decode_answer(WHOLE))


@given(st.one_of(mutated_bytes(WHOLE), mutated_values(RICH)))
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
