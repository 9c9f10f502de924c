"""A master's one way to a reload."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import msgspec
import pytest

from trivium.config.schema import Config
from trivium.errors import ConfigError
from trivium.server import master
from trivium.server.master import _on  # pyright: ignore[reportPrivateUsage]


def test_what_the_owner_is_asked_is_done_on_the_master_s_loop() -> None:
    """Signals are handled there too, so that two reloads are never at work at once."""
    threads: list[threading.Thread] = []

    def work() -> None:
        threads.append(threading.current_thread())
        if len(threads) == 2:
            raise ConfigError("no")

    async def serving() -> None:
        told = _on(asyncio.get_running_loop(), work)
        assert await asyncio.to_thread(asyncio.run, told({})) == {}  # pyright: ignore[reportArgumentType]
        with pytest.raises(ConfigError):
            await asyncio.to_thread(asyncio.run, told({}))  # pyright: ignore[reportArgumentType]

    asyncio.run(serving())
    assert threads == [threading.current_thread()] * 2


def test_a_file_that_is_no_longer_trusted_takes_no_keys_away(tmp_path: Path) -> None:
    before = Config(home=tmp_path, file=tmp_path / "trivium.toml", trusted=True)
    master._keep(before, before, "admin")
    with pytest.raises(ConfigError, match="has changed since it was trusted"):
        master._keep(before, msgspec.structs.replace(before, trusted=False), "admin")
