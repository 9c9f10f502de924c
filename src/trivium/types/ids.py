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

    Counting spares the random draw and nearly all of the encoding: mostly only the last pair of characters is new.
    """

    __slots__ = ("_count", "_ends", "_high", "_middle", "_prefix", "_random", "_second", "_time_ms", "_word")

    def __init__(self, random: int, word: str = "") -> None:
        """`word` begins each of them."""
        self._word = word
        self._random = random >> 40 << 40
        self._count = random & 0x3FFFFFFFFF
        self._ends = iter(_PAIRS[(self._count & 0x3FF) + 1 :])
        self._time_ms = self._second = -1
        self._high = self._prefix = ""
        self._middle = ulid(0, self._random + self._count)[10:24]

    def next(self, time_ms: int) -> str:
        """An id of the time `time_ms` (Unix milliseconds)."""
        if time_ms != self._time_ms:
            self._turn(time_ms)
        for end in self._ends:
            return self._prefix + end
        self._count = (self._count | 0x3FF) + 1 & 0xFFFFFFFFFF
        self._middle = ulid(0, self._random + self._count)[10:24]
        self._ends = iter(_PAIRS)
        self._turn(time_ms)
        return self.next(time_ms)

    def _turn(self, time_ms: int) -> None:
        self._time_ms = time_ms
        if time_ms >> 10 != self._second:
            self._second = time_ms >> 10
            self._high = self._word + ulid(time_ms, 0)[:8]
        self._prefix = self._high + _PAIRS[time_ms & 0x3FF] + self._middle
