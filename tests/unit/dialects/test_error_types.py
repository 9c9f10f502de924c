"""The closed set of error types: each in three dialects, in a stream and outside, as one table says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from trivium.dialects import get
from trivium.dialects.base import AnswerContext
from trivium.dialects.error_types import ERROR_TYPES, error_type
from trivium.errors import (
    AuthenticationFailed,
    Availability,
    ContextLengthExceeded,
    Draining,
    InternalError,
    InvalidRequest,
    NoEndpoint,
    NotFound,
    PayloadTooLarge,
    PaymentRequired,
    PermissionDenied,
    RateLimited,
    TriviumError,
    UnsupportedMediaType,
    UpstreamAuthError,
    UpstreamCut,
    UpstreamOverloaded,
    UpstreamRejected,
    UpstreamTimeout,
)

OURS = {
    "context_length_exceeded": ContextLengthExceeded("m"),
    "invalid_request": InvalidRequest("m", param="n"),
    "not_found": NotFound("m"),
    "authentication": AuthenticationFailed("m"),
    "payment_required": PaymentRequired("m"),
    "permission_denied": PermissionDenied("m"),
    "rate_limit_exceeded": RateLimited("m"),
    "server": InternalError("m"),
    "unmapped": TriviumError("m"),
    "provider_unavailable": UpstreamCut("m", endpoint="acme/m"),
    "provider_overloaded": UpstreamOverloaded("m"),
    "timeout": UpstreamTimeout("m"),
    "payload_too_large": PayloadTooLarge("m"),
}
DIALECTS = ("openrouter", "anthropic_messages", "openai_responses")
CONTEXT = AnswerContext(id="gen-1", model="a/m", created=1, provider="P")


def told_by_an_upstream(word: str) -> TriviumError:
    """An error as a routing service says it, read by our decoder."""
    status = ERROR_TYPES[word].status
    body = {"error": {"code": status, "message": "m", "metadata": {"error_type": word}}}
    return get("openai_chat").decode_error(status, json.dumps(body).encode())


def of_type(word: str) -> TriviumError:
    return OURS[word] if word in OURS else told_by_an_upstream(word)


def test_there_are_27() -> None:
    assert len(ERROR_TYPES) == 27


@pytest.mark.parametrize("word", ERROR_TYPES)
def test_each_type_has_its_status(word: str) -> None:
    error = of_type(word)
    assert (error_type(error), error.status) == (word, ERROR_TYPES[word].status)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("word", ERROR_TYPES)
def test_each_type_in_each_dialect(word: str, dialect: str, stream: bool) -> None:
    error, form = of_type(word), get(dialect)
    said = form.encoder(CONTEXT).fail(error) if stream else form.encode_error(error, "gen-1")
    if stream:
        said = said.split(b"data: ", 1)[1]
    wire: Any = json.loads(said)
    whole = wire["response"] if dialect == "openai_responses" and stream else wire
    inner = whole["error"]
    assert inner["metadata"]["error_type"] == inner["error_type"] == word
    assert inner["http_status"] == ERROR_TYPES[word].status
    assert "availability" not in inner
    match dialect:
        case "openrouter":
            assert (inner["code"], inner["param"]) == (ERROR_TYPES[word].status, error.param)
            assert not stream or whole["choices"][0]["finish_reason"] == "error"
        case "anthropic_messages":
            assert (whole["type"], inner["type"]) == ("error", ERROR_TYPES[word].messages)
        case _:
            assert whole["error_type"] == word
            code = "context_length_exceeded" if word == "context_length_exceeded" else ERROR_TYPES[word].responses
            assert not stream or inner["code"] == code


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (NoEndpoint("m"), "not_found"),
        (Draining("m"), "provider_overloaded"),
        (UnsupportedMediaType("m"), "unprocessable"),
        (UpstreamAuthError("m", provider_code="authentication"), "provider_unavailable"),
        (UpstreamRejected("m", provider_code="image_parse_error"), "invalid_image"),
        (UpstreamRejected("m", provider_code="rate_limit_exceeded"), "invalid_request"),
        (UpstreamRejected("m", upstream_status=422), "unprocessable"),
        (UpstreamRejected("m", upstream_status=418, provider_code="teapot"), "invalid_request"),
    ],
)
def test_kinds_of_ours_and_codes_of_upstreams(error: TriviumError, word: str) -> None:
    assert error_type(error) == word


@pytest.mark.parametrize("dialect", [*DIALECTS, "openai_chat"])
def test_why_nobody_serves_goes_with_the_error(dialect: str) -> None:
    error = NoEndpoint("m")
    error.availability = Availability(
        code="no_endpoints", retryable=False, requested_models=("a/m",), docs_url="d", excluded_by=()
    )
    error.previous = (UpstreamCut("m", endpoint="acme/m"),)
    inner = json.loads(get(dialect).encode_error(error, "gen-1"))["error"]
    told = {"code": "no_endpoints", "retryable": False, "requested_models": ["a/m"], "docs_url": "d"}
    assert inner["availability"] == told
    assert inner["metadata"]["previous_errors"] == [{"provider": "acme", "code": "upstream_cut", "status": 502}]


@pytest.mark.parametrize("said", [{"availability": 5}, {"availability": {"code": 1}}, {"metadata": {"error_type": []}}])
def test_what_an_upstream_says_and_cannot_be_read_is_left_out(said: Any) -> None:
    body = json.dumps({"error": {"code": 404, "message": "m"} | said}).encode()
    assert get("openai_chat").decode_error(404, body).availability is None
