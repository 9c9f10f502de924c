"""Drawn by price and time: `(c / c_min)^-2 · (t / t_min)^-1`, the rest by these weights.

Without the time it is what routing services publish: three times the price, a ninth of the requests.
"""

from __future__ import annotations

from collections.abc import Sequence

from trivium.routing.candidate import UNKNOWN, Candidate, led_by
from trivium.routing.draw import score

FREE = 0.1
"""What costs nothing counts as a tenth of the cheapest price, so that it wins 100 to 1 at most."""


def rank(candidates: Sequence[Candidate], seed: int) -> list[Candidate]:
    return _drawn(candidates, seed, timed=True)


def by_price(candidates: Sequence[Candidate], seed: int) -> list[Candidate]:
    return _drawn(candidates, seed, timed=False)


def _drawn(candidates: Sequence[Candidate], seed: int, *, timed: bool) -> list[Candidate]:
    costs = [one.cost for one in candidates if 0 < one.cost < UNKNOWN]
    least, most = (min(costs) * FREE, max(costs)) if costs else (FREE, 1.0)
    weighed: list[tuple[float, int]] = []
    first, highest = 0, -1.0
    for place, one in enumerate(candidates):
        cost = one.cost
        cost = most if cost == UNKNOWN else max(least, cost)  # unknown: as dear as the dearest
        weight = one.weight / (cost * cost * one.time_s if timed else cost * cost)
        weighed.append((-weight, place))
        drawn = score(seed, one.name, weight)
        if drawn > highest:
            first, highest = place, drawn
    weighed.sort()
    return led_by(candidates[first], [candidates[place] for _, place in weighed])
