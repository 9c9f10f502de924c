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

    __slots__ = ("_count", "_high", "_middle", "_prefix", "_second", "_time_ms")

    def __init__(self, random: int) -> None:
        self._count = random & 0x3FFFFFFFFF
        self._middle = ulid(0, (random >> 40 << 40) + self._count)[10:24]
        self._time_ms = self._second = -1
        self._high = self._prefix = ""

    def next(self, time_ms: int) -> str:
        """An id of the time `time_ms` (Unix milliseconds). Nearly always only its end is new, or one pair before."""
        self._count = count = (self._count + 1) & 0xFFFFFFFFFF
        low = count & 0x3FF
        if time_ms != self._time_ms or not low:
            self._time_ms = time_ms
            if time_ms >> 10 != self._second:
                self._second = time_ms >> 10
                self._high = ulid(time_ms, 0)[:8]
            if not low:
                self._middle = self._middle[:8] + ulid(0, count)[18:24]
            self._prefix = self._high + _PAIRS[time_ms & 0x3FF] + self._middle
        return self._prefix + _PAIRS[low]
