"""A worker: the data plane on its listening sockets, until it is told to drain."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import socket
from collections.abc import Sequence

from trivium.config.schema import Config
from trivium.gateway.gateway import Gateway
from trivium.server.data_plane import DataPlane
from trivium.transport.server import CallerConnection

log = logging.getLogger("trivium.worker")

TICK_S = 1.0
"""How often slow uploads, idle callers and the model store are looked at."""


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
        now = loop.time()
        for connection in list(self._connections):
            connection.expire(now)
        self.gateway.look_at_store()
        self._ticking = loop.call_later(TICK_S, self._tick)

    def reload(self, config: Config) -> None:
        """Swap the configuration; requests in flight keep the one that they began with."""
        self.gateway.reload(config)
        self.plane.configure(config)

    async def drain(self, limit_s: float) -> None:
        """Stop accepting, let requests in flight finish for `limit_s`, then cut what is left and close."""
        loop = asyncio.get_running_loop()
        for server in self._servers:
            server.close()
        if self._ticking is not None:
            self._ticking.cancel()
        runtime = self.gateway.runtime
        runtime.draining = True
        for connection in list(self._connections):
            connection.drain()
        deadline = loop.time() + limit_s
        while runtime.exchanges and loop.time() < deadline:
            await asyncio.sleep(0.02)
        runtime.cut_all()
        while self._connections and loop.time() < deadline + 1:
            await asyncio.sleep(0.02)
        for connection in list(self._connections):
            connection.transport.abort()
        await self.gateway.close()
