"""What `auto` may spend in a day: reserve the upper bound, settle the actual.

The day is UTC's. `spent` is what the ledger knew at the last look; what this process reserved, or settled since
that was asked, is added, so that the sum errs upwards. Before the first look nothing is allowed.
"""

from __future__ import annotations

DAY_S = 86_400


class DailyBudget:
    """A bound in nano-dollars a day, or None for no bound."""

    __slots__ = ("_day", "_open", "_spent", "known", "limit_nanos", "since_nanos")

    def __init__(self, limit_nanos: int | None) -> None:
        self.limit_nanos = limit_nanos
        self.known = False
        """The ledger has said what was spent."""
        self.since_nanos = 0
        """Settled here since the ledger was asked."""
        self._day = 0
        self._spent = 0
        self._open = 0

    def refresh(self, spent_nanos: int, now_s: float, before_nanos: int = 0) -> None:
        """Take over what the ledger says was spent today; `before_nanos`: `since_nanos` when it was asked."""
        self.known = True
        self._roll(now_s)
        self._spent = spent_nanos
        self.since_nanos = max(0, self.since_nanos - before_nanos)

    def allows(self, bound_nanos: int, now_s: float) -> bool:
        """Whether an attempt that may cost `bound_nanos` still fits."""
        if self.limit_nanos is None:
            return True
        self._roll(now_s)
        return self.known and self.spent_nanos + self._open + bound_nanos <= self.limit_nanos

    def reserve(self, bound_nanos: int) -> None:
        self._open += bound_nanos

    def settle(self, bound_nanos: int, cost_nanos: int | None) -> None:
        """Give the reservation back and keep the cost; an unknown cost keeps its bound."""
        self._open -= bound_nanos
        self.since_nanos += bound_nanos if cost_nanos is None else cost_nanos

    def _roll(self, now_s: float) -> None:
        day = int(now_s // DAY_S)
        if day != self._day:
            self._day = day
            self._spent = self.since_nanos = 0

    @property
    def spent_nanos(self) -> int:
        return self._spent + self.since_nanos
