"""The upstream's side of HTTP/1.1: one kept-alive connection that carries one request at a time.

Callbacks only, no task and no future per request. All chunks parsed from one read are handed on in
one call, so that they can leave in one write. llhttp (in httptools) parses; what it does not bound is
bounded here: the size of a head. Source: RFC 9112.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httptools

from trivium.errors import UpstreamCut, UpstreamError, UpstreamProtocolError
from trivium.transport.upstream import Headers, Receiver, Upstream

HEAD_BYTES_MAX = 64 * 1024
"""Far above any provider's head, small enough that a hostile one costs nothing."""
DRAIN_BYTES_MAX = 64 * 1024
"""What may follow an answer's terminal event before the connection is not worth keeping."""


class UpstreamConnection(asyncio.Protocol):
    """A connection to one origin. `release` gets it back when it can carry another request."""

    __slots__ = (
        "_chunked",
        "_complete",
        "_drained",
        "_head_bytes",
        "_head_ready",
        "_headers",
        "_length_known",
        "_parser",
        "_parts",
        "_reused",
        "_touched",
        "closed",
        "idle_until",
        "keep_alive_s",
        "receiver",
        "release",
        "transport",
        "upstream",
    )

    def __init__(self, upstream: Upstream, release: Callable[[UpstreamConnection], None]) -> None:
        self.upstream = upstream
        self.release = release
        self.transport: asyncio.Transport = None  # pyright: ignore[reportAttributeAccessIssue]  # set by connection_made
        self.receiver: Receiver | None = None
        self.closed = False
        self.idle_until = 0.0
        self.keep_alive_s = 0.0
        self._parser = httptools.HttpResponseParser(self)
        self._parts: list[bytes] = []
        self._headers: Headers = []
        self._reused = False
        self._reset()

    def _reset(self) -> None:
        self._headers = []
        self._head_bytes = 0
        self._head_ready = False
        self._length_known = False
        self._complete = False
        self._touched = False
        self._drained = -1

    # ---- what an attempt calls

    def send(self, receiver: Receiver, payload: bytes) -> None:
        """Write a whole request; its answer goes to `receiver`."""
        self.receiver = receiver
        self.transport.write(payload)

    def detach(self) -> None:
        """The receiver has all it wants: keep the connection if the message ends soon, and close it if not."""
        self.receiver = None
        if self._complete:
            self._finish_message()
        else:
            self._drained = 0

    def abort(self) -> None:
        """Close at once; the upstream notices that nobody listens."""
        self.receiver = None
        self.closed = True
        self.transport.abort()

    def pause_reading(self) -> None:
        if not self.closed:
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if not self.closed:
            self.transport.resume_reading()

    # ---- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # pyright: ignore[reportAttributeAccessIssue]

    def data_received(self, data: bytes) -> None:
        if self.receiver is None and self._drained < 0:
            # Bytes on an idle connection belong to no request of ours.
            self.abort()
            return
        self._touched = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(UpstreamProtocolError(f"The upstream sent what is not HTTP/1.1: {error}."))
            return
        if not self._head_ready:
            # One read is bounded by the loop, so the limit is exceeded by one read at most.
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                self._fail(UpstreamProtocolError(f"The upstream's head is longer than {HEAD_BYTES_MAX} bytes."))
            return
        self._deliver()

    def _deliver(self) -> None:
        receiver = self.receiver
        if receiver is None:
            self._drain()
            return
        if self._headers:
            headers, self._headers = self._headers, []
            receiver.on_head(self._parser.get_status_code(), headers)
        if self._parts and self.receiver is receiver:
            parts, self._parts = self._parts, []
            receiver.on_body(parts[0] if len(parts) == 1 else b"".join(parts))
        if self._complete and self.receiver is receiver:
            self.receiver = None
            self._finish_message()
            receiver.on_end()
        elif self.receiver is None:
            self._drain()

    def _drain(self) -> None:
        """Read past what follows an answer that was complete for its receiver."""
        if self.closed or self._drained < 0:
            return
        self._drained += sum(map(len, self._parts))
        self._parts.clear()
        if self._complete:
            self._finish_message()
        elif self._drained > DRAIN_BYTES_MAX:
            self.abort()

    def _finish_message(self) -> None:
        keep = self._parser.should_keep_alive() and self._length_known
        self._reset()
        self._parts.clear()
        if keep and not self.closed:
            self._reused = True
            self.release(self)
        else:
            self.closed = True
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        was_closed, self.closed = self.closed, True
        receiver, self.receiver = self.receiver, None
        if receiver is None:
            if not was_closed:
                self.release(self)
            return
        if exc is None and self._head_ready and not self._length_known:
            receiver.on_end()  # a body without a length ends with its connection (RFC 9112, 6.3)
            return
        reason = f": {exc}" if exc and str(exc) else ""
        where = "in the middle of the answer" if self._touched else "before it answered"
        untouched = self._reused and not self._touched
        receiver.on_lost(UpstreamCut(f"The upstream closed the connection {where}{reason}."), untouched=untouched)

    def _fail(self, error: UpstreamError) -> None:
        receiver = self.receiver
        self.abort()
        if receiver is not None:
            receiver.on_lost(error, untouched=False)

    # ---- httptools; nothing here may raise

    def on_message_begin(self) -> None:
        self._headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        size = len(name)
        if (size == 14 and name.lower() == b"content-length") or (size == 17 and name.lower() == b"transfer-encoding"):
            self._length_known = True
        elif size == 10 and name.lower() == b"keep-alive":
            self.keep_alive_s = _keep_alive_timeout(value)
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= 200:
            self._head_ready = True
            if not self._headers:
                self._headers.append((b"", b""))  # a head without fields is still a head
            if status in (204, 304):
                self._length_known = True

    def on_body(self, data: bytes) -> None:
        self._parts.append(data)

    def on_message_complete(self) -> None:
        if self._head_ready:
            self._complete = True


def _keep_alive_timeout(value: bytes) -> float:
    """Seconds of `Keep-Alive: timeout=N`; 0 if it says none."""
    _, found, rest = value.partition(b"timeout=")
    digits = rest[:6].split(b",")[0].strip()
    return float(digits) if found and digits.isdigit() else 0.0
