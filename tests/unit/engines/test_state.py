from __future__ import annotations

import heapq

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivium.engines.state import Event, Life, delay_s, transition


def run(life: Life, *events: Event) -> Life:
    for event in events:
        life, _ = transition(life, event)
    return life


READY = run(Life(), Event("want", 0.0), Event("up"))


def test_an_engine_starts_when_it_is_wanted_once() -> None:
    life, action = transition(Life(), Event("want", 5.0))
    assert (life.state, life.began_s, action) == ("starting", 5.0, "start")
    assert transition(life, Event("want", 6.0)) == (life, None)


def test_ready_and_busy_follow_what_is_seen() -> None:
    assert READY.state == "ready"
    assert run(READY, Event("busy")).state == "busy"
    assert run(READY, Event("busy"), Event("idle")).state == "ready"


def test_a_missing_or_refused_model_can_be_tried_again() -> None:
    absent = run(Life(), Event("want", 0), Event("missing", reason="no file"))
    refused = run(Life(), Event("want", 0), Event("refused", reason="cut"))
    assert (absent.state, absent.reason) == ("absent", "no file")
    assert (refused.state, refused.reason) == ("stopped", "cut")
    assert run(absent, Event("want", 1)).state == run(refused, Event("want", 1)).state == "starting"


class Clock:
    """Runs a life that dies as told, and notes when each start happened."""

    def __init__(self, lives_s: float, *, ready: bool) -> None:
        self.now, self.lives_s, self.ready = 0.0, lives_s, ready
        self.life = Life()
        self.starts: list[float] = []
        self.due: list[tuple[float, int, Event]] = []
        self.feed(Event("want", 0.0))

    def feed(self, event: Event) -> None:
        self.life, action = transition(self.life, event)
        if action == "start":
            self.starts.append(self.now)
            if self.ready:
                self.at(self.now, Event("up"))
            end = self.now + self.lives_s
            self.at(end, Event("died", end, "crash", jitter=0.25))
        elif action == "wait":
            due = self.now + self.life.wait_s
            self.at(due, Event("retry", due))

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
        life = run(life, Event("died", at, "crash"), Event("retry", at), Event("up"))
    assert life.deaths == 3
    life = run(life, Event("answered"), Event("died", 4.0, "crash"))
    assert (life.state, life.deaths) == ("starting", 0)


@pytest.mark.parametrize(("deaths", "seconds"), [(0, 0), (1, 0), (2, 2.5), (3, 4.5), (6, 32.5), (7, 60.5), (50, 60.5)])
def test_delays(deaths: int, seconds: float) -> None:
    assert delay_s(deaths, 0.5) == seconds


def test_a_segfault_before_it_was_ever_ready_is_tried_once_with_safe_arguments() -> None:
    starting = run(Life(), Event("want", 0))
    life, action = transition(starting, Event("died", 1.0, "SIGSEGV", segfault=True))
    assert (action, life.safe, life.deaths) == ("start", True, 0)
    life, action = transition(life, Event("died", 2.0, "SIGSEGV", segfault=True))
    assert (action, life.safe, life.deaths) == ("start", True, 1)
    assert run(READY, Event("died", 1.0, "SIGSEGV", segfault=True)).safe is False


def test_failed_is_left_only_by_an_operator() -> None:
    failed = Life(state="failed", deaths=5, reason="crash")
    assert transition(failed, Event("want", 1)) == (failed, None)
    assert run(failed, Event("stop")) == Life()


def test_stopping_ends_in_stopped_and_a_request_meanwhile_starts_it_again() -> None:
    stopping, action = transition(READY, Event("stop"))
    assert (stopping.state, action) == ("stopping", "terminate")
    assert run(stopping, Event("died", 1, "SIGTERM")).state == "stopped"
    life, action = transition(run(stopping, Event("want", 1)), Event("died", 2, "SIGTERM"))
    assert (life.state, action) == ("starting", "start")
    life, action = transition(run(stopping, Event("want", 1), Event("stop")), Event("died", 2, "SIGTERM"))
    assert (life.state, action) == ("stopped", None)


KINDS = ["want", "missing", "refused", "up", "busy", "idle", "answered", "died", "retry", "stop"]
EVENTS = st.builds(Event, st.sampled_from(KINDS), st.floats(0, 100), st.just("x"), st.booleans(), st.floats(0, 1))


@given(st.lists(EVENTS, max_size=60))
def test_there_is_never_more_than_one_process(events: list[Event]) -> None:
    life, processes = Life(), 0
    for event in events:
        ends = event.kind in {"died", "missing", "refused"}
        if ends and (processes == 0 or life.state == "stopped"):
            continue  # only a process that is there can die or be refused
        if event.kind in {"missing", "refused"} and life.state != "starting":
            continue
        life, action = transition(life, event)
        processes -= ends
        processes += action == "start"
        assert processes == (life.state in {"starting", "ready", "busy", "stopping"})
        assert life.deaths <= 5
