"""Strategies: in which order endpoints of one rank are asked. One file each; `STRATEGIES` lists them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from trivium.routing.candidate import Candidate
from trivium.routing.strategies import balanced, cheapest, fastest, order

Rank = Callable[[Sequence[Candidate], int], list[Candidate]]
"""Candidates as listed, and a seed → the same candidates in the order in which they would be asked."""

STRATEGIES: Mapping[str, Rank] = {
    "order": order.rank,
    "cheapest": cheapest.rank,
    "fastest": fastest.rank,
    "balanced": balanced.rank,
    "price": balanced.by_price,
}
