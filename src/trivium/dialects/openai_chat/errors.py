"""Errors on this wire, both ways."""

from __future__ import annotations

from typing import Any

import msgspec

from trivium.dialects.common import error_words, said_words, upstream_error
from trivium.errors import TriviumError, UpstreamError

_TYPES = {
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


def decode_error(status: int, body: bytes) -> UpstreamError:
    """An upstream's answer other than 2xx."""
    return upstream_error(status, *error_words(body))


def error_in_band(error: Any) -> UpstreamError:
    """The `error` member of a 200 or of a chunk."""
    return upstream_error(200, *said_words(error))


def encode_error(error: TriviumError, request_id: str) -> bytes:
    """The envelope `{"error": {…}}`. `code` is our stable word, `type` the class that OpenAI's SDKs know."""
    kind = "invalid_request_error" if error.status < 500 else "server_error"
    wire = {
        "message": str(error),
        "type": _TYPES.get(error.status, kind),
        "param": error.param,
        "code": error.kind,
        "request_id": request_id,
    }
    return msgspec.json.encode({"error": wire})
