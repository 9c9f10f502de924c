"""Names to addresses, without holding up anybody else and with a memory for bad days."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

_FRESH_S = 60.0
_STALE_S = 3600.0  # after it, an answer is worth less than an error
_STALE_PATIENCE_S = 1.0  # how long a look-up may take while a stale answer is at hand (RFC 8767 section 5)
_NAMES_MAX = 1024

_T = TypeVar("_T")


class Resolves(Protocol):
    async def resolve(self, host: str) -> Sequence[str]:
        """Addresses of a name, best first; raises OSError."""
        ...


def look_up(host: str) -> list[str]:
    """Ask the system for the addresses of a name, in its order; blocks; raises OSError."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a label that cannot be encoded is a name that does not exist
        raise OSError(str(error)) from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Resolver:
    """Names to addresses for one event loop, with a memory: 60 s fresh, and up to an hour when asking fails.

    Questions are asked in threads, one at a time for a name, so that a slow name system holds up nobody else.
    """

    def __init__(
        self, lookup: Callable[[str], list[str]] = look_up, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._lookup = lookup
        self._clock = clock
        self._known: dict[str, tuple[float, list[str]]] = {}
        self._asking: dict[str, asyncio.Task[list[str]]] = {}

    async def resolve(self, host: str) -> Sequence[str]:
        """The addresses of `host`; raises OSError when asking fails and no answer of the last hour is known."""
        if literal := without_asking(host):
            return literal
        at, addresses = self._known.get(host, (0.0, []))
        age_s = self._clock() - at
        if addresses and age_s < _FRESH_S:
            return addresses
        stale = addresses if age_s < _STALE_S else []
        asking = self._asking.get(host)
        if asking is None:
            asking = self._asking[host] = asyncio.create_task(self._ask(host))
            asking.add_done_callback(lambda task: self._answered(host, task))
        # A caller that gives up does not take the answer from the others.
        await asyncio.wait([asking], timeout=_STALE_PATIENCE_S if stale else None)
        if asking.done() and asking.exception() is None:
            return asking.result()
        if stale:
            return stale
        return asking.result()

    async def _ask(self, host: str) -> list[str]:
        return await in_thread(self._lookup, host)

    def _answered(self, host: str, task: asyncio.Task[list[str]]) -> None:
        del self._asking[host]
        if task.cancelled() or task.exception() is not None:
            return
        self._known.pop(host, None)
        self._known[host] = self._clock(), task.result()
        if len(self._known) > _NAMES_MAX:
            del self._known[next(iter(self._known))]


def without_asking(host: str) -> list[str]:
    """Addresses that need no name system: literals, and `localhost` (RFC 6761 section 6.3)."""
    if host == "localhost" or host.endswith(".localhost"):
        return ["127.0.0.1", "::1"]
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except OSError:
            continue
        return [host]
    return []


async def in_thread(function: Callable[..., _T], *arguments: object) -> _T:
    """Run a blocking function in a daemon thread of its own.

    An executor would have the program wait at its end for a name system that does not answer.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[_T] = loop.create_future()

    def settle(result: _T | None, error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # pyright: ignore[reportArgumentType]

    def work() -> None:
        try:
            outcome = function(*arguments), None
        except Exception as error:  # whatever it is, it is raised where it is awaited
            outcome = None, error
        try:
            loop.call_soon_threadsafe(settle, *outcome)
        except RuntimeError:
            pass  # the loop has closed meanwhile

    threading.Thread(target=work, name="trivium-blocking", daemon=True).start()
    return await done
