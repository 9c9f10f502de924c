"""Certificates are verified against the right store, and a failure says who issued what."""

import datetime as dt
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import certifi
import pytest
import trustme

from trivium.errors import ConfigError, UpstreamTLSError
from trivium.transport import tls

CA = trustme.CA(organization_name="Example Trust")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    CA.cert_pem.write_to_path(tmp_path / "ca.pem")
    return tmp_path / "ca.pem"


@contextmanager
def server(cert: trustme.LeafCert | None, maximum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> Iterator[int]:
    """The port of a server that shakes one hand; without a certificate it speaks no TLS."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.maximum_version = maximum
    if cert is not None:
        cert.configure_cert(made)

    def serve() -> None:
        with listener.accept()[0] as sock:
            if cert is None:
                sock.sendall(b"SSH-2.0-example\r\n")
                sock.recv(1024)
                return
            try:
                made.wrap_socket(sock, server_side=True).close()
            except OSError:
                pass  # the client did not like us

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(10)


def shake(context: ssl.SSLContext, port: int, name: str = "api.example.com") -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        context.wrap_socket(sock, server_hostname=name).close()


def failure(context: ssl.SSLContext, cert: trustme.LeafCert | None, name: str = "api.example.com") -> UpstreamTLSError:
    with server(cert) as port, pytest.raises(ssl.SSLError) as caught:
        shake(context, port, name)
    return tls.explain(caught.value, name)


def test_a_bundle_is_trusted(bundle: Path):
    with server(CA.issue_cert("api.example.com")) as port:
        shake(tls.context((bundle,)), port)


def test_a_directory_is_trusted(bundle: Path, tmp_path: Path):
    hashed = tmp_path / "hashed"
    hashed.mkdir()
    name = CA.cert_pem.bytes()
    (hashed / "ca.pem").write_bytes(name)
    # Without its hash as name a certificate of a directory is not found: the directory alone trusts nobody.
    assert "not known" in str(failure(tls.context((hashed,)), CA.issue_cert("api.example.com")))
    with server(CA.issue_cert("api.example.com")) as port:
        shake(tls.context((hashed, bundle)), port)


@pytest.fixture
def forgotten() -> Iterator[None]:
    tls._context.cache_clear()
    yield
    tls._context.cache_clear()


@pytest.mark.usefixtures("forgotten")
def test_a_bundle_replaces_the_store_and_none_is_the_union(bundle: Path, monkeypatch: pytest.MonkeyPatch):
    # OpenSSL reads its own variables when it looks for the system's store: here it holds our CA alone.
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    monkeypatch.setenv("SSL_CERT_DIR", "/nonexistent")
    public = Path(certifi.where()).read_text("utf-8").count("BEGIN CERTIFICATE")
    assert tls.context((bundle,)).cert_store_stats()["x509_ca"] == 1
    assert tls.context(()).cert_store_stats()["x509_ca"] == public + 1


def test_the_context_is_strict_and_made_once(bundle: Path):
    context = tls.context((bundle,))
    assert context is tls.context((bundle,))
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1")
def test_old_tls_is_refused(bundle: Path):
    with server(CA.issue_cert("api.example.com"), ssl.TLSVersion.TLSv1_1) as port, pytest.raises(ssl.SSLError):
        shake(tls.context((bundle,)), port)


def test_unknown_issuer_is_named_with_the_remedy():
    error = failure(tls.context(()), CA.issue_cert("api.example.com"))
    assert error.kind == "upstream_tls_error"
    assert "api.example.com" in error.message
    assert "Example Trust" in error.message
    assert "SSL_CERT_FILE" in error.remedy


def test_the_topmost_unknown_issuer_is_named(bundle: Path):
    middle = trustme.CA(organization_name="Root Corp").create_child_ca()
    assert "Root Corp" in failure(tls.context((bundle,)), middle.issue_cert("api.example.com")).message


def test_self_signed(bundle: Path):
    # The root itself as a server's certificate.
    root = trustme.CA(organization_name="Selfmade")
    root_as_leaf = root.issue_cert("api.example.com")
    root_as_leaf.private_key_and_cert_chain_pem = trustme.Blob(root.private_key_pem.bytes() + root.cert_pem.bytes())
    root_as_leaf.private_key_pem = root.private_key_pem
    root_as_leaf.cert_chain_pems = [root.cert_pem]
    error = failure(tls.context((bundle,)), root_as_leaf)
    assert "self-signed" in error.message
    assert "Selfmade" in error.message


def test_expired(bundle: Path):
    past = dt.datetime(2001, 1, 1, tzinfo=dt.UTC)
    error = failure(tls.context((bundle,)), CA.issue_cert("api.example.com", not_after=past))
    assert "expired (issued by `Testing CA" in error.message
    assert "clock" in error.remedy


def test_wrong_host(bundle: Path):
    error = failure(tls.context((bundle,)), CA.issue_cert("other.example.com"))
    assert "another host" in error.message
    assert "base_url" in error.remedy
    assert "another address" in failure(tls.context((bundle,)), CA.issue_cert("x.example.com"), "127.0.0.1").message


def test_no_tls_at_all(bundle: Path):
    error = failure(tls.context((bundle,)), None)
    assert "wrong version number" in error.message
    assert "speak TLS" in error.remedy


def test_an_issuer_cannot_paint_the_terminal(bundle: Path):
    error = failure(tls.context((bundle,)), trustme.CA(organization_name="\x1b[31mred").issue_cert("api.example.com"))
    assert "?[31mred" in error.message
    assert "\x1b" not in error.message


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_broken_bundle_is_a_configuration_error(tmp_path: Path, content: str | None):
    path = tmp_path / "ca.pem"
    if content:
        path.write_text(content)
    with pytest.raises(ConfigError, match=r"ca\.pem"):
        tls.context((path,))


@pytest.mark.parametrize(
    ("env", "bundles"),
    [
        ({}, ()),
        ({"SSL_CERT_FILE": ""}, ()),
        ({"SSL_CERT_FILE": "/f"}, ("/f",)),
        ({"SSL_CERT_FILE": "/f", "SSL_CERT_DIR": "/d:/e", "CURL_CA_BUNDLE": "/c"}, ("/f", "/d", "/e")),
        ({"REQUESTS_CA_BUNDLE": "/r", "CURL_CA_BUNDLE": "/c"}, ("/r",)),
        ({"CURL_CA_BUNDLE": "/c"}, ("/c",)),
    ],
)
def test_bundles_of_the_environment(env: dict[str, str], bundles: tuple[str, ...]):
    assert tls.bundles_from_env(env) == tuple(map(Path, bundles))
