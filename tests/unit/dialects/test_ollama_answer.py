"""Answers, streams and errors of Ollama's API, both ways."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from msgspec.structs import replace
from ollama import ChatResponse, GenerateResponse, ListResponse

from trivium.dialects import get
from trivium.dialects.base import AnswerContext, Dialect
from trivium.errors import (
    NotFound,
    TriviumError,
    UpstreamContextLength,
    UpstreamError,
    UpstreamNotFound,
    UpstreamOverloaded,
    UpstreamProtocolError,
    UpstreamQuotaExhausted,
    UpstreamRejected,
    UpstreamServerError,
)
from trivium.types.event import (
    AudioDelta,
    CitationDelta,
    End,
    Event,
    Failure,
    Finish,
    LogprobsDelta,
    Ping,
    ReasoningDelta,
    RefusalDelta,
    Start,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    UsageReport,
)
from trivium.types.message import Audio, Citation, Message, Reasoning, Refusal, Text, ToolCall
from trivium.types.response import Choice, Response
from trivium.types.usage import Usage

CHAT, PROMPT = get("ollama"), get("ollama_generate")
CONTEXT = AnswerContext(id="gen-1", model="m", created=1_790_000_000)
CREATED = "2026-09-21T14:13:20Z"
both = pytest.mark.parametrize("dialect", [CHAT, PROMPT], ids=lambda dialect: dialect.name)


def line(
    *, dialect: Dialect = CHAT, content: str = "", done: bool = False, top: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    said = (
        {"message": {"role": "assistant", "content": content, **more}}
        if dialect is CHAT
        else {"response": content, **more}
    )
    return {"model": "m", "created_at": "2026-09-21T13:33:20.385406455-07:00", **said, "done": done, **(top or {})}


def encoded(*lines: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(one, separators=(",", ":")).encode() + b"\n" for one in lines)


END = {"done_reason": "stop", "total_duration": 5, "prompt_eval_count": 3, "eval_count": 2}
START = Start(model="m", created=1_790_022_800)


# ---- whole answers of an upstream


@both
def test_a_whole_answer(dialect: Dialect) -> None:
    call = {"id": "x", "function": {"index": 0, "name": "f", "arguments": {"a": 1}}}
    body = json.dumps(line(dialect=dialect, content="c", thinking="t", tool_calls=[call], done=True, top=END)).encode()
    assert dialect.decode_answer(body) == [
        START,
        ReasoningDelta(text="t"),
        TextDelta("c"),
        ToolCallStart(index=0, id="x", name="f"),
        ToolCallDelta(index=0, arguments='{"a": 1}'),
        Finish(reason="tool_calls", native="stop"),
        UsageReport(Usage(input_tokens=3, output_tokens=2)),
        End(),
    ]
    passed = dialect.read_answer(body)
    assert (passed.finish_reason, passed.usage, passed.id) == ("tool_calls", Usage(input_tokens=3, output_tokens=2), "")


def test_calls_without_ids_get_some_out_of_the_answers_time() -> None:
    calls = [{"function": {"name": "f", "arguments": arguments}} for arguments in ({}, '{"b":2}', None)]
    events = CHAT.decode_answer(json.dumps(line(tool_calls=[*calls, {"function": {"name": "g"}}], done=True)).encode())
    ids = [event.id for event in events if isinstance(event, ToolCallStart)]
    assert ids == [f"call_202609211333203854064550700_{number}" for number in range(4)]
    assert [event.arguments for event in events if isinstance(event, ToolCallDelta)] == ["{}", '{"b":2}', "{}", "{}"]


@pytest.mark.parametrize(
    ("end", "reason", "usage"),
    [
        ({"done_reason": "length", "eval_count": 2}, "length", Usage(output_tokens=2)),
        ({"done_reason": "stop", "prompt_eval_count": 2}, "stop", Usage(input_tokens=2)),
        ({"done_reason": "load"}, "stop", None),
        ({}, "stop", None),
        ({"prompt_eval_count": -1, "eval_count": "many"}, "stop", None),
        ({"prompt_eval_count": 1e30, "eval_count": 2}, "stop", Usage(output_tokens=2)),
    ],
)
def test_ends(end: dict[str, Any], reason: str, usage: Usage | None) -> None:
    events = CHAT.decode_answer(json.dumps(line(content="c", done=True, top=end)).encode())
    finish = next(event for event in events if isinstance(event, Finish))
    assert (finish.reason, finish.native) == (reason, end.get("done_reason"))
    assert [event.usage for event in events if isinstance(event, UsageReport)] == ([] if usage is None else [usage])


@pytest.mark.parametrize(("created", "seconds"), [("yesterday", 0), (5, 0), (None, 0), (CREATED, 1_790_000_000)])
def test_times(created: Any, seconds: int) -> None:
    body = json.dumps(line(done=True) | {"created_at": created}).encode()
    start = CHAT.decode_answer(body)[0]
    assert isinstance(start, Start)
    assert start.created == seconds


def test_log_probabilities_come_in_the_common_form() -> None:
    body = json.dumps(line(content="c", done=True, top={"logprobs": [{"token": "c", "logprob": -1.5}]})).encode()
    expected = LogprobsDelta(content=[{"token": "c", "logprob": -1.5, "bytes": None, "top_logprobs": []}])
    assert expected in CHAT.decode_answer(body)


@both
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b"<html>",
        json.dumps(line(content="c")).encode(),
        b'{"message":{"content":5},"done":true}',
        b'{"message":{"tool_calls":[{"function":{}}]},"response":5,"done":true}',
        b'{"done":true,"response":"\xff","message":{"content":"\xff"}}',
        b'{"message":{"tool_calls":[{"function":{"name":"f","arguments":{"a":"\xff"}}}]},"done":true}',
    ],
)
def test_what_is_no_answer(dialect: Dialect, body: bytes) -> None:
    for read in (dialect.decode_answer, dialect.read_answer):
        with pytest.raises(UpstreamProtocolError):
            read(body)


def test_an_error_in_a_whole_answer() -> None:
    for read in (CHAT.decode_answer, CHAT.read_answer):
        with pytest.raises(UpstreamServerError, match="out of memory"):
            read(b'{"error":"out of memory"}')


# ---- streams of an upstream


@both
def test_a_stream(dialect: Dialect) -> None:
    calls = [[{"function": {"name": name, "arguments": {}}}] for name in "fg"]
    stream = encoded(
        line(dialect=dialect, thinking="t"),
        line(dialect=dialect, content="a"),
        line(dialect=dialect, content="b"),
        line(dialect=dialect),
        *(line(dialect=dialect, tool_calls=call) for call in calls),
        line(dialect=dialect, done=True, top=END),
    )
    events = dialect.decoder().feed(stream + b"more\n")
    assert [type(event).__name__ for event in events if not isinstance(event, ToolCallDelta)] == [
        *("Start", "ReasoningDelta", "TextDelta", "TextDelta", "Ping"),
        *("ToolCallStart", "ToolCallStart", "Finish", "UsageReport", "End"),
    ]
    starts = [event for event in events if isinstance(event, ToolCallStart)]
    assert [(start.index, start.name) for start in starts] == [(0, "f"), (1, "g")]
    assert starts[0].id != starts[1].id
    assert events[-3] == Finish(reason="tool_calls", native="stop")
    meter = dialect.meter(True)
    assert meter.feed(stream + b"more\n") == stream
    assert (meter.content, meter.complete, meter.finish_reason) == (True, True, "tool_calls")
    assert meter.usage == Usage(input_tokens=3, output_tokens=2)
    assert meter.close() == b""


def test_a_stream_without_an_end_was_cut() -> None:
    stream = encoded(line(content="a"), line(content="b"))
    decoder, meter = CHAT.decoder(), CHAT.meter(True)
    assert [*decoder.feed(stream), *decoder.close()] == [START, TextDelta("a"), TextDelta("b")]
    assert meter.feed(stream) + meter.close() == stream
    assert not meter.complete


def test_the_last_line_needs_no_line_feed() -> None:
    stream = encoded(line(content="a"), line(done=True, top=END)).rstrip()
    decoder, meter = CHAT.decoder(), CHAT.meter(True)
    decoder.feed(stream)
    assert decoder.close()[-1] == End()
    assert meter.feed(stream) + meter.close() == stream + b"\n"
    assert meter.complete


NOISE = [b"\n", b" \r\n", b"{}\n", b'{"type":"weather"}\n']


@pytest.mark.parametrize("noise", NOISE)
def test_what_means_nothing_is_left_out(noise: bytes) -> None:
    parts = [encoded(line(content="a")), encoded(line(content="b")), encoded(line(done=True, top=END))]
    stream = noise.join(parts)
    decoder, meter = CHAT.decoder(), CHAT.meter(True)
    events = [event for event in decoder.feed(stream) if not isinstance(event, Ping)]
    assert events == CHAT.decoder().feed(b"".join(parts))
    assert meter.feed(stream) == b"".join(parts)
    assert (decoder.malformed, meter.malformed) == (0, 0)


BROKEN = [
    b'{"message":{"content":\n',
    b'{"message":{"content":5},"done":true}\n',
    b'{"message":{"role":"assistant","content":"\xff"},"done":false}\n',
    b"data: {}\n",
    b'{"message":{"tool_calls":[{"function":{"arguments":{}}}]}}\n',
]


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_broken_line_is_skipped_and_counted(broken: bytes, at: int) -> None:
    parts = [encoded(line(content="a")), encoded(line(content="b")), encoded(line(done=True, top=END))]
    stream = b"".join([*parts[:at], broken, *parts[at:]])
    decoder, meter = CHAT.decoder(), CHAT.meter(True)
    assert decoder.feed(stream) == CHAT.decoder().feed(b"".join(parts))
    assert meter.feed(stream) == b"".join(parts)
    assert (decoder.malformed, meter.malformed) == (1, 1)


def test_a_mark_before_the_stream() -> None:
    stream = encoded(line(content="a"), line(done=True, top=END))
    assert CHAT.decoder().feed(b"\xef\xbb\xbf" + stream)[-1] == End()
    meter = CHAT.meter(True)
    assert meter.feed(b"\xef\xbb") + meter.feed(b"\xbf" + stream) == stream
    assert meter.complete


def test_a_huge_line_is_an_error() -> None:
    for reader in (CHAT.decoder(), CHAT.meter(True)):
        for _ in range(4):
            reader.feed(b"x" * (1 << 20))
        with pytest.raises(UpstreamProtocolError, match="larger than"):
            reader.feed(b"x")


@both
def test_plain_lines_pass_unread_after_the_first(dialect: Dialect) -> None:
    first, *more = (encoded(line(dialect=dialect, content=text)) for text in ("a", "b", 'c"\\', "é", "<"))
    meter, decoder = dialect.meter(True), dialect.decoder()
    assert meter.ordinary(first) == 0
    meter.feed(first)
    decoder.feed(first)
    assert meter.ordinary(more[0] + more[1]) == 2
    assert decoder.texts(more[0] + more[1]) == [b"b", b'c\\"\\\\']  # type: ignore[attr-defined]
    assert meter.ordinary(more[2]) == 0  # `\u…` needs a look
    assert meter.ordinary(encoded(line(dialect=dialect, content="", done=True))) == 0
    assert meter.ordinary(encoded(line(dialect=dialect, thinking="x"))) == 0
    assert meter.feed(more[0][:9]) == b""
    decoder.feed(more[0] + more[0][:9])
    assert (meter.ordinary(more[1]), decoder.texts(more[1])) == (0, [])  # type: ignore[attr-defined]  # a line has begun
    assert meter.feed(more[0][9:]) == more[0]
    assert meter.ordinary(more[1]) == 1
    encoder = dialect.encoder(CONTEXT)
    around = encoder.around(0, 0)  # type: ignore[attr-defined]
    assert around[0] + b"xy" + around[1] == encoder.encode([TextDelta("xy")])
    assert encoder.around(1, 0) is None  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ({"error": "out of memory"}, UpstreamServerError),
        ({"error": "server busy, please try again.  maximum pending requests exceeded"}, UpstreamOverloaded),
        ({"error": "x", "code": "upstream_overloaded"}, UpstreamOverloaded),
        ({"error": {"message": "slow down", "code": "429"}}, TriviumError),
        ({"error": 5}, UpstreamServerError),
    ],
)
def test_an_error_in_the_stream(said: dict[str, Any], error: type[TriviumError]) -> None:
    stream = encoded(line(content="a"))
    decoder, meter = CHAT.decoder(), CHAT.meter(True)
    last = decoder.feed(stream + encoded(said, line(content="b", done=True)))[-1]
    assert isinstance(last, Failure)
    assert isinstance(last.error, error)
    assert decoder.feed(stream) == decoder.close() == []
    assert meter.feed(stream + encoded(said)) == stream
    assert isinstance(meter.error, error)
    assert meter.feed(stream) == b""


# ---- to a caller


def said_by(
    dialect: Dialect, events: list[Event], context: AnswerContext = CONTEXT
) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    encoder = dialect.encoder(context)
    data = b"".join(encoder.encode([event]) for event in events)
    kind: Any = ChatResponse if dialect is CHAT else GenerateResponse
    for one in data.splitlines():
        kind.model_validate_json(one, strict=True)
    return [json.loads(one) for one in data.splitlines()], encoder.losses


def shown(dialect: Dialect, content: str, **more: Any) -> dict[str, Any]:
    return {**line(dialect=dialect, content=content, **more), "created_at": CREATED}


@both
def test_a_written_stream(dialect: Dialect) -> None:
    lines, losses = said_by(
        dialect,
        [
            Start(usage=Usage(input_tokens=9)),
            Ping(),
            ReasoningDelta(text="t"),
            TextDelta(""),
            TextDelta("a"),
            ToolCallStart(index=0, id="x", name="f"),
            ToolCallStart(index=1, id="y", name="g"),
            ToolCallDelta(index=1, arguments='{"b":'),
            ToolCallDelta(index=0, arguments="{}"),
            TextDelta("b"),
            ToolCallDelta(index=1, arguments="2}"),
            LogprobsDelta(content=[{"token": "b", "logprob": -1.0, "bytes": None, "top_logprobs": []}]),
            Finish(reason="tool_calls"),
            UsageReport(Usage(input_tokens=3, cache_read_tokens=4, output_tokens=2, cost_usd=0.5)),
            End(),
        ],
    )
    calls = [
        {"id": "x", "function": {"index": 0, "name": "f", "arguments": {}}},
        {"id": "y", "function": {"index": 1, "name": "g", "arguments": {"b": 2}}},
    ]
    assert lines[:3] == [shown(dialect, "", thinking="t"), shown(dialect, "a"), shown(dialect, "b")]
    assert lines[3]["logprobs"][0]["token"] == "b"
    assert lines[4] == shown(dialect, "", tool_calls=calls)
    end = {"done_reason": "stop", "prompt_eval_count": 7, "eval_count": 2, "cost": 0.5}
    assert lines[5:] == [shown(dialect, "", done=True) | end]
    assert losses == ()


@pytest.mark.parametrize(
    ("events", "losses"),
    [
        ([TextDelta("x", choice=1)], ("n",)),
        ([CitationDelta(citation=Citation(source="s"))], ("citations",)),
        ([AudioDelta(data="AAAA")], ("audio",)),
        (
            [ReasoningDelta(signature="s"), ReasoningDelta(encrypted="e")],
            ("reasoning.signature", "reasoning.encrypted"),
        ),
        ([ToolCallDelta(index=3, arguments="{}")], ("tool_call.arguments",)),
        ([ToolCallDelta(index=3, arguments="")], ()),
    ],
)
def test_what_a_stream_cannot_say(events: list[Event], losses: tuple[str, ...]) -> None:
    assert said_by(CHAT, events) == ([], losses)


def test_a_refusal_is_a_text() -> None:
    assert said_by(CHAT, [RefusalDelta("no")])[0] == [shown(CHAT, "no")]


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        ("stop", "stop"),
        ("tool_calls", "stop"),
        ("length", "length"),
        ("content_filter", "content_filter"),
        ("refusal", "refusal"),
    ],
)
def test_finishes(reason: Any, word: str) -> None:
    lines, _ = said_by(CHAT, [Finish(reason=reason), End()])
    assert lines[-1]["done_reason"] == word
    back = [event.reason for event in CHAT.decoder().feed(encoded(*lines)) if isinstance(event, Finish)]
    assert back == [{"tool_calls": "stop"}.get(reason, reason)]


def test_a_call_that_was_cut_is_no_call() -> None:
    cut = [ToolCallStart(index=0, id="x", name="f"), ToolCallDelta(index=0, arguments='{"city": "Par')]
    lines, losses = said_by(CHAT, [*cut, Finish(reason="length"), End()])
    assert (len(lines), losses) == (1, ("tool_call.arguments",))
    strange, losses = said_by(CHAT, [*cut, Finish(reason="tool_calls"), End()])
    assert strange[0]["message"]["tool_calls"][0]["function"]["arguments"] == {"arguments": '{"city": "Par'}
    assert losses == ("tool_call.arguments",)
    assert said_by(CHAT, [*cut])[0] == []


def test_durations_are_measured() -> None:
    clock = itertools.count(100, 10)
    context = replace(CONTEXT, elapsed_ns=lambda: next(clock))
    lines, _ = said_by(CHAT, [Start(), TextDelta("a"), TextDelta("b"), Finish(reason="stop"), End()], context)
    last = lines[-1]
    assert (last["prompt_eval_duration"], last["eval_duration"], last["total_duration"]) == (100, 10, 110)
    whole = json.loads(CHAT.encode_answer(Response(choices=(Choice(message=Message("assistant")),)), context).body)
    assert whole["total_duration"] == 120
    assert "eval_duration" not in whole


@both
def test_a_written_answer(dialect: Dialect) -> None:
    parts = (
        Reasoning(text="t", signature="s"),
        Text("a", citations=(Citation(source="s"),)),
        Refusal("b"),
        ToolCall(id="x", name="f", arguments='{"a":1}'),
        Audio(data="AAAA", format="wav"),
    )
    choice = Choice(message=Message("assistant", parts), finish_reason="tool_calls")
    response = Response(choices=(choice, choice), usage=Usage(input_tokens=3, output_tokens=2))
    built = dialect.encode_answer(response, CONTEXT)
    call = {"id": "x", "function": {"index": 0, "name": "f", "arguments": {"a": 1}}}
    end = {"done_reason": "stop", "prompt_eval_count": 3, "eval_count": 2}
    assert json.loads(built.body) == shown(dialect, "ab", thinking="t", tool_calls=[call], done=True) | end
    assert set(built.losses) == {"n", "reasoning.signature", "citations", "audio"}


def test_an_answer_without_a_choice() -> None:
    built = CHAT.encode_answer(Response(), CONTEXT)
    assert json.loads(built.body) == shown(CHAT, "", done=True) | {"done_reason": "stop"}


def test_the_list_of_models() -> None:
    body = CHAT.models_answer([{"id": "auto"}, {"id": "a/b", "created": 1_790_000_000}])
    models = ListResponse.model_validate_json(body, strict=True).models
    assert [model.model for model in models] == ["auto", "a/b"]
    assert json.loads(body)["models"][1]["modified_at"] == CREATED
    assert [len(model.digest or "") for model in models] == [64, 64]
    assert models[0].digest != models[1].digest


# ---- errors


INNER = {"code": 400, "message": "too long", "type": "exceed_context_size_error"}


@pytest.mark.parametrize(
    ("status", "body", "error", "says"),
    [
        (404, b'{"error":"model \'x\' not found"}', UpstreamNotFound, "model 'x' not found"),
        (400, b'{"error":"x does not support tools"}', UpstreamRejected, "x does not support tools"),
        (400, json.dumps({"error": json.dumps({"error": INNER})}).encode(), UpstreamContextLength, "too long"),
        (400, b'{"error":"the input length exceeds the context length"}', UpstreamContextLength, "context length"),
        (429, b'{"error":"insufficient credit"}', UpstreamQuotaExhausted, "credit"),
        (500, b'{"error":"llama runner process has terminated"}', UpstreamServerError, "terminated"),
        (503, b'{"error":"server busy"}', UpstreamOverloaded, "busy"),
        (502, b"<html>", UpstreamServerError, "502"),
        (500, b"", UpstreamServerError, "500"),
    ],
)
def test_an_upstreams_failure(status: int, body: bytes, error: type[UpstreamError], says: str) -> None:
    found = CHAT.decode_error(status, body)
    assert type(found) is error
    assert says in found.message
    assert "{" not in found.message


def test_a_callers_envelope() -> None:
    error = NotFound("There is no model `x`.", remedy="Choose another.", param="model")
    assert json.loads(CHAT.encode_error(error, "gen-1")) == {
        "error": "There is no model `x`. Choose another.",
        "code": "not_found",
        "param": "model",
        "request_id": "gen-1",
    }
    assert CHAT.encoder(CONTEXT).fail(error) == CHAT.encode_error(error, "gen-1") + b"\n"
