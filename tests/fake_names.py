"""Host names whose look-up fails, is slow, or gives the addresses that a test wants (cases 4 and 5).

Imports the standard library only: `site/sitecustomize.py` loads this file before anything of Trivium.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import time
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

VARIABLE = "TRIVIUM_FAKE_NAMES"
SITE = Path(__file__).with_name("site")

_real = socket.getaddrinfo


class Name(NamedTuple):
    """What a look-up does: waits `delay_s`, then fails as the resolver does, or gives these addresses."""

    addresses: tuple[str, ...] = ("127.0.0.1",)
    error: str = ""
    """`EAI_NONAME` for NXDOMAIN, `EAI_AGAIN` for SERVFAIL."""
    delay_s: float = 0.0


NXDOMAIN = Name((), "EAI_NONAME")
SERVFAIL = Name((), "EAI_AGAIN")

_names: dict[str, Name] = {}


@contextlib.contextmanager
def fake_names(names: Mapping[str, Name]) -> Generator[None]:
    """Look-ups of these names in this process; all others go to the real resolver."""
    _install()
    _names.update(names)
    try:
        yield
    finally:
        for name in names:
            _names.pop(name, None)


def environment(names: Mapping[str, Name]) -> dict[str, str]:
    """Variables that do the same in a Python child; its recorder of connections works as well."""
    return {VARIABLE: json.dumps(names), "PYTHONPATH": str(SITE)}


def from_environment() -> None:
    rows: dict[str, Any] = json.loads(os.environ[VARIABLE])
    _names.update({name: Name(tuple(addresses), error, delay) for name, (addresses, error, delay) in rows.items()})
    _install()


def _install() -> None:
    if socket.getaddrinfo is _getaddrinfo:
        return
    socket.getaddrinfo = _getaddrinfo
    try:
        from uvloop import Loop
    except ImportError:
        return
    original: Any = Loop.getaddrinfo

    async def look_up(self: Any, host: Any, port: Any, **named: Any) -> Any:
        # uvloop asks libuv, not the socket module.
        name = _names.get(_text(host))
        if name is None:
            return await original(self, host, port, **named)
        await asyncio.sleep(name.delay_s)
        return _answers(name, port, **named)

    Loop.getaddrinfo = look_up


def _text(host: str | bytes | None) -> str:
    return (host.decode("ascii", "replace") if isinstance(host, bytes) else host or "").rstrip(".").lower()


def _getaddrinfo(host: Any, port: Any, *positional: Any, **named: Any) -> Any:
    name = _names.get(_text(host))
    if name is None:
        return _real(host, port, *positional, **named)
    time.sleep(name.delay_s)
    return _answers(name, port, *positional, **named)


def _answers(name: Name, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0) -> list[Any]:  # noqa: A002
    if name.error:
        code: int = getattr(socket, name.error)
        raise socket.gaierror(code, "a fake name that cannot be resolved")
    found: list[Any] = []
    for address in name.addresses:
        if family in (0, socket.AF_INET6 if ":" in address else socket.AF_INET):
            found += _real(address, port, 0, type, proto, flags | socket.AI_NUMERICHOST)
    if not found:
        raise socket.gaierror(socket.EAI_NONAME, "a fake name without an address of this family")
    return found
