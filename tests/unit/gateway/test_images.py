"""Images by URL: fetched over https from public addresses only, bounded, and not for what stays on the premises."""

from __future__ import annotations

import base64
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import httpx2
import msgspec
import pytest
import trustme

from transport_help import Server, over_tls
from trivium.errors import InvalidRequest
from trivium.gateway import images
from trivium.transport import egress
from trivium.types.data import DataClass
from trivium.types.message import Image, Message, Text, ToolResult
from trivium.types.origin import Origin
from trivium.types.request import Request

PNG = b"\x89PNG\r\n\x1a\nnot much of one"
ANSWERS = {
    "/a.png": (200, "image/png", PNG),
    "/b.webp": (200, "image/webp; charset=x", b"webp"),
    "/page": (200, "text/html", b"<html>"),
    "/gone": (404, "image/png", b""),
    "/moved": (302, "image/png", b""),
    "/drip": (200, "image/png", bytes(5_000)),
    "/head": (200, "image/png", PNG),
    "/large": (200, "image/png", bytes(5_000)),
}


DRIPS = 100


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def asked() -> list[str]:
    return []


@pytest.fixture
def host(ca: trustme.CA, asked: list[str]) -> Iterator[Origin]:
    def talk(sock: socket.socket) -> None:
        received = b""
        while data := sock.recv(4096):
            received += data
            if received.endswith(b"\r\n\r\n"):
                path = received.split()[1].decode()
                asked.append(received.decode())
                status, kind, body = ANSWERS[path]
                head = f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n"
                said = head.encode() + b"location: /a.png\r\n\r\n" + body
                with suppress(OSError):  # it is hung up on
                    sock.sendall(said[:-DRIPS] if path == "/drip" else b"" if path == "/head" else said)
                    for byte in said[-DRIPS:] if path == "/drip" else said if path == "/head" else b"":
                        time.sleep(0.1)
                        sock.sendall(bytes((byte,)))
                received = b""

    server = Server(over_tls(talk, ca.issue_cert("127.0.0.1")), "127.0.0.1")
    yield Origin("https", "127.0.0.1", server.port)
    server.close()


@pytest.fixture
def made(host: Origin, ca: trustme.CA, tmp_path: Path) -> Callable[[], httpx2.Client]:
    """A client for which that server is a public one."""
    bundle = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(bundle)
    return lambda: egress.client(env={"SSL_CERT_FILE": str(bundle)}, offline=False, trusted=[host])


def request(*urls: str) -> Request:
    shown = tuple(Image(url=url, detail="low") for url in urls)
    result = ToolResult(call_id="c", parts=(Text("seen"), *shown[1:]))
    return Request(model="m", messages=(Message("user", (Text("What?"), *shown[:1], result)),))


def test_bytes_stand_where_urls_stood(host: Origin, made: Callable[[], httpx2.Client], asked: list[str]) -> None:
    sent = request(f"{host}/a.png", f"{host}/b.webp", f"{host}/a.png")
    got = images.inlined(sent, DataClass.ZERO_RETENTION, made)
    png = Image(data=base64.b64encode(PNG).decode(), media_type="image/png", detail="low")
    webp = Image(data=base64.b64encode(b"webp").decode(), media_type="image/webp", detail="low")
    result = ToolResult(call_id="c", parts=(Text("seen"), webp, png))
    assert got == msgspec.structs.replace(sent, messages=(Message("user", (Text("What?"), png, result)),))
    assert [head.split()[1] for head in asked] == ["/a.png", "/b.webp"]
    assert "cookie" not in asked[0].lower()
    assert "authorization" not in asked[0].lower()


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/page", "no PNG"),
        ("/gone", "answered 404"),
        ("/moved", "answered 302"),
        ("/large", "larger than 4096 bytes"),
    ],
)
def test_what_is_no_image_is_refused(
    path: str, why: str, host: Origin, made: Callable[[], httpx2.Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "IMAGE_BYTES_MAX", 4096)
    with pytest.raises(InvalidRequest, match=why) as caught:
        images.inlined(request(f"{host}{path}"), DataClass.ANY, made)
    assert caught.value.param == "messages"
    assert str(host) not in str(caught.value)


def test_all_together_are_bounded(
    host: Origin, made: Callable[[], httpx2.Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "ALL_BYTES_MAX", 5_010)
    assert images.inlined(request(f"{host}/large"), DataClass.ANY, made)
    with pytest.raises(InvalidRequest, match="all of them"):
        images.inlined(request(f"{host}/large", f"{host}/a.png"), DataClass.ANY, made)
    with pytest.raises(InvalidRequest, match="17"):
        images.inlined(request(*(f"{host}/{number}" for number in range(17))), DataClass.ANY, made)


@pytest.mark.parametrize("path", ["/drip", "/head"])
def test_an_image_in_drops_is_not_waited_for(
    path: str, host: Origin, ca: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(bundle)
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    monkeypatch.setattr(images, "TOTAL_S", 1.0)
    monkeypatch.setattr(egress, "client", partial(egress.client, trusted=[host]))
    began = time.monotonic()
    with pytest.raises(InvalidRequest, match="in time"):
        images.inlined(request(f"{host}{path}"), DataClass.ANY, images.client(offline=False))
    assert time.monotonic() - began < 3


def test_a_request_of_the_premises_contacts_nobody(host: Origin, asked: list[str]) -> None:
    def never() -> httpx2.Client:
        raise AssertionError

    with pytest.raises(InvalidRequest, match="premises"):
        images.inlined(request(f"{host}/a.png"), DataClass.PREMISES, never)
    assert asked == []


@pytest.mark.parametrize(
    "url",
    [
        "http://1.1.1.1/a.png",
        "https://127.0.0.1:{port}/a.png",
        "https://169.254.169.254/latest/meta-data",
        "https://[::ffff:10.0.0.1]/a.png",
        "https://localhost:{port}/a.png",
        "file:///etc/passwd",
        "ftp://example.com/a.png",
        "https://",
        "https://a b/",
        "https:///x",
        "https://user:pass@127.0.0.1:{port}/a.png",
    ],
)
def test_nothing_private_is_contacted(url: str, host: Origin, asked: list[str]) -> None:
    with pytest.raises(InvalidRequest, match="cannot be fetched") as caught:
        images.inlined(request(url.format(port=host.port)), DataClass.ANY, images.client(offline=False))
    assert "user:pass" not in str(caught.value)
    assert asked == []


def test_offline_nothing_is_fetched(host: Origin, asked: list[str]) -> None:
    with pytest.raises(InvalidRequest, match="cannot be fetched"):
        images.inlined(request("https://example.com/a.png"), DataClass.ANY, images.client(offline=True))
    assert asked == []
