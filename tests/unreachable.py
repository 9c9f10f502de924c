"""Addresses that cannot be reached, each in its own way: refused, swallowed, or behind broken TLS (cases 1 to 3, 5)."""

from __future__ import annotations

import contextlib
import datetime as dt
import select
import socket
import socketserver
import ssl
import tempfile
import threading
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from trivium.testing.upstream import FakeUpstream

if TYPE_CHECKING:
    import trustme

Broken = Literal["expired", "wrong-host", "self-signed", "stall"]


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


@contextlib.contextmanager
def refused_port(host: str = "127.0.0.1") -> Generator[int]:
    """A port that refuses connections, and that nobody else gets meanwhile: bound, but not listening."""
    with socket.socket(_family(host)) as holder:
        holder.bind((host, 0))
        yield holder.getsockname()[1]


@contextlib.contextmanager
def black_hole(host: str = "127.0.0.1", port: int = 0) -> Generator[int]:
    """A port whose SYNs are swallowed: its queue of unaccepted connections is full, so that Linux drops them.

    With `port`, one that is already served in the other address family (case 5).
    """
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(_family(host)))
        listener.bind((host, port))
        listener.listen(0)
        address = listener.getsockname()
        while True:
            filler = stack.enter_context(socket.socket(_family(host)))
            filler.setblocking(False)
            filler.connect_ex(address)
            if not select.select([], [filler], [], 0.2)[1]:
                break
        yield address[1]


@dataclass
class TLSServer:
    """A TLS port on loopback. `ca_file` is what a client may trust; only a sound server is then believed."""

    port: int
    ca_file: Path
    upstream: FakeUpstream | None
    """None where no request can arrive."""
    received: list[bytearray] = field(default_factory=list[bytearray])
    """What a stalling server was sent: a ClientHello and nothing in plain text."""

    @property
    def base_url(self) -> str:
        return f"https://localhost:{self.port}/v1"


@contextlib.contextmanager
def tls_upstream() -> Generator[TLSServer]:
    """A sound one, for the names `localhost` and `127.0.0.1`. Needs the package trustme, as all of TLS here."""
    import trustme

    authority = trustme.CA()
    with _serving(authority, authority.issue_cert("localhost", "127.0.0.1")) as server:
        yield server


@contextlib.contextmanager
def tls_fault(kind: Broken) -> Generator[TLSServer]:
    """TLS that must not be trusted: out of date, for another host, its own issuer, or a handshake that never ends."""
    import trustme

    authority = trustme.CA()
    match kind:
        case "expired":
            now = dt.datetime.now(dt.UTC)
            day = dt.timedelta(days=1)
            leaf = authority.issue_cert("localhost", "127.0.0.1", not_before=now - 2 * day, not_after=now - day)
            serving = _serving(authority, leaf)
        case "wrong-host":
            serving = _serving(authority, authority.issue_cert("elsewhere.test"))
        case "self-signed":
            serving = _self_signed(authority)
        case "stall":
            serving = _stalling(authority)
    with serving as server:
        yield server


@contextlib.contextmanager
def _ca_file(authority: trustme.CA) -> Generator[Path]:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "ca.pem"
        authority.cert_pem.write_to_path(str(path))
        yield path


@contextlib.contextmanager
def _serving(authority: trustme.CA, leaf: trustme.LeafCert) -> Generator[TLSServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(context)  # pyright: ignore[reportUnknownMemberType]
    with FakeUpstream(tls=context) as upstream, _ca_file(authority) as ca_file:
        yield TLSServer(upstream.port, ca_file, upstream)


@contextlib.contextmanager
def _self_signed(stranger: trustme.CA) -> Generator[TLSServer]:
    """Presents the certificate of an authority that the client was not told about, as if it were a server's."""
    import trustme

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile(suffix=".pem") as both:
        both.write(stranger.private_key_pem.bytes() + stranger.cert_pem.bytes())
        both.flush()
        context.load_cert_chain(both.name)
    with FakeUpstream(tls=context) as upstream, _ca_file(trustme.CA()) as ca_file:
        yield TLSServer(upstream.port, ca_file, upstream)


@contextlib.contextmanager
def _stalling(authority: trustme.CA) -> Generator[TLSServer]:
    """Accepts and reads, and never answers."""
    received: list[bytearray] = []

    class Swallow(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            said = bytearray()
            received.append(said)
            with contextlib.suppress(ConnectionError):
                while data := self.request.recv(65536):
                    said += data

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Swallow) as server, _ca_file(authority) as ca_file:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        try:
            yield TLSServer(server.server_address[1], ca_file, None, received)
        finally:
            server.shutdown()
