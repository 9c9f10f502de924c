"""As listed; where the route weighs its targets, the first is drawn by weight."""

from __future__ import annotations

from collections.abc import Sequence

from trivium.routing.candidate import Candidate, led_by
from trivium.routing.draw import score


def rank(candidates: Sequence[Candidate], seed: int) -> list[Candidate]:
    if all(candidate.weight == candidates[0].weight for candidate in candidates):
        return list(candidates)
    first = max(candidates, key=lambda one: score(seed, one.name, one.weight))
    return led_by(first, candidates)
