"""Smuggling through the whole gateway: what the upstream got is what was answered, and nothing else."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest

from support import Served, body, config, provider, request_bytes, serve
from trivium.testing import FakeUpstream

PATH = "/v1/chat/completions"
PAYLOAD = json.dumps(body("primary/demo")).encode()
ONE = request_bytes(PATH, PAYLOAD)
HEAD = f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n".encode()
LENGTH = b"Content-Length: %d\r\n" % len(PAYLOAD)
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(PAYLOAD), PAYLOAD)

CASES: dict[str, tuple[bytes, int]] = {
    "length": (HEAD + LENGTH + b"\r\n" + PAYLOAD, 1),
    "chunks": (CHUNKED, 1),
    "pipeline": (ONE * 3, 3),
    "upgrade": (HEAD + LENGTH + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n" + PAYLOAD, 1),
    "request-in-body-behind-upgrade": (
        HEAD + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: %d\r\n\r\n" % len(ONE) + ONE,
        0,
    ),
    "cl-te": (HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + ONE, 0),
    "te-cl": (HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + ONE, 0),
    "two-lengths": (HEAD + b"Content-Length: 0\r\n" + LENGTH + b"\r\n" + ONE, 0),
    "bare-lf": ((HEAD + LENGTH).replace(b"\r\n", b"\n") + b"\n" + ONE, 0),
    "fold": (HEAD + b"X: a\r\n b\r\n" + LENGTH + b"\r\n" + ONE, 0),
    "space-before-colon": (HEAD + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + ONE, 0),
    "gzip-chunked": (HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + ONE, 0),
    "chunk-lf": (CHUNKED.replace(b"\r\n\r\n", b"\r\n\r\n0\n\r\n", 1) + ONE, 0),
    "two-hosts": (HEAD + b"Host: evil\r\n" + LENGTH + b"\r\n" + PAYLOAD + ONE, 0),
    "after-close": (HEAD + b"Connection: close\r\n" + LENGTH + b"\r\n" + PAYLOAD + ONE, 1),
}


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream() as fake:
        yield fake


@pytest.fixture(scope="module")
def served(upstream: FakeUpstream) -> Iterator[Served]:
    with serve(config([provider(upstream)])) as running:
        yield running


@pytest.mark.parametrize("name", CASES)
def test_the_upstream_gets_as_many_requests_as_were_answered(name: str, upstream: FakeUpstream, served: Served) -> None:
    sent, count = CASES[name]
    before = upstream.count()
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as sock:
        sock.sendall(sent)
        got = b""
        while got.count(b"HTTP/1.1 ") < max(count, 1) and (more := sock.recv(1 << 20)):
            got += more
    assert got.count(b"HTTP/1.1 200 OK") == count, got[:500]
    assert upstream.count() - before == count
