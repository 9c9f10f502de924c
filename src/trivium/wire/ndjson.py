"""Newline-delimited JSON: bytes cut into lines, and the plainest lines known by a pattern."""

from __future__ import annotations

import re

from trivium.wire.sse import BOM, MAX_FRAME_BYTES, LimitExceeded

_TEXT = rb'[^"\\\x00-\x1f]*+(?:\\["\\/bfnrt][^"\\\x00-\x1f]*+)*+'
"""The inside of a JSON string without `\\u`."""


class LineCutter:
    """Cuts a stream into raw lines, each with the line feed that ends it; without marks of byte order."""

    __slots__ = ("pending",)

    def __init__(self) -> None:
        self.pending = bytearray()
        """The beginning of a line whose end has not arrived."""

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that these bytes complete. Raises LimitExceeded for one over 4 MiB."""
        pending = self.pending
        if not pending and data and data.find(b"\n") == len(data) - 1:
            return [data.removeprefix(BOM)]
        pending += data
        lines: list[bytes] = []
        if b"\n" in data:
            *whole, rest = bytes(pending).split(b"\n")
            lines = [line.removeprefix(BOM) + b"\n" for line in whole]
            pending[:] = rest
        if len(pending) > MAX_FRAME_BYTES:
            raise LimitExceeded(f"a line of the stream is larger than {MAX_FRAME_BYTES} bytes")
        return lines

    def close(self) -> bytes:
        """What is left: a line that was never ended."""
        rest = bytes(self.pending).removeprefix(BOM)
        self.pending.clear()
        return rest


class NDJSONParser:
    """Lines out of bytes as they arrive; blank ones are left out."""

    __slots__ = ("_cutter",)
    comments = 0
    """This wire has none."""

    def __init__(self) -> None:
        self._cutter = LineCutter()

    @property
    def pending(self) -> bool:
        """A line has begun."""
        return bool(self._cutter.pending)

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that these bytes complete. Raises LimitExceeded for one over 4 MiB."""
        return [line for raw in self._cutter.feed(data) if (line := raw.strip())]

    def close(self) -> list[bytes]:
        """The last line needs no line feed."""
        rest = self._cutter.close().strip()
        return [rest] if rest else []


class PlainLines:
    """A dialect's lines that say nothing but a text, by what stands around it."""

    def __init__(self, before: bytes, after: bytes) -> None:
        """Both are regular expressions, `before` ending with the text's quote, `after` beginning with it."""
        line = rb'%b(?!")(%b)%b\n' % (before, _TEXT, after)
        self._each = re.compile(line).findall
        self._all = re.compile(rb"(?:%b)++" % line).fullmatch

    def count(self, data: bytes) -> int:
        """How many such lines `data` is; 0 if there is anything else in it."""
        return data.count(b"\n") if self._all(data) else 0

    def texts(self, data: bytes) -> list[bytes]:
        """The insides of their JSON strings, as they are written; none if there is anything else in `data`."""
        return self._each(data) if self._all(data) else []
