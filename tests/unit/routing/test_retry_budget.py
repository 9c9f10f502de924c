"""Repetitions stay a fifth of what is asked, with a floor."""

from __future__ import annotations

import pytest

from trivium.routing.retry_budget import EXPIRY_S, FLOOR_PER_S, RetryBudget


@pytest.mark.parametrize("rate", [1, 100, 1000])
def test_an_outage_is_asked_a_fifth_more_and_the_floor(rate: int) -> None:
    budget, asked, repeated = RetryBudget(0.0), 0, 0
    for number in range(rate * 60):
        now = number / rate
        budget.deposit(now)
        asked += 1
        repeated += budget.take(now)
    assert repeated <= 0.2 * asked + FLOOR_PER_S * 61
    assert repeated >= min(asked, 0.2 * asked)


def test_deposits_expire() -> None:
    budget = RetryBudget(0.0)
    for _ in range(1000):
        budget.deposit(0.0)
    later = EXPIRY_S * 2
    assert sum(budget.take(later) for _ in range(100)) == FLOOR_PER_S


def test_the_floor_fills_again() -> None:
    budget = RetryBudget(0.0)
    assert sum(budget.take(0.0) for _ in range(20)) == FLOOR_PER_S
    assert not budget.take(0.05)
    assert budget.take(0.2)
