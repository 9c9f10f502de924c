"""A candidate: an endpoint as a strategy sees it, for one request at one moment."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from trivium.routing.draw import unit

UNKNOWN = math.inf
"""The cost of what has no known price: never cheapest, and never free."""


class Candidate(msgspec.Struct, frozen=True, gc=False):
    """`cost` in nano-dollars and `time_s` are expected of this request; `load` is `time_s` by how busy it is."""

    index: int
    """Its place in the plan."""
    name: int
    """The `seed_of` its id."""
    cost: float
    time_s: float
    load: float
    weight: float = 1.0
    """The share that its route gives it."""


def less_loaded(candidates: Sequence[Candidate], seed: int) -> Candidate:
    """The power of two choices: of two that are drawn the one with the lower load, so that no herd forms."""
    if len(candidates) <= 2:
        return min(candidates, key=_load)
    first = int(unit(seed, 1) * len(candidates))
    second = int(unit(seed, 2) * (len(candidates) - 1))
    second += second >= first
    return min(candidates[first], candidates[second], key=_load)


def by_load(candidates: Sequence[Candidate]) -> list[Candidate]:
    return sorted(candidates, key=_load)


def _load(candidate: Candidate) -> float:
    return candidate.load


def led_by(first: Candidate, rest: Sequence[Candidate]) -> list[Candidate]:
    return [first, *(candidate for candidate in rest if candidate is not first)]
