"""What follows a failed attempt, for every kind of error."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivium import errors
from trivium.routing.disposition import BACKOFF_BASE_S, BACKOFF_CAP_S, RETRY_AFTER_S_MAX, Step, after_failure


def leaves(error: type[errors.TriviumError]) -> list[type[errors.TriviumError]]:
    below = [leaf for child in error.__subclasses__() if child.__module__ == errors.__name__ for leaf in leaves(child)]
    return below or [error]


LEAVES = leaves(errors.TriviumError)
STOPS = {errors.UpstreamRefused, errors.UpstreamRejected}
REPEATS = {errors.UpstreamServerError, errors.UpstreamOverloaded, errors.UpstreamRateLimited}
NEXT = {
    errors.UpstreamUnreachable,
    errors.UpstreamTLSError,
    errors.UpstreamTimeout,
    errors.UpstreamCut,
    errors.UpstreamProtocolError,
    errors.UpstreamAuthError,
    errors.UpstreamTokenError,
    errors.UpstreamQuotaExhausted,
    errors.UpstreamNotFound,
    errors.UpstreamContextLength,
    errors.UpstreamDiffers,
}


def step(error: errors.TriviumError, *, tries: int = 1, retries: int = 1, left_s: float = 60.0, jitter: float = 0.5):
    return after_failure(error, tries=tries, retries=retries, left_s=left_s, jitter=jitter)


def test_every_error_of_an_upstream_has_its_row() -> None:
    upstream = {leaf for leaf in LEAVES if issubclass(leaf, errors.UpstreamError)}
    assert upstream == STOPS | REPEATS | NEXT


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.__name__)
def test_the_first_failure(leaf: type[errors.TriviumError]) -> None:
    move = "again" if leaf in REPEATS else "next" if leaf in NEXT else "stop"
    assert step(leaf("It failed.")).move == move


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf.__name__)
def test_the_second_failure_at_one_endpoint_is_the_last(leaf: type[errors.TriviumError]) -> None:
    assert step(leaf("It failed."), tries=2).move == ("next" if leaf in REPEATS | NEXT else "stop")
    assert step(leaf("It failed."), retries=0).move == ("next" if leaf in REPEATS | NEXT else "stop")


@pytest.mark.parametrize(("status", "move"), [(503, "again"), (529, "next"), (None, "again")])
def test_no_room_is_not_asked_twice(status: int | None, move: str) -> None:
    assert step(errors.UpstreamOverloaded("Busy.", upstream_status=status)).move == move


@pytest.mark.parametrize("leaf", [errors.UpstreamRateLimited, errors.UpstreamOverloaded])
@pytest.mark.parametrize(
    ("wait", "left", "expected"),
    [
        (0.0, 60.0, Step("again", 0.0)),
        (2.0, 60.0, Step("again", 2.0)),
        (RETRY_AFTER_S_MAX, 60.0, Step("again", RETRY_AFTER_S_MAX)),
        (RETRY_AFTER_S_MAX + 0.001, 60.0, Step("next")),
        (2.0, 2.0, Step("next")),
        (-1.0, 60.0, Step("next")),
    ],
)
def test_a_wait_that_was_asked_for(leaf: Any, wait: float, left: float, expected: Step) -> None:
    assert step(leaf("Wait.", retry_after_s=wait), left_s=left) == expected


def test_a_server_error_waits_as_ever_whatever_it_asks_for() -> None:
    assert 0 < step(errors.UpstreamServerError("Oops.", retry_after_s=3600.0)).delay_s <= BACKOFF_BASE_S


@given(tries=st.integers(1, 60), jitter=st.floats(0, 1, exclude_max=True), left_s=st.floats(0, 600))
def test_a_back_off_is_bounded_and_within_the_deadline(tries: int, jitter: float, left_s: float) -> None:
    found = step(errors.UpstreamServerError("Oops."), tries=tries, retries=100, jitter=jitter, left_s=left_s)
    if found.move == "again":
        assert BACKOFF_BASE_S / 2 <= found.delay_s <= BACKOFF_CAP_S
        assert found.delay_s < left_s
    else:
        assert found == Step("next")
        assert left_s <= BACKOFF_CAP_S
