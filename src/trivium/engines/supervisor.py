"""Starts engines when they are wanted, watches them, restarts them when they die, and takes them along when it ends.

A thin driver around `state.transition`: this file has the processes, clocks and sockets, that one the decisions. All
of it runs on the loop of the first call (asyncio's own or uvloop, in any thread); threads only drain pipes and read
files. Nothing here downloads.
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Callable, Collection, Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from trivium.config.home import make_private
from trivium.config.schema import Engine
from trivium.engines import llamacpp
from trivium.engines.child import Child
from trivium.engines.log import EngineLog
from trivium.engines.prepare import prepare
from trivium.engines.state import Event, Life, State, transition
from trivium.engines.store import Store
from trivium.errors import EngineUnavailable, NotFound, TriviumError
from trivium.types.secret import Secret

_T = TypeVar("_T")

_TERM_S = 10.0
_PROBE_S = 300.0


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How often and how long the supervisor looks, in seconds."""

    look_s: float = 5.0
    """Between two looks at a running engine."""
    stall_s: float = 300.0
    """A load without a line in the log for so long has stalled."""
    hung_s: float = 60.0
    """A busy engine without a decode step for so long hangs."""


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """An engine that answers: what an endpoint needs to reach it. `context` is tokens a request."""

    base_url: str
    """With the version segment: `http://127.0.0.1:PORT/v1`."""
    api_key: Secret
    model: str
    context: int
    slots: int
    pid: int


