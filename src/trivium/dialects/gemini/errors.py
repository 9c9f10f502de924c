"""Errors of Gemini's API, both ways: Google's envelope with its status words. https://ai.google.dev/gemini-api/docs/troubleshooting"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from trivium.dialects.common import Json, error_words, excerpt, upstream_error
from trivium.errors import TriviumError, UpstreamContextLength, UpstreamError, UpstreamRateLimited, UpstreamRefused
from trivium.wire.json import BROKEN

_WORDS = {
    401: "UNAUTHENTICATED",
    402: "FAILED_PRECONDITION",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
"""The status word that a caller reads for a status; below 500 else `INVALID_ARGUMENT`."""
_STATUS = {word: status for status, word in _WORDS.items() if status != 502} | {"INVALID_ARGUMENT": 400}
"""The status that a word stands for, where none came (an error inside a 200)."""

_TYPE = "type.googleapis.com/google.rpc."
_CONTEXT = re.compile(r"token count.{0,200}?exceeds|exceeds the maximum number of tokens", re.IGNORECASE | re.DOTALL)
_KEY = re.compile(r"API_KEY_|API key (not valid|expired|not found)", re.IGNORECASE)
_DAILY = re.compile(r"limit: 0\b")
_DELAY = re.compile(r"(\d{1,6}(?:\.\d{1,9})?)s", re.ASCII)


class _Detail(msgspec.Struct):
    reason: str = ""
    retry_delay: str = msgspec.field(default="", name="retryDelay")


class WireError(msgspec.Struct):
    """The `error` member of the envelope; any value may stand where a broken one must not cost the rest."""

    code: Any = None
    message: Any = ""
    status: Any = ""
    details: msgspec.Raw = msgspec.Raw(b"[]")


class Envelope(msgspec.Struct):
    error: WireError | str | None = None


_ENVELOPE: msgspec.json.Decoder[Envelope | list[Envelope]] = msgspec.json.Decoder(Envelope | list[Envelope])
_DETAILS = msgspec.json.Decoder(list[_Detail])


def decode_error(status: int, body: bytes) -> UpstreamError:
    """An upstream's failed answer as one of our errors; a list of one envelope is what a stream fails with."""
    try:
        found = _ENVELOPE.decode(body)
    except BROKEN:
        return upstream_error(status, *error_words(body))
    envelope = found if isinstance(found, Envelope) else next(iter(found), Envelope())
    return upstream_error(status, *error_words(body)) if envelope.error is None else classify(status, envelope.error)


def classify(status: int, error: WireError | str) -> UpstreamError:
    """The error for what an upstream says; `status` 200 where it says so inside an answer."""
    wire = WireError(message=error) if isinstance(error, str) else error
    message, word = str(wire.message), wire.status if isinstance(wire.status, str) else ""
    if status < 400:
        known = type(wire.code) is int and 400 <= wire.code < 600
        status = wire.code if known else _STATUS.get(word, 500)
    try:
        details = _DETAILS.decode(wire.details)
    except BROKEN:
        details = []
    reasons = " ".join(detail.reason for detail in details)
    if status == 400 and _KEY.search(f"{reasons} {message}"):
        status = 401  # of our key, which this API calls an invalid argument
    if status == 400 and _CONTEXT.search(message):
        return UpstreamContextLength(excerpt(message), upstream_status=status, provider_code=word or None)
    wait = next((found[1] for detail in details if (found := _DELAY.fullmatch(detail.retry_delay))), None)
    if status == 429 and wait is not None and not (_DAILY.search(message) or b"PerDay" in bytes(wire.details)):
        # Its words speak of quota and billing whatever was exceeded; only what passes soon comes with a delay.
        return UpstreamRateLimited(
            excerpt(message), retry_after_s=float(wait), upstream_status=status, provider_code=word or None
        )
    return upstream_error(status, message, kind=f"{word} {reasons}".strip())


def refusal_of(reason: str) -> UpstreamRefused:
    """The error for a prompt that was blocked, which comes as a 200 without candidates."""
    return UpstreamRefused(f"The upstream blocked the prompt: {excerpt(reason)}.", provider_code=reason)


def encode_error(error: TriviumError, request_id: str) -> bytes:
    """The envelope, `error` first; our stable word for programs is the `reason` of its details."""
    status = error.status
    info = {"reason": error.kind.upper(), "domain": "trivium", "metadata": {"requestId": request_id}}
    details: list[Json] = [{"@type": f"{_TYPE}ErrorInfo", **info}]
    if error.param is not None:
        violation = {"field": error.param, "description": error.message}
        details.append({"@type": f"{_TYPE}BadRequest", "fieldViolations": [violation]})
    if error.retry_after_s is not None:
        details.append({"@type": f"{_TYPE}RetryInfo", "retryDelay": f"{max(1, round(error.retry_after_s))}s"})
    word = _WORDS.get(status, "INVALID_ARGUMENT" if status < 500 else "INTERNAL")
    return msgspec.json.encode({"error": {"code": status, "message": str(error), "status": word, "details": details}})
