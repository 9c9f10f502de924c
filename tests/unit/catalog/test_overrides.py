"""Overrides of a price: each condition at its edges, their order, the discount, and the bound above all of them."""

from __future__ import annotations

from calendar import timegm
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivium.catalog.overrides import dearest, effective
from trivium.catalog.rows import UTC_DAYS, Override, Price
from trivium.types.usage import Usage

BASE: dict[str, Any] = {"input": 100, "output": 200, "cache_read": 10}


def at(hour: int, minute: int = 0, day: int = 1) -> int:
    """Unix seconds on a day of June 2026, of which the first is a Monday."""
    return timegm((2026, 6, day, hour, minute, 59))


def figures(*overrides: Override, tokens: int = 0, time_s: float = 0, **more: Any) -> tuple[Any, ...]:
    found = effective(Price(**BASE, overrides=overrides, **more), tokens, time_s)
    assert found.flat
    return found.input, found.output, found.cache_read


def test_what_is_flat_stays() -> None:
    assert Price(**BASE).flat
    assert figures() == (100, 200, 10)


@pytest.mark.parametrize(("tokens", "inside"), [(999, False), (1000, False), (1001, True)])
def test_a_threshold_is_to_be_exceeded(tokens: int, inside: bool) -> None:
    found = figures(Override(min_prompt_tokens=1000, input=300), tokens=tokens)
    assert found == ((300 if inside else 100), 200, 10)


@pytest.mark.parametrize(
    ("start", "end", "hour", "minute", "inside"),
    [
        (100, 400, 0, 59, False),
        (100, 400, 1, 0, True),
        (100, 400, 3, 59, True),
        (100, 400, 4, 0, False),
        (2230, 130, 22, 29, False),
        (2230, 130, 22, 30, True),
        (2230, 130, 0, 0, True),
        (2230, 130, 1, 29, True),
        (2230, 130, 1, 30, False),
        (1200, None, 11, 59, False),
        (1200, None, 23, 59, True),
        (None, 1200, 0, 0, True),
        (None, 1200, 12, 0, False),
        (0, 2400, 23, 59, True),
    ],
)
def test_a_window_is_half_open_and_wraps(start: Any, end: Any, hour: int, minute: int, inside: bool) -> None:
    found = figures(Override(utc_start=start, utc_end=end, output=1), time_s=at(hour, minute))
    assert found[1] == (1 if inside else 200)


@pytest.mark.parametrize("day", range(7))
def test_days(day: int) -> None:
    only = Override(utc_days=(UTC_DAYS[day],), input=1)
    assert [figures(only, time_s=at(12, day=1 + n))[0] == 1 for n in range(7)] == [n == day for n in range(7)]


def test_all_conditions_must_hold_and_later_ones_win_figure_by_figure() -> None:
    both = Override(min_prompt_tokens=10, utc_start=0, utc_end=100, input=1, output=2)
    later = Override(min_prompt_tokens=10, input=7)
    assert figures(both, later, tokens=11, time_s=at(0, 30)) == (7, 2, 10)
    assert figures(later, both, tokens=11, time_s=at(0, 30)) == (1, 2, 10)
    assert figures(both, later, tokens=11, time_s=at(5)) == (7, 200, 10)
    assert figures(both, later, tokens=10, time_s=at(0, 30)) == (100, 200, 10)


@pytest.mark.parametrize(
    ("discount", "found"), [(0, (100, 200, 10)), (250_000, (75, 150, 8)), (1_000_000, (0, 0, 0)), (1, (100, 200, 10))]
)
def test_a_discount_comes_off_all_of_it(discount: int, found: tuple[int, ...]) -> None:
    assert figures(discount_ppm=discount) == found


overrides = st.lists(
    st.builds(
        Override,
        min_prompt_tokens=st.none() | st.integers(0, 50),
        utc_start=st.none() | st.integers(0, 2359),
        utc_end=st.none() | st.integers(0, 2400),
        input=st.none() | st.integers(0, 10**6),
        output=st.none() | st.integers(0, 10**6),
        cache_write=st.none() | st.integers(0, 10**6),
        request=st.none() | st.integers(0, 10**6),
    ),
    max_size=4,
).map(tuple)


@given(overrides, st.integers(0, 10**6), st.integers(0, 100), st.integers(0, 100), st.integers(0, 2 * 10**9))
def test_no_request_costs_more_than_its_bound(some: Any, discount: int, tokens: int, output: int, time_s: int) -> None:
    price = Price(**BASE, overrides=some, discount_ppm=discount)
    cost = effective(price, tokens, time_s).cost(Usage(input_tokens=tokens, output_tokens=output))
    bound = dearest(price).upper_bound(tokens, output)
    assert cost is not None
    assert bound is not None
    assert cost <= bound
