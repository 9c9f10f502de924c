"""Wire formats, one file each, in both directions."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from trivium.dialects.base import Dialect

_NAMES = frozenset({"openai_chat", "openai_responses", "anthropic_messages", "cohere_v2", "gemini", "ollama"})


@cache
def get(name: str) -> Dialect:
    """The dialect of that name, loaded on first use. Raises ValueError for a name that is none, or not built yet."""
    module = f"{__name__}.{name}"
    if name in _NAMES:
        try:
            return import_module(module).DIALECT
        except ModuleNotFoundError as error:
            if error.name != module:
                raise
    raise ValueError(f"there is no dialect `{name}`")
