"""Tokens of providers whose credential a command says: fetched off the loop, renewed before they end, one at a time."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from trivium.access import token
from trivium.config.schema import TokenCommand
from trivium.errors import UpstreamTokenError
from trivium.types.secret import Secret

RENEW_SHARE = 0.8
"""After how much of its time a token is renewed, while the old one still serves."""
PAUSE_S = 5.0
"""How soon a command runs again after it failed, or after an upstream refused what it had just said."""


class _Held(msgspec.Struct, eq=False):
    """What is known of one command's token; times are those of the runtime's clock."""

    secret: Secret | None = None
    until: float = 0.0
    renew_at: float = 0.0
    again_at: float = 0.0
    error: UpstreamTokenError | None = None
    task: asyncio.Task[None] | None = None
    process: subprocess.Popen[Any] | None = None


class Tokens:
    """One a loop. A token belongs to a provider and its command."""

    def __init__(self, loop: asyncio.AbstractEventLoop, now: Callable[[], float], folder: Path) -> None:
        self._loop = loop
        self._now = now
        self._folder = folder
        self._held: dict[tuple[str, TokenCommand], _Held] = {}

    def current(self, provider: str, command: TokenCommand) -> Secret | None:
        """The token as it is; None where it must be fetched first."""
        held = self._held.get((provider, command))
        if held is None or (now := self._now()) >= held.until:
            return None
        if now >= held.renew_at and now >= held.again_at:
            self._start(provider, command, held)
        return held.secret

    async def fetch(self, provider: str, command: TokenCommand) -> None:
        """Wait until there is a token. Raises UpstreamTokenError, at once where the command has just failed."""
        held = self._held.setdefault((provider, command), _Held())
        if held.error is None or self._now() >= held.again_at:
            await asyncio.shield(self._start(provider, command, held))
        if held.error is not None and self._now() >= held.until:
            raise UpstreamTokenError(held.error.message, remedy=held.error.remedy)

    def refused(self, provider: str, command: TokenCommand, credential: Secret | None) -> bool:
        """An upstream refused a token; whether there is a newer one, or will be. One that is new stays as it is."""
        held = self._held.get((provider, command))
        if held is not None and held.secret is credential:
            if self._now() < held.again_at:
                return False
            held.until = 0.0
        return True

    def _start(self, provider: str, command: TokenCommand, held: _Held) -> asyncio.Task[None]:
        if held.task is None:
            held.task = self._loop.create_task(self._fetch(provider, command, held))
        return held.task

    async def _fetch(self, provider: str, command: TokenCommand, held: _Held) -> None:
        def started(process: subprocess.Popen[Any]) -> None:
            held.process = process

        try:
            run = self._loop.run_in_executor(None, token.fetch, provider, command, self._folder, started)
            fetched = await run
        except UpstreamTokenError as error:
            held.error = error
        else:
            now = self._now()
            held.secret, held.error = fetched.secret, None
            held.until, held.renew_at = now + fetched.good_s, now + fetched.good_s * RENEW_SHARE
        finally:
            held.task, held.process, held.again_at = None, None, self._now() + PAUSE_S

    def close(self) -> None:
        """End what runs."""
        for held in self._held.values():
            if held.task is not None:
                held.task.cancel()
            if held.process is not None:
                token.kill(held.process)
