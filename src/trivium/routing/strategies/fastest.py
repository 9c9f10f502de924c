"""The less loaded of two that are drawn, the rest by load."""

from __future__ import annotations

from collections.abc import Sequence

from trivium.routing.candidate import Candidate, by_load, led_by, less_loaded


def rank(candidates: Sequence[Candidate], seed: int) -> list[Candidate]:
    return led_by(less_loaded(candidates, seed), by_load(candidates))
