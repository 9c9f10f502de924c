"""The caller's side of HTTP/1.1: one connection, its requests one after another.

Strict where leniency is how requests are smuggled: llhttp refuses `Content-Length` beside
`Transfer-Encoding`, bare line feeds and folded fields. What it lets pass is mended here: bodies behind `Upgrade`,
trailers among the fields, codings before `chunked`, foreign versions, `Host` missing or twice, and all sizes and times.
The connection keeps reading while a request is in flight, or its caller's leaving would go unnoticed; bytes of later
requests wait unparsed. The end of the caller's stream is its leaving, as it is for nginx: a program that hangs up
sends nothing else, and an answer that nobody reads costs money. Source: RFC 9112.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from typing import Protocol

import httptools
import msgspec

HEAD_BYTES_MAX = 64 * 1024
HEADERS_MAX = 128
BODY_BYTES_MAX = 32 * 1024 * 1024
"""Room for a long conversation with images; peers' 32 KB and 4 MB limits are among their users' complaints."""
PIPELINE_MAX = 16
"""Requests that one connection may send ahead."""
AHEAD_BYTES_MAX = 256 * 1024
"""Bytes of later requests that wait while one is in flight; then the connection is read no further."""
KNOWN_BYTES_MAX = 4096
"""How long a head may be that a connection remembers."""
WRITE_HIGH = 64 * 1024
WRITE_LOW = 16 * 1024
UPLOAD_S = 30.0
"""How long a request may take to arrive, and as much longer as its bytes take at the rate below; then it is refused."""
UPLOAD_BYTES_PER_S = 64 * 1024
"""Slower than any line that people use, faster than a slow loris, which holds a connection by a byte now and then."""
IDLE_S = 300.0
"""How long a caller may keep a connection without a request."""
LINGER_S = 0.5
"""How long, once the server drains: a request on its way is served."""
CLOSE_S = 10.0
"""How long a caller may take to read the last answer; a connection that has not closed by then is dropped."""

REASONS = {
    200: b"OK", 202: b"Accepted", 204: b"No Content", 400: b"Bad Request", 401: b"Unauthorized",
    402: b"Payment Required", 403: b"Forbidden", 404: b"Not Found", 405: b"Method Not Allowed",
    408: b"Request Timeout", 411: b"Length Required", 413: b"Content Too Large", 415: b"Unsupported Media Type",
    421: b"Misdirected Request", 429: b"Too Many Requests", 431: b"Request Header Fields Too Large",
    499: b"Client Closed Request", 500: b"Internal Server Error", 501: b"Not Implemented", 502: b"Bad Gateway",
    503: b"Service Unavailable", 504: b"Gateway Timeout", 505: b"HTTP Version Not Supported",
}  # fmt: skip


Fields = dict[bytes, bytes]
"""Header fields by their names in lower case; repeated ones are joined with commas (RFC 9110, 5.3)."""
_LENGTH = re.compile(rb"\r\nContent-Length:[ \t]*(\d{1,7})\r\n", re.IGNORECASE)
_NEVER_TWICE = (b"transfer-encoding", b"expect")
"""Fields whose requests are always parsed."""


class Head(msgspec.Struct):
    """A request's head as it came. `target` is the raw request target."""

    method: bytes
    target: bytes
    fields: Fields
    note: object = None
    """What the service found out about requests with this head; the next ones may come with it too."""


class Known(msgspec.Struct):
    """A head that was parsed, in the bytes that it came in: around the digits of its length.

    Most connections send one head again and again. What is the same bytes but for these digits needs no parser.
    """

    start: bytes
    rest: bytes
    head: Head

    def lengths(self, data: bytes) -> tuple[int, int]:
        """Bytes of the body and of the head, where `data` begins with this head as a whole; else zeros."""
        if data.startswith(self.start):
            at = len(self.start)
            stop = data.find(b"\r", at, at + 8)
            if data.startswith(self.rest, stop) and data[at:stop].isdigit():
                return int(data[at:stop]), stop + len(self.rest)
        return 0, 0


