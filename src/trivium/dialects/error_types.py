"""Error types: the closed set of words by which OpenRouter's clients tell errors apart, and what each is elsewhere.

One table for all dialects; source: section 12 of OpenRouter's contract.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from trivium.errors import Availability, TriviumError, UpstreamAuthError, UpstreamError


class ErrorType(NamedTuple):
    """Its HTTP status, its type in `/messages`, and its code in `/responses`."""

    status: int
    messages: str = "invalid_request_error"
    responses: str = "server_error"


_INVALID = ErrorType(400)
ERROR_TYPES = {
    "context_length_exceeded": ErrorType(400, responses="invalid_prompt"),
    **dict.fromkeys(("max_tokens_exceeded", "token_limit_exceeded", "string_too_long"), _INVALID),
    "invalid_request": ErrorType(400, responses="invalid_prompt"),
    "content_policy_violation": ErrorType(400, responses="image_content_policy_violation"),
    **dict.fromkeys(("invalid_prompt", "refusal", "invalid_image", "image_too_large", "image_too_small"), _INVALID),
    **dict.fromkeys(("unsupported_image_format", "image_download_failed"), _INVALID),
    **dict.fromkeys(("image_not_found", "not_found"), ErrorType(404, "not_found_error")),
    "authentication": ErrorType(401, "authentication_error"),
    "payment_required": ErrorType(402, "billing_error"),
    "permission_denied": ErrorType(403, "permission_error"),
    "precondition_failed": ErrorType(412),
    "payload_too_large": ErrorType(413),
    "unprocessable": ErrorType(422),
    "rate_limit_exceeded": ErrorType(429, "rate_limit_error", "rate_limit_exceeded"),
    **dict.fromkeys(("server", "unmapped"), ErrorType(500, "api_error")),
    "provider_unavailable": ErrorType(502, "api_error"),
    "provider_overloaded": ErrorType(503, "overloaded_error"),
    "timeout": ErrorType(504, "timeout_error"),
}

_KINDS = {
    "method_not_allowed": "invalid_request",
    "request_timeout": "timeout",
    "unsupported_media_type": "unprocessable",
    "head_too_large": "payload_too_large",
    "client_closed_request": "invalid_request",
    "no_endpoints": "not_found",
    **dict.fromkeys(("temporarily_unavailable", "draining", "ledger_unavailable"), "provider_overloaded"),
    **dict.fromkeys(("engine_unavailable", "upstream_overloaded"), "provider_overloaded"),
    **dict.fromkeys(("upstream_unreachable", "upstream_tls_error", "upstream_cut"), "provider_unavailable"),
    **dict.fromkeys(("upstream_protocol_error", "upstream_auth_error"), "provider_unavailable"),
    **dict.fromkeys(("upstream_token_error", "upstream_server_error"), "provider_unavailable"),
    "upstream_timeout": "timeout",
    **dict.fromkeys(("upstream_rate_limited", "upstream_quota_exhausted"), "rate_limit_exceeded"),
    "upstream_not_found": "not_found",
    "upstream_rejected": "invalid_request",
}
"""Kinds of our errors that are no error types themselves."""

_CODES = {
    "string_above_max_length": "string_too_long",
    "invalid_image_format": "unsupported_image_format",
    "invalid_base64_image": "invalid_image",
    "image_parse_error": "invalid_image",
    "image_content_policy_violation": "content_policy_violation",
    "failed_to_download_image": "image_download_failed",
    "empty_image_file": "invalid_image",
    "image_file_not_found": "image_not_found",
    "image_file_too_large": "image_too_large",
}
"""Upstreams' own codes that say more than our kind does."""
_STATUSES = {412: "precondition_failed", 413: "payload_too_large", 422: "unprocessable"}
_OF_THE_REQUEST = frozenset({"upstream_rejected", "upstream_not_found", "content_policy_violation"})
"""Kinds of an upstream's errors that its code may specify: what they say is about the caller's request."""


def error_type(error: TriviumError) -> str:
    """The word for an error; `unmapped` for what has none."""
    if isinstance(error, UpstreamError) and error.kind in _OF_THE_REQUEST:
        word = _CODES.get(code := error.provider_code or "", code)
        if word in ERROR_TYPES and 400 <= ERROR_TYPES[word].status < 500 and word not in _FOR_US:
            return word
        if found := _STATUSES.get(error.upstream_status or 0):
            return found
    return error.kind if error.kind in ERROR_TYPES else _KINDS.get(error.kind, "unmapped")


_FOR_US = frozenset({"authentication", "payment_required", "permission_denied", "rate_limit_exceeded"})
"""Types that an upstream means us with."""


def told(error: TriviumError) -> dict[str, Any]:
    """What every dialect's error says beside its own members: the type, the status, and what is known about why."""
    kind = error_type(error)
    metadata: dict[str, Any] = {"error_type": kind, "kind": error.kind}
    if isinstance(error, UpstreamError):
        ours = isinstance(error, UpstreamAuthError)  # its code would read as if the caller's own key were wrong
        code = None if ours else error.provider_code
        named = {"provider_name": error.endpoint.partition("/")[0], "provider_code": code}
        metadata |= {name: word for name, word in named.items() if word}
    if error.previous:
        metadata["previous_errors"] = [_previous(one) for one in error.previous]
    wire: dict[str, Any] = {"error_type": kind, "http_status": error.status, "metadata": metadata}
    return wire if error.availability is None else {**wire, "availability": error.availability}


def _previous(error: TriviumError) -> dict[str, Any]:
    provider = error.endpoint.partition("/")[0] if isinstance(error, UpstreamError) else ""
    return {"provider": provider, "code": error.kind, "status": error.status}


class _Said(msgspec.Struct):
    availability: Availability | None = None


def availability_of(said: Any) -> Availability | None:
    """What the `error` of a routing service says of why nobody served; None where it says nothing that can be read."""
    try:
        return msgspec.convert(said, _Said).availability
    except msgspec.ValidationError:
        return None
