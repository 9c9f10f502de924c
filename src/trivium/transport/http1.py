"""The upstream's side of HTTP/1.1: one kept-alive connection that carries one request at a time.

Callbacks only, no task and no future per request. All chunks parsed from one read are handed on in
one call, so that they can leave in one write; a read that is exactly one chunk needs no parser. Else llhttp (in
httptools) parses; what it lets pass is refused here: heads and trailers without end, a second answer to one request, a
change of protocols. A connection is kept only if nothing about the last answer was odd. Source: RFC 9112.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Protocol

import httptools

from trivium.errors import UpstreamCut, UpstreamError, UpstreamProtocolError
from trivium.transport.upstream import Fields, Receiver, Upstream

HEAD_BYTES_MAX = 64 * 1024
"""Far above any provider's head, small enough that a hostile one costs nothing. One read may exceed it."""
DRAIN_BYTES_MAX = 64 * 1024
"""What may follow an answer's terminal event before the connection is not worth keeping."""
CHUNK_BYTES_KNOWN = 2048
"""Up to this size, frame included, a chunk that comes alone is seen without the parser: one event of a stream is."""


def _known_starts() -> list[bytes]:
    """By the length of a whole chunk, frame included: the size line that it begins with (RFC 9112, 7.1)."""
    starts = [b"\0"] * CHUNK_BYTES_KNOWN  # begins no chunk
    for size in range(1, CHUNK_BYTES_KNOWN):
        line = b"%x\r\n" % size
        if len(line) + size + 2 < CHUNK_BYTES_KNOWN:
            starts[len(line) + size + 2] = line
    return starts


_STARTS = _known_starts()


class Owner(Protocol):
    """Who keeps connections between requests."""

    def on_idle(self, connection: UpstreamConnection) -> None:
        """It can carry another request, or was lost while nobody waited for an answer."""
        ...

    def on_draining(self, connection: UpstreamConnection) -> None:
        """Its receiver has left before the end of the message; abort it if that does not come soon."""
        ...


