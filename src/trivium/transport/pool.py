"""Kept-alive connections to upstreams, and the one function that hands a connection to an attempt.

Last in, first out per origin, so that few connections stay warm; bounded; an idle connection lives
shorter than servers usually keep theirs (5 s with uvicorn, 60 s and more with the public providers).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from trivium.errors import NoEndpoint, UpstreamError, UpstreamUnreachable
from trivium.transport.http1 import UpstreamConnection
from trivium.transport.upstream import Receiver, Upstream
from trivium.types.data import DataClass
from trivium.types.origin import Origin

log = logging.getLogger("trivium.transport")

IDLE_S_LOCAL = 4.0
IDLE_S_REMOTE = 50.0
IDLE_CONNECTIONS_MAX = 1024
"""Per origin; more are closed after use."""
DRAIN_S = 1.0
"""How long a message may go on that its receiver no longer reads."""


Dial = Callable[[Upstream, Callable[[], UpstreamConnection]], Coroutine[Any, Any, tuple[Any, UpstreamConnection]]]


class DataClassViolation(NoEndpoint):
    """A request was about to travel further than its class allows. Never caught to try the same endpoint again."""

    kind = "data_class"


class Pool:
    """All connections of one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, dial: Dial) -> None:
        self._loop = loop
        self._dial = dial
        self._idle: dict[Origin, list[UpstreamConnection]] = {}
        self._opening: set[asyncio.Task[None]] = set()
        self._draining: set[UpstreamConnection] = set()
        self._draining_timer: asyncio.TimerHandle | None = None

    def hand_out(
        self, upstream: Upstream, data_class: DataClass, receiver: Receiver, payload: bytes, *, fresh: bool = False
    ) -> UpstreamConnection | asyncio.Task[None]:
        """Give `receiver` a connection, new or pooled, and write `payload` to it.

        Every byte that leaves for an upstream passes here, so here the data class is checked. Returns the
        connection, or the task that opens one (cancel it to give up). `fresh` refuses a reused connection. Raises
        DataClassViolation.
        """
        if data_class > upstream.ceiling:
            raise DataClassViolation(
                f"`{upstream.endpoint}` may receive requests of class `{upstream.ceiling.word}` at most; "
                f"this one is `{data_class.word}`."
            )
        idle = self._idle.get(upstream.origin)
        now = self._loop.time()
        while idle and not fresh:
            connection = idle.pop()
            # A connection that was vetted less strictly than this upstream asks for, or went around its proxy, is none.
            other = connection.upstream
            vetted = (upstream.trusted_origin or not other.trusted_origin) and upstream.local == other.local
            if vetted and connection.idle_until > now and not connection.closed:
                connection.send(receiver, payload)
                return connection
            connection.abort()
        task = self._loop.create_task(self._connect(upstream, receiver, payload))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)
        return task

    async def _connect(self, upstream: Upstream, receiver: Receiver, payload: bytes) -> None:
        def protocol() -> UpstreamConnection:
            return UpstreamConnection(upstream, self)

        try:
            _, connection = await self._dial(upstream, protocol)
            if connection.closed:
                raise UpstreamUnreachable(f"`{upstream.origin.host}` closed the connection at once.")
        except Exception as error:
            if not isinstance(error, UpstreamError):
                # A defect of ours; the request must end all the same.
                log.exception("opening a connection failed unexpectedly")
                error = UpstreamUnreachable(f"`{upstream.origin.host}`: {error or type(error).__name__}.")
            error.endpoint = upstream.endpoint
            receiver.on_unreachable(error)
            return
        connection.send(receiver, payload)
        receiver.on_connected(connection)

    # ---- transport.http1.Owner

    def on_idle(self, connection: UpstreamConnection) -> None:
        upstream = connection.upstream
        idle = self._idle.setdefault(upstream.origin, [])
        if connection.closed:
            if connection in idle:
                idle.remove(connection)
        elif len(idle) >= IDLE_CONNECTIONS_MAX:
            connection.abort()
        else:
            lifetime = IDLE_S_LOCAL if upstream.local else IDLE_S_REMOTE
            connection.idle_until = self._loop.time() + min(lifetime, connection.keep_alive_s - 1)
            idle.append(connection)

    def on_draining(self, connection: UpstreamConnection) -> None:
        connection.idle_until = self._loop.time() + DRAIN_S
        self._draining.add(connection)
        if self._draining_timer is None:
            # Of its own, because nobody sweeps for a pool without requests.
            self._draining_timer = self._loop.call_later(DRAIN_S, self._drained)

    def _drained(self) -> None:
        self._draining_timer = None
        self.sweep()
        if self._draining:
            self._draining_timer = self._loop.call_later(DRAIN_S / 2, self._drained)

    def sweep(self) -> None:
        """Close what has been idle or draining for too long; called a few times a second at most."""
        now = self._loop.time()
        for connection in [one for one in self._draining if not one.draining or one.idle_until <= now]:
            self._draining.discard(connection)
            if connection.draining:
                connection.abort()
        for origin, idle in list(self._idle.items()):
            expired = [connection for connection in idle if connection.idle_until <= now]
            if expired:
                self._idle[origin] = [connection for connection in idle if connection.idle_until > now]
                for connection in expired:
                    connection.abort()

    def forget(self, origin: Origin) -> None:
        """Close the idle connections of an origin that is gone (an engine that ended)."""
        for connection in self._idle.pop(origin, []):
            connection.abort()

    def close(self) -> None:
        """Give up what is being opened, close what is idle or draining; those in use belong to their attempts."""
        for task in list(self._opening):
            task.cancel()
        for origin in list(self._idle):
            self.forget(origin)
        for connection in self._draining:
            connection.abort()
        self._draining.clear()
        if self._draining_timer is not None:
            self._draining_timer.cancel()
            self._draining_timer = None
