"""Callers who leave: in the middle of a stream, while a retry is waited for, and by the hundred (cases 32 and 33)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import Iterator
from typing import cast

import pytest

from faults import driver
from faults.cases import CASES, Cell
from support import PATHS, Dialect, body, request_bytes
from trivium.types.event import TextDelta

LEAVING = [case for case in CASES if case.action in ("leave", "leave-waiting")]
GATEWAY = driver.all_cells("gateway", LEAVING, ("leave", "leave-waiting"))
LIBRARY = driver.all_cells("library", LEAVING, ("leave", "leave-waiting"))
GONE_S = 1.0
MANY = 200


@pytest.fixture(scope="module")
def gateway() -> Iterator[driver.GatewayBench]:
    with driver.gateway_bench(GATEWAY) as bench:
        yield bench


@pytest.fixture(scope="module")
def library() -> Iterator[driver.LibraryBench]:
    with driver.library_bench(LIBRARY) as bench:
        yield bench


def ask(bench: driver.GatewayBench, model: str, dialect: str, *, stream: bool) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", bench.served.port), timeout=10)
    path = PATHS[cast("Dialect", dialect)]
    sock.sendall(request_bytes(path, json.dumps(body(model, stream=stream)).encode()))
    return sock


def gone(bench: driver.Bench, cell: Cell, left_at: float) -> None:
    """The upstream was cancelled in time, nothing more was asked, and the ledger says who left."""
    bench.on.up.wait_until(lambda: not bench.on.up.busy, GONE_S * driver.SLACK)
    ends = [seen.client_gone_at for seen in bench.on.up.requests if seen.answered_at is None]
    assert all(end is not None and end - left_at <= GONE_S for end in ends)
    time.sleep(0.3)  # long enough for a retry that should not come
    assert bench.on.up.count() == 1
    assert bench.on.fallback.count() == 0
    money = bench.journal.new()
    assert [c.error for c in money.closed] == ["client_closed_request"]
    assert money.closed[0].status == 499
    assert len(money.reserved) == len(money.settled) == 1
    if cell.case.action == "leave" or cell.case.model == "silent":
        assert money.settled[0].outcome == "aborted_by_client"
    if cell.case.action == "leave":
        assert money.settled[0].estimated
        assert money.settled[0].output_tokens > 0
        assert money.settled[0].cost_nanos
    driver.alive(bench)


def start(bench: driver.Bench) -> None:
    bench.journal.new()
    bench.on.up.reset()
    bench.on.fallback.reset()


def arrived(bench: driver.Bench, cell: Cell) -> None:
    """The upstream has the request, and has refused it if it does."""
    refuses = cell.case.model != "silent"
    up = bench.on.up
    up.wait_until(lambda: up.count() == 1 and (not refuses or up.requests[0].answered_at is not None))
    time.sleep(0.05)


@pytest.mark.parametrize("cell", GATEWAY, ids=lambda cell: cell.id)
def test_a_caller_leaves_the_server(gateway: driver.GatewayBench, cell: Cell) -> None:
    start(gateway)
    with ask(gateway, driver.route_name(cell), cell.dialect, stream=cell.stream) as sock:
        if cell.case.action == "leave":
            while b"capital" not in sock.recv(65536):
                pass
        else:
            arrived(gateway, cell)
    gone(gateway, cell, time.monotonic())


@pytest.mark.parametrize("cell", LIBRARY, ids=lambda cell: cell.id)
def test_a_program_gives_up(library: driver.LibraryBench, cell: Cell) -> None:
    async def leave() -> None:
        if cell.case.action == "leave":
            events = library.client.stream("Where?", driver.route_name(cell))
            async for event in events:
                if isinstance(event, TextDelta):
                    break
            await events.aclose()
            return
        asking = asyncio.ensure_future(_all(library, cell))
        await asyncio.get_running_loop().run_in_executor(None, arrived, library, cell)
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking

    start(library)
    library.loop.run_until_complete(leave())
    left = time.monotonic()
    library.loop.run_until_complete(asyncio.sleep(0.05))
    gone(library, cell, left)


async def _all(library: driver.LibraryBench, cell: Cell) -> None:
    if not cell.stream:
        await library.client.chat("Where?", driver.route_name(cell))
        return
    async for _ in library.client.stream("Where?", driver.route_name(cell)):
        pass


@pytest.mark.parametrize("count", [MANY, pytest.param(1000, marks=pytest.mark.long)])
def test_many_callers_leave(gateway: driver.GatewayBench, count: int) -> None:
    """Case 32: every one of them has its row, and its upstream is cancelled within a second."""
    start(gateway)
    model = next(driver.route_name(cell) for cell in GATEWAY if cell.case.model == "gap-1000" and not cell.fallback)
    left: list[float] = []
    for first in range(0, count, 50):
        socks = [ask(gateway, model, "openai_chat", stream=True) for _ in range(first, min(first + 50, count))]
        for sock in socks:
            while b"content" not in sock.recv(65536):
                pass
        for sock in socks:
            sock.close()
            left.append(time.monotonic())
    gateway.on.up.wait_until(lambda: not gateway.on.up.busy, GONE_S * driver.SLACK)
    ends = sorted(seen.client_gone_at or 1e18 for seen in gateway.on.up.requests)
    delays = [end - begin for begin, end in zip(left, ends, strict=True)]
    assert sorted(delays)[int(count * 0.99) - 1] <= GONE_S
    rows = gateway.journal.new()
    assert [s.outcome for s in rows.settled] == ["aborted_by_client"] * count
    assert all(s.estimated and s.output_tokens for s in rows.settled)
    assert len(rows.closed) == len(rows.reserved) == count
    driver.alive(gateway)
