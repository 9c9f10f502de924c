"""Each address is out of reach in the way that it promises."""

from __future__ import annotations

import socket
import ssl

import pytest

from fake_names import Name, fake_names
from trivium.testing import FakeUpstream
from unreachable import Broken, TLSServer, black_hole, refused_port, tls_fault, tls_upstream


def test_a_refused_port() -> None:
    with refused_port() as port, pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 1)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_black_hole_swallows_every_attempt(host: str) -> None:
    with black_hole(host) as port:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                socket.create_connection((host, port), 0.2)


def test_one_name_with_a_dead_and_a_living_address() -> None:
    dual = {"dual.test": Name(("::1", "127.0.0.1"))}
    with FakeUpstream() as up, black_hole("::1", up.port), fake_names(dual):
        with pytest.raises(TimeoutError):
            socket.create_connection(("::1", up.port), 0.2)
        socket.create_connection(("dual.test", up.port), 0.2).close()


def handshake(server: TLSServer, timeout_s: float = 2.0) -> None:
    context = ssl.create_default_context(cafile=str(server.ca_file))
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout_s) as plain,
        context.wrap_socket(plain, server_hostname="localhost"),
    ):
        pass


def test_a_sound_server_is_believed() -> None:
    with tls_upstream() as server:
        handshake(server)
        assert server.base_url == f"https://localhost:{server.port}/v1"


@pytest.mark.parametrize(
    ("kind", "words"),
    [("expired", "expired"), ("wrong-host", "not valid for 'localhost'"), ("self-signed", "self-signed certificate")],
)
def test_a_broken_certificate_is_not(kind: Broken, words: str) -> None:
    with tls_fault(kind) as server:
        with pytest.raises(ssl.SSLCertVerificationError, match=words):
            handshake(server)
        assert server.upstream is not None
        assert server.upstream.requests == []


def test_a_handshake_that_never_ends() -> None:
    with tls_fault("stall") as server:
        for _ in range(2):
            with pytest.raises(TimeoutError):
                handshake(server, 0.2)
        assert len(server.received) == 2
        assert all(data.startswith(b"\x16\x03\x01") and b"HTTP" not in data for data in server.received)
