"""Case 40: SIGTERM while streams run. They finish; what comes meanwhile is refused; what is too slow is told."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import sqlite3
import threading
import time

import pytest

from faults import driver
from support import DIALECTS, PATHS, Raw, Served, ask_raw, body, config, provider, read_raw, request_bytes, serve
from trivium.testing import FakeUpstream, answers

STREAMS = 10


def streams(served: Served, up: FakeUpstream, count: int = STREAMS) -> tuple[list[threading.Thread], list[Raw]]:
    """So many streams under way, half in each dialect, and where their ends will be found."""
    found: list[Raw] = []

    def ask(index: int) -> None:
        dialect = DIALECTS[index % 2]
        found.append(ask_raw(served.port, dialect, f"{dialect}/gap-300", stream=True))

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    up.wait_until(lambda: up.busy == count)
    time.sleep(0.1)
    return threads, found


def configuration(up: FakeUpstream, drain: str) -> str:
    rows = [provider(up, dialect, dialect=dialect) for dialect in DIALECTS]
    return config(rows, server={"drain": drain})


def outcomes(served: Served) -> list[str]:
    """Of all attempts: the owner loads its journal before it ends."""
    with contextlib.closing(sqlite3.connect(served.home / "ledger.db")) as database:
        return [row[0] for row in database.execute("SELECT outcome FROM attempt")]


def refused(port: int) -> bool:
    try:
        raw = ask_raw(port, "openai_chat", "openai_chat/ok")
    except (ConnectionError, IndexError):
        return True
    return not raw.head or raw.status == 503


def test_streams_finish_and_newcomers_are_refused() -> None:
    with FakeUpstream(time_scale=20) as up, serve(configuration(up, "10s")) as served:
        threads, found = streams(served, up)
        served.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert refused(served.port)
        for thread in threads:
            thread.join()
        for raw in found:
            dialect = "openai_chat" if b"chat.completion" in raw.body else "anthropic_messages"
            seen = driver.read_stream(raw, dialect)
            assert (seen.outcome, seen.text, seen.note) == ("answer", answers.words(64), "")
        assert len(found) == STREAMS
        assert served.process.wait(5) == 0
        assert outcomes(served) == ["ok"] * STREAMS
        assert up.busy == 0


def test_a_stream_that_is_too_slow_is_told() -> None:
    with FakeUpstream(time_scale=5) as up, serve(configuration(up, "300ms")) as served:
        threads, found = streams(served, up)
        served.process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join()
        assert served.process.wait(5) == 0
        for raw in found:
            dialect = "openai_chat" if b"chat.completion" in raw.body else "anthropic_messages"
            seen = driver.read_stream(raw, dialect)
            assert (seen.outcome, seen.kind, seen.note) == ("cut", "draining", "")
        assert outcomes(served) == ["error_midstream"] * STREAMS
        up.wait_until(lambda: not up.busy)


def test_whoever_is_connected_is_served_once_more() -> None:
    payload = request_bytes(PATHS["openai_chat"], json.dumps(body("openai_chat/ok")).encode())
    with FakeUpstream(time_scale=5) as up, serve(configuration(up, "10s")) as served, contextlib.ExitStack() as stack:
        callers = [stack.enter_context(socket.create_connection(("127.0.0.1", served.port), 10)) for _ in range(9)]
        threads, found = streams(served, up)
        served.process.send_signal(signal.SIGTERM)
        seen: list[Raw] = []
        while not seen or seen[-1].header("connection") != "close":
            callers[0].sendall(payload)
            seen.append(read_raw(callers[0]))
        for caller in callers[1:]:
            caller.sendall(request_bytes("/ready", b"", method="GET") if caller is callers[-1] else payload)
            seen.append(read_raw(caller))
        assert {(raw.status, raw.header("connection")) for raw in seen[-9:-1]} == {(200, "close")}
        assert {raw.status for raw in seen[:-1]} == {200}
        assert (seen[-1].status, seen[-1].body) == (503, b'{"status":"draining"}')
        for thread in threads:
            thread.join()
        assert len(found) == STREAMS
        assert served.process.wait(5) == 0
        assert set(outcomes(served)) == {"ok"}


@pytest.mark.parametrize("again", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_waits_for_nobody(again: signal.Signals) -> None:
    with FakeUpstream(time_scale=5) as up, serve(configuration(up, "60s")) as served:
        threads, found = streams(served, up)
        served.process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
        assert not found
        served.process.send_signal(again)
        assert served.process.wait(8) == 0
        for thread in threads:
            thread.join()
        for raw in found:
            dialect = "openai_chat" if b"chat.completion" in raw.body else "anthropic_messages"
            seen = driver.read_stream(raw, dialect)
            assert (seen.outcome, seen.kind, seen.note) == ("cut", "draining", "")
        assert outcomes(served) == ["error_midstream"] * STREAMS


@pytest.mark.parametrize("model", ["silent", "429-retry-after-9"])
def test_who_waits_for_a_first_word_is_told_as_well(model: str) -> None:
    with FakeUpstream() as up, serve(configuration(up, "200ms")) as served:
        found: list[Raw] = []
        thread = threading.Thread(
            target=lambda: found.append(ask_raw(served.port, "openai_chat", f"openai_chat/{model}"))
        )
        thread.start()
        up.wait_until(lambda: up.count() == 1)
        time.sleep(0.1)
        served.process.send_signal(signal.SIGTERM)
        thread.join()
        assert served.process.wait(5) == 0
        assert found[0].status == 503
        assert b"draining" in found[0].body
        assert up.count() == 1
