"""A runtime with a real journal, a real pool and a clock of the test's, turned by hand, and sinks that remember."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ledger_help import apart_all
from trivium.config import shipped
from trivium.config.load import load
from trivium.config.schema import Engine
from trivium.dialects import get as dialect_named
from trivium.dialects.base import Dialect
from trivium.errors import EngineUnavailable, TriviumError
from trivium.gateway import pipeline
from trivium.gateway.control import Shared
from trivium.gateway.exchange import Exchange
from trivium.gateway.runtime import Running, Runtime
from trivium.gateway.snapshot import Snapshot
from trivium.gateway.wish import Wish
from trivium.ledger.journal import JournalWriter
from trivium.ledger.record import Entry, Record
from trivium.ledger.segment import HEADER, parse
from trivium.transport.dial import dial
from trivium.transport.http1 import UpstreamConnection
from trivium.transport.resolve import Resolver
from trivium.transport.upstream import Upstream
from trivium.types.event import Event
from trivium.types.request import Request
from trivium.types.response import Response

CHAT = dialect_named("openai_chat")
MESSAGES = dialect_named("anthropic_messages")
Log = list[tuple[str, Any]]


class Journal(JournalWriter):
    """The real one, which also says in `log` when it was used; it refuses while `full`."""

    def __init__(self, directory: Path, log: Log) -> None:
        super().__init__(directory)
        self.log = log
        self.full = False

    def append(self, record: Entry) -> None:
        self.log.append(("append", type(record).__name__))
        super().append(record)

    def flush(self) -> bool:
        written = not self.full and super().flush()
        self.log.append(("flush", written))
        return written


class Sink:
    """Remembers what it was told, in the order in which it was."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.error: TriviumError | None = None
        self.data = b""
        self.answers: list[Response | list[Event]] = []
        self.over = False

    def whole(self, exchange: Exchange, body: bytes) -> None:
        self._end("whole", body)

    def begin(self, exchange: Exchange, first: bytes) -> None:
        self._more("begin", first)

    def chunk(self, data: bytes) -> None:
        self._more("chunk", data)

    def end(self, last: bytes) -> None:
        self._end("end", last)

    def cut(self, last: bytes) -> None:
        self._end("cut", last)

    def give(self, exchange: Exchange, answer: Response | list[Event]) -> None:
        self.answers.append(answer)
        self._more("give", b"")
        self.over = exchange.closed

    def fail(self, exchange: Exchange, error: TriviumError) -> None:
        self.error = error
        self._end("fail", b"")

    def done(self) -> None:
        self.log.append(("done", None))

    def _more(self, what: str, data: bytes) -> None:
        assert not self.over
        self.log.append((what, data))
        self.data += data

    def _end(self, what: str, data: bytes) -> None:
        self._more(what, data)
        self.over = True


class Owner:
    """Knows of one engine: at `base_url`, or unable to start, or (None) never done with starting."""

    def __init__(self) -> None:
        self.base_url: str | None = ""
        self.asked = 0
        self.told: dict[str, Any] = {}
        self.spent_nanos: int | None = 0
        """None: it never says."""

    async def ensure(self, engine: str, spec: Engine | None) -> Running:
        self.asked += 1
        if self.base_url is None:
            await asyncio.get_running_loop().create_future()
        if not self.base_url:
            raise EngineUnavailable(f"`{engine}` has no weights.")
        return Running(base_url=self.base_url, api_key="made-up")

    async def touch(self, engines: list[str]) -> None: ...

    async def share(self, told: Any, failing: list[str], known: list[str]) -> Shared:
        self.told.update(told)
        return Shared({name: self.told[name] for name in known if name in self.told}, frozenset(failing))

    async def spent(self, since_ms: int, requested_model: str) -> int:
        if self.spent_nanos is None:
            await asyncio.get_running_loop().create_future()
        return self.spent_nanos or 0


