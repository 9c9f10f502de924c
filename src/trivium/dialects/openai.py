"""What the dialects of OpenAI share: errors, both ways, what an answer says that it cost, and the list of models."""

from __future__ import annotations

from typing import Any

import msgspec

from trivium.dialects.common import Json, error_words, said_words, upstream_error, with_availability
from trivium.dialects.error_types import availability_of, error_type, told
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
    return with_availability(upstream_error(status, *error_words(body)), body)


def error_in_band(error: Any) -> UpstreamError:
    """The `error` member of a 200 or of a chunk."""
    made = upstream_error(200, *said_words(error))
    made.availability = availability_of(error)
    return made


def error_object(error: TriviumError, request_id: str) -> Json:
    """The member `error`. `code` is our stable word, `type` the class that OpenAI's SDKs know."""
    kind = "invalid_request_error" if error.status < 500 else "server_error"
    wire = {
        "message": str(error),
        "type": _TYPES.get(error.status, kind),
        "param": error.param,
        "code": error.kind,
        "request_id": request_id,
    }
    return wire | told(error)


def encode_error(error: TriviumError, request_id: str) -> bytes:
    return msgspec.json.encode({"error": error_object(error, request_id)})


def encode_typed_error(error: TriviumError, request_id: str) -> bytes:
    """The same, with the type beside it."""
    return msgspec.json.encode({"error": error_object(error, request_id), "error_type": error_type(error)})


def cost_of(value: Any) -> float | None:
    """A price in USD, as routing services put it into usage; negative, absurd and non-numbers count as silence."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e6:
        return None
    return float(value)


def models_answer(rows: list[dict[str, Any]]) -> bytes:
    """The answer of `GET /models`; `name` and the context length are there where they are known."""
    models: list[dict[str, Any]] = []
    for row in rows:
        model = {"id": row["id"], "object": "model", "created": row.get("created") or 0}
        model["owned_by"] = row.get("owned_by") or "unknown"
        if row.get("name"):
            model["name"] = row["name"]
        if row.get("context"):
            model["context_length"] = row["context"]
        models.append(model)
    return msgspec.json.encode({"object": "list", "data": models})
