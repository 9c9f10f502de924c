"""Limits: what an upstream says of them in its head, as lines for the caller's. Known names, and nothing else of it."""

from __future__ import annotations

import re
from itertools import product

from trivium.transport.upstream import Fields

LINES_MAX = 32
"""Twice what any provider says."""
_WHAT = ("limit", "remaining", "reset")
_OF = ("requests", "req", "tokens", "input-tokens", "output-tokens", "tokens-prompt", "tokens-generated", "images")
_IN = ("", "-minute", "-5-minute", "-hour", "-day", "-month")
_UNIFIED = ("", "-5h", "-7d", "-overage")
_AGAIN = frozenset({b"retry-after", b"retry-after-ms"})
NAMES = _AGAIN | frozenset(
    name.encode()
    for names in (
        (f"x-ratelimit-{what}" for what in _WHAT),
        (f"x-ratelimit-{what}-{of}{within}" for what, of, within in product(_WHAT, _OF, _IN)),
        (f"anthropic-ratelimit-{of}-{what}" for of, what in product(_OF, _WHAT)),
        (
            f"anthropic-ratelimit-unified{of}-{what}"
            for of, what in product(_UNIFIED, ("status", "utilization", *_WHAT))
        ),
    )
    for name in names
)
"""A closed list, because a look into a set is what a head of many fields can bear."""
_VALUE = re.compile(rb"[\x20-\x7e]{1,128}")


def lines(status: int, fields: Fields) -> bytes:
    """Header lines, complete. An error says for itself when to try again, so that here only a success does."""
    if NAMES.isdisjoint(fields):
        return b""  # one look for all names, whose hashes are known: a head that limits nothing costs no more
    told = [
        b"%b: %b\r\n" % (name, value)
        for name, value in fields.items()
        if name in NAMES and _VALUE.fullmatch(value) and (status == 200 or name not in _AGAIN)
    ]
    return b"".join(told[:LINES_MAX])
