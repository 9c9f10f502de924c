"""What several commands open in the same way: the owner's socket and the ledger."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from trivium.config.home import Paths, check_home
from trivium.config.quantity import moment, seconds
from trivium.config.schema import Config
from trivium.errors import UsageError
from trivium.gateway.control import Control
from trivium.ledger.store import Store
from trivium.transport.platform import FileLock

_LAST_S = 253_402_300_799
"""The end of the year 9999, beyond which there are no days."""


def owned(config: Config) -> bool:
    """Whether some program owns the home now."""
    where = Paths(config.home).run / "owner.lock"
    if not where.exists():
        return False
    lock = FileLock(where)
    if lock.acquire():
        lock.release()
        return False
    return True


def ask_owner(config: Config, op: str, **arguments: object) -> Any:
    """One question to the owner of the home; raises what it answers, or Unavailable."""

    async def ask() -> Any:
        control = Control(Paths(config.home).run / "control.sock")
        try:
            return await control.call(op, **arguments)
        finally:
            await control.close()

    return asyncio.run(ask())


def since_ms(text: str | None) -> int:
    """`7d`, `12h` before now, or an ISO date, as Unix milliseconds; None is the beginning. Raises UsageError."""
    if text is None:
        return 0
    for read in (moment, _ago):
        try:
            return round(min(max(read(text), 0), _LAST_S) * 1000)
        except ValueError:
            pass
    remedy = "Write `7d`, `12h`, `30m`, or a date such as 2026-11-23."
    raise UsageError(f"`--since {text[:40]}` is no time.", remedy=remedy)


def _ago(text: str) -> float:
    return time.time() - seconds(text)


@contextmanager
def ledger(config: Config) -> Generator[Store]:
    """The ledger, with everything loaded that any program of this home has written until now.

    This run stands for election meanwhile: if nobody owns the home, it does. Raises ConfigError, LedgerUnavailable,
    Unavailable.
    """
    from trivium.gateway.owner import Owner

    check_home(config.home)
    owner = Owner(config)
    owner.start()
    try:
        ask_owner(config, "load")
    finally:
        owner.close()
    store = Store.open(config.ledger.url or Paths(config.home).ledger)
    try:
        yield store
    finally:
        store.close()
