"""Answers of the Messages API, whole and streamed: read, written for its SDK, metered; and its errors."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import httpx2
import pytest
from anthropic import Anthropic, APIStatusError
from anthropic.types import Message as SdkMessage
from anthropic.types import ModelInfo, RawMessageStreamEvent
from anthropic.types.shared import ErrorResponse
from pydantic import TypeAdapter

from trivium import errors
from trivium.dialects.anthropic_messages import DIALECT
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

CONTEXT = AnswerContext(id="gen-1", model="caller/name", created=0, input_tokens_estimate=5)
EVENTS = TypeAdapter[Any](RawMessageStreamEvent)

CITATION = {
    "type": "char_location",
    "cited_text": "quoted",
    "document_index": 0,
    "document_title": "Doc",
    "start_char_index": 0,
    "end_char_index": 6,
}
USAGE = {
    "input_tokens": 10,
    "output_tokens": 7,
    "cache_read_input_tokens": 3,
    "cache_creation_input_tokens": 9,
    "cache_creation": {"ephemeral_5m_input_tokens": 5, "ephemeral_1h_input_tokens": 4},
    "output_tokens_details": {"thinking_tokens": 2},
}
CANONICAL_USAGE = Usage(
    input_tokens=10,
    output_tokens=7,
    cache_read_tokens=3,
    cache_write_tokens=5,
    cache_write_1h_tokens=4,
    reasoning_tokens=2,
)
ANSWER = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-x",
    "content": [
        {"type": "thinking", "thinking": "let me see", "signature": "sig"},
        {"type": "redacted_thinking", "data": "enc"},
        {"type": "text", "text": "Héllo", "citations": [CITATION]},
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
        {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}},
        {"type": "tool_use", "id": "t2", "name": "g", "input": {}},
    ],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": USAGE,
}
START_USAGE = USAGE | {"output_tokens": 1, "output_tokens_details": None}
DELTA_USAGE = {"output_tokens": 7, "output_tokens_details": {"thinking_tokens": 2}}


def frame(event: dict[str, Any]) -> bytes:
    return f"event: {event['type']}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n".encode()


def block(index: int, start: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": start},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def text_block(*texts: str, index: int = 0) -> list[dict[str, Any]]:
    return block(index, {"type": "text", "text": ""}, *({"type": "text_delta", "text": text} for text in texts))


def started() -> dict[str, Any]:
    message = ANSWER | {"content": [], "stop_reason": None, "usage": START_USAGE}
    return {"type": "message_start", "message": message}


def ended(stop_reason: str = "end_turn") -> list[dict[str, Any]]:
    delta = {"stop_reason": stop_reason, "stop_sequence": None}
    return [{"type": "message_delta", "delta": delta, "usage": DELTA_USAGE}, {"type": "message_stop"}]


STREAM = [
    started(),
    {"type": "ping"},
    *block(
        0,
        {"type": "thinking", "thinking": "", "signature": ""},
        {"type": "thinking_delta", "thinking": "let me "},
        {"type": "thinking_delta", "thinking": "see"},
        {"type": "signature_delta", "signature": "sig"},
    ),
    *block(1, {"type": "redacted_thinking", "data": "enc"}),
    *block(
        2,
        {"type": "text", "text": ""},
        {"type": "text_delta", "text": "Hé"},
        {"type": "citations_delta", "citation": CITATION},
        {"type": "text_delta", "text": "llo"},
    ),
    *block(3, {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}),
    *block(
        4,
        {"type": "tool_use", "id": "t1", "name": "f", "input": {}},
        {"type": "input_json_delta", "partial_json": ""},
        {"type": "input_json_delta", "partial_json": '{"a": '},
        {"type": "input_json_delta", "partial_json": "1}"},
    ),
    *block(5, {"type": "tool_use", "id": "t2", "name": "g", "input": {}}),
    *ended("tool_use"),
]
STREAM_BYTES = b"".join(frame(event) for event in STREAM)
PLAIN_BYTES = b"".join(frame(event) for event in [started(), *text_block("a", "b"), *ended()])


def decoded(data: bytes) -> list[Event]:
    decoder = DIALECT.decoder()
    return decoder.feed(data) + decoder.close()


def merged(events: Iterable[Event]) -> list[Event]:
    return [event for event in events if not isinstance(event, Ping)]


class TestDecodeAnswer:
    def test_every_block(self) -> None:
        answer = fold(DIALECT.decode_answer(json.dumps(ANSWER).encode()))
        assert answer == Response(
            id="msg_1",
            model="claude-x",
            choices=(
                Choice(
                    message=Message(
                        "assistant",
                        (
                            Reasoning(text="let me see", signature="sig", format="anthropic-claude-v1"),
                            Reasoning(encrypted="enc", format="anthropic-claude-v1"),
                            Text("Héllo", citations=(Citation(source="Doc", title="Doc", quote="quoted"),)),
                            ToolCall(id="t1", name="f", arguments='{"a": 1}'),
                            ToolCall(id="t2", name="g", arguments="{}"),
                        ),
                    ),
                    finish_reason="tool_calls",
                    native_finish_reason="tool_use",
                ),
            ),
            usage=CANONICAL_USAGE,
        )

    @pytest.mark.parametrize(
        ("stop_reason", "finish"),
        [
            ("end_turn", "stop"),
            ("stop_sequence", "stop"),
            ("pause_turn", "stop"),
            ("max_tokens", "length"),
            ("model_context_window_exceeded", "length"),
            ("tool_use", "tool_calls"),
            ("refusal", "refusal"),
            ("something_new", "stop"),
        ],
    )
    def test_stop_reasons(self, stop_reason: str, finish: str) -> None:
        body = json.dumps(ANSWER | {"content": [], "stop_reason": stop_reason, "stop_sequence": "x"}).encode()
        choice = fold(DIALECT.decode_answer(body)).choices[0]
        assert (choice.finish_reason, choice.native_finish_reason) == (finish, stop_reason)
        assert choice.stop_sequence == "x"
        assert DIALECT.read_answer(body).finish_reason == finish

    @pytest.mark.parametrize(
        ("body", "error"),
        [
            (b"", UpstreamProtocolError),
            (b"<html>", UpstreamProtocolError),
            (b"[]", UpstreamProtocolError),
            (b"{}", UpstreamProtocolError),
            (b'{"id":"x","content":[],"stop_reason":null}', UpstreamProtocolError),
            (b"[" * 100_000, UpstreamProtocolError),
            (b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}', UpstreamOverloaded),
        ],
    )
    def test_200_is_not_success(self, body: bytes, error: type[TriviumError]) -> None:
        for read in (DIALECT.decode_answer, DIALECT.read_answer):
            with pytest.raises(error):
                read(body)

    def test_read_answer(self) -> None:
        seen = DIALECT.read_answer(json.dumps(ANSWER).encode())
        assert (seen.id, seen.finish_reason, seen.usage) == ("msg_1", "tool_calls", CANONICAL_USAGE)

    def test_absurd_counts_are_not_billed(self) -> None:
        usage = {"input_tokens": -4, "output_tokens": 10**30, "cache_read_input_tokens": "9"}
        seen = DIALECT.read_answer(json.dumps(ANSWER | {"usage": usage}).encode())
        assert seen.usage == Usage()


def response(*parts: Part, **fields: Any) -> Response:
    return Response(
        choices=(Choice(message=Message("assistant", parts), **{"finish_reason": "stop"} | fields),),
        usage=CANONICAL_USAGE,
    )


class TestEncodeAnswer:
    def test_the_sdk_reads_it(self) -> None:
        answer = fold(DIALECT.decode_answer(json.dumps(ANSWER).encode()))
        encoded = DIALECT.encode_answer(answer, CONTEXT)
        message = SdkMessage.model_validate_json(encoded.body, strict=True)
        assert (message.id, message.model, message.stop_reason) == ("gen-1", "caller/name", "tool_use")
        kinds = ["thinking", "redacted_thinking", "text", "tool_use", "tool_use"]
        assert [found.type for found in message.content] == kinds
        assert message.content[3].input == {"a": 1}
        assert message.usage.cache_creation_input_tokens == 9
        assert message.usage.cache_creation is not None
        assert message.usage.cache_creation.ephemeral_1h_input_tokens == 4
        assert encoded.losses == ()

    def test_it_is_read_back_as_it_was(self) -> None:
        parts = (
            Reasoning(text="hm", signature="s", format="anthropic-claude-v1"),
            Text("a", citations=(Citation(source="https://example.org", title="t", quote="q"),)),
            ToolCall(id="1", name="f", arguments='{"x":[1.0]}'),
        )
        back = fold(DIALECT.decode_answer(DIALECT.encode_answer(response(*parts), CONTEXT).body))
        assert back.choices[0].message.parts == parts
        assert back.usage == CANONICAL_USAGE

    @pytest.mark.parametrize(
        ("fields", "stop_reason"),
        [
            ({"finish_reason": "stop"}, "end_turn"),
            ({"finish_reason": "stop", "stop_sequence": "X"}, "stop_sequence"),
            ({"finish_reason": "stop", "native_finish_reason": "pause_turn"}, "pause_turn"),
            ({"finish_reason": "length", "native_finish_reason": "max_output"}, "max_tokens"),
            ({"finish_reason": "tool_calls", "native_finish_reason": "stop"}, "tool_use"),
            ({"finish_reason": "content_filter"}, "refusal"),
            ({"finish_reason": "refusal"}, "refusal"),
            ({"finish_reason": "error"}, None),
            ({"finish_reason": None}, None),
        ],
    )
    def test_stop_reasons(self, fields: dict[str, Any], stop_reason: str | None) -> None:
        wire = json.loads(DIALECT.encode_answer(response(Text("a"), **fields), CONTEXT).body)
        assert (wire["stop_reason"], wire["stop_sequence"]) == (stop_reason, fields.get("stop_sequence"))

    def test_losses(self) -> None:
        parts = (
            Refusal("I will not"),
            Audio(data="AAAA", format="wav"),
            Reasoning(text="t", signature="s", encrypted="e", format="openai-responses-v1"),
            ToolCall(id="1", name="f", arguments="{broken"),
        )
        answer = response(*parts, logprobs=[{}])
        answer = Response(choices=(answer.choices[0], Choice(index=1, message=Message("assistant"))))
        encoded = DIALECT.encode_answer(answer, CONTEXT)
        wire = json.loads(encoded.body)
        assert wire["content"] == [
            {"type": "text", "text": "I will not", "citations": None},
            {"type": "thinking", "thinking": "t", "signature": ""},
            {"type": "tool_use", "id": "1", "name": "f", "input": {"arguments": "{broken"}},
        ]
        assert wire["stop_reason"] == "refusal"
        assert wire["usage"]["input_tokens"] == 5
        assert set(encoded.losses) == {"n", "logprobs", "audio", "reasoning.signature", "tool_call.arguments"}

    def test_cost_is_said_where_it_is_known(self) -> None:
        answer = Response(usage=Usage(cost_usd=0.5), choices=response(Text("a")).choices)
        assert json.loads(DIALECT.encode_answer(answer, CONTEXT).body)["usage"]["cost"] == 0.5


class TestDecoder:
    def test_the_fold_is_the_whole_answer(self) -> None:
        events = decoded(STREAM_BYTES)
        assert fold(events) == fold(DIALECT.decode_answer(json.dumps(ANSWER).encode()))
        start = events[0]
        assert isinstance(start, Start)
        assert start.usage is not None
        assert (start.usage.input_tokens, start.usage.output_tokens) == (10, 1)
        assert events[-1] == End()

    def test_any_slicing(self) -> None:
        expected = decoded(STREAM_BYTES)
        for offset in range(len(STREAM_BYTES)):
            decoder = DIALECT.decoder()
            assert decoder.feed(STREAM_BYTES[:offset]) + decoder.feed(STREAM_BYTES[offset:]) == expected
        decoder = DIALECT.decoder()
        assert [e for i in range(len(STREAM_BYTES)) for e in decoder.feed(STREAM_BYTES[i : i + 1])] == expected

    def test_a_cut_has_no_end(self) -> None:
        complete_from = STREAM_BYTES.index(b"event: message_stop")
        for offset in range(len(STREAM_BYTES) - 1):
            assert (End() in decoded(STREAM_BYTES[:offset])) == (offset >= complete_from)

    def test_marker_without_a_stop_reason_is_no_end(self) -> None:
        stream = b"".join(frame(event) for event in [started(), *text_block("a"), {"type": "message_stop"}])
        assert End() not in decoded(stream)

    def test_error_event(self) -> None:
        error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
        events = decoded(b"".join(frame(event) for event in [started(), *text_block("a"), error, *ended()]))
        assert isinstance(events[-1], Failure)
        assert isinstance(events[-1].error, UpstreamOverloaded)

    def test_broken_and_unknown_frames_are_skipped(self) -> None:
        decoder = DIALECT.decoder()
        noise = b'event: content_block_delta\ndata: {"type":"content_bl\n\n: comment\n\nevent: x\n\n'
        noise += frame({"type": "of_the_future", "delta": {"type": "new"}}) + frame({"type": "ping"})
        middle = PLAIN_BYTES.index(b"event: content_block_stop")
        events = decoder.feed(PLAIN_BYTES[:middle] + noise + PLAIN_BYTES[middle:])
        assert merged(events) == decoded(PLAIN_BYTES)
        assert Ping() in events
        assert decoder.malformed == 1

    def test_a_huge_frame_is_a_protocol_error(self) -> None:
        with pytest.raises(UpstreamProtocolError):
            DIALECT.decoder().feed(b"data: " + b"x" * (5 << 20))

    def test_input_that_came_with_the_block(self) -> None:
        call = block(0, {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}})
        events = decoded(b"".join(frame(event) for event in [started(), *call, *ended("tool_use")]))
        assert fold(events).tool_calls == (ToolCall(id="t", name="f", arguments='{"a": 1}'),)


def encoded(*events: Event, ends: bool = True) -> bytes:
    encoder = DIALECT.encoder(CONTEXT)
    end = (Finish(reason="stop"), UsageReport(CANONICAL_USAGE), End()) if ends else ()
    return b"".join(encoder.encode([event]) for event in (*events, *end))


def sdk_events(data: bytes) -> list[Any]:
    found = []
    for seen in SSEParser().feed(data):
        if seen.event == "ping":
            continue
        event = EVENTS.validate_json(seen.data, strict=True)
        assert seen.event == event.type
        found.append(event)
    return found


def sdk_message(data: bytes) -> SdkMessage:
    """What the SDK's own stream helper makes of these bytes."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=data)

    with (
        httpx2.Client(transport=httpx2.MockTransport(answer)) as http,
        Anthropic(api_key="k", base_url="http://upstream", http_client=http, max_retries=0) as client,
        client.messages.stream(model="m", max_tokens=9, messages=[{"role": "user", "content": "hi"}]) as stream,
    ):
        return stream.get_final_message()


