"""Newline-delimited JSON: bytes cut into lines."""

from __future__ import annotations

from trivium.wire.sse import MAX_FRAME_BYTES, LimitExceeded


class NDJSONParser:
    """Lines out of bytes as they arrive; blank ones are left out."""

    __slots__ = ("_pending",)

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that these bytes complete. Raises LimitExceeded for one over 4 MiB."""
        pending = self._pending
        pending += data
        if b"\n" not in data:
            lines: list[bytes] = []
        else:
            *whole, rest = bytes(pending).split(b"\n")
            lines = [line for part in whole if (line := part.strip())]
            pending[:] = rest
        if len(pending) > MAX_FRAME_BYTES:
            raise LimitExceeded(f"a line of the stream is larger than {MAX_FRAME_BYTES} bytes")
        return lines

    def close(self) -> list[bytes]:
        """The last line needs no line feed."""
        rest = bytes(self._pending).strip()
        self._pending.clear()
        return [rest] if rest else []
