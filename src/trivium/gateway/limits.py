"""Limits: what an upstream says of them in its head, as lines for the caller's. Known names, and nothing else of it."""

from __future__ import annotations

import re

from trivium.transport.upstream import Fields

LINES_MAX = 32
"""Twice what any provider says."""
_NAME = re.compile(rb"(?:x|anthropic)-ratelimit-[a-z0-9-]{1,48}|retry-after(?:-ms)?")
_VALUE = re.compile(rb"[\x20-\x7e]{1,128}")


def lines(status: int, fields: Fields) -> bytes:
    """Header lines, complete. An error says for itself when to try again, so that here only a success does."""
    names = b" ".join(fields)
    if b"-ratelimit-" not in names and b"retry-after" not in names:
        return b""  # nearly always where nobody limits: two looks, whatever the head holds
    told = [
        b"%b: %b\r\n" % (name, value)
        for name, value in fields.items()
        if _NAME.fullmatch(name) and _VALUE.fullmatch(value) and (status == 200 or not name.startswith(b"retry-after"))
    ]
    return b"".join(told[:LINES_MAX])