class TestEncoder:
    def test_the_exact_sequence(self) -> None:
        data = encoded(Start(id="up", model="up"), TextDelta("Hé"), TextDelta("llo\n"))
        assert [event.type for event in sdk_events(data)] == [
            "message_start",
            "content_block_start",
            "content_block_delta",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop",
        ]
        expected = frame(
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "llo\n"}}
        ).replace(b'": ', b'":')
        assert expected.replace(b", ", b",") in data

    def test_the_sdk_gathers_the_same_as_the_whole_answer(self) -> None:
        events = decoded(STREAM_BYTES)
        whole = SdkMessage.model_validate_json(DIALECT.encode_answer(fold(events), CONTEXT).body)
        gathered = sdk_message(DIALECT.encoder(CONTEXT).encode(events))
        ours = {"usage": {"cache_creation"}, "content": True}
        assert gathered.model_dump(exclude=ours) == whole.model_dump(exclude=ours)
        shared = {"type", "text", "thinking", "signature", "data", "id", "name", "input"}
        assert [b.model_dump(include=shared) for b in gathered.content] == [
            b.model_dump(include=shared) for b in whole.content
        ]

    def test_translated_again_it_is_the_same_stream(self) -> None:
        events = merged(decoded(STREAM_BYTES))
        again = merged(decoded(DIALECT.encoder(CONTEXT).encode(events)))
        assert fold(again).choices == fold(events).choices
        assert fold(again).usage == fold(events).usage

    def test_events_may_come_in_any_batches(self) -> None:
        events = decoded(STREAM_BYTES)
        encoder = DIALECT.encoder(CONTEXT)
        assert b"".join(encoder.encode([event]) for event in events) == DIALECT.encoder(CONTEXT).encode(events)

    def test_input_is_estimated_until_it_is_known(self) -> None:
        start, *_, delta, _ = sdk_events(encoded(Start(), TextDelta("a")))
        assert start.message.usage.input_tokens == 5
        assert (delta.usage.input_tokens, delta.usage.output_tokens) == (10, 7)
        assert delta.delta.stop_reason == "end_turn"

    def test_parallel_calls_become_sequential_blocks(self) -> None:
        calls = [
            ToolCallStart(index=0, id="a", name="f"),
            ToolCallStart(index=1, id="b", name="g"),
            ToolCallStart(index=2, id="c", name="h"),
            ToolCallDelta(index=1, arguments='{"y"'),
            ToolCallDelta(index=0, arguments='{"x"'),
            ToolCallDelta(index=2, arguments="{}"),
            ToolCallDelta(index=0, arguments=":1}"),
            ToolCallDelta(index=1, arguments=":2}"),
        ]
        content = sdk_message(encoded(Start(), TextDelta("so"), *calls)).content
        assert [(b.id, b.input) for b in content if b.type == "tool_use"] == [
            ("a", {"x": 1}),
            ("b", {"y": 2}),
            ("c", {}),
        ]

    def test_calls_in_turn_are_streamed_at_once(self) -> None:
        encoder = DIALECT.encoder(CONTEXT)
        encoder.encode([Start(), ToolCallStart(index=0, id="a", name="f")])
        assert b'"partial_json":"{}"' in encoder.encode([ToolCallDelta(index=0, arguments="{}")])
        second = encoder.encode([ToolCallStart(index=1, id="b", name="g"), ToolCallDelta(index=1, arguments="{")])
        assert b"content_block_stop" in second
        assert b'"partial_json":"{"' in second

    def test_thinking_and_its_signature(self) -> None:
        data = encoded(
            Start(),
            ReasoningDelta(text="a"),
            ReasoningDelta(summary="b"),
            ReasoningDelta(signature="s", format="anthropic-claude-v1"),
            ReasoningDelta(encrypted="e", format="anthropic-claude-v1", block=1),
            TextDelta("t"),
        )
        thinking, redacted, text = sdk_message(data).content
        assert (thinking.thinking, thinking.signature) == ("ab", "s")
        assert (redacted.data, text.text) == ("e", "t")

    def test_foreign_signatures_stay_out(self) -> None:
        encoder = DIALECT.encoder(CONTEXT)
        foreign = ReasoningDelta(text="t", signature="s", format="openai-responses-v1")
        data = encoder.encode([Start(), foreign, Finish(reason="stop"), End()])
        assert sdk_message(data).content[0].signature == ""
        assert encoder.losses == ("reasoning.signature",)

    def test_refusal_is_text_with_its_stop_reason(self) -> None:
        message = sdk_message(encoded(Start(), RefusalDelta("I "), RefusalDelta("won't")))
        assert message.content[0].text == "I won't"
        assert message.stop_reason == "refusal"

    def test_citation(self) -> None:
        citation = CitationDelta(citation=Citation(source="https://example.org", quote="q"))
        message = sdk_message(encoded(Start(), TextDelta("a"), citation))
        assert message.content[0].citations[0].cited_text == "q"

    def test_what_means_nothing_here_is_named(self) -> None:
        encoder = DIALECT.encoder(CONTEXT)
        assert (
            encoder.encode([AudioDelta(data="A"), LogprobsDelta(content=[]), TextDelta("x", choice=1), Ping()]) == b""
        )
        assert encoder.losses == ("audio", "logprobs", "n")

    def test_an_error_ends_it_without_the_marker(self) -> None:
        encoder = DIALECT.encoder(CONTEXT)
        data = encoder.encode([Start(), TextDelta("a")]) + encoder.fail(UpstreamOverloaded("busy", remedy="Wait."))
        assert b"message_stop" not in data
        with pytest.raises(APIStatusError) as caught:
            sdk_message(data)
        assert caught.value.body["error"]["message"] == "busy Wait."


