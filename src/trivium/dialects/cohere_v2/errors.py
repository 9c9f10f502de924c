"""Errors of the Chat API, both ways. https://docs.cohere.com/reference/errors"""

from __future__ import annotations

import re

import msgspec

from trivium.dialects.common import Json, error_words, excerpt, upstream_error
from trivium.dialects.request import given
from trivium.errors import TriviumError, UpstreamContextLength, UpstreamError, UpstreamQuotaExhausted, UpstreamRefused

_LEAVES: tuple[tuple[frozenset[int], re.Pattern[str], type[UpstreamError]], ...] = (
    (frozenset({400, 422}), re.compile("too many tokens", re.IGNORECASE), UpstreamContextLength),
    (frozenset({429}), re.compile(r"/ month|per month", re.IGNORECASE), UpstreamQuotaExhausted),
    (frozenset({498}), re.compile(""), UpstreamRefused),
)
"""What this API says in its own way: statuses and words; 498 is a text with a deny-listed token."""
_IN_BAND = (("overloaded|unavailable", 503), ("rate limit|too many requests", 429), ("time", 504))
"""The status that an error inside a 200 amounts to, by its words, for it has no code; else 500."""


def decode_error(status: int, body: bytes) -> UpstreamError:
    """An upstream's failed answer as one of our errors; a body in no known shape leaves the status to decide."""
    return classify(status, *error_words(body))


def classify(status: int, message: str, code: str = "", kind: str = "") -> UpstreamError:
    """The error for these words; `status` 200 where they came inside an answer, `kind` where a Trivium said them."""
    for statuses, words, leaf in _LEAVES:
        if status in statuses and words.search(message):
            return leaf(excerpt(message), upstream_status=status)
    if status == 200 and not kind:
        status = next((meant for words, meant in _IN_BAND if re.search(words, message, re.IGNORECASE)), 500)
    return upstream_error(status, message, code, kind)


def failure(finish_reason: str, message: str | None, kind: str | None = None) -> UpstreamError | None:
    """The error that an answer ended with; None for one that ended well."""
    if finish_reason == "TIMEOUT":
        return upstream_error(408, message or "The answer took longer than the upstream allows.")
    return classify(200, message or "", kind=kind or "") if message or finish_reason.startswith("ERROR") else None


def words(error: TriviumError) -> Json:
    """What a caller reads beside the message: `error_type` is our stable word for programs."""
    return {"error_type": error.kind} | given(param=error.param)


def encode_error(error: TriviumError, request_id: str) -> bytes:
    return msgspec.json.encode({"id": request_id, "message": str(error)} | words(error))
