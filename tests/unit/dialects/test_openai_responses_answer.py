"""Answers of the Responses API, whole and streamed: read, written for its SDK, metered; and its errors."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

import pytest
from msgspec.structs import replace
from openai.types.responses import Response as SdkResponse
from openai.types.responses import ResponseStreamEvent

from sdk_types import judge
from trivium.dialects.base import NOTHING_PASSED, AnswerContext
from trivium.dialects.openai_responses import DIALECT
from trivium.errors import (
    InvalidRequest,
    TriviumError,
    UpstreamContextLength,
    UpstreamCut,
    UpstreamOverloaded,
    UpstreamProtocolError,
    UpstreamQuotaExhausted,
    UpstreamRateLimited,
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
from trivium.types.request import Request
from trivium.types.response import Choice, Response, fold
from trivium.types.usage import Usage
from trivium.wire.sse import SSEParser

FORMAT = "openai-responses-v1"
CONTEXT = AnswerContext(id="gen-1", model="caller/name", created=7)
USAGE = {
    "input_tokens": 22,
    "input_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 9},
    "output_tokens": 7,
    "output_tokens_details": {"reasoning_tokens": 2},
    "total_tokens": 29,
}
CANONICAL_USAGE = Usage(input_tokens=10, output_tokens=7, cache_read_tokens=3, cache_write_tokens=9, reasoning_tokens=2)
NOTE = {"type": "url_citation", "url": "https://a.test", "title": "A", "start_index": 0, "end_index": 2}
CITATION = Citation(source="https://a.test", title="A", start=0, end=2)
LOGPROB = {"token": "é", "bytes": [195, 169], "logprob": -0.5, "top_logprobs": []}
THOUGHT = {
    "id": "rs_1",
    "type": "reasoning",
    "summary": [{"type": "summary_text", "text": "one"}, {"type": "summary_text", "text": "two"}],
    "content": [{"type": "reasoning_text", "text": "raw"}],
    "encrypted_content": "sealed",
}
TEXT_PART = {"type": "output_text", "text": "Héllo", "annotations": [NOTE], "logprobs": [LOGPROB]}
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "status": "completed",
    "content": [TEXT_PART, {"type": "refusal", "refusal": "no"}],
}
SEARCH = {"id": "ws_1", "type": "web_search_call", "status": "completed", "action": {"type": "search"}, "arguments": {}}
CALL = {
    "id": "fc_1",
    "type": "function_call",
    "call_id": "c1",
    "name": "f",
    "arguments": '{"a": 1}',
    "status": "completed",
}
CUSTOM = {"id": "ctc_1", "type": "custom_tool_call", "call_id": "c2", "name": "apply_patch", "input": "p"}
ANSWER = {
    "id": "resp_1",
    "object": "response",
    "created_at": 5.0,
    "status": "completed",
    "error": None,
    "incomplete_details": None,
    "model": "gpt-x",
    "output": [THOUGHT, SEARCH, MESSAGE, CALL, CUSTOM],
    "usage": USAGE,
}
PARTS: tuple[Part, ...] = (
    Reasoning(text="raw", summary="one\n\ntwo", encrypted="sealed", id="rs_1", format=FORMAT),
    Text("Héllo", citations=(CITATION,)),
    Refusal("no"),
    ToolCall(id="c1", name="f", arguments='{"a": 1}'),
    ToolCall(id="c2", name="apply_patch", arguments='{"input":"p"}'),
)


def frame(event: dict[str, Any]) -> bytes:
    data = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
    return f"event: {event['type']}\ndata: {data}\n\n".encode()


def numbered(*events: dict[str, Any]) -> bytes:
    return b"".join(frame(event | {"sequence_number": number}) for number, event in enumerate(events))


def said(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}", **fields}


def begun(index: int, item: dict[str, Any]) -> dict[str, Any]:
    return said("output_item.added", output_index=index, item=item)


def done(index: int, item: dict[str, Any]) -> dict[str, Any]:
    return said("output_item.done", output_index=index, item=item)


STARTED = said("created", response=ANSWER | {"status": "in_progress", "output": [], "usage": None})
COMPLETED = said("completed", response=ANSWER)
STREAM = [
    STARTED,
    said("in_progress", response=STARTED["response"]),
    begun(0, THOUGHT | {"summary": [], "content": [], "encrypted_content": None}),
    said("reasoning_summary_part.added", output_index=0, summary_index=0, part={"type": "summary_text", "text": ""}),
    said("reasoning_summary_text.delta", output_index=0, summary_index=0, delta="on"),
    said("reasoning_summary_text.delta", output_index=0, summary_index=0, delta="e"),
    said("reasoning_summary_text.done", output_index=0, summary_index=0, text="one"),
    said("reasoning_summary_text.delta", output_index=0, summary_index=1, delta="two"),
    said("reasoning_text.delta", output_index=0, content_index=0, delta="raw"),
    done(0, THOUGHT),
    begun(1, SEARCH),
    said("web_search_call.in_progress", output_index=1, item_id="ws_1"),
    done(1, SEARCH),
    begun(2, MESSAGE | {"content": []}),
    said("content_part.added", output_index=2, content_index=0, part={"type": "output_text", "text": ""}),
    said("output_text.delta", output_index=2, content_index=0, delta="Hé", logprobs=[]),
    said("output_text.delta", output_index=2, content_index=0, delta="llo", logprobs=[LOGPROB]),
    said("output_text.annotation.added", output_index=2, content_index=0, annotation_index=0, annotation=NOTE),
    said("output_text.done", output_index=2, content_index=0, text="Héllo", logprobs=[]),
    said("content_part.done", output_index=2, content_index=0, part=TEXT_PART),
    said("refusal.delta", output_index=2, content_index=1, delta="no"),
    said("refusal.done", output_index=2, content_index=1, refusal="no"),
    done(2, MESSAGE),
    # Calls that speak at the same time.
    begun(3, CALL | {"arguments": "", "status": "in_progress"}),
    begun(4, CUSTOM | {"input": ""}),
    said("function_call_arguments.delta", output_index=3, delta='{"a'),
    said("custom_tool_call_input.delta", output_index=4, delta="p"),
    said("function_call_arguments.delta", output_index=3, delta='": 1}'),
    said("function_call_arguments.done", output_index=3, arguments='{"a": 1}'),
    said("custom_tool_call_input.done", output_index=4, input="p"),
    done(4, CUSTOM),
    done(3, CALL),
    COMPLETED,
]
STREAM_BYTES = numbered(*STREAM)
PLAIN = [STARTED, begun(0, MESSAGE | {"content": []})]


def text_delta(text: str, **more: Any) -> dict[str, Any]:
    return said("output_text.delta", output_index=0, content_index=0, item_id="msg_1", delta=text, logprobs=[], **more)


def decoded(data: bytes) -> list[Event]:
    decoder = DIALECT.decoder()
    return decoder.feed(data) + decoder.close()


def without_pings(events: Iterable[Event]) -> list[Event]:
    return [event for event in events if not isinstance(event, Ping)]


class TestDecodeAnswer:
    def test_every_item(self) -> None:
        assert fold(DIALECT.decode_answer(json.dumps(ANSWER).encode())) == Response(
            id="resp_1",
            model="gpt-x",
            created=5,
            choices=(
                Choice(
                    message=Message("assistant", PARTS),
                    finish_reason="tool_calls",
                    native_finish_reason="completed",
                    logprobs=[LOGPROB],
                ),
            ),
            usage=CANONICAL_USAGE,
        )

    @pytest.mark.parametrize(
        ("status", "details", "finish", "native"),
        [
            ("completed", None, "stop", "completed"),
            (None, None, "stop", "completed"),
            ("incomplete", {"reason": "max_output_tokens"}, "length", "max_output_tokens"),
            ("incomplete", {"reason": "content_filter"}, "content_filter", "content_filter"),
            ("incomplete", {"reason": "something_new"}, "length", "something_new"),
            ("incomplete", None, "length", "incomplete"),
        ],
    )
    def test_statuses(self, status: str | None, details: Any, finish: str, native: str) -> None:
        body = json.dumps(ANSWER | {"output": [MESSAGE], "status": status, "incomplete_details": details}).encode()
        choice = fold(DIALECT.decode_answer(body)).choices[0]
        assert (choice.finish_reason, choice.native_finish_reason) == (finish, native)
        assert DIALECT.read_answer(body).finish_reason == finish

    @pytest.mark.parametrize(
        ("body", "error"),
        [
            (b"", UpstreamProtocolError),
            (b"<html>", UpstreamProtocolError),
            (b"[]", UpstreamProtocolError),
            (b"{}", UpstreamProtocolError),
            (b'{"status":"completed","output":[]}', UpstreamProtocolError),
            (b'{"output":[{"type":"message","content":7}]}', UpstreamProtocolError),
            (b'{"output":["x"]}', UpstreamProtocolError),
            (b"[" * 100_000, UpstreamProtocolError),
            (b'{"status":"cancelled","output":[]}', UpstreamServerError),
            (b'{"status":"failed","error":{"code":"rate_limit_exceeded","message":"slow"}}', UpstreamRateLimited),
            (b'{"error":{"message":"Overloaded","type":"server_error","code":"overloaded"}}', UpstreamOverloaded),
        ],
    )
    def test_200_is_not_success(self, body: bytes, error: type[TriviumError]) -> None:
        with pytest.raises(error):
            DIALECT.decode_answer(body)
        if b"content" not in body and b'"x"' not in body:  # what is passed is only looked at
            with pytest.raises(error):
                DIALECT.read_answer(body)

    def test_read_answer(self) -> None:
        seen = DIALECT.read_answer(json.dumps(ANSWER).encode())
        assert (seen.id, seen.finish_reason, seen.usage) == ("resp_1", "tool_calls", CANONICAL_USAGE)

    def test_an_answer_in_the_background_passes_and_is_none_yet(self) -> None:
        body = json.dumps(ANSWER | {"status": "queued", "output": [], "usage": None}).encode()
        seen = DIALECT.read_answer(body)
        assert (seen.id, seen.finish_reason, seen.usage) == ("resp_1", "", None)
        with pytest.raises(UpstreamProtocolError, match="queued"):
            DIALECT.decode_answer(body)

    @pytest.mark.parametrize(
        ("usage", "expected"),
        [
            ({"input_tokens": -4, "output_tokens": 10**30}, None),
            ({"input_tokens": 4, "output_tokens": 2, "input_tokens_details": {"cached_tokens": 9}}, (0, 4)),
            ({"input_tokens": 4, "output_tokens": 2, "input_tokens_details": None, "cost": 0.5}, (4, 0)),
        ],
    )
    def test_counts(self, usage: dict[str, Any], expected: tuple[int, int] | None) -> None:
        seen = DIALECT.read_answer(json.dumps(ANSWER | {"usage": usage}).encode()).usage
        assert (seen and (seen.input_tokens, seen.cache_read_tokens)) == expected
        assert (seen and seen.cost_usd) == (usage.get("cost") if expected else None)


def response(*parts: Part, **fields: Any) -> Response:
    choice = Choice(message=Message("assistant", parts), **{"finish_reason": "stop"} | fields)
    return Response(choices=(choice,), usage=CANONICAL_USAGE)


def encoded(answer: Response, context: AnswerContext = CONTEXT) -> tuple[dict[str, Any], set[str]]:
    built = DIALECT.encode_answer(answer, context)
    judge(SdkResponse).validate_json(built.body, strict=True)
    return json.loads(built.body), set(built.losses)


class TestEncodeAnswer:
    def test_every_part(self) -> None:
        wire, losses = encoded(response(*PARTS))
        assert (wire["id"], wire["model"], wire["created_at"], wire["status"]) == (
            "gen-1",
            "caller/name",
            7,
            "completed",
        )
        assert wire["usage"] == USAGE
        assert [item["type"] for item in wire["output"]] == ["reasoning", "message", "function_call", "function_call"]
        assert wire["output"][0]["encrypted_content"] == "sealed"
        assert wire["output"][1]["content"][0] == TEXT_PART | {"logprobs": []}
        assert losses == set()

    @pytest.mark.parametrize(
        ("finish", "parts", "status", "reason"),
        [
            ("stop", (Text("a"),), "completed", None),
            ("length", (Text("a"),), "incomplete", "max_output_tokens"),
            ("content_filter", (Text("a"),), "incomplete", "content_filter"),
            ("refusal", (Text("a"),), "incomplete", "content_filter"),
            ("refusal", (Refusal("a"),), "completed", None),
            ("error", (Text("a"),), "failed", None),
            (None, (Text("a"),), "completed", None),
        ],
    )
    def test_statuses(self, finish: Any, parts: tuple[Part, ...], status: str, reason: str | None) -> None:
        wire, _ = encoded(response(*parts, finish_reason=finish))
        assert (wire["status"], (wire["incomplete_details"] or {}).get("reason")) == (status, reason)
        assert (wire["error"] is None) == (status != "failed")
        assert wire["output"][-1]["status"] == ("incomplete" if status == "incomplete" else "completed")

    def test_what_only_another_api_can_read_stays_out(self) -> None:
        foreign = Reasoning(text="t", signature="s", encrypted="e", id="x", format="anthropic-claude-v1")
        wire, losses = encoded(response(foreign, Text("a")))
        assert wire["output"][0] == {
            "type": "reasoning",
            "id": "rs_gen-1_0",
            "summary": [],
            "content": [{"type": "reasoning_text", "text": "t"}],
            "encrypted_content": None,
            "status": "completed",
        }
        assert losses == {"reasoning.signature", "reasoning.encrypted"}

    def test_losses(self) -> None:
        two = Response(choices=(Choice(message=Message("assistant", (Audio(data="", format="wav"),))),) * 2)
        assert encoded(two)[1] == {"n", "audio"}
        assert encoded(response(logprobs=[LOGPROB]))[1] == {"logprobs"}
        cited = Text("ab", citations=(Citation(source="https://a.test", quote="q"),))
        wire, losses = encoded(response(cited))
        assert wire["output"][0]["content"][0]["annotations"] == [NOTE | {"title": ""}]
        assert losses == {"citations.quote"}

    def test_the_bytes_of_tokens(self) -> None:
        bare = {"token": "é", "logprob": -0.5, "bytes": None, "top_logprobs": [{"token": "a", "logprob": -1.0}]}
        wire, _ = encoded(response(Text("é"), logprobs=[bare]))
        (entry,) = wire["output"][0]["content"][0]["logprobs"]
        assert (entry["bytes"], entry["top_logprobs"][0]["bytes"]) == ([195, 169], [97])

    def test_it_repeats_what_was_asked(self) -> None:
        asked = {
            "model": "m",
            "input": "hi",
            "instructions": "long",
            "max_output_tokens": 20,
            "tools": [{"type": "function", "name": "f", "parameters": None, "strict": False}, TOOL],
            "tool_choice": "required",
            "parallel_tool_calls": False,
            "reasoning": {"effort": "low"},
            "text": {"format": {"type": "json_object"}, "verbosity": "low"},
            "temperature": 0.5,
            "prompt_cache_key": "k",
            "metadata": {"a": "b"},
            "truncation": "auto",
        }
        wire, _ = encoded(response(Text("a")), asking(**asked))
        for name in asked.keys() - {"model", "input", "instructions"}:
            assert wire[name] == asked[name], name
        assert wire["instructions"] is None
        told = encoded(response(Text("a")))[0]
        known = {"id", "object", "created_at", "model", "status", "output", "usage"}
        assert {name: value for name, value in told.items() if value is not None and name not in known} == {
            "background": False,
            "metadata": {},
            "parallel_tool_calls": True,
            "text": {"format": {"type": "text"}},
            "tool_choice": "auto",
            "tools": [],
            "truncation": "disabled",
        }


TOOL = {"type": "custom", "name": "apply_patch"}
SPACE = {"type": "namespace", "name": "mcp__a__", "description": "", "tools": [{"type": "function", "name": "g"}]}


def asking(**body: Any) -> AnswerContext:
    """The context of an answer to a caller of this dialect."""
    request: Request = DIALECT.parse_request(json.dumps({"model": "m", "input": "hi"} | body).encode())
    return AnswerContext(id="gen-1", model="caller/name", created=7, request=request)


class TestStandIns:
    """Calls of functions that stood for other tools come back as calls of these."""

    def test_whole(self) -> None:
        calls = (
            ToolCall(id="a", name="apply_patch", arguments='{"input": "a\\"b"}'),
            ToolCall(id="b", name="mcp__a__g", arguments="{}"),
            ToolCall(id="c", name="f", arguments="{}"),
        )
        wire, _ = encoded(response(*calls), asking(tools=[TOOL, SPACE]))
        assert [item["type"] for item in wire["output"]] == ["custom_tool_call", "function_call", "function_call"]
        assert (wire["output"][0]["name"], wire["output"][0]["input"]) == ("apply_patch", 'a"b')
        assert [(item["name"], item.get("namespace")) for item in wire["output"][1:]] == [
            ("g", "mcp__a__"),
            ("f", None),
        ]
        assert "custom_tool_call" not in DIALECT.encode_answer(response(*calls), CONTEXT).body.decode()

    @pytest.mark.parametrize(
        ("arguments", "text"),
        [
            ('{"input":"p"}', "p"),
            ("*** Begin", "*** Begin"),
            ('{"patch":"p"}', '{"patch":"p"}'),
            ("", ""),
            ("[1]", "[1]"),
        ],
    )
    def test_what_a_model_makes_of_it(self, arguments: str, text: str) -> None:
        call = ToolCall(id="a", name="apply_patch", arguments=arguments)
        wire, _ = encoded(response(call), asking(tools=[TOOL]))
        assert wire["output"][0]["input"] == text
        events = streamed(
            [ToolCallStart(index=0, id="a", name="apply_patch"), ToolCallDelta(index=0, arguments=arguments)],
            asking(tools=[TOOL]),
        )
        assert [event["item"]["input"] for event in events if event["type"] == "response.output_item.done"] == [text]

    def test_streamed(self) -> None:
        events = streamed(
            [
                ToolCallStart(index=0, id="a", name="apply_patch"),
                ToolCallDelta(index=0, arguments='{"input":'),
                ToolCallDelta(index=0, arguments='"p"}'),
                ToolCallStart(index=1, id="b", name="mcp__a__g"),
                ToolCallDelta(index=1, arguments="{}"),
            ],
            asking(tools=[TOOL, SPACE]),
        )
        assert [event["type"].removeprefix("response.") for event in events[2:-1]] == [
            "output_item.added",
            "custom_tool_call_input.delta",
            "custom_tool_call_input.done",
            "output_item.done",
            "output_item.added",
            "function_call_arguments.delta",
            "function_call_arguments.done",
            "output_item.done",
        ]
        assert (events[2]["item"]["input"], events[3]["delta"]) == ("", "p")
        assert events[-2]["item"]["namespace"] == "mcp__a__"

    @pytest.mark.parametrize("name", ["apply_patch", "f"])
    def test_half_a_call_is_none(self, name: str) -> None:
        """What was cut inside its arguments is not said to be done: a caller would run it."""
        half = '{"input":"*** Beg'
        events = streamed(
            [ToolCallStart(index=0, id="a", name=name), ToolCallDelta(index=0, arguments=half)],
            asking(tools=[TOOL]),
            finish="length",
        )
        assert not any(event["type"].endswith(("done", "input.delta")) for event in events)
        (item,) = events[-1]["response"]["output"]
        assert (item["type"], item["status"], item["arguments"]) == ("function_call", "incomplete", half)
        call = ToolCall(id="a", name=name, arguments=half)
        whole, _ = encoded(response(call, finish_reason="length"), asking(tools=[TOOL]))
        assert whole["output"] == [item]


def streamed(events: Iterable[Event], context: AnswerContext = CONTEXT, finish: Any = "stop") -> list[dict[str, Any]]:
    """The frames of a stream that says these events, each judged."""
    encoder = DIALECT.encoder(context)
    data = b"".join(encoder.encode([event]) for event in [Start(), *events, Finish(reason=finish), End()])
    frames = SSEParser().feed(data)
    for number, each in enumerate(frames):
        assert json.loads(each.data)["sequence_number"] == number
        judge(ResponseStreamEvent).validate_json(each.data, strict=True)
    return [json.loads(each.data) for each in frames]


class TestDecodeStream:
    def test_folds_to_the_whole(self) -> None:
        events = decoded(STREAM_BYTES)
        assert events[-1] == End()
        assert fold(events) == fold(DIALECT.decode_answer(json.dumps(ANSWER).encode()))

    def test_text_comes_at_once(self) -> None:
        events = without_pings(decoded(numbered(*PLAIN, text_delta("a"), text_delta("b"))))
        assert events == [Start(id="resp_1", model="gpt-x", created=5), TextDelta("a"), TextDelta("b")]

    def test_a_citation_comes_at_once(self) -> None:
        added = said("output_text.annotation.added", output_index=0, content_index=0, annotation=NOTE)
        assert decoded(numbered(*PLAIN, added, added | {"annotation": None}))[-2:] == [
            CitationDelta(citation=CITATION),
            Ping(),
        ]

    def test_servers_that_say_less(self) -> None:
        """Some send no beginnings and no deltas, or no end of an item's parts; nothing is said twice."""
        bare = numbered(STARTED, done(0, MESSAGE), done(1, CALL), COMPLETED)
        parts = fold(decoded(bare)).choices[0].message.parts
        assert parts == (PARTS[1], PARTS[2], PARTS[3])
        last = said("function_call_arguments.done", output_index=0, arguments='{"a": 1}')
        late = numbered(STARTED, begun(0, CALL | {"arguments": ""}), last, done(0, CALL), COMPLETED)
        assert fold(decoded(late)).choices[0].message.parts == (PARTS[3],)
        unbegun = numbered(STARTED, last | {"delta": "{"}, done(0, CALL), COMPLETED)
        assert fold(decoded(unbegun)).choices[0].message.parts == (PARTS[3],)
        assert without_pings(decoded(numbered(*PLAIN, text_delta("a"), done(0, MESSAGE))))[2:4] == [
            CitationDelta(citation=CITATION),
            LogprobsDelta(content=[LOGPROB]),
        ]

    def test_strange_events_are_signs_of_life(self) -> None:
        strange = [said("new.thing", delta=3), {"type": "keepalive"}, begun(1, {"type": "new", "arguments": {}})]
        kinds = ("output_text", "refusal", "reasoning_text", "reasoning_summary_text", "function_call_arguments")
        strange += [said(f"{kind}.delta", output_index=0, delta=delta) for kind in kinds for delta in (None, 5, "")]
        seen = decoded(b": hi\n\n" + numbered(*strange))
        assert (seen[:4], without_pings(seen)) == ([Ping()] * 4, [])
        decoder = DIALECT.decoder()
        assert decoder.feed(b'data: {"type":5}\n\ndata: nope\n\ndata: {}\n\n') == []
        assert decoder.malformed == 3

    @pytest.mark.parametrize(
        ("event", "error"),
        [
            (said("failed", response={"error": {"code": "rate_limit_exceeded", "message": "m"}}), UpstreamRateLimited),
            (said("failed", response={"error": {"code": "server_error", "message": "m"}}), UpstreamServerError),
            (said("failed", response={}), UpstreamServerError),
            ({"type": "error", "code": "context_length_exceeded", "message": "m"}, UpstreamContextLength),
            (
                {"type": "error", "error": {"type": "invalid_request_error", "code": "context_length_exceeded"}},
                UpstreamContextLength,
            ),
            ({"type": "error", "code": "insufficient_quota", "message": "m"}, UpstreamQuotaExhausted),
            (said("error", error={"code": "overloaded", "message": "m"}), UpstreamOverloaded),
        ],
    )
    def test_errors(self, event: dict[str, Any], error: type[TriviumError]) -> None:
        data = numbered(*PLAIN, text_delta("a"), event, COMPLETED)
        failure = decoded(data)[-1]
        assert isinstance(failure, Failure)
        assert type(failure.error) is error
        meter = DIALECT.meter(True)
        assert meter.feed(data) == numbered(*PLAIN, text_delta("a"))
        assert (type(meter.error), meter.complete, meter.feed(b"x"), meter.close()) == (error, False, b"", b"")

    @pytest.mark.parametrize(
        ("events", "words"),
        [
            ([*PLAIN, text_delta("a"), COMPLETED], "last item"),
            ([STARTED, begun(0, CALL | {"arguments": ""}), COMPLETED], "last item"),
            ([STARTED, COMPLETED], "without any output"),
        ],
    )
    def test_an_end_before_the_end(self, events: list[dict[str, Any]], words: str) -> None:
        failure = decoded(numbered(*events))[-1]
        assert isinstance(failure, Failure)
        assert isinstance(failure.error, UpstreamProtocolError)
        assert words in failure.error.message
        meter = DIALECT.meter(True)
        assert meter.feed(numbered(*events)) == numbered(*events[:-1])
        assert words in str(meter.error)

    def test_an_answer_that_was_cut_short_may_end_inside_an_item(self) -> None:
        cut = said("incomplete", response=ANSWER | {"incomplete_details": {"reason": "max_output_tokens"}})
        events = decoded(numbered(*PLAIN, text_delta("a"), cut))
        assert events[-1] == End()
        assert fold(events).finish_reason == "length"

    def test_a_cut_stream_has_no_end(self) -> None:
        for end in range(len(STREAM)):
            assert End() not in decoded(numbered(*STREAM[:end]))


