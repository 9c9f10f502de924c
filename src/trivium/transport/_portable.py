"""The portable twin of `_posix`: asyncio's own loop, loopback TCP with a token, one process."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Collection, Mapping
from pathlib import Path
from typing import Any

_HELLO_TIMEOUT_S = 5.0


def new_event_loop() -> asyncio.AbstractEventLoop:
    """A new loop of asyncio's own."""
    return asyncio.new_event_loop()


def listen(host: str, port: int, *, reuse_port: bool = False, backlog: int = 4096) -> socket.socket:
    """A listening, non-blocking TCP socket on one address (`::` takes IPv4 too); raises OSError."""
    if reuse_port:
        raise OSError("this platform serves with one process: sockets cannot share a port")
    family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
        0
    ]
    sock = socket.socket(family, kind, proto)
    try:
        if sys.platform == "win32":
            # There SO_REUSEADDR would let any program take over a port in use.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, address[0] != "::")
        sock.setblocking(False)
        sock.bind(address)
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock


def ignore_newcomers(sock: socket.socket) -> None:
    """Nothing: only Linux can."""


def _write_private(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    pending = path.with_name(path.name + ".new")
    pending.unlink(missing_ok=True)
    with os.fdopen(os.open(pending, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(text)
    pending.replace(path)


async def _line(reader: asyncio.StreamReader) -> bytes:
    """The next line without its end; empty if none came, in time and within the limit."""
    try:
        return (await asyncio.wait_for(reader.readline(), _HELLO_TIMEOUT_S)).rstrip(b"\n")
    except (TimeoutError, ValueError, OSError):
        return b""


async def serve_local(
    path: Path,
    callback: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    *,
    limit: int = 1 << 20,
) -> asyncio.Server:
    """Listen on loopback TCP for programs that can read `path` (0600): it holds the port and two tokens.

    A connecting program proves itself by the first token and gets the second as proof in return: a stranger who
    was later given the port of a dead server cannot pass for it. A connection ends with its callback. `limit`
    bounds a line, in bytes. Raises OSError.
    """
    client_token, server_token = secrets.token_hex(32), secrets.token_hex(32)

    async def proven_only(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if hmac.compare_digest(await _line(reader), client_token.encode()):
                writer.write(server_token.encode() + b"\n")
                await callback(reader, writer)
        finally:
            writer.close()

    sock = listen("127.0.0.1", 0, backlog=128)
    try:
        server = await asyncio.start_server(proven_only, sock=sock, limit=limit)
        _write_private(path, f"{sock.getsockname()[1]} {client_token} {server_token}")
    except BaseException:
        sock.close()
        raise
    return server


async def connect_local(path: Path, *, limit: int = 1 << 20) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to whoever serves `path`; raises OSError (no file, refused, not proven) when nobody does."""
    port, client_token, server_token = path.read_text(encoding="ascii").split()
    reader, writer = await asyncio.open_connection("127.0.0.1", int(port), limit=limit)
    try:
        writer.write(client_token.encode() + b"\n")
        if not hmac.compare_digest(await _line(reader), server_token.encode()):
            raise ConnectionRefusedError(f"another program listens on the port that `{path}` names")
    except BaseException:  # whoever waits may give up in the middle
        writer.close()
        raise
    return reader, writer


def peer_is_same_user(writer: asyncio.StreamWriter) -> bool:
    """True: a peer has shown the token, which only this user can read."""
    return writer.get_extra_info("socket") is not None


if sys.platform == "win32":
    import msvcrt

    class FileLock:
        """An exclusive lock on the file `path`, free again whenever its process ends, however it ends."""

        def __init__(self, path: Path) -> None:
            self.path = path
            self._fd: int | None = None

        @property
        def held(self) -> bool:
            return self._fd is not None

        def acquire(self, *, blocking: bool = False) -> bool:
            """Take the lock, waiting for it if `blocking`; False: another one holds it. Raises OSError."""
            if self._fd is not None:
                return True
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOINHERIT, 0o600)
            while True:
                try:
                    # LK_LOCK itself gives up after ten tries, a second apart.
                    msvcrt.locking(fd, msvcrt.LK_LOCK if blocking else msvcrt.LK_NBLCK, 1)
                except OSError:
                    if blocking:
                        continue
                    os.close(fd)
                    return False
                self._fd = fd
                return True

        def release(self) -> None:
            """Give the lock back; nothing happens if it is not held."""
            if self._fd is not None:
                os.lseek(self._fd, 0, os.SEEK_SET)
                msvcrt.locking(self._fd, msvcrt.LK_UNLCK, 1)
                os.close(self._fd)
                self._fd = None

else:
    from trivium.transport import _posix

    FileLock = _posix.FileLock  # the twin was asked for on a POSIX machine


def die_with_parent(parent: int, signum: int = signal.SIGTERM) -> bool:  # noqa: ARG001  # as its twin
    """False: this platform has no such service; `watch_stdin_eof` is the way here."""
    return False


def on_signals(loop: asyncio.AbstractEventLoop, handlers: Mapping[str, Callable[[], object]]) -> None:
    """Run handlers on the loop at signals, by name (`SIGTERM`); those that the platform lacks are left out.

    Called in the main thread. Windows has Ctrl-Break (`SIGBREAK`) where others send `SIGTERM`.
    """
    for name, handler in handlers.items():
        for signum in {getattr(signal, n, None) for n in (name, "SIGBREAK" if name == "SIGTERM" else name)}:
            if signum is not None:
                signal.signal(signum, lambda _number, _frame, run=handler: loop.call_soon_threadsafe(run))


def signals_held(names: Collection[str]) -> contextlib.AbstractContextManager[None]:  # noqa: ARG001  # as its twin
    """Nothing: one process starts no other that listens to signals."""
    return contextlib.nullcontext()


def spawn_kwargs() -> dict[str, Any]:
    """Arguments of `subprocess.Popen` that keep the console's Ctrl-C from the child."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}