class UpstreamConnection(asyncio.Protocol):
    """A connection to one origin. `owner` gets it back when it can carry another request."""

    __slots__ = (
        "_between", "_complete", "_drained", "_excess", "_fields", "_framing_bytes", "_head_ready", "_head_told",
        "_keep_alive", "_length_known", "_owner", "_parser", "_parts", "_paused", "_reused", "_status", "_touched",
        "body", "closed", "idle_until", "keep_alive_s", "receiver", "transport", "upstream",
    )  # fmt: skip

    def __init__(self, upstream: Upstream, owner: Owner) -> None:
        self.upstream = upstream
        self._owner = owner
        self.transport: asyncio.Transport = None  # pyright: ignore[reportAttributeAccessIssue]  # set by connection_made
        self.closed = False
        self.idle_until = 0.0
        """On the loop's clock: until when it may wait for a request, or for the end of a message nobody reads."""
        self.keep_alive_s = math.inf
        """How long the upstream says that it keeps an idle connection."""
        self._parser = httptools.HttpResponseParser(self)
        self._parts: list[bytes] = []
        self._paused = False
        self._reused = False
        self._reset()

    def _reset(self) -> None:
        self._leave()
        self._fields: Fields = {}
        self._status = 0
        self._framing_bytes = 0
        """Bytes read since the last byte of a body."""
        self._head_ready = False
        self._head_told = False
        self._length_known = False
        self._complete = False
        self._keep_alive = False
        self._excess = False
        """Bytes came that belong to no answer of ours."""
        self._touched = False
        self._drained = -1
        """Bytes read since the receiver left; -1: it has not."""

    # ---- what an attempt calls

    def send(self, receiver: Receiver, payload: bytes) -> None:
        """Write a whole request; its answer goes to `receiver`."""
        self.receiver = receiver
        self.body = receiver.on_body
        self.transport.write(payload)

    def detach(self) -> None:
        """The receiver has all it wants: keep the connection if the message ends soon, and close it if not."""
        self._leave()
        if self.closed:
            return
        if self._complete:
            self._finish_message()
            return
        self._drained = 0
        self.resume_reading()
        self._owner.on_draining(self)

    def _leave(self) -> None:
        self.receiver: Receiver | None = None
        self.body: Callable[[bytes], None] = _ignore
        """Where the body goes: the receiver's `on_body`, until it names another."""
        self._between = False
        """The parser stands between two chunks of a body that goes to a receiver."""

    @property
    def draining(self) -> bool:
        """Whether it waits for the end of a message that nobody reads."""
        return self._drained >= 0 and not self.closed

    def abort(self) -> None:
        """Close at once; the upstream notices that nobody listens."""
        self._leave()
        self.closed = True
        self.transport.abort()

    def pause_reading(self) -> None:
        if not self.closed and not self._paused:
            self._paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if not self.closed and self._paused:
            self._paused = False
            self.transport.resume_reading()

    # ---- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # pyright: ignore[reportAttributeAccessIssue]

    def data_received(self, data: bytes) -> None:
        receiver, size = self.receiver, len(data)
        if self._between and size < CHUNK_BYTES_KNOWN:
            start = _STARTS[size]
            if data.startswith(start) and data.endswith(b"\r\n"):
                self.body(data[len(start) : -2])
                return
        if receiver is None and self._drained < 0:
            # Bytes on an idle connection belong to no request of ours.
            self.abort()
            return
        self._touched = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail(UpstreamProtocolError("The upstream changed protocols without being asked."))
            return
        except httptools.HttpParserError as error:
            if not self._complete:
                self._fail(UpstreamProtocolError(f"The upstream sent what is not HTTP/1.1: {error}."))
                return
            self._excess = True
        if self._between and not data.endswith(b"\r\n"):
            self._between = False  # the next size line has begun
        if not (self._parts or self._complete):
            self._framing_bytes += len(data)
            if self._framing_bytes > HEAD_BYTES_MAX:
                self._fail(UpstreamProtocolError(f"The upstream's head is longer than {HEAD_BYTES_MAX} bytes."))
                return
            if not self._head_ready:
                return
        receiver = self.receiver
        if receiver is None:
            self._drain()
            return
        if not self._head_told:
            self._head_told = True
            receiver.on_head(self._status, self._fields)
        if self._parts and self.receiver is receiver:
            parts, self._parts = self._parts, []
            self._framing_bytes = 0
            self.body(parts[0] if len(parts) == 1 else b"".join(parts))
        if self._complete and self.receiver is receiver:
            self._finish_message()
            receiver.on_end()
        elif self.receiver is None:
            self._drain()

    def _drain(self) -> None:
        """Read past what follows an answer that was complete for its receiver."""
        if not self.draining:
            return
        self._drained += sum(map(len, self._parts))
        self._parts.clear()
        if self._complete:
            self._finish_message()
        elif self._drained > DRAIN_BYTES_MAX:
            self.abort()

    def _finish_message(self) -> None:
        # An answer before the end of its request leaves a connection on which the rest would follow.
        keep = self._keep_alive and not self._excess and not self.closed and not self.transport.get_write_buffer_size()
        self._reset()
        self._parts.clear()
        if keep:
            self.resume_reading()
            self._reused = True
            self._owner.on_idle(self)
        elif not self.closed:
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        was_closed, self.closed = self.closed, True
        receiver = self.receiver
        self._leave()
        if receiver is None:
            if not was_closed:
                self._owner.on_idle(self)
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
        self._excess = self._complete  # a second answer to one request

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._head_ready:  # else a trailer, or what follows the answer
            self._fields[name.lower()] = value

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if self._head_ready:
            return
        fields = self._fields
        if status < 200:
            fields.clear()
        else:
            self._head_ready = True
            self._status = status
            # Any other body ends with its connection (RFC 9112, 6.3).
            self._length_known = b"content-length" in fields or b"transfer-encoding" in fields or status in {204, 304}
            if b"keep-alive" in fields:
                self.keep_alive_s = _keep_alive_timeout(fields[b"keep-alive"])

    def on_body(self, data: bytes) -> None:
        if self._head_ready and not self._complete:
            self._parts.append(data)

    def on_chunk_header(self) -> None:
        self._between = False

    def on_chunk_complete(self) -> None:
        self._between = self._head_told and self.receiver is not None

    def on_message_complete(self) -> None:
        self._between = False
        if self._head_ready and not self._complete:
            self._complete = True
            # Only here: behind the message llhttp has forgotten its length, and says no to everything.
            self._keep_alive = self._length_known and self._parser.should_keep_alive()


def _ignore(_data: bytes) -> None: ...


def _keep_alive_timeout(value: bytes) -> float:
    """Seconds of `Keep-Alive: timeout=N`; infinite if it says none."""
    _, found, rest = value.lower().partition(b"timeout=")
    digits = rest[:10].split(b",")[0].strip()
    return float(digits) if found and digits.isdigit() else math.inf
