"""What differs between operating systems, behind one set of names.

`_posix` has Unix sockets, `flock`, `prctl` and uvloop; `_portable` does the same with what every platform
has. The choice is made once, here: the portable twin on Windows, and anywhere under `TRIVIUM_PORTABLE=1`,
so that the whole suite can run on it. Nothing else in the program asks for the platform.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

PORTABLE = sys.platform == "win32" or os.environ.get("TRIVIUM_PORTABLE") == "1"

if PORTABLE:
    from trivium.transport._portable import (
        FileLock,
        connect_local,
        die_with_parent,
        ignore_newcomers,
        listen,
        new_event_loop,
        on_signals,
        peer_is_same_user,
        serve_local,
        signals_held,
        spawn_kwargs,
    )
else:
    from trivium.transport._posix import (
        FileLock,
        connect_local,
        die_with_parent,
        ignore_newcomers,
        listen,
        new_event_loop,
        on_signals,
        peer_is_same_user,
        serve_local,
        signals_held,
        spawn_kwargs,
    )

__all__ = [
    "PORTABLE",
    "FileLock",
    "connect_local",
    "die_with_parent",
    "ignore_newcomers",
    "listen",
    "new_event_loop",
    "on_signals",
    "peer_is_same_user",
    "run",
    "serve_local",
    "signals_held",
    "spawn_kwargs",
    "watch_stdin_eof",
]

_T = TypeVar("_T")


def run(main: Coroutine[Any, Any, _T]) -> _T:
    """Run `main` on a new loop of the fastest kind; the process's event loop policy stays as it was."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(main)


def watch_stdin_eof(callback: Callable[[], object]) -> None:
    """Call `callback` once, from a thread of its own, when standard input ends: the parent has gone.

    A pipe that the parent holds open is the one sign of its life that every platform has.
    """

    def wait() -> None:
        try:
            while os.read(0, 4096):
                pass
        except OSError:
            pass  # standard input is closed: nobody can be at its other end
        callback()

    threading.Thread(target=wait, name="trivium-stdin-eof", daemon=True).start()
