"""The breaker against a model of what it promises, on a virtual clock."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from trivium.routing.breaker import COOLDOWN_S_MAX, EARLY_S, WINDOW_S, BreakerState
from trivium.routing.route import Breaker
from trivium.testing.clock import Clock

RULE = Breaker(failures=3, cooldown_s=15.0)


class BreakerMachine(RuleBasedStateMachine):
    """Attempts go only where the breaker allows, as the pipeline's do, and end in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock(1000.0)
        self.state = BreakerState()
        self.in_flight = 0
        self.run = 0
        """Failures since the last success, as an onlooker counts them."""
        self.probing = False

    @rule(seconds=st.sampled_from([0.0, 1.0, 14.9, 15.0, 31.0, 400.0]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @precondition(lambda self: self.state.allows(self.clock.now()))
    @rule()
    def send(self) -> None:
        half_open = bool(self.state.open_until_s)
        assert not (half_open and self.probing)
        self.state.sent(self.clock.now())
        self.in_flight += 1
        self.probing = half_open

    @precondition(lambda self: self.in_flight)
    @rule()
    def succeed(self) -> None:
        self.in_flight -= 1
        self.state.succeeded(self.clock.now())
        self.run, self.probing = 0, False
        assert self.state.allows(self.clock.now())

    @precondition(lambda self: self.in_flight)
    @rule()
    def fail(self) -> None:
        self.in_flight -= 1
        was_probing, was_open = self.probing, bool(self.state.open_until_s)
        self.state.failed(self.clock.now(), RULE)
        self.run += 1
        self.probing = False
        if was_probing or (self.run >= RULE.failures and not was_open):
            assert not self.state.allows(self.clock.now())
            assert RULE.cooldown_s - 1e-6 <= self.state.open_until_s - self.clock.now() <= COOLDOWN_S_MAX + 1e-6

    @precondition(lambda self: self.in_flight)
    @rule()
    def abandon(self) -> None:
        self.in_flight -= 1
        self.state.abandoned()
        self.probing = False

    @invariant()
    def closed_below_the_threshold(self) -> None:
        if self.run < RULE.failures:
            assert self.state.allows(self.clock.now())

    @invariant()
    def lets_somebody_through_in_the_end(self) -> None:
        if not self.probing:
            assert self.state.allows(self.clock.now() + COOLDOWN_S_MAX + 1e-6)


TestBreaker = BreakerMachine.TestCase
TestBreaker.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


def opened() -> tuple[Clock, BreakerState]:
    clock, state = Clock(), BreakerState()
    for _ in range(RULE.failures):
        state.failed(clock.now(), RULE)
    return clock, state


def test_a_short_outage_is_probed_every_half_minute_and_a_long_one_less_and_less() -> None:
    clock, state = opened()
    found: list[float] = []
    while len(found) < 16:
        found.append(state.open_until_s - clock.now())
        clock.advance(found[-1])
        state.sent(clock.now())
        state.failed(clock.now(), RULE)
    early = [15.0, *[30.0] * 10]
    assert sum(early) >= EARLY_S
    assert found == [*early, 60.0, 120.0, 240.0, 300.0, 300.0]


def test_a_cool_down_longer_than_half_a_minute_is_kept() -> None:
    clock, state, rule = Clock(), BreakerState(), Breaker(failures=1, cooldown_s=60.0)
    state.failed(clock.now(), rule)
    clock.advance(60.0)
    state.sent(clock.now())
    state.failed(clock.now(), rule)
    assert state.open_until_s - clock.now() == 60.0


def test_half_of_a_minutes_attempts_open_it_too() -> None:
    clock, state = Clock(), BreakerState()
    for number in range(22):  # the first one is answered, and the minute begins with a failure
        assert state.allows(clock.now())
        clock.advance(1.0)
        if number % 2:
            state.failed(clock.now(), RULE, number + 1)
        else:
            state.succeeded(clock.now())
    assert not state.allows(clock.now())


def test_failures_far_apart_do_not_add_up() -> None:
    clock, state = Clock(), BreakerState()
    for number in range(60):
        clock.advance(WINDOW_S / 18)
        if number % 2:
            state.failed(clock.now(), RULE, number + 1)
        else:
            state.succeeded(clock.now())
        assert state.allows(clock.now())


def test_three_of_five_failures_or_a_hint_make_it_suspect() -> None:
    clock, state = Clock(), BreakerState()
    rule = Breaker(failures=5)
    for _ in range(3):
        assert not state.suspect(rule)
        state.failed(clock.now(), rule)
    assert state.suspect(rule)
    state.succeeded(clock.now())
    assert not state.suspect(rule)
    state.hinted = True
    assert state.suspect(rule)
    assert state.allows(clock.now())


def test_a_free_probe_that_fails_costs_nobody_an_attempt() -> None:
    clock, state = opened()
    clock.advance(15.0)
    assert state.state(clock.now()) == "half-open"
    state.still_out(clock.now())
    assert state.state(clock.now()) == "open"
    assert state.open_until_s - clock.now() == 30.0


def test_one_probe_at_a_time() -> None:
    clock, state = Clock(), BreakerState()
    for _ in range(RULE.failures):
        state.failed(clock.now(), RULE)
    clock.advance(15.0)
    assert state.allows(clock.now())
    state.sent(clock.now())
    assert not state.allows(clock.now())
    state.abandoned()
    assert state.allows(clock.now())
