from __future__ import annotations

import heapq

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivium.engines.state import (
    Active,
    Answered,
    Died,
    Event,
    Life,
    Missing,
    Refused,
    Retry,
    RetryIn,
    Start,
    Stop,
    Terminate,
    Up,
    Want,
    delay_s,
    transition,
)


def run(life: Life, *events: Event) -> Life:
    for event in events:
        life, _ = transition(life, event)
    return life


READY = run(Life(), Want(0.0), Up())


def test_an_engine_starts_when_it_is_wanted_once() -> None:
    life, actions = transition(Life(), Want(5.0))
    assert (life.state, life.began_s, actions) == ("starting", 5.0, (Start(safe=False),))
    assert transition(life, Want(6.0)) == (life, ())


def test_ready_and_busy_follow_what_is_seen() -> None:
    assert READY.state == "ready"
    assert run(READY, Active(busy=True)).state == "busy"
    assert run(READY, Active(busy=True), Active(busy=False)).state == "ready"


def test_a_missing_or_refused_model_can_be_tried_again() -> None:
    absent = run(Life(), Want(0), Missing("no file"))
    refused = run(Life(), Want(0), Refused("cut"))
    assert (absent.state, absent.reason) == ("absent", "no file")
    assert (refused.state, refused.reason) == ("stopped", "cut")
    assert run(absent, Want(1)).state == run(refused, Want(1)).state == "starting"


class Clock:
    """Runs a life that dies as told, and notes when each start happened."""

    def __init__(self, lives_s: float, *, ready: bool) -> None:
        self.now, self.lives_s, self.ready = 0.0, lives_s, ready
        self.life = Life()
        self.starts: list[float] = []
        self.due: list[tuple[float, int, Event]] = []
        self.feed(Want(0.0))

    def feed(self, event: Event) -> None:
        self.life, actions = transition(self.life, event)
        for action in actions:
            match action:
                case Start():
                    self.starts.append(self.now)
                    if self.ready:
                        self.at(self.now, Up())
                    end = self.now + self.lives_s
                    self.at(end, Died(end, "crash", jitter=0.25))
                case RetryIn(seconds):
                    self.at(self.now + seconds, Retry(self.now + seconds))
                case Terminate():
                    pass

    def at(self, when: float, event: Event) -> None:
        heapq.heappush(self.due, (when, len(self.due) + len(self.starts), event))

    def run(self, most: int = 30) -> None:
        while self.due and len(self.starts) < most:
            self.now, _, event = heapq.heappop(self.due)
            self.feed(event)


def test_the_back_off_of_a_crash_loop_is_exact_and_ends_in_failed() -> None:
    clock = Clock(1.0, ready=True)
    clock.run()
    # At once, then 2, 4 and 8 seconds with a quarter of jitter, each after a life of one second.
    assert clock.starts == [0.0, 1.0, 4.25, 9.5, 18.75]
    assert (clock.life.state, clock.life.deaths, clock.life.reason) == ("failed", 5, "crash")


def test_a_model_that_dies_late_in_its_load_fails_too() -> None:
    clock = Clock(120.0, ready=False)
    clock.run()
    assert len(clock.starts) == 5
    assert clock.life.state == "failed"


def test_an_engine_that_lives_long_is_restarted_at_once_for_ever() -> None:
    clock = Clock(11.0, ready=True)
    clock.run()
    assert clock.starts == [11.0 * n for n in range(30)]
    assert clock.life.deaths == 0


def test_one_answered_request_forgives_earlier_deaths() -> None:
    life = READY
    for at in range(3):
        life = run(life, Died(at, "crash"), Retry(at), Up())
    assert life.deaths == 3
    life = run(life, Answered(), Died(4.0, "crash"))
    assert (life.state, life.deaths) == ("starting", 0)


@pytest.mark.parametrize(("deaths", "seconds"), [(0, 0), (1, 0), (2, 2.5), (3, 4.5), (6, 32.5), (7, 60.5), (50, 60.5)])
def test_delays(deaths: int, seconds: float) -> None:
    assert delay_s(deaths, 0.5) == seconds


def test_a_segfault_before_it_was_ever_ready_is_tried_once_with_safe_arguments() -> None:
    starting = run(Life(), Want(0))
    life, actions = transition(starting, Died(1.0, "SIGSEGV", segfault=True))
    assert (actions, life.deaths) == ((Start(safe=True),), 0)
    life, actions = transition(life, Died(2.0, "SIGSEGV", segfault=True))
    assert (actions, life.deaths) == ((Start(safe=True),), 1)
    assert run(READY, Died(1.0, "SIGSEGV", segfault=True)).safe is False


def test_failed_is_left_only_by_an_operator() -> None:
    failed = Life(state="failed", deaths=5, reason="crash")
    assert transition(failed, Want(1)) == (failed, ())
    assert run(failed, Stop()) == Life()


def test_stopping_ends_in_stopped_and_a_request_meanwhile_starts_it_again() -> None:
    stopping, actions = transition(READY, Stop())
    assert (stopping.state, actions) == ("stopping", (Terminate(),))
    assert run(stopping, Died(1, "SIGTERM")).state == "stopped"
    life, actions = transition(run(stopping, Want(1)), Died(2, "SIGTERM"))
    assert (life.state, actions) == ("starting", (Start(safe=False),))


EVENTS = st.one_of(
    st.builds(Want, st.floats(0, 100)),
    st.just(Up()),
    st.builds(Active, st.booleans()),
    st.just(Answered()),
    st.builds(Died, st.floats(0, 100), st.just("x"), st.booleans(), st.floats(0, 1)),
    st.builds(Retry, st.floats(0, 100)),
    st.just(Stop()),
    st.just(Missing("m")),
    st.just(Refused("r")),
)


@given(st.lists(EVENTS, max_size=60))
def test_there_is_never_more_than_one_process(events: list[Event]) -> None:
    life, processes = Life(), 0
    for event in events:
        if isinstance(event, Died | Missing | Refused) and (processes == 0 or life.state == "stopped"):
            continue  # only a process that is there can die or be refused
        if isinstance(event, Missing | Refused) and life.state != "starting":
            continue
        life, actions = transition(life, event)
        processes -= isinstance(event, Died | Missing | Refused)
        processes += sum(isinstance(action, Start) for action in actions)
        assert processes == (life.state in {"starting", "ready", "busy", "stopping"})
        assert life.deaths <= 5
