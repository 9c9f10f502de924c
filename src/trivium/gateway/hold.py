"""A held stream: what is kept back of an answer until a window has passed, so that a break in it is made good unseen.

It stands between a relay and its attempt. While it is closed nothing was released, and the pipeline goes on to the next
endpoint as before the first content.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from trivium.gateway.relay import ANSWER_BYTES_MAX, Last
from trivium.routing.route import Hold
from trivium.types.event import Event

if TYPE_CHECKING:
    from trivium.gateway.attempt import Attempt


class Held:
    """An outlet that gives to the attempt's own once its window has passed. What is too large to be held is let go."""

    def __init__(self, attempt: Attempt, rule: Hold) -> None:
        self._attempt = attempt
        self._tokens = math.inf if rule.complete else rule.tokens
        self._window_s = math.inf if rule.complete else rule.ms / 1000
        self._until = math.inf
        self._bytes: list[bytes] = []
        self._events: list[Event] = []
        self._size = 0
        self._open = False

    def release(self, first: bytes) -> None:
        self._begin()
        self.chunk(first)

    def chunk(self, data: bytes) -> None:
        if self._open:
            self._attempt.chunk(data)
            return
        self._bytes.append(data)
        self._size += len(data)
        self._look()

    def objects(self, events: list[Event]) -> None:
        if self._open:
            self._attempt.objects(events)
            return
        if not self._events:
            self._begin()
        self._events += events
        self._look()

    def complete(self, last: Last, losses: tuple[str, ...] = ()) -> None:
        if isinstance(last, bytes):
            last = b"".join([*self._bytes, last])
        elif isinstance(last, list):
            last = [*self._events, *last]
        self._bytes, self._events = [], []
        self._attempt.complete(last, losses)

    def flow(self, body: Callable[[bytes], None]) -> None:
        self._attempt.flow(body)

    def on_body(self, data: bytes) -> None:
        self._attempt.on_body(data)

    def fail_of(self, error: Exception) -> None:
        self._attempt.fail_of(error)

    def expire(self, now: float) -> None:
        """Let go of what is held once its time is over."""
        if now >= self._until and not self._open:
            self._let_go()

    def _begin(self) -> None:
        self._until = self._attempt.first_content() + self._window_s

    def _look(self) -> None:
        relay = self._attempt.relay
        said = 0 if relay is None else relay.output_estimate
        if said >= self._tokens or max(self._size, said * 4) > ANSWER_BYTES_MAX:
            self._let_go()
        else:
            self.expire(self._attempt.exchange.runtime.now())

    def _let_go(self) -> None:
        self._open = True
        held, events = b"".join(self._bytes), self._events
        self._bytes, self._events = [], []
        if events:
            self._attempt.objects(events)
        else:
            self._attempt.release(held)
