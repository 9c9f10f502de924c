"""A probe: one GET that costs nothing, to ask an endpoint that has failed whether it is there again.

A good answer is no proof that it can answer a prompt: it opens the door for one request.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from trivium.access.bind import free_call
from trivium.catalog.rows import Endpoint
from trivium.errors import TriviumError, UpstreamError
from trivium.routing.health import Health
from trivium.transport.http1 import UpstreamConnection
from trivium.transport.pool import Pool
from trivium.transport.upstream import Fields, Upstream
from trivium.types.data import DataClass

if TYPE_CHECKING:
    from trivium.gateway.runtime import Runtime

TIMEOUT_S = 5.0
USED_S = 600.0
"""An endpoint that nobody has asked for this long is not probed any more."""


class Probes:
    """Asks endpoints that have failed when their cool-downs end, so that no caller has to find out. One a loop."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._due: dict[str, asyncio.TimerHandle] = {}
        self._asking: set[str] = set()

    def later(self, endpoint: Endpoint, health: Health) -> None:
        """Ask when its cool-down is over."""
        now, open_until_s = self._runtime.conditions.now(), health.breaker.open_until_s
        waits = endpoint.id in self._due or endpoint.id in self._asking
        if open_until_s > now and not waits and now - health.touched_s < USED_S:
            self._due[endpoint.id] = self._runtime.loop.call_later(open_until_s - now, self._now, endpoint, health)

    def _now(self, endpoint: Endpoint, health: Health) -> None:
        self._due.pop(endpoint.id, None)
        if health.breaker.state(self._runtime.conditions.now()) == "half-open":
            self._ask(endpoint, health)
        else:
            self.later(endpoint, health)  # the timer came a little early, or the outage goes on

    def first(self, endpoint: Endpoint) -> bool:
        """Whether an endpoint whose cool-down is over is still to be asked something free before it gets a request."""
        health = self._runtime.conditions.healths.get(endpoint.id)
        if health is None or not health.breaker.open_until_s or health.breaker.asked:
            return False
        return self._ask(endpoint, health)

    def _ask(self, endpoint: Endpoint, health: Health) -> bool:
        """False where nothing is known that costs nothing."""
        if endpoint.id in self._asking:
            return True
        known = None if endpoint.engine is not None else self._runtime.snapshot.reached(endpoint)
        payload = None if known is None else free_call(known)
        if known is None or payload is None:
            return False
        self._asking.add(endpoint.id)
        self._runtime.task(self._asked(endpoint, health, known.upstream, payload))
        return True

    async def _asked(self, endpoint: Endpoint, health: Health, upstream: Upstream, payload: bytes) -> None:
        conditions, breaker = self._runtime.conditions, health.breaker
        try:
            breaker.asked = await answers(self._runtime.pool, upstream, payload)
        finally:
            self._asking.discard(endpoint.id)
        if not breaker.asked:
            breaker.still_out(conditions.now())
            self.later(endpoint, health)
        conditions.change += 1

    def close(self) -> None:
        for timer in self._due.values():
            timer.cancel()
        self._due.clear()


async def answers(pool: Pool, upstream: Upstream, payload: bytes) -> bool:
    """Whether a server answers a GET within a while, with anything but a fault of its own."""
    probe = _Probe(asyncio.get_running_loop().create_future())
    taken: UpstreamConnection | asyncio.Task[None] | None = None
    try:
        taken = pool.hand_out(upstream, DataClass.ANY, probe, payload)
        if isinstance(taken, UpstreamConnection):
            probe.connection = taken
        async with asyncio.timeout(TIMEOUT_S):
            return await probe.status not in (500, 502, 503, 504, 529)  # one without such a list is there all the same
    except (TriviumError, TimeoutError):
        return False
    finally:
        if isinstance(taken, asyncio.Task):
            taken.cancel()
        if probe.connection is not None:
            probe.connection.abort()


class _Probe:
    def __init__(self, status: asyncio.Future[int]) -> None:
        self.status = status
        self.connection: UpstreamConnection | None = None

    def on_connected(self, connection: UpstreamConnection) -> None:
        self.connection = connection

    def on_unreachable(self, error: UpstreamError) -> None:
        self._end(error)

    def on_head(self, status: int, fields: Fields) -> None:
        if not self.status.done():
            self.status.set_result(status)

    def on_body(self, data: bytes) -> None: ...

    def on_end(self) -> None:
        self.connection = None

    def on_lost(self, error: UpstreamError, *, untouched: bool) -> None:
        self.connection = None
        self._end(error)

    def _end(self, error: UpstreamError) -> None:
        if not self.status.done():
            self.status.set_exception(error)
