"""Answers of the Chat API, whole and streamed: read, written for its SDK, metered; and its errors."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import cohere
import httpx
import msgspec
import pytest
from cohere.core.api_error import ApiError
from cohere.types.list_models_response import ListModelsResponse
from cohere.v2.types.v2chat_response import V2ChatResponse

from cohere_help import check_strictly, stream_event
from trivium import errors
from trivium.dialects import get
from trivium.dialects.base import AnswerContext
from trivium.errors import (
    CallerError,
    GatewayError,
    TriviumError,
    UpstreamAuthError,
    UpstreamContextLength,
    UpstreamError,
    UpstreamNotFound,
    UpstreamOverloaded,
    UpstreamProtocolError,
    UpstreamQuotaExhausted,
    UpstreamRateLimited,
    UpstreamRefused,
    UpstreamRejected,
    UpstreamServerError,
    UpstreamTimeout,
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
from trivium.types.message import Audio, Citation, Message, Part, Reasoning, Refusal, Text, ToolCall
from trivium.types.response import Choice, Response, fold
from trivium.types.usage import Usage
from trivium.wire.sse import SSEParser

DIALECT = get("cohere_v2")
CONTEXT = AnswerContext(id="gen-1", model="caller/name", created=0, input_tokens_estimate=5)
ASK: Any = [{"role": "user", "content": "hi"}]

SOURCES = [
    {"type": "document", "id": "doc:0", "document": {"id": "doc:0", "title": "Penguins", "snippet": "They are tall."}},
    {"type": "tool", "id": "look_1:0", "tool_output": {"text": "18"}},
]
CITATION = {"start": 4, "end": 8, "text": "tall", "sources": SOURCES, "content_index": 1, "type": "TEXT_CONTENT"}
USAGE = {
    "billed_units": {"input_tokens": 34.0, "output_tokens": 14.0},
    "tokens": {"input_tokens": 721.0, "output_tokens": 59.0},
    "cached_tokens": 16.0,
}
WHOLE: dict[str, Any] = {
    "id": "a1",
    "finish_reason": "TOOL_CALL",
    "message": {
        "role": "assistant",
        "tool_plan": "I look.",
        "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "The tall one"}],
        "citations": [CITATION, {"start": 0, "end": 1, "text": "h", "sources": SOURCES, "type": "THINKING_CONTENT"}],
        "tool_calls": [
            {"id": "look_1", "type": "function", "function": {"name": "look", "arguments": '{"a":1}'}},
            {"id": "now_2", "type": "function", "function": {"name": "now", "arguments": ""}},
        ],
    },
    "usage": USAGE,
    "logprobs": [{"text": "The tall", "token_ids": [5, 6], "logprobs": [-0.5, -0.25]}],
}
CITED = (
    Citation(source="doc:0", title="Penguins", quote="They are tall.", start=4, end=8),
    Citation(source="look_1:0", quote="18", start=4, end=8),
)
LOGPROBS = [{"token": "The tall", "logprob": -0.75, "bytes": list(b"The tall"), "top_logprobs": []}]
PLAN = Reasoning(text="I look.", format="cohere-tool-plan")
CALLS = (ToolCall(id="look_1", name="look", arguments='{"a":1}'), ToolCall(id="now_2", name="now", arguments="{}"))
ANSWER = Response(
    id="a1",
    choices=(
        Choice(
            message=Message("assistant", (PLAN, Reasoning(text="hm"), Text("The tall one", citations=CITED), *CALLS)),
            finish_reason="tool_calls",
            native_finish_reason="TOOL_CALL",
            logprobs=LOGPROBS,
        ),
    ),
    usage=Usage(input_tokens=18, cache_read_tokens=16, output_tokens=14),
)


def frame(kind: str, message: Any = None, **members: Any) -> bytes:
    delta = {} if message is None else {"delta": {"message": message}}
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), msgspec.json.encode({"type": kind, **members, **delta}))


def end(**delta: Any) -> bytes:
    return frame("message-end", delta=delta)


BEGIN = frame(
    "message-start", {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}, id="a1"
)
TEXT = b"".join(
    [
        frame("content-start", {"content": {"type": "text", "text": ""}}, index=1),
        frame(
            "content-delta",
            {"content": {"text": "The tall"}},
            index=1,
            logprobs={"text": "The tall", "token_ids": [5, 6], "logprobs": [-0.5, -0.25]},
        ),
        frame("content-delta", {"content": {"text": " one"}}, index=1),
    ]
)
STREAM = b"".join(
    [
        BEGIN,
        *(frame("tool-plan-delta", {"tool_plan": piece}) for piece in ("I", " look.")),
        frame("content-start", {"content": {"type": "thinking", "thinking": ""}}, index=0),
        frame("content-delta", {"content": {"thinking": "hm"}}, index=0),
        frame("content-end", index=0),
        TEXT,
        frame("citation-start", {"citations": CITATION}, index=0),
        frame("citation-end", index=0),
        frame("content-end", index=1),
        frame(
            "tool-call-start",
            {"tool_calls": WHOLE["message"]["tool_calls"][0] | {"function": {"name": "look", "arguments": ""}}},
            index=0,
        ),
        *(
            frame("tool-call-delta", {"tool_calls": {"function": {"arguments": piece}}}, index=0)
            for piece in ('{"a"', ":1}")
        ),
        frame("tool-call-end", index=0),
        frame("tool-call-start", {"tool_calls": WHOLE["message"]["tool_calls"][1]}, index=1),
        frame("tool-call-end", index=1),
        end(finish_reason="TOOL_CALL", usage=USAGE),
        b"data: [DONE]\n\n",
    ]
)


def heard(stream: bytes) -> list[Event]:
    decoder = DIALECT.decoder()
    return decoder.feed(stream) + decoder.close()


def answer_of(*parts: Part, **fields: Any) -> Response:
    return Response(choices=(Choice(message=Message("assistant", parts), **({"finish_reason": "stop"} | fields)),))


def encoded(response: Response) -> tuple[dict[str, Any], set[str]]:
    out = DIALECT.encode_answer(response, CONTEXT)
    check_strictly(V2ChatResponse, json.loads(out.body))
    return json.loads(out.body), set(out.losses)


def client(status: int, body: bytes, kind: str = "application/json") -> cohere.ClientV2:
    """The SDK over a transport that answers with these bytes."""

    def answer(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, headers={"content-type": kind}, content=body)

    http = httpx.Client(transport=httpx.MockTransport(answer))
    return cohere.ClientV2("any", base_url="http://a.test", httpx_client=http, max_retries=0)


class TestDecodeAnswer:
    def test_all_that_it_can_say(self) -> None:
        events = DIALECT.decode_answer(json.dumps(WHOLE).encode())
        assert events[-1] == End()
        assert fold(events) == ANSWER

    @pytest.mark.parametrize(
        ("word", "finish"),
        [("COMPLETE", "stop"), ("STOP_SEQUENCE", "stop"), ("MAX_TOKENS", "length"), ("LATER", "stop")],
    )
    def test_finish_reasons(self, word: str, finish: str) -> None:
        body = json.dumps({"id": "a", "finish_reason": word, "message": None}).encode()
        assert Finish(reason=finish, native=word) in DIALECT.decode_answer(body)  # type: ignore[arg-type]
        assert DIALECT.read_answer(body).finish_reason == finish

    @pytest.mark.parametrize(
        ("body", "error"),
        [
            (b"", UpstreamProtocolError),
            (b"<html>", UpstreamProtocolError),
            (b"[]", UpstreamProtocolError),
            (b"{}", UpstreamProtocolError),
            (b'{"finish_reason":"COMPLETE","id":"\xff"}', UpstreamProtocolError),
            (b'{"finish_reason":5}', UpstreamProtocolError),
            (b'{"finish_reason":null,"message":{"role":"assistant"}}', UpstreamProtocolError),
            (b'{"id":"a","message":"Overloaded"}', UpstreamOverloaded),
            (b'{"message":"You are past the rate limit"}', UpstreamRateLimited),
            (b'{"finish_reason":"ERROR","message":{"role":"assistant"}}', UpstreamServerError),
            (b'{"finish_reason":"ERROR_LIMIT","error":"the service is unavailable"}', UpstreamOverloaded),
            (b'{"finish_reason":"TIMEOUT","message":{"role":"assistant"}}', UpstreamTimeout),
        ],
    )
    def test_200_is_not_success(self, body: bytes, error: type[TriviumError]) -> None:
        for read in (DIALECT.decode_answer, DIALECT.read_answer):
            with pytest.raises(error) as caught:
                read(body)
            assert type(caught.value) is error
            assert caught.value.message

    @pytest.mark.parametrize(
        "message",
        [
            5,
            [],
            {"content": "text"},
            {"content": [{"type": "text", "text": 5}]},
            {"tool_calls": [{"id": "c", "function": {"arguments": "{}"}}]},
            {"tool_calls": [{"id": "c"}]},
            {"citations": [{"start": "0"}]},
        ],
    )
    def test_a_broken_message_is_a_protocol_error(self, message: Any) -> None:
        body = json.dumps({"id": "a", "finish_reason": "COMPLETE", "message": message}).encode()
        with pytest.raises(UpstreamProtocolError):
            DIALECT.decode_answer(body)

    def test_a_call_without_an_id_gets_one(self) -> None:
        calls = [{"function": {"name": "f", "arguments": None}}] * 2
        body = json.dumps({"id": "a", "finish_reason": "TOOL_CALL", "message": {"tool_calls": calls}}).encode()
        assert fold(DIALECT.decode_answer(body)).tool_calls == (
            ToolCall(id="call_a_0", name="f"),
            ToolCall(id="call_a_1", name="f"),
        )

    def test_citations_without_a_block_belong_to_the_first_text(self) -> None:
        content = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
        said = {"content": content, "citations": [{"start": 0, "end": 1}]}
        body = json.dumps({"id": "a", "finish_reason": "COMPLETE", "message": said}).encode()
        assert fold(DIALECT.decode_answer(body)).choices[0].message.parts == (
            Reasoning(text="hm"),
            Text("a", citations=(Citation(source="", start=0, end=1),)),
            Text("b"),
        )

    @pytest.mark.parametrize(
        ("usage", "expected"),
        [
            (USAGE, Usage(input_tokens=18, cache_read_tokens=16, output_tokens=14)),
            ({"tokens": {"input_tokens": 7, "output_tokens": 2}}, Usage(input_tokens=7, output_tokens=2)),
            (
                {"billed_units": {"input_tokens": 0}, "tokens": {"input_tokens": 7, "output_tokens": 2}},
                Usage(output_tokens=2),
            ),
            (
                {"billed_units": {"input_tokens": 5, "output_tokens": -1}, "cached_tokens": 64},
                Usage(cache_read_tokens=5),
            ),
            ({"billed_units": {"input_tokens": 1e12, "output_tokens": "9"}}, Usage()),
            (None, None),
        ],
    )
    def test_billed_figures_count(self, usage: Any, expected: Usage | None) -> None:
        body = json.dumps(WHOLE | {"usage": usage}).encode()
        assert fold(DIALECT.decode_answer(body)).usage == expected
        passed = DIALECT.read_answer(body)
        assert (passed.usage, passed.finish_reason, passed.id) == (expected, "tool_calls", "a1")


class TestEncodeAnswer:
    def test_it_is_read_back_as_it_was(self) -> None:
        wire, losses = encoded(ANSWER)
        assert losses == set()
        assert wire["id"] == "gen-1"
        assert wire["message"]["tool_plan"] == "I look."
        assert [cited["text"] for cited in wire["message"]["citations"]] == ["tall", "tall"]
        again = fold(DIALECT.decode_answer(json.dumps(wire).encode()))
        assert again.choices == ANSWER.choices
        assert again.usage == ANSWER.usage

    def test_the_sdk_reads_it(self) -> None:
        done: Any = client(200, DIALECT.encode_answer(ANSWER, CONTEXT).body).chat(model="m", messages=ASK)
        assert [block.type for block in done.message.content] == ["thinking", "text"]
        assert [call.function.name for call in done.message.tool_calls] == ["look", "now"]
        assert done.message.citations[0].sources[0].document["title"] == "Penguins"
        assert (done.finish_reason, done.usage.billed_units.input_tokens) == ("TOOL_CALL", 34)

    @pytest.mark.parametrize(
        ("fields", "word", "losses"),
        [
            ({}, "COMPLETE", set()),
            ({"native_finish_reason": "STOP_SEQUENCE"}, "STOP_SEQUENCE", set()),
            ({"stop_sequence": "x", "native_finish_reason": "stop_sequence"}, "STOP_SEQUENCE", set()),
            ({"native_finish_reason": "MAX_TOKENS"}, "COMPLETE", set()),
            ({"finish_reason": "length", "native_finish_reason": "max_tokens"}, "MAX_TOKENS", set()),
            ({"finish_reason": "tool_calls"}, "TOOL_CALL", set()),
            ({"finish_reason": "refusal"}, "COMPLETE", set()),
            ({"finish_reason": "content_filter"}, "ERROR", {"finish_reason"}),
            ({"finish_reason": "error"}, "ERROR", set()),
            ({"finish_reason": None}, "ERROR", set()),
        ],
    )
    def test_finish_reasons(self, fields: dict[str, Any], word: str, losses: set[str]) -> None:
        wire, lost = encoded(answer_of(Text("a"), **fields))
        assert (wire["finish_reason"], lost) == (word, losses)

    def test_losses(self) -> None:
        parts = (
            Reasoning(summary="s", signature="x"),
            Reasoning(encrypted="e"),
            Refusal("no"),
            Refusal(""),
            Audio(data="QUJD", format="wav"),
        )
        logprobs: Any = [{"token": "no", "logprob": -1.0, "top_logprobs": [{"token": "yes", "logprob": -2.0}]}]
        choice = answer_of(*parts, logprobs=logprobs).choices[0]
        wire, losses = encoded(Response(choices=(choice, choice)))
        assert wire["message"]["content"] == [{"type": "thinking", "thinking": "s"}, {"type": "text", "text": "no"}]
        assert wire["logprobs"] == [{"text": "no", "token_ids": [], "logprobs": [-1.0]}]
        assert losses == {"n", "logprobs.top_logprobs", "reasoning.signature", "reasoning.encrypted", "audio"}

    def test_what_is_not_known_is_not_said(self) -> None:
        assert encoded(answer_of())[0] == {
            "id": "gen-1",
            "finish_reason": "COMPLETE",
            "message": {"role": "assistant", "content": []},
        }
        assert encoded(Response())[0]["finish_reason"] == "ERROR"
        calls, _ = encoded(answer_of(ToolCall(id="c", name="f", arguments="")))
        assert calls["message"].keys() == {"role", "content", "tool_calls"}
        assert calls["message"]["tool_calls"][0]["function"]["arguments"] == "{}"

    def test_usage_and_cost(self) -> None:
        usage = Usage(input_tokens=3, cache_read_tokens=4, cache_write_tokens=5, output_tokens=2, cost_usd=0.5)
        wire, _ = encoded(Response(choices=answer_of(Text("a")).choices, usage=usage))
        units = {"input_tokens": 12, "output_tokens": 2}
        assert wire["usage"] == {"billed_units": units, "tokens": units, "cached_tokens": 4, "cost": 0.5}

    @pytest.mark.parametrize(
        ("start", "stop", "cited"),
        [(None, None, (0, 3, "abc")), (1, None, (1, 3, "bc")), (-2, 10**30, (-2, 10**30, "abc")), (2, 1, (2, 1, ""))],
    )
    def test_any_offsets(self, start: int | None, stop: int | None, cited: tuple[int, int, str]) -> None:
        citation = Citation(source="https://a.test", start=start, end=stop)
        wire = json.loads(DIALECT.encode_answer(answer_of(Text("abc", citations=(citation,))), CONTEXT).body)
        (said,) = wire["message"]["citations"]
        assert (said["start"], said["end"], said["text"]) == cited

    def test_a_citation_repeats_a_little_of_the_text_only(self) -> None:
        long = Text("x" * 5000, citations=(Citation(source="s"),) * 100)
        assert len(DIALECT.encode_answer(answer_of(long), CONTEXT).body) < 5000 + 100 * 1300


class TestDecoder:
    def test_the_fold_is_the_whole_answer(self) -> None:
        events = heard(STREAM)
        assert events[-1] == End()
        assert fold(events) == ANSWER

    @pytest.mark.parametrize("ends", [b"\n", b"\r\n", b"\r"])
    def test_any_slicing(self, ends: bytes) -> None:
        stream = STREAM.replace(b"\n", ends)
        whole = DIALECT.decoder().feed(stream)
        for size in (1, 7, 100):
            decoder = DIALECT.decoder()
            assert [e for at in range(0, len(stream), size) for e in decoder.feed(stream[at : at + size])] == whole

    def test_a_cut_has_no_end(self) -> None:
        cut = STREAM[: STREAM.index(b"event: message-end")]
        for rest in (b"", b"data: [DONE]\n\n"):
            assert not any(isinstance(event, End | Finish) for event in heard(cut + rest))

    def test_nothing_follows_the_end(self) -> None:
        decoder = DIALECT.decoder()
        decoder.feed(STREAM)
        assert decoder.feed(TEXT) == decoder.close() == []

    @pytest.mark.parametrize(
        ("last", "error"),
        [
            (end(finish_reason="ERROR", error="Overloaded"), UpstreamOverloaded),
            (end(finish_reason="ERROR", error="too many requests"), UpstreamRateLimited),
            (end(finish_reason="ERROR"), UpstreamServerError),
            (end(finish_reason="ERROR", error="no", error_type="upstream_rate_limited"), UpstreamRateLimited),
            (end(error="internal"), UpstreamServerError),
            (end(finish_reason="TIMEOUT"), UpstreamTimeout),
            (end(usage=USAGE), UpstreamProtocolError),
            (b'data: {"id":"a","message":"the request timed out"}\n\n', UpstreamServerError),
        ],
    )
    def test_an_error_ends_it(self, last: bytes, error: type[TriviumError]) -> None:
        events = heard(BEGIN + TEXT + last + TEXT)
        assert isinstance(events[-1], Failure)
        assert type(events[-1].error) is error

    def test_broken_and_unknown_frames_are_skipped(self) -> None:
        decoder = DIALECT.decoder()
        broken = b'data: {"type":\n\ndata: "x"\n\n' + frame("content-delta", {"content": {"text": 5}}, index=0)
        unknown = (
            frame("weather", sky="blue")
            + frame("debug", prompt="p")
            + b": comment\n\n"
            + frame("content-end", delta=None)
        )
        events = decoder.feed(BEGIN + broken + unknown + TEXT + end(finish_reason="COMPLETE"))
        assert fold(events).text == "The tall one"
        assert decoder.malformed == 3
        assert Ping() in events

    @pytest.mark.parametrize(
        "frames",
        [
            [frame("tool-call-start", {"tool_calls": {"id": "c", "function": {"arguments": "{}"}}}, index=0)],
            [frame("tool-call-start", {"tool_calls": {"id": "c"}}, index=0)],
            [frame("tool-call-start", {"tool_calls": {"id": "c", "function": {"name": "f"}}}, index=0)] * 2,
            [
                frame("tool-call-start", {"tool_calls": {"id": "c", "function": {"name": "f"}}}, index=0),
                frame("tool-call-delta", {"tool_calls": {"function": {"arguments": '{"a"'}}}, index=0),
                end(finish_reason="TOOL_CALL"),
            ],
        ],
        ids=["unnamed", "empty", "twice", "unfinished"],
    )
    def test_no_call_is_half_made(self, frames: list[bytes]) -> None:
        with pytest.raises(UpstreamProtocolError):
            DIALECT.decoder().feed(BEGIN + b"".join(frames))

    def test_a_call_may_end_at_the_limit(self) -> None:
        start = frame(
            "tool-call-start", {"tool_calls": {"id": "c", "function": {"name": "f", "arguments": "{"}}}, index=4
        )
        events = heard(BEGIN + start + end(finish_reason="MAX_TOKENS"))
        assert fold(events).tool_calls == (ToolCall(id="c", name="f", arguments="{"),)
        assert fold(events).finish_reason == "length"

    def test_arguments_of_no_call_are_no_call(self) -> None:
        stray = frame("tool-call-delta", {"tool_calls": {"function": {"arguments": "{}"}}}, index=3)
        assert (
            fold(heard(BEGIN + stray + frame("tool-call-end", index=3) + end(finish_reason="COMPLETE"))).tool_calls
            == ()
        )

    def test_a_huge_frame_is_a_protocol_error(self) -> None:
        with pytest.raises(UpstreamProtocolError):
            DIALECT.decoder().feed(b"data: " + b"x" * (5 << 20))

    def test_a_citation_without_a_block_belongs_to_the_last_text(self) -> None:
        cited = frame("citation-start", {"citations": {"start": 0, "end": 1, "sources": SOURCES[:1]}}, index=0)
        assert fold(heard(BEGIN + TEXT + cited)).choices[0].message.parts[0] == Text(
            "The tall one",
            citations=(Citation(source="doc:0", title="Penguins", quote="They are tall.", start=0, end=1),),
        )


def written(events: Iterable[Event]) -> tuple[list[Any], Any]:
    encoder = DIALECT.encoder(CONTEXT)
    frames = SSEParser().feed(encoder.encode(events))
    for said in frames:
        assert stream_event(said.data).type == said.event
    return [json.loads(said.data) for said in frames], encoder


def start(index: int) -> ToolCallStart:
    return ToolCallStart(index=index, id=f"c{index}", name="f")


def delta(index: int, arguments: str) -> ToolCallDelta:
    return ToolCallDelta(index=index, arguments=arguments)


STOP = Finish(reason="stop", native="end_turn")
EMPTY = b'{"role":"assistant","content":[],"tool_plan":"","tool_calls":[],"citations":[]}'


class TestEncoder:
    def test_the_exact_sequence(self) -> None:
        events = [Start(id="x", model="y"), TextDelta("é"), STOP, UsageReport(Usage(input_tokens=1)), End()]
        units = b'{"input_tokens":1,"output_tokens":0}'
        usage = b'{"billed_units":%b,"tokens":%b,"cached_tokens":0}' % (units, units)
        assert DIALECT.encoder(CONTEXT).encode(events) == b"".join(
            b"event: %b\ndata: %b\n\n" % (json.loads(data)["type"].encode(), data)
            for data in (
                b'{"type":"message-start","id":"gen-1","delta":{"message":%b}}' % EMPTY,
                b'{"type":"content-start","index":0,"delta":{"message":{"content":{"type":"text","text":""}}}}',
                b'{"type":"content-delta","index":0,"delta":{"message":{"content":{"text":"\xc3\xa9"}}}}',
                b'{"type":"content-end","index":0}',
                b'{"type":"message-end","delta":{"finish_reason":"COMPLETE","usage":%b}}' % usage,
            )
        )

    def test_translated_again_it_is_the_same_answer(self) -> None:
        encoder = DIALECT.encoder(CONTEXT)
        stream = encoder.encode(heard(STREAM))
        assert encoder.losses == ()
        again = fold(heard(stream))
        assert (again.choices, again.usage) == (ANSWER.choices, ANSWER.usage)

    def test_the_sdk_reads_it(self) -> None:
        stream = DIALECT.encoder(CONTEXT).encode(heard(STREAM))
        events: Any = list(client(200, stream, "text/event-stream").chat_stream(model="m", messages=ASK))
        assert [event.type for event in events[:2]] == ["message-start", "tool-plan-delta"]
        assert events[-1].delta.usage.billed_units.output_tokens == 14

    def test_events_may_come_in_any_batches(self) -> None:
        one, many = DIALECT.encoder(CONTEXT), DIALECT.encoder(CONTEXT)
        events = heard(STREAM)
        assert one.encode(events) == b"".join(many.encode([event]) for event in events)

    def test_parallel_calls_come_in_turn(self) -> None:
        said, encoder = written(
            [TextDelta("a"), start(0), start(1), delta(1, "{"), delta(0, "{}"), delta(1, "}"), start(2), STOP, End()]
        )
        kinds = [(event["type"].removeprefix("tool-call-"), event.get("index")) for event in said]
        assert kinds[3:-1] == [
            ("content-end", 0),
            ("start", 0),
            ("delta", 0),
            ("end", 0),
            ("start", 1),
            ("delta", 1),
            ("end", 1),
            ("start", 2),
            ("end", 2),
        ]
        assert encoder.losses == ()

    def test_arguments_after_their_call_has_ended_are_named(self) -> None:
        _, encoder = written([start(0), delta(0, "{"), TextDelta("a"), delta(0, "}"), delta(0, ""), STOP, End()])
        assert encoder.losses == ("tool_call.arguments",)

    def test_blocks_are_numbered_and_closed(self) -> None:
        said, _ = written(
            [
                ReasoningDelta(text="p", format="cohere-tool-plan", block=-1),
                ReasoningDelta(text="", summary="s"),
                ReasoningDelta(text="t"),
                TextDelta("a", block=1),
                TextDelta("", block=5),
                RefusalDelta("no"),
                TextDelta("b", block=1),
                End(),
            ]
        )
        assert [(event["type"], event.get("index")) for event in said[1:-1]] == [
            ("tool-plan-delta", None),
            *((f"content-{kind}", 0) for kind in ("start", "delta", "delta", "end")),
            *((f"content-{kind}", index) for index in (1, 2, 3) for kind in ("start", "delta", "end")),
        ]
        assert said[-1]["delta"] == {"finish_reason": "ERROR"}

    def test_citations(self) -> None:
        cited = Citation(source="d", title="t", quote="q", start=1, end=3)
        said, _ = written(
            [
                TextDelta("abc", block=7),
                CitationDelta(citation=cited, block=7),
                TextDelta("de", block=7),
                CitationDelta(citation=Citation(source="u"), block=7),
                CitationDelta(citation=cited, block=9),
                STOP,
                End(),
            ]
        )
        found = [event["delta"]["message"]["citations"] for event in said if event["type"] == "citation-start"]
        assert [(c["start"], c["end"], c["text"], c["content_index"]) for c in found] == [
            (1, 3, "bc", 0),
            (0, 5, "abcde", 0),
            (1, 3, "", 1),
        ]
        assert found[0]["sources"] == [
            {"type": "document", "id": "d", "document": {"id": "d", "title": "t", "snippet": "q"}}
        ]
        assert [event["index"] for event in said if event["type"] == "citation-end"] == [0, 1, 2]

    def test_texts_that_go_by_undecoded_are_quoted_too(self) -> None:
        encoder: Any = DIALECT.encoder(CONTEXT)
        encoder.encode([TextDelta("a")])
        assert encoder.around(1, 0) is encoder.around(0, 3) is None
        before, after = encoder.around(0, 0)
        (plain,) = SSEParser().feed(before + b"b" + after)
        assert (plain.event, json.loads(plain.data)) == (
            "content-delta",
            {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "b"}}}},
        )
        for text in (b"b", b'\\"\\u00e9', "é".encode()):
            encoder.wrote(text)
        (said, _) = SSEParser().feed(encoder.encode([CitationDelta(citation=Citation(source="d", start=1))]))
        assert json.loads(said.data)["delta"]["message"]["citations"]["text"] == 'b"éé'

    def test_logprobs_ride_on_the_text(self) -> None:
        said, encoder = written([TextDelta("a"), LogprobsDelta(content=[{"token": "a", "logprob": -0.5}]), STOP, End()])
        assert said[3] == {
            "type": "content-delta",
            "index": 0,
            "delta": {"message": {"content": {"text": ""}}},
            "logprobs": {"text": "a", "token_ids": [], "logprobs": [-0.5]},
        }
        assert encoder.losses == ()

    def test_what_means_nothing_here_is_named(self) -> None:
        said, encoder = written(
            [
                TextDelta("x", choice=1),
                AudioDelta(data="QUJD"),
                LogprobsDelta(content=[{"token": "a", "logprob": -0.5}]),
                ReasoningDelta(signature="s"),
                ReasoningDelta(encrypted="e"),
                Ping(),
                Finish(reason="content_filter"),
                End(),
            ]
        )
        assert [event["type"] for event in said] == ["message-start", "message-end"]
        assert set(encoder.losses) == {
            "n",
            "audio",
            "logprobs",
            "reasoning.signature",
            "reasoning.encrypted",
            "finish_reason",
        }

    def test_an_error_ends_it_like_an_answer_that_failed(self) -> None:
        encoder = DIALECT.encoder(CONTEXT)
        stream = encoder.encode([Start(), TextDelta("a"), Failure(UpstreamOverloaded("busy"))])
        assert b"[DONE]" not in stream
        last = SSEParser().feed(stream)[-1]
        assert stream_event(last.data).delta.error == "busy"
        assert json.loads(last.data) == {
            "type": "message-end",
            "id": "gen-1",
            "delta": {"error": "busy", "finish_reason": "ERROR", "error_type": "upstream_overloaded"},
        }


class TestMeter:
    def test_all_bytes_pass_and_the_figures_are_read(self) -> None:
        meter = DIALECT.meter(True)
        assert meter.feed(STREAM) == STREAM.removesuffix(b"data: [DONE]\n\n")
        assert (meter.content, meter.complete, meter.error) == (True, True, None)
        assert (meter.usage, meter.finish_reason, meter.upstream_id) == (ANSWER.usage, "tool_calls", "a1")

    @pytest.mark.parametrize("ends", [b"\n", b"\r\n", b"\r"])
    def test_any_slicing(self, ends: bytes) -> None:
        stream = STREAM.removesuffix(b"data: [DONE]\n\n").replace(b"\n", ends)
        for size in (1, 7, 100):
            meter = DIALECT.meter(True)
            assert (
                b"".join(meter.feed(stream[at : at + size]) for at in range(0, len(stream), size)) + meter.close()
                == stream
            )
            assert (meter.complete, meter.usage) == (True, ANSWER.usage)

    def test_only_what_a_reader_sees_is_content(self) -> None:
        meter = DIALECT.meter(True)
        silent = STREAM[: STREAM.index(TEXT)] + frame(
            "content-start", {"content": {"type": "text", "text": ""}}, index=1
        )
        meter.feed(silent)
        assert meter.content is False
        meter.feed(TEXT)
        assert meter.content is True
        for said in ("tool-call-start", "citation-start"):
            meter = DIALECT.meter(True)
            meter.feed(frame(said, {}, index=0))
            assert meter.content is True

    def test_most_frames_need_no_look(self) -> None:
        meter = DIALECT.meter(True)
        meter.feed(BEGIN + TEXT)
        more = frame("content-delta", {"content": {"text": 'x "quoted\\"'}}, index=1)
        assert meter.ordinary(more * 3) == 3
        assert meter.ordinary(frame("content-delta", {"content": {"text": "x"}}, index=2)) == 0
        assert meter.feed(more) == more

    @pytest.mark.parametrize(
        ("last", "error"),
        [
            (end(finish_reason="ERROR", error="Overloaded"), UpstreamOverloaded),
            (end(finish_reason="TIMEOUT"), UpstreamTimeout),
            (end(), UpstreamProtocolError),
            (b'data: {"message":"no"}\n\n', UpstreamServerError),
        ],
    )
    def test_an_error_does_not_pass(self, last: bytes, error: type[TriviumError]) -> None:
        meter = DIALECT.meter(True)
        assert meter.feed(BEGIN + TEXT + last + TEXT) == BEGIN + TEXT
        assert type(meter.error) is error
        assert (meter.complete, meter.feed(TEXT), meter.close()) == (False, b"", b"")
        assert meter.ordinary(frame("content-delta", {"content": {"text": "x"}}, index=1)) == 0

    def test_a_cut_passes_whole_frames_only(self) -> None:
        meter = DIALECT.meter(True)
        assert meter.feed(BEGIN + TEXT[:-9]) == BEGIN + TEXT[: TEXT.rindex(b"event:")]
        assert (meter.close(), meter.complete) == (b"", False)

    def test_a_marker_alone_ends_nothing_and_broken_frames_stay_out(self) -> None:
        meter = DIALECT.meter(True)
        assert (
            meter.feed(BEGIN + b"data: [DONE]\n\n" + b'data: {"type":\n\n' + b": comment\n\n")
            == BEGIN + b": comment\n\n"
        )
        assert (meter.complete, meter.malformed, meter.error) == (False, 1, None)

    def test_a_huge_frame_is_a_protocol_error(self) -> None:
        with pytest.raises(UpstreamProtocolError):
            DIALECT.meter(True).feed(b"data: " + b"x" * (5 << 20))


def said(message: str) -> bytes:
    return json.dumps({"id": "i", "message": message}).encode()


class TestErrors:
    @pytest.mark.parametrize(
        ("status", "body", "expected"),
        [
            (400, said("invalid request: temperature must be between 0 and 1.0 inclusive."), UpstreamRejected),
            (
                400,
                said("too many tokens: total number of tokens in the prompt cannot exceed 4081"),
                UpstreamContextLength,
            ),
            (422, said("too many tokens: size limit exceeded by 11326 tokens"), UpstreamContextLength),
            (401, said("invalid api token"), UpstreamAuthError),
            (403, said("no"), UpstreamAuthError),
            (402, said("Please add or update your payment method"), UpstreamQuotaExhausted),
            (404, said("model 'xyz' not found"), UpstreamNotFound),
            (429, said("You are past the per minute request limit"), UpstreamRateLimited),
            (
                429,
                said("You are using a Trial key, which is limited to 1000 API calls / month."),
                UpstreamQuotaExhausted,
            ),
            (498, said("deny-listed token"), UpstreamRefused),
            (499, said("request cancelled"), UpstreamRejected),
            (500, said("internal"), UpstreamServerError),
            (501, b"", UpstreamServerError),
            (503, said("overloaded"), UpstreamOverloaded),
            (504, b"<html>timeout</html>", UpstreamServerError),
            (400, b"\xff", UpstreamRejected),
            (400, b'{"message":5}', UpstreamRejected),
        ],
    )
    def test_decode(self, status: int, body: bytes, expected: type[UpstreamError]) -> None:
        error = DIALECT.decode_error(status, body)
        assert type(error) is expected
        assert error.upstream_status == status
        assert error.message

    def test_a_refused_credential_is_not_quoted(self) -> None:
        assert "secret" not in str(DIALECT.decode_error(401, said("invalid api token: secret")))

    def test_every_error_has_an_envelope_that_the_sdk_knows(self) -> None:
        kinds = [k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, TriviumError)]
        leaves = [
            k for k in kinds if issubclass(k, CallerError | GatewayError | UpstreamError) and not k.__subclasses__()
        ]
        assert len(leaves) > 25
        for kind in leaves:
            error = kind("No.", remedy="Do.", param="messages[0]")
            body = DIALECT.encode_error(error, "gen-1")
            assert json.loads(body) == {
                "id": "gen-1",
                "message": "No. Do.",
                "error_type": error.kind,
                "param": "messages[0]",
            }
            with pytest.raises(ApiError) as caught:
                client(error.status, body).chat(model="m", messages=ASK)
            assert caught.value.status_code == error.status
            assert caught.value.body == json.loads(body)


def test_models_answer() -> None:
    rows = [{"id": "a/b", "created": 0, "owned_by": "a", "name": "a/b", "context": 4096}, {"id": "c"}]
    body = DIALECT.models_answer(rows)
    made: Any = check_strictly(ListModelsResponse, json.loads(body))
    assert [(model.name, model.context_length) for model in made.models] == [("a/b", 4096), ("c", None)]
    assert client(200, body).models.list().models[0].name == "a/b"
