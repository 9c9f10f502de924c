"""Time-sortable ids: 48 bits of milliseconds, 80 random bits, in Crockford's base 32 (as ULIDs are)."""

from __future__ import annotations

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = tuple(a + b for a in _ALPHABET for b in _ALPHABET)
_RANDOM_BITS = 80


def ulid(time_ms: int, random: int) -> str:
    """26 characters that sort by `time_ms` (Unix milliseconds); `random` has 80 bits."""
    value = (time_ms << _RANDOM_BITS) | random
    return "".join([_PAIRS[(value >> shift) & 0x3FF] for shift in range(120, -1, -10)])


def time_ms_of(generation_id: str) -> int:
    """The Unix milliseconds inside an id, with or without its `gen-` prefix; raises ValueError for any other text."""
    text = generation_id.removeprefix("gen-")
    if len(text) != 26:
        raise ValueError("not a generation id")
    value = 0
    for character in text:
        value = value << 5 | _ALPHABET.index(character)
    return value >> _RANDOM_BITS
