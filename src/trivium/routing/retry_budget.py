"""The retry budget of an endpoint: repetitions stay a fifth of what it is asked anyway, whatever fails.

As Finagle's: attempts deposit, each repetition takes one, and deposits expire; a floor a second lets an endpoint with
little traffic be repeated at all.
"""

from __future__ import annotations

DEPOSIT = 1 / 6
"""Of every attempt, repetitions among them: a fifth of the first ones."""
FLOOR_PER_S = 10.0
EXPIRY_S = 10.0


class RetryBudget:
    """Reckons with how many attempts there were, so that none of them has to deposit anything itself."""

    __slots__ = ("_began_s", "_floor", "_floor_s", "_left", "_mark")

    def __init__(self, now_s: float) -> None:
        self._began_s = self._floor_s = now_s
        self._floor = FLOOR_PER_S
        self._left = 0.0
        """Of the deposits before `_mark`, less what was taken."""
        self._mark = 0

    def take(self, now_s: float, sent: int) -> bool:
        """Whether a repetition may be sent, after `sent` attempts in all; if so, it is paid for."""
        self._floor = min(FLOOR_PER_S, self._floor + (now_s - self._floor_s) * FLOOR_PER_S)
        self._floor_s = now_s
        elapsed_s = now_s - self._began_s
        if elapsed_s >= EXPIRY_S / 2:  # the half before this one still counts; of a longer time its share
            self._left = (sent - self._mark) * DEPOSIT * (EXPIRY_S / 2) / elapsed_s + min(0.0, self._left)
            self._mark, self._began_s = sent, now_s
        if self._floor >= 1:
            self._floor -= 1
            return True
        if self._left + (sent - self._mark) * DEPOSIT >= 1:
            self._left -= 1
            return True
        return False
