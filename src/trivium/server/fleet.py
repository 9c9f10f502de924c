"""The workers of a master: forked at first, spawned to replace, and what they have counted.

The first workers are forked before the master has a thread, which is quick and shares memory; later ones
are spawned, because a process with threads must not fork. Each has a listening socket of its own that the
master keeps open, so that a replacement inherits what queues there, and the reading end of a pipe that ends
when the master does.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import NoReturn

import msgspec

from trivium.telemetry.metrics import Sample
from trivium.transport.platform import ignore_newcomers, signals_held

log = logging.getLogger("trivium.master")

QUICK_S = 2.0
"""A worker that lives shorter than this is replaced after as long a pause, so that a crash loop costs little."""
TOLD = ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1")
"""The signals that a worker listens to, which wait until it can."""


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is told: how to read the configuration, and its two file descriptors."""

    config: str | None
    listen: str | None
    workers: int | None
    offline: bool
    sock_fd: int = -1
    life_fd: int = -1


class Fleet:
    """The workers that run, by process id; methods may be called from any thread.

    `work` is a forked worker's whole life.
    """

    def __init__(self, orders: Orders, work: Callable[[socket.socket, int], None]) -> None:
        self._orders = orders
        self._work = work
        self._lock = threading.Lock()
        self._running: dict[int, socket.socket] = {}
        self._samples: dict[int, list[Sample]] = {}
        self._past: dict[tuple[str, frozenset[tuple[str, str]]], int] = {}
        self._life_read, self._life_write = os.pipe()

    # ---- starting

    def fork(self, sock: socket.socket) -> None:
        """Start a worker by fork; only while this process has one thread. `watch` follows once all are forked."""
        with signals_held(TOLD):
            pid = os.fork()
            if not pid:
                self._child(sock)
        self._running[pid] = sock

    def _child(self, sock: socket.socket) -> NoReturn:
        status = 1
        try:
            os.close(self._life_write)
            for other in self._running.values():
                other.close()
            self._work(sock, self._life_read)
            status = 0
        except Exception:  # the outermost boundary: what follows ends the process without a word
            log.exception("A worker failed.")
        finally:
            os._exit(status)

    def watch(self) -> None:
        """Begin to replace workers that end."""
        for pid in list(self._running):
            self._follow(pid, lambda pid=pid: os.waitpid(pid, 0))

    def spawn(self, sock: socket.socket) -> None:
        """Start a worker as a new program, unless nobody shall listen on `sock` any more."""
        with self._lock, signals_held(TOLD):
            if sock.fileno() < 0:
                return
            orders = msgspec.structs.replace(self._orders, sock_fd=sock.fileno(), life_fd=self._life_read)
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "trivium.server.worker_main", msgspec.json.encode(orders).decode()],
                pass_fds=(sock.fileno(), self._life_read),
                stdin=subprocess.DEVNULL,
            )
            self._running[process.pid] = sock
        self._follow(process.pid, process.wait)

    def _follow(self, pid: int, wait: Callable[[], object]) -> None:
        began = time.monotonic()

        def follow() -> None:
            wait()
            self._ended(pid, time.monotonic() - began)

        threading.Thread(target=follow, name=f"trivium-worker-{pid}", daemon=True).start()

    def _ended(self, pid: int, lived_s: float) -> None:
        with self._lock:
            sock = self._running.pop(pid)
            self._bury(pid)
        if sock.fileno() < 0:
            return
        log.warning("Worker %d ended and is replaced.", pid)
        if lived_s < QUICK_S:
            time.sleep(QUICK_S)
        self.spawn(sock)

    # ---- telling

    def signal(self, name: str) -> None:
        """Send a signal to every worker."""
        with self._lock:
            for pid in self._running:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.Signals[name])

    def retire(self, sock: socket.socket) -> None:
        """Let the worker of a socket finish, and close the socket: nobody listens there any more.

        Closed here first, so that the worker, which accepts whoever is left in it, is the last to hold it.
        """
        with self._lock:
            ignore_newcomers(sock)
            sock.close()
            for pid, mine in self._running.items():
                if mine is sock:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGTERM)

    def close(self, limit_s: float) -> None:
        """Wait for all workers, which were retired; those that take longer than `limit_s` are killed."""
        deadline = time.monotonic() + limit_s
        while self._running and time.monotonic() < deadline:
            time.sleep(0.02)
        self.signal("SIGKILL")

    # ---- what they have counted

    def counted(self, pid: int, samples: list[Sample]) -> None:
        """A worker's own counters, since its start."""
        with self._lock:
            if pid in self._running:
                self._samples[pid] = samples

    def samples(self) -> Iterable[Sample]:
        """The counters of all workers, past ones included."""
        with self._lock:
            yield from [(name, dict(labels), value) for (name, labels), value in self._past.items()]
            for samples in self._samples.values():
                yield from samples

    def _bury(self, pid: int) -> None:
        """Keep what a worker that ended had counted; its gauges end with it."""
        for name, labels, value in self._samples.pop(pid, []):
            if name.endswith("_total"):
                key = (name, frozenset(labels.items()))
                self._past[key] = self._past.get(key, 0) + value
