"""Helpers for tests with real sockets and processes: a raw HTTP client, configurations, `trivium serve`."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from fake_names import NXDOMAIN, SERVFAIL, Name
from trivium.testing import FakeUpstream
from unreachable import Broken, black_hole, refused_port, tls_fault

Dialect = Literal["openai_chat", "anthropic_messages"]
DIALECTS: tuple[Dialect, ...] = ("openai_chat", "anthropic_messages")
PATHS: dict[Dialect, str] = {"openai_chat": "/v1/chat/completions", "anthropic_messages": "/v1/messages"}
SCALE = 20
"""Timeouts are divided by this in tests, and so are the waits of the fake upstream."""


def free_port() -> int:
    """A port of loopback that nobody has now; for programs that must be told one."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def body(model: str, *, stream: bool = False, text: str = "Where is the Louvre?", **more: Any) -> dict[str, Any]:
    """A request that is valid in both dialects."""
    messages = [{"role": "user", "content": text}]
    return {"model": model, "messages": messages, "stream": stream, "max_tokens": 10_000, **more}


@dataclass
class Raw:
    """What came back, byte for byte. `end` is how the connection ended, `open` if it had not when time was up."""

    head: bytes
    body: bytes
    end: Literal["fin", "rst", "open"]
    reads: list[float]
    """When something arrived, in seconds after the request was sent."""

    @property
    def status(self) -> int:
        return int(self.head.split()[1])

    def header(self, name: str) -> str | None:
        for line in self.head.decode("latin-1").split("\r\n")[1:]:
            key, _, value = line.partition(":")
            if key.lower() == name:
                return value.strip()
        return None

    @property
    def payload(self) -> bytes:
        """The body without chunks; what is there of it if it was cut."""
        if self.header("transfer-encoding") != "chunked":
            return self.body
        data, rest = b"", self.body
        while b"\r\n" in rest:
            size, _, rest = rest.partition(b"\r\n")
            data, rest = data + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
        return data


def request_bytes(path: str, payload: bytes, headers: Mapping[str, str] | None = None, method: str = "POST") -> bytes:
    fields = {"host": "127.0.0.1", "content-type": "application/json", "content-length": str(len(payload))}
    fields |= {"anthropic-version": "2023-06-01"} if path.startswith("/v1/messages") else {}
    fields |= headers or {}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + payload


