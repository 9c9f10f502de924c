"""The processes of a running `trivium serve`: its workers and its engines, as the kernel lists them."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import pytest

from support import Served
from trivium.transport.platform import PORTABLE

MANY = pytest.mark.skipif(
    PORTABLE or sys.platform != "linux", reason="POSIX only: several worker processes, counted in Linux's /proc"
)


def running(pid: int) -> bool:
    """Whether there is such a process, and it has not ended."""
    return _parent(pid) is not None


def heeds(pid: int) -> bool:
    """Whether a process has a handler for SIGHUP."""
    status = Path(f"/proc/{pid}/status").read_text()
    return bool(int(status.partition("SigCgt:")[2].split()[0], 16) & 1)


def children(pid: int) -> dict[int, str]:
    """The command lines of a process's children that have not ended."""
    found: dict[int, str] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if _parent(int(folder.name)) == pid:
                found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return found


def workers(served: Served) -> set[int]:
    """Forked ones are called as their master is, spawned ones by their module."""
    return {pid for pid, line in children(served.process.pid).items() if " serve " in line or "worker_main" in line}


def engines(served: Served) -> set[int]:
    return {pid for pid, line in children(served.process.pid).items() if "llamacpp_worker" in line}


def _parent(pid: int) -> int | None:
    """None: no such process, or one that has ended and waits to be reaped."""
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except OSError:
        return None
    return None if state in "ZX" else int(parent)
