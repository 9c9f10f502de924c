"""A wish: what a caller wants beside its body, and the words in which it says so."""

from __future__ import annotations

import re

import msgspec

from trivium.dialects.base import Addressed
from trivium.errors import InvalidRequest, UnsupportedMediaType
from trivium.gateway import metadata
from trivium.gateway.paths import Place
from trivium.policy.key import Key
from trivium.routing.sticky import NAME_MAX
from trivium.transport.server import Fields
from trivium.types.data import DATA_CLASSES, DataClass

_SPECIAL = (b"x-trivium-data-class", b"x-trivium-strict", b"x-trivium-timeout")
_TIMEOUT = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)(ms|s|m)?", re.ASCII)
_UNITS = {None: 1.0, "ms": 0.001, "s": 1.0, "m": 60.0}
_YES, _NO = ("1", "true", "yes"), ("0", "false", "no")


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """From a caller's key, our headers, or our Python parameters."""

    key: Key | None = None
    data_class: DataClass = DataClass.ANY
    strict: bool = False
    timeout_s: float | None = None
    forwarded: bytes = b""
    """Header lines of the caller that go on to an upstream of the same dialect."""
    addressed: Addressed | None = None
    session: str = ""
    """By what a header tells the caller's conversations apart."""
    service: bool = False
    """Asked as a routing service is; see `Place`."""
    metadata: bool = False
    """The answer says how it was routed."""


def wish_of(fields: Fields, place: Place, key: Key | None) -> Wish:
    """What headers and key ask for. Raises InvalidRequest, UnsupportedMediaType."""
    kind = fields.get(b"content-type", b"")
    if not kind.lower().startswith(b"application/json"):
        raise UnsupportedMediaType(
            f"The body is `{kind[:60].decode('latin-1') or 'of no stated type'}`, not JSON.",
            remedy="Send `content-type: application/json`.",
        )
    asked, strict, timeout = (fields[name].decode("latin-1") if name in fields else None for name in _SPECIAL)
    least = key.data_class if key else DataClass.ANY
    return Wish(
        key=key,
        data_class=least if asked is None else max(least, data_class_of(asked)),
        strict=strict is not None and strict_of(strict),
        timeout_s=None if timeout is None else timeout_of(timeout),
        forwarded=b"".join(b"%b: %b\r\n" % (name, fields[name]) for name in place.dialect.forwarded if name in fields),
        addressed=place.addressed,
        session=fields.get(b"x-session-id", b"")[:NAME_MAX].decode("latin-1"),
        service=place.service,
        metadata=metadata.asked(fields),
    )


def data_class_of(word: str) -> DataClass:
    """The class of a word in a header or body. Raises InvalidRequest for any other word."""
    found = DATA_CLASSES.get(word.strip().lower())
    if found is None:
        raise InvalidRequest(
            f"There is no data class `{word[:40]}`.",
            remedy=f"Use one of {', '.join(DATA_CLASSES)}.",
            param="data_class",
        )
    return found


def strict_of(text: str) -> bool:
    """Whether nothing may be dropped, as a header says it. Raises InvalidRequest."""
    word = text.strip().lower()
    if word not in _YES and word not in _NO:
        raise InvalidRequest(
            f"`{text[:40]}` is no value of `x-trivium-strict`.", remedy="Use `1` or `0`.", param="strict"
        )
    return word in _YES


def timeout_of(text: str) -> float:
    """Seconds of a timeout: a number, or one with `ms`, `s` or `m`. Raises InvalidRequest."""
    found = _TIMEOUT.fullmatch(text.strip())
    if found is None or not float(found[1]):
        raise InvalidRequest(
            f"`{text[:40]}` is no timeout.", remedy="Use seconds, or a number with `ms`, `s` or `m`.", param="timeout"
        )
    return float(found[1]) * _UNITS[found[2]]
