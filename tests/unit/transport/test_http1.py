"""The upstream's side: what counts as an answer, and when a connection is worth keeping. Real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from transport_help import run, until
from trivium.errors import UpstreamCut, UpstreamError, UpstreamProtocolError
from trivium.transport import http1
from trivium.transport.http1 import UpstreamConnection
from trivium.transport.upstream import Fields, Upstream
from trivium.types.data import DataClass
from trivium.types.origin import Origin

OK = b"HTTP/1.1 200 OK\r\n"
SHORT = OK + b"Content-Length: 3\r\n\r\nabc"
CHUNKS = OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n"


class Waiting:
    """Writes down what it is told; `until_body` leaves with the first bytes of a body."""

    def __init__(self, *, until_body: bool = False) -> None:
        self.heads: list[tuple[int, Fields]] = []
        self.body = b""
        self.ended = 0
        self.lost: list[tuple[UpstreamError, bool]] = []
        self.connection: UpstreamConnection | None = None
        self._until_body = until_body

    def on_connected(self, connection: UpstreamConnection) -> None:
        self.connection = connection

    def on_unreachable(self, error: UpstreamError) -> None:
        self.lost.append((error, False))

    def on_head(self, status: int, fields: Fields) -> None:
        self.heads.append((status, fields))

    def on_body(self, data: bytes) -> None:
        self.body += data
        if self._until_body and self.connection is not None:
            self.connection.detach()

    def on_end(self) -> None:
        self.ended += 1

    def on_lost(self, error: UpstreamError, *, untouched: bool) -> None:
        self.lost.append((error, untouched))


class Wire:
    """A connection and the server's end of it; the owner that writes down what it gets back."""

    def __init__(self) -> None:
        self.idle: list[bool] = []
        self.drained = 0
        self.connection: UpstreamConnection
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    def on_idle(self, connection: UpstreamConnection) -> None:
        self.idle.append(not connection.closed)

    def on_draining(self, connection: UpstreamConnection) -> None:
        self.drained += 1

    def ask(self, **more: bool) -> Waiting:
        waiting = Waiting(**more)
        waiting.connection = self.connection
        self.connection.send(waiting, b"GET / HTTP/1.1\r\n\r\n")
        return waiting

    async def answered(self, data: bytes, *, step: int = 1 << 20, end: bool = False) -> Waiting:
        """What a receiver is told when the server sends `data` in slices, and then perhaps closes."""
        waiting = self.ask()
        for n in range(0, len(data), step):
            if not self.connection.closed:
                self.connection.data_received(data[n : n + step])
        if end:
            await self.reader.readuntil(b"\r\n\r\n")  # unread bytes would make a reset of the close
            self.writer.close()
            await until(lambda: self.connection.closed)
        return waiting


def upstream(port: int = 1, ceiling: DataClass = DataClass.PREMISES, *, trusted: bool = True) -> Upstream:
    origin = Origin(scheme="http", host="127.0.0.1", port=port)
    return Upstream(
        origin=origin,
        endpoint="lab/m",
        ceiling=ceiling,
        trusted_origin=trusted,
        local=True,
        connect_s=1,
        tls_s=1,
    )


@asynccontextmanager
async def wired() -> AsyncIterator[Wire]:
    wire = Wire()
    accepted = asyncio.get_running_loop().create_future()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.set_result((reader, writer))

    listening = await asyncio.start_server(accept, "127.0.0.1", 0)
    port: int = listening.sockets[0].getsockname()[1]
    made = await asyncio.get_running_loop().create_connection(
        lambda: UpstreamConnection(upstream(port), wire), "127.0.0.1", port
    )
    wire.connection = made[1]
    wire.reader, wire.writer = await accepted
    try:
        yield wire
    finally:
        wire.connection.abort()
        wire.writer.transport.abort()
        listening.close()
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("data", "status", "body", "kept"),
    [
        (SHORT, 200, b"abc", True),
        (CHUNKS, 200, b"abc", True),
        (CHUNKS[:-2] + b"X: trailer\r\n\r\n", 200, b"abc", True),
        (b"HTTP/1.1 204 None\r\n\r\n", 204, b"", True),
        (b"HTTP/1.1 304 Same\r\nContent-Length: 3\r\n\r\n", 304, b"", True),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + SHORT, 200, b"abc", True),
        (b"HTTP/1.1 103 Hints\r\nContent-Length: 9\r\nLink: a\r\n\r\n" + CHUNKS, 200, b"abc", True),
        (OK + b"Connection: close\r\nContent-Length: 3\r\n\r\nabc", 200, b"abc", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc", 200, b"abc", False),
    ],
)
@pytest.mark.parametrize("step", [1, 5, 1 << 20])
def test_an_answer_is_read_in_any_slices(data: bytes, status: int, body: bytes, kept: bool, step: int) -> None:
    async def case() -> None:
        async with wired() as wire:
            got = await wire.answered(data, step=step)
            assert [head[0] for head in got.heads] == [status]
            assert not {b"x", b"link"} & got.heads[0][1].keys()
            assert (got.body, got.ended, got.lost) == (body, 1, [])
            assert wire.idle == ([True] if kept else [])
            assert wire.connection.closed is not kept
            if kept:
                again = await wire.answered(SHORT)
                assert (again.body, again.ended) == (b"abc", 1)

    run(case())


