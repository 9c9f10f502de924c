"""The gateway: everything that one process needs to serve requests, opened and closed as a whole."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import weakref
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from trivium.config import shipped
from trivium.config.home import Paths, check_home
from trivium.config.schema import Config
from trivium.errors import TriviumError
from trivium.gateway import pipeline
from trivium.gateway.control import Control
from trivium.gateway.found import Found, look
from trivium.gateway.runtime import Runtime
from trivium.gateway.snapshot import Snapshot
from trivium.ledger.journal import JournalWriter
from trivium.transport import tls
from trivium.transport.dial import dial
from trivium.transport.http1 import UpstreamConnection
from trivium.transport.proxy import Proxies
from trivium.transport.resolve import Resolver
from trivium.transport.upstream import Upstream
from trivium.types.request import Operation

if TYPE_CHECKING:
    from trivium.gateway.owner import Owner


LAST_WORDS_S = 0.5
"""How long the end waits to tell the owner what was measured."""


def snapshot_of(config: Config, found: Iterable[Found] = ()) -> Snapshot:
    """What requests read now; `found` are the servers that `look` saw."""
    from trivium.engines.store import Store

    manifests = Store(Paths(config.home).models).list()
    purposes: dict[str, Operation] = {
        name: one.facts.operation
        for one in manifests
        for name in (one.name, one.source, one.source.removeprefix("file:"))
    }
    return Snapshot(
        config,
        shipped.catalog(),
        tuple(manifest.name for manifest in manifests),
        tuple(f"{one.provider}/{one.model}" for one in found if one.model),
        purposes,
    )


class Gateway:
    """One a loop. `owner` stands for election in this process; a worker leaves that to its master."""

    def __init__(self, config: Config, *, own: bool = True) -> None:
        """Must be called with the loop running that will serve."""
        loop = asyncio.get_running_loop()
        where = Paths(config.home)
        check_home(config.home)
        self.owner: Owner | None = None
        if own:
            from trivium.gateway.owner import Owner  # database and engines, which a worker never needs

            self.owner = Owner(config)
            self.owner.start()
            weakref.finalize(self, self.owner.stop)  # a gateway that nobody closed is collected with its loop
        self.control = Control(where.run / "control.sock")
        self.journal = JournalWriter(where.journal, max_bytes=config.ledger.journal_max_bytes)
        self._models = where.models / "manifests"
        self._models_at = self._models_changed()
        self._offline = config.offline
        self._proxies = Proxies.from_env(os.environ)
        self._tls = functools.partial(tls.context, tls.bundles_from_env(os.environ))
        self._resolver = Resolver()
        self._found: list[Found] = []
        self.runtime = Runtime(
            loop, snapshot_of(config), self.journal, self._dial, self.control, pipeline.sweep, self._look
        )

    async def _dial(
        self, upstream: Upstream, protocol: Callable[[], UpstreamConnection]
    ) -> tuple[Any, UpstreamConnection]:
        return await dial(
            upstream.origin,
            protocol,
            proxies=None if upstream.local else self._proxies,
            tls=self._tls,
            trusted_origin=upstream.trusted_origin,
            offline=self._offline,
            resolver=self._resolver,
            connect_timeout_s=upstream.connect_s,
            tls_timeout_s=upstream.tls_s,
        )

    def _models_changed(self) -> int:
        try:
            return self._models.stat().st_mtime_ns
        except OSError:
            return 0

    def look_at_store(self) -> None:
        """Notice models that were pulled or removed since; one `stat`, so cheap enough for now and then."""
        changed = self._models_changed()
        if changed != self._models_at:
            self._models_at = changed
            self.reload(self.runtime.snapshot.config)

    async def _look(self) -> None:
        """Look for servers on this machine; what is found serves `auto` from the next request on."""
        config = self.runtime.snapshot.config
        found = await look(config)
        if found != self._found and config is self.runtime.snapshot.config:
            self._found = found
            self.reload(config)

    def reload(self, config: Config) -> None:
        self.runtime.swap(snapshot_of(config, self._found))

    async def close(self) -> None:
        """End: upstream connections, journal, and, if this process owns the home, its engines."""
        with contextlib.suppress(TriviumError, TimeoutError):
            async with asyncio.timeout(LAST_WORDS_S):
                await self.runtime.last_words()
        self.runtime.close()
        self.journal.close()
        await self.control.close()
        if self.owner is not None:
            await asyncio.get_running_loop().run_in_executor(None, self.owner.close)
