"""The control socket: every question gets an answer, or is given up."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from trivium.errors import InternalError, Unavailable
from trivium.gateway import control
from trivium.gateway.control import Control, Handler, serve_control


def ask(path: Path, handler: Handler, **arguments: object) -> Any:
    """What a client gets from a server whose one operation is `op`."""

    async def work() -> Any:
        server = await serve_control(path, {"op": handler})
        client = Control(path)
        try:
            return await client.call("op", **arguments)
        finally:
            await client.close()
            server.close()

    return run(work())


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, 30))


def test_an_unforeseen_failure_is_answered_and_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def fails(_message: dict[str, Any]) -> object:
        raise OSError("no space left")

    with pytest.raises(InternalError, match="OSError") as caught:
        ask(tmp_path / "c.sock", fails)
    assert "no space left" not in str(caught.value)
    assert "no space left" in caplog.text


def test_an_answer_that_cannot_be_written_is_a_failure_too(tmp_path: Path) -> None:
    async def odd(_message: dict[str, Any]) -> object:
        return object()

    with pytest.raises(InternalError, match="TypeError"):
        ask(tmp_path / "c.sock", odd)


def test_an_owner_lost_in_a_long_call_is_looked_for_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "FIND_S", 0.5)
    path, asked = tmp_path / "c.sock", asyncio.Event()

    async def never(_message: dict[str, Any]) -> object:
        asked.set()
        await asyncio.sleep(20)
        return {}

    async def answers(_message: dict[str, Any]) -> object:
        return "here"

    async def work() -> object:
        first = await serve_control(path, {"op": never})
        client = Control(path)
        call = asyncio.create_task(client.call("op"))
        await asked.wait()
        await asyncio.sleep(0.7)
        first.close()
        path.unlink(missing_ok=True)
        assert client._writer is not None
        client._writer.transport.abort()  # as when its process is killed
        await asyncio.sleep(0.2)
        second = await serve_control(path, {"op": answers})
        try:
            return await call
        finally:
            await client.close()
            second.close()

    assert run(work()) == "here"


def test_an_owner_that_says_nothing_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "ANSWER_S", 0.05)

    async def silent(_message: dict[str, Any]) -> object:
        await asyncio.sleep(20)
        return {}

    with pytest.raises(Unavailable, match="does not answer `op`"):
        ask(tmp_path / "c.sock", silent)
