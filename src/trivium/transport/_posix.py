"""Linux and macOS: uvloop, Unix sockets, `flock`, `prctl`, signals."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import os
import signal
import socket
import stat
import struct
import sys
import weakref
from collections.abc import Awaitable, Callable, Collection, Generator, Mapping
from pathlib import Path
from typing import Any

# `sun_path` has 104 bytes on macOS and 108 on Linux, the final NUL included.
_SOCKET_PATH_MAX_BYTES = 100
_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_SO_ATTACH_FILTER = 26  # <asm-generic/socket.h>
# <linux/filter.h>; the TCP flags are byte 13 of a segment (RFC 9293, 3.1): drop it if SYN is set, else take it whole.
_NO_SYN = b"".join(
    struct.pack("=HBBI", *row)
    for row in ((0x30, 0, 0, 13), (0x45, 0, 1, 2), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFF_FFFF))
)


def new_event_loop() -> asyncio.AbstractEventLoop:
    """A new uvloop loop, or asyncio's own where uvloop cannot be imported."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def listen(host: str, port: int, *, reuse_port: bool = False, backlog: int = 4096) -> socket.socket:
    """A listening, non-blocking TCP socket on one address (`::` takes IPv4 too); raises OSError."""
    family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
        0
    ]
    sock = socket.socket(family, kind, proto)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, address[0] != "::")
        # Accepted sockets inherit it on Linux.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        sock.bind(address)
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock


def ignore_newcomers(sock: socket.socket) -> None:
    """Take no more callers into a listening socket that will close: what queues in it then would be reset (Linux).

    A newcomer tries again after a second, and comes to another socket of the port or is refused.
    """
    if sys.platform == "linux":
        program = ctypes.create_string_buffer(_NO_SYN, len(_NO_SYN))
        with contextlib.suppress(OSError):  # where the kernel has no such filters, little is lost
            fprog = struct.pack("@HP", len(_NO_SYN) // 8, ctypes.addressof(program))
            sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, fprog)


def _private(directory: Path) -> None:
    """Make `directory` ours and readable by nobody else; it must be for this program alone."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = directory.stat()
    if found.st_uid != os.geteuid():
        raise PermissionError(f"`{directory}` belongs to another user")
    if stat.S_IMODE(found.st_mode) & 0o077:
        directory.chmod(0o700)


def _remove_stale(path: Path) -> None:
    """Remove what a predecessor left: its socket, or its pointer and the short socket behind it."""
    if path.is_file():
        short = Path(os.fsdecode(path.read_bytes()))
        short.unlink(missing_ok=True)
        try:
            short.parent.rmdir()
        except OSError:
            pass  # gone already, or somebody put something else there
    path.unlink(missing_ok=True)


def _bindable(path: Path) -> Path:
    """`path`, or where it is too long for a Unix socket a short one, to which a file at `path` points."""
    if len(os.fsencode(path)) <= _SOCKET_PATH_MAX_BYTES:
        return path
    import tempfile  # rarely needed, and large

    short = Path(tempfile.mkdtemp(prefix="trivium-", dir=os.environ.get("XDG_RUNTIME_DIR"))) / "s"
    pending = path.with_name(path.name + ".new")
    pending.write_bytes(os.fsencode(short))
    pending.replace(path)
    return short


async def serve_local(
    path: Path,
    callback: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    *,
    limit: int = 1 << 20,
) -> asyncio.Server:
    """Listen on the Unix socket `path` (0600, its directory 0700) for programs of the same user.

    The caller must be the only one who serves this path (it holds the lock that says so): what a
    predecessor left there is removed. A connection ends with its callback. `limit` bounds a line, in bytes.
    Raises OSError.
    """

    async def same_user_only(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if peer_is_same_user(writer):
                await callback(reader, writer)
        finally:
            writer.close()

    _private(path.parent)
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        bound = _bindable(path)
        sock.bind(os.fspath(bound))
        bound.chmod(0o600)
        return await asyncio.start_unix_server(same_user_only, sock=sock, limit=limit)
    except BaseException:
        sock.close()
        raise


async def connect_local(path: Path, *, limit: int = 1 << 20) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to whoever serves `path`; raises OSError (no file, refused) when nobody does."""
    target = Path(os.fsdecode(path.read_bytes())) if path.is_file() else path
    return await asyncio.open_unix_connection(os.fspath(target), limit=limit)


def peer_is_same_user(writer: asyncio.StreamWriter) -> bool:
    """Whether the process at the other end of a Unix socket runs as this user.

    True where the kernel cannot be asked (not Linux): there the modes of socket and directory are the guard.
    """
    sock: socket.socket | None = writer.get_extra_info("socket")
    if sock is None or sys.platform != "linux":
        return sock is not None
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return struct.unpack("3i", credentials)[1] == os.geteuid()


class FileLock:
    """An exclusive lock on the file `path`, free again whenever its process ends, however it ends.

    A forked child does not hold it. The file itself stays: removing it would let two programs lock two files
    of one name.
    """

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
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX if blocking else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd
        _held.add(self)
        return True

    def release(self) -> None:
        """Give the lock back; nothing happens if it is not held."""
        if self._fd is not None:
            fcntl.flock(self._fd, fcntl.LOCK_UN)
        self._forget()

    def _forget(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
        _held.discard(self)


_held: weakref.WeakSet[FileLock] = weakref.WeakSet()


def _forget_all() -> None:
    # A lock of `flock` belongs to the open file, which a fork shares: a child that kept it would hold the lock
    # beyond its parent's death, and unlocking instead of closing would take it from the parent.
    for lock in list(_held):
        lock._forget()  # pyright: ignore[reportPrivateUsage]


os.register_at_fork(after_in_child=_forget_all)


def die_with_parent(parent: int, signum: int = signal.SIGKILL) -> bool:
    """Ask the kernel for `signum` when the parent dies; True if it will come (Linux).

    Called early in the child, with the pid that started it: a parent that died before the call is noticed too.
    The kernel means the *thread* that started the child, so start children from a thread that lasts.
    """
    if sys.platform != "linux":
        return False
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signum, 0, 0, 0) != 0:
        return False
    if os.getppid() != parent:
        os.kill(os.getpid(), signum)
    return True


def on_signals(loop: asyncio.AbstractEventLoop, handlers: Mapping[str, Callable[[], object]]) -> None:
    """Run handlers on the loop at signals, by name (`SIGTERM`); those that the platform lacks are left out.

    Called in the main thread. Those that were held come now.
    """
    known = {signal.Signals[name]: handler for name, handler in handlers.items() if hasattr(signal, name)}
    for number, handler in known.items():
        loop.add_signal_handler(number, handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, known)


@contextlib.contextmanager
def signals_held(names: Collection[str]) -> Generator[None]:
    """Let these signals wait in this thread, and in processes started meanwhile until they call `on_signals`."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.Signals[name] for name in names})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def spawn_kwargs() -> dict[str, Any]:
    """Arguments of `subprocess.Popen` that keep the terminal's Ctrl-C from the child."""
    return {"start_new_session": True}
