"""Probes: one question to a server on this machine, and nothing anywhere else."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import pytest

from transport_help import Connects, Serve, silence
from trivium.transport.probe import ANSWER_BYTES_MAX, get
from trivium.types.origin import parse_origin

NOBODY = (0, b"")


def ask(url: str, path: str = "/version", timeout_s: float = 5.0) -> tuple[int, bytes]:
    return asyncio.run(get(parse_origin(url), path, timeout_s=timeout_s))


def says(answer: bytes, heard: list[bytes] | None = None) -> Callable[[socket.socket], None]:
    """Talk that reads a request, sends `answer` and closes."""

    def talk(sock: socket.socket) -> None:
        data = b""
        while not data.endswith(b"\r\n\r\n"):
            data += sock.recv(4096)
        if heard is not None:
            heard.append(data)
        sock.sendall(answer)

    return talk


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", (200, b"{}")),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}and more", NOBODY),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n", (200, b"{}")),
        (b"HTTP/1.1 200 OK\r\n\r\n{}", (200, b"{}")),
        (b"HTTP/1.1 404 Not Found\r\ncontent-length: 1\r\n\r\nx", (404, b"x")),
        (b"HTTP/1.1 302 Found\r\nlocation: http://example.org/\r\ncontent-length: 0\r\n\r\n", (302, b"")),
        (b"HTTP/1.1 204 No Content\r\n\r\n", (204, b"")),
        (b"", NOBODY),
        (b"SSH-2.0-OpenSSH_9.6\r\n", NOBODY),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n{}", NOBODY),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (ANSWER_BYTES_MAX + 1), NOBODY),
    ],
)
def test_an_answer(serve: Serve, answer: bytes, expected: tuple[int, bytes]) -> None:
    server = serve(says(answer))
    assert ask(f"http://127.0.0.1:{server.port}/v1") == expected
    assert server.accepted == 1  # nothing is tried twice, no redirect is followed


@pytest.mark.parametrize(
    ("host", "bound"), [("127.0.0.1", "127.0.0.1"), ("[::1]", "::1"), ("localhost", "127.0.0.1"), ("localhost", "::1")]
)
def test_what_is_asked(serve: Serve, host: str, bound: str) -> None:
    heard: list[bytes] = []
    server = serve(says(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", heard), bound)
    assert ask(f"http://{host}:{server.port}/v1", "/props") == (200, b"")
    assert heard == [f"GET /props HTTP/1.1\r\nhost: {host}:{server.port}\r\nconnection: close\r\n\r\n".encode()]


def test_no_name_is_looked_up(serve: Serve, connects: Connects) -> None:
    server = serve(says(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"))
    assert ask(f"http://anything.localhost:{server.port}/v1") == (200, b"")
    assert "localhost" not in str(connects)


def test_nobody_is_there() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        assert ask(f"http://127.0.0.1:{sock.getsockname()[1]}") == NOBODY


def test_who_is_silent_is_not_waited_for(serve: Serve) -> None:
    server = serve(silence)
    assert ask(f"http://127.0.0.1:{server.port}", timeout_s=0.05) == NOBODY

    def dribble(sock: socket.socket) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{")
        silence(sock)

    assert ask(f"http://127.0.0.1:{serve(dribble).port}", timeout_s=0.05) == NOBODY

    def stay(sock: socket.socket) -> None:
        says(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")(sock)
        silence(sock)

    assert ask(f"http://127.0.0.1:{serve(stay).port}") == (200, b"{}")  # though it does not close


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1:9/v1",
        "http://192.0.2.1/v1",
        "http://10.0.0.5:8000/v1",
        "http://169.254.169.254/v1",
        "http://example.org/v1",
        "http://lab.internal/v1",
        "http://metadata/v1",
    ],
)
def test_nothing_leaves_this_machine(connects: Connects, url: str) -> None:
    assert ask(url) == NOBODY
    assert connects == []
