"""The caller's side of HTTP/1.1: one connection, its requests one after another.

Strict where leniency is how requests are smuggled: llhttp refuses `Content-Length` beside
`Transfer-Encoding`, bare line feeds and folded fields; sizes and times are bounded here. The
connection keeps reading while a request is in flight, or its caller's leaving would go unnoticed;
bytes of later requests wait unparsed. Source: RFC 9112.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

import httptools
import msgspec

from trivium.transport.upstream import Headers

HEAD_BYTES_MAX = 64 * 1024
HEADERS_MAX = 128
BODY_BYTES_MAX = 32 * 1024 * 1024
"""Room for a long conversation with images; peers' 32 KB and 4 MB limits are among their users' complaints."""
PIPELINE_MAX = 16
"""Requests that one connection may send ahead."""
AHEAD_BYTES_MAX = 256 * 1024
"""Bytes of later requests that wait while one is in flight; then the connection is read no further."""
WRITE_HIGH = 64 * 1024
WRITE_LOW = 16 * 1024
UPLOAD_S = 30.0
"""How long a request may take to arrive; a slow-loris upload is cut off then."""
IDLE_S = 300.0
"""How long a caller may keep a connection without a request."""

REASONS = {
    200: b"OK", 202: b"Accepted", 204: b"No Content", 400: b"Bad Request", 401: b"Unauthorized",
    402: b"Payment Required", 403: b"Forbidden", 404: b"Not Found", 405: b"Method Not Allowed",
    408: b"Request Timeout", 411: b"Length Required", 413: b"Content Too Large", 415: b"Unsupported Media Type",
    421: b"Misdirected Request", 429: b"Too Many Requests", 431: b"Request Header Fields Too Large",
    499: b"Client Closed Request", 500: b"Internal Server Error", 501: b"Not Implemented", 502: b"Bad Gateway",
    503: b"Service Unavailable", 504: b"Gateway Timeout",
}  # fmt: skip


class HttpRequest(msgspec.Struct, kw_only=True):
    """One request as it came. `target` is the raw request target; header names keep their spelling."""

    method: bytes
    target: bytes
    headers: Headers
    body: bytes


class Stream(Protocol):
    """Whoever answers a request and wants to know what becomes of its caller."""

    def on_caller_gone(self) -> None: ...
    def on_caller_writable(self, *, writable: bool) -> None: ...


class Service(Protocol):
    """What answers requests; called from the loop, never blocks."""

    def handle(self, connection: CallerConnection, request: HttpRequest) -> None: ...
    def refuse(self, connection: CallerConnection, target: bytes, status: int, message: str) -> None:
        """Answer what could not become a request, in the dialect of its path; the connection closes afterwards."""
        ...


class CallerConnection(asyncio.Protocol):
    """A caller's connection. The service answers through `whole`, or `begin`, `chunk` and `end`."""

    __slots__ = (
        "_ahead",
        "_ahead_bytes",
        "_arriving",
        "_body_bytes",
        "_body_parts",
        "_chunked_answer",
        "_closing",
        "_connections",
        "_head_bytes",
        "_headers",
        "_keep_alive",
        "_parser",
        "_queue",
        "_reading",
        "_refused",
        "_service",
        "_since",
        "_target",
        "busy",
        "gone",
        "stream",
        "transport",
    )

    def __init__(self, service: Service, connections: set[CallerConnection]) -> None:
        self._service = service
        self._connections = connections
        self.transport: asyncio.Transport = None  # pyright: ignore[reportAttributeAccessIssue]  # set by connection_made
        self.stream: Stream | None = None
        self.busy = False
        self.gone = False
        self._arriving = False
        self._since = 0.0
        """When this connection began to wait for bytes, on the loop's clock; 0: `expire` has not looked since."""
        self._queue: deque[tuple[HttpRequest, bool]] = deque()
        self._ahead: list[bytes] = []
        self._ahead_bytes = 0
        self._reading = True
        self._closing = False
        self._keep_alive = True
        self._chunked_answer = False
        self._refused: tuple[int, str] | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._clear()

    def _clear(self) -> None:
        self._target = b""
        self._headers: Headers = []
        self._head_bytes = 0
        self._body_parts: list[bytes] = []
        self._body_bytes = 0

    # ---- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # pyright: ignore[reportAttributeAccessIssue]
        self.transport.set_write_buffer_limits(high=WRITE_HIGH, low=WRITE_LOW)
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        if self.busy or self._queue or self._ahead:
            self._hold(data)
        else:
            self._feed(data)

    def _hold(self, data: bytes) -> None:
        self._ahead.append(data)
        self._ahead_bytes += len(data)
        if self._ahead_bytes > AHEAD_BYTES_MAX and self._reading:
            self._reading = False
            self.transport.pause_reading()

    def _feed(self, data: bytes) -> None:
        if self._closing:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # Upgrades are optional (RFC 9110, 7.8); the request itself is complete and is answered.
            self._parser = httptools.HttpRequestParser(self)
        except httptools.HttpParserError as error:
            self._refuse(400, f"This is not a well-formed HTTP/1.1 request: {error}.")
        if self._refused is None and self._head_bytes > HEAD_BYTES_MAX:
            self._refused = (431, f"The request's head is longer than {HEAD_BYTES_MAX} bytes.")
        if self._refused is not None and not self._closing:
            self._refuse(*self._refused)
        if not self.busy:
            self._next()

    def _next(self) -> None:
        if self._queue and not self.gone:
            request, self._keep_alive = self._queue.popleft()
            self.busy = True
            self._service.handle(self, request)

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone = True
        self._connections.discard(self)
        self._queue.clear()
        self._ahead.clear()
        stream, self.stream = self.stream, None
        if stream is not None:
            stream.on_caller_gone()

    def pause_writing(self) -> None:
        if self.stream is not None:
            self.stream.on_caller_writable(writable=False)

    def resume_writing(self) -> None:
        if self.stream is not None:
            self.stream.on_caller_writable(writable=True)

    # ---- httptools; nothing here may raise

    def on_message_begin(self) -> None:
        self._clear()
        self._arriving = True
        self._since = 0.0

    def on_url(self, url: bytes) -> None:
        self._target += url
        self._head_bytes += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value)
        if len(self._headers) < HEADERS_MAX:
            self._headers.append((name, value))
        else:
            self._refused = (431, f"The request has more than {HEADERS_MAX} header fields.")

    def on_headers_complete(self) -> None:
        for name, value in self._headers:
            size = len(name)
            if size == 14 and name.lower() == b"content-length" and int(value) > BODY_BYTES_MAX:
                self._refused = (413, f"The request's body is larger than {BODY_BYTES_MAX} bytes.")
            elif size == 6 and name.lower() == b"expect" and value.lower() == b"100-continue" and not self.busy:
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, data: bytes) -> None:
        self._body_bytes += len(data)
        if self._body_bytes > BODY_BYTES_MAX:
            self._refused = (413, f"The request's body is larger than {BODY_BYTES_MAX} bytes.")
        elif self._refused is None:
            self._body_parts.append(data)

    def on_message_complete(self) -> None:
        self._arriving = False
        self._since = 0.0
        if self._refused is not None:
            return
        if len(self._queue) >= PIPELINE_MAX:
            self._refused = (400, f"More than {PIPELINE_MAX} requests were sent ahead.")
            return
        parts = self._body_parts
        request = HttpRequest(
            method=self._parser.get_method(),
            target=self._target,
            headers=self._headers,
            body=parts[0] if len(parts) == 1 else b"".join(parts),
        )
        self._queue.append((request, self._parser.should_keep_alive()))

    # ---- what the service calls

    def whole(self, status: int, head: bytes, body: bytes) -> None:
        """Answer in one write. `head` holds complete header lines; length and connection are added here."""
        if self.gone:
            return
        close = b"" if self._keep_alive else b"connection: close\r\n"
        reason = REASONS.get(status, b"Unknown")
        self.transport.write(
            b"HTTP/1.1 %d %b\r\n%b%bcontent-length: %d\r\n\r\n%b" % (status, reason, head, close, len(body), body)
        )
        self._done()

    def begin(self, status: int, head: bytes, first: bytes) -> None:
        """Begin a chunked answer, with its first bytes in the same write."""
        if self.gone:
            return
        close = b"" if self._keep_alive else b"connection: close\r\n"
        start = b"HTTP/1.1 %d %b\r\n%b%btransfer-encoding: chunked\r\n\r\n" % (status, REASONS[status], head, close)
        self.transport.write(b"%b%x\r\n%b\r\n" % (start, len(first), first) if first else start)

    def chunk(self, data: bytes) -> None:
        """One chunk; `data` is not empty."""
        if not self.gone:
            self.transport.write(b"%x\r\n%b\r\n" % (len(data), data))

    def end(self, last: bytes = b"") -> None:
        """The clean end of a chunked answer, with its last bytes in the same write."""
        if self.gone:
            return
        self.transport.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(last), last) if last else b"0\r\n\r\n")
        self._done()

    def cut(self, last: bytes = b"") -> None:
        """The unclean end: the last bytes, no final chunk, and the connection closes."""
        if self.gone:
            return
        if last:
            self.chunk(last)
        self.stream = None
        self.close()

    def close(self) -> None:
        """Close once everything written has left."""
        self._closing = True
        self.transport.close()

    def _done(self) -> None:
        self.busy = False
        self.stream = None
        if not self._keep_alive or self._closing:
            self.close()
            return
        if self._queue:
            # Through the loop, so that a pipeline of cheap requests does not recurse.
            asyncio.get_running_loop().call_soon(self._next)
        elif self._ahead:
            asyncio.get_running_loop().call_soon(self._feed_ahead)

    def _feed_ahead(self) -> None:
        data, self._ahead, self._ahead_bytes = b"".join(self._ahead), [], 0
        if not self._reading and not self.gone:
            self._reading = True
            self.transport.resume_reading()
        if data and not self.gone:
            self._feed(data)

    def _refuse(self, status: int, message: str) -> None:
        """Say what is wrong, after the answers of earlier requests, and close."""
        self._keep_alive = False
        self._closing = True
        self._queue.clear()
        if self.busy:
            self.transport.close()
            return
        self.busy = True
        self._service.refuse(self, self._target, status, message)

    def expire(self, now: float) -> None:
        """Refuse a request that takes too long to arrive, and close what nobody uses; called now and then."""
        if self.busy or self._closing:
            self._since = 0.0
        elif not self._since:
            self._since = now
        elif self._arriving and now - self._since > UPLOAD_S:
            self._refuse(408, f"The request did not arrive within {UPLOAD_S:.0f} s.")
        elif now - self._since > IDLE_S:
            self.close()

    def drain(self) -> None:
        """Close when the request in flight is answered; at once if there is none."""
        self._keep_alive = False
        if not self.busy:
            self.close()


Factory = Callable[[], CallerConnection]
