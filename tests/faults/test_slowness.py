"""What is slow: endpoints that a breaker spares the next caller, callers who read slowly, answers that come late."""

from __future__ import annotations

import json
import socket
import sys
import time
from pathlib import Path

import pytest

from faults import driver
from faults.cases import FALLBACK_TEXT
from processes_help import workers
from support import PATHS, SCALE, Served, ask_raw, body, config, primary_at, provider, read_raw, request_bytes, serve
from trivium.testing import FakeUpstream

ROUTE = {"name": "route", "targets": ["primary/ok", "fallback/ok"]}


@pytest.mark.parametrize(("fixture", "first_s"), [("black-hole", 3.2 / SCALE), ("refused", 0.05)])
def test_a_dead_endpoint_costs_nobody_time_once_it_is_known(fixture: str, first_s: float) -> None:
    """Case 2: at most 3.2 s the first time, at most 50 ms once the breaker is open; back soon after recovery."""
    with FakeUpstream() as up, FakeUpstream(text=FALLBACK_TEXT) as fallback, primary_at(fixture, up) as address:
        rows = [provider(address.base_url), provider(fallback, "fallback")]
        route = ROUTE | {"breaker": {"failures": 3, "cooldown": "60s"}}
        with serve(config(rows, [route])) as served:
            times: list[float] = []
            for _ in range(8):
                start = time.monotonic()
                raw = ask_raw(served.port, "openai_chat", "route")
                times.append(time.monotonic() - start)
                assert FALLBACK_TEXT.encode() in raw.body
                assert raw.header("x-trivium-fallback")
            money = driver.JournalReader(served.home).new()
    assert max(times[:3]) <= first_s * driver.SLACK
    assert sorted(times[3:])[2] <= 0.05
    assert len(money.at("primary")) == 3
    assert len(money.at("fallback")) == 8


def test_back_on_the_primary_soon_after_it_is_back() -> None:
    with FakeUpstream(text=FALLBACK_TEXT) as fallback, FakeUpstream() as up:
        rows = [provider(up), provider(fallback, "fallback")]
        route = ROUTE | {"breaker": {"failures": 2, "cooldown": "300ms"}}
        with serve(config(rows, [route])) as served:
            up.stop()
            for _ in range(4):
                assert FALLBACK_TEXT.encode() in ask_raw(served.port, "openai_chat", "route").body
            up.start()
            # The cool-down may have ended while it was still away, and then doubles.
            end = time.monotonic() + 5
            raw = ask_raw(served.port, "openai_chat", "route")
            while raw.header("x-trivium-endpoint") != "primary/ok" and time.monotonic() < end:
                time.sleep(0.1)
                raw = ask_raw(served.port, "openai_chat", "route")
            assert raw.header("x-trivium-endpoint") == "primary/ok"
            assert raw.header("x-trivium-fallback") is None


def rss_kib(served: Served) -> int:
    """Of the process that serves: its one worker, or the one process that does everything."""
    (pid,) = workers(served) or {served.process.pid}
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmRSS:")[2].split()[0])


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_slow_reader_is_waited_for_without_buffering() -> None:
    """Case 10: nothing piles up for who does not read, and the pause is no silence of the upstream."""
    mebibytes = 24
    with FakeUpstream(time_scale=SCALE) as up, serve(config([provider(up)])) as served:
        ask_raw(served.port, "openai_chat", "primary/flood-1", stream=True)
        before = rss_kib(served)
        with socket.create_connection(("127.0.0.1", served.port), timeout=10) as sock:
            payload = json.dumps(body(f"primary/flood-{mebibytes}", stream=True)).encode()
            sock.sendall(request_bytes(PATHS["openai_chat"], payload))
            time.sleep(2.0)  # twice the scaled idle deadline
            assert up.busy == 1
            assert rss_kib(served) - before < 4096
            raw = read_raw(sock)
        assert raw.body.endswith(b"0\r\n\r\n")
        assert raw.payload.rstrip().endswith(b"data: [DONE]")
        assert raw.payload.count(b"xxxx") >= mebibytes << 8


@pytest.mark.parametrize(("model", "error"), [("late-6000", False), ("silent", True)])
def test_a_caller_who_waits_hears_something(model: str, error: bool) -> None:
    """A comment after 5 s; it commits the head, so that a later failure is told inside the stream."""
    timeouts = {"first_content": 5.5 * SCALE if error else 60.0 * SCALE, "connect": 60.0}
    with FakeUpstream() as up, serve(config([provider(up)], timeouts=timeouts)) as served:
        raw = ask_raw(served.port, "openai_chat", f"primary/{model}", stream=True, quiet_s=10)
    assert raw.status == 200
    assert raw.payload.startswith(b": keep-alive\n\n")
    assert 4.9 < raw.reads[0] < 6.0
    seen = driver.read_stream(raw, "openai_chat")
    assert not seen.note
    assert (seen.outcome, seen.kind) == (("error", "upstream_timeout") if error else ("answer", ""))
