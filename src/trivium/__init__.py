"""Trivium: one endpoint and one Python API over the three roads to a language model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trivium.version import __version__

if TYPE_CHECKING:
    from trivium.client import AsyncTrivium, Trivium

__all__ = ["AsyncTrivium", "Trivium", "__version__"]


def __getattr__(name: str) -> object:
    # Loaded on first use, so that `import trivium` costs next to nothing.
    if name in ("AsyncTrivium", "Trivium"):
        from trivium import client

        return getattr(client, name)
    raise AttributeError(f"module 'trivium' has no attribute {name!r}")
