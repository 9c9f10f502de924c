"""A worker: the data plane on its listening sockets, until it is told to drain."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import socket
from collections.abc import Callable, Sequence

from trivium.config.schema import Config
from trivium.gateway.gateway import Gateway
from trivium.server.data_plane import DataPlane
from trivium.transport.server import CallerConnection

log = logging.getLogger("trivium.worker")

TICK_S = 1.0
"""How often slow uploads, idle callers and the model store are looked at."""
POLL_S = 0.02
"""How often, while it drains."""
HANDSHAKE_S = 0.1
"""How long a drain lets callers arrive who are on their way."""
CUT_S = 1.0
"""How long callers may take to read how they were cut."""


class Worker:
    """Serves callers from `sockets`; the home has an owner elsewhere."""

    def __init__(self, config: Config, sockets: Sequence[socket.socket]) -> None:
        self.gateway = Gateway(config, own=False)
        self.plane = DataPlane(self.gateway, os.environ)
        self._sockets = sockets
        self._connections: set[CallerConnection] = set()
        self._servers: list[asyncio.Server] = []
        self._ticking: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Accept callers; the engines and the admin plane are not waited for."""
        loop = asyncio.get_running_loop()
        for sock in self._sockets:
            self._servers.append(await loop.create_server(self._connection, sock=sock))
        self._tick()
        # What is loaded by now stays: the collector need not look at it again and again.
        gc.collect()
        gc.freeze()

    def _connection(self) -> CallerConnection:
        return CallerConnection(self.plane, self._connections)

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        self._ticking = loop.call_later(TICK_S, self._tick)  # first, so that whatever is raised ends no later one
        now = loop.time()
        for connection in list(self._connections):
            connection.expire(now)
        self.gateway.look_at_store()

    def reload(self, config: Config) -> None:
        """Swap the configuration; requests in flight keep the one that they began with."""
        self.gateway.reload(config)
        self.plane.configure(config)

    async def drain(self, limit_s: float, hurry: asyncio.Event) -> None:
        """Stop accepting, serve whoever came until all are idle, then close; cut what is left after `limit_s` or in a
        `hurry`."""
        loop = asyncio.get_running_loop()
        end = loop.time() + limit_s
        if self._ticking is not None:
            self._ticking.cancel()
        runtime = self.gateway.runtime
        runtime.draining = True
        await self._serve_on(min(HANDSHAKE_S, limit_s), hurry.is_set)
        await self._stop_listening()
        await self._serve_on(end - loop.time(), lambda: hurry.is_set() or not (self._connections or runtime.exchanges))
        runtime.cut_all()
        await self._serve_on(CUT_S, lambda: not self._connections)
        for connection in list(self._connections):
            connection.transport.abort()
        await self.gateway.close()

    async def _serve_on(self, limit_s: float, enough: Callable[[], bool]) -> None:
        """For so long, or until it is `enough`, let every answer be its connection's last one."""
        loop = asyncio.get_running_loop()
        end = loop.time() + limit_s
        while (now := loop.time()) < end:
            for connection in list(self._connections):
                connection.drain(now)
            await asyncio.sleep(POLL_S)
            if enough():
                return

    async def _stop_listening(self) -> None:
        """Close the sockets with nobody left in them, whom the kernel would reset."""
        loop = asyncio.get_running_loop()
        callers: list[socket.socket] = []
        for sock, server in zip(self._sockets, self._servers, strict=True):
            with contextlib.suppress(OSError):  # BlockingIOError: that was the last one
                while True:
                    callers.append(sock.accept()[0])
            server.close()
        for caller in callers:
            await loop.connect_accepted_socket(self._connection, caller)
