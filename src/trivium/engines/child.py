"""An engine's process: started in a session of its own, its pipes always drained, its end always noticed.

Threads watch it rather than asyncio, whose child watchers work only in some threads and on some loops.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from trivium.engines.log import EngineLog
from trivium.transport.platform import spawn_kwargs

_ENVIRONMENT = (
    "PATH", "HOME", "USERPROFILE", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT", "WINDIR",
    "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH", "CUDA_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES", "OMP_WAIT_POLICY", "OMP_PROC_BIND", "OMP_PLACES", "TRIVIUM_PORTABLE",
)  # fmt: skip


_LINE_MAX_BYTES = 1 << 16
"""What says more without an end of line is logged in pieces."""


def scrubbed(env: Mapping[str, str]) -> dict[str, str]:
    """What an engine may know of our environment: where libraries are, never a key."""
    return {name: env[name] for name in _ENVIRONMENT if name in env}


class Child:
    """A running process. `on_line` gets its first line of standard output, `on_exit` its exit code (negative: signal).

    Both are called from threads. The kernel's death signal is bound to the *thread* that starts the child, so this
    is made in the thread whose end should end the engine. Raises OSError or RuntimeError where no process or thread
    is to be had.
    """

    def __init__(
        self,
        argv: Sequence[str],
        first_line: bytes,
        *,
        folder: Path,
        log: EngineLog,
        hide: str,
        on_line: Callable[[bytes], object],
        on_exit: Callable[[int], object],
    ) -> None:
        self._process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env=scrubbed(os.environ),
            **spawn_kwargs(),
        )
        self._log, self._hide = log, hide
        self._on_line, self._on_exit = on_line, on_exit
        try:
            self._drainer = self._thread(self._drain)
            self._thread(self._watch)
        except RuntimeError:  # no thread to be had: nobody would notice its end
            with self._process:
                self.kill()
            raise
        self._tell(first_line)

    @property
    def pid(self) -> int:
        return self._process.pid

    def terminate(self) -> None:
        """Ask the whole process group to end."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the whole process group."""
        self._signal(signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)

    def rss_bytes(self) -> int | None:
        """Memory that it holds; None where the system does not say."""
        try:
            pages = Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1]
        except (OSError, IndexError):
            return None
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def _signal(self, number: int) -> None:
        if self._process.poll() is not None:
            return
        with suppress(ProcessLookupError, PermissionError):  # it has ended
            if sys.platform == "win32":
                self._process.send_signal(number)
            else:
                os.killpg(self.pid, number)  # its pid is its group's: it began a session

    def _tell(self, line: bytes) -> None:
        pipe = self._process.stdin
        if pipe is None:
            raise RuntimeError("the child has no standard input")
        with suppress(OSError):  # it has died already, which `on_exit` tells
            pipe.write(line)
            pipe.flush()  # and left open: its end tells the child that we are gone

    def _thread(self, target: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=target, name=f"trivium-engine-{self.pid}", daemon=True)
        thread.start()
        return thread

    def _drain(self) -> None:
        pipe = self._process.stderr
        if pipe is not None:
            while line := pipe.readline(_LINE_MAX_BYTES):
                self._log.add(line, hide=self._hide)

    def _watch(self) -> None:
        pipe = self._process.stdout
        line = pipe.readline(4096) if pipe is not None else b""
        if line:
            self._on_line(line)
        code = self._process.wait()
        self._drainer.join(1.0)  # its last words, unless a grandchild holds the pipe
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
        self._on_exit(code)
