"""Kept-alive connections to upstreams, and the one function that hands a connection to an attempt.

Last in, first out per origin, so that few connections stay warm; bounded; an idle connection lives
shorter than servers usually keep theirs (5 s with uvicorn, 60 s and more with the public providers).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from trivium.errors import NoEndpoint, UpstreamError
from trivium.transport.address import Origin
from trivium.transport.http1 import UpstreamConnection
from trivium.transport.upstream import Receiver, Upstream
from trivium.types.data import DataClass

IDLE_S_LOCAL = 4.0
IDLE_S_REMOTE = 50.0
IDLE_CONNECTIONS_MAX = 1024
"""Per origin; more are closed after use."""


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
            if connection.idle_until > now and not connection.closed:
                connection.send(receiver, payload)
                return connection
            connection.abort()
        task = self._loop.create_task(self._connect(upstream, receiver, payload))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)
        return task

    async def _connect(self, upstream: Upstream, receiver: Receiver, payload: bytes) -> None:
        def protocol() -> UpstreamConnection:
            return UpstreamConnection(upstream, self._release)

        try:
            _, connection = await self._dial(upstream, protocol)
        except UpstreamError as error:
            error.endpoint = upstream.endpoint
            receiver.on_unreachable(error)
            return
        connection.send(receiver, payload)
        receiver.on_connected(connection)

    def _release(self, connection: UpstreamConnection) -> None:
        """A connection is idle again, or was lost while idle."""
        upstream = connection.upstream
        idle = self._idle.setdefault(upstream.origin, [])
        if connection.closed:
            if connection in idle:
                idle.remove(connection)
        elif len(idle) >= IDLE_CONNECTIONS_MAX:
            connection.abort()
        else:
            lifetime = IDLE_S_LOCAL if upstream.local else IDLE_S_REMOTE
            if connection.keep_alive_s:
                lifetime = min(lifetime, max(0.0, connection.keep_alive_s - 1))
            connection.idle_until = self._loop.time() + lifetime
            idle.append(connection)

    def sweep(self) -> None:
        """Close what has been idle for too long; called a few times a second at most."""
        now = self._loop.time()
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
        """Give up what is being opened and close what is idle; connections in use belong to their attempts."""
        for task in list(self._opening):
            task.cancel()
        for origin in list(self._idle):
            self.forget(origin)
