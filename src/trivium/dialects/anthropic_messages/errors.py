"""Errors of the Messages API, both ways. https://docs.claude.com/en/api/errors"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from trivium.dialects.common import error_words, excerpt, upstream_error, with_availability
from trivium.dialects.error_types import ERROR_TYPES, error_type, told
from trivium.errors import TriviumError, UpstreamContextLength, UpstreamError, UpstreamRefused

_STATUS = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""The status that a type stands for, where none came (an error inside a 200) or only a vague one (5xx)."""

_CONTEXT = re.compile(r"prompt is too long|exceeds? (the )?context|context (window|limit|length)", re.IGNORECASE)
_REFUSED = re.compile(r"content filtering policy", re.IGNORECASE)


class WireError(msgspec.Struct, frozen=True):
    """The `error` member of the envelope."""

    type: Any = ""
    message: Any = ""


def decode_error(status: int, body: bytes) -> UpstreamError:
    """An upstream's failed answer as one of our errors; a body in no known shape leaves the status to decide."""
    message, _, kind = error_words(body)
    return with_availability(classify(status, WireError(kind, message)), body)


def classify(status: int, wire: WireError) -> UpstreamError:
    """The error for a type and message; `status` 200 where the error came inside an answer."""
    kind, message = str(wire.type), str(wire.message)
    if not 400 <= status < 500:
        status = _STATUS.get(kind, max(status, 500))
    for pattern, leaf in ((_CONTEXT, UpstreamContextLength), (_REFUSED, UpstreamRefused)):
        if status in {400, 413} and pattern.search(message):
            return leaf(excerpt(message), upstream_status=status, provider_code=kind or None)
    return upstream_error(status, message, kind=kind)


def encode_error(error: TriviumError, request_id: str) -> bytes:
    """The envelope: the API's own coarse type, and beside it what programs can tell more by."""
    wire: dict[str, Any] = {"type": ERROR_TYPES[error_type(error)].messages, "message": str(error), **told(error)}
    if error.param is not None:
        wire["param"] = error.param
    return msgspec.json.encode({"type": "error", "error": wire, "request_id": request_id})
