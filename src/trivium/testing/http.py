"""One client's HTTP/1.1 connection, read strictly and written raw, so that a fault can send illegal bytes.

Shares no code with `trivium.transport`: what tests a transport must not repeat its mistakes.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import cast

Headers = Mapping[str, str] | list[tuple[str, str]]
_MAX_HEAD = 1 << 20


class BadRequest(Exception):
    """The client's bytes are no HTTP/1.1 request that this server understands."""


@dataclass(frozen=True)
class Request:
    """`headers` have lower-case names; `head` is the raw text up to and with the empty line."""

    method: str
    path: str
    headers: dict[str, str]
    head: bytes
    body: bytes


def response_head(status: int, headers: Headers) -> bytes:
    """Status line, fields and empty line; nothing is added and nothing is checked."""
    try:
        reason = HTTPStatus(status).phrase
    except ValueError:
        reason = "Overloaded"
    items = list(headers.items()) if isinstance(headers, Mapping) else headers
    fields = "".join(f"{name}: {value}\r\n" for name, value in items)
    return f"HTTP/1.1 {status} {reason}\r\n{fields}\r\n".encode()


def chunk(data: bytes) -> bytes:
    """`data` as one chunk of a chunked body (RFC 9112, 7.1); empty data would be the last chunk."""
    return b"%x\r\n%s\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"


class Connection(asyncio.Protocol):
    """Bytes from a client in a buffer, bytes to it as they are given.

    `on_open(connection)` and `on_lost(connection)` tell its owner; `on_gone` is set while a request is answered
    and called once if the client leaves before the answer is complete.
    """

    def __init__(
        self, number: int, on_open: Callable[[Connection], None], on_lost: Callable[[Connection], None]
    ) -> None:
        self.number = number
        self.on_gone: Callable[[], None] | None = None
        self.on_data: Callable[[], None] | None = None
        """Set to have the next bytes thrown away and this called instead: the socket was "already closed"."""
        self._on_open = on_open
        self._on_lost = on_lost
        self._reader = asyncio.StreamReader(_MAX_HEAD)
        self._writable = asyncio.Event()
        self._writable.set()
        self._ended = False
        self._begun = False
        """Bytes of a request that is not complete have come."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._reader.set_transport(transport)
        self._on_open(self)

    def data_received(self, data: bytes) -> None:
        if self.on_data is not None:
            self.on_data()
            return
        self._begun = True
        self._reader.feed_data(data)

    def eof_received(self) -> bool:
        self._end()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()
        self._on_lost(self)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def _end(self) -> None:
        self._ended = True
        self._reader.feed_eof()
        self._writable.set()
        gone, self.on_gone = self.on_gone, None
        if gone is not None:
            gone()

    @property
    def closing(self) -> bool:
        return self._ended or self.transport.is_closing()

    @property
    def idle(self) -> bool:
        """Nothing is being answered on it, and nothing has come since."""
        return self.on_gone is None and not self._begun

    async def read_request(self) -> Request | None:
        """The next request; None when the client closed before it was complete. Raises BadRequest."""
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
            lines = head[:-4].decode("latin-1").split("\r\n")
            method, path, version = [*lines[0].split(" "), "", ""][:3]
            if version not in ("HTTP/1.1", "HTTP/1.0"):
                raise BadRequest(f"not a request line: {lines[0]!r}")
            fields = (line.partition(":") for line in lines[1:])
            headers = {name.strip().lower(): value.strip() for name, _, value in fields}
            if len(headers) != len(lines) - 1:
                raise BadRequest(f"a header field came twice: {sorted(lines[1:])}")
            if headers.get("expect", "").lower() == "100-continue":
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            body = await self._read_body(headers)
        except asyncio.IncompleteReadError:
            return None
        except asyncio.LimitOverrunError:
            raise BadRequest("the head is too long") from None
        self._begun = False
        return Request(method, path, headers, head, body)

    async def _read_body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return await self._read_chunks()
        length = headers.get("content-length", "0")
        if not length.isdecimal():
            raise BadRequest(f"not a length: {length!r}")
        return await self._reader.readexactly(int(length))

    async def _read_chunks(self) -> bytes:
        body = bytearray()
        while True:
            line = await self._reader.readuntil(b"\r\n")
            try:
                size = int(line.split(b";")[0], 16)
            except ValueError:
                raise BadRequest(f"not a chunk size: {line[:-2]!r}") from None
            data = await self._reader.readexactly(size + 2)
            body += data[:-2]
            if size == 0:
                return bytes(body)

    async def send(self, data: bytes) -> None:
        """Write, and wait while the client does not read. Does nothing once the connection is closing."""
        if not self.closing:
            self.transport.write(data)
            await self._writable.wait()

    def fin(self) -> None:
        """Close in order: what was written arrives, then FIN."""
        self.on_gone = None
        self.transport.close()

    def rst(self) -> None:
        """Close with RST: a linger time of 0 makes the kernel drop the connection at once."""
        self.on_gone = None
        sock = cast("socket.socket", self.transport.get_extra_info("socket"))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()
