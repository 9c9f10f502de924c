"""Public test tools: fake upstreams with faults on demand, a clock."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trivium.testing.clock import Clock
    from trivium.testing.upstream import FakeUpstream, Seen

__all__ = ["Clock", "FakeUpstream", "Seen"]

_HOMES = {"Clock": "clock", "FakeUpstream": "upstream", "Seen": "upstream"}


def __getattr__(name: str) -> object:
    """Loaded on first use, so that `python -m trivium.testing.upstream` does not find itself already imported."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
