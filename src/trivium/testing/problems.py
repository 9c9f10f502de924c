"""The errors that the fake upstream reports, in each vendor's words.

Shapes: OpenAI's `{"error": {message, type, param, code}}`, Anthropic's `{"type": "error", "error": {type, message}}`.
"""

from __future__ import annotations

from typing import NamedTuple


class Problem(NamedTuple):
    status: int
    message: str
    openai_type: str
    openai_code: str | None
    anthropic_type: str
    param: str | None = None
    anthropic_status: int | None = None
    """Where Anthropic answers with another status than OpenAI."""
    anthropic_message: str | None = None


def invalid(
    message: str, param: str | None = None, code: str | None = None, anthropic_message: str | None = None
) -> Problem:
    kind = "invalid_request_error"
    return Problem(400, message, kind, code, kind, param, anthropic_message=anthropic_message)


PROBLEMS: dict[str, Problem] = {
    "400": invalid("Something in this request is wrong."),
    "400-context": invalid(
        "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens.",
        "messages",
        "context_length_exceeded",
        "prompt is too long: 205000 tokens > 200000 maximum",
    ),
    "400-filter": invalid(
        "The response was filtered due to the prompt triggering the content management policy.",
        "prompt",
        "content_filter",
        "Output blocked by content filtering policy",
    ),
    "400-param": invalid(
        "Unsupported parameter: 'temperature' is not supported with this model.",
        "temperature",
        "unsupported_parameter",
        "temperature: Extra inputs are not permitted",
    ),
    "401": Problem(
        401,
        "Incorrect API key provided.",
        "invalid_request_error",
        "invalid_api_key",
        "authentication_error",
        anthropic_message="invalid x-api-key",
    ),
    "403": Problem(
        403,
        "You are not allowed to sample from this model.",
        "invalid_request_error",
        "model_not_allowed",
        "permission_error",
    ),
    "404": Problem(
        404,
        "The model does not exist or you do not have access to it.",
        "invalid_request_error",
        "model_not_found",
        "not_found_error",
        "model",
    ),
    "429": Problem(429, "Rate limit reached.", "requests", "rate_limit_exceeded", "rate_limit_error"),
    "quota": Problem(
        429,
        "You exceeded your current quota, please check your plan and billing details.",
        "insufficient_quota",
        "insufficient_quota",
        "billing_error",
        anthropic_status=402,
        anthropic_message="Your credit balance is too low to access the API.",
    ),
    "500": Problem(500, "The server had an error while processing your request.", "server_error", None, "api_error"),
    "502": Problem(502, "Bad gateway.", "server_error", None, "api_error"),
    "503": Problem(503, "The engine is currently overloaded.", "server_error", None, "overloaded_error"),
    "504": Problem(504, "The model took too long.", "server_error", None, "timeout_error"),
    "529": Problem(529, "Overloaded", "server_error", "overloaded", "overloaded_error"),
}