class TestMeter:
    def test_all_bytes_pass_and_the_figures_are_read(self) -> None:
        meter = DIALECT.meter(True)
        assert meter.feed(STREAM_BYTES) == STREAM_BYTES
        assert (meter.usage, meter.finish_reason, meter.upstream_id) == (CANONICAL_USAGE, "tool_calls", "msg_1")
        assert (meter.content, meter.complete, meter.error) == (True, True, None)
        assert meter.close() == b""

    @pytest.mark.parametrize("ends", [b"\n", b"\r\n", b"\r"])
    def test_any_slicing(self, ends: bytes) -> None:
        stream = STREAM_BYTES.replace(b"\n", ends)
        for offset in range(len(stream)):
            meter = DIALECT.meter(True)
            assert meter.feed(stream[:offset]) + meter.feed(stream[offset:]) + meter.close() == stream
            assert (meter.usage, meter.finish_reason, meter.complete) == (CANONICAL_USAGE, "tool_calls", True)

    def test_only_what_a_reader_sees_is_content(self) -> None:
        content = []
        meter = DIALECT.meter(True)
        for event in STREAM:
            meter.feed(frame(event))
            content.append(meter.content)
        first = next(index for index, event in enumerate(STREAM) if "Hé" in str(event))
        assert content == [False] * first + [True] * (len(STREAM) - first)

    def test_an_error_stops_it(self) -> None:
        error = frame({"type": "error", "error": {"type": "api_error", "message": "oops"}})
        before = PLAIN_BYTES[: PLAIN_BYTES.index(b"event: content_block_stop")]
        stream = before + error + PLAIN_BYTES[len(before) :]
        for offset in range(len(stream)):
            meter = DIALECT.meter(True)
            assert meter.feed(stream[:offset]) + meter.feed(stream[offset:]) + meter.close() == before
            assert isinstance(meter.error, UpstreamServerError)
            assert not meter.complete

    def test_exotic_spacing(self) -> None:
        stream = PLAIN_BYTES.replace(b"event: ", b"event:").replace(b'": ', b'" : ')
        error = b'data:{ "error":{"type":"rate_limit_error","message":"slow down"}, "type" :\ndata:"error" }\n\n'
        meter = DIALECT.meter(True)
        assert meter.feed(stream + error) == stream  # what stands behind the end is not looked at
        assert meter.usage is not None
        assert (meter.usage.output_tokens, meter.error) == (7, None)
        meter = DIALECT.meter(True)
        assert meter.feed(error) == b""
        assert isinstance(meter.error, UpstreamRateLimited)

    def test_words_in_the_text_are_only_words(self) -> None:
        said = [started(), *text_block('event: error {"type":"error"}', "message_stop"), *ended()]
        stream = b"".join(frame(event) for event in said)
        meter = DIALECT.meter(True)
        assert meter.feed(stream) == stream
        assert (meter.complete, meter.error) == (True, None)

    def test_the_missing_marker_is_synthesised(self) -> None:
        cut = PLAIN_BYTES.index(b"event: message_stop")
        for offset in (cut, cut + 9, len(PLAIN_BYTES) - 1):
            meter = DIALECT.meter(True)
            passed = meter.feed(PLAIN_BYTES[:offset])
            assert not meter.complete
            assert (
                passed + meter.close() == PLAIN_BYTES[:cut] + b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
            )
            assert meter.complete

    def test_a_cut_passes_whole_frames_only(self) -> None:
        for offset in range(PLAIN_BYTES.index(b"event: message_stop") - 1):
            meter = DIALECT.meter(True)
            passed = meter.feed(PLAIN_BYTES[:offset]) + meter.close()
            assert not meter.complete
            assert passed == b"" or passed.endswith(b"\n\n")

    def test_a_huge_frame_is_an_error(self) -> None:
        meter = DIALECT.meter(True)
        assert meter.feed(b"data: " + b"x" * (5 << 20)) == b""
        assert isinstance(meter.error, UpstreamProtocolError)


