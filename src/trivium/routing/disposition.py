"""What to do after a failed attempt: try the same endpoint again, go to the next one, or stop.

The table of sections 2 and 4 of the reliability contract, as a pure function. Money is not idempotent:
only failures that promise something from a repetition are repeated, and each at most as often as said.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from trivium.errors import (
    TriviumError,
    UpstreamContextLength,
    UpstreamError,
    UpstreamOverloaded,
    UpstreamRateLimited,
    UpstreamRefused,
    UpstreamRejected,
    UpstreamServerError,
    UpstreamTimeout,
)
from trivium.routing.route import Failure

RETRY_AFTER_S_MAX = 10.0
"""A longer wait is not waited for: the next endpoint answers sooner."""
BACKOFF_BASE_S = 0.25
BACKOFF_CAP_S = 8.0
OVERLOADED_STATUS = 529


class Step(msgspec.Struct, frozen=True):
    """`again` after `delay_s`, `next` at once, or `stop`."""

    move: Literal["again", "next", "stop"]
    delay_s: float = 0.0


AT_ONCE = Step("next")
STOP = Step("stop")


_FAILURES: tuple[tuple[type[TriviumError], Failure], ...] = (
    (UpstreamContextLength, "context_length"),
    (UpstreamRefused, "refusal"),
    (UpstreamRateLimited, "rate_limit"),
    (UpstreamTimeout, "timeout"),
)


def failure_of(error: TriviumError) -> Failure:
    """What a route calls a failure that it names further targets for."""
    for kind, failure in _FAILURES:
        if isinstance(error, kind):
            return failure
    return "error"


def after_failure(
    error: TriviumError, *, tries: int, retries: int, left_s: float, jitter: float, passes_refusals: bool = True
) -> Step:
    """Decide the step after a failed attempt.

    A refusal ends the request unless its route does not pass refusals on. `tries` counts attempts at this endpoint so
    far, `retries` how many more than one it may have; `left_s` is what is left of the request's total deadline;
    `jitter` is in [0, 1).
    """
    if isinstance(error, UpstreamRefused) and not passes_refusals:
        return AT_ONCE
    if not isinstance(error, UpstreamError) or isinstance(error, UpstreamRefused | UpstreamRejected):
        return STOP  # we or the request itself are at fault, or it must not be routed around
    if isinstance(error, UpstreamContextLength):
        return AT_ONCE  # another endpoint may have a larger window
    if tries > retries:
        return AT_ONCE
    if error.retry_after_s is not None and isinstance(error, UpstreamRateLimited | UpstreamOverloaded):
        wait = error.retry_after_s
        return Step("again", wait) if 0 <= wait <= RETRY_AFTER_S_MAX and wait < left_s else AT_ONCE
    if _repeats(error):
        # Full jitter over the second half of the step, so that a lone retry is not immediate.
        delay = min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2 ** (tries - 1)) * (0.5 + jitter / 2)
        return Step("again", delay) if delay < left_s else AT_ONCE
    return AT_ONCE


def _repeats(error: TriviumError) -> bool:
    """A one-off server error is worth one repetition; 529 says that there is no room, which is not one-off."""
    if isinstance(error, UpstreamOverloaded):
        return error.upstream_status != OVERLOADED_STATUS
    return isinstance(error, UpstreamServerError) or (
        isinstance(error, UpstreamRateLimited) and error.retry_after_s is None
    )
