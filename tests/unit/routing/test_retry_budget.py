"""Repetitions stay a fifth of what is asked, with a floor."""

from __future__ import annotations

import pytest

from trivium.routing.retry_budget import EXPIRY_S, FLOOR_PER_S, RetryBudget


@pytest.mark.parametrize("rate", [1, 100, 1000])
def test_an_outage_is_asked_a_fifth_more_and_the_floor(rate: int) -> None:
    budget, asked, repeated = RetryBudget(0.0), 0, 0
    for number in range(rate * 60):
        asked += 1
        repeated += budget.take(number / rate, asked + repeated)
    assert repeated <= 0.2 * asked + 1.2 * FLOOR_PER_S * 61
    assert repeated >= min(asked, 0.2 * asked)


def test_deposits_expire() -> None:
    budget = RetryBudget(0.0)
    budget.take(0.0, 1000)
    later = EXPIRY_S * 10
    taken = sum(budget.take(later, 1000) for _ in range(1000))
    assert taken <= FLOOR_PER_S + 1000 / 6 * EXPIRY_S / 2 / later + 1


def test_the_floor_fills_again() -> None:
    budget = RetryBudget(0.0)
    assert sum(budget.take(0.0, 0) for _ in range(20)) == FLOOR_PER_S
    assert not budget.take(0.05, 0)
    assert budget.take(0.2, 0)
