"""Time-sortable ids: 48 bits of milliseconds, 80 random bits, in Crockford's base 32 (as ULIDs are)."""

from __future__ import annotations

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = tuple(a + b for a in _ALPHABET for b in _ALPHABET)
_RANDOM_BITS = 80


def ulid(time_ms: int, random: int) -> str:
    """26 characters that sort by `time_ms` (Unix milliseconds); `random` has 80 bits."""
    value = (time_ms << _RANDOM_BITS) | random
    return "".join([_PAIRS[(value >> shift) & 0x3FF] for shift in range(120, -1, -10)])


class Ids:
    """Makes ids for one process: sorted by time, unique by 80 random bits drawn once and counted up from there.

    Counting spares the random draw and most of the encoding for each id.
    """

    __slots__ = ("_count", "_prefix", "_process", "_time_ms")

    def __init__(self, random: int) -> None:
        self._process = ulid(0, random)[10:18]
        self._count = random & 0x3FFFFFFFFF
        self._time_ms = -1
        self._prefix = ""

    def next(self, time_ms: int) -> str:
        """An id of the time `time_ms` (Unix milliseconds)."""
        self._count = count = (self._count + 1) & 0xFFFFFFFFFF
        low = count & 0x3FF
        if time_ms != self._time_ms or not low:
            self._time_ms = time_ms
            middle = _PAIRS[count >> 30 & 0x3FF] + _PAIRS[count >> 20 & 0x3FF] + _PAIRS[count >> 10 & 0x3FF]
            self._prefix = ulid(time_ms, 0)[:10] + self._process + middle
        return self._prefix + _PAIRS[low]
