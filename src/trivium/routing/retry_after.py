"""How long an upstream asks us to wait: `Retry-After` and its relatives, in all their forms.

Sources: RFC 9110, 10.2.3 (seconds or an HTTP date); OpenAI's `retry-after-ms` and `x-ratelimit-reset-*`
(`1s`, `6m0s`, or an epoch); Anthropic's resets (RFC 3339). Hostile and senseless values are None, never an error.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable

WAIT_S_MAX = 86_400.0
"""More than a day is no hint but nonsense."""
EPOCH_FLOOR = 1_000_000_000
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_PERIOD = re.compile(r"(?:\d{1,9}(?:\.\d{1,9})?(?:ms|h|m|s))+", re.ASCII)
_PIECE = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ms|h|m|s)", re.ASCII)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)", re.ASCII)
_NUMBER = re.compile(r"\d{1,15}(?:\.\d{1,9})?", re.ASCII)


def retry_after_s(headers: Iterable[tuple[bytes, bytes]], now_s: float) -> float | None:
    """Seconds to wait from `now_s` (Unix seconds); None where no header says so sensibly."""
    found = {name.lower(): value.decode("latin-1").strip() for name, value in headers if len(value) <= 64}
    for name, parse in ((b"retry-after-ms", _milliseconds), (b"retry-after", _seconds_or_date)):
        if name in found:
            wait = parse(found[name], now_s)
            if wait is not None:
                return wait
    resets = [wait_s(value, now_s) for name, value in found.items() if name.startswith(b"x-ratelimit-reset")]
    known = [wait for wait in resets if wait is not None]
    return max(known) if known else None


def _clamped(wait: float) -> float | None:
    return max(0.0, wait) if wait <= WAIT_S_MAX else None


def _milliseconds(text: str, _now_s: float) -> float | None:
    return _clamped(float(text) / 1000) if _NUMBER.fullmatch(text) else None


def _seconds_or_date(text: str, now_s: float) -> float | None:
    if _NUMBER.fullmatch(text):
        return _clamped(float(text))
    from email.utils import parsedate_to_datetime  # dates are rare, and this is large

    try:
        return _clamped(parsedate_to_datetime(text).timestamp() - now_s)
    except (ValueError, OverflowError):
        return None


def wait_s(text: str, now_s: float) -> float | None:
    """Seconds until a limit is reset: a number of them, a period, an epoch, or a time of RFC 3339; else None."""
    if _NUMBER.fullmatch(text):
        number = float(text)
        if number >= EPOCH_FLOOR * 1000:
            return _clamped(number / 1000 - now_s)
        return _clamped(number - now_s if number >= EPOCH_FLOOR else number)
    if _PERIOD.fullmatch(text):
        return _clamped(sum(float(amount) * _UNITS[unit] for amount, unit in _PIECE.findall(text)))
    if _TIME.fullmatch(text):
        try:
            return _clamped(dt.datetime.fromisoformat(text).timestamp() - now_s)
        except ValueError:
            return None
    return None
