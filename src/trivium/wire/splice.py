"""Splicing: a request's body with another `model`, all other bytes as the caller wrote them.

The walk reads only what stands before `model` at the top level, by anchored matches, and steps over
`messages` by the length of its raw slice. So the cost does not grow with the conversation but for
the copy that the new body is anyway.
"""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

_OPEN = re.compile(rb"[ \t\n\r]*\{[ \t\n\r]*")
_KEY = re.compile(rb'"([^"\\]*)"[ \t\n\r]*:[ \t\n\r]*')
_SCALAR = re.compile(rb'"[^"\\]*"|[-+.0-9eE]+|true|false|null')
_LONG = frozenset({b"messages", b"input"})
"""The names that the conversation has."""
_NEXT = re.compile(rb"[ \t\n\r]*,[ \t\n\r]*")


def splice_model(body: bytes, current: str, new: str, messages: msgspec.Raw, extra: bytes = b"") -> bytes | None:
    """Replace the value of the top-level `model`, and insert the members `extra` after it.

    `body` is a JSON object in which `model` stands once with the value `current` (whoever decoded it
    has refused a second one) and `messages` is the raw value of the conversation. `extra` holds
    raw members (`b'"stream":true'`) whose keys the body lacks. None where the anchored walk does not
    find the member in its plain spelling: then the caller decodes and encodes again.
    """
    for first, instead in _first_members(current, new):
        if body.startswith(first):
            return b"".join((instead, b"," if extra else b"", extra, body[len(first) :]))
    span = _model_value(body, messages)
    if span is None:
        return None
    start, end = span
    if body[start + 1 : end - 1] != current.encode():
        return None
    value = msgspec.json.encode(new)
    return b"".join((body[:start], value, b"," if extra else b"", extra, body[end:]))


@lru_cache(maxsize=4096)
def _first_members(current: str, new: str) -> tuple[tuple[bytes, bytes], ...]:
    """A body that begins with its model, as the usual encoders write it, and what it then begins with instead."""
    before, after = msgspec.json.encode(current), msgspec.json.encode(new)
    return tuple((start + before, start + after) for start in (b'{"model":', b'{"model": '))


def _model_value(body: bytes, messages: msgspec.Raw) -> tuple[int, int] | None:
    """Where the value of `model` stands, quotes included."""
    found = _OPEN.match(body)
    while found:
        key = _KEY.match(body, found.end())
        if key is None:
            return None
        at = key.end()
        if key[1] in _LONG and body.startswith(bytes(messages), at):
            # Comparing makes the step exact: a complete value stands here, whatever else the body repeats.
            end = at + len(memoryview(messages))
        else:
            value = _SCALAR.match(body, at)
            if value is None:
                return None
            end = value.end()
            if key[1] == b"model":
                return (at, end) if body[at] == ord('"') else None
        found = _NEXT.match(body, end)
    return None
