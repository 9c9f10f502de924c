"""`trivium serve`: listen, serve until a signal says otherwise, then drain."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable

from trivium.config.listen import split_address
from trivium.config.schema import Config
from trivium.errors import ConfigError, TriviumError
from trivium.server.admin_thread import AdminThread
from trivium.server.worker import Worker
from trivium.transport.platform import listen, on_signals

log = logging.getLogger("trivium.serve")


def listening(text: str, key: str, *, reuse_port: bool = False) -> socket.socket:
    """A listening socket. Raises ConfigError if the address cannot be had."""
    host, port = split_address(text)
    try:
        return listen(host, port, reuse_port=reuse_port)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {text}: {error.strerror or error}", remedy=f"Change `[server] {key}`.", key=key
        ) from error


async def serve(config: Config, reread: Callable[[], Config], started: Callable[[Config], None]) -> None:
    """Serve until SIGTERM or SIGINT. `reread` reads the configuration anew (SIGHUP); `started` tells people.

    Raises ConfigError if an address cannot be had.
    """
    data, admin = listening(config.server.listen, "listen"), listening(config.server.admin, "admin")
    stopping = asyncio.Event()
    worker = Worker(config, [data], own=True)

    def reload() -> None:
        try:
            worker.reload(reread())
            log.warning("The configuration was read anew.")
        except TriviumError as error:
            log.error("The configuration was not changed: %s", error)

    on_signals(asyncio.get_running_loop(), {"SIGTERM": stopping.set, "SIGINT": stopping.set, "SIGHUP": reload})
    await worker.start()
    started(config)
    plane = AdminThread(admin, worker.gateway.runtime.metrics.samples)
    plane.start()
    await stopping.wait()
    await worker.drain(worker.gateway.runtime.snapshot.config.server.drain_s)
    plane.close()
