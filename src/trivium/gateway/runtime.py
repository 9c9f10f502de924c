"""What all requests of one event loop share: snapshot, journal, pool, counters, and the sweep.

Nothing here makes a task, a future or a timer a request; records of one turn of the loop leave in one
write, and whatever had to wait for them follows. For a request that is alone a turn ends with its callback.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from trivium.access.bind import Binding
from trivium.catalog.rows import Endpoint
from trivium.config.schema import Engine
from trivium.dialects import spoken
from trivium.errors import (
    Draining,
    InternalError,
    LedgerUnavailable,
    TriviumError,
    UpstreamAuthError,
    UpstreamCut,
    UpstreamUnreachable,
)
from trivium.gateway.budget import DAY_S, DailyBudget
from trivium.gateway.probe import Probes
from trivium.gateway.reasons import PASSED_OVER
from trivium.gateway.snapshot import Leg, Snapshot
from trivium.gateway.tokens import Tokens
from trivium.ledger.record import Entry
from trivium.routing.conditions import Conditions
from trivium.routing.names import AUTO
from trivium.routing.plan import Plan, Rejected
from trivium.routing.route import Breaker
from trivium.routing.statistics import Statistics
from trivium.telemetry.metrics import Metrics
from trivium.transport.pool import Dial, Pool
from trivium.types.ids import Ids
from trivium.types.request import Request
from trivium.types.secret import Secret

if TYPE_CHECKING:
    from trivium.gateway.attempt import Attempt
    from trivium.gateway.exchange import Exchange

log = logging.getLogger("trivium")

SWEEP_S = 0.05
"""How coarse deadlines are."""
KEEP_ALIVE_FIRST_S, KEEP_ALIVE_NEXT_S = 5.0, 10.0
"""Silence before the first comment to a waiting caller, and between comments."""
LEARN_S = 3.0
"""How long a first request for `auto` waits for what is not known: long enough for an owner to come up."""
REFRESH_S = 5.0
"""How often the ledger is asked what was spent, and engines are told that they are in use."""
LOOK_S = 30.0
"""How often `auto` has this machine searched for servers."""


_USUAL = Breaker()


class Journal(Protocol):
    def append(self, record: Entry) -> None: ...
    def flush(self) -> bool: ...


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """Where an engine that runs is reached."""

    base_url: str
    api_key: str
    context: int | None = None
    pid: int = 0


class Shared(Protocol):
    """What all processes have measured, and which endpoints one of them finds failing."""

    @property
    def measured(self) -> dict[str, Statistics]: ...
    @property
    def failing(self) -> frozenset[str]: ...


class Owner(Protocol):
    """The owner of the home, as its clients see it."""

    async def ensure(self, engine: str, spec: Engine | None) -> Running:
        """An engine that answers, started if need be. Raises EngineUnavailable."""
        ...

    async def touch(self, engines: list[str]) -> None: ...
    async def spent(self, since_ms: int, requested_model: str) -> int: ...
    async def share(self, told: dict[str, Statistics], failing: list[str], known: list[str]) -> Shared: ...
    async def call(self, op: str, **arguments: object) -> Any:
        """Anything else that its handlers offer. Raises what it raises, or Unavailable."""
        ...


class Runtime:
    """One a loop. `sweep` looks at one exchange; it comes from the pipeline, which imports this module."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        snapshot: Snapshot,
        journal: Journal,
        dial: Dial,
        owner: Owner,
        sweep: Callable[[Exchange, float], None],
        look: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:
        self.loop = loop
        self.snapshot = snapshot
        self.journal = journal
        self.owner = owner
        self.pool = Pool(loop, dial)
        self.exchanges: set[Exchange] = set()
        self.metrics = Metrics(self.exchanges)
        self.now = time.monotonic
        self.jitter = random.random
        self.tokens = Tokens(loop, self.now, snapshot.config.home)
        self.ids = Ids(random.getrandbits(80), "gen-")
        self.budget = DailyBudget(snapshot.config.defaults.budget_nanos_day)
        self.draining = False
        self.ending: TriviumError | None = None
        """Set once requests in flight may finish no more."""
        self.conditions = Conditions(self.now, time.time() - self.now())
        self._engines: dict[str, dict[str, Binding]] = {}
        self._used: set[str] = set()
        self._sends: list[Attempt] = []
        self._ends: list[Exchange] = []
        self._flushing = False
        self._gathering = False
        self._sweep_exchange = sweep
        self._look = look
        self._looking: asyncio.Task[None] | None = None
        self._looked = -LOOK_S
        self._sweeping: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.probes = Probes(self)
        self._refreshed = -REFRESH_S
        self._refreshing: asyncio.Task[None] | None = None

    def report(self, error: BaseException) -> None:
        """Tell the operator of a defect; the caller only learns that there is one."""
        log.error("A defect was met: %r", error, exc_info=error)

    def new_id(self) -> str:
        return self.ids.next(time.time_ns() // 1_000_000)

    # ---- admission

    def admit(self) -> None:
        """Raises Draining once requests in flight are cut."""
        if self.ending is not None:
            raise self.ending

    def opened(self, exchange: Exchange) -> None:
        """A request has begun."""
        self.exchanges.add(exchange)
        if self._sweeping is None:
            self._sweeping = self.loop.call_later(SWEEP_S, self._sweep)

    def within_budget(self, plan: Plan, exchange: Exchange) -> Plan:
        """The plan of `auto` without what it can no longer pay for today."""
        kept: list[Endpoint] = []
        rejected: list[Rejected] = []
        for endpoint in plan.endpoints:
            too_much = self.too_much(endpoint, exchange)
            if too_much:
                rejected.append(Rejected(endpoint.id, "budget", too_much))
            else:
                kept.append(endpoint)
        if not rejected:
            return plan
        passed_over = plan.passed_over
        if passed_over is None and kept[:1] != list(plan.endpoints[:1]):
            passed_over = rejected[0]
        rejected = [*plan.rejected, *rejected]
        return msgspec.structs.replace(plan, endpoints=tuple(kept), rejected=tuple(rejected), passed_over=passed_over)

    def too_much(self, endpoint: Endpoint, exchange: Exchange) -> str:
        """Why a request for `auto` cannot pay for an attempt at an endpoint; empty: it can."""
        if self.budget.limit_nanos is None or endpoint.access == "local":
            return ""
        limit = f"{self.budget.limit_nanos / 1e9:g} USD for `auto`; see `[defaults] budget`"
        bound = exchange.bound_nanos(endpoint)
        if bound is None:
            return f"its price is unknown, and a day has {limit}"
        if self.budget.allows(bound, time.time()):
            return ""
        if not self.budget.known:
            return f"nobody says what is left of today's {limit}"
        return f"it could exceed what is left of today's {limit}"

    # ---- endpoints

    def allowed(self, plan: Plan, position: int, input_tokens: int) -> int:
        """The first position from `position` on that may be asked now or soon; `position` if none may."""
        return self.conditions.allowed(plan, position, input_tokens, self.probes.first)

    def why_not(self, endpoint: Endpoint, exchange: Exchange) -> str:
        """Why an endpoint is passed over, for people: `openai is failing`."""
        _, why, _ = self.conditions.put_off(endpoint, self.conditions.now(), exchange.input_tokens)
        health = self.conditions.healths.get(endpoint.id)
        otherwise = "is failing" if health is not None and health.breaker.open_until_s else "is slow"
        return f"{endpoint.provider.id} {PASSED_OVER.get(why, otherwise)}"

    def binding(self, leg: Leg, snapshot: Snapshot, number: int) -> Binding | None:
        """How to reach an engine, or a provider with the key of a `number` or with a token; None: `prepare` it."""
        endpoint, dialect = leg.endpoint, leg.dialect
        if endpoint.engine is not None:
            self._used.add(endpoint.engine)
            return self._engines.get(endpoint.engine, {}).get(dialect.name)
        if endpoint.keys > 1:
            return snapshot.binding(endpoint, dialect, number=number)
        command = snapshot.token_command(endpoint)
        token = None if command is None else self.tokens.current(endpoint.provider.id, command)
        return None if token is None else snapshot.binding(endpoint, dialect, token)

    def renews_token(self, attempt: Attempt, error: TriviumError) -> bool:
        """Whether an upstream refused a token that has been, or can be, renewed."""
        command = attempt.exchange.snapshot.token_command(attempt.endpoint)
        if command is None or not isinstance(error, UpstreamAuthError) or error.upstream_status != 401:
            return False
        renewed = self.tokens.refused(attempt.endpoint.provider.id, command, attempt.binding.credential)
        if renewed:
            self.conditions.credentials.pop((attempt.endpoint.provider.id, attempt.credential), None)
        return renewed

    def before_auto(self, *, rests_on_found: bool) -> asyncio.Task[None] | None:
        """What a request for `auto` waits for where this process has never found it out: what was spent today, and, if
        its choice `rests_on_found`, which servers run on this machine, which is searched now and then."""
        first = self._looked < 0
        if self._looking is None and self.now() - self._looked > LOOK_S:
            self._looking = self.task(self._search())
        unknown = [self._looking] if first and rests_on_found else []
        if self.budget.limit_nanos is not None and not self.budget.known:
            unknown.append(self._refresh_soon())
        wanted = [task for task in unknown if task is not None]
        return self.task(_wait(wanted)) if wanted else None

    async def _search(self) -> None:
        try:
            await self._look()
        finally:
            self._looking, self._looked = None, self.now()

    def prepare(
        self, endpoint: Endpoint, exchange: Exchange, ready: Callable[[Exchange, TriviumError | None], None]
    ) -> asyncio.Task[None]:
        """Have the owner start an engine, or fetch a token; `ready` is called when it is there, or cannot be had."""

        async def start() -> None:
            if endpoint.engine is not None:
                await self._start_engine(endpoint, endpoint.engine, exchange.snapshot)
            elif command := exchange.snapshot.token_command(endpoint):
                await self.tokens.fetch(endpoint.provider.id, command)

        return self.task(self._readied(start, exchange, ready))

    async def _readied(
        self,
        work: Callable[[], Coroutine[Any, Any, None]],
        exchange: Exchange,
        ready: Callable[[Exchange, TriviumError | None], None],
    ) -> None:
        """Do what an exchange waits for, and tell it, whatever comes of it."""
        try:
            await work()
        except TriviumError as error:
            ready(exchange, error)
        except Exception as error:
            self.report(error)
            ready(exchange, InternalError("An internal error."))
        else:
            ready(exchange, None)

    async def _start_engine(self, endpoint: Endpoint, engine: str, snapshot: Snapshot) -> None:
        running = await self.owner.ensure(engine, snapshot.config.engines.get(engine))
        key = Secret(running.api_key)
        self._engines[engine] = {
            dialect.name: snapshot.bind(endpoint, key, dialect, running.base_url)
            for dialect in spoken(endpoint.dialects)
        }

    def fetch_images(
        self, request: Request, exchange: Exchange, ready: Callable[[Exchange, TriviumError | None], None]
    ) -> asyncio.Task[None]:
        """Put the bytes of a request's images in the place of their URLs; `ready` is called then, or with why not."""

        async def fetch() -> None:
            from trivium.gateway import images

            client = images.client(exchange.snapshot.config.offline)
            exchange.request = await self.loop.run_in_executor(
                None, images.inlined, request, exchange.data_class, client
            )

        return self.task(self._readied(fetch, exchange, ready))

    def settled(
        self,
        attempt: Attempt,
        outcome: str,
        error: TriviumError | None,
        input_tokens: int,
        output_tokens: int,
        cost_nanos: int | None,
    ) -> None:
        """An attempt is over: counters, breaker, and what is known of an engine."""
        endpoint = attempt.endpoint
        self.metrics.attempt(endpoint, outcome, input_tokens, output_tokens, cost_nanos)
        if attempt.reserved_nanos:
            self.budget.settle(attempt.reserved_nanos, cost_nanos)
        plan = attempt.exchange.plan
        self.conditions.ended(attempt, error, output_tokens, plan.route.breaker if plan else _USUAL)
        if error is None:
            return
        if attempt.health is not None and attempt.health.breaker.open_until_s:
            self.probes.later(endpoint, attempt.health)
        if endpoint.engine is not None and isinstance(error, UpstreamUnreachable | UpstreamCut):
            self._engines.pop(endpoint.engine, None)

    # ---- the turn of the loop

    def send_after_journal(self, attempt: Attempt) -> None:
        self._sends.append(attempt)
        self._flush_soon()

    def deliver_after_journal(self, exchange: Exchange) -> None:
        self._ends.append(exchange)
        self._flush_soon()

    def gather(self) -> bool:
        """Let what one callback of a request that is alone gives to the journal be written at its end, by `gathered`.

        Nobody shares the loop's turn with it, and another turn costs it time. False where others wait for the turn.
        """
        self._gathering = not self._flushing
        return self._gathering

    def gathered(self) -> None:
        self._gathering = False
        if self._flushing:
            self._flush()

    def _flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            if not self._gathering:
                self.loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        sends, self._sends = self._sends, []
        ends, self._ends = self._ends, []
        try:
            written = self.journal.flush()
        except Exception as error:
            self.report(error)
            written = False
        for attempt in sends:
            try:
                if written:
                    attempt.send()
                else:
                    attempt.fail(LedgerUnavailable("The journal cannot be written.", remedy="Free disk space."))
            except Exception as error:  # a defect in one request must not cost the others of this turn
                self.report(error)
                attempt.fail(InternalError("An internal error."))
        for exchange in ends:
            try:
                exchange.deliver()
            except Exception as error:
                self.report(error)
                if exchange.dialect is not None:
                    exchange.wire.cut(b"")  # what its caller has is no answer

    def closed(self, exchange: Exchange) -> None:
        """A request is over."""
        self.exchanges.discard(exchange)
        self.metrics.request(exchange.status)

    def after(
        self, task: asyncio.Task[None], callback: Callable[[Exchange], None], exchange: Exchange
    ) -> asyncio.Task[None]:
        """Call back when a task that others may wait for too has ended; cancel what is returned to give up."""

        async def wait() -> None:
            await asyncio.wait([task])
            callback(exchange)

        return self.task(wait())

    def later(self, delay_s: float, callback: Callable[[Exchange], None], exchange: Exchange) -> asyncio.TimerHandle:
        return self.loop.call_later(delay_s, callback, exchange)

    def task(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self.loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # ---- the sweep

    def _sweep(self) -> None:
        self._sweeping = None
        now = self.now()
        for exchange in list(self.exchanges):
            try:
                self._sweep_exchange(exchange, now)
            except Exception as error:
                self.exchanges.discard(exchange)  # or it would be met again and again
                self.report(error)
        self.pool.sweep()
        if now - self._refreshed > REFRESH_S:
            self._refresh_soon()
        if self.exchanges:
            self._sweeping = self.loop.call_later(SWEEP_S, self._sweep)

    def keep_alive(self, exchange: Exchange, now: float) -> None:
        """Send a comment to a caller who has waited in silence for long."""
        wait = KEEP_ALIVE_NEXT_S if exchange.head_sent else KEEP_ALIVE_FIRST_S
        if now - exchange.quiet_since >= wait and exchange.dialect is not None:
            exchange.quiet_since = now
            exchange.comfort(exchange.dialect.keep_alive)

    def _refresh_soon(self) -> asyncio.Task[None]:
        self._refreshed = self.now()
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = self.task(self.refresh())
        return self._refreshing

    async def refresh(self) -> None:
        """Ask the owner what was spent today, and tell it which engines are in use and what was measured."""
        used, self._used = sorted(self._used), set()
        try:
            if used:
                await self.owner.touch(used)
            if self.budget.limit_nanos is not None:
                now, before = time.time(), self.budget.since_nanos
                day_ms = int(now // DAY_S) * DAY_S * 1000
                self.budget.refresh(await self.owner.spent(day_ms, AUTO), now, before)
        except TriviumError:
            # The owner is changing; the figures of the last look hold until the next one.
            self._used.update(used)
        await self._share_soon()

    async def _share_soon(self) -> None:
        """Share what was measured, whatever comes of it: an older owner may not know how."""
        if self.conditions.healths:
            with contextlib.suppress(TriviumError, msgspec.ValidationError):
                await self.share()

    async def share(self) -> None:
        """Tell the owner what was measured here, and hear what all have measured. Raises what `Owner.share` does."""
        conditions = self.conditions
        shared = await self.owner.share(conditions.told(), conditions.failing(), list(conditions.healths))
        conditions.hear_others(shared.measured, shared.failing)

    async def last_words(self) -> None:
        """Tell what was measured since the last look, if anything was."""
        if not all(health.quiet for health in self.conditions.healths.values()):
            await self.share()

    def swap(self, snapshot: Snapshot) -> None:
        """Take over a new configuration; requests in flight keep the one they began with."""
        self.snapshot = snapshot
        if snapshot.config.defaults.budget_nanos_day != self.budget.limit_nanos:
            self.budget.limit_nanos = snapshot.config.defaults.budget_nanos_day

    def cut_all(self, error: TriviumError | None = None) -> None:
        """End every request in flight, also one that waits, with an error that its caller can tell from an answer."""
        down = Draining("This server is shutting down.", remedy="Try again.", retry_after_s=1.0)
        self.ending = error or down
        for exchange in list(self.exchanges):
            self._sweep_exchange(exchange, self.now())

    def close(self) -> None:
        """Let go of everything; requests in flight end as their callers see it: cut."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        self.probes.close()
        for task in list(self._tasks):
            task.cancel()
        self.tokens.close()
        for exchange in list(self.exchanges):
            if exchange.attempt is not None:
                exchange.attempt.abort()
        self.pool.close()


async def _wait(tasks: list[asyncio.Task[None]]) -> None:
    await asyncio.wait(tasks, timeout=LEARN_S)
