"""Servers of one purpose on real sockets, and loops of one test, for the tests of `transport`."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import trustme


async def until(true: Callable[[], bool]) -> None:
    """Wait for what callbacks bring about; ten seconds are a failure."""
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.002)


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    asyncio.run(coroutine)


class Server:
    """A listening socket whose connections are each served by `talk` in a thread; `first` has their first bytes."""

    def __init__(self, talk: Callable[[socket.socket], None], host: str) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.listener = socket.create_server((host, 0), family=family)
        self.port: int = self.listener.getsockname()[1]
        self.accepted = 0
        self._talk = talk
        self._threads = [threading.Thread(target=self._accept)]
        self._open: list[socket.socket] = []
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                sock = self.listener.accept()[0]
            except OSError:
                return
            self.accepted += 1
            self._open.append(sock)
            self._threads.append(threading.Thread(target=self._serve, args=(sock,)))
            self._threads[-1].start()

    def _serve(self, sock: socket.socket) -> None:
        with sock:
            try:
                self._talk(sock)
            except OSError:
                pass  # the client has gone, as some tests want it

    def close(self) -> None:
        for sock in (self.listener, *self._open):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.listener.close()
        for thread in self._threads:
            thread.join(10)


Serve = Callable[..., Server]
Connects = list[tuple[object, ...]]


def echo(sock: socket.socket) -> None:
    while data := sock.recv(4096):
        sock.sendall(data.upper())


def silence(sock: socket.socket) -> None:
    while sock.recv(4096):
        pass


def http(sock: socket.socket) -> None:
    """Answer every request with its own head."""
    received = b""
    while data := sock.recv(4096):
        received += data
        if received.endswith(b"\r\n\r\n"):
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(received) + received)
            received = b""


def over_tls(talk: Callable[[socket.socket], None], cert: trustme.LeafCert) -> Callable[[socket.socket], None]:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    cert.configure_cert(made)

    def shake(sock: socket.socket) -> None:
        with made.wrap_socket(sock, server_side=True) as inner:
            talk(inner)

    return shake


@contextmanager
def black_hole(host: str = "::1") -> Iterator[int]:
    """A port whose queue is full, so that the kernel answers no further SYN."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket(family))
        listener.bind((host, 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket(family))
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def open_sockets() -> set[str]:
    """The sockets of this process, by their kernel names."""
    found: set[str] = set()
    for fd in Path("/proc/self/fd").iterdir():
        try:
            target = str(fd.readlink())
        except OSError:
            continue
        if target.startswith("socket:"):
            found.add(target)
    return found
