"""The caller's side over real sockets: what is read, what is refused, and that nothing is read twice."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transport_help import run, until
from trivium.transport import server
from trivium.transport.server import CallerConnection, Head

POST = b"POST /echo HTTP/1.1\r\nHost: a\r\n"
UPGRADED = POST + b"Connection: Upgrade\r\nUpgrade: h2c\r\n"
GET = b"GET /echo HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


class Request(NamedTuple):
    method: bytes
    target: bytes
    fields: dict[bytes, bytes]
    body: bytes


class Echo:
    """Answers with the body; keeps what it was asked. `/hold` answers when it is told, `/stream` in two chunks."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.refused: list[int] = []
        self.held: list[CallerConnection] = []
        self.gone = 0
        self.writable: list[bool] = []

    def handle(self, connection: CallerConnection, head: Head, body: bytes) -> None:
        request = Request(head.method, head.target, head.fields, body)
        self.requests.append(request)
        if request.target == b"/hold":
            connection.stream = self
            self.held.append(connection)
        elif request.target == b"/stream":
            connection.begin(200, b"", b"one")
            connection.chunk(b"two")
            connection.end(b"three")
        elif request.target == b"/none":
            connection.whole(204, b"", b"")
        else:
            connection.whole(200, b"", request.body or request.target)

    def refuse(self, connection: CallerConnection, target: bytes, status: int, message: str) -> None:
        self.refused.append(status)
        connection.whole(status, b"", message.encode())

    def on_caller_gone(self) -> None:
        self.gone += 1

    def on_caller_writable(self, *, writable: bool) -> None:
        self.writable.append(writable)


class Caller:
    """A socket to the server, and the server's view of it."""

    def __init__(self, echo: Echo, connections: set[CallerConnection]) -> None:
        self.echo = echo
        self.connections = connections
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    async def answers(self, sent: bytes, count: int = 1) -> bytes:
        """What comes back for `sent` until the answer of number `count` is there, or the server closes."""
        self.writer.write(sent)
        got = b""
        async with asyncio.timeout(10):
            while got.count(b"HTTP/1.1 ") - got.count(b" 100 ") < count or not got.endswith(b"\n"):
                more = await self.reader.read(1 << 16)
                if not more:
                    break
                got += more
                if got.count(b"HTTP/1.1 ") - got.count(b" 100 ") >= count and b"\r\n\r\n" in got:
                    break
        return got

    async def rest(self) -> bytes:
        async with asyncio.timeout(10):
            return await self.reader.read()

    @property
    def served(self) -> CallerConnection:
        return next(iter(self.connections))


@asynccontextmanager
async def calling() -> AsyncIterator[Caller]:
    echo, connections = Echo(), set[CallerConnection]()
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(lambda: CallerConnection(echo, connections), "127.0.0.1", 0)
    caller = Caller(echo, connections)
    caller.reader, caller.writer = await asyncio.open_connection(*listening.sockets[0].getsockname())
    try:
        yield caller
    finally:
        caller.writer.transport.abort()
        listening.close()
        for connection in list(connections):
            connection.transport.abort()
        await until(lambda: not connections)


