"""Named functions that bend a request's body for a provider; a catalog row lists those that it needs.

The only code that may know a provider by name. A caller's own values go on as it wrote them.
"""

from __future__ import annotations

from collections.abc import Callable

from trivium.wire.json import NULL, is_null, join, members

Quirk = Callable[[bytes], bytes]

_OLD, _NEW = "max_tokens", "max_completion_tokens"


def max_completion_tokens(body: bytes) -> bytes:
    """OpenAI's reasoning models refuse `max_tokens`; all of its chat models take `max_completion_tokens`."""
    if b'"max_tokens"' not in body:
        return body
    fields = members(body)
    if _OLD not in fields:
        return body
    superseded = _NEW if is_null(fields.get(_NEW, NULL)) else _OLD
    return join({_NEW if name == _OLD else name: value for name, value in fields.items() if name != superseded})


QUIRKS: dict[str, Quirk] = {"max_completion_tokens": max_completion_tokens}
