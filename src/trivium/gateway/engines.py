"""The owner's engines as its clients ask for them."""

from __future__ import annotations

from typing import Any

import msgspec

from trivium.config import shipped
from trivium.config.home import Paths
from trivium.config.schema import Config, Engine
from trivium.engines.store import Store
from trivium.engines.supervisor import Supervisor
from trivium.gateway.control import Handler
from trivium.gateway.runtime import Running


class Engines:
    """A supervisor behind the control socket. Must be made on the owner's loop."""

    def __init__(self, config: Config) -> None:
        store = Store(Paths(config.home).models)
        self._supervisor = Supervisor(config.engines, store, config.home, known=shipped.catalog().local_models)

    def handlers(self) -> dict[str, Handler]:
        return {"ensure": self._ensure, "touch": self._touch, "engines": self._status, "stop_engine": self._stop}

    async def _ensure(self, message: dict[str, Any]) -> object:
        asked = msgspec.convert(message, _Ensure)
        if asked.spec is not None:
            self._supervisor.learn(asked.spec)
        running = await self._supervisor.ensure(asked.engine)
        return Running(
            base_url=running.base_url,
            api_key=running.api_key.reveal(),
            context=running.context,
            pid=running.pid,
        )

    async def _touch(self, message: dict[str, Any]) -> object:
        for engine in msgspec.convert(message, _Touch).engines:
            if self._supervisor.running(engine) is not None:
                self._supervisor.answered(engine)
        return {}

    async def _status(self, _message: dict[str, Any]) -> object:
        return self._supervisor.status()

    async def _stop(self, message: dict[str, Any]) -> object:
        await self._supervisor.stop(msgspec.convert(message, _Ensure).engine)
        return {}

    async def close(self) -> None:
        await self._supervisor.close()


class _Ensure(msgspec.Struct, frozen=True):
    """`spec` is the asker's own configuration of the engine: programs of one home may be configured differently."""

    engine: str
    spec: Engine | None = None


class _Touch(msgspec.Struct, frozen=True):
    engines: tuple[str, ...]
