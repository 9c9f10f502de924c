"""Orders among equals: drawn where they are drawn as often as promised, and the same for the same seed."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivium.routing.candidate import UNKNOWN, Candidate, less_loaded
from trivium.routing.draw import seed_of, unit
from trivium.routing.strategies import STRATEGIES

DRAWS = 10_000
candidates = st.lists(
    st.tuples(st.sampled_from([0.0, 1.0, 1.01, 3.0, 1e9, UNKNOWN]), st.floats(0.01, 100), st.floats(0.1, 9)),
    min_size=1,
    max_size=8,
)


def made(*rows: tuple[float, float, float]) -> list[Candidate]:
    return [
        Candidate(index, seed_of(f"p{index}/m"), cost, time_s, time_s, weight)
        for index, (cost, time_s, weight) in enumerate(rows)
    ]


def first(strategy: str, rows: list[Candidate]) -> Counter[int]:
    return Counter(STRATEGIES[strategy](rows, seed_of(f"gen-{number}"))[0].index for number in range(DRAWS))


def within_three_sigma(found: int, share: float) -> bool:
    return abs(found - DRAWS * share) <= 3 * math.sqrt(DRAWS * share * (1 - share))


@given(st.sampled_from(sorted(STRATEGIES)), candidates, st.integers(0, 2**32))
def test_an_order_is_a_permutation_and_the_same_each_time(
    strategy: str, rows: list[tuple[float, float, float]], seed: int
) -> None:
    listed = made(*rows)
    found = STRATEGIES[strategy](listed, seed)
    assert sorted(one.index for one in found) == list(range(len(rows)))
    assert found == STRATEGIES[strategy](listed, seed)


@pytest.mark.parametrize("prices", [(1.0, 3.0), (1.0, 2.0, 4.0), (5.0, 5.0)])
def test_a_price_wins_by_its_square(prices: tuple[float, ...]) -> None:
    rows = made(*((price, 1.0 + index, 1.0) for index, price in enumerate(prices)))
    total = sum(price**-2 for price in prices)
    found = first("price", rows)
    assert all(within_three_sigma(found[index], price**-2 / total) for index, price in enumerate(prices))


def test_balanced_weighs_the_time_as_well() -> None:
    found = first("balanced", made((1.0, 1.0, 1.0), (1.0, 4.0, 1.0)))
    assert within_three_sigma(found[0], 0.8)


def test_what_costs_nothing_wins_a_hundred_to_one_at_most() -> None:
    found = first("price", made((0.0, 1.0, 1.0), (7.0, 1.0, 1.0)))
    assert within_three_sigma(found[0], 100 / 101)


def test_a_route_can_weigh_its_targets() -> None:
    found = first("order", made((1.0, 1.0, 9.0), (1.0, 1.0, 1.0)))
    assert within_three_sigma(found[0], 0.9)
    rows = made((1.0, 1.0, 1.0), (1.0, 1.0, 1.0), (1.0, 1.0, 1.0))
    assert STRATEGIES["order"](rows, 7) == rows


def test_prices_that_nobody_can_tell_apart_are_chosen_by_load() -> None:
    rows = made((1.0, 9.0, 1.0), (1.01, 1.0, 1.0), (1.5, 0.1, 1.0), (UNKNOWN, 0.1, 1.0))
    assert [one.index for one in STRATEGIES["cheapest"](rows, 3)] == [1, 0, 2, 3]


def test_of_two_that_are_drawn_the_less_loaded_is_taken() -> None:
    rows = made(*((1.0, float(index), 1.0) for index in range(1, 6)))
    found = Counter(less_loaded(rows, seed).index for seed in range(DRAWS))
    assert found[4] == 0
    assert within_three_sigma(found[0], 2 / 5)
    assert within_three_sigma(found[3], 1 / 10)


def test_who_goes_away_moves_only_its_own() -> None:
    rows = made(*((1.0, 1.0, 1.0) for _ in range(5)))
    before = {seed: STRATEGIES["balanced"](rows, seed)[0].index for seed in range(2000)}
    after = {seed: STRATEGIES["balanced"](rows[:-1], seed)[0].index for seed in range(2000)}
    assert all(after[seed] == index for seed, index in before.items() if index != 4)


@given(st.integers(0, 2**32), st.integers(0, 2**32))
def test_a_draw_is_within_its_bounds(seed: int, name: int) -> None:
    assert 0 < unit(seed, name) < 1


def test_draws_are_even() -> None:
    found = Counter(int(unit(seed_of(f"gen-{number}"), seed_of("p/m")) * 10) for number in range(DRAWS))
    assert all(within_three_sigma(found[place], 0.1) for place in range(10))
