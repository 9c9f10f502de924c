"""The admin plane, loaded for its first caller: `/metrics` in Prometheus's form, for this machine's names only."""

from __future__ import annotations

import http.client
import time

from support import Served, ask_raw, config, provider, serve
from trivium.testing import FakeUpstream


def get(served: Served, path: str, host: str = "127.0.0.1") -> tuple[int, str]:
    connection = http.client.HTTPConnection(served.admin_url.removeprefix("http://"), timeout=30)
    try:
        connection.request("GET", path, headers={"host": host})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_what_the_workers_counted_is_there_for_whoever_comes() -> None:
    with FakeUpstream() as up, serve(config([provider(up)])) as served:
        assert ask_raw(served.port, "openai_chat", "primary/ok").status == 200
        assert get(served, "/health") == (200, '{"status":"ok"}')
        assert get(served, "/metrics", host="collector.example")[0] == 400
        end = time.monotonic() + 20
        while "trivium_requests_total{" not in (text := get(served, "/metrics")[1]):
            assert time.monotonic() < end, text
            time.sleep(0.1)
    assert "# TYPE trivium_requests_total counter" in text
    assert served.process.returncode == 0


def test_a_server_whose_admin_plane_nobody_used_ends_at_once() -> None:
    with serve(config([])) as served:
        began = time.monotonic()
    assert served.process.returncode == 0
    assert time.monotonic() - began < 5  # the wait for a thread that does not end
