"""What dialects share: classified upstream errors, safe excerpts, sane counts, a head decoder for threads."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from time import process_time
from typing import Any

import msgspec
import pytest

from trivium.catalog.rows import DialectName
from trivium.dialects import get
from trivium.dialects.base import AnswerContext
from trivium.dialects.common import (
    MODEL_NAME_BYTES_MAX,
    CommonHead,
    HeadDecoder,
    check_twin,
    excerpt,
    logprobs_of,
    tokens,
    upstream_error,
)
from trivium.errors import (
    InvalidRequest,
    UpstreamAuthError,
    UpstreamContextLength,
    UpstreamNotFound,
    UpstreamOverloaded,
    UpstreamQuotaExhausted,
    UpstreamRateLimited,
    UpstreamRefused,
    UpstreamRejected,
    UpstreamServerError,
    UpstreamTimeout,
)
from trivium.types.request import Request
from trivium.types.response import fold


@pytest.mark.parametrize(
    ("status", "message", "code", "kind", "expected"),
    [
        (401, "bad key", "invalid_api_key", "", UpstreamAuthError),
        (403, "no", "", "", UpstreamAuthError),
        (403, "flagged", "content_policy_violation", "", UpstreamRefused),
        (402, "pay", "", "", UpstreamQuotaExhausted),
        (404, "no such model", "", "", UpstreamNotFound),
        (408, "slow", "", "", UpstreamTimeout),
        (429, "slow down", "rate_limit_exceeded", "", UpstreamRateLimited),
        (429, "pay", "insufficient_quota", "insufficient_quota", UpstreamQuotaExhausted),
        (500, "oops", "", "", UpstreamServerError),
        (502, "oops", "", "", UpstreamServerError),
        (503, "busy", "", "", UpstreamOverloaded),
        (529, "busy", "", "overloaded_error", UpstreamOverloaded),
        (400, "too long", "context_length_exceeded", "", UpstreamContextLength),
        (400, "too long", "400", "exceed_context_size_error", UpstreamContextLength),
        (400, "This model's maximum context length is 8192 tokens.", "", "", UpstreamContextLength),
        (400, "filtered", "content_filter", "", UpstreamRefused),
        (400, "unknown parameter", "unknown_parameter", "", UpstreamRejected),
        (422, "what", "", "", UpstreamRejected),
        (200, "in band", "502", "", UpstreamServerError),
        (200, "in band", "429", "", UpstreamRateLimited),
        (200, "in band", "", "overloaded_error", UpstreamOverloaded),
        (200, "in band", "rate_limit_exceeded", "", UpstreamRateLimited),
        (200, "in band", "context_length_exceeded", "invalid_request_error", UpstreamContextLength),
        (200, "in band", "", "", UpstreamServerError),
    ],
)
def test_status_first_then_words(status, message, code, kind, expected):
    error = upstream_error(status, message, code, kind)
    assert type(error) is expected
    assert error.provider_code == (code or kind or None)


def test_a_refused_credential_does_not_quote_the_upstream():
    error = upstream_error(401, "Incorrect API key provided: sk-abc123")
    assert "sk-abc123" not in str(error)
    assert "401" in error.message


def test_excerpts_are_short_plain_and_whole_characters():
    assert excerpt(" a\n b ") == "a b"
    assert excerpt("<!DOCTYPE html><html>…") == ""
    assert excerpt("x < 3 and y > 4") == "x < 3 and y > 4"
    assert len(excerpt("é" * 1000).encode()) <= 512


@pytest.mark.parametrize("value", [-1, 10**12, True, "5", None, float("nan"), float("inf"), [], {}])
def test_what_is_no_count(value):
    assert tokens(value) is None


def test_counts():
    assert (tokens(0), tokens(7), tokens(7.0)) == (0, 7, 7)


class _Head(CommonHead, kw_only=True):
    pass


def test_many_threads_share_a_head_decoder():
    decode = HeadDecoder(_Head)
    good = b'{"model":"a","messages":[%s]}' % b",".join([b'"x"'] * 200)
    bad = b'{"mod\\u0065l":"b",' + good[1:]

    def look(number: int) -> bool:
        try:
            decode(bad if number % 2 else good)
        except InvalidRequest:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(look, range(2000))) == [number % 2 == 0 for number in range(2000)]


def test_a_head_has_a_plain_model():
    assert type(HeadDecoder(_Head)(b'{"model":"a","messages":[1]}').model) is str


LONGEST = "é" * (MODEL_NAME_BYTES_MAX // 2)


@pytest.mark.parametrize("dialect", ["openai_chat", "anthropic_messages"])
@pytest.mark.parametrize(
    ("model", "models", "param"),
    [
        ("", [], "model"),
        (LONGEST + "x", [], "model"),
        ("m" * 1_000_000, [], "model"),
        ("m", ["a", LONGEST + "x"], "models[1]"),
        ("m", [""], "models[0]"),
        ("m", ["a"] * 17, "models"),
    ],
)
def test_names_of_models_are_bounded(dialect: str, model: str, models: list[str], param: str) -> None:
    peek = get(dialect).peek
    body = {"max_tokens": 1, "messages": [{"role": "user", "content": "x"}]}
    with pytest.raises(InvalidRequest) as caught:
        peek(msgspec.json.encode({**body, "model": model, "models": models}))
    assert (caught.value.param, bool(caught.value.remedy), len(str(caught.value)) < 200) == (param, True, True)
    head = peek(msgspec.json.encode({**body, "model": LONGEST, "models": [LONGEST] * 16}))
    assert (head.model, head.models) == (LONGEST, (LONGEST,) * 16)


@pytest.mark.parametrize("dialect", ["openai_chat", "anthropic_messages"])
@pytest.mark.parametrize(
    "twin",
    [
        b'"trivium":{"data_class":"premises"},"trivium":{}',
        b'"trivium":{"data_class":"premises"},"trivium":null',
        b'"trivium":null,"tr\\u0069vium":{"data_class":"premises"}',
        b'"trivium":{"data_class":"premises","data_class":"any"}',
        b'"trivium":{"dataclass":"premises"}',
    ],
)
def test_a_wish_for_privacy_is_not_lost(dialect: str, twin: bytes) -> None:
    body = b'{"model":"a/b","max_tokens":5,"messages":[{"role":"user","content":"trivium"}],%b}' % twin
    with pytest.raises(InvalidRequest, match="trivium"):
        get(dialect).peek(body)


def test_further_models_stay_here() -> None:
    chat = get("openai_chat")
    body = b'{"model":"a/b","models":["c/d"],"messages":[{"role":"user","content":"x"}]}'
    assert b"models" not in chat.pass_request(body, chat.peek(body), "b")


@pytest.mark.parametrize("dialect", ["openai_chat", "anthropic_messages"])
@pytest.mark.parametrize(("count", "parts"), [(10_001, 1), (1, 20_001)])
def test_a_translation_has_a_bound(dialect: str, count: int, parts: int) -> None:
    content = b",".join([b'{"type":"text","text":"xxxxxxxxxx"}'] * parts)
    messages = b",".join([b'{"role":"user","content":[%b]}' % content] * count)
    with pytest.raises(InvalidRequest, match="10000 messages"):
        get(dialect).parse_request(b'{"model":"a/b","max_tokens":5,"messages":[%b]}' % messages)


GOOD = {"token": "a", "logprob": -1, "bytes": None, "top_logprobs": [{"token": "b", "logprob": -2.5}], "more": 1}
BROKEN_LOGPROBS: list[Any] = [
    {}, "a", 1, None, {"token": "a"}, {"token": 1, "logprob": -1.0}, {"token": "a", "logprob": "-1"},
    {"token": "a", "logprob": -1.0, "bytes": "a"}, *({"token": "a", "logprob": -1.0, "top_logprobs": tops} for tops in
    (True, "text", {}, [{}], [None], [{"token": "b", "logprob": None}])),
]  # fmt: skip


@pytest.mark.parametrize("said", [None, True, "text", 1, {}, [], BROKEN_LOGPROBS])
def test_logprobs_of_another_shape_are_left_out(said: Any) -> None:
    assert logprobs_of(said) == []


def test_logprobs_beside_broken_ones_stay() -> None:
    assert logprobs_of([*BROKEN_LOGPROBS, GOOD]) == [GOOD]


LINE: dict[str, Any] = {"model": "m", "message": {"content": "a"}, "done": True, "done_reason": "stop"}
PART: dict[str, Any] = {"type": "output_text", "text": "a", "annotations": []}


@pytest.mark.parametrize(
    "caller", ["openai_chat", "openai_completions", "openai_responses", "gemini", "cohere_v2", "ollama"]
)
@pytest.mark.parametrize("broken", [True, "text", {}, BROKEN_LOGPROBS])
def test_every_caller_gets_an_answer_whose_logprobs_are_broken(caller: DialectName, broken: Any) -> None:
    choice = {"message": {"content": "a"}, "finish_reason": "stop", "logprobs": {"content": broken}}
    item: Any = {"type": "message", "role": "assistant", "content": [{**PART, "logprobs": broken}]}
    answers: dict[DialectName, Any] = {
        "openai_chat": {"choices": [choice]},
        "ollama": {**LINE, "logprobs": broken},
        "openai_responses": {"id": "r", "object": "response", "status": "completed", "output": [item]},
    }
    for upstream, answer in answers.items():
        response = fold(get(upstream).decode_answer(json.dumps(answer).encode()))
        assert (response.text, response.choices[0].logprobs) == ("a", None)
        request = Request(model="m", messages=())
        assert get(caller).encode_answer(response, AnswerContext(id="g", model="m", created=1, request=request)).body


@pytest.mark.parametrize("words", ["token count ", "input (1 tokens) is too large to process.", "<", "< ", "exceeds "])
def test_no_words_of_an_upstream_take_long_to_read(words: str) -> None:
    body = json.dumps({"error": {"message": words * (256 * 1024 // len(words))}}).encode()
    for name in (
        "openai_chat",
        "openai_embeddings",
        "openai_responses",
        "anthropic_messages",
        "cohere_v2",
        "gemini",
        "ollama",
    ):
        began = process_time()
        assert get(name).decode_error(400, body)
        assert process_time() - began < 1


@pytest.mark.parametrize("code", ["²", "४२९", "9" * 5000, "4290", "-429"])
def test_a_code_that_is_no_status_is_a_word(code: str) -> None:
    error = upstream_error(200, "in band", code)
    assert (type(error), error.upstream_status) == (UpstreamServerError, 500)


def test_what_an_error_repeats_is_bounded() -> None:
    body = b'{"model":"m","messages":[{"role":"%s","content":"a"}]}' % (b"x" * 1_000_000)
    with pytest.raises(InvalidRequest) as caught:
        get("openai_chat").parse_request(body)
    assert (caught.value.param, len(str(caught.value)) < 1000) == ("messages[0].role", True)
    assert len(upstream_error(400, "no", "c" * 1_000_000).provider_code or "") <= 512


@pytest.mark.parametrize("twin", [b"null", b"{}", b'{"strict":true}', b"[1]", b'"ab"', b"5", b'[["a",1],["a",2]]'])
def test_what_is_said_once_is_not_said_twice(twin: bytes) -> None:
    check_twin(b'{"messages":[],"trivium":%b}' % twin)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"trivium":', b'{"trivium":' + b"[" * 5000 + b"]" * 5000 + b"}"])
def test_a_broken_body_says_nothing_twice(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        check_twin(body)


def test_a_wish_in_a_long_body_is_found_without_reading_it_all() -> None:
    body = b'{"model":"m","trivium":{},"messages":[%b0]}' % (b"[]," * 3_000_000)
    began = process_time()
    check_twin(body)
    assert process_time() - began < 1
