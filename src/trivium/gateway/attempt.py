"""One upstream call: reserved in the journal, sent, read by a relay, settled once.

States, as in the stream state machine of the reliability contract::

    RESERVED → SENT → HEAD → (held) → RELEASED → SETTLED
                 any state → failed(reason) → the pipeline decides what comes next

All of it runs in callbacks; what waits (a connection, an engine) calls back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import time, time_ns
from typing import TYPE_CHECKING

import msgspec

from trivium.access.bind import Binding
from trivium.catalog.overrides import effective
from trivium.catalog.rows import Endpoint
from trivium.dialects.base import AnswerContext
from trivium.errors import (
    InternalError,
    InvalidRequest,
    TriviumError,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamTimeout,
)
from trivium.gateway import limits
from trivium.gateway.forward import forwarded
from trivium.gateway.hold import Held
from trivium.gateway.kept import Kept
from trivium.gateway.relay import (
    Events,
    Last,
    ObjectTarget,
    Outlet,
    PassedAnswer,
    PassedStream,
    Relay,
    ResponseTarget,
    StreamTarget,
    Target,
    TranslatedAnswer,
    WholeSource,
    WholeTarget,
    translated,
)
from trivium.gateway.snapshot import Leg
from trivium.ledger.record import Outcome, Reserved, Settled
from trivium.routing.health import Health
from trivium.routing.rescue import may_need
from trivium.routing.retry_after import retry_after_s
from trivium.transport.http1 import UpstreamConnection
from trivium.transport.upstream import Fields
from trivium.types.event import Event
from trivium.types.request import Request
from trivium.types.usage import Usage

if TYPE_CHECKING:
    from trivium.gateway.exchange import Exchange

ERROR_BYTES_MAX = 64 * 1024
"""How much of an upstream's error is read; no provider's is longer."""
NOTHING_USED = Usage()
MALFORMED = "malformed_events"
"""What is said to be dropped where broken events of an upstream were."""

Figures = tuple[int, bool, str, int, int, int, int, int, int | None, int | None, int, int, str]
"""The fields of `Settled` after its error."""
Succeeded = Callable[["Exchange", "Attempt", Figures, Last], None]
Failed = Callable[["Exchange", "Attempt", TriviumError], None]


class Attempt(msgspec.Struct, eq=False):
    """Receives what one connection brings for one exchange. A struct, as `Exchange` is."""

    exchange: Exchange
    leg: Leg
    endpoint: Endpoint
    binding: Binding
    number: int
    credential: int
    """Which of its provider's keys it uses."""
    stream: bool
    """What the upstream is asked for."""
    succeeded: Succeeded
    failed: Failed
    payload: bytes = b""
    relay: Relay | None = None
    connection: UpstreamConnection | None = None
    status: int = 0
    reserved_nanos: int = 0
    kept: Kept | None = None
    """What the upstream sent, where a rescue may need it."""
    held: Held | None = None
    """What is kept back from the caller, where its route wants that."""
    health: Health | None = None
    counted: bool = False
    _opening: asyncio.Task[None] | None = None
    _fresh: bool = False
    _passed: bool = False
    """The caller's own bytes were sent."""
    _losses: tuple[str, ...] = ()
    written: bool = False
    _settled: bool = False
    _active: bool = False
    _went_by: int = 0
    _generation: str = ""
    """What a routing service calls it in its head."""
    _error_body: list[bytes] | None = None
    _error_fields: Fields = {}
    _sent_at: float = 0.0
    _seen_at: float = 0.0
    _first_content_at: float = 0.0

    # ---- before

    def reserve(self) -> None:
        """Build the request and write the reservation; `send` follows once the journal has it.

        Raises InvalidRequest (strict mode), LedgerUnavailable.
        """
        exchange = self.exchange
        runtime, endpoint, price, key = exchange.runtime, self.endpoint, self.endpoint.price, exchange.wish.key
        self.payload = self._build()
        bound = None if price is None else exchange.bound_nanos(endpoint)
        runtime.journal.append(
            Reserved(
                exchange.id,
                self.number,
                time_ns() // 1_000_000,
                bound,
                exchange.input_tokens,
                self.leg.packed_place,
                "" if key is None else key.name,
            )
        )
        self._sent_at = self._seen_at = runtime.now()
        if bound is not None and exchange.auto:
            self.reserved_nanos = bound
            runtime.budget.reserve(bound)
        runtime.send_after_journal(self)

    def _build(self) -> bytes:
        exchange, dialect = self.exchange, self.binding.dialect
        row = self.endpoint.provider
        head = exchange.head
        rescue = exchange.rescue
        self._passed = rescue is None and exchange.dialect is dialect and head is not None and head.passes
        if self._passed:
            ask = self.stream and row.stream_usage and not exchange.wants_usage
            stream = True if self.stream and not exchange.stream else None
            body = dialect.pass_request(exchange.body, head, self.endpoint.model, stream=stream, ask_usage=ask)
            body = forwarded(body, exchange, self.endpoint)
            return self.binding.payload(body, exchange.wish.forwarded, stream=self.stream)
        request = msgspec.structs.replace(exchange.canonical(), model=self.endpoint.model)
        if isinstance(request, Request):
            routed = self.endpoint.access == "routed"
            if rescue is not None:
                request = rescue.asked(request, self.endpoint)
            request = msgspec.structs.replace(
                request, stream=self.stream, include_usage=row.stream_usage, routed=routed
            )
        built = dialect.build_request(request)
        exchange.refuse_losses(built.losses)
        self._losses = built.losses
        body = forwarded(built.body, exchange, self.endpoint)
        body = body if rescue is None else rescue.bent(body, self)
        return self.binding.payload(body, stream=self.stream)

    def send(self) -> None:
        """Take a connection and send; the pool checks the data class again."""
        exchange = self.exchange
        if exchange.closed or self._settled:
            return
        upstream = self.binding.upstream
        try:
            taken = exchange.runtime.pool.hand_out(upstream, exchange.data_class, self, self.payload, fresh=self._fresh)
        except TriviumError as error:
            self.fail(error)
            return
        if isinstance(taken, UpstreamConnection):
            self.connection = taken
            self.written = True
        else:
            self._opening = taken

    # ---- transport.upstream.Receiver

    def on_connected(self, connection: UpstreamConnection) -> None:
        self._opening = None
        self.connection = connection
        self.written = True
        self._sent_at = self._seen_at = self.exchange.runtime.now()

    def on_unreachable(self, error: UpstreamError) -> None:
        self._opening = None
        self.fail(error)

    def on_head(self, status: int, fields: Fields) -> None:
        self.status = status
        self.exchange.limits = told = limits.lines(status, fields)
        if told:
            self.exchange.runtime.conditions.heard(self, fields)
        if b"x-generation-id" in fields and self.endpoint.access == "routed":
            self._generation = fields[b"x-generation-id"][:200].decode("latin-1")
        self._active = True
        if status != 200:
            self._error_body = []
            self._error_fields = fields
            return
        try:
            self.relay = self._relay(fields.get(b"content-type", b"").lower())
            if self.exchange.rescue is None:
                self.exchange.losses = self._losses  # those of attempts before it say nothing about this answer
            else:
                self.exchange.losses = tuple(dict.fromkeys(self.exchange.losses + self._losses))
        except Exception as error:
            self.fail_of(error)

    def on_body(self, data: bytes) -> None:
        self._active = True
        if self.relay is not None:
            try:
                self.relay.feed(data)
                if self.exchange.strict:
                    self._refuse_malformed()
            except Exception as error:
                self.fail_of(error)
        elif self._error_body is not None:
            self._error_body.append(data)
            if sum(map(len, self._error_body)) > ERROR_BYTES_MAX:
                self._fail_by_status()

    def _refuse_malformed(self) -> None:
        if self.relay is not None and self.relay.seen.malformed:
            raise UpstreamProtocolError("The upstream sent a broken event in its stream.")

    def on_end(self) -> None:
        self.connection = None
        if self._error_body is not None:
            try:
                self._fail_by_status()
            except Exception as error:
                self.fail_of(error)
        elif self.relay is not None:
            runtime = self.exchange.runtime
            gathers = len(runtime.exchanges) == 1 and runtime.gather()
            try:
                self.relay.end()
            except Exception as error:
                self.fail_of(error)
            finally:
                if gathers:
                    runtime.gathered()

    def on_lost(self, error: UpstreamError, *, untouched: bool) -> None:
        try:
            self._lost(error, untouched=untouched)
        except Exception as worse:
            self.fail_of(worse)

    def _lost(self, error: UpstreamError, *, untouched: bool) -> None:
        self.connection = None
        if untouched and not self._fresh:
            # The server had closed the idle connection before it saw the request: once more, on a new one.
            self._fresh = True
            self.send()
            return
        if self._error_body is not None and self._error_body:
            self._fail_by_status()
            return
        self.fail(error)

    # ---- what the answer is

    def _relay(self, kind: bytes) -> Relay:
        exchange, dialect = self.exchange, self.binding.dialect
        streamed = kind.startswith(dialect.stream_type)
        if not streamed and not kind.startswith(b"application/json"):
            shown = self.binding.censored(kind.decode("latin-1"))[:60] or "nothing"
            raise UpstreamProtocolError(f"The upstream answered 200 with `{shown}` instead of JSON.")
        outlet = self._outlet() if exchange.stream and streamed else self
        if self._passed and streamed == exchange.stream:
            if streamed:
                return PassedStream(outlet, dialect, wants_usage=exchange.wants_usage, bill=self.bill)
            return PassedAnswer(self, dialect)
        target = self._target(outlet)
        if not streamed and isinstance(target, ResponseTarget):
            return TranslatedAnswer(dialect, target)
        source = dialect.decoder() if streamed else WholeSource(dialect)
        if exchange.rescue is not None:
            return Events(source, exchange.rescue.target(self, target))
        return translated(outlet, source, target) if isinstance(target, StreamTarget) else Events(source, target)

    def _outlet(self) -> Outlet:
        """Where a stream goes: to the caller, or held on its way. What a rescue may need of it is kept."""
        exchange, plan = self.exchange, self.exchange.plan
        if plan is None or exchange.released:
            return self
        later = plan.endpoints[exchange.position + 1 :]
        if later and self.connection is not None and may_need(plan.route, self.endpoint, later):
            self.kept = self.connection.body = Kept(self.connection.body)
        if plan.route.hold is None:
            return self
        self.held = Held(self, plan.route.hold)
        return self.held

    def _target(self, outlet: Outlet) -> Target:
        exchange = self.exchange
        if exchange.dialect is None:
            return ObjectTarget(outlet) if exchange.stream else ResponseTarget(self, exchange.request)
        tells = exchange.wish.service and exchange.fallback  # its callers are told which model has served
        context = AnswerContext(
            id=exchange.id,
            model=self.endpoint.id if tells else exchange.model,
            created=exchange.time_ms // 1000,
            include_usage=exchange.wants_usage,
            input_tokens_estimate=exchange.input_tokens,
            request=exchange.request,
            elapsed_ns=exchange.elapsed_ns,
            provider=self.endpoint.provider.name or self.endpoint.provider.id,
            bill=self.bill if self.endpoint.access != "routed" else None,
        )
        if exchange.stream:
            target = StreamTarget(outlet, exchange.dialect, context, self.bill)
            if exchange.rescue is not None:
                target.encoder = exchange.rescue.encoder(exchange, exchange.dialect, context, self.endpoint)
            exchange.encoder = target.encoder
            return target
        return WholeTarget(self, exchange.dialect, context, self.bill)

    def _fail_by_status(self) -> None:
        body = b"".join(self._error_body or ())[:ERROR_BYTES_MAX]
        if 300 <= self.status < 400:
            error: UpstreamError = UpstreamProtocolError("The upstream answered with a redirect; it is not followed.")
        else:
            error = self.binding.dialect.decode_error(self.status, body)
        error.upstream_status = self.status
        wait = retry_after_s(self._error_fields.items(), time())
        if wait is not None:
            error.retry_after_s = wait
        self.fail(self._callers_fault() or error)

    def _callers_fault(self) -> TriviumError | None:
        """What is wrong with a body that passed unread to a local server, which says it badly and under any status."""
        if self.endpoint.access != "local" or self.status not in (400, 422, 500):
            return None
        try:
            self.exchange.canonical()
        except InvalidRequest as error:
            return error
        return None

    # ---- gateway.relay.Outlet

    def first_content(self) -> float:
        """When the first content came, which may be now."""
        if not self._first_content_at:
            self._first_content_at = self.exchange.runtime.now()
            if self.health is not None:
                self.health.waiting.pop(self, None)
        return self._first_content_at

    @property
    def has_spoken(self) -> bool:
        """Whether content came from it that its caller has, or would have if it were not held."""
        return bool(self._first_content_at)

    @property
    def pace(self) -> tuple[float, float]:
        """Seconds to its first content, and from there to the last that was seen of it."""
        return self._first_content_at - self._sent_at, max(0.0, self._seen_at - self._first_content_at)

    def release(self, first: bytes) -> None:
        self.first_content()
        self.exchange.release(first)

    @property
    def chunk(self) -> Callable[[bytes], None]:
        return self.exchange.wire.chunk

    def flow(self, body: Callable[[bytes], None]) -> None:
        if self.kept is not None:
            self.kept.body = body
        elif self.connection is not None:
            self.connection.body = body

    def objects(self, events: list[Event]) -> None:
        self.first_content()
        self.exchange.released = True
        self.exchange.objects.give(self.exchange, events)

    def complete(self, last: Last, losses: tuple[str, ...] = ()) -> None:
        exchange, relay, connection = self.exchange, self.relay, self.connection
        if exchange.strict:
            self._refuse_malformed()
            if exchange.operation != "chat":
                exchange.refuse_losses(losses)
        if relay is not None and relay.seen.malformed:
            losses = (*losses, MALFORMED)
        if losses:
            exchange.losses += losses
        if connection is not None:
            self.connection = None
            connection.detach()
        figures = self._settle("ok", None)
        # They know their attempt: without the circle all go at once, not at a collection.
        self.relay = self.kept = self.held = None
        self.succeeded(exchange, self, figures, last)

    def times(self) -> tuple[float | None, float, float]:
        """Seconds from its sending to the first content, where its answer is a stream, and to now, by the clock."""
        first, sent, now = self._first_content_at, self._sent_at, self.exchange.runtime.now()
        return first - sent if self.stream and first else None, now - sent, now

    def read_cache(self) -> bool:
        """Whether a part of its prompt was read from a cache."""
        usage = self.relay.seen.usage if self.relay is not None else None
        return usage is not None and usage.cache_read_tokens > 0

    # ---- the end

    def fail(self, error: TriviumError) -> None:
        """The attempt is over without an answer; the pipeline decides what comes next."""
        if self._settled:
            return
        if not self.status:
            self.exchange.limits = b""  # those of an attempt before it say nothing about this one
        if isinstance(error, UpstreamError):
            error.endpoint = self.endpoint.id
            error.message = self.binding.censored(error.message)
        if isinstance(self.relay, PassedStream) and self.exchange.released:
            self.exchange.encoder, self.exchange.passed = None, self.relay.passed
        self.abort()
        self.settle("error_midstream" if self.exchange.released and self._first_content_at else "error", error)
        self.failed(self.exchange, self, error)

    def fail_of(self, error: Exception) -> None:
        """The end for whatever was raised in a callback of the transport, above whom nobody could end it."""
        if not isinstance(error, TriviumError):
            self.exchange.runtime.report(error)
            error = InternalError("An internal error.")
        try:
            self.fail(error)
        except Exception as worse:
            self.exchange.runtime.report(worse)
        if not self.exchange.closed and self.exchange.attempt is self:
            self.failed(self.exchange, self, error)  # it was settled, or could not be

    def abort(self) -> None:
        """Stop the upstream at once: nobody reads on."""
        if self._opening is not None:
            self._opening.cancel()
            self._opening = None
        if self.connection is not None:
            self.connection.abort()
            self.connection = None

    def settle(self, outcome: Outcome, error: TriviumError) -> None:
        """End without an answer: write the attempt's last record, exactly once."""
        if not self._settled:
            exchange, figures = self.exchange, self._settle(outcome, error)
            now_ms = time_ns() // 1_000_000
            exchange.runtime.journal.append(Settled(exchange.id, self.number, now_ms, outcome, error.kind, *figures))

    def _settle(self, outcome: Outcome, error: TriviumError | None) -> Figures:
        """The figures of the attempt's last record; its cost is added to the exchange."""
        self._settled = True
        exchange, relay, runtime = self.exchange, self.relay, self.exchange.runtime
        usage = self.used(outcome)
        told = None
        if usage is not None:
            told = self._told_nanos(usage)
            cost = self.cost_of(usage) if told is None else told
            exchange.usage = usage if exchange.usage is None else exchange.usage.plus(usage)
        else:
            cost = 0 if self._unbilled() else None
            usage = NOTHING_USED
        if cost is None:
            exchange.cost_unknown = True
        else:
            exchange.cost_nanos += cost
        now, sent = runtime.now(), self._sent_at
        first = self._first_content_at or (now if error is None else 0.0)
        prompt = usage.prompt_tokens
        runtime.settled(self, outcome, error, prompt, usage.output_tokens, cost)
        return (
            self.status,
            usage.estimated,
            relay.seen.finish_reason if relay else "",
            prompt,
            usage.output_tokens,
            usage.cache_read_tokens,
            usage.cache_write_tokens + usage.cache_write_1h_tokens,
            usage.reasoning_tokens,
            cost,
            told,
            int((first - sent) * 1e6) if first else -1,
            int((now - sent) * 1e6),
            self._generation or (relay.seen.upstream_id if relay else ""),
        )

    def _told_nanos(self, usage: Usage) -> int | None:
        """What a routing service says that it charges: its word is its bill. Nobody else's counts."""
        if usage.cost_usd is None or self.endpoint.provider.access != "routed":
            return None
        return round(usage.cost_usd * 1e9)

    def cost_of(self, usage: Usage) -> int | None:
        """What `usage` costs, in nano-dollars; None where neither a price nor the service's word is known."""
        told, price = self._told_nanos(usage), self.endpoint.price
        if told is not None or price is None:
            return told
        if not price.flat:
            price = effective(price, usage.prompt_tokens, self.exchange.time_ms / 1000)
        return price.cost(usage)

    def bill(self, usage: Usage) -> int | None:
        """What the caller's request costs once this attempt ends with `usage`."""
        cost, before = self.cost_of(usage), self.exchange.total_cost_nanos
        return None if cost is None or before is None else before + cost

    def used(self, outcome: Outcome) -> Usage | None:
        """What the upstream reported, else an estimate of what went by; None where it did no work."""
        relay = self.relay
        reported = relay.seen.usage if relay is not None else None
        if reported is not None and relay is not None and (outcome == "ok" or relay.seen.finish_reason):
            return reported
        went_by = relay.output_estimate if relay is not None else 0
        if reported is not None:
            # A figure from the middle of an answer (Anthropic's first event says one token) is a lower bound.
            output = max(reported.output_tokens, went_by)
            return msgspec.structs.replace(reported, output_tokens=output, estimated=True)
        if outcome != "ok" and not went_by:
            return None
        return Usage(input_tokens=self.exchange.input_tokens, output_tokens=went_by, estimated=True)

    def _unbilled(self) -> bool:
        """Whether a failure certainly cost nothing: an error status, or a request that was never sent."""
        return self.status not in (0, 200) or not self.written

    def expire(self, now: float) -> None:
        """Look at the deadlines; called by the sweep, a few times a second."""
        if self._settled:
            return
        if self.held is not None:
            self.held.expire(now)
        exchange, relay = self.exchange, self.relay
        went_by = 0 if relay is None else relay.output_estimate
        if self._active or exchange.paused or went_by != self._went_by:
            # What is not read because the caller does not read is no silence of the upstream.
            self._active, self._went_by = False, went_by
            self._seen_at = now
        if now >= exchange.deadline:
            self.fail(UpstreamTimeout(f"`{self.endpoint.id}` did not finish within the request's total deadline."))
        elif not self.stream or self._opening is not None:
            return
        elif relay is None or not (relay.seen.content or relay.thinking):
            if now - self._sent_at > self.leg.limits.first_content_s:
                self.fail(
                    UpstreamTimeout(
                        f"`{self.endpoint.id}` sent no content within {self.leg.limits.first_content_s:g} s."
                    )
                )
        elif now - self._seen_at > self.leg.limits.idle_s:
            self.fail(UpstreamTimeout(f"`{self.endpoint.id}` fell silent for {self.leg.limits.idle_s:g} s."))


def begun(
    exchange: Exchange, leg: Leg, binding: Binding, credential: int, succeeded: Succeeded, failed: Failed
) -> Attempt:
    """The next attempt, at the endpoint of `leg`; exactly one of the two is called at its end."""
    stream = exchange.stream or leg.streams
    number = exchange.attempts + 1
    return Attempt(exchange, leg, leg.endpoint, binding, number, credential, stream, succeeded, failed)
