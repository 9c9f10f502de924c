"""A wish: what a caller wants beside its body, and the words in which it says so."""

from __future__ import annotations

import re

import msgspec

from trivium.dialects.base import Addressed
from trivium.errors import InvalidRequest
from trivium.policy.key import Key
from trivium.types.data import DATA_CLASSES, DataClass

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
