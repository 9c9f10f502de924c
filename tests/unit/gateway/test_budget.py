"""The daily budget: what is open, spent and settled never adds up to more than the bound by an admission."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trivium.gateway.budget import DAY_S, DailyBudget

NOON = 20_000 * DAY_S + DAY_S / 2


def test_no_bound_allows_everything() -> None:
    assert DailyBudget(None).allows(10**18, NOON)


def test_a_reservation_counts_until_it_is_settled() -> None:
    budget = DailyBudget(100)
    assert budget.allows(100, NOON)
    budget.reserve(60)
    assert not budget.allows(41, NOON)
    budget.settle(60, 10)
    assert budget.allows(90, NOON)
    assert not budget.allows(91, NOON)


def test_an_unknown_cost_keeps_its_bound() -> None:
    budget = DailyBudget(100)
    budget.refresh(0, NOON)
    budget.reserve(60)
    budget.settle(60, None)
    assert not budget.allows(41, NOON)


def test_a_new_day_begins_at_midnight_utc() -> None:
    budget = DailyBudget(100)
    budget.refresh(100, NOON)
    assert not budget.allows(1, NOON)
    assert not budget.allows(1, NOON + DAY_S / 2 - 1)
    assert budget.allows(100, NOON + DAY_S / 2)


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60) | st.none()), max_size=40), st.integers(0, 200))
def test_admitted_never_exceeds_the_limit(attempts: list[tuple[int, int | None]], limit: int) -> None:
    budget = DailyBudget(limit)
    budget.refresh(0, NOON)
    spent = 0
    for bound, cost in attempts:
        if budget.allows(bound, NOON):
            budget.reserve(bound)
            actual = bound if cost is None else min(cost, bound)
            budget.settle(bound, None if cost is None else actual)
            spent += actual
        assert spent <= limit
        assert budget.spent_nanos == spent