# ---- smuggling

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
REFUSED = {
    "cl-te": (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "te-cl": (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400),
    "same-cl": (POST + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\na", 400),
    "two-cl": (POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\na", 400),
    "list-cl": (POST + b"Content-Length: 1, 1\r\n\r\na", 400),
    "plus-cl": (POST + b"Content-Length: +1\r\n\r\na", 400),
    "minus-cl": (POST + b"Content-Length: -1\r\n\r\na", 400),
    "hex-cl": (POST + b"Content-Length: 0x1\r\n\r\na", 400),
    "empty-cl": (POST + b"Content-Length:\r\n\r\n", 400),
    "overflow-cl": (POST + b"Content-Length: 18446744073709551617\r\n\r\na", 400),
    "zeros-cl": (POST + b"Content-Length: " + b"0" * 5000 + b"1\r\n\r\na", 413),
    "bare-lf": (b"POST /echo HTTP/1.1\nHost: a\n\n", 400),
    "bare-lf-field": (b"GET /echo HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400),
    "bare-lf-end": (b"GET /echo HTTP/1.1\r\nHost: a\r\n\n", 400),
    "bare-cr": (b"GET /echo HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", 400),
    "cr-cr-lf": (b"GET /echo HTTP/1.1\r\nHost: a\r\r\n\r\n", 400),
    "fold": (b"GET /echo HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", 400),
    "fold-te": (POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", 400),
    "space-colon": (POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400),
    "no-colon": (POST + b"abc\r\n\r\n", 400),
    "empty-name": (POST + b": a\r\n\r\n", 400),
    "nul-value": (POST + b"X: a\0b\r\n\r\n", 400),
    "nul-name": (POST + b"X\0: a\r\n\r\n", 400),
    "two-te": (POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "gzip-te": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    "identity-te": (POST + b"Transfer-Encoding: identity\r\n\r\n", 501),
    "x-te": (POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501),
    "vt-te": (POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400),
    "chunk-0x": (CHUNKED + b"0x3\r\nabc\r\n0\r\n\r\n", 400),
    "chunk-minus": (CHUNKED + b"-3\r\nabc\r\n0\r\n\r\n", 400),
    "chunk-overflow": (CHUNKED + b"f" * 17 + b"\r\nabc", 400),
    "chunk-space": (CHUNKED + b"3 \r\nabc\r\n0\r\n\r\n", 400),
    "chunk-lf": (CHUNKED + b"3\nabc\r\n0\r\n\r\n", 400),
    "chunk-long": (CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n", 400),
    "chunk-ext-lf": (CHUNKED + b"3;a\nabc\r\n0\r\n\r\n", 400),
    "chunk-ext-cr": (CHUNKED + b"3;a\rb\r\nabc\r\n0\r\n\r\n", 400),
    "trailer-cl": (CHUNKED + b"0\r\nContent-Length: 5\r\n\r\n", 400),
    "method": (b"FOO / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "method-case": (b"get / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "space-target": (b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "nul-target": (b"GET /a\0 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "other-url": (b"GET http://b/echo HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "connect": (b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 501),
    "no-host": (b"GET /echo HTTP/1.1\r\n\r\n", 400),
    "two-hosts": (b"GET /echo HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    "version-2": (b"GET /echo HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    "version-0.9": (b"GET /echo\r\n\r\n", 505),
    "preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "tls": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "many-fields": (POST + b"".join(b"X-%d: a\r\n" % n for n in range(200)) + b"\r\n", 431),
    "long-field": (POST + b"X: " + b"a" * 70_000 + b"\r\n\r\n", 431),
    "long-target": (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 431),
    "endless-field": (POST + b"X: " + b"a" * 700_000, 431),
    "endless-extension": (CHUNKED + b"3;" + b"a" * 700_000, 431),
    "endless-trailer": (CHUNKED + b"1\r\na\r\n0\r\nX: " + b"a" * 700_000, 431),
    "announced": (POST + b"Content-Length: %d\r\n\r\n" % (server.BODY_BYTES_MAX + 1), 413),
    "announced-expecting": (POST + b"Expect: 100-continue\r\nContent-Length: 999999999\r\n\r\n", 413),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_ambiguous_is_refused_and_nothing_behind_it_is_read(name: str) -> None:
    sent, status = REFUSED[name]

    async def case() -> None:
        async with calling() as caller:
            caller.writer.write(sent + SMUGGLED)
            answer = await caller.rest()
            assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:300]
            assert answer.count(b"\r\nconnection: close\r\n") == 1
            assert caller.echo.requests == []
            assert caller.echo.refused == [status]

    run(case())


@pytest.mark.parametrize("name", ["cl-te", "two-cl", "bare-lf", "fold", "chunk-lf", "gzip-te", "connect", "no-host"])
def test_slicing_changes_no_refusal(name: str) -> None:
    sent, status = REFUSED[name]

    async def case() -> None:
        async with calling() as caller:
            while not caller.connections:
                await asyncio.sleep(0)
            for n in range(len(sent)):
                caller.served.data_received(sent[n : n + 1])
            assert (await caller.rest()).startswith(b"HTTP/1.1 %d " % status)
            assert caller.echo.requests == []

    run(case())


def test_the_valid_request_before_a_bad_one_is_answered_first() -> None:
    async def case() -> None:
        async with calling() as caller:
            caller.writer.write(GET + b"rubbish\r\n\r\n")
            answer = await caller.rest()
            assert answer.index(b" 200 OK") < answer.index(b" 400 Bad Request")
            assert len(caller.echo.requests) == 1

    run(case())


def test_what_follows_a_close_is_no_request() -> None:
    async def case() -> None:
        async with calling() as caller:
            caller.writer.write(b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" + SMUGGLED)
            answer = await caller.rest()
            assert answer.startswith(b"HTTP/1.1 200 OK\r\nconnection: close\r\n")
            assert [request.target for request in caller.echo.requests] == [b"/last"]

    run(case())


# ---- what is accepted


@pytest.mark.parametrize(
    ("sent", "body"),
    [
        (POST + b"Content-Length: 3\r\n\r\nabc", b"abc"),
        (POST + b"Content-Length: 3 \r\n\r\nabc", b"abc"),
        (CHUNKED + b"1\r\na\r\n2;ext=1\r\nbc\r\n0\r\n\r\n", b"abc"),
        (CHUNKED + b"3\r\nabc\r\n0\r\nAuthorization: no\r\n\r\n", b"abc"),
        (POST + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\nabc", b"abc"),
        (UPGRADED + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", b"abc"),
        (b"POST http://A/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", b"abc"),
    ],
    ids=["length", "length-space", "chunks", "trailer", "upgrade-length", "upgrade-chunks", "url"],
)  # fmt: skip
@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_a_request_is_read_in_any_slices_and_the_next_one_too(sent: bytes, body: bytes, step: int) -> None:
    async def case() -> None:
        async with calling() as caller:
            while not caller.connections:
                await asyncio.sleep(0)
            whole = sent + SMUGGLED
            for n in range(0, len(whole), step):
                caller.served.data_received(whole[n : n + step])
                await asyncio.sleep(0)
            await until(lambda: len(caller.echo.requests) == 2)
            first, second = caller.echo.requests
            assert (first.target, first.body) == (b"/echo", body)
            assert b"authorization" not in first.fields
            assert second.target == b"/smuggled"

    run(case())


def test_a_body_behind_an_upgrade_is_never_a_request() -> None:
    async def case() -> None:
        async with calling() as caller:
            head = POST + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: %d\r\n\r\n" % len(SMUGGLED)
            caller.writer.write(head)
            await asyncio.sleep(0.02)
            assert (await caller.answers(SMUGGLED)).endswith(SMUGGLED)
            assert [request.target for request in caller.echo.requests] == [b"/echo"]

    run(case())


def test_head_and_204_have_no_body() -> None:
    async def case() -> None:
        async with calling() as caller:
            head = await caller.answers(b"HEAD /echo HTTP/1.1\r\nHost: a\r\n\r\n")
            assert head == b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"
            none = await caller.answers(b"GET /none HTTP/1.1\r\nHost: a\r\n\r\n")
            assert none == b"HTTP/1.1 204 No Content\r\n\r\n"
            assert (await caller.answers(GET)).endswith(b"\r\n\r\n/echo")

    run(case())


def test_http_1_0_gets_no_chunks_and_its_connection_closes() -> None:
    async def case() -> None:
        async with calling() as caller:
            caller.writer.write(b"GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            assert await caller.rest() == b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nonetwothree"

    run(case())


def test_a_stream_is_chunked() -> None:
    async def case() -> None:
        async with calling() as caller:
            caller.writer.write(b"GET /stream HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            body = (await caller.rest()).partition(b"\r\n\r\n")[2]
            assert body == b"3\r\none\r\n3\r\ntwo\r\n5\r\nthree\r\n0\r\n\r\n"

    run(case())


def test_continue_is_said_when_the_body_is_awaited() -> None:
    async def case() -> None:
        async with calling() as caller:
            caller.writer.write(POST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n")
            assert await caller.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            assert (await caller.answers(b"abc")).endswith(b"abc")

    run(case())


# ---- heads that are known

OTHERS = [
    b"GET /get HTTP/1.1\r\nHost: a\r\n\r\n",
    b"HEAD /head HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
    b"POST /chunks HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Late: 1\r\n\r\n",
    b"POST /echo HTTP/1.1\r\nHost: a\r\nX-Key: 2\r\nContent-Length: 4\r\n\r\nabcd",
    b"POST /echo HTTP/1.1\r\nHost: a\r\nX-Key: 1\r\nContent-Length:5\r\n\r\n\r\n\r\n!",
    b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nX-Key: 1\r\n\r\nhi",
    b"POST /up HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nhi",
]


def posted(body: bytes) -> bytes:
    return b"POST /echo HTTP/1.1\r\nHost: a\r\ncontent-length: %d\r\nX-Key: 1\r\n\r\n%b" % (len(body), body)


class Wire(asyncio.Transport):
    """Takes what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()

    def write(self, data: bytes | bytearray | memoryview[int]) -> None:
        self.written += data

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def write_eof(self) -> None: ...
    def can_write_eof(self) -> bool:
        return True

    def is_closing(self) -> bool:
        return False

    def close(self) -> None: ...
    def abort(self) -> None: ...


async def heard(reads: list[bytes]) -> tuple[list[Request], bytes]:
    """What a connection made of these reads, and what it answered."""
    echo, wire = Echo(), Wire()
    connection = CallerConnection(echo, set())
    connection.connection_made(wire)
    for data in reads:
        connection.data_received(data)
        for _ in range(12):  # turns of the loop: a pipeline takes one for each request
            await asyncio.sleep(0)
    return echo.requests, bytes(wire.written)


MESSAGES = st.lists(st.one_of(st.binary(max_size=40).map(posted), st.sampled_from(OTHERS)), min_size=1, max_size=8)


@given(MESSAGES, st.lists(st.integers(0, 600), max_size=8), st.booleans())
@settings(deadline=None, max_examples=400)
def test_a_known_head_is_read_as_if_it_were_parsed(messages: list[bytes], cuts: list[int], between: bool) -> None:
    data = b"".join(messages)
    ends = list(itertools.accumulate(map(len, messages))) if between else []
    places = sorted({0, len(data), *(cut for cut in (*cuts, *ends) if cut < len(data))})
    reads = [data[a:b] for a, b in itertools.pairwise(places)]
    parsed = [asyncio.run(heard([message])) for message in messages]
    requests, written = asyncio.run(heard(reads))
    assert [(r.method, r.target, r.body) for r in requests] == [(r.method, r.target, r.body) for (r,), _ in parsed]
    for request, ((alone,), _) in zip(requests, parsed, strict=True):
        length = {b"content-length"}
        assert {n: v for n, v in request.fields.items() if n not in length} == {
            n: v for n, v in alone.fields.items() if n not in length
        }
    assert written == b"".join(answer for _, answer in parsed)


@pytest.mark.parametrize("start", [b"P", b"PO", b"GET", b"X"])
def test_nothing_passes_between_the_beginning_of_a_request_and_a_known_head(start: bytes) -> None:
    first = posted(b"abc")
    requests, written = asyncio.run(heard([first, start, first]))
    assert len(requests) == 1
    assert written.count(b"HTTP/1.1 400 ") == 1


@pytest.mark.parametrize("digits", [b"+3", b"-3", b"3 ", b" 3", b"0x3", b"\xb2", b"12345678", b"", b"3,3"])
def test_no_odd_length_passes_behind_a_known_head(digits: bytes) -> None:
    first = posted(b"abc")
    odd = first.replace(b": 3", b": " + digits)
    together, alone = asyncio.run(heard([first, odd])), asyncio.run(heard([odd]))
    assert together[0][1:] == alone[0]
    assert together[1].endswith(alone[1])


# ---- many requests


def test_a_pipeline_is_answered_in_order_and_bounded() -> None:
    async def case() -> None:
        async with calling() as caller:
            count = server.PIPELINE_MAX + 4
            caller.writer.write(b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % n for n in range(count)))
            await caller.rest()
            assert [r.target for r in caller.echo.requests] == [b"/%d" % n for n in range(server.PIPELINE_MAX)]
            assert caller.echo.refused == [400]

    run(case())


def test_bytes_ahead_wait_unparsed_and_bounded_while_a_request_is_in_flight() -> None:
    async def case() -> None:
        async with calling() as caller:
            caller.writer.write(b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\n")
            await until(lambda: bool(caller.echo.held))
            caller.writer.write(POST + b"Content-Length: 2000000\r\n\r\n" + b"a" * 2_000_000)
            served = caller.served
            await until(lambda: not served._reading)
            assert served._ahead_bytes < 3 * server.AHEAD_BYTES_MAX
            caller.echo.held[0].whole(200, b"", b"held")
            await until(lambda: len(caller.echo.requests) == 2)
            assert len(caller.echo.requests[1].body) == 2_000_000

    run(case())


def test_a_pipeline_whose_answers_nobody_reads_is_not_worked_off() -> None:
    async def case() -> None:
        async with calling() as caller:
            size = 4_000_000
            big = POST + b"Content-Length: %d\r\n\r\n" % size + b"a" * size
            caller.writer.transport.pause_reading()
            caller.writer.write(big)
            await until(lambda: len(caller.echo.requests) == 1)
            await until(lambda: not caller.served._writable)
            caller.writer.write(GET * 3)
            await asyncio.sleep(0.05)
            assert len(caller.echo.requests) == 1
            caller.writer.transport.resume_reading()
            async with asyncio.timeout(10):
                await caller.reader.readexactly(size)
            await until(lambda: len(caller.echo.requests) == 4)

    run(case())


def test_a_body_of_tiny_chunks_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "BODY_BYTES_MAX", 1000)

    async def case() -> None:
        async with calling() as caller:
            caller.writer.write(CHUNKED + b"2\r\nab\r\n" * 600 + b"0\r\n\r\n" + SMUGGLED)
            assert (await caller.rest()).startswith(b"HTTP/1.1 413 ")
            assert caller.echo.requests == []

    run(case())


# ---- leaving


@pytest.mark.parametrize("how", ["close", "abort", "half-close"])
def test_a_caller_who_leaves_is_noticed_once(how: str) -> None:
    async def case() -> None:
        async with calling() as caller:
            caller.writer.write(b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\n")
            await until(lambda: bool(caller.echo.held))
            if how == "half-close":
                caller.writer.write_eof()
                assert await caller.rest() == b""
            elif how == "close":
                caller.writer.close()
            else:
                caller.writer.transport.abort()
            await until(lambda: caller.echo.gone == 1)
            held = caller.echo.held[0]
            held.begin(200, b"", b"late")
            held.chunk(b"late")
            held.end()
            held.cut()
            assert caller.echo.gone == 1
            assert not caller.connections

    run(case())


def test_an_answer_already_written_arrives_after_a_half_close() -> None:
    async def case() -> None:
        async with calling() as caller:
            caller.writer.write(GET)
            caller.writer.write_eof()
            assert (await caller.rest()).endswith(b"/echo")

    run(case())


def test_a_slow_reader_pauses_its_stream() -> None:
    async def case() -> None:
        async with calling() as caller:
            caller.writer.transport.pause_reading()
            caller.writer.write(b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\n")
            await until(lambda: bool(caller.echo.held))
            held = caller.echo.held[0]
            held.begin(200, b"", b"a")
            while not caller.echo.writable:
                held.chunk(b"a" * 60_000)
                await asyncio.sleep(0)
            assert held.transport.get_write_buffer_size() < 2 * server.WRITE_HIGH
            caller.writer.transport.resume_reading()
            reading = asyncio.create_task(caller.rest())
            await until(lambda: caller.echo.writable == [False, True])
            held.cut(b"end")
            assert (await reading).endswith(b"3\r\nend\r\n")

    run(case())


# ---- time


def test_a_slow_upload_is_refused_and_an_idle_connection_closed() -> None:
    async def case() -> None:
        async with calling() as slow, calling() as idle:
            await slow.answers(GET)
            slow.writer.write(POST + b"Content-Length: 9\r\n\r\nabc")
            await until(lambda: slow.served._arriving)
            await until(lambda: bool(idle.connections))
            slow.served.expire(100.0)
            idle.served.expire(100.0)
            slow.served.expire(100.0 + server.UPLOAD_S)
            assert slow.echo.refused == []
            slow.served.expire(101.0 + server.UPLOAD_S)
            assert (await slow.rest()).startswith(b"HTTP/1.1 408 ")
            idle.served.expire(101.0 + server.UPLOAD_S)
            assert not idle.served._closing
            idle.served.expire(101.0 + server.IDLE_S)
            assert await idle.rest() == b""

    run(case())


def test_idling_is_no_part_of_an_upload() -> None:
    async def case() -> None:
        async with calling() as caller:
            await until(lambda: bool(caller.connections))
            served = caller.served
            served.expire(100.0)
            served.expire(150.0)
            caller.writer.write(POST + b"Content-Length: 9\r\n\r\nabc")
            await until(lambda: served._arriving)
            served.expire(200.0)
            served.expire(200.0 + server.UPLOAD_S)
            assert caller.echo.refused == []
            served.expire(201.0 + server.UPLOAD_S)
            assert (await caller.rest()).startswith(b"HTTP/1.1 408 ")

    run(case())


def test_a_large_upload_that_goes_on_has_its_time() -> None:
    async def case() -> None:
        async with calling() as caller:
            size = 30 * server.UPLOAD_BYTES_PER_S
            caller.writer.write(POST + b"Content-Length: %d\r\n\r\n" % (size + 1) + bytes(size))
            served = caller.served
            await until(lambda: len(served._body) == size)
            served.expire(100.0)
            served.expire(100.0 + server.UPLOAD_S + 29)
            assert not served._deaf
            served.expire(100.0 + server.UPLOAD_S + 31)
            assert (await caller.rest()).startswith(b"HTTP/1.1 408 ")

    run(case())


def test_a_request_in_flight_never_expires_and_a_close_that_hangs_does() -> None:
    async def case() -> None:
        async with calling() as caller:
            caller.writer.write(b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\n")
            await until(lambda: bool(caller.echo.held))
            served = caller.served
            for now in (1.0, 1e6, 2e6):
                served.expire(now)
            assert not served._closing
            caller.writer.transport.pause_reading()
            served.cut(b"a" * 8_000_000)
            served.expire(1.0)
            served.expire(2.0 + server.CLOSE_S)
            await until(lambda: not caller.connections)

    run(case())


def test_a_drain_waits_for_the_answer_and_takes_no_further_request() -> None:
    async def case() -> None:
        async with calling() as caller, calling() as idle:
            await until(lambda: bool(idle.connections))
            for now in (1.0, 1.1 + server.LINGER_S):
                assert not idle.served._closing
                idle.served.drain(now)
            assert await idle.rest() == b""
            caller.writer.write(b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\n" + GET)
            await until(lambda: bool(caller.echo.held))
            for now in (1.0, 1e6):
                caller.served.drain(now)
            caller.echo.held[0].whole(200, b"", b"held")
            assert (await caller.rest()) == b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 4\r\n\r\nheld"
            assert len(caller.echo.requests) == 1

    run(case())


def test_who_was_not_told_of_a_drain_may_ask_once_more() -> None:
    async def case() -> None:
        async with calling() as caller:
            caller.writer.write(b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\n")
            await until(lambda: bool(caller.echo.held))
            caller.echo.held[0].begin(200, b"", b"a")
            caller.served.drain(1.0)
            caller.echo.held[0].end()
            caller.served.drain(2.0)
            caller.writer.write(GET[:9])
            await until(lambda: caller.served._arriving)
            caller.served.drain(3.0)
            caller.served.drain(3.1 + server.LINGER_S)
            caller.writer.write(GET[9:])
            rest = await caller.rest()
            assert rest.count(b"HTTP/1.1 200 OK\r\n") == 2
            assert rest.count(b"connection: close\r\n") == 1
            assert rest.endswith(b"/echo")

    run(case())