class TestEncodeStream:
    def test_the_order_of_events(self) -> None:
        events = streamed(
            [
                ReasoningDelta(id="rs_1", format=FORMAT),
                ReasoningDelta(summary="on"),
                ReasoningDelta(summary="e"),
                ReasoningDelta(encrypted="sealed"),
                TextDelta("a"),
                TextDelta("b", block=1),
                CitationDelta(citation=CITATION, block=1),
                RefusalDelta("no"),
                ToolCallStart(index=0, id="c1", name="f"),
                ToolCallDelta(index=0, arguments="{}"),
                UsageReport(CANONICAL_USAGE),
            ]
        )
        assert [event["type"].removeprefix("response.") for event in events] == [
            "created",
            "in_progress",
            "output_item.added",
            "reasoning_summary_part.added",
            "reasoning_summary_text.delta",
            "reasoning_summary_text.delta",
            "reasoning_summary_text.done",
            "reasoning_summary_part.done",
            "output_item.done",
            "output_item.added",
            "content_part.added",
            "output_text.delta",
            "output_text.done",
            "content_part.done",
            "content_part.added",
            "output_text.delta",
            "output_text.annotation.added",
            "output_text.done",
            "content_part.done",
            "content_part.added",
            "refusal.delta",
            "refusal.done",
            "content_part.done",
            "output_item.done",
            "output_item.added",
            "function_call_arguments.delta",
            "function_call_arguments.done",
            "output_item.done",
            "completed",
        ]
        items = [event["item"] for event in events if event["type"] == "response.output_item.done"]
        assert events[-1]["response"]["output"] == items
        assert (items[0]["id"], items[0]["encrypted_content"]) == ("rs_1", "sealed")
        assert events[-1]["response"]["usage"] == USAGE
        for event in events:
            if "item_id" in event:
                assert event["item_id"] == items[event["output_index"]]["id"]

    def test_calls_that_interleave_follow_each_other(self) -> None:
        events = streamed(
            [
                ToolCallStart(index=0, id="a", name="f"),
                ToolCallStart(index=1, id="b", name="g"),
                ToolCallDelta(index=1, arguments='{"b":'),
                ToolCallDelta(index=0, arguments='{"a":1}'),
                ToolCallDelta(index=1, arguments="2}"),
            ]
        )
        items = [event["item"] for event in events if event["type"] == "response.output_item.done"]
        assert [(item["call_id"], item["arguments"]) for item in items] == [("a", '{"a":1}'), ("b", '{"b":2}')]
        added = [index for index, event in enumerate(events) if event["type"] == "response.output_item.added"]
        finished = [index for index, event in enumerate(events) if event["type"] == "response.output_item.done"]
        assert added[0] < finished[0] < added[1] < finished[1]

    def test_a_call_without_arguments_has_an_empty_object(self) -> None:
        events = streamed([ToolCallStart(index=0, id="a", name="f")])
        assert [event["delta"] for event in events if event["type"].endswith("arguments.delta")] == ["{}"]
        assert events[-1]["response"]["output"][0]["arguments"] == "{}"

    def test_logprobs(self) -> None:
        encoder = DIALECT.encoder(CONTEXT)
        data = encoder.encode([TextDelta("é"), LogprobsDelta(content=[LOGPROB]), Finish(reason="stop"), End()])
        assert fold(decoded(data)).choices[0].logprobs == [LOGPROB]
        whole = json.loads(SSEParser().feed(data)[-1].data)["response"]
        assert whole["output"][0]["content"][0]["logprobs"] == [LOGPROB]

    @pytest.mark.parametrize(
        ("finish", "last", "status"),
        [
            ("length", "incomplete", "incomplete"),
            ("content_filter", "incomplete", "incomplete"),
            ("error", "failed", "incomplete"),
        ],
    )
    def test_other_ends(self, finish: str, last: str, status: str) -> None:
        events = streamed([TextDelta("a")], finish=finish)
        assert events[-1]["type"] == f"response.{last}"
        assert events[-1]["response"]["output"][0]["status"] == status

    def test_what_cannot_be_said_is_named(self) -> None:
        encoder = DIALECT.encoder(CONTEXT)
        events: list[Event] = [
            ReasoningDelta(text="t", format="anthropic-claude-v1"),
            ReasoningDelta(signature="s"),
            ReasoningDelta(encrypted="e", format="x"),
            AudioDelta(data="AA"),
            TextDelta("other", choice=1),
            ToolCallDelta(index=3, arguments="{}"),
            CitationDelta(citation=Citation(source="u", quote="q")),
            Ping(),
        ]
        data = encoder.encode(events)
        assert set(encoder.losses) == {
            "reasoning.signature",
            "reasoning.encrypted",
            "audio",
            "n",
            "tool_call.arguments",
            "citations.quote",
        }
        assert b"other" not in data
        assert b'"e"' not in data

    def test_nothing_was_said(self) -> None:
        events = streamed([])
        assert [event["type"] for event in events] == ["response.created", "response.in_progress", "response.completed"]

    @pytest.mark.parametrize(
        ("error", "code"),
        [
            (UpstreamRateLimited("slow"), "rate_limit_exceeded"),
            (UpstreamQuotaExhausted("empty"), "insufficient_quota"),
            (UpstreamContextLength("long"), "context_length_exceeded"),
            (InvalidRequest("bad", remedy="Mend it.", param="input"), "invalid_prompt"),
            (UpstreamCut("cut"), "server_error"),
        ],
    )
    def test_a_failure_is_the_last_word(self, error: TriviumError, code: str) -> None:
        encoder = DIALECT.encoder(CONTEXT)
        data = encoder.encode([Start(), TextDelta("a")]) + encoder.fail(error)
        (*_, last) = (json.loads(each.data) for each in SSEParser().feed(data))
        assert (last["type"], last["sequence_number"]) == ("response.failed", 5)
        told = last["response"]
        assert (told["id"], told["status"], told["error"]["code"]) == ("gen-1", "failed", code)
        assert told["error"]["message"] == str(error)
        again = decoded(data)[-1]
        assert isinstance(again, Failure)
        assert encoder.encode([Failure(error)]).startswith(b"event: response.failed\n")


