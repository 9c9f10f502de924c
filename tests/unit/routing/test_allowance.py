"""What heads say of limits, and how long what is kept to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivium import errors
from trivium.routing.allowance import EMPTY_S, MISSING_S, RATE_LIMITED_S, Allowance, Told, scope_of, told_by

NOW = 1_900_000_000.0


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, Told()),
        (
            {
                b"x-ratelimit-limit-requests": b"60",
                b"x-ratelimit-remaining-requests": b"59",
                b"x-ratelimit-reset-requests": b"1s",
                b"x-ratelimit-remaining-tokens": b"149984",
                b"x-ratelimit-reset-tokens": b"6m0s",
            },
            Told(59, 60, 1.0, 149984, 360.0),
        ),
        (
            {
                b"anthropic-ratelimit-requests-limit": b"50",
                b"anthropic-ratelimit-requests-remaining": b"0",
                b"anthropic-ratelimit-requests-reset": b"2030-03-17T17:46:50Z",
                b"anthropic-ratelimit-tokens-remaining": b"7",
            },
            Told(0, 50, 10.0, 7, None),
        ),
        ({b"x-ratelimit-remaining-requests": b"-1", b"x-ratelimit-reset-requests": b"soon"}, Told()),
        ({b"x-ratelimit-remaining-requests": b"9" * 99, b"x-ratelimit-reset-requests": b"1" * 99}, Told()),
    ],
)
def test_what_a_head_says(fields: dict[bytes, bytes], told: Told) -> None:
    assert told_by(fields, NOW) == told


@given(st.dictionaries(st.sampled_from([b"x-ratelimit-remaining-requests", b"x-ratelimit-reset-tokens"]), st.binary()))
def test_any_head_can_be_read(fields: dict[bytes, bytes]) -> None:
    told = told_by(fields, NOW)
    assert told.requests is None or told.requests >= 0
    assert told.tokens_reset_s is None or told.tokens_reset_s >= 0


def test_requests_in_flight_are_taken_off() -> None:
    allowance = Allowance()
    for _ in range(3):
        allowance.sent(10)
    fields = {b"x-ratelimit-remaining-requests": b"5", b"x-ratelimit-reset-requests": b"10s"}
    allowance.hear(fields, NOW)
    assert allowance.requests == 3
    for _ in range(3):
        assert allowance.blocked_s(NOW, 1) == 0
        allowance.sent(1)
    assert allowance.blocked_s(NOW + 4, 1) == 6.0
    assert allowance.blocked_s(NOW + 10, 1) == 0


@pytest.mark.parametrize(
    ("error", "times", "of", "wait_s", "told"),
    [
        (errors.UpstreamRateLimited("x"), 0, "model", RATE_LIMITED_S, False),
        (errors.UpstreamRateLimited("x", retry_after_s=3.0), 0, "model", 3.0, True),
        (errors.UpstreamQuotaExhausted("x"), 0, "credential", EMPTY_S, False),
        (errors.UpstreamAuthError("x"), 0, "credential", 15.0, False),
        (errors.UpstreamAuthError("x"), 2, "credential", 60.0, False),
        (errors.UpstreamAuthError("x"), 50, "credential", 300.0, False),
        (errors.UpstreamNotFound("x"), 0, "endpoint", MISSING_S, False),
    ],
)
def test_what_is_put_off(error: errors.TriviumError, times: int, of: str, wait_s: float, told: bool) -> None:
    scope = scope_of(error, times)
    assert scope is not None
    assert (scope.of, scope.wait_s, scope.told) == (of, wait_s, told)


def test_a_failure_of_the_endpoint_puts_nobody_else_off() -> None:
    assert scope_of(errors.UpstreamServerError("x"), 0) is None
    assert scope_of(errors.UpstreamRejected("x"), 0) is None
