"""`trivium serve`: a master and its workers.

The master binds the sockets, forks the workers, and owns what they share: the home with its ledger and
engines, the admin plane, the counters. Where processes cannot be forked, one process does both.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Any

import msgspec

from trivium.config.home import check_home
from trivium.config.listen import split_address
from trivium.config.schema import Config
from trivium.errors import ConfigError, TriviumError
from trivium.gateway.control import Handler
from trivium.server import handover
from trivium.server.admin_thread import AdminThread
from trivium.server.fleet import Fleet
from trivium.server.worker import Worker
from trivium.server.worker_main import live, logged
from trivium.telemetry.metrics import Sample
from trivium.transport.platform import PORTABLE, listen, on_signals, run

Started = Callable[[Config], None]

log = logging.getLogger("trivium.master")

GRACE_S = 3.0
"""Beyond the drain time, before a worker that does not end is killed."""


def serve(read: Callable[[], Config], started: Started) -> None:
    """Serve until SIGTERM or SIGINT; a second one ends the drain too. SIGHUP reads the configuration anew.

    Raises ConfigError if the configuration or an address cannot be used.
    """
    config = read()
    check_home(config.home)
    admin = listening(config.server.admin, "admin")
    if PORTABLE:
        run(_alone(config, read, admin, started))
        return

    def worker(sock: socket.socket, life_fd: int) -> int:
        admin.close()
        return live(sock, life_fd, fleet.config_fd)

    listening(config.server.listen, "listen").close()  # a shared port would join another server's in silence
    fleet = Fleet(config, worker)
    sockets: list[socket.socket] = []
    for _ in range(config.server.workers):
        # Bound one by one, so that no worker holds the socket of a later one.
        sockets.append(listening(config.server.listen, "listen", reuse_port=True))
        fleet.fork(sockets[-1])
    fleet.watch()
    run(Master(config, read, fleet, sockets).main(admin, started))


def listening(text: str, key: str, *, reuse_port: bool = False) -> socket.socket:
    """A listening socket. Raises ConfigError if the address cannot be had."""
    host, port = split_address(text)
    try:
        return listen(host, port, reuse_port=reuse_port)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {text}: {error.strerror or error}", remedy=f"Change `[server] {key}`.", key=key
        ) from error


class Master:
    """The process that owns; its workers serve."""

    def __init__(self, config: Config, read: Callable[[], Config], fleet: Fleet, sockets: list[socket.socket]) -> None:
        self._config = config
        self._read = read
        self._fleet = fleet
        self._sockets = sockets

    async def main(self, admin: socket.socket, started: Started) -> None:
        loop = asyncio.get_running_loop()
        stopping = asyncio.Event()

        def stop() -> None:
            if stopping.is_set():
                self._fleet.signal("SIGUSR1")
            stopping.set()

        on_signals(loop, {"SIGTERM": stop, "SIGINT": stop, "SIGHUP": logged(self.reload)})
        from trivium.gateway.owner import Owner  # after the workers have begun, who do without it

        owner = Owner(self._config, {"metrics": self._counted, "reload": _on(loop, self.reload)})
        owner.start()
        _tell(started, self._config)
        plane = AdminThread(admin, self._fleet.samples)
        plane.start()
        await stopping.wait()
        for sock in self._sockets:
            self._fleet.retire(sock)
        await asyncio.to_thread(self._fleet.close, self._config.server.drain_s + GRACE_S)
        plane.close()
        await asyncio.to_thread(owner.close)

    async def _counted(self, message: dict[str, Any]) -> object:
        told = msgspec.convert(message, _Counted)
        self._fleet.counted(told.pid, told.samples)
        return {}

    def reload(self) -> None:
        """Check the configuration here, then hand it to every worker. Raises ConfigError; nothing changes then.

        Only another address or number of workers starts workers; those that are no longer needed finish first.
        On the loop only, which keeps two at a time apart.
        """
        config = self._read()
        _keep(self._config, config, "admin")
        before, fresh = self._config.server, self._sockets
        if config.server.listen != before.listen:
            listening(config.server.listen, "listen").close()
            fresh = self._more(config, config.server.workers)
        elif config.server.workers != before.workers:
            fresh = [
                *self._sockets[: config.server.workers],
                *self._more(config, config.server.workers - before.workers),
            ]
        handover.put(self._fleet.config_fd, config)  # the last that can fail
        old, self._sockets, self._config = self._sockets, fresh, config
        self._fleet.signal("SIGHUP")
        for sock in fresh:
            if sock not in old:
                self._fleet.keep(sock)
        for sock in old:
            if sock not in fresh:
                self._fleet.retire(sock)

    @staticmethod
    def _more(config: Config, count: int) -> list[socket.socket]:
        return [listening(config.server.listen, "listen", reuse_port=True) for _ in range(count)]


class _Counted(msgspec.Struct, frozen=True):
    pid: int
    samples: list[Sample]


def _keep(before: Config, after: Config, *names: str) -> None:
    """Raises ConfigError where one of these keys has changed, which needs a new start."""
    if before.trusted and not after.trusted:
        raise ConfigError(
            f"`{after.file}` has changed since it was trusted: its keys would guard nobody any more.",
            remedy="`trivium config trust`, then reload.",
        )
    for name in names:
        if getattr(before.server, name) != getattr(after.server, name):
            raise ConfigError(
                f"`[server] {name}` cannot change while this server runs.",
                remedy="Restart `trivium serve`, or put the old value back.",
                key=f"server.{name}",
            )


def _tell(started: Started, config: Config) -> None:
    """Say that it serves; whoever cannot be told, or a place that cannot be named, ends no server."""
    try:
        started(config)
    except (OSError, TriviumError) as error:
        log.warning("What is served could not be said: %s", error)


def _on(loop: asyncio.AbstractEventLoop, work: Callable[[], None]) -> Handler:
    """`work` as what the owner is asked, whose loop is another: done on `loop`, as a signal's handler is."""

    async def told(_message: dict[str, Any]) -> object:
        async def here() -> None:
            work()

        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(here(), loop))
        return {}

    return told


async def _alone(config: Config, read: Callable[[], Config], admin: socket.socket, started: Started) -> None:
    """One process that is master and worker."""
    loop = asyncio.get_running_loop()
    stopping, hurry = asyncio.Event(), asyncio.Event()
    worker = Worker(config, [listening(config.server.listen, "listen")])

    def reload() -> None:
        fresh = read()
        _keep(config, fresh, "listen", "workers", "admin")
        worker.reload(fresh)

    def stop() -> None:
        (hurry if stopping.is_set() else stopping).set()

    on_signals(loop, {"SIGTERM": stop, "SIGINT": stop, "SIGHUP": logged(reload)})
    from trivium.gateway.owner import Owner

    owner = Owner(config, {"reload": _on(loop, reload)})
    owner.start()
    await worker.start()
    _tell(started, config)
    plane = AdminThread(admin, worker.gateway.runtime.metrics.samples)
    plane.start()
    await stopping.wait()
    await worker.drain(worker.gateway.runtime.snapshot.config.server.drain_s, hurry)
    plane.close()
    await asyncio.to_thread(owner.close)
