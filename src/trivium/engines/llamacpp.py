"""The adapter of llama.cpp: how it is started, when it is ready, what it says about its work."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
import secrets
import sys
from pathlib import Path
from typing import cast

import msgspec

from trivium.config.schema import Engine
from trivium.engines.fit import SHARE, fit
from trivium.engines.store import Manifest
from trivium.errors import ConfigError, EngineUnavailable
from trivium.types.request import Operation

_OPTIONS = {
    "n_batch": int,
    "n_ubatch": int,
    "n_gpu_layers": int,
    "cache_ram_mib": int,
    "chat_template": str,
    "rope_freq_base": float,
    "rope_freq_scale": float,
}
"""What `options` of an engine may set; the rest of the engine's surface stays shut."""
_METRIC = re.compile(r"^llamacpp:(\w+) ([0-9.eE+-]+)$", re.MULTILINE)
_RESPONSE_MAX_BYTES = 1 << 20
_SAFE_THREADS = 1


_FIRST = {
    "chat": ("/completion", b'{"prompt":"a","n_predict":1,"cache_prompt":false}'),
    "embed": ("/v1/embeddings", b'{"input":"a"}'),
    "rerank": ("/v1/rerank", b'{"query":"a","documents":["a"]}'),
}


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker is told on its standard input. `context` is tokens a slot."""

    path: str
    alias: str
    key: str
    parent: int
    context: int
    slots: int
    threads: int
    safe: bool = False
    operation: Operation = "chat"
    options: dict[str, str | int | float | bool] = {}


class Activity(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine says of itself: requests in slots and in its queue, decode steps so far."""

    processing: int
    deferred: int
    decoded: int


def launch(spec: Engine, manifest: Manifest, path: Path, *, threads: int, available: int | None, safe: bool) -> Launch:
    """How to start `manifest`'s file for `spec` on this machine.

    Raises EngineUnavailable when the wheel is missing or the model does not fit, ConfigError for an option that may
    not be set.
    """
    if importlib.util.find_spec("xllamacpp") is None:
        raise EngineUnavailable(
            "The embedded engine is not installed.", remedy="Install it: `pip install 'trivium[local]'`."
        )
    room = fit(manifest.facts, manifest.weights.size, context=spec.context, slots=spec.slots, available=available)
    if not room.fits:
        raise EngineUnavailable(
            f"The model `{manifest.name}` does not fit: with a context of {room.context} x {room.slots} it needs about "
            f"{room.total >> 20} MiB; {(available or 0) >> 20} MiB are available, of which {SHARE:.0%} may be used.",
            remedy="Set a smaller `context` or fewer `slots`, choose a smaller model, or free memory.",
        )
    return Launch(
        path=str(path),
        alias=manifest.name,
        key=secrets.token_hex(32),
        parent=os.getpid(),
        context=room.context,
        slots=spec.slots,
        threads=_SAFE_THREADS if safe else threads,
        safe=safe,
        operation=manifest.facts.operation,
        options=_checked(spec),
    )


def _checked(spec: Engine) -> dict[str, str | int | float | bool]:
    for name, value in spec.options.items():
        kind = _OPTIONS.get(name)
        if kind is None or isinstance(value, bool) or not isinstance(value, (kind, int) if kind is float else kind):
            raise ConfigError(
                f"The engine `{spec.id}` cannot have the option `{name}` = {value!r}.",
                remedy=f"It may have: {', '.join(_OPTIONS)}.",
                key=f"engines.{spec.id}.options.{name}",
            )
    return dict(spec.options)


def argv(label: str) -> list[str]:
    """The worker's command line. `-P`: a file in the working directory is never imported."""
    return [sys.executable, "-P", "-m", "trivium.engines.llamacpp_worker", label]


class Address(msgspec.Struct, frozen=True):
    """Where a worker listens, and the key that it wants."""

    host: str
    port: int
    key: str


def address(line: bytes, key: str) -> Address:
    """Read the worker's one line; raises ValueError."""
    told = msgspec.json.decode(line, type=dict[str, str])["address"]
    found = re.fullmatch(r"http://([0-9.]+):(\d+)", told)
    if found is None:
        raise ValueError(f"the engine told the address {told!r}")
    return Address(found[1], int(found[2]), key)


async def probe(at: Address, operation: Operation = "chat") -> None:
    """Return when the engine has done a first small thing of its kind: up is not ready. Raises OSError, ValueError."""
    status, _ = await _ask(at, "GET", "/health")
    if status != 200:
        raise ValueError(f"/health answered {status}")
    path, body = _FIRST[operation]
    status, answer = await _ask(at, "POST", path, body)
    if status != 200:
        raise ValueError(f"a first {path} answered {status}: {answer[:200].decode('utf-8', 'replace')}")


async def activity(at: Address) -> Activity:
    """Ask what the engine is doing; does not keep it awake. Raises OSError, ValueError."""
    status, answer = await _ask(at, "GET", "/metrics")
    if status != 200:
        raise ValueError(f"/metrics answered {status}")
    found = {name: float(value) for name, value in cast("list[tuple[str, str]]", _METRIC.findall(answer.decode()))}
    return Activity(
        processing=int(found.get("requests_processing", 0)),
        deferred=int(found.get("requests_deferred", 0)),
        decoded=int(found.get("n_decode_total", 0)),
    )


async def _ask(at: Address, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
    """One request on a connection of its own: status and body.

    Three fixed questions to our own child need no HTTP library; it answers them with a length and closes.
    """
    reader, writer = await asyncio.open_connection(at.host, at.port)
    try:
        head = (
            f"{method} {path} HTTP/1.1\r\nhost: {at.host}:{at.port}\r\nauthorization: Bearer {at.key}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        writer.write(head.encode("ascii") + body)
        answer = await reader.read(_RESPONSE_MAX_BYTES)
        while more := await reader.read(_RESPONSE_MAX_BYTES - len(answer)):
            answer += more
    finally:
        writer.close()
    found = re.match(rb"HTTP/1\.[01] (\d{3})[^\r\n]*\r\n", answer)
    if found is None:
        raise ValueError("the engine answered no HTTP")
    return int(found[1]), answer.partition(b"\r\n\r\n")[2]
