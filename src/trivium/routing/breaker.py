"""The circuit breaker of an endpoint: a pure state machine over times that come in as arguments.

Opens after a run of failures that are the endpoint's fault, stays open for a cool-down that doubles
with each further opening, then lets one probe through. Figures: `routing.route.Breaker`.
"""

from __future__ import annotations

from trivium.routing.route import Breaker

COOLDOWN_S_MAX = 300.0


class BreakerState:
    """Mutable on purpose: one a process and endpoint, touched on the request's path."""

    __slots__ = ("failures", "open_until_s", "openings", "probing")

    def __init__(self) -> None:
        self.failures = 0
        self.openings = 0
        self.open_until_s = 0.0
        self.probing = False

    def allows(self, now_s: float) -> bool:
        """Whether an attempt may be sent; a half-open breaker allows one at a time."""
        return not self.open_until_s or (now_s >= self.open_until_s and not self.probing)

    def sent(self, now_s: float) -> None:
        """An attempt leaves; if the breaker is half-open, it is the probe."""
        if self.open_until_s and now_s >= self.open_until_s:
            self.probing = True

    def succeeded(self) -> None:
        self.failures = 0
        self.openings = 0
        self.open_until_s = 0.0
        self.probing = False

    def abandoned(self) -> None:
        """An attempt ended without saying anything about the endpoint (its caller left)."""
        self.probing = False

    def failed(self, now_s: float, rule: Breaker) -> None:
        self.failures += 1
        if self.probing or (self.failures >= rule.failures and not self.open_until_s):
            self.probing = False
            self.open_until_s = now_s + min(rule.cooldown_s * 2**self.openings, COOLDOWN_S_MAX)
            self.openings += 1
