"""A route: a name that callers use, mapped to targets with a strategy."""

from __future__ import annotations

from typing import Literal

import msgspec

from trivium.catalog.rows import Timeouts
from trivium.types.data import DataClass

Strategy = Literal["order", "cheapest", "fastest", "balanced", "smart"]
Order = Strategy | Literal["price"]
"""`price` is what a catalog's model is asked by: drawn by price alone, as routing services do."""
Rescue = Literal["terminate", "hold", "restart", "continue", "auto"]
Failure = Literal["context_length", "refusal", "rate_limit", "timeout", "error"]
"""What a route may name further targets for."""
Likeness = Literal["same-weights", "same-family", "any"]


class Breaker(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    failures: int = 5
    cooldown_s: float = 15.0


class Hold(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """How much of a stream is kept back, so that a break in it can be made good unseen: until one of the two is
    reached, or, where it is `complete`, all of it."""

    tokens: int = 40
    ms: int = 1500
    """Since the first content."""
    complete: bool = False


class When(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Conditions on a request, all of which must hold. Names may end in `*`."""

    models: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    metadata: dict[str, str] = {}
    tokens_min: int | None = None
    tokens_max: int | None = None
    tools: bool | None = None
    images: bool | None = None


class Route(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """`targets` are model ids, aliases excluded: they are resolved when the configuration is read."""

    name: str
    targets: tuple[str, ...]
    strategy: Order = "order"
    weights: dict[str, float] = {}
    """The share of each target, by model id; 1 where nothing is said."""
    when: When | None = None
    """The requests that it is for; None: all."""
    rescue: Rescue = "auto"
    """What happens when an answer breaks off that its caller has in part: see `routing.rescue`."""
    hold: Hold | None = None
    rescue_other_model: bool = False
    """Whether other weights may go on with an answer."""
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
    on_refusal: Literal["pass", "next"] = "pass"
    """What follows when a model refuses a content: passed on, or asked of the next endpoint."""
    max_wait_s: float | None = None
    """For how long a local endpoint may be waited for before the next road is taken; None: as long as it takes."""
    fallbacks: dict[Failure, tuple[str, ...]] = {}
    """Targets that are tried only after a failure of this kind."""
    line: int = 0
    """Where it stands in the configuration file, for messages."""
