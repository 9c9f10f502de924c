"""Errors on this wire, both ways."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from trivium.dialects.common import upstream_error
from trivium.errors import TriviumError, UpstreamError

_TYPES = {
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


def decode_error(status: int, body: bytes) -> UpstreamError:
    """An upstream's answer other than 2xx. Bodies vary: OpenAI's envelope, `{"error": "text"}`, `{"detail": …}`,
    a bare `{"message": …}`, plain text, a page of HTML."""
    try:
        said: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        said = body.decode("utf-8", "replace")
    return error_of(status, said)


def error_in_band(error: Any) -> UpstreamError:
    """The `error` member of a 200 or of a chunk."""
    return error_of(200, {"error": error})


def error_of(status: int, said: Any) -> UpstreamError:
    """An error that was decoded, whatever its shape."""
    fields = as_object(said)
    inner = said if fields is None else fields.get("error", said)
    fields = as_object(inner)
    if fields is None:
        return upstream_error(status, inner if isinstance(inner, str) else "")
    message = next((fields[name] for name in ("message", "detail", "error") if isinstance(fields.get(name), str)), "")
    return upstream_error(status, message, _word(fields.get("code")), _word(fields.get("type")))


def as_object(value: Any) -> dict[str, Any] | None:
    """A decoded JSON value if it is an object."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def _word(value: Any) -> str:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def error_object(error: TriviumError, request_id: str) -> dict[str, Any]:
    """The envelope's `error` member. `code` is our stable word, `type` the class that OpenAI's SDKs know."""
    kind = "invalid_request_error" if error.status < 500 else "server_error"
    return {
        "message": str(error),
        "type": _TYPES.get(error.status, kind),
        "param": error.param,
        "code": error.kind,
        "request_id": request_id,
    }


def encode_error(error: TriviumError, request_id: str) -> bytes:
    """The envelope `{"error": {…}}`."""
    return msgspec.json.encode({"error": error_object(error, request_id)})
