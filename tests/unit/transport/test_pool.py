"""Connections kept and handed out: which, for how long, and to whom not."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from transport_help import run, until
from trivium.errors import UpstreamError, UpstreamUnreachable
from trivium.transport import pool as pools
from trivium.transport.http1 import UpstreamConnection
from trivium.transport.pool import DataClassViolation, Pool
from trivium.transport.upstream import Fields, Upstream
from trivium.types.data import DataClass
from trivium.types.origin import Origin

ASK = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
SHORT = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na"
ENDLESS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n"


class Waiting:
    def __init__(self, *, leave: bool = False) -> None:
        self.connection: UpstreamConnection | None = None
        self.errors: list[UpstreamError] = []
        self.told = asyncio.Event()
        self._leave = leave

    def on_connected(self, connection: UpstreamConnection) -> None:
        self.connection = connection

    def on_unreachable(self, error: UpstreamError) -> None:
        self.errors.append(error)
        self.told.set()

    def on_head(self, status: int, fields: Fields) -> None: ...

    def on_body(self, data: bytes) -> None:
        if self._leave and self.connection is not None:
            self.connection.detach()
            self.told.set()

    def on_end(self) -> None:
        self.told.set()

    def on_lost(self, error: UpstreamError, *, untouched: bool) -> None:
        self.on_unreachable(error)


class Site:
    """A server that answers each request with `answer`, and a pool that dials it."""

    def __init__(self) -> None:
        self.answer = SHORT
        self.received = b""
        self.accepted = 0
        self.ended = 0
        self.port = 0
        self.pool = Pool(asyncio.get_running_loop(), self.dial)

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        try:
            while data := await reader.read(1 << 16):
                self.received += data
                writer.write(self.answer)
        except ConnectionError:
            pass  # an aborted connection is what some tests want
        self.ended += 1
        writer.close()

    async def dial(self, upstream: Upstream, make: Callable[[], UpstreamConnection]) -> Any:
        return await asyncio.get_running_loop().create_connection(make, "127.0.0.1", upstream.origin.port)

    def upstream(
        self, ceiling: DataClass = DataClass.PREMISES, *, trusted: bool = True, local: bool = True
    ) -> Upstream:
        origin = Origin(scheme="http", host="127.0.0.1", port=self.port)
        return Upstream(
            origin=origin, endpoint="lab/m", ceiling=ceiling, trusted_origin=trusted, local=local, connect_s=1, tls_s=1
        )

    async def ask(
        self, *, fresh: bool = False, trusted: bool = True, local: bool = True, leave: bool = False
    ) -> Waiting:
        waiting = Waiting(leave=leave)
        taken = self.pool.hand_out(
            self.upstream(trusted=trusted, local=local), DataClass.ANY, waiting, ASK, fresh=fresh
        )
        if isinstance(taken, UpstreamConnection):
            waiting.connection = taken
        async with asyncio.timeout(10):
            await waiting.told.wait()
        return waiting


@asynccontextmanager
async def site() -> AsyncIterator[Site]:
    made = Site()
    listening = await asyncio.start_server(made.talk, "127.0.0.1", 0)
    made.port = listening.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        made.pool.close()
        await asyncio.sleep(0.02)  # what the kernel has accepted already comes to `talk` first
        listening.close()
        await until(lambda: made.ended == made.accepted)


def test_a_connection_is_reused_unless_a_fresh_one_is_asked_for() -> None:
    async def case() -> None:
        async with site() as made:
            first = await made.ask()
            second = await made.ask()
            assert second.connection is first.connection
            third = await made.ask(fresh=True)
            assert third.connection is not first.connection
            assert made.accepted == 2
            assert (await made.ask()).connection is third.connection  # last in, first out

    run(case())


@pytest.mark.parametrize(("asked", "ceiling"), list(itertools.product(DataClass, DataClass)))
def test_no_byte_reaches_an_endpoint_below_the_class(asked: DataClass, ceiling: DataClass) -> None:
    async def case() -> None:
        async with site() as made:
            for pooled in (False, True):
                before = (made.accepted, len(made.received))
                waiting = Waiting()
                if asked > ceiling:
                    with pytest.raises(DataClassViolation, match=asked.word):
                        made.pool.hand_out(made.upstream(ceiling), asked, waiting, ASK)
                    await asyncio.sleep(0.005)
                    assert (made.accepted, len(made.received)) == before
                else:
                    made.pool.hand_out(made.upstream(ceiling), asked, waiting, ASK)
                    await waiting.told.wait()
                    assert len(made.received) > before[1]
                if not pooled:
                    await made.ask()

    run(case())


def test_a_connection_to_a_trusted_origin_serves_no_untrusted_row() -> None:
    async def case() -> None:
        async with site() as made:
            first = await made.ask(trusted=True)
            second = await made.ask(trusted=False)
            assert second.connection is not first.connection
            assert (await made.ask(trusted=True)).connection is second.connection

    run(case())


def test_a_connection_around_the_proxy_serves_no_remote_row() -> None:
    async def case() -> None:
        async with site() as made:
            first = await made.ask(local=True)
            assert (await made.ask(local=False)).connection is not first.connection

    run(case())


def test_an_idle_connection_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "IDLE_S_LOCAL", -1.0)

    async def case() -> None:
        async with site() as made:
            first = await made.ask()
            assert (await made.ask()).connection is not first.connection
            made.pool.sweep()
            await until(lambda: made.ended == 2)

    run(case())


def test_the_upstreams_own_time_shortens_ours() -> None:
    async def case() -> None:
        async with site() as made:
            made.answer = SHORT.replace(b"OK\r\n", b"OK\r\nKeep-Alive: timeout=1\r\n")
            first = await made.ask()
            assert (await made.ask()).connection is not first.connection

    run(case())


def test_no_more_connections_idle_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "IDLE_CONNECTIONS_MAX", 1)

    async def case() -> None:
        async with site() as made:
            await asyncio.gather(made.ask(), made.ask(), made.ask())
            await until(lambda: (made.accepted, made.ended) == (3, 2))

    run(case())


@pytest.mark.parametrize("swept", [True, False])
def test_an_answer_without_an_end_is_given_up_when_its_receiver_left(
    monkeypatch: pytest.MonkeyPatch, swept: bool
) -> None:
    monkeypatch.setattr(pools, "DRAIN_S", 0.0 if swept else 0.02)

    async def case() -> None:
        async with site() as made:
            made.answer = ENDLESS
            await made.ask(leave=True)
            if swept:
                made.pool.sweep()
            await until(lambda: made.ended == 1)
            assert not made.pool._draining

    run(case())


def test_what_the_dial_raises_reaches_the_receiver(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(upstream: Upstream, make: Callable[[], UpstreamConnection]) -> Any:
        raise ZeroDivisionError("oops")

    async def case() -> None:
        async with site() as made:
            made.pool = Pool(asyncio.get_running_loop(), broken)
            with caplog.at_level(logging.ERROR):
                waiting = await made.ask()
            assert [type(error) for error in waiting.errors] == [UpstreamUnreachable]
            assert waiting.errors[0].endpoint == "lab/m"
            assert "oops" in caplog.text

    run(case())


def test_a_connection_that_ended_while_it_was_opened_is_unreachable() -> None:
    async def case() -> None:
        async with site() as made:

            async def dial(upstream: Upstream, make: Callable[[], UpstreamConnection]) -> Any:
                transport, connection = await Site.dial(made, upstream, make)
                transport.abort()
                await until(lambda: connection.closed)
                return transport, connection

            made.pool = Pool(asyncio.get_running_loop(), dial)
            assert [type(error) for error in (await made.ask()).errors] == [UpstreamUnreachable]

    run(case())


@pytest.mark.parametrize("turns", range(6))
def test_giving_up_while_dialling_leaves_nothing(turns: int) -> None:
    async def case() -> None:
        async with site() as made:
            waiting = Waiting()
            task = made.pool.hand_out(made.upstream(), DataClass.ANY, waiting, ASK)
            assert isinstance(task, asyncio.Task)
            for _ in range(turns):
                await asyncio.sleep(0)
            if not task.done():
                task.cancel()
                await asyncio.wait([task])
                assert not waiting.errors
                assert waiting.connection is None
                assert made.received == b""
            assert not made.pool._opening or task.done()

    run(case())


def test_close_ends_what_opens_idles_and_drains() -> None:
    async def case() -> None:
        async with site() as made:
            await made.ask()
            made.answer = ENDLESS
            await made.ask(fresh=True, leave=True)
            opening = made.pool.hand_out(made.upstream(), DataClass.ANY, Waiting(), ASK, fresh=True)
            made.pool.close()
            assert isinstance(opening, asyncio.Task)
            await asyncio.wait([opening])
            assert opening.cancelled()
            await until(lambda: made.ended == made.accepted)

    run(case())
