"""What an engine says: the last lines in memory, all of it in a file that rotates. Never a prompt, never the key."""

from __future__ import annotations

import time
from collections import deque
from pathlib import Path

from trivium.config.home import make_private

_LINE_MAX = 2000
_FILE_MAX_BYTES = 1 << 20
_LINES_KEPT = 200


class EngineLog:
    """The log of one engine at `path`; its predecessor is kept once, as `<path>.1`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._last_s = time.monotonic()
        self._lines: deque[str] = deque(maxlen=_LINES_KEPT)
        self._size = 0

    def add(self, line: bytes, *, hide: str = "") -> None:
        """Keep one line, with the secret `hide` blotted out. Called from the thread that drains the pipe."""
        text = line.decode("utf-8", "replace").rstrip()
        if hide:
            text = text.replace(hide, "…")  # before a cut leaves half of it
        text = "".join(letter if letter.isprintable() else " " for letter in text[:_LINE_MAX])
        self.touch()
        self._lines.append(text)
        try:
            self._write(text)
        except OSError:
            pass  # a full disk must not stop the engine; the lines in memory remain

    def touch(self) -> None:
        """Begin counting the silence anew."""
        self._last_s = time.monotonic()

    def silent_s(self) -> float:
        """Seconds since the last line: a loading engine that still talks is not stuck."""
        return time.monotonic() - self._last_s

    def tail(self, count: int = 8) -> list[str]:
        """The last lines, oldest first."""
        return list(self._lines)[-count:]

    def _write(self, text: str) -> None:
        make_private(self.path.parent)
        if self._size > _FILE_MAX_BYTES:
            self.path.replace(self.path.with_name(self.path.name + ".1"))
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {text}\n")
            self._size = file.tell()
