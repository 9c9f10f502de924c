"""A recorder of every connection, name look-up and process that Python code starts, to show that none is unexpected.

    with record_connects() as seen:
        …
    assert not unexpected(seen)

`environment` has a Python child, and its children, write theirs to a file as lines of JSON. C code that opens sockets
by itself is not seen, save uvloop.

Imports the standard library only: `site/sitecustomize.py` loads this file before anything else of Trivium.
"""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import json
import os
import socket
import sys
from collections.abc import Callable, Generator, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

LOG_VARIABLE = "TRIVIUM_CONNECTS_LOG"
SITE = Path(__file__).with_name("site")


@dataclass(frozen=True)
class Act:
    """Something that reaches out of the process. `kind` is `connect`, `resolve` or `spawn`."""

    kind: str
    target: str
    """`host:port` or `unix:path`; a host; a command line."""
    pid: int
    where: str
    """The innermost callers, for people."""


_sinks: list[Callable[[Act], None]] = []
_installed: list[bool] = []


@contextlib.contextmanager
def record_connects() -> Generator[list[Act]]:
    """The acts of this process, all threads, while the context lasts."""
    acts: list[Act] = []
    sink = acts.append
    _install()
    _sinks.append(sink)
    try:
        yield acts
    finally:
        _sinks.remove(sink)


def record_to_file(path: str) -> None:
    """From now on append every act of this process to a file, one JSON object a line."""

    def write(act: Act) -> None:
        line = json.dumps(asdict(act)).encode() + b"\n"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)

    _install()
    _sinks.append(write)


def read_log(path: Path) -> list[Act]:
    """What `record_to_file` wrote; empty if nothing happened."""
    if not path.exists():
        return []
    return [Act(**json.loads(line)) for line in path.read_text().splitlines()]


def environment(log: Path) -> dict[str, str]:
    """Variables that make a Python child, and its Python children, record to `log`."""
    inherited = os.environ.get("PYTHONPATH")
    return {LOG_VARIABLE: str(log), "PYTHONPATH": os.pathsep.join(filter(None, [str(SITE), inherited]))}


def unexpected(acts: Iterable[Act], allowed: Iterable[str] = ()) -> list[Act]:
    """Connections that leave this machine and are not in `allowed` (`host:port`), and look-ups of such names."""
    known = set(allowed)
    hosts = {target.rpartition(":")[0] for target in known}
    return [act for act in acts if act.kind != "spawn" and not _is_local(act) and act.target not in known | hosts]


def _is_local(act: Act) -> bool:
    if act.target.startswith("unix:"):
        return True
    host = act.target if act.kind == "resolve" else act.target.rpartition(":")[0]
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host in ("localhost", "", "None")
    return act.kind == "resolve" or address.is_loopback or address.is_unspecified


def _install() -> None:
    # An audit hook stays until the process ends, so there is one for all recorders.
    if not _installed:
        _installed.append(True)
        sys.addaudithook(_audit)
        _watch_uvloop()


def _report(kind: str, target: str) -> None:
    if _sinks:
        act = Act(kind, target, os.getpid(), _callers())
        for sink in _sinks:
            sink(act)


def _callers(depth: int = 6) -> str:
    frame = sys._getframe(2)
    lines: list[str] = []
    while frame is not None and len(lines) < depth:
        if frame.f_code.co_filename != __file__:
            lines.append(f"{frame.f_code.co_filename}:{frame.f_lineno}")
        frame = frame.f_back
    return " < ".join(lines)


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    # Called for every event of the interpreter, also while it shuts down: cheap for those that do not matter.
    match event:
        case "socket.connect" | "socket.sendto":
            _report("connect", _address(*arguments))
        case "socket.getaddrinfo":
            _report("resolve", _host(arguments[0]))
        case "subprocess.Popen":
            _report("spawn", _command(arguments[1]))
        case "os.posix_spawn" | "os.exec":
            _report("spawn", _command(arguments[1]))
        case "os.system":
            _report("spawn", _command([arguments[0]]))
        case _:
            pass


def _address(sock: socket.socket, address: Any) -> str:
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        return f"{address[0]}:{address[1]}"
    return f"unix:{os.fsdecode(address) if isinstance(address, (str, bytes)) else address}"


def _host(host: str | bytes | None) -> str:
    return host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)


def _command(arguments: Any) -> str:
    words = [arguments] if isinstance(arguments, (str, bytes)) else arguments
    return " ".join(os.fsdecode(word) for word in words)


def _watch_uvloop() -> None:
    """uvloop connects and spawns in C without audit events, so its methods are wrapped."""
    try:
        from uvloop import Loop
    except ImportError:
        return

    def watch(name: str, kind: str, target: Callable[..., str | None]) -> None:
        original = getattr(Loop, name)

        @functools.wraps(original)
        def method(self: Any, *positional: Any, **named: Any) -> Any:
            if (text := target(*positional, **named)) is not None:
                _report(kind, text)
            return original(self, *positional, **named)

        setattr(Loop, name, method)

    def tcp(_factory: Any, host: Any = None, port: Any = None, **_: Any) -> str | None:
        return None if host is None else f"{host}:{port}"

    def unix(_factory: Any, path: Any = None, **_: Any) -> str | None:
        return None if path is None else f"unix:{path}"

    def udp(_factory: Any, _local: Any = None, remote_addr: Any = None, **_: Any) -> str | None:
        return None if remote_addr is None else f"{remote_addr[0]}:{remote_addr[1]}"

    def name(host: Any, *_: Any, **__: Any) -> str:
        return _host(host)

    def program(_factory: Any, *command: Any, **_: Any) -> str:
        return _command(command)

    watch("create_connection", "connect", tcp)
    watch("create_unix_connection", "connect", unix)
    watch("create_datagram_endpoint", "connect", udp)
    watch("getaddrinfo", "resolve", name)
    watch("subprocess_exec", "spawn", program)
    watch("subprocess_shell", "spawn", program)
