"""Figures that age, add up and travel."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivium.routing.statistics import (
    PRIOR_WEIGHT,
    QUANTILES,
    TAU_REMOTE_S,
    Statistics,
    fresh,
    size_of,
)

samples = st.lists(
    st.tuples(st.floats(0, 20_000), st.integers(0, 3), st.floats(0.01, 60), st.floats(0.001, 1)), max_size=20
)


def made(found: list[tuple[float, int, float, float]], start_s: float = 1e9) -> Statistics:
    statistics = fresh(start_s, local=False)
    for at_s, size, ttft_s, itl_s in sorted(found):
        statistics.send(start_s + at_s)
        statistics.answer(start_s + at_s, size, ttft_s, itl_s)
    return statistics


@given(samples)
def test_a_mean_weighs_by_age(found: list[tuple[float, int, float, float]]) -> None:
    now = 1e9 + 20_000
    statistics = made(found)
    weights = [math.exp((at_s - 20_000) / TAU_REMOTE_S) for at_s, _, _, _ in sorted(found)]
    for size in range(4):
        every = zip(weights, sorted(found), strict=True)
        mine = [(weight, ttft_s) for weight, (_, at, ttft_s, _) in every if at == size]
        total = sum(w * ttft for w, (_, _, ttft, _) in zip(weights, sorted(found), strict=True))
        overall = (total + PRIOR_WEIGHT * 2.0) / (sum(weights) + PRIOR_WEIGHT)
        expected = (sum(w * t for w, t in mine) + PRIOR_WEIGHT * overall) / (sum(w for w, _ in mine) + PRIOR_WEIGHT)
        assert statistics.ttft_s(now, size, 2.0) == pytest.approx(expected)
    itl = sum(w * i for w, (_, _, _, i) in zip(weights, sorted(found), strict=True))
    assert statistics.itl_s(now, 0.1) == pytest.approx((itl + PRIOR_WEIGHT * 0.1) / (sum(weights) + PRIOR_WEIGHT))


@given(samples, samples)
def test_the_sums_of_two_processes_are_the_sums_of_both(
    mine: list[tuple[float, int, float, float]], theirs: list[tuple[float, int, float, float]]
) -> None:
    now = 1e9 + 30_000
    one, other = made(mine), made(theirs)
    other = msgspec.json.decode(msgspec.json.encode(other), type=Statistics)
    together = made(mine + theirs)
    one.add(other)
    for size in range(4):
        assert one.ttft_s(now, size, 1.0) == pytest.approx(together.ttft_s(now, size, 1.0))
    assert one.itl_s(now, 1.0) == pytest.approx(together.itl_s(now, 1.0))
    assert one.attempts == together.attempts
    assert one.latency_s(1e9 + 20_000, 300) == together.latency_s(1e9 + 20_000, 300)


def test_what_is_idle_for_long_is_as_good_as_unmeasured() -> None:
    statistics = fresh(0.0, local=False)
    for _ in range(20):
        statistics.answer(1.0, 0, 9.0, None)
    assert statistics.ttft_s(1.0, 0, 1.0) > 8
    assert statistics.ttft_s(1.0 + 20 * TAU_REMOTE_S, 0, 1.0) == pytest.approx(1.0, abs=0.01)


def test_a_day_of_samples_overflows_nothing() -> None:
    statistics = fresh(0.0, local=True)
    for hour in range(24 * 30):
        statistics.send(hour * 3600.0)
        statistics.answer(hour * 3600.0, 0, 1.0, 0.01)
    assert statistics.ttft_s((24 * 30 - 1) * 3600.0, 0, 5.0) < 5.0
    assert all(map(math.isfinite, statistics.ttft + statistics.ttft_weight))
    assert len(statistics.slots) <= 7
    assert len(statistics.hours) <= 25


def test_quantiles_are_good_to_a_class() -> None:
    statistics = fresh(0.0, local=False)
    for number in range(1, 1001):
        statistics.answer(10.0, 0, number / 100, 1 / number)
    latency, speed = statistics.latency_s(10.0, 300), statistics.throughput(10.0, 300)
    assert latency is not None
    assert speed is not None
    for quantile in QUANTILES:
        assert latency[quantile] == pytest.approx(quantile / 10, rel=0.1)
        assert speed[quantile] == pytest.approx(quantile * 10, rel=0.1)
    assert statistics.latency_s(10.0 + 3000, 300) is None


def test_uptime_is_a_share_of_minutes() -> None:
    statistics = fresh(0.0, local=False)
    assert statistics.uptime(0.0, 300) is None
    for minute in range(10):
        for number in range(20):
            statistics.send(minute * 60.0 + number)
            if minute >= 8 and number % 2:
                statistics.fail(minute * 60.0 + number)
    statistics.send(600.0)
    assert statistics.uptime(600.0, 1800) == 0.8
    assert statistics.uptime(600.0, 300) == 0.5
    for minute in range(10, 120):
        for _ in range(20):
            statistics.send(minute * 60.0)
    assert statistics.uptime(119 * 60.0, 86_400) == pytest.approx(118 / 120, abs=0.01)


@pytest.mark.parametrize(("tokens", "size"), [(0, 0), (1_000, 0), (1_001, 1), (8_000, 1), (32_000, 2), (10**9, 3)])
def test_sizes(tokens: int, size: int) -> None:
    assert size_of(tokens) == size


@pytest.mark.parametrize("years", [-40, -1, 1, 40])
def test_a_clock_that_was_set_to_another_year_hurts_nothing(years: int) -> None:
    statistics, then = made([(0.0, 0, 2.0, 0.1)]), 1e9 + years * 31_557_600.0
    for now_s in (then, then + 1):
        assert 0 < statistics.ttft_s(now_s, 0, 1.0) <= 2.0
        assert 0 < statistics.itl_s(now_s, 0.1) < 1
        assert math.isfinite(statistics.samples(now_s))
        statistics.send(now_s)
        statistics.answer(now_s, 0, 1.0, 0.1)
    statistics.add(made([(0.0, 0, 2.0, 0.1)]))
    assert 0 < statistics.ttft_s(then, 0, 1.0) <= 2.0