class TestMeter:
    def test_reads_what_passes(self) -> None:
        meter = DIALECT.meter(True)
        assert meter.feed(STREAM_BYTES) == STREAM_BYTES
        assert (meter.complete, meter.content, meter.upstream_id) == (True, True, "resp_1")
        assert (meter.usage, meter.finish_reason) == (CANONICAL_USAGE, "tool_calls")
        assert meter.feed(b"data: more\n\n") == b""

    @pytest.mark.parametrize(
        ("event", "content"),
        [
            (text_delta(""), False),
            (text_delta("a"), True),
            (said("reasoning_summary_text.delta", output_index=0, summary_index=0, delta="x"), False),
            (said("refusal.delta", output_index=0, content_index=0, delta="x"), True),
            (begun(1, CALL), True),
            (begun(1, THOUGHT), False),
        ],
    )
    def test_what_content_is(self, event: dict[str, Any], content: bool) -> None:
        meter = DIALECT.meter(True)
        meter.feed(numbered(*PLAIN, event))
        assert meter.content is content

    def test_plain_deltas_pass_unread(self) -> None:
        deltas = [text_delta(text, obfuscation="x" * len(text)) for text in ("a", 'é "quoted" \\', "c")]
        opening, data = numbered(*PLAIN, deltas[0]), numbered(*deltas)
        meter, decoder = DIALECT.meter(True), DIALECT.decoder()
        assert (meter.feed(opening), decoder.feed(opening)[-1]) == (opening, TextDelta("a"))
        assert (meter.ordinary(data), decoder.texts(data)) == (3, [b"a", b'\xc3\xa9 \\"quoted\\" \\\\', b"c"])  # type: ignore[attr-defined]
        other = frame(text_delta("a") | {"output_index": 1, "sequence_number": 9})
        for odd in (data + other, data[:-1], data + b"x", data.replace(b'"c"', b'"c\x01"'), frame(deltas[0])):
            assert (meter.ordinary(odd), decoder.texts(odd)) == (0, [])  # type: ignore[attr-defined]
        assert meter.feed(data[:-1]) == data[: data.rindex(b"event")]
        assert meter.ordinary(data) == 0
        meter = DIALECT.meter(True)
        meter.feed(opening + frame(said("failed", response={"status": "failed"})))
        assert meter.ordinary(data) == 0

    @pytest.mark.parametrize(
        ("deltas", "texts"),
        [
            ([rb'"delta":"\u00e9"'] * 3, ["é"] * 3),
            ([b'"delta":"a","delta":"b"'] * 3, ["b"] * 3),
            ([b'"delta":"%b"' % (b"a" * 3_000)] * 3, ["a" * 3_000] * 3),
            ([b'"delta":"a"'] * 3, ["a"] * 3),
            ([b'"delta":"a","item_id":"%d"' % index for index in range(99)], ["a"] * 99),
        ],
        ids=["escaped", "twice", "long", "plain", "named anew"],
    )
    def test_whatever_is_learned_all_is_read_or_passed(self, deltas: list[bytes], texts: list[str]) -> None:
        meter, decoder = DIALECT.meter(True), DIALECT.decoder()
        meter.feed(numbered(*PLAIN))
        decoder.feed(numbered(*PLAIN))
        for delta, text in zip(deltas, texts, strict=True):
            data = b'event: x\ndata: {"type":"response.output_text.delta","output_index":0,%b}\n\n' % delta
            assert decoder.feed(data) == [TextDelta(text)]
            assert meter.feed(data) == data

    def test_no_pattern_is_made_of_what_an_upstream_sends(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Making one takes as long as the reading of hundreds of events, and seconds for a long one."""
        compiled: list[bytes] = []
        monkeypatch.setattr(re, "compile", lambda pattern, real=re.compile: compiled.append(pattern) or real(pattern))
        meter, decoder = DIALECT.meter(True), DIALECT.decoder()
        for text in ("a", "a" * 3_000, "b", "c"):
            for index in range(3):
                data = numbered(*PLAIN, text_delta(text) | {"item_id": f"msg_{index}"})
                assert meter.feed(data) == data
                assert decoder.feed(data)[-1] == TextDelta(text)
        assert meter.ordinary(numbered(text_delta("d") | {"item_id": "msg_2"})) == 1  # type: ignore[attr-defined]
        assert compiled == []

    @pytest.mark.parametrize("number", [b"01", b"", b"-1", b"1.5", b"1" * 19])
    def test_a_number_that_may_be_none_is_looked_at(self, number: bytes) -> None:
        meter = DIALECT.meter(True)
        data = numbered(*PLAIN, text_delta("a"))
        meter.feed(data)
        last = data[data.rindex(b"event: ") :]
        assert meter.ordinary(last) == 1  # type: ignore[attr-defined]
        assert meter.ordinary(last.replace(b'"sequence_number":2', b'"sequence_number":%b' % number)) == 0  # type: ignore[attr-defined]

    def test_a_stream_that_breaks_off_goes_on_with_its_id_and_number(self) -> None:
        deltas = [text_delta(text) for text in "abc"]
        data = numbered(*PLAIN, *deltas, text_delta("d") | {"logprobs": [LOGPROB]}, COMPLETED)
        pieces = [piece + b"\n\n" for piece in data.split(b"\n\n")[:-1]]
        meter = DIALECT.meter(True)
        assert meter.passed == NOTHING_PASSED
        for number, piece in enumerate(pieces):
            unread = meter.ordinary(piece)  # type: ignore[attr-defined]
            assert unread == (number in (3, 4))
            assert unread or meter.feed(piece) in (piece, b"")
            assert meter.passed[:2] == ("resp_1", min(number + 1, 6))  # the last is an error, which did not pass
        encoder = DIALECT.encoder(replace(CONTEXT, passed=meter.passed))
        (last,) = (json.loads(each.data) for each in SSEParser().feed(encoder.fail(UpstreamCut("cut"))))
        assert (last["response"]["id"], last["sequence_number"]) == ("resp_1", 6)

    def test_numbers_that_are_missing_or_wild(self) -> None:
        meter = DIALECT.meter(True)
        for number, expected in ((None, 1), ("x", 2), (-7, 3), (10**400, 4), (9, 10), (None, 11)):
            meter.feed(frame(text_delta("a", sequence_number=number)))
            assert meter.passed[1] == expected

    def test_a_second_delta_inside_makes_no_shape(self) -> None:
        meter, decoder = DIALECT.meter(True), DIALECT.decoder()
        data = numbered(*PLAIN, said("output_text.delta", output_index=0, x={"delta": "Hi"}, delta="Hi"))
        for _ in range(2):
            assert decoder.feed(data)[-1] == TextDelta("Hi")
            assert meter.feed(data) == data
            assert (decoder.texts(data), meter.ordinary(data)) == ([], 0)  # type: ignore[attr-defined]

    def test_broken_events_stay_out(self) -> None:
        meter = DIALECT.meter(True)
        assert meter.feed(b"data: {\n\n" + frame(STARTED) + b"data: []\n\n") == frame(STARTED)
        assert meter.malformed == 2
