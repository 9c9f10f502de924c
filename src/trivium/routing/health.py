"""The health of an endpoint: its breaker, its statistics, its retry budget, and who waits for it now."""

from __future__ import annotations

from trivium.routing.allowance import Bench
from trivium.routing.breaker import BreakerState
from trivium.routing.retry_budget import RetryBudget
from trivium.routing.statistics import Sample, Statistics, fresh

TIER_ATTEMPTS_MIN = 100
"""Below this a share of successes says little."""
TIERS = (0.95, 0.80)


class Health:
    """Mutable on purpose: one a process and endpoint, touched on the path of every attempt."""

    __slots__ = (
        *("breaker", "in_flight", "missing", "retries", "samples", "sent", "touched_s", "waiting"),
        *("_counted", "_own", "shared"),
    )

    def __init__(self, now_s: float, *, local: bool) -> None:
        self.breaker = BreakerState()
        self._own = fresh(now_s, local=local)
        self.shared = fresh(now_s, local=local)
        """What all processes had measured when they last told."""
        self.retries = RetryBudget(now_s)
        self.missing: Bench | None = None
        """Its provider says that there is no such model."""
        self.waiting: dict[object, float] = {}
        """When each attempt was sent that has no content yet, the oldest first."""
        self.in_flight = 0
        self.sent = 0
        """Attempts, ever."""
        self.touched_s = now_s
        """When the last of them was sent."""
        self.samples: list[Sample] = []
        """Of answers that nobody has looked at: a request only leaves its figures here."""
        self._counted = 0

    @property
    def own(self) -> Statistics:
        """What this process has measured and not told the others yet."""
        self.fold()
        return self._own

    def fold(self) -> None:
        """Count what attempts have left here."""
        if self.sent != self._counted:
            self._own.send(self.touched_s, self.sent - self._counted)
            self._counted = self.sent
        if self.samples:
            self._own.answers(self.samples)
            self.samples.clear()

    @property
    def quiet(self) -> bool:
        """Whether nothing was measured since it was told last."""
        return not self._own.attempts and self.sent == self._counted

    def measured(self) -> Statistics:
        """Everything that is known, as one."""
        both = Statistics(self.own.tau_s, self.shared.landmark_s)
        both.add(self.shared)
        both.add(self.own)
        return both

    def means(self) -> Statistics:
        """The means of that, for those who ask for them often."""
        both = Statistics(self.own.tau_s, self.shared.landmark_s)
        both.add_means(self.shared)
        both.add_means(self.own)
        return both

    def share(self) -> Statistics:
        """What is to be told to the others; from here on it counts as shared."""
        told = self.own
        self._own = Statistics(told.tau_s, told.landmark_s)
        self.shared.add(told)
        return told

    def oldest_s(self, now_s: float) -> float:
        """For how long the oldest attempt has waited for content; 0 if none does."""
        for sent_s in self.waiting.values():
            return now_s - sent_s
        return 0.0


def tier_of(measured: Statistics, now_s: float) -> int:
    """0 for an endpoint that answers, 1 for one that often fails, 2 for a last resort."""
    if measured.attempts < TIER_ATTEMPTS_MIN:
        return 0
    return sum(measured.success(now_s) < least for least in TIERS)