def _known(data: bytes, head: Head) -> Known | None:
    """What to remember of a head at the beginning of `data`; None if it is not all there, or one of a kind."""
    end = data.find(b"\r\n\r\n", 0, KNOWN_BYTES_MAX) + 4
    found = _LENGTH.search(data, 0, end) if end > 3 else None
    begins = head.method != b"HEAD" and data.startswith(head.method + b" ")
    if found is None or not begins or any(name in head.fields for name in _NEVER_TWICE):
        return None
    return Known(data[: found.start(1)], data[found.end(1) : end], head)


class Stream(Protocol):
    """Whoever answers a request and wants to know what becomes of its caller."""

    def on_caller_gone(self) -> None: ...
    def on_caller_writable(self, *, writable: bool) -> None: ...


class Service(Protocol):
    """What answers requests; called from the loop, never blocks."""

    def handle(self, connection: CallerConnection, head: Head, body: bytes) -> None: ...
    def refuse(self, connection: CallerConnection, target: bytes, status: int, message: str) -> None:
        """Answer what could not become a request, in the dialect of its path; the connection closes afterwards."""
        ...


class CallerConnection(asyncio.Protocol):
    """A caller's connection. The service answers through `whole`, or `begin`, `chunk` and `end`."""

    __slots__ = (
        "_ahead", "_ahead_bytes", "_arriving", "_awaited", "_body", "_chunked", "_closing", "_connections", "_deaf",
        "_fields", "_first", "_framing_bytes", "_head_done", "_head_only", "_head_read", "_keep_alive", "_known",
        "_last", "_lines", "_parser", "_queue", "_read", "_reading", "_refusal", "_service", "_since", "_target",
        "_version", "_writable", "busy", "gone", "stream", "transport",
    )  # fmt: skip

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
        self._queue: deque[tuple[Head, bytes, bool, bool]] = deque()
        """Requests with their `_keep_alive` and `_chunked`."""
        self._known: Known | None = None
        self._awaited = 0
        """Bytes of the body whose head was known, while they arrive."""
        self._first = b""
        """The read that the request began with."""
        self._ahead: list[bytes] = []
        self._ahead_bytes = 0
        self._reading = True
        self._writable = True
        self._deaf = False
        """The last request was read, or the first that cannot be: what follows is thrown away."""
        self._refusal: tuple[bytes, int, str] | None = None
        self._closing = False
        self._keep_alive = True
        self._last = False
        """Whether the next head to be sent says that it is the last."""
        self._chunked = True
        self._head_only = False
        self._version = ""
        self._parser = httptools.HttpRequestParser(self)
        self._read = 0
        self._clear()

    def _clear(self) -> None:
        """Make ready for the next request."""
        self._target = b""
        self._lines: list[tuple[bytes, bytes]] = []
        """Header fields as they came, trailers included."""
        self._fields: Fields = {}
        self._head_read = self._read
        """Bytes of all reads that the head came in: its size at most."""
        self._framing_bytes = 0
        self._head_done = False
        self._body: bytes | bytearray = b""

    # ---- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # pyright: ignore[reportAttributeAccessIssue]
        self.transport.set_write_buffer_limits(high=WRITE_HIGH, low=WRITE_LOW)
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        if self.busy or self._queue or self._ahead:
            self._hold(data)
            return
        if self._awaited:
            self._gather(data)
            return
        known = self._known
        if known is not None and not self._arriving and self._writable:
            size, at = known.lengths(data)
            if at and len(data) == at + size:
                self._head_only = False
                self.busy = True
                self._service.handle(self, known.head, data[at:])
                return
            if at and size:
                self._arriving, self._since, self._awaited, self._target = True, 0.0, size, known.head.target
                self._gather(data[at:])
                return
        self._feed(data)

    def _gather(self, data: bytes) -> None:
        """Take more of a body whose head was known."""
        self._extend(data)
        body, size = self._body, self._awaited
        if len(body) < size or self._known is None:
            return
        self._awaited, self._arriving, self._since = 0, False, 0.0
        self._clear()
        self._queue.append((self._known.head, bytes(body[:size]), True, True))
        if len(body) > size:
            self._hold(bytes(body[size:]))
        self._next()

    def _hold(self, data: bytes) -> None:
        self._ahead.append(data)
        self._ahead_bytes += len(data)
        if self._ahead_bytes > AHEAD_BYTES_MAX and self._reading:
            self._reading = False
            self.transport.pause_reading()

    def _feed(self, data: bytes) -> None:
        body = len(self._body)
        self._read = len(data)
        if not self._arriving:
            self._first = data
        if not self._head_done:
            self._head_read += self._read
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._feed_without_upgrade(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError as error:
            self._reject(400, f"This is not a well-formed HTTP/1.1 request: {error}.")
        if self._arriving:
            self._bound_framing(0 if len(self._body) > body else len(data))
        if not self.busy:
            self._next()

    def _bound_framing(self, size: int) -> None:
        """Bound what llhttp's binding gathers unseen: a field without an end, in the head or behind the last chunk."""
        self._framing_bytes = self._framing_bytes + size if size else 0
        if self._framing_bytes > HEAD_BYTES_MAX:
            self._reject(431, f"The request's head is longer than {HEAD_BYTES_MAX} bytes.")

    def _feed_without_upgrade(self, rest: bytes) -> None:
        """Read a request once more without its `Upgrade`, which we ignore (RFC 9110, 7.8); llhttp skips its body."""
        if self._deaf:
            self._next()
            return
        method = self._parser.get_method()
        if method == b"CONNECT":
            self._reject(501, "This server is no proxy.")
            self._next()
            return
        fields = b"".join(b"%b: %b\r\n" % field for field in self._fields.items() if field[0] != b"upgrade")
        head = b"%b %b HTTP/%b\r\n%b\r\n" % (method, self._target, self._version.encode(), fields)
        self._parser = httptools.HttpRequestParser(self)
        self._clear()
        self._feed(head + rest)

    def _reject(self, status: int, message: str) -> None:
        """Refuse the request that is arriving, once those before it are answered; nothing after it is read."""
        if not self._deaf:
            self._deaf = True
            self._arriving = False
            self._refusal = (self._target, status, message)

    def _next(self) -> None:
        if self.busy or self._closing or not self._writable:
            return
        if self._queue:
            head, body, self._keep_alive, self._chunked = self._queue.popleft()
            self._head_only = head.method == b"HEAD"
            self.busy = True
            self._service.handle(self, head, body)
        elif self._refusal is not None:
            target, status, message = self._refusal
            self._keep_alive = self._head_only = False
            self.busy = True
            self._service.refuse(self, target, status, message)

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone = self._closing = self._deaf = True
        self._connections.discard(self)
        self._queue.clear()
        self._ahead.clear()
        stream, self.stream = self.stream, None
        if stream is not None:
            stream.on_caller_gone()

    def pause_writing(self) -> None:
        self._writable = False
        if self.stream is not None:
            self.stream.on_caller_writable(writable=False)

    def resume_writing(self) -> None:
        self._writable = True
        if self.stream is not None:
            self.stream.on_caller_writable(writable=True)
        self._next()

    # ---- httptools; nothing here may raise

    def on_message_begin(self) -> None:
        if not self._deaf:
            self._arriving = True
            self._since = 0.0  # the time without a request is not part of the upload

    def on_url(self, url: bytes) -> None:
        if not self._deaf:
            self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._lines.append((name, value))

    def on_headers_complete(self) -> None:
        self._version = version = self._parser.get_http_version()
        lines = self._lines
        # Made once: trailers, which come later, may not pass for fields of the head (RFC 9110, 6.5.1).
        self._fields = fields = {name.lower(): value for name, value in lines}
        if len(fields) != len(lines):
            self._join(lines)
        if self._parser.should_upgrade():
            return
        self._head_done = True
        if len(lines) > HEADERS_MAX:
            self._reject(431, f"The request has more than {HEADERS_MAX} header fields.")
        if self._head_read > HEAD_BYTES_MAX and _size(self._target, lines) > HEAD_BYTES_MAX:
            self._reject(431, f"The request's head is longer than {HEAD_BYTES_MAX} bytes.")
        length = fields.get(b"content-length")
        if length is not None and len(length) > 7 and (len(length) > 18 or int(length) > BODY_BYTES_MAX):
            self._reject(413, f"The request's body is larger than {BODY_BYTES_MAX} bytes.")
        coding = fields.get(b"transfer-encoding")
        if coding is not None and coding.strip().lower() != b"chunked":
            self._reject(501, "No transfer coding but `chunked` is understood.")
        if version != "1.1":
            if version != "1.0":
                self._reject(505, "This server speaks HTTP/1.1.")
        elif b"host" not in fields:
            self._reject(400, "A request has one `Host`.")
        elif b"expect" in fields:
            self._continue(fields[b"expect"])

    def _join(self, lines: list[tuple[bytes, bytes]]) -> None:
        """Fields that came more than once, joined with commas; `Host` may not (RFC 9112, 3.2)."""
        self._fields.clear()
        for name, value in lines:
            name = name.lower()
            if name in self._fields:
                if name == b"host":
                    self._reject(400, "A request has one `Host`.")
                value = b"%b, %b" % (self._fields[name], value)
            self._fields[name] = value

    def _continue(self, expected: bytes) -> None:
        if expected.strip().lower() == b"100-continue" and not self._queue and not self._deaf:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, data: bytes) -> None:
        if self._deaf:
            return
        if len(self._body) + len(data) > BODY_BYTES_MAX:
            self._reject(413, f"The request's body is larger than {BODY_BYTES_MAX} bytes.")
        else:
            self._extend(data)

    def _extend(self, data: bytes) -> None:
        if not self._body:
            self._body = data
            return
        if isinstance(self._body, bytes):
            self._body = bytearray(self._body)
        self._body += data

    def on_message_complete(self) -> None:
        if self._deaf or self._parser.should_upgrade():
            return
        if len(self._queue) >= PIPELINE_MAX:
            self._reject(400, f"More than {PIPELINE_MAX} requests were sent ahead.")
            return
        target, fields = self._target, self._fields
        if target[0] != 0x2F and not (target := _origin_form(target, fields.get(b"host", b""))):
            self._reject(400, "The request's target is no path, and no URL of its `Host`.")
            return
        head = Head(self._parser.get_method(), target, fields)
        chunked = self._version == "1.1"
        keep_alive = chunked and self._parser.should_keep_alive()
        self._deaf = not keep_alive
        if keep_alive and self._first:
            self._known = _known(self._first, head)
        self._first = b""
        self._queue.append((head, bytes(self._body), keep_alive, chunked))
        self._arriving = False
        self._since = 0.0
        self._clear()

    # ---- what the service calls

    def whole(self, status: int, head: bytes, body: bytes) -> None:
        """Answer in one write. `head` holds complete header lines; length and connection are added here."""
        if self.gone:
            return
        if self._last:
            self._keep_alive = False
        close = b"" if self._keep_alive else b"connection: close\r\n"
        reason = REASONS.get(status, b"Unknown")
        if status == 204:
            self.transport.write(b"HTTP/1.1 204 %b\r\n%b%b\r\n" % (reason, head, close))
        else:
            shown = b"" if self._head_only else body
            self.transport.write(
                b"HTTP/1.1 %d %b\r\n%b%bcontent-length: %d\r\n\r\n%b" % (status, reason, head, close, len(body), shown)
            )
        self._done()

    def begin(self, status: int, head: bytes, first: bytes) -> None:
        """Begin an answer of unknown length, with its first bytes in the same write.

        It goes in chunks, or until the connection closes for a caller of HTTP/1.0. Not for HEAD.
        """
        if self.gone:
            return
        if self._last:
            self._keep_alive = False
        framing = b"transfer-encoding: chunked\r\n" if self._chunked else b""
        close = b"" if self._keep_alive else b"connection: close\r\n"
        start = b"HTTP/1.1 %d %b\r\n%b%b%b\r\n" % (status, REASONS.get(status, b"Unknown"), head, close, framing)
        self.transport.write(start + self._framed(first))

    def _framed(self, data: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(data), data) if data and self._chunked else data

    def chunk(self, data: bytes) -> None:
        """One chunk; `data` is not empty."""
        if not self.gone:
            self.transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def end(self, last: bytes = b"") -> None:
        """The clean end of an answer of unknown length, with its last bytes in the same write."""
        if self.gone:
            return
        if self._chunked:
            self.transport.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(last), last) if last else b"0\r\n\r\n")
        elif last:
            self.transport.write(last)
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
        self._closing = self._deaf = True
        self._since = 0.0
        self.transport.close()

    def _done(self) -> None:
        self.busy = False
        self.stream = None
        if not self._keep_alive or self._closing:
            self._close_after(refusing=self._refusal is not None)
        elif self._queue or self._refusal is not None:
            # Through the loop, so that a pipeline of cheap requests does not recurse.
            asyncio.get_running_loop().call_soon(self._next)
        elif self._ahead:
            asyncio.get_running_loop().call_soon(self._feed_ahead)

    def _close_after(self, *, refusing: bool) -> None:
        """Close; after a refusal only our side, or a reset for what is still arriving would outrun the answer
        (RFC 9112, 9.6)."""
        if refusing and not self._closing and self.transport.can_write_eof():
            self._closing = True
            self._since = 0.0
            if not self._reading:
                self._reading = True
                self.transport.resume_reading()
            self.transport.write_eof()
        else:
            self.close()

    def _feed_ahead(self) -> None:
        data, self._ahead, self._ahead_bytes = b"".join(self._ahead), [], 0
        if not self._reading and not self.gone:
            self._reading = True
            self.transport.resume_reading()
        if data and not self._deaf:
            self._feed(data)

    def expire(self, now: float, idle_s: float = IDLE_S) -> None:
        """Refuse a request that takes too long to arrive, and close what nobody uses; called now and then."""
        if self.busy and not self._closing:
            self._since = 0.0
        elif not self._since:
            self._since = now
        elif self._closing:
            if now - self._since > CLOSE_S:
                self.transport.abort()
        elif self._arriving:
            limit_s = UPLOAD_S + len(self._body) / UPLOAD_BYTES_PER_S
            if now - self._since > limit_s:
                self._reject(408, f"The request did not arrive within {limit_s:.0f} s.")
                self._next()
        elif now - self._since > idle_s:
            self.close()

    def drain(self, now: float) -> None:
        """Close after the next answer, or soon if nobody asks; called now and then."""
        if not self._last:
            self._last, self._since = True, 0.0
        self.expire(now, LINGER_S)


def _size(target: bytes, lines: list[tuple[bytes, bytes]]) -> int:
    return len(target) + sum(len(name) + len(value) for name, value in lines)


def _origin_form(target: bytes, host: bytes) -> bytes:
    """The path of a URL whose authority is `Host`, and `*` as it is; empty for anything else (RFC 9112, 3.2)."""
    scheme, _, rest = target.partition(b"://")
    authority, _, path = rest.partition(b"/")
    if scheme.lower() in (b"http", b"https") and authority.lower() == host.lower():
        return b"/" + path
    return target if target == b"*" else b""
