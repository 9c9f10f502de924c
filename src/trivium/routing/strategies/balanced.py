"""Drawn by price and time: `(c / c_min)^-2 · (t / t_min)^-1`, the rest by these weights.

Without the time it is what routing services publish: three times the price, a ninth of the requests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from trivium.routing.candidate import UNKNOWN, Candidate, led_by
from trivium.routing.draw import score

FREE = 0.1
"""What costs nothing counts as a tenth of the cheapest price, so that it wins 100 to 1 at most."""


def rank(candidates: Sequence[Candidate], seed: int) -> list[Candidate]:
    return _drawn(candidates, seed, lambda one: 1 / one.time_s)


def by_price(candidates: Sequence[Candidate], seed: int) -> list[Candidate]:
    return _drawn(candidates, seed, lambda _: 1.0)


def _drawn(candidates: Sequence[Candidate], seed: int, speed: Callable[[Candidate], float]) -> list[Candidate]:
    costs = [one.cost for one in candidates if 0 < one.cost < UNKNOWN]
    least, most = (min(costs), max(costs)) if costs else (1.0, 1.0)
    weights: dict[int, float] = {}
    for one in candidates:
        cost = most if one.cost == UNKNOWN else max(one.cost, least * FREE)  # unknown: as dear as the dearest
        weights[one.index] = one.weight * speed(one) / (cost * cost)
    first = max(candidates, key=lambda one: score(seed, one.name, weights[one.index]))
    return led_by(first, sorted(candidates, key=lambda one: -weights[one.index]))