class EngineStatus(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One engine for people and metrics; `rss` is bytes, `context` tokens a request."""

    id: str
    model: str
    state: State
    pid: int | None = None
    context: int | None = None
    slots: int | None = None
    processing: int = 0
    queued: int = 0
    rss: int | None = None
    restarts: int = 0
    reason: str = ""


class _Engine:
    """What the supervisor knows of one engine; touched on the loop only."""

    def __init__(self, spec: Engine, log: EngineLog) -> None:
        self.spec = spec
        self.log = log
        self.life = Life()
        self.waiters: set[asyncio.Future[Running]] = set()
        self.error: TriviumError | None = None
        self.child: Child | None = None
        self.gone = asyncio.Event()
        self.gone.set()
        self.running: Running | None = None
        self.activity: llamacpp.Activity | None = None
        self.threads = 0
        self.restarts = 0
        self.used_s = 0.0
        self.timer: asyncio.TimerHandle | None = None


class Supervisor:
    """The engines of one home. `specs` are the configured ones; any model of the store is an engine by its name.

    `known` are names that could be pulled, so that asking for one says how. Close it on its loop, or end the thread
    of its loop: the engines go with either.
    """

    def __init__(
        self,
        specs: Mapping[str, Engine],
        store: Store,
        home: Path,
        *,
        known: Collection[str] = (),
        pace: Pace = Pace(),  # noqa: B008  # frozen
    ) -> None:
        self._specs = dict(specs)
        self._store = store
        self._home = home
        self._known = frozenset(known)
        self._pace = pace
        self._engines: dict[str, _Engine] = {}
        self._loading = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    async def ensure(self, engine_id: str) -> Running:
        """The engine, started if need be; concurrent calls share one start.

        Raises NotFound for a name that is no engine and no model, EngineUnavailable with the reason, the end of the
        log and a remedy. Cancelling a call does not stop the start.
        """
        engine = self._engine(engine_id)
        engine.used_s = self._now()
        running = self.running(engine_id)
        if running is not None:
            return running
        if engine.life.state == "failed":
            raise self._failure(engine)
        waiter: asyncio.Future[Running] = asyncio.get_running_loop().create_future()
        engine.waiters.add(waiter)
        self._feed(engine, Event("want", self._now()))
        try:
            return await waiter
        finally:
            engine.waiters.discard(waiter)

    def learn(self, spec: Engine) -> None:
        """Know one more configured engine; one that runs goes on, and its next start is by this spec."""
        self._specs[spec.id] = spec
        if spec.id in self._engines:
            self._engines[spec.id].spec = spec

    def running(self, engine_id: str) -> Running | None:
        """The engine if it answers now; never waits, so the path of a request may ask."""
        engine = self._engines.get(engine_id)
        if engine is None or engine.life.state not in ("ready", "busy"):
            return None
        engine.used_s = self._now()
        return engine.running

    def answered(self, engine_id: str) -> None:
        """Tell that a request was answered: earlier crashes no longer count."""
        engine = self._engines.get(engine_id)
        if engine is not None and not engine.life.answered:
            self._feed(engine, Event("answered"))

    def status(self) -> list[EngineStatus]:
        """Every configured engine, and every other that was used."""
        for engine_id in self._specs:
            self._engine(engine_id)
        return [self._status(engine) for engine in self._engines.values()]

    async def stop(self, engine_id: str) -> None:
        """Stop an engine, or clear the failure of one; returns when its process is gone."""
        engine = self._engines.get(engine_id)
        if engine is not None:
            self._feed(engine, Event("stop"))
            await engine.gone.wait()

    async def close(self) -> None:
        """Stop all engines and every task of the supervisor; it cannot be used again."""
        self._closed = True
        await asyncio.gather(*(self.stop(engine_id) for engine_id in list(self._engines)))
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # The engines, by name

    def _engine(self, engine_id: str) -> _Engine:
        if self._closed:
            raise EngineUnavailable("The supervisor of the engines is closed.")
        found = self._engines.get(engine_id)
        if found is None:
            file = self._home / "logs" / f"engine-{quote(engine_id, safe='')}.log"
            found = _Engine(self._spec(engine_id), EngineLog(file))
            self._engines[engine_id] = found
        return found

    def _spec(self, engine_id: str) -> Engine:
        spec = self._specs.get(engine_id)
        if spec is not None:
            return spec
        if engine_id in self._known or self._store.find(engine_id) is not None:
            return Engine(id=engine_id, model=engine_id)
        raise NotFound(
            f"`{engine_id[:100]}` is no configured engine and no model in the store.",
            remedy="`trivium models` lists what there is and what can be pulled.",
        )

    # Events and actions

    def _feed(self, engine: _Engine, event: Event) -> None:
        engine.life, action = transition(engine.life, event)
        if engine.timer is not None and engine.life.state != "waiting":
            engine.timer.cancel()
            engine.timer = None
        if action == "start":
            engine.error = None
            self._spawn_task(self._start(engine, safe=engine.life.safe))
        elif action == "wait":
            loop = asyncio.get_running_loop()
            engine.timer = loop.call_later(engine.life.wait_s, lambda: self._feed(engine, Event("retry", self._now())))
        elif action == "terminate":
            self._terminate(engine)
        self._settle(engine)

    def _settle(self, engine: _Engine) -> None:
        """Answer those who wait, where there is an answer now."""
        state = engine.life.state
        running = engine.running if state in ("ready", "busy") else None
        for waiter in engine.waiters:
            if waiter.done():
                continue
            if running is not None:
                waiter.set_result(running)
            elif state in ("absent", "stopped", "failed"):
                waiter.set_exception(self._failure(engine))

    def _terminate(self, engine: _Engine) -> None:
        child = engine.child
        if child is None:  # still reading the file: nothing to end
            self._feed(engine, Event("died", self._now(), "stopped"))
            return
        child.terminate()
        asyncio.get_running_loop().call_later(_TERM_S, child.kill)

    async def _start(self, engine: _Engine, *, safe: bool) -> None:
        """One start, from the file to the first token; what goes wrong becomes an event."""
        async with self._loading:  # one load at a time
            if engine.life.state != "starting":
                return
            told: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
            try:
                in_use = sum(other.threads for other in self._engines.values())
                plan = await asyncio.to_thread(prepare, self._store, engine.spec, threads_in_use=in_use, safe=safe)
                if engine.life.state != "starting":
                    return
                child = self._spawn(engine, plan, told) if plan else None
            except (TriviumError, OSError, RuntimeError) as error:  # no file, process or thread is to be had
                engine.error = error if isinstance(error, TriviumError) else self._unstartable(engine.spec, error)
                self._feed(engine, Event("refused", reason=engine.error.message))
                return
            if plan is None or child is None:
                engine.error = self._absent(engine.spec)
                self._feed(engine, Event("missing", reason=engine.error.message))
                return
            await self._load(engine, plan, child, told)

    async def _load(self, engine: _Engine, plan: llamacpp.Launch, child: Child, told: asyncio.Future[bytes]) -> None:
        try:
            line = await self._unless_stalled(engine, told)
            address = llamacpp.address(line, plan.key)
            async with asyncio.timeout(_PROBE_S):
                await llamacpp.probe(address, plan.operation)
        except asyncio.CancelledError:
            child.kill()
            raise
        except (OSError, ValueError, TimeoutError) as error:
            engine.log.add(f"trivium: it did not get ready: {error or type(error).__name__}".encode())
            child.kill()  # its end is the event
            return
        if engine.child is not child:
            return
        engine.running = Running(
            base_url=f"http://{address.host}:{address.port}/v1",
            api_key=Secret(plan.key),
            model=plan.alias,
            context=plan.context,
            slots=plan.slots,
            pid=child.pid,
        )
        engine.used_s = self._now()
        self._feed(engine, Event("up"))
        self._spawn_task(self._look_after(engine, child, address))

    def _spawn(self, engine: _Engine, plan: llamacpp.Launch, told: asyncio.Future[bytes]) -> Child:
        loop = asyncio.get_running_loop()

        def on_line(line: bytes) -> None:
            if not told.done():
                told.set_result(line)

        def on_exit(code: int) -> None:
            if not told.done():
                told.set_exception(ChildProcessError(f"its process ended with {code}"))
            told.exception()  # seen, also where nobody waits any more
            self._ended(engine, child, code)

        def on_loop(callback: Callable[[_T], object], value: _T) -> None:
            try:
                loop.call_soon_threadsafe(callback, value)
            except RuntimeError:
                pass  # the loop is closed: nobody is left to be told

        child = Child(
            llamacpp.argv(engine.spec.id),
            msgspec.json.encode(plan) + b"\n",
            folder=make_private(self._home / "run"),
            log=engine.log,
            hide=plan.key,
            on_line=lambda line: on_loop(on_line, line),
            on_exit=lambda code: on_loop(on_exit, code),
        )
        engine.child, engine.threads = child, plan.threads
        engine.gone.clear()
        return child

    async def _unless_stalled(self, engine: _Engine, told: asyncio.Future[bytes]) -> bytes:
        """The worker's line; TimeoutError once the log has been silent for too long."""
        engine.log.touch()
        while not told.done():
            await asyncio.wait([told], timeout=min(1.0, self._pace.stall_s))
            if not told.done() and engine.log.silent_s() > self._pace.stall_s:
                raise TimeoutError(f"the load stalled: nothing happened for {self._pace.stall_s:.0f} s")
        return told.result()

    def _ended(self, engine: _Engine, child: Child, code: int) -> None:
        if engine.child is not child:
            return
        engine.child, engine.running, engine.activity = None, None, None
        engine.threads = 0
        engine.gone.set()
        if engine.life.state != "stopping":
            engine.restarts += 1
        segfault = -code in (signal.SIGSEGV, getattr(signal, "SIGILL", 0), getattr(signal, "SIGBUS", 0))
        jitter = random.random()  # noqa: S311  # spreads restarts, keeps no secret
        self._feed(engine, Event("died", self._now(), _words(code), segfault=segfault, jitter=jitter))

    async def _look_after(self, engine: _Engine, child: Child, address: llamacpp.Address) -> None:
        """Look at a running engine from time to time: busy, idle for too long, or hung."""
        first = last = -1
        progress_s = self._now()
        while engine.child is child:
            await asyncio.sleep(self._pace.look_s)
            try:
                async with asyncio.timeout(self._pace.hung_s):
                    seen = await llamacpp.activity(address)
            except TimeoutError:
                self._hung(engine, child)
                return
            except (OSError, ValueError):
                continue  # it is ending, which its exit will tell
            if engine.child is not child:
                return
            first = seen.decoded if first < 0 else first
            engine.activity, now = seen, self._now()
            if seen.decoded != last or not seen.processing:
                progress_s = now
            if seen.processing or (seen.decoded != last and last >= 0):
                engine.used_s = now
            last = seen.decoded
            self._feed(engine, Event("busy" if seen.processing else "idle"))
            if seen.decoded > first and not seen.processing:
                self._feed(engine, Event("answered"))
            if now - progress_s > self._pace.hung_s:
                self._hung(engine, child)
                return
            self._unload_if_idle(engine, now)

    def _hung(self, engine: _Engine, child: Child) -> None:
        engine.log.add(f"trivium: no decode step for {self._pace.hung_s:.0f} s: killed".encode())
        child.kill()

    def _unload_if_idle(self, engine: _Engine, now: float) -> None:
        limit = engine.spec.idle_unload_s
        idle = limit is not None and engine.life.state == "ready" and now - engine.used_s > limit
        if idle and not engine.spec.pinned:
            self._feed(engine, Event("stop"))

    # Words for people

    def _absent(self, spec: Engine) -> EngineUnavailable:
        return EngineUnavailable(
            f"The model `{spec.model}` is not on this machine.",
            remedy=f"Fetch it once: `trivium models pull {spec.model}`.",
        )

    def _unstartable(self, spec: Engine, error: Exception) -> EngineUnavailable:
        return EngineUnavailable(
            f"The engine `{spec.id}` (model `{spec.model}`) cannot be started: {error}.",
            remedy="Free memory, processes or open files on this machine; the next request tries again.",
        )

    def _failure(self, engine: _Engine) -> TriviumError:
        """Why the engine does not answer. A new exception for each that waits: tracebacks are not shared."""
        if engine.error is not None:
            return type(engine.error)(engine.error.message, remedy=engine.error.remedy)
        if engine.life.state != "failed":
            return EngineUnavailable(f"The engine `{engine.spec.id}` was stopped.")
        tail = " | ".join(engine.log.tail())
        return EngineUnavailable(
            f"The engine `{engine.spec.id}` (model `{engine.spec.model}`) crashed {engine.life.deaths} times in a row: "
            f"{engine.life.reason}. Its log ends: {tail or 'empty'}.",
            remedy=f"The whole log is in {engine.log.path}.",
        )

    def _status(self, engine: _Engine) -> EngineStatus:
        running, seen = engine.running, engine.activity
        return EngineStatus(
            id=engine.spec.id,
            model=engine.spec.model,
            state=engine.life.state,
            pid=engine.child.pid if engine.child else None,
            context=running.context if running else engine.spec.context,
            slots=engine.spec.slots,
            processing=seen.processing if seen else 0,
            queued=seen.deferred if seen else 0,
            rss=engine.child.rss_bytes() if engine.child else None,
            restarts=engine.restarts,
            reason=engine.life.reason,
        )

    def _spawn_task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def _words(code: int) -> str:
    if code >= 0:
        return f"its process ended with exit code {code}"
    try:
        return f"its process was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"its process was ended by signal {-code}"