def ask_raw(
    port: int,
    dialect: Dialect,
    model: str,
    *,
    stream: bool = False,
    quiet_s: float = 10.0,
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> Raw:
    """One request over a socket of its own, read until the answer's end, the connection's end, or `quiet_s` of
    silence after its first bytes."""
    payload = json.dumps(body(model, stream=stream, **more)).encode()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        sock.sendall(request_bytes(PATHS[dialect], payload, headers))
        return read_raw(sock, quiet_s)


def read_raw(sock: socket.socket, quiet_s: float = 10.0) -> Raw:
    start = time.monotonic()
    data, reads = b"", list[float]()
    end: Literal["fin", "rst", "open"] = "fin"
    try:
        while not _complete(data) and (more := sock.recv(1 << 20)):
            data += more
            sock.settimeout(quiet_s)
            reads.append(time.monotonic() - start)
        if _complete(data):
            end = "open"
    except TimeoutError:
        end = "open"
    except ConnectionResetError:
        end = "rst"
    head, _, rest = data.partition(b"\r\n\r\n")
    return Raw(head, rest, end, reads)


def _complete(data: bytes) -> bool:
    head, found, rest = data.partition(b"\r\n\r\n")
    raw = Raw(head, rest, "open", [])
    if not found or head.startswith(b"HTTP/1.1 1"):
        return False
    if raw.header("transfer-encoding") == "chunked":
        return rest.endswith(b"0\r\n\r\n")
    length = raw.header("content-length")
    return length is not None and len(rest) >= int(length)


def provider(
    upstream: FakeUpstream | str,
    id: str = "primary",  # noqa: A002
    *,
    dialect: Dialect = "openai_chat",
    key: str = "test-key",
    **more: Any,
) -> dict[str, Any]:
    """A provider row that points at a fake upstream, or at a base URL that nobody serves."""
    url = upstream if isinstance(upstream, str) else upstream.base_url
    return {"id": id, "dialect": dialect, "base_url": url, "api_key": key, **more}


@dataclass(frozen=True)
class Address:
    """Where a primary is said to be, and what a process needs to get there as the test means it."""

    base_url: str
    ca_file: Path | None = None
    """What it may trust, beside the system's store."""
    names: Mapping[str, Name] = field(default_factory=dict[str, Name])
    """For `fake_names.fake_names` here or `fake_names.environment` in a child."""


FIXTURES = (
    "refused",
    "black-hole",
    "tls-expired",
    "tls-wrong-host",
    "tls-self-signed",
    "tls-stall",
    "name-gone",
    "name-sick",
    "name-slow",
)


@contextlib.contextmanager
def primary_at(fixture: str, upstream: FakeUpstream, scale: float = SCALE) -> Generator[Address]:
    """The address of a primary that cannot be reached as `fixture` says, or of `upstream` for none."""
    kind, _, detail = fixture.partition("-")
    match kind:
        case "":
            yield Address(upstream.base_url)
        case "refused":
            with refused_port() as port:
                yield Address(f"http://127.0.0.1:{port}/v1")
        case "black":
            with black_hole() as port:
                yield Address(f"http://127.0.0.1:{port}/v1")
        case "tls":
            with tls_fault(cast("Broken", detail)) as server:
                yield Address(server.base_url, server.ca_file)
        case "name":
            rows = {"gone": NXDOMAIN, "sick": SERVFAIL, "slow": Name(delay_s=5.0 / scale)}
            host = f"{detail}.test"
            yield Address(f"http://{host}:{upstream.port}/v1", names={host: rows[detail]})
        case _:
            raise ValueError(f"unknown fixture {fixture!r}")


TIMEOUTS = {"connect": 3.0, "tls": 5.0, "first_content": 12.0, "idle": 20.0, "total": 600.0}
"""The defaults of the fault suite with a fallback, in seconds."""


def config(
    providers: Sequence[Mapping[str, Any]],
    routes: Sequence[Mapping[str, Any]] = (),
    *,
    scale: float = SCALE,
    timeouts: Mapping[str, float] | None = None,
    **tables: Any,
) -> str:
    """The text of a `trivium.toml` with the default timeouts divided by `scale`; `tables` are further ones."""
    seconds = TIMEOUTS | dict(timeouts or {})
    scaled = {name: f"{value / scale * 1000:.3f}ms" for name, value in seconds.items()}
    policy = {"timeouts": scaled} | dict(tables.pop("policy", {}))
    lines = [f"[{name}]\n{_pairs(table)}" for name, table in {"policy": policy, **tables}.items()]
    lines += [f"[[providers]]\n{_pairs(row)}" for row in providers]
    lines += [f"[[routes]]\n{_pairs(row)}" for row in routes]
    return "\n".join(lines)


def _pairs(table: Mapping[str, Any]) -> str:
    return "".join(f"{name} = {_toml(value)}\n" for name, value in table.items())


def _toml(value: Any) -> str:
    match value:
        case dict():
            return "{ " + ", ".join(f"{name} = {_toml(of)}" for name, of in value.items()) + " }"
        case list() | tuple():
            return "[" + ", ".join(_toml(of) for of in value) + "]"
        case bool() | int() | float() | str():
            return json.dumps(value)  # JSON's literals of these kinds are TOML's too
        case _:
            raise TypeError(f"no TOML for {value!r}")


@dataclass
class Served:
    """A running `trivium serve`. `stderr` and `stdout` grow while it runs."""

    process: subprocess.Popen[str]
    origin: str
    admin_url: str
    home: Path
    config_file: Path
    stdout: list[str] = field(default_factory=list[str])
    stderr: list[str] = field(default_factory=list[str])

    @property
    def base_url(self) -> str:
        return f"{self.origin}/v1"

    @property
    def port(self) -> int:
        return int(self.origin.rpartition(":")[2])

    def log(self) -> str:
        return "".join(self.stderr)


@contextlib.contextmanager
def serve(
    config_text: str,
    *arguments: str,
    env: Mapping[str, str] | None = None,
    home: Path | None = None,
    module: str = "trivium.cli.main",
    start_s: float = 20.0,
    stop_s: float = 10.0,
) -> Generator[Served]:
    """`trivium serve` with this configuration on free ports, ready to answer; stopped at the end.

    The process sees no key and no proxy of the environment but those in `env`. Raises AssertionError if it does not
    come up, or wrote a traceback.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="trivium-test-")))
        listen, admin = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        file = folder / "trivium.toml"
        file.write_text(_with_server(config_text, listen, admin))
        process = subprocess.Popen(
            [sys.executable, "-X", "faulthandler", "-m", module, "serve", "--config", str(file), *arguments],
            env=environment(home or folder / "home") | dict(env or {}),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        served = Served(process, f"http://{listen}", f"http://{admin}", home or folder / "home", file)
        drains = [_drain(process.stdout, served.stdout), _drain(process.stderr, served.stderr)]
        try:
            _await_health(served, start_s)
            yield served
        finally:
            stop(process, stop_s)
            for drain in drains:
                drain.join(5)
            process.stdout.close()  # type: ignore[union-attr]
            process.stderr.close()  # type: ignore[union-attr]
        assert "Traceback (most recent call last)" not in served.log(), served.log()


def environment(home: Path) -> dict[str, str]:
    """The least that a process needs, so that no key of the machine reaches a test."""
    inherited = ("PATH", "LANG", "PYTHONPATH", "TRIVIUM_CONNECTS_LOG", "TRIVIUM_PORTABLE")
    kept = {name: os.environ[name] for name in inherited if name in os.environ}
    return kept | {"HOME": str(home), "TRIVIUM_HOME": str(home), "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "error"}


def stop(process: subprocess.Popen[str], timeout_s: float = 10.0) -> None:
    """SIGTERM, and SIGKILL if that was not enough."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _with_server(text: str, listen: str, admin: str) -> str:
    """The configuration with its addresses; `[server]` may hold other keys already."""
    addresses = f'[server]\nlisten = "{listen}"\nadmin = "{admin}"\n'
    return text.replace("[server]\n", addresses, 1) if "[server]\n" in text else f"{addresses}\n{text}"


def _drain(stream: Any, lines: list[str]) -> threading.Thread:
    """A full pipe would stop the process, so it is read all the time."""
    thread = threading.Thread(target=lambda: lines.extend(iter(stream.readline, "")), daemon=True)
    thread.start()
    return thread


def _await_health(served: Served, timeout_s: float) -> None:
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        assert served.process.poll() is None, f"serve ended with {served.process.returncode}:\n{served.log()}"
        if _status(served.port, "/health") == 200:
            return
        time.sleep(0.02)
    raise AssertionError(f"serve did not answer within {timeout_s} s:\n{served.log()}")


def _status(port: int, path: str) -> int | None:
    """The status of a GET; None if nobody answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return None
    finally:
        connection.close()
