"""A master's one way to a reload."""

from __future__ import annotations

import asyncio
import threading

import pytest

from trivium.errors import ConfigError
from trivium.server.master import _on  # pyright: ignore[reportPrivateUsage]


def test_what_the_owner_is_asked_is_done_on_the_master_s_loop() -> None:
    """Signals are handled there too, so that two reloads are never at work at once."""
    threads: list[threading.Thread] = []

    def work() -> None:
        threads.append(threading.current_thread())
        if len(threads) == 2:
            raise ConfigError("no")

    async def master() -> None:
        told = _on(asyncio.get_running_loop(), work)
        assert await asyncio.to_thread(asyncio.run, told({})) == {}  # pyright: ignore[reportArgumentType]
        with pytest.raises(ConfigError):
            await asyncio.to_thread(asyncio.run, told({}))  # pyright: ignore[reportArgumentType]

    asyncio.run(master())
    assert threads == [threading.current_thread()] * 2
