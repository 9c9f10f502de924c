"""What all processes of a home have measured, kept by its owner and over its restarts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from trivium.config import private
from trivium.config.home import Paths
from trivium.gateway.control import Handler, Shared
from trivium.routing.statistics import Statistics

ENDPOINTS_MAX = 4096
SAVE_S = 30.0
FAILING_S = 30.0
"""How long the others are warned of an endpoint that one process has found failing."""


class Told(msgspec.Struct, frozen=True):
    """What a process has measured since it told last, and which endpoints it holds open breakers against."""

    told: dict[str, Statistics]
    failing: tuple[str, ...]
    known: tuple[str, ...]
    """The endpoints that it wants to know about."""


def kept(home: Path) -> dict[str, Statistics]:
    """What the owner of a home saved last."""
    return private.read(Paths(home).statistics, dict[str, Statistics]) or {}


class Measured:
    """The owner's side. Its loop only adds up; the file is written in a thread."""

    def __init__(self, home: Path, now: Callable[[], float] = time.time) -> None:
        self._path = Paths(home).statistics
        self._now = now
        self._all = kept(home)
        self._failing: dict[str, float] = {}
        self._saved_s = now()
        self._saving: asyncio.Task[None] | None = None

    def handlers(self) -> dict[str, Handler]:
        return {"share": self._share}

    async def _share(self, message: dict[str, Any]) -> object:
        asked = msgspec.convert(message, Told, strict=False)  # JSON has texts for keys
        now = self._now()
        for name, told in asked.told.items():
            known = self._all.get(name)
            if known is not None:
                known.add(told)
            elif len(self._all) < ENDPOINTS_MAX:
                self._all[name] = told
        self._failing = {name: until for name, until in self._failing.items() if until > now}
        self._failing |= dict.fromkeys(asked.failing[:ENDPOINTS_MAX], now + FAILING_S)
        if asked.told and now - self._saved_s > SAVE_S and (self._saving is None or self._saving.done()):
            self._saved_s = now
            self._saving = asyncio.create_task(asyncio.to_thread(private.write, self._path, self._encoded()))
        wanted = [name for name in asked.known if name in self._all]
        return Shared({name: self._all[name] for name in wanted}, frozenset(self._failing))

    def _encoded(self) -> bytes:
        """Without what nobody has asked for a day, which has no counts left."""
        return msgspec.json.encode({name: one for name, one in self._all.items() if one.minutes or one.hours})

    def save(self) -> None:
        """Keep everything for the next owner. Raises OSError."""
        if self._all:
            private.write(self._path, self._encoded())
