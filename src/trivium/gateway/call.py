"""A call: one request of this process at the surface. It stands for a connection, and its answer waits in it."""

from __future__ import annotations

import asyncio
import contextlib

from trivium.transport.server import WRITE_HIGH, Stream


class Call:
    """Filled on the gateway's loop and read there, by one reader; only `close` may be called from anywhere.

    What the reader has not taken is bounded as it is for a connection: then the upstream is read no further.
    """

    def __init__(self) -> None:
        self.stream: Stream | None = None
        self.status = 0
        """0: no answer yet."""
        self.head = b""
        self.body: bytes | None = None
        """Of an answer that came whole; any other is to be `read`."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._arrived = asyncio.Event()
        self._parts: list[bytes] = []
        self._size = 0
        self._paused = False
        self._over = False
        self._broken = False

    # ---- gateway.sink.Connection

    def whole(self, status: int, head: bytes, body: bytes) -> None:
        self.status, self.head, self.body, self._over = status, head, body, True
        self._arrived.set()

    def begin(self, status: int, head: bytes, first: bytes) -> None:
        self.status, self.head = status, head
        self.chunk(first)

    def chunk(self, data: bytes) -> None:
        self._parts.append(data)
        self._size += len(data)
        self._arrived.set()
        if self._size > WRITE_HIGH and not self._paused and self.stream is not None:
            self._paused = True
            self.stream.on_caller_writable(writable=False)

    def end(self, last: bytes) -> None:
        self._over = True
        self.chunk(last)

    def cut(self, last: bytes) -> None:
        self._broken = True
        self.end(last)

    # ---- its reader

    async def answered(self) -> None:
        """Wait for the head of the answer."""
        self._loop = asyncio.get_running_loop()
        while not self.status:
            self._arrived.clear()
            await self._arrived.wait()

    async def read(self) -> bytes:
        """What has come since the last time, nothing at the end. Raises ConnectionError where the answer was cut."""
        while not (self._size or self._over):
            self._arrived.clear()
            await self._arrived.wait()
        data, self._parts, self._size = b"".join(self._parts), [], 0
        if self._paused and self.stream is not None:
            self._paused = False
            self.stream.on_caller_writable(writable=True)
        if self._broken and not data:
            raise ConnectionError("The answer was cut.")
        return data

    def close(self) -> None:
        """Nobody reads on: stop the upstream. Safe to call in a collection, and at any time."""
        if not self._over and self._loop is not None:
            with contextlib.suppress(RuntimeError):  # its loop has ended, and with it the upstream
                self._loop.call_soon_threadsafe(self._leave)

    def _leave(self) -> None:
        if self.stream is not None:
            self.stream.on_caller_gone()
