"""The circuit breaker of an endpoint: a pure state machine over times that come in as arguments.

Opens after a run of failures that are the endpoint's fault, or when half of a minute's attempts were, counted when
they were sent; stays open for a cool-down, then asks to be probed by something free, and lets one live attempt
through. Figures: `routing.route.Breaker` and the reliability contract.
"""

from __future__ import annotations

from typing import Literal

from trivium.routing.route import Breaker

COOLDOWN_S_MAX = 300.0
COOLDOWN_S_EARLY_MAX = 30.0
"""So that an endpoint is back half a minute after it has recovered, as long as its outage is short."""
EARLY_S = 300.0
SUSPECT_FAILURES = 3
"""From here on it is not asked a second time by the same request."""
WINDOW_S = 60.0
WINDOW_ATTEMPTS_MIN, WINDOW_SHARE = 20, 0.5

State = Literal["closed", "suspect", "open", "half-open"]


class BreakerState:
    """Mutable on purpose: one a process and endpoint, touched on the request's path."""

    __slots__ = (
        "_bad",
        "_began_s",
        "_count",
        "asked",
        "cooldown_s",
        "failures",
        "hinted",
        "open_until_s",
        "opened_s",
        "probing",
    )

    def __init__(self) -> None:
        self.failures = 0
        """In a row."""
        self.open_until_s = 0.0
        self.opened_s = 0.0
        """When the outage began."""
        self.cooldown_s = 0.0
        self.probing = False
        self.asked = False
        """Something free was answered since its cool-down, so that an attempt may be risked."""
        self.hinted = False
        """Others have found it failing: a hint makes it suspect, and never opens it."""
        self._began_s = 0.0
        self._count = self._bad = 0

    def state(self, now_s: float) -> State:
        if self.open_until_s:
            return "open" if now_s < self.open_until_s or self.probing else "half-open"
        return "suspect" if self.failures >= SUSPECT_FAILURES or self.hinted else "closed"

    def allows(self, now_s: float) -> bool:
        """Whether an attempt may be sent; a half-open breaker allows one at a time."""
        return not self.open_until_s or (now_s >= self.open_until_s and not self.probing)

    def sent(self, now_s: float) -> None:
        """An attempt leaves; if the breaker is half-open, it is the probe."""
        if self.open_until_s:
            if now_s >= self.open_until_s:
                self.probing = True
            return
        if now_s - self._began_s > WINDOW_S:
            self._began_s, self._count, self._bad = now_s, 0, 0
        self._count += 1

    def succeeded(self) -> None:
        self.failures = 0
        self.hinted = False
        if self.open_until_s:
            self.open_until_s = self.opened_s = self.cooldown_s = 0.0
            self.probing = False
            self._count = self._bad = 0

    def abandoned(self) -> None:
        """An attempt ended without saying anything about the endpoint (its caller left)."""
        self.probing = False

    def failed(self, now_s: float, rule: Breaker) -> None:
        self.failures += 1
        self._bad += 1
        if self.open_until_s:
            if self.probing:
                self._again(now_s)
            return
        rate = self._count >= WINDOW_ATTEMPTS_MIN and self._bad >= self._count * WINDOW_SHARE
        if self.failures >= rule.failures or rate:
            self.opened_s, self.cooldown_s, self.asked = now_s, rule.cooldown_s, False
            self.open_until_s = now_s + rule.cooldown_s

    def still_out(self, now_s: float) -> None:
        """The free probe of a half-open breaker failed: it cost nobody an attempt, and it stays open."""
        if self.open_until_s and not self.probing:
            self._again(now_s)

    def _again(self, now_s: float) -> None:
        """Open for twice as long as before; in the first minutes of an outage for half a minute at most."""
        self.probing = self.asked = False
        early = now_s - self.opened_s < EARLY_S
        longest = max(COOLDOWN_S_EARLY_MAX, self.cooldown_s) if early else COOLDOWN_S_MAX
        self.cooldown_s = min(self.cooldown_s * 2, longest)
        self.open_until_s = now_s + self.cooldown_s
