"""The retry budget of an endpoint: repetitions stay a fifth of what it is asked anyway, whatever fails.

As Finagle's: each first attempt deposits, each repetition takes one, and deposits expire; a floor a second lets an
endpoint with little traffic be repeated at all.
"""

from __future__ import annotations

DEPOSIT = 0.2
FLOOR_PER_S = 10.0
EXPIRY_S = 10.0


class RetryBudget:
    """Two halves of the last ten seconds, so that nothing has to be kept for each attempt."""

    __slots__ = ("_began_s", "_floor", "_floor_s", "_new", "_old")

    def __init__(self, now_s: float) -> None:
        self._began_s = self._floor_s = now_s
        self._old = self._new = 0.0
        self._floor = FLOOR_PER_S

    def deposit(self, now_s: float) -> None:
        """A first attempt was sent."""
        self._roll(now_s)
        self._new += DEPOSIT

    def take(self, now_s: float) -> bool:
        """Whether a repetition may be sent; if so, it is paid for."""
        self._roll(now_s)
        self._floor = min(FLOOR_PER_S, self._floor + (now_s - self._floor_s) * FLOOR_PER_S)
        self._floor_s = now_s
        if self._floor >= 1:
            self._floor -= 1
            return True
        if self._old + self._new >= 1:
            self._old, short = max(0.0, self._old - 1), max(0.0, 1 - self._old)
            self._new -= short
            return True
        return False

    def _roll(self, now_s: float) -> None:
        halves = int((now_s - self._began_s) // (EXPIRY_S / 2))
        if halves:
            self._old, self._new = (self._new if halves == 1 else 0.0), 0.0
            self._began_s += halves * EXPIRY_S / 2