def wire_error(kind: str, message: str = "m") -> bytes:
    return json.dumps({"type": "error", "error": {"type": kind, "message": message}}).encode()


class TestErrors:
    @pytest.mark.parametrize(
        ("status", "body", "expected"),
        [
            (529, wire_error("overloaded_error"), UpstreamOverloaded),
            (500, wire_error("overloaded_error"), UpstreamOverloaded),
            (500, wire_error("api_error"), UpstreamServerError),
            (502, b"<html>bad gateway", UpstreamServerError),
            (503, b"", UpstreamOverloaded),
            (429, wire_error("rate_limit_error"), UpstreamRateLimited),
            (401, wire_error("authentication_error", "invalid x-api-key"), UpstreamAuthError),
            (403, wire_error("permission_error"), UpstreamAuthError),
            (404, wire_error("not_found_error", "model: x"), UpstreamNotFound),
            (413, wire_error("request_too_large", "Request exceeds the maximum size"), UpstreamRejected),
            (402, wire_error("billing_error"), UpstreamQuotaExhausted),
            (400, wire_error("invalid_request_error", "Your credit balance is too low"), UpstreamQuotaExhausted),
            (400, wire_error("invalid_request_error", "prompt is too long: 9 > 8"), UpstreamContextLength),
            (
                400,
                wire_error("invalid_request_error", "input length and `max_tokens` exceed context limit: 9 + 9 > 8"),
                UpstreamContextLength,
            ),
            (400, wire_error("invalid_request_error", "Output blocked by content filtering policy"), UpstreamRefused),
            (400, wire_error("invalid_request_error", "messages: at least one"), UpstreamRejected),
            (400, b'{"error":"plain words"}', UpstreamRejected),
            (400, b'{"error":{"type":7,"message":["x"]}}', UpstreamRejected),
        ],
    )
    def test_decode(self, status: int, body: bytes, expected: type[UpstreamError]) -> None:
        error = DIALECT.decode_error(status, body)
        assert type(error) is expected
        assert "<html" not in error.message

    @pytest.mark.parametrize(
        ("kind", "expected"),
        [
            ("overloaded_error", UpstreamOverloaded),
            ("rate_limit_error", UpstreamRateLimited),
            ("api_error", UpstreamServerError),
            ("authentication_error", UpstreamAuthError),
            ("billing_error", UpstreamQuotaExhausted),
            ("timeout_error", UpstreamServerError),
            ("", UpstreamServerError),
        ],
    )
    def test_in_the_stream(self, kind: str, expected: type[UpstreamError]) -> None:
        failure = decoded(frame({"type": "error", "error": {"type": kind, "message": "m"}}))[-1]
        assert isinstance(failure, Failure)
        assert type(failure.error) is expected

    def test_every_error_has_an_envelope_that_the_sdk_knows(self) -> None:
        ours = (CallerError, GatewayError, UpstreamError)
        leaves = [leaf for leaf in vars(errors).values() if isinstance(leaf, type) and issubclass(leaf, ours)]
        kinds = {}
        for leaf in leaves:
            body = DIALECT.encode_error(leaf("It broke.", remedy="Fix it.", param="messages[0]"), "req-1")
            envelope = ErrorResponse.model_validate_json(body)
            assert (envelope.error.message, envelope.request_id) == ("It broke. Fix it.", "req-1")
            kinds[leaf.__name__] = envelope.error.type
        assert kinds["InvalidRequest"] == kinds["PayloadTooLarge"] == "invalid_request_error"
        assert kinds["RateLimited"] == "rate_limit_error"
        assert kinds["AuthenticationFailed"] == "authentication_error"
        assert kinds["PaymentRequired"] == "billing_error"
        assert kinds["PermissionDenied"] == "permission_error"
        assert kinds["UpstreamOverloaded"] == kinds["Unavailable"] == "overloaded_error"
        assert kinds["UpstreamTimeout"] == "timeout_error"
        assert kinds["UpstreamAuthError"] == kinds["InternalError"] == "api_error"
        assert kinds["NoEndpoint"] == "not_found_error"


def test_models_answer() -> None:
    rows = [{"id": "a/b", "created": 1_700_000_000, "owned_by": "a", "name": "B", "context": 9}, {"id": "c"}]
    wire = json.loads(DIALECT.models_answer(rows))
    first, second = (ModelInfo.model_validate(row) for row in wire["data"])
    assert (first.id, first.display_name, first.created_at.year, first.max_input_tokens) == ("a/b", "B", 2023, 9)
    assert (second.id, second.display_name, second.created_at.year) == ("c", "c", 1970)
    assert (wire["has_more"], wire["first_id"], wire["last_id"]) == (False, "a/b", "c")
    assert json.loads(DIALECT.models_answer([]))["first_id"] is None
