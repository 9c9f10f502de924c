"""Case 30 in full: an upstream that closes every idle connection just as the next request is written to it."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator

import pytest

from faults import driver
from support import body, config, provider, serve
from trivium.testing import FakeUpstream

CALLERS = 8


@pytest.fixture(scope="module")
def bench() -> Iterator[driver.GatewayBench]:
    with FakeUpstream() as up:
        text = config([provider(up)], timeouts={"connect": 60.0, "first_content": 400.0})
        on = driver.Setting(up, up, text, {}, {})
        with serve(text) as served:
            yield driver.GatewayBench(on, served)


def ask_often(port: int, model: str, count: int, statuses: list[int]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    payload = json.dumps(body(model))
    for _ in range(count):
        connection.request("POST", "/v1/chat/completions", payload, {"content-type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        statuses.append(answer.status)
    connection.close()


@pytest.mark.parametrize("fault", ["keepalive-race", "keepalive-race-rst"])
@pytest.mark.parametrize("count", [500, pytest.param(10_000, marks=pytest.mark.long)])
def test_no_request_is_lost_or_billed_twice(bench: driver.GatewayBench, fault: str, count: int) -> None:
    bench.journal.new()
    bench.on.up.reset()
    statuses: list[int] = []
    each = count // CALLERS
    callers = [
        threading.Thread(target=ask_often, args=(bench.served.port, f"primary/{fault}", each, statuses))
        for _ in range(CALLERS)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    total = each * CALLERS
    assert statuses == [200] * total
    money = bench.journal.new()
    assert bench.on.up.count(model=fault) == total
    assert [s.outcome for s in money.settled] == ["ok"] * total
    assert len({(s.id, s.attempt) for s in money.settled}) == len(money.closed) == total
    assert {c.attempts for c in money.closed} == {1}
