"""Wire formats, one file each, in both directions."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from trivium.dialects.base import Dialect
from trivium.types.request import Operation

_CHATS = ("openai_chat", "openai_responses", "anthropic_messages", "cohere_v2", "gemini", "ollama", "ollama_generate")
_COUNTS = ("anthropic_count", "gemini_count")
_EMBEDDINGS = ("openai_embeddings", "cohere_embed", "gemini_embed", "ollama_embed")
_RANKINGS = ("rerank", "cohere_rerank", "cosine_rerank")
_PROFILES = {"openrouter": "openai_chat.openrouter", "openai_completions": "openai_chat.completions"}
"""Versions of a dialect: name → module."""
MODULES = {name: name for name in (*_CHATS, *_COUNTS, *_EMBEDDINGS, *_RANKINGS)} | _PROFILES
"""Of every dialect."""
_KIN: dict[str, tuple[str, ...]] = {
    "anthropic_messages": ("anthropic_count",),
    "openai_chat": ("openai_embeddings", "rerank"),
    "cohere_v2": ("cohere_embed", "cohere_rerank"),
    "gemini": ("gemini_embed", "gemini_count"),
    "ollama": ("ollama_generate", "ollama_embed"),
}
"""What a server that speaks a dialect has beside it, under the same base URL."""


@cache
def get(name: str) -> Dialect:
    """The dialect of that name, loaded on first use. Raises ValueError for a name that is none."""
    if (module := MODULES.get(name)) is None:
        raise ValueError(f"there is no dialect `{name}`")
    return import_module(f"{__name__}.{module}").DIALECT


def _beside(named: tuple[str, ...]) -> list[str]:
    """These names, each with those that a server has beside it."""
    return [name for dialect in named for name in (dialect, *_KIN.get(dialect, ()))]


@cache
def spoken(named: tuple[str, ...]) -> tuple[Dialect, ...]:
    """All dialects of a server of which some are named, in the order in which it should be asked in them."""
    return tuple(map(get, _beside(named)))


def suited(named: tuple[str, ...], caller: Dialect | None, operation: Operation) -> Dialect | None:
    """The dialect to ask a server in: its caller's own if the server speaks that, else its first for the operation.

    None: it does not offer the operation.
    """
    names = _beside(named)
    if caller is not None and caller.name in names:
        return caller
    return next((dialect for name in names if (dialect := get(name)).operation == operation), None)
