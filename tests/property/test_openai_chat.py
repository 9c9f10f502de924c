"""OpenAI's chat wire, for all requests, answers and streams that can be made up."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from property.strategies import ARGUMENTS, NAMES, WORDS, requests
from trivium.dialects import get
from trivium.dialects.base import AnswerContext
from trivium.errors import InvalidRequest, UpstreamError
from trivium.types.event import (
    End,
    Event,
    Finish,
    ReasoningDelta,
    RefusalDelta,
    Start,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    UsageReport,
)
from trivium.types.request import Request, Sampling
from trivium.types.response import Response, fold
from trivium.types.usage import Usage

DIALECT = get("openai_chat")
CONTEXT = AnswerContext(id="gen-1", model="m", created=5, include_usage=True)
UNSAID = {"top_k": None, "min_p": None, "repetition_penalty": None}


def without(request: Request, losses: tuple[str, ...]) -> Request:
    """The request as far as the losses leave it."""
    sampling = {
        name: None if name in losses else getattr(request.sampling, name) for name in Sampling.__struct_fields__
    }
    return Request(
        **{name: getattr(request, name) for name in Request.__struct_fields__ if name != "sampling"},
        sampling=Sampling(**sampling),
    )


@given(requests())
def test_parsing_what_was_built_gives_the_request_up_to_its_losses(request):
    built = DIALECT.build_request(request)
    assert set(built.losses) <= set(UNSAID)
    assert DIALECT.parse_request(built.body) == without(request, built.losses)


@given(requests())
def test_the_first_look_agrees_with_the_whole(request):
    head = DIALECT.peek(DIALECT.build_request(request).body)
    assert (head.model, head.stream, head.max_output_tokens) == (
        request.model,
        request.stream,
        request.max_output_tokens,
    )
    assert head.wants_usage == request.stream
    assert ("tools" in head.needs) == bool(request.tools)


usages = st.builds(
    Usage,
    input_tokens=st.integers(0, 10**6),
    output_tokens=st.integers(1000, 10**6),
    cache_read_tokens=st.integers(0, 10**6),
    cache_write_tokens=st.integers(0, 10**6),
    reasoning_tokens=st.integers(0, 1000),
    cost_usd=st.none() | st.floats(0, 10),
)


@st.composite
def said(draw: st.DrawFn, choice: int) -> list[Event]:
    """What one choice says, in the order in which the wire can say it."""
    events: list[Event] = [ReasoningDelta(text=text, choice=choice) for text in draw(st.lists(WORDS, max_size=2))]
    events += [TextDelta(text, choice) for text in draw(st.lists(WORDS, max_size=4))]
    events += [RefusalDelta(text, choice) for text in draw(st.lists(WORDS, max_size=1))]
    for index in range(draw(st.integers(0, 2))):
        events.append(ToolCallStart(index=index, id=f"{draw(NAMES)}{index}", name=draw(NAMES), choice=choice))
        events.append(ToolCallDelta(index=index, arguments=draw(ARGUMENTS), choice=choice))
    reason = draw(st.sampled_from(["stop", "length", "tool_calls", "content_filter"]))
    return [*events, Finish(reason=reason, native=reason, choice=choice)]


@st.composite
def answers(draw: st.DrawFn) -> list[Event]:
    events: list[Event] = [Start(id="gen-1", model="m", created=5)]
    for choice in range(draw(st.integers(1, 2))):
        events += draw(said(choice))
    usage = draw(st.none() | usages)
    return [*events, *([UsageReport(usage)] if usage else []), End()]


def decoded(parts: list[bytes]) -> list[Event]:
    decoder = DIALECT.decoder()
    return [event for part in parts for event in decoder.feed(part)] + decoder.close()


@given(answers())
def test_the_fold_of_a_stream_is_the_answer(events):
    response = fold(events)
    streamed = fold(decoded([DIALECT.encoder(CONTEXT).encode(events)]))
    whole = fold(DIALECT.decode_answer(DIALECT.encode_answer(response, CONTEXT).body))
    assert streamed == response
    assert whole == response


@given(answers(), st.lists(st.integers(0, 10**6), max_size=5))
def test_slices_change_nothing(events, cuts):
    stream = DIALECT.encoder(CONTEXT).encode(events)
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    parts = [stream[a:b] for a, b in pairwise(edges)]
    assert fold(decoded(parts)) == fold(decoded([stream]))
    for wanted in (True, False):
        assert metered(parts, wanted=wanted) == metered([stream], wanted=wanted)


def metered(parts: list[bytes], *, wanted: bool) -> tuple[Any, ...]:
    meter = DIALECT.meter(wanted)
    passed = b"".join([*map(meter.feed, parts), meter.close()])
    error = None if meter.error is None else str(meter.error)
    return passed, meter.content, meter.complete, meter.usage, meter.finish_reason, meter.upstream_id, error


def test_every_offset_of_a_stream():
    events: list[Event] = [TextDelta(text) for text in ("h", 'é"', "😀", "\\")]
    events += [Finish(reason="stop"), UsageReport(Usage(input_tokens=1, output_tokens=2)), End()]
    stream = b"\xef\xbb\xbf" + DIALECT.encoder(CONTEXT).encode(events).replace(b"\n\n", b"\r\n\r\n", 3)
    failing = stream.replace(b'"choices":[]', b'"error":{"message":"x","code":500},"choices":[]')
    for each in (stream, failing):
        for offset in range(len(each) + 1):
            parts = [each[:offset], each[offset:]]
            assert repr(decoded(parts)) == repr(decoded([each]))
            for wanted in (True, False):
                assert metered(parts, wanted=wanted) == metered([each], wanted=wanted)


@given(answers())
def test_a_meter_that_is_asked_for_usage_passes_every_byte(events):
    stream = DIALECT.encoder(CONTEXT).encode(events)
    meter = DIALECT.meter(True)
    assert meter.feed(stream) == stream
    response: Response = fold(events)
    assert meter.complete
    assert meter.usage == response.usage
    assert meter.finish_reason == response.choices[0].finish_reason


@given(said(0), st.integers(0, 10**6))
def test_a_cut_stream_never_looks_whole(events, cut):
    stream = DIALECT.encoder(CONTEXT).encode(events)
    part = stream[: cut % len(stream)]
    meter = DIALECT.meter(True)
    whole = part[: part.rfind(b"\n\n") + 2] if b"\n\n" in part else b""
    assert meter.feed(part) + meter.close() == whole
    assert meter.complete is False
    assert End() not in decoded([part])
    meter = DIALECT.meter(True)
    assert meter.feed(whole + b"data: [DONE]\n\n") + meter.close() == whole


BODY = json.dumps(
    {
        "model": "m",
        "messages": [
            {"role": "system", "content": "s"},
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,QQ=="}}]},
            {
                "role": "assistant",
                "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "c", "content": "é😀"},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}},
        "stream": True,
        "stream_options": {"include_usage": True},
        "stop": ["x"],
        "trivium": {"strict": True},
    },
    ensure_ascii=False,
).encode()
JUNK = st.sampled_from(
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'"',
        b"\\",
        b"-1",
        b"1e999",
        b"9" * 400,
        b"\xff",
        b"\x00",
        b"\\ud800",
        b",",
        b":",
        b"true",
    ]
)


@given(st.lists(st.tuples(st.integers(0, len(BODY)), st.integers(0, 12), JUNK), min_size=1, max_size=4))
def test_hostile_bodies_are_refused_and_nothing_else(mutations):
    body = BODY
    for at, length, junk in mutations:
        body = body[:at] + junk + body[at + length :]
    try:
        head = DIALECT.peek(body)
        assert isinstance(head.needs, frozenset)
        DIALECT.pass_request(body, head, "x", stream=False, ask_usage=True)
        DIALECT.build_request(DIALECT.parse_request(body))
    except InvalidRequest:
        pass


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


@given(
    st.sampled_from(
        [
            "messages",
            "tools",
            "tool_choice",
            "stream_options",
            "response_format",
            "reasoning",
            "stop",
            "n",
            "models",
            "trivium",
            "metadata",
            "logit_bias",
        ]
    ),
    VALUES,
)
def test_fields_of_any_shape(name, value):
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x"}]} | {name: value}).encode()
    try:
        DIALECT.pass_request(body, DIALECT.peek(body), "x", stream=True, ask_usage=True)
        DIALECT.build_request(DIALECT.parse_request(body))
    except InvalidRequest:
        pass


@given(st.sampled_from(["choices", "usage", "error", "timings", "id", "created", "model"]), VALUES)
def test_answers_of_any_shape(name, value):
    wire = {"id": "x", "choices": [{"message": {"content": "a"}, "delta": {"content": "a"}, "finish_reason": "stop"}]}
    body = json.dumps(wire | {name: value}).encode()
    for read in (DIALECT.decode_answer, DIALECT.read_answer):
        try:
            read(body)
        except UpstreamError:
            pass
    frame = b"data: " + body + b"\n\n"
    decoded([frame])
    metered([frame], wanted=False)
    DIALECT.decode_error(400, body)