@pytest.mark.parametrize(
    "more", [SHORT, b"rubbish", b"HTTP/1.1 500 No\r\nX: evil\r\nContent-Length: 3\r\n\r\nxyz", b"\0"]
)
@pytest.mark.parametrize("first", [SHORT, CHUNKS, OK + b"Connection: close\r\nContent-Length: 3\r\n\r\nabc"])
def test_what_follows_an_answer_is_none_and_ends_the_connection(first: bytes, more: bytes) -> None:
    async def case() -> None:
        async with wired() as wire:
            got = await wire.answered(first + more)
            assert (got.heads[0][0], got.body, got.ended, got.lost) == (200, b"abc", 1, [])
            assert b"x" not in got.heads[0][1]
            assert wire.connection.closed
            assert wire.idle == []

    run(case())


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 3\n\nabc",
        OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        OK + b"X : a\r\n\r\n",
        OK + b"X: a\r\n b\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\n\r\n",
        OK + b"X: " + b"a" * 200_000,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 5000,
        OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: " + b"a" * 200_000,
    ],
    ids=lambda data: repr(data[:24]),
)
def test_what_is_no_answer_is_a_protocol_error(data: bytes) -> None:
    async def case() -> None:
        async with wired() as wire:
            got = await wire.answered(data, step=10_000)
            assert [type(error) for error, _ in got.lost] == [UpstreamProtocolError]
            assert not got.lost[0][1]
            assert got.ended == 0
            assert wire.connection.closed
            assert wire.idle == []

    run(case())


@pytest.mark.parametrize("data", [SHORT, CHUNKS])
def test_an_answer_cut_anywhere_is_never_an_end(data: bytes) -> None:
    async def case() -> None:
        for cut in range(len(data)):
            async with wired() as wire:
                got = await wire.answered(data[:cut], end=True)
                assert got.ended == 0
                assert [(type(error), untouched) for error, untouched in got.lost] == [(UpstreamCut, False)]

    run(case())


def test_a_body_without_a_length_ends_with_its_connection() -> None:
    async def case() -> None:
        async with wired() as wire:
            got = await wire.answered(OK + b"\r\nabc", end=True)
            assert (got.heads, got.body, got.ended, got.lost) == ([(200, {})], b"abc", 1, [])
            assert wire.idle == []

    run(case())


def test_bytes_on_an_idle_connection_end_it() -> None:
    async def case() -> None:
        async with wired() as wire:
            await wire.answered(SHORT)
            wire.writer.write(SHORT)
            await until(lambda: wire.connection.closed)

    run(case())


def test_a_reused_connection_that_ends_before_a_byte_is_untouched() -> None:
    async def case() -> None:
        async with wired() as wire:
            await wire.answered(SHORT)
            got = await wire.answered(b"", end=True)
            assert [untouched for _, untouched in got.lost] == [True]

    run(case())


def test_an_answer_before_the_end_of_its_request_ends_the_connection() -> None:
    async def case() -> None:
        async with wired() as wire:
            wire.writer.transport.pause_reading()  # type: ignore[attr-defined]
            waiting = Waiting()
            wire.connection.send(waiting, b"a" * 20_000_000)
            wire.writer.write(SHORT)
            await until(lambda: waiting.ended == 1)
            assert wire.connection.closed
            assert wire.idle == []

    run(case())


def test_a_receiver_may_leave_before_the_end_and_the_connection_is_kept_if_it_comes() -> None:
    async def case() -> None:
        async with wired() as wire:
            got = wire.ask(until_body=True)
            wire.connection.data_received(CHUNKS[:-5])
            assert (got.body, got.ended, wire.drained, wire.idle) == (b"abc", 0, 1, [])
            assert wire.connection.draining
            wire.connection.data_received(CHUNKS[-5:])
            assert wire.idle == [True]
            assert not wire.connection.draining
            assert (await wire.answered(SHORT)).ended == 1

    run(case())


def test_a_message_that_goes_on_after_its_receiver_left_is_given_up() -> None:
    async def case() -> None:
        async with wired() as wire:
            wire.ask(until_body=True)
            wire.connection.data_received(OK + b"\r\nabc")
            wire.connection.data_received(b"a" * (http1.DRAIN_BYTES_MAX + 1))
            assert wire.connection.closed
            assert wire.idle == []

    run(case())


def test_a_paused_connection_reads_again_for_the_next_request() -> None:
    async def case() -> None:
        async with wired() as wire:
            wire.ask()
            wire.connection.pause_reading()
            wire.connection.data_received(SHORT)
            assert wire.idle == [True]
            second = wire.ask()
            wire.writer.write(SHORT)
            await until(lambda: second.ended == 1)

    run(case())


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(b"timeout=5", 5), (b"Timeout=5, max=100", 5), (b"max=3, timeout=7", 7), (b"timeout=0", 0)],
)
def test_the_upstreams_keep_alive_time_is_heard(value: bytes, seconds: float) -> None:
    async def case() -> None:
        async with wired() as wire:
            await wire.answered(OK + b"Keep-Alive: %b\r\nContent-Length: 0\r\n\r\n" % value)
            assert wire.connection.keep_alive_s == seconds

    run(case())
