"""By expected cost, unknown last; what costs nearly the same is chosen by load."""

from __future__ import annotations

from collections.abc import Sequence

from trivium.routing.candidate import UNKNOWN, Candidate, led_by, less_loaded

SAME = 1.02
"""Within 2 % nobody can tell prices apart, as tokens are only estimated."""


def rank(candidates: Sequence[Candidate], seed: int) -> list[Candidate]:
    listed = sorted(candidates, key=lambda one: one.cost)
    least = listed[0].cost * SAME
    alike = [one for one in listed if one.cost <= least]
    if least == UNKNOWN or len(alike) < 2:
        return listed
    return led_by(less_loaded(alike, seed), listed)
