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
SUSPECT_SHARE = 0.6
"""From this share of the failures that open it on, it is not asked a second time by the same request."""
WINDOW_S = 60.0
WINDOW_ATTEMPTS_MIN, WINDOW_SHARE = 20, 0.5

State = Literal["closed", "open", "half-open"]


class BreakerState:
    """Mutable on purpose: one a process and endpoint, touched on the request's path."""

    __slots__ = (
        "_bad",
        "_began_s",
        "_mark",
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
        self._began_s = -WINDOW_S
        self._mark = self._bad = 0

    def state(self, now_s: float) -> State:
        if self.open_until_s:
            return "open" if now_s < self.open_until_s or self.probing else "half-open"
        return "closed"

    def suspect(self, rule: Breaker) -> bool:
        """Whether it is on its way to open, or others have found it failing."""
        return self.hinted or self.failures >= rule.failures * SUSPECT_SHARE

    def allows(self, now_s: float) -> bool:
        """Whether an attempt may be sent; a half-open breaker allows one at a time."""
        return not self.open_until_s or (now_s >= self.open_until_s and not self.probing)

    def sent(self, now_s: float) -> None:
        """An attempt leaves while it is open; if it is half-open, that is the probe."""
        if self.open_until_s and now_s >= self.open_until_s:
            self.probing = True

    def succeeded(self, sent_s: float) -> None:
        """An attempt that was sent at `sent_s` was answered; what was under way when an outage began says nothing."""
        if self.open_until_s and sent_s < self.opened_s:
            return
        self.failures = 0
        self.hinted = False
        if self.open_until_s:
            self.open_until_s = self.opened_s = self.cooldown_s = 0.0
            self.probing = False
            self._began_s = -WINDOW_S

    def abandoned(self) -> None:
        """An attempt ended without saying anything about the endpoint (its caller left)."""
        self.probing = False

    def failed(self, now_s: float, rule: Breaker, sent: int = 0) -> None:
        """An attempt failed by the endpoint's fault; `sent` is how many it has had, ever."""
        self.failures += 1
        if now_s - self._began_s > WINDOW_S:  # a minute begins with a failure
            self._began_s, self._mark, self._bad = now_s, sent - 1, 0
        self._bad += 1
        if self.open_until_s:
            if self.probing:
                self._again(now_s)
            return
        count = sent - self._mark
        rate = count >= WINDOW_ATTEMPTS_MIN and self._bad >= count * WINDOW_SHARE
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
