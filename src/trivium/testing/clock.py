"""A clock that moves only when it is told to."""

from __future__ import annotations


class Clock:
    """Seconds, as a monotonic clock has them; pass `clock.now` where code wants a clock."""

    def __init__(self, start: float = 0.0) -> None:
        self._now = start

    def now(self) -> float:
        return self._now

    def advance(self, seconds: float) -> float:
        """Move on and return the new time. Raises ValueError for a step back: monotonic clocks make none."""
        if seconds < 0:
            raise ValueError(f"a monotonic clock cannot go back by {-seconds} s")
        self._now += seconds
        return self._now