class World:
    def __init__(self, folder: Path, text: str, **more: Any) -> None:
        self.folder = folder / "journal"
        self.folder.mkdir()
        file = folder / "trivium.toml"
        file.write_text(text)
        self.config = load(file=str(file), env={}, cwd=folder, home=folder / "home")
        self.loop = asyncio.new_event_loop()
        self.log: Log = []
        self.journal = Journal(self.folder, self.log)
        self.owner = Owner()
        self.resolver = Resolver()
        self.dialled = 0
        self.dials = True
        self._read = len(HEADER)
        self.found: Callable[[], Any] | None = None
        self.runtime = Runtime(
            self.loop,
            Snapshot(self.config, shipped.catalog(), **more),
            self.journal,
            self._dial,
            self.owner,
            pipeline.sweep,
            self._look,
        )
        self.clock = 1000.0
        self.runtime.now = self.runtime.conditions.clock = lambda: self.clock
        self.runtime.jitter = lambda: 0.0
        self.runtime.budget.refresh(0, time.time())

    async def _dial(
        self, upstream: Upstream, protocol: Callable[[], UpstreamConnection]
    ) -> tuple[Any, UpstreamConnection]:
        self.dialled += 1
        if not self.dials:
            await self.loop.create_future()
        trusted = upstream.trusted_origin
        return await dial(
            upstream.origin,
            protocol,
            proxies=None,
            tls=lambda: None,  # type: ignore[arg-type, return-value]
            trusted_origin=trusted,
            offline=True,
            resolver=self.resolver,
        )

    async def _look(self) -> None:
        if self.found is not None:
            self.found()

    def close(self) -> None:
        for exchange in list(self.runtime.exchanges):
            pipeline.caller_gone(exchange)
        self.runtime.close()
        self.journal.close()
        for _ in range(5):
            self.turn()
        self.loop.close()

    # ---- asking

    def begin(
        self, model: str, wish: Wish | None = None, *, dialect: Dialect = CHAT, stream: bool = False, **more: Any
    ) -> tuple[Exchange, Sink]:
        fields: dict[str, Any] = {"model": model, "max_tokens": 10, "stream": stream}
        fields["messages"] = [{"role": "user", "content": "Hello"}]
        return self.begin_raw(json.dumps(fields | more).encode(), wish, dialect)

    def begin_raw(self, body: bytes, wish: Wish | None = None, dialect: Dialect = CHAT) -> tuple[Exchange, Sink]:
        sink = Sink(self.log)
        return pipeline.begin(self.runtime, sink, dialect, body, wish or Wish()), sink

    def begin_request(self, request: Request, wish: Wish | None = None) -> tuple[Exchange, Sink]:
        sink = Sink(self.log)
        return pipeline.begin_request(self.runtime, sink, request, wish or Wish()), sink

    def ask(self, model: str, wish: Wish | None = None, **more: Any) -> tuple[Exchange, Sink]:
        """Ask and turn the loop until the answer is over."""
        exchange, sink = self.begin(model, wish, **more)
        self.until(lambda: sink.over)
        return exchange, sink

    # ---- time

    def turn(self) -> None:
        """One turn of the loop."""
        self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()

    def until(self, true: Callable[[], bool], within_s: float = 10.0) -> None:
        end = time.monotonic() + within_s
        while not true():
            assert time.monotonic() < end, self.log
            self.turn()
            time.sleep(0.001)

    def settle(self, turns: int = 20) -> None:
        """Let everything happen that can without a network."""
        for _ in range(turns):
            self.turn()

    def sweep(self, exchange: Exchange, after_s: float) -> None:
        self.clock += after_s
        pipeline.sweep(exchange, self.clock)

    # ---- what is known afterwards

    def records(self) -> list[Record]:
        """What the kernel has of the journal."""
        found: list[Record] = []
        for path in sorted(self.folder.glob("*.journal")):
            found += apart_all(parse(path.read_bytes()[len(HEADER) :]).records)
        return found

    def new_records(self) -> list[Record]:
        """What the kernel has of the journal since this was asked last."""
        (path,) = self.folder.glob("*.journal")
        with path.open("rb") as file:
            file.seek(self._read)
            stretch = parse(file.read())
        self._read += stretch.size
        return apart_all(stretch.records)

    def said(self) -> list[str]:
        """What was done, in order: `append Reserved`, `flush True`, `begin` …; chunks once."""
        words = [f"{what} {detail}" if what in ("append", "flush") else what for what, detail in self.log]
        return [word for at, word in enumerate(words) if not at or words[at - 1] != word]
