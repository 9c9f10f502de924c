"""Real servers on loopback: TLS under a private CA, a proxy, a black hole."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import trustme

from transport_help import Connects, Serve, Server
from trivium.transport import tls


@pytest.fixture(scope="session")
def ca() -> trustme.CA:
    return trustme.CA(organization_name="Example Trust")


@pytest.fixture(scope="session")
def bundle(ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(path)
    return path


@pytest.fixture(scope="session")
def context(bundle: Path) -> Callable[[], ssl.SSLContext]:
    return lambda: tls.context((bundle,))


@pytest.fixture
def serve() -> Iterator[Serve]:
    with ExitStack() as stack:

        def start(talk: Callable[[socket.socket], None], host: str = "127.0.0.1") -> Server:
            server = Server(talk, host)
            stack.callback(server.close)
            return server

        yield start


_PLUGIN = """
from proxy.http.proxy import HttpProxyBasePlugin

class Loopback(HttpProxyBasePlugin):
    def resolve_dns(self, host, port):
        return "127.0.0.1", None
"""


@pytest.fixture(scope="session")
def real_proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`user:secret@127.0.0.1:port` of proxy.py, which takes every name for this machine."""
    folder = tmp_path_factory.mktemp("proxy")
    (folder / "loopback_plugin.py").write_text(_PLUGIN)
    port_file = folder / "port"
    command = [sys.executable, "-m", "proxy", "--hostname", "127.0.0.1", "--port", "0", "--port-file", str(port_file)]
    command += ["--basic-auth", "user:secret", "--plugins", "loopback_plugin.Loopback", "--num-workers", "1"]
    command += ["--num-acceptors", "1", "--data-dir", str(folder / "data")]
    env = {**os.environ, "PYTHONPATH": str(folder)}
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            for _ in range(300):
                if port_file.exists() and port_file.read_text().strip():
                    break
                assert process.poll() is None, "the proxy did not start"
                threading.Event().wait(0.1)
            yield f"user:secret@127.0.0.1:{port_file.read_text().split()[0]}"
        finally:
            process.terminate()


_connects: Connects | None = None


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if _connects is not None and event in ("socket.connect", "socket.getaddrinfo"):
        _connects.append(arguments)


sys.addaudithook(_hook)


@pytest.fixture
def connects() -> Iterator[Connects]:
    """Every connection and look-up that the test makes."""
    global _connects  # noqa: PLW0603  # an audit hook cannot be removed, only told to be quiet
    _connects = []
    yield _connects
    _connects = None
