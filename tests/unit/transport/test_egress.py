"""Downloads and key checks go the same ways as attempts, and no others."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trustme

from transport_help import Connects, Serve, black_hole, http, over_tls
from trivium import __version__
from trivium.errors import ConfigError, UpstreamTLSError, UpstreamUnreachable
from trivium.transport import egress
from trivium.types.origin import Origin

NAME = "hub.example.com"


def here(_host: str) -> list[str]:
    return ["127.0.0.1"]


def never(host: str) -> list[str]:
    raise AssertionError(f"{host} was looked up")


def get(url: str, *, trusted: tuple[Origin, ...] = (), follow_redirects: bool = False, **options: Any) -> str:
    default: dict[str, Any] = {"env": {}, "offline": False, "lookup": here}
    with egress.client(trusted=trusted, **{**default, **options}) as client:
        return client.get(url, follow_redirects=follow_redirects).raise_for_status().text


def origin(port: int, scheme: str = "https", host: str = NAME) -> Origin:
    return Origin(scheme, host, port)


def test_tls_under_a_private_ca(serve: Serve, ca: trustme.CA, bundle: Path):
    port = serve(over_tls(http, ca.issue_cert(NAME))).port
    text = get(f"https://{NAME}:{port}/v1/models", env={"SSL_CERT_FILE": str(bundle)}, trusted=(origin(port),))
    assert text.startswith("GET /v1/models HTTP/1.1\r\n")
    assert f"trivium/{__version__}" in text


def test_an_unknown_issuer_is_explained(serve: Serve, ca: trustme.CA):
    port = serve(over_tls(http, ca.issue_cert(NAME))).port
    with pytest.raises(UpstreamTLSError, match="issued by `Testing CA") as caught:
        get(f"https://{NAME}:{port}/", trusted=(origin(port),))
    assert "SSL_CERT_FILE" in caught.value.remedy


def test_the_second_address_answers(serve: Serve):
    port = serve(http).port
    found = ["127.0.0.2", "::1", "127.0.0.1"]
    assert get(f"http://{NAME}:{port}/", trusted=(origin(port, "http"),), lookup=lambda _: found)


def test_a_black_hole_is_left(serve: Serve, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(egress, "_FIRST_TRIES_S", 0.05)
    with black_hole("::1") as port, pytest.raises(httpx2.ConnectError):
        get(f"http://{NAME}:{port}/", trusted=(origin(port, "http"),), lookup=lambda _: ["::1", "127.0.0.1"])


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("http://hub.example.com/", "8.8.8.8"),
        ("https://hub.example.com/", "127.0.0.1"),
        ("https://hub.example.com/", "10.0.0.1"),
        ("https://hub.example.com/", "169.254.169.254"),
        ("https://localhost/", "8.8.8.8"),
        ("https://127.0.0.1/", "8.8.8.8"),
        ("https://[::1]/", "8.8.8.8"),
        ("https://2130706433/", "127.0.0.1"),
        ("https://0x7f.1/", "127.0.0.1"),
        ("https://metadata.google.internal/", "8.8.8.8"),
    ],
)
def test_an_untrusted_origin_is_not_contacted(url: str, found: str, connects: Connects):
    with pytest.raises(UpstreamUnreachable, match="not contacted"):
        get(url, lookup=lambda _: [found])
    assert connects == []


def test_metadata_is_closed_even_to_trusted_origins(connects: Connects):
    with pytest.raises(UpstreamUnreachable, match="metadata"):
        get(f"https://{NAME}/", trusted=(origin(443),), lookup=lambda _: ["169.254.169.254"])
    assert connects == []


def test_trust_is_for_one_origin(serve: Serve, connects: Connects):
    port = serve(http).port
    assert get(f"http://{NAME}:{port}/", trusted=(origin(port, "http"),))
    connects.clear()
    for other in (origin(port, "http", "other.example.com"), origin(port + 1, "http"), origin(port, "https")):
        with pytest.raises(UpstreamUnreachable):
            get(f"http://{NAME}:{port}/", trusted=(other,))
    assert connects == []


def test_offline_opens_no_socket(connects: Connects):
    for url in (f"https://{NAME}/", "https://8.8.8.8/", "http://10.0.0.1/"):
        with pytest.raises(UpstreamUnreachable, match="offline"):
            get(url, offline=True, lookup=never, env={"ALL_PROXY": "http://127.0.0.1:9"}, trusted=(origin(443),))
    assert connects == []


def test_no_such_name():
    def lookup(_host: str) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with pytest.raises(UpstreamUnreachable, match=r"`hub\.example\.com` has no address: Name or service not known"):
        get(f"https://{NAME}/", lookup=lookup)


def redirect(location: str) -> Callable[[socket.socket], None]:
    def talk(sock: socket.socket) -> None:
        if sock.recv(4096):
            sock.sendall(f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode())

    return talk


def test_redirects_are_not_followed_unasked(serve: Serve):
    target = serve(http)
    port = serve(redirect(f"http://{NAME}:{target.port}/")).port
    with pytest.raises(httpx2.HTTPStatusError, match="302"):
        get(f"http://{NAME}:{port}/", trusted=(origin(port, "http"), origin(target.port, "http")))
    assert target.accepted == 0


@pytest.mark.parametrize(
    "location", ["http://169.254.169.254/latest/", "https://127.0.0.1:9/", "http://other.example.com/"]
)
def test_each_hop_of_a_redirect_is_judged(serve: Serve, location: str, connects: Connects):
    port = serve(redirect(location)).port
    with pytest.raises(UpstreamUnreachable, match="not contacted"):
        get(f"http://{NAME}:{port}/", trusted=(origin(port, "http"),), follow_redirects=True)
    assert [each[1] for each in connects if len(each) == 2] == [("127.0.0.1", port)]


def test_through_a_real_proxy(serve: Serve, ca: trustme.CA, bundle: Path, real_proxy: str):
    port = serve(over_tls(http, ca.issue_cert(NAME))).port
    env = {"HTTPS_PROXY": f"http://{real_proxy}", "SSL_CERT_FILE": str(bundle)}
    assert "Authorization" not in get(f"https://{NAME}:{port}/file", env=env, lookup=never)


def test_a_real_proxy_wants_credentials(serve: Serve, real_proxy: str):
    server = serve(http)
    env = {"HTTPS_PROXY": f"http://{real_proxy.rpartition('@')[2]}"}
    with pytest.raises(UpstreamUnreachable, match="407"):
        get(f"https://{NAME}:{server.port}/", env=env, lookup=never)
    assert server.accepted == 0


def test_a_proxy_that_hangs_up(serve: Serve):
    port = serve(lambda sock: sock.recv(4096) and None).port
    with pytest.raises(UpstreamUnreachable, match="closed the connection"):
        get(f"https://{NAME}/", env={"HTTPS_PROXY": f"http://127.0.0.1:{port}"}, lookup=never)


def test_the_environment_of_the_process_does_not_count(serve: Serve, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    port = serve(http).port
    assert get(f"http://{NAME}:{port}/", trusted=(origin(port, "http"),))


def test_a_broken_bundle_is_a_configuration_error(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"none\.pem"):
        egress.client(env={"SSL_CERT_FILE": str(tmp_path / "none.pem")}, offline=False)
