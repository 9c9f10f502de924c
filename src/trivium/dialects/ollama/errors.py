"""Errors of this API, both ways: `{"error": "text"}`, as an answer or as a line of a stream."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from trivium.dialects.common import error_words, said_words, upstream_error
from trivium.dialects.request import given
from trivium.errors import TriviumError, UpstreamError

_BUSY = re.compile(r"server busy|overloaded|maximum pending requests", re.IGNORECASE)


def decode_error(status: int, body: bytes) -> UpstreamError:
    """An upstream's answer other than 2xx."""
    return _error(status, *error_words(body))


def error_in_band(said: Any, code: Any = None) -> UpstreamError:
    """The `error` of a 200 or of a line; the status stays 200, so that words must do."""
    message, own, kind = said_words(said)
    return _error(200, message, own or (code if isinstance(code, str) else ""), kind)


def _error(status: int, message: str, code: str, kind: str) -> UpstreamError:
    if message.startswith("{"):  # a runner's whole envelope may stand as a text in the server's
        message, code, kind = error_words(message.encode())
    if status == 200 and not code and _BUSY.search(message):
        code = "overloaded"
    return upstream_error(status, message, code, kind)


def encode_error(error: TriviumError, request_id: str) -> bytes:
    """The envelope; what stands beside its text is ours, for programs."""
    said = given(error=str(error), code=error.kind, param=error.param, request_id=request_id)
    return msgspec.json.encode(said)
