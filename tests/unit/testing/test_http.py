"""The fake upstream reads requests strictly, so that a broken one is not mistaken for a good one."""

from __future__ import annotations

import json
import socket

import pytest

from support import body, read_raw
from trivium.testing import FakeUpstream

PAYLOAD = json.dumps(body("ok")).encode()
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n"


def exchange(*writes: bytes) -> tuple[int, bytes]:
    """The status of the answer to these writes, and the body that arrived."""
    with FakeUpstream() as up, socket.create_connection(("127.0.0.1", up.port), 10) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for data in writes:
            sock.sendall(data)
        status = read_raw(sock).status
        return status, up.requests[0].body if up.requests else b""


def test_a_chunked_body() -> None:
    chunks = b"5\r\n%s\r\n%x;ext=1\r\n%s\r\n0\r\n\r\n" % (PAYLOAD[:5], len(PAYLOAD) - 5, PAYLOAD[5:])
    request = HEAD + b"transfer-encoding: chunked\r\n\r\n" + chunks
    assert exchange(request) == (200, PAYLOAD)
    assert exchange(*(request[i : i + 1] for i in range(len(request)))) == (200, PAYLOAD)


def test_it_says_continue() -> None:
    head = HEAD + b"content-length: %d\r\nexpect: 100-continue\r\n\r\n" % len(PAYLOAD)
    with FakeUpstream() as up, socket.create_connection(("127.0.0.1", up.port), 10) as sock:
        sock.sendall(head)
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(PAYLOAD)
        assert read_raw(sock).status == 200


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\r\n\r\n",
        b"POST /v1/chat/completions\r\n\r\n",
        HEAD + b"content-length: -1\r\n\r\n",
        HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 200_000,
    ],
)
def test_what_is_no_request_is_refused(request_bytes: bytes) -> None:
    with FakeUpstream() as up, socket.create_connection(("127.0.0.1", up.port), 10) as sock:
        try:
            sock.sendall(request_bytes)
            assert sock.recv(12) == b"HTTP/1.1 400"
        except ConnectionError:  # it may stop reading before everything is sent
            assert len(request_bytes) > 1 << 20
        assert up.requests == []


def test_a_client_that_closes_in_the_middle_is_no_request() -> None:
    with FakeUpstream() as up:
        with socket.create_connection(("127.0.0.1", up.port), 10) as sock:
            sock.sendall(HEAD + b"content-length: 100\r\n\r\nhalf")
        up.wait_until(lambda: (up.connections, up.open_connections) == (1, 0))
        assert up.requests == []


def test_connection_close_is_honoured() -> None:
    with FakeUpstream() as up, socket.create_connection(("127.0.0.1", up.port), 10) as sock:
        sock.sendall(HEAD + b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(PAYLOAD) + PAYLOAD)
        assert read_raw(sock).status == 200
        assert sock.recv(1) == b""
