"""An allowance: what a credential may still ask of a model, as its provider said or as its refusals show.

Blame has a scope: a 429 is about a credential and a model, a refused or empty account about the credential, a model
that is not there about the endpoint. None of them is the endpoint's failure, so none of them opens its breaker.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from trivium.errors import (
    TriviumError,
    UpstreamAuthError,
    UpstreamNotFound,
    UpstreamQuotaExhausted,
    UpstreamRateLimited,
)
from trivium.routing.retry_after import wait_s

RATE_LIMITED_S = 15.0
"""A 429 that does not say for how long."""
REFUSED_S = (15.0, 300.0)
"""A refused key is benched for the first, then for twice as long each time up to the second: a burst of refusals of a
key that worked is an outage."""
EMPTY_S = 300.0
MISSING_S = 300.0


class Bench(msgspec.Struct):
    """Until when something is not to be asked, and whether its provider said so itself."""

    until_s: float
    reason: str
    told: bool = False
    times: int = 1
    since_s: float = 0.0
    """What was sent before says nothing about it."""


class Allowance:
    """What one credential may ask of one model. Mutable on purpose, as `BreakerState`."""

    __slots__ = ("bench", "in_flight", "limit_requests", "requests", "requests_reset_s", "tokens", "tokens_reset_s")

    def __init__(self) -> None:
        self.bench: Bench | None = None
        self.in_flight = 0
        self.requests: int | None = None
        """Left until `requests_reset_s`, as the last answer said; None where nothing was said."""
        self.limit_requests: int | None = None
        self.requests_reset_s = 0.0
        self.tokens: int | None = None
        self.tokens_reset_s = 0.0

    def blocked_s(self, now_s: float, tokens: int) -> float:
        """For how long a request of that many tokens would be refused; 0 if it may be sent."""
        bench = self.bench
        if bench is not None:
            if now_s < bench.until_s:
                return bench.until_s - now_s
            if bench.reason == "rate_limited":
                self.bench = None
        wait = 0.0
        if self.requests is not None:
            if now_s >= self.requests_reset_s:
                self.requests = None
            elif self.requests < 1:
                wait = self.requests_reset_s - now_s
        if self.tokens is not None:
            if now_s >= self.tokens_reset_s:
                self.tokens = None
            elif self.tokens < tokens:
                wait = max(wait, self.tokens_reset_s - now_s)
        return wait

    def sent(self, tokens: int) -> None:
        """A request leaves; what it takes is gone until an answer says what is left."""
        self.in_flight += 1
        if self.requests is not None:
            self.requests -= 1
        if self.tokens is not None:
            self.tokens -= tokens

    def ended(self) -> None:
        self.in_flight -= 1

    def headroom(self) -> float:
        """The share of its requests that is left, from 0 to 1; 1 where nothing was said."""
        if self.requests is None or not self.limit_requests:
            return 1.0
        return max(0.0, min(1.0, self.requests / self.limit_requests))

    def hear(self, fields: Mapping[bytes, bytes], now_s: float) -> None:
        """Take what an answer's head says of limits. Requests in flight are not in it yet, so they are taken off."""
        told = told_by(fields, now_s)
        if told.requests is not None and told.requests_reset_s is not None:
            self.requests = told.requests - max(0, self.in_flight - 1)
            self.limit_requests = told.limit_requests
            self.requests_reset_s = now_s + told.requests_reset_s
        if told.tokens is not None and told.tokens_reset_s is not None:
            self.tokens = told.tokens
            self.tokens_reset_s = now_s + told.tokens_reset_s

    def put_off(self, now_s: float, wait: float, reason: str, *, told: bool) -> None:
        times = self.bench.times + 1 if self.bench is not None else 1
        self.bench = Bench(now_s + wait, reason, told, times, now_s)

    def welcome(self, sent_s: float) -> None:
        """A request that was sent at `sent_s` was answered: what was held against it before is over."""
        if self.bench is not None and sent_s >= self.bench.since_s:
            self.bench = None


class Told(msgspec.Struct, frozen=True):
    """What an answer's head says is left; resets in seconds from then."""

    requests: int | None = None
    limit_requests: int | None = None
    requests_reset_s: float | None = None
    tokens: int | None = None
    tokens_reset_s: float | None = None


def _names(what: bytes, of: tuple[bytes, ...]) -> tuple[bytes, ...]:
    return tuple(b"x-ratelimit-%b-%b" % (what, one) for one in of) + tuple(
        b"anthropic-ratelimit-%b-%b" % (one, what) for one in of
    )


_REQUESTS, _TOKENS = (b"requests", b"req", b"requests-minute"), (b"tokens", b"tokens-minute", b"input-tokens")
_REMAINING_REQUESTS, _REMAINING_TOKENS = _names(b"remaining", _REQUESTS), _names(b"remaining", _TOKENS)
_LIMIT_REQUESTS = _names(b"limit", _REQUESTS)
_RESET_REQUESTS, _RESET_TOKENS = _names(b"reset", _REQUESTS), _names(b"reset", _TOKENS)


def told_by(fields: Mapping[bytes, bytes], now_s: float) -> Told:
    """Read the limits of a head; senseless values count as unsaid."""
    return Told(
        _number(fields, _REMAINING_REQUESTS),
        _number(fields, _LIMIT_REQUESTS),
        _wait(fields, _RESET_REQUESTS, now_s),
        _number(fields, _REMAINING_TOKENS),
        _wait(fields, _RESET_TOKENS, now_s),
    )


def _first(fields: Mapping[bytes, bytes], names: tuple[bytes, ...]) -> str | None:
    found = next((fields[name] for name in names if name in fields), None)
    return None if found is None or len(found) > 64 else found.decode("latin-1").strip()


def _number(fields: Mapping[bytes, bytes], names: tuple[bytes, ...]) -> int | None:
    text = _first(fields, names)
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 16 else None


def _wait(fields: Mapping[bytes, bytes], names: tuple[bytes, ...], now_s: float) -> float | None:
    text = _first(fields, names)
    return None if text is None else wait_s(text, now_s)


class Scope(msgspec.Struct, frozen=True):
    """What a failure is about, if not the endpoint's own condition: for how long it is put off, and why."""

    of: str
    wait_s: float
    reason: str
    told: bool = False


def scope_of(error: TriviumError, times: int) -> Scope | None:
    """What an upstream's refusal puts off, and for how long; `times` it has been put off for that in a row."""
    match error:
        case UpstreamRateLimited():
            wait = error.retry_after_s
            return Scope("model", RATE_LIMITED_S if wait is None else wait, "rate_limited", wait is not None)
        case UpstreamQuotaExhausted() if "max_tokens" in error.message:
            return None  # less could be paid for
        case UpstreamQuotaExhausted():
            return Scope("credential", error.retry_after_s or EMPTY_S, "credential")
        case UpstreamAuthError():
            least, most = REFUSED_S
            return Scope("credential", min(most, least * 2 ** min(times, 8)), "credential")
        case UpstreamNotFound():
            return Scope("endpoint", MISSING_S, "not_found")
        case _:
            return None
