"""Named functions that bend a request's body for a provider; a catalog row lists those that it needs.

The only code that may know a provider by name.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

Quirk = Callable[[bytes], bytes]

_RENAMED = b'"max_tokens"'


def max_completion_tokens(body: bytes) -> bytes:
    """OpenAI's reasoning models refuse `max_tokens`; all of its chat models take `max_completion_tokens`."""
    if _RENAMED not in body:
        return body
    fields = msgspec.json.decode(body)
    if "max_tokens" not in fields:
        return body
    limit = fields.pop("max_tokens")
    fields.setdefault("max_completion_tokens", limit)
    return msgspec.json.encode(fields)


QUIRKS: dict[str, Quirk] = {"max_completion_tokens": max_completion_tokens}
