"""The workers of a master: forked at first, spawned to replace, and what they have counted.

The first workers are forked before the master has a thread, which is quick and shares memory; later ones
are spawned, because a process with threads must not fork. Each has a listening socket of its own that the
master keeps open, so that a replacement inherits what queues there, the reading end of a pipe that ends
when the master does, and the configuration that the master has checked: none reads it from the files.
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

from trivium.config.schema import Config
from trivium.server import handover
from trivium.telemetry.metrics import Sample
from trivium.transport.platform import ignore_newcomers, signals_held

log = logging.getLogger("trivium.master")

QUICK_S = 2.0
"""A worker that lives shorter than this, or cannot be started, is replaced after a pause that grows to as long, so
that a crash loop costs little."""
TOLD = ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1")
"""The signals that a worker listens to, which wait until it can."""


_Started = tuple[int, Callable[[], int]]
"""A worker's process id, and what waits for its end: returns its exit code, or minus the signal."""


class Fleet:
    """The workers that run, by process id; methods may be called from any thread.

    `work` is a forked worker's whole life, and returns its exit code.
    """

    def __init__(self, config: Config, work: Callable[[socket.socket, int], int]) -> None:
        """Raises ConfigError, OSError."""
        self.config_fd = handover.nameless()
        handover.put(self.config_fd, config)
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
            status = self._work(sock, self._life_read)
        except Exception:  # the outermost boundary: what follows ends the process without a word
            log.exception("A worker failed.")
        finally:
            os._exit(status)

    def watch(self) -> None:
        """Begin to replace workers that end."""
        for pid, sock in list(self._running.items()):
            self.keep(sock, (pid, lambda pid=pid: os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])))

    def keep(self, sock: socket.socket, worker: _Started | None = None) -> None:
        """Keep a worker at `sock` until nobody shall listen there any more; without one, begin with a new program."""
        threading.Thread(target=self._keep, args=(sock, worker), name="trivium-keeper", daemon=True).start()

    def _keep(self, sock: socket.socket, worker: _Started | None) -> None:
        pause_s = 0.0
        while True:
            began = time.monotonic()
            try:
                worker = worker or self._spawned(sock)
                if worker is None:
                    return
            except OSError as error:
                log.error("A worker cannot be started, which is tried again: %s", error)
            else:
                self._ended(sock, worker[0], worker[1]())
                worker = None
            pause_s = min(2 * pause_s + 0.25, QUICK_S) if time.monotonic() - began < QUICK_S else 0.0
            time.sleep(pause_s)

    def _spawned(self, sock: socket.socket) -> _Started | None:
        """A worker as a new program; None if nobody shall listen on `sock` any more. Raises OSError."""
        with self._lock, signals_held(TOLD):
            if sock.fileno() < 0:
                return None
            inherited = (sock.fileno(), self._life_read, self.config_fd)
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "trivium.server.worker_main", *map(str, inherited)],
                pass_fds=inherited,
                stdin=subprocess.DEVNULL,
            )
            self._running[process.pid] = sock
        return process.pid, process.wait

    def _ended(self, sock: socket.socket, pid: int, code: int) -> None:
        with self._lock:
            del self._running[pid]
            self._bury(pid)
            retired = sock.fileno() < 0
        if not retired:
            how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
            log.warning("Worker %d ended %s and is replaced.", pid, how)

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
