"""The owner of a home: the one process that loads all journals and runs the engines.

Elected by a lock on `run/owner.lock`; a program that does not get it waits, and takes over when it falls
free. The owner runs on a thread and loop of its own, answers on `run/control.sock`, and its loop only
answers: the ledger's database lives on a second thread. Engines end with it (`PR_SET_PDEATHSIG` means the
thread that started them, which is the owner's).
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from trivium.config.home import Paths, make_private
from trivium.config.schema import Config
from trivium.errors import TriviumError
from trivium.gateway.control import Handler, serve_control
from trivium.gateway.engines import Engines
from trivium.gateway.measured import Measured
from trivium.ledger import query
from trivium.ledger.load import Loader
from trivium.ledger.store import Store
from trivium.transport.platform import FileLock, new_event_loop

log = logging.getLogger("trivium.owner")

ELECTION_S = 0.25
"""How often a program that is not the owner looks whether it can become it."""
LOAD_S = 1.0
"""How often journals are looked at."""
CLOSE_S = 15.0
"""How long the end of an owner may take: engines get ten seconds to stop."""

_T = TypeVar("_T")
Job = Callable[[Store, Loader], _T]


class LedgerThread:
    """The database's own thread: loads journals now and then, and runs what it is asked between."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._jobs: queue.SimpleQueue[tuple[Job[Any], concurrent.futures.Future[Any]] | None] = queue.SimpleQueue()
        self._trouble = ""
        self.submit(_nothing)  # else the first journals would wait
        self._thread = threading.Thread(target=self._run, name="trivium-ledger", daemon=True)
        self._thread.start()

    def submit(self, job: Job[_T]) -> concurrent.futures.Future[_T]:
        """Run `job` on the thread, after everything in the journals has been loaded; what fails is told to both."""
        done: concurrent.futures.Future[_T] = concurrent.futures.Future()
        self._jobs.put((job, done))
        return done

    def close(self) -> None:
        self.submit(_nothing)
        self._jobs.put(None)
        self._thread.join(CLOSE_S)

    def _run(self) -> None:
        opened: tuple[Store, Loader] | None = None
        while (next_ := self._next()) is not None:
            job, done = next_
            if not done.set_running_or_notify_cancel():  # who asked has gone; from here on it cannot be cancelled
                continue
            try:
                store, loader = opened = opened or self._open()
                loader.run_once()
                done.set_result(job(store, loader))
            except Exception as error:  # the thread's outermost boundary: without it nobody would load any more
                self._report(error)
                done.set_exception(error)
        if opened is not None:
            opened[0].close()

    def _next(self) -> tuple[Job[Any], concurrent.futures.Future[Any]] | None:
        try:
            return self._jobs.get(timeout=LOAD_S)
        except queue.Empty:
            return _nothing, concurrent.futures.Future()

    def _open(self) -> tuple[Store, Loader]:
        """The store, however long it takes: each look at the journals tries again, and they wait meanwhile."""
        where = Paths(self._config.home)
        make_private(where.journal)
        url = self._config.ledger.url or where.ledger
        store = Store.open(url)
        return store, Loader(where.journal, store)

    def _report(self, error: Exception) -> None:
        """Log what went wrong, once while it lasts."""
        if str(error) != self._trouble:
            self._trouble = str(error)
            log.error("%s", error, exc_info=None if isinstance(error, TriviumError) else error)


def _nothing(_store: Store, _loader: Loader) -> None:
    """What is left of a job where loading is all that is wanted."""


class Owner:
    """Stands for election until closed; owns the home while it holds the lock."""

    def __init__(self, config: Config, more: dict[str, Handler] | None = None) -> None:
        self.config = config
        self._more = more or {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing: asyncio.Event | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="trivium-owner", daemon=True)

    def start(self) -> None:
        """Begin to stand for election; returns at once. What keeps it from that is logged."""
        _running.add(self)
        self._thread.start()
        self._ready.wait()

    def stop(self) -> None:
        """Begin to end; returns at once."""
        loop, closing = self._loop, self._closing
        if loop is not None and closing is not None and self._thread.is_alive():  # in a forked child it is not
            with contextlib.suppress(RuntimeError):  # the loop has just ended
                loop.call_soon_threadsafe(closing.set)

    def close(self) -> None:
        """Stop the engines, load what is left, give the lock back; bounded in time."""
        self.stop()
        if self._thread.is_alive():
            self._thread.join(CLOSE_S)

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=new_event_loop) as runner:
                runner.run(self._main())
        except Exception:  # the thread's outermost boundary
            log.exception("This program owns the home `%s` no more.", self.config.home)
        finally:
            self._ready.set()
            _running.discard(self)

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        closing = self._closing = asyncio.Event()
        self._ready.set()
        run = make_private(Paths(self.config.home).run)
        lock = FileLock(run / "owner.lock")
        while not closing.is_set():
            try:
                if lock.acquire():
                    await self._own(closing)
            except OSError as error:
                log.error("The home `%s` cannot be owned: %s", self.config.home, error)
            finally:
                lock.release()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(closing.wait(), ELECTION_S)

    async def _own(self, closing: asyncio.Event) -> None:
        ledger = LedgerThread(self.config)
        engines = Engines(self.config)
        measured = Measured(self.config.home)
        handlers = {**_ledger_handlers(ledger), **engines.handlers(), **measured.handlers(), **self._more}
        try:
            server = await serve_control(Paths(self.config.home).run / "control.sock", handlers)
            try:
                await closing.wait()
            finally:
                server.close()
        finally:
            await engines.close()
            ledger.close()
            measured.save()


_running: set[Owner] = set()


@atexit.register
def _close_all() -> None:
    """No loop may outlive the interpreter, whoever forgot to end it: uvloop's next timer would crash there."""
    owners = list(_running)
    for owner in owners:
        owner.stop()
    for owner in owners:
        owner.close()


def _ledger_handlers(ledger: LedgerThread) -> dict[str, Handler]:
    async def load(_message: dict[str, Any]) -> object:
        await asyncio.wrap_future(ledger.submit(_nothing))
        return {}

    async def spent(message: dict[str, Any]) -> object:
        asked = msgspec.convert(message, _Spent)
        return await asyncio.wrap_future(
            ledger.submit(lambda store, _: store.spent_since(asked.since_ms, requested_model=asked.requested_model))
        )

    async def generation(message: dict[str, Any]) -> object:
        asked = msgspec.convert(message, _Generation).generation
        return await asyncio.wrap_future(ledger.submit(lambda store, _: query.generation(store, asked)))

    async def spent_by_key(message: dict[str, Any]) -> object:
        asked = msgspec.convert(message, _SpentByKey)
        return await asyncio.wrap_future(
            ledger.submit(lambda store, _: [query.spent(store, asked.key, since_ms) for since_ms in asked.since_ms])
        )

    async def ping(_message: dict[str, Any]) -> object:
        return {"time_s": time.time()}

    return {"load": load, "spent": spent, "generation": generation, "spent_by_key": spent_by_key, "ping": ping}


class _Spent(msgspec.Struct, frozen=True):
    since_ms: int
    requested_model: str


class _Generation(msgspec.Struct, frozen=True):
    generation: str


class _SpentByKey(msgspec.Struct, frozen=True):
    """`key` None: all of them."""

    since_ms: tuple[int, ...]
    key: str | None = None
