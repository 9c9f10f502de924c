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
    budget.refresh(0, NOON)
    assert budget.allows(100, NOON)
    budget.reserve(60)
    assert not budget.allows(41, NOON)
    budget.settle(60, 10)
    assert budget.allows(90, NOON)
    assert not budget.allows(91, NOON)


def test_nothing_is_allowed_before_the_ledger_has_spoken() -> None:
    budget = DailyBudget(100)
    assert not budget.allows(0, NOON)
    budget.refresh(100, NOON)
    assert budget.allows(0, NOON)
    assert not budget.allows(1, NOON)


def test_what_is_settled_while_the_ledger_is_asked_still_counts() -> None:
    budget = DailyBudget(100)
    budget.refresh(0, NOON)
    budget.settle(0, 10)
    before = budget.since_nanos
    budget.settle(0, 30)
    budget.refresh(10, NOON, before)
    assert budget.spent_nanos == 40
    assert not budget.allows(61, NOON)


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


@given(
    st.lists(
        st.tuples(st.just("begin"), st.integers(0, 60), st.integers(0, 60) | st.none())
        | st.tuples(st.sampled_from(["end", "ask", "answer"]), st.integers(0, 5), st.none()),
        max_size=60,
    ),
    st.integers(0, 200),
)
def test_admitted_never_exceeds_the_limit(steps: list[tuple[str, int, int | None]], limit: int) -> None:
    """However attempts overlap, and whenever the ledger is asked and answers with what was settled when it was."""
    budget = DailyBudget(limit)
    budget.refresh(0, NOON)
    running: list[tuple[int, int]] = []
    asked: tuple[int, int] | None = None
    spent = 0
    for step, number, cost in steps:
        if step == "begin" and budget.allows(number, NOON):
            budget.reserve(number)
            running.append((number, number if cost is None else min(cost, number)))
        elif step == "end" and running:
            bound, actual = running.pop(number % len(running))
            budget.settle(bound, actual)
            spent += actual
        elif step == "ask":
            asked = spent, budget.since_nanos
        elif step == "answer" and asked is not None:
            budget.refresh(asked[0], NOON, asked[1])
            asked = None
        assert spent + sum(bound for bound, _ in running) <= limit
        assert budget.spent_nanos == spent
