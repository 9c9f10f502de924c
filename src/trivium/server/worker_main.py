"""A worker's whole life, forked or spawned: serve one socket until the master says stop, or is gone."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import sys
from collections.abc import Callable

from trivium.errors import TriviumError
from trivium.server import handover
from trivium.server.worker import Worker
from trivium.transport.platform import ignore_newcomers, on_signals, run

log = logging.getLogger("trivium.worker")

COUNT_S = 1.0
"""How often the master is told what was counted."""
ORPHAN_S = 30.0
"""How long a worker without a master may take to finish what is in flight."""


def logged(reload: Callable[[], None]) -> Callable[[], None]:
    """`reload` as the handler of a signal: what is wrong is said in the log."""

    def run() -> None:
        try:
            reload()
        except TriviumError as error:
            log.error("The configuration was not changed: %s", error)

    return run


async def work(sock: socket.socket, life_fd: int, config_fd: int) -> None:
    """Serve until SIGTERM, or until the pipe `life_fd` ends because the master did; SIGUSR1 ends the drain as well.

    A second SIGTERM does not: service managers send it to the master and to each of its workers. SIGHUP means that
    there is another configuration at `config_fd`.
    """
    loop = asyncio.get_running_loop()
    stopping, hurry = asyncio.Event(), asyncio.Event()
    config = handover.get(config_fd)
    drain_s = config.server.drain_s
    worker = Worker(config, [sock])

    def reload() -> None:
        nonlocal drain_s
        fresh = handover.get(config_fd)
        worker.reload(fresh)
        drain_s = fresh.server.drain_s

    def orphaned() -> None:
        nonlocal drain_s
        loop.remove_reader(life_fd)
        drain_s = min(drain_s, ORPHAN_S)
        ignore_newcomers(sock)
        stopping.set()

    handlers = {"SIGTERM": stopping.set, "SIGINT": lambda: None, "SIGHUP": logged(reload), "SIGUSR1": hurry.set}
    on_signals(loop, handlers)
    loop.add_reader(life_fd, orphaned)
    await worker.start()
    counting = loop.create_task(_count(worker))
    await stopping.wait()
    counting.cancel()
    await worker.drain(drain_s, hurry)


async def _count(worker: Worker) -> None:
    """Tell the master what was counted, now and then."""
    while True:
        samples = list(worker.gateway.runtime.metrics.samples())
        with contextlib.suppress(TriviumError):
            await worker.gateway.control.call("metrics", pid=os.getpid(), samples=samples)
        await asyncio.sleep(COUNT_S)


def live(sock: socket.socket, life_fd: int, config_fd: int) -> int:
    """A worker's whole life; returns its exit code."""
    try:
        run(work(sock, life_fd, config_fd))
    except TriviumError as error:
        log.error("A worker failed: %s", error)
        return error.exit_code
    return 0


def main() -> int:
    """The entry of a spawned worker; its arguments are the descriptors that `live` takes."""
    sock_fd, life_fd, config_fd = map(int, sys.argv[1:])
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    sock = socket.socket(fileno=sock_fd)
    sock.setblocking(False)
    return live(sock, life_fd, config_fd)


if __name__ == "__main__":
    sys.exit(main())
