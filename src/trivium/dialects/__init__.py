"""Wire formats, one file each, in both directions."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from trivium.dialects.base import Dialect

_NAMES = frozenset({"openai_chat", "anthropic_messages"})


@cache
def get(name: str) -> Dialect:
    """The dialect of that name, loaded on first use. Raises ValueError for a name that is none, or not built yet."""
    if name in _NAMES:
        return import_module(f"{__name__}.{name}").DIALECT
    raise ValueError(f"there is no dialect `{name}`")
