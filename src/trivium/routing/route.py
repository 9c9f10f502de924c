"""A route: a name that callers use, mapped to targets with a strategy."""

from __future__ import annotations

from typing import Literal

import msgspec

from trivium.catalog.rows import Timeouts
from trivium.types.data import DataClass

Strategy = Literal["order", "cheapest", "fastest", "balanced", "smart"]
Rescue = Literal["terminate", "hold", "restart", "continue", "auto"]
Likeness = Literal["same-weights", "same-family", "any"]


class Breaker(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    failures: int = 5
    cooldown_s: float = 15.0


class Route(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """`targets` are model ids, aliases excluded: they are resolved when the configuration is read."""

    name: str
    targets: tuple[str, ...]
    strategy: Strategy = "order"
    rescue: Rescue = "auto"
    rescue_other_model: bool = False
    data_class: DataClass = DataClass.ANY
    timeouts: Timeouts = Timeouts()
    attempts: int = 4
    """Attempts a request, over all targets."""
    retries: int = 1
    """Further tries of one target."""
    breaker: Breaker = Breaker()
    fallback: Likeness = "any"
    """How like the first target a later one must be."""
    upstream_stream: Literal["never", "always"] | None = None
    line: int = 0
    """Where it stands in the configuration file, for messages."""
