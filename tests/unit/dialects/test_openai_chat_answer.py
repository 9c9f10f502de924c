"""Whole answers and errors on OpenAI's wire."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from openai.types.chat import ChatCompletion

from trivium.dialects import get
from trivium.dialects.base import AnswerContext
from trivium.dialects.error_types import told
from trivium.errors import (
    AuthenticationFailed,
    ContextLengthExceeded,
    InternalError,
    InvalidRequest,
    RateLimited,
    UpstreamContextLength,
    UpstreamCut,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamQuotaExhausted,
    UpstreamRateLimited,
    UpstreamRejected,
    UpstreamServerError,
)
from trivium.types.event import End, Finish, LogprobsDelta, Start, TextDelta, UsageReport
from trivium.types.message import Citation, Message, Reasoning, Refusal, Text, ToolCall
from trivium.types.response import Choice, Response, fold
from trivium.types.usage import Usage

DIALECT = get("openai_chat")
CONTEXT = AnswerContext(id="gen-1", model="caller/model", created=1700000000)


def answer(message: dict[str, Any] | None = None, finish: str | None = "stop", **fields: Any) -> bytes:
    choice = {"index": 0, "message": message or {"role": "assistant", "content": "hi"}, "finish_reason": finish}
    return json.dumps({"id": "up-1", "created": 5, "model": "up", "choices": [choice]} | fields).encode()


def usage_of(**usage: Any) -> Usage | None:
    return fold(DIALECT.decode_answer(answer(usage=usage))).usage


class TestDecode:
    def test_the_least(self):
        assert DIALECT.decode_answer(answer()) == [
            Start(id="up-1", model="up", created=5),
            TextDelta("hi"),
            Finish(reason="stop", native="stop"),
            End(),
        ]

    def test_everything_that_is_said(self):
        message = {
            "role": "assistant",
            "content": "text",
            "refusal": "no",
            "reasoning_content": "hm",
            "annotations": [
                {
                    "type": "url_citation",
                    "url_citation": {"url": "https://x", "title": "X", "start_index": 0, "end_index": 4},
                }
            ],
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}},
                {"id": "c2", "type": "function", "function": {"name": "g", "arguments": {"b": 2}}},
            ],
        }
        choice = fold(DIALECT.decode_answer(answer(message, "tool_calls"))).choices[0]
        assert choice.finish_reason == "tool_calls"
        assert choice.message.parts == (
            Reasoning(text="hm"),
            Text("text", citations=(Citation(source="https://x", title="X", start=0, end=4),)),
            Refusal("no"),
            ToolCall(id="c1", name="f", arguments='{"a": 1}'),
            ToolCall(id="c2", name="g", arguments='{"b":2}'),
        )

    def test_calls_without_ids_are_still_apart(self):
        calls = [{"function": {"name": "f", "arguments": "{}"}}, {"function": {"name": "f", "arguments": "{}"}}]
        found = fold(DIALECT.decode_answer(answer({"content": None, "tool_calls": calls}))).tool_calls
        assert [call.id for call in found] == ["call_up-1_0_0", "call_up-1_0_1"]

    def test_content_as_parts(self):
        content = [
            {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
            {"type": "text", "text": "hello"},
        ]
        parts = fold(DIALECT.decode_answer(answer({"content": content}))).choices[0].message.parts
        assert parts == (Reasoning(text="hm"), Text("hello"))

    @pytest.mark.parametrize(
        ("native", "reason"),
        [
            ("stop", "stop"),
            ("length", "length"),
            ("tool_calls", "tool_calls"),
            ("function_call", "tool_calls"),
            ("content_filter", "content_filter"),
            ("eos", "stop"),
        ],
    )
    def test_finish_reasons(self, native, reason):
        choice = fold(DIALECT.decode_answer(answer(finish=native))).choices[0]
        assert (choice.finish_reason, choice.native_finish_reason) == (reason, native)

    def test_several_choices(self):
        choices = [
            {
                "index": index,
                "message": {"content": text},
                "finish_reason": "stop",
                "logprobs": {"content": [{"token": text, "logprob": 0}]},
            }
            for index, text in enumerate("ab")
        ]
        events = DIALECT.decode_answer(answer(choices=choices))
        assert [choice.message.text for choice in fold(events).choices] == ["a", "b"]
        assert LogprobsDelta(content=[{"token": "b", "logprob": 0}], choice=1) in events

    @pytest.mark.parametrize("read", [DIALECT.decode_answer, DIALECT.read_answer])
    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"  ",
            b"{",
            b"[]",
            b"null",
            b"<html>Login</html>",
            b"{}",
            b'{"choices":[]}',
            b'{"choices":null}',
            b"\xff",
            b'{"choices":' + b"[" * 9999,
        ],
    )
    def test_what_is_no_answer(self, read, body):
        with pytest.raises(UpstreamProtocolError) as caught:
            read(body)
        assert "html" not in str(caught.value)

    @pytest.mark.parametrize("read", [DIALECT.decode_answer, DIALECT.read_answer])
    def test_an_error_in_a_200(self, read):
        with pytest.raises(UpstreamRateLimited, match="slow down"):
            read(b'{"error":{"message":"slow down","code":429}}')
        with pytest.raises(UpstreamServerError, match="gone"):
            read(answer(choices=[{"index": 0, "finish_reason": "error", "error": {"code": 502, "message": "gone"}}]))
        with pytest.raises(UpstreamError):
            read(b'{"error":"text"}')


class TestUsage:
    def test_kinds_become_disjoint(self):
        assert usage_of(
            prompt_tokens=100,
            completion_tokens=50,
            total_tokens=150,
            prompt_tokens_details={"cached_tokens": 60, "cache_write_tokens": 10, "audio_tokens": 5},
            completion_tokens_details={"reasoning_tokens": 30, "audio_tokens": 4},
            cost=0.25,
        ) == Usage(
            input_tokens=30,
            cache_read_tokens=60,
            cache_write_tokens=10,
            input_audio_tokens=5,
            output_tokens=50,
            reasoning_tokens=30,
            output_audio_tokens=4,
            cost_usd=0.25,
        )

    def test_cached_tokens_without_details(self):
        usage = usage_of(prompt_tokens=10, completion_tokens=1, prompt_cache_hit_tokens=4)
        assert usage == Usage(input_tokens=6, cache_read_tokens=4, output_tokens=1)

    def test_thinking_that_is_counted_beside_the_completion(self):
        details = {"reasoning_tokens": 30}
        usage = usage_of(prompt_tokens=10, completion_tokens=5, total_tokens=45, completion_tokens_details=details)
        assert usage == Usage(input_tokens=10, output_tokens=35, reasoning_tokens=30)

    @pytest.mark.parametrize(
        "usage",
        [
            {},
            {"prompt_tokens": -1, "completion_tokens": 1},
            {"prompt_tokens": 1, "completion_tokens": 10**12},
            {"prompt_tokens": 1},
            {"prompt_tokens": "1", "completion_tokens": 1},
        ],
    )
    def test_what_cannot_be_true_is_missing(self, usage):
        assert usage_of(**usage) is None

    def test_details_never_exceed_their_whole(self):
        details = {"cached_tokens": 99, "cache_write_tokens": 5}
        assert usage_of(prompt_tokens=10, completion_tokens=1, prompt_tokens_details=details) == Usage(
            cache_read_tokens=10, output_tokens=1
        )

    def test_broken_usage_does_not_cost_the_answer(self):
        read = DIALECT.read_answer(answer(usage=[1]))
        assert (read.usage, read.finish_reason, read.id) == (None, "stop", "up-1")

    def test_timings_stand_in(self):
        timings = {"cache_n": 3, "prompt_n": 7, "predicted_n": 5, "predicted_ms": 1.5}
        assert DIALECT.read_answer(answer(timings=timings)).usage == Usage(
            input_tokens=7, cache_read_tokens=3, output_tokens=5
        )
        usage = {"prompt_tokens": 1, "completion_tokens": 1}
        assert DIALECT.read_answer(answer(timings=timings, usage=usage)).usage == Usage(input_tokens=1, output_tokens=1)

    @pytest.mark.parametrize("cost", [-1, "1", True, 1e30, None])
    def test_a_cost_that_is_none(self, cost):
        usage = usage_of(prompt_tokens=1, completion_tokens=1, cost=cost)
        assert usage is not None
        assert usage.cost_usd is None


class TestEncode:
    RESPONSE = Response(
        id="up-1",
        model="up",
        choices=(
            Choice(
                message=Message(
                    "assistant",
                    (
                        Reasoning(text="hm"),
                        Text("hello ", citations=(Citation(source="https://x", title="X"),)),
                        Text("world", citations=(Citation(source="https://y", start=0, end=5, quote="w"),)),
                        ToolCall(id="c", name="f", arguments="{}"),
                    ),
                ),
                finish_reason="tool_calls",
            ),
        ),
        usage=Usage(input_tokens=5, cache_read_tokens=2, output_tokens=3, reasoning_tokens=1, cost_usd=0.5),
    )

    def test_every_documented_field(self):
        built = DIALECT.encode_answer(self.RESPONSE, CONTEXT)
        assert json.loads(built.body) == {
            "id": "gen-1",
            "object": "chat.completion",
            "created": 1700000000,
            "model": "caller/model",
            "system_fingerprint": None,
            "choices": [
                {
                    "index": 0,
                    "message": {
                        "role": "assistant",
                        "content": "hello world",
                        "refusal": None,
                        "annotations": [
                            {
                                "type": "url_citation",
                                "url_citation": {"url": "https://x", "title": "X", "start_index": 0, "end_index": 6},
                            },
                            {
                                "type": "url_citation",
                                "url_citation": {
                                    "url": "https://y",
                                    "title": "",
                                    "start_index": 6,
                                    "end_index": 11,
                                    "content": "w",
                                },
                            },
                        ],
                        "reasoning": "hm",
                        "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
                    },
                    "logprobs": None,
                    "finish_reason": "tool_calls",
                }
            ],
            "usage": {
                "prompt_tokens": 7,
                "completion_tokens": 3,
                "total_tokens": 10,
                "prompt_tokens_details": {"cached_tokens": 2, "audio_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 1, "audio_tokens": 0},
                "cost": 0.5,
            },
        }
        assert built.losses == ()

    def test_the_vendors_types_take_it(self):
        built = DIALECT.encode_answer(self.RESPONSE, CONTEXT)
        completion = ChatCompletion.model_validate_json(built.body, strict=True)
        assert completion.choices[0].message.content == "hello world"
        assert completion.usage is not None
        assert completion.usage.total_tokens == 10

    def test_a_refusal_is_a_content_filter_here(self):
        refused = Choice(message=Message("assistant", (Refusal("no"),)), finish_reason="refusal")
        wire = json.loads(DIALECT.encode_answer(Response(choices=(refused,)), CONTEXT).body)
        assert wire["choices"][0]["finish_reason"] == "content_filter"
        assert wire["choices"][0]["message"]["refusal"] == "no"
        assert wire["choices"][0]["message"]["content"] is None
        assert "usage" not in wire

    def test_sealed_thinking_is_a_loss(self):
        thought = Choice(message=Message("assistant", (Reasoning(text="a", signature="s"),)))
        assert DIALECT.encode_answer(Response(choices=(thought,)), CONTEXT).losses == ("reasoning.signature",)


class TestErrors:
    @pytest.mark.parametrize(
        ("status", "body", "expected", "message"),
        [
            (
                429,
                {"error": {"message": "m", "type": "insufficient_quota", "code": "insufficient_quota"}},
                UpstreamQuotaExhausted,
                "m",
            ),
            (400, {"error": {"message": "m", "code": "context_length_exceeded"}}, UpstreamContextLength, "m"),
            (
                400,
                {"error": {"code": 400, "message": "m", "type": "exceed_context_size_error", "n_ctx": 5}},
                UpstreamContextLength,
                "m",
            ),
            (500, {"error": "text"}, UpstreamServerError, "text"),
            (400, {"detail": "text"}, UpstreamRejected, "text"),
            (422, {"detail": [{"loc": ["body"]}]}, UpstreamRejected, "The upstream answered 422."),
            (400, {"object": "error", "message": "m", "code": 400}, UpstreamRejected, "m"),
            (400, ["x"], UpstreamRejected, "The upstream answered 400."),
            (400, None, UpstreamRejected, "The upstream answered 400."),
        ],
    )
    def test_shapes_of_upstreams(self, status, body, expected, message):
        error = DIALECT.decode_error(status, json.dumps(body).encode())
        assert type(error) is expected
        assert error.message == message
        assert error.upstream_status == status

    @pytest.mark.parametrize("body", [b"", b"<html><body>502</body></html>", b"\xff\xfe", b"[" * 9999])
    def test_bodies_that_say_nothing(self, body):
        error = DIALECT.decode_error(502, body)
        assert type(error) is UpstreamServerError
        assert "<" not in error.message

    def test_plain_text_is_cut(self):
        assert len(DIALECT.decode_error(500, b"x" * 5000).message) == 512

    @pytest.mark.parametrize(
        ("error", "kind", "code"),
        [
            (InvalidRequest("bad", remedy="Fix it.", param="n"), "invalid_request_error", "invalid_request"),
            (AuthenticationFailed("who"), "authentication_error", "authentication"),
            (RateLimited("slow"), "rate_limit_error", "rate_limit_exceeded"),
            (ContextLengthExceeded("long"), "invalid_request_error", "context_length_exceeded"),
            (InternalError("oops"), "server_error", "server"),
            (UpstreamCut("cut"), "server_error", "upstream_cut"),
        ],
    )
    def test_envelopes(self, error, kind, code):
        envelope = msgspec.json.decode(DIALECT.encode_error(error, "gen-1"))
        assert envelope == {
            "error": {
                **told(error),
                "message": str(error),
                "type": kind,
                "param": error.param,
                "code": code,
                "request_id": "gen-1",
            }
        }


def test_models():
    rows = [
        {"id": "a/b", "created": 5, "owned_by": "a", "name": "B", "context": 8192},
        {"id": "c", "created": None, "owned_by": None},
    ]
    assert json.loads(DIALECT.models_answer(rows)) == {
        "object": "list",
        "data": [
            {"id": "a/b", "object": "model", "created": 5, "owned_by": "a", "name": "B", "context_length": 8192},
            {"id": "c", "object": "model", "created": 0, "owned_by": "unknown"},
        ],
    }


def test_usage_is_reported_before_the_end():
    events = DIALECT.decode_answer(answer(usage={"prompt_tokens": 1, "completion_tokens": 2}))
    assert events[-2:] == [UsageReport(Usage(input_tokens=1, output_tokens=2)), End()]
