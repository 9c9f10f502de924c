"""An exchange: the one object of a request, from its first byte to its last ledger record."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import time_ns
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from trivium.catalog.overrides import dearest
from trivium.catalog.rows import Endpoint
from trivium.dialects.base import NOTHING_PASSED, AnswerContext, Dialect, Head, Media, Passed, StreamEncoder
from trivium.errors import InternalError, InvalidRequest, TriviumError
from trivium.gateway.metadata import annotated
from trivium.gateway.needs import BYTES_PER_TOKEN
from trivium.gateway.relay import Last
from trivium.gateway.wish import Wish
from trivium.routing.names import AUTO
from trivium.routing.plan import Plan
from trivium.routing.preferences import Preferences
from trivium.routing.sticky import Session
from trivium.types.data import DataClass
from trivium.types.event import Event
from trivium.types.request import Operation
from trivium.types.response import Response
from trivium.types.retrieval import AnyRequest
from trivium.types.usage import Usage

if TYPE_CHECKING:
    from trivium.gateway.attempt import Attempt
    from trivium.gateway.rescue import Rescue
    from trivium.gateway.runtime import Runtime
    from trivium.gateway.snapshot import Leg, Snapshot


OUTPUT_TOKENS_ASSUMED = 4096
"""The upper bound of an answer where neither caller nor catalog gives one."""


class Sink(Protocol):
    """Where an answer goes."""

    def fail(self, exchange: Exchange, error: TriviumError) -> None:
        """An error instead of an answer, or after part of it where the answer goes as objects."""
        ...

    def done(self) -> None:
        """The exchange is over but for its last bytes; the sink lets go of it."""
        ...


class WireSink(Sink, Protocol):
    """A caller with a dialect: bytes. Before `begin` an error is told by `fail`, after it by `cut`."""

    def whole(self, exchange: Exchange, body: bytes) -> None: ...
    def begin(self, exchange: Exchange, first: bytes) -> None: ...
    @property
    def chunk(self) -> Callable[[bytes], None]:
        """Sends more of a stream that has begun. What it is does not change, so that a relay may keep it."""
        ...

    def end(self, last: bytes) -> None: ...
    def cut(self, last: bytes) -> None: ...


class ObjectSink(Sink, Protocol):
    """A caller in the same process: the whole answer, or its events as they come."""

    def give(self, exchange: Exchange, answer: Response | list[Event]) -> None: ...


class Exchange(msgspec.Struct, eq=False):
    """State of one request. Linked to its sink and its current attempt; everything is let go at the end.

    A struct, because it comes with its defaults at one call.
    """

    runtime: Runtime
    snapshot: Snapshot
    sink: WireSink | ObjectSink
    dialect: Dialect | None
    body: bytes
    wish: Wish
    id: str
    time_ms: int
    started: float
    deadline: float
    quiet_since: float
    input_tokens: int
    """An estimate from the length."""
    data_class: DataClass
    strict: bool
    timeout_s: float | None
    operation: Operation
    head: Head | None = None
    request: AnyRequest | None = None
    media: Media | None = None
    """None: not looked for."""
    needs: frozenset[str] = frozenset()
    """What its plan was made for, as far as it was looked for."""
    more: tuple[str, ...] = ()
    """Further models that it names."""
    max_output_tokens: int | None = None
    model: str = ""
    """The model id as the caller spelled it."""
    stream: bool = False
    wants_usage: bool = False
    preferences: Preferences | None = None
    parameters: frozenset[str] = frozenset()
    """What it sends, where all of that must be heeded."""
    plan: Plan | None = None
    position: int = 0
    """Index of the current endpoint in the plan."""
    leg: Leg | None = None
    """What every attempt there has in common."""
    tries: int = 0
    """Attempts at the current endpoint."""
    attempts: int = 0
    attempt: Attempt | None = None
    failures: tuple[tuple[Endpoint, TriviumError], ...] = ()
    """Of its attempts so far."""
    backoff: asyncio.TimerHandle | asyncio.Task[None] | None = None
    """What this exchange waits for between attempts: a delay, or an engine that starts."""
    fallback: str = ""
    session: Session | None = None
    """The conversation that stays where it is answered; None: it is nowhere better off than elsewhere."""
    losses: tuple[str, ...] = ()
    limits: bytes = b""
    """Header lines in which the upstream that answered says what it still allows."""
    head_sent: bool = False
    released: bool = False
    """The caller has content: nothing can be taken back."""
    paused: bool = False
    """The caller does not take what it is sent, so the upstream is not read."""
    usage: Usage | None = None
    cost_nanos: int = 0
    cost_unknown: bool = False
    status: int = 200
    encoder: StreamEncoder | None = None
    """What writes the answer, where it is translated and streamed: it knows what a failure follows."""
    passed: Passed = NOTHING_PASSED
    """As in `AnswerContext`, where a stream that was passed broke off."""
    rescue: Rescue | None = None
    """Since its answer broke off and somebody else is to go on with it."""
    outbox: Last | TriviumError | None = None
    """The last of the answer, waiting for the journal."""
    closed: bool = False

    @property
    def wire(self) -> WireSink:
        """Its sink, where it has a dialect."""
        return self.sink  # pyright: ignore[reportReturnType]

    @property
    def objects(self) -> ObjectSink:
        """Its sink, where it has none."""
        return self.sink  # pyright: ignore[reportReturnType]

    @property
    def auto(self) -> bool:
        """Whether what this request spends counts against the daily budget of `auto`."""
        return self.plan is not None and self.plan.route.name == AUTO

    @property
    def total_cost_nanos(self) -> int | None:
        """Over all attempts; None if the price of one of them is unknown."""
        return None if self.cost_unknown else self.cost_nanos

    def elapsed_ns(self) -> int:
        """Since it came."""
        return int((self.runtime.now() - self.started) * 1e9)

    def canonical(self) -> Any:
        """The request in the vocabulary of all dialects, parsed once. Raises InvalidRequest."""
        if self.request is None:
            if self.dialect is None:
                raise InternalError("An in-process exchange began without its request.")
            self.request = self.dialect.parse_request(self.body, self.wish.addressed)
        return self.request

    def refuse_losses(self, losses: tuple[str, ...]) -> None:
        """Raises InvalidRequest for what a translation could not say: in strict mode, and where it must be said."""
        for name in losses:
            if self.dialect is not None and (remedy := self.dialect.essential.get(name)):
                raise InvalidRequest(f"The endpoint does not know `{name}`.", remedy=remedy, param=name)
        if losses and self.strict:
            raise InvalidRequest(
                f"The endpoint cannot be told {', '.join(f'`{name}`' for name in losses)}.",
                remedy="Leave it out, choose another model, or drop `x-trivium-strict`.",
                param=losses[0],
            )

    def release(self, first: bytes) -> None:
        """The first content goes out; from here on nothing can be taken back."""
        self.released = True
        if self.head_sent:
            self.wire.chunk(first)
        else:
            self.head_sent = True
            self.wire.begin(self, first)

    def comfort(self, comment: bytes) -> None:
        """A sign of life to a caller who waits; it commits the head, but nothing of the answer."""
        if not self.head_sent:
            self.head_sent = True
            self.wire.begin(self, comment)
        elif comment:
            self.wire.chunk(comment)

    def on_caller_writable(self, *, writable: bool) -> None:
        """Back-pressure: what a slow caller does not take is not read from the upstream."""
        self.paused = not writable
        connection = self.attempt.connection if self.attempt is not None else None
        if connection is not None:
            if writable:
                connection.resume_reading()
            else:
                connection.pause_reading()

    def bound_nanos(self, endpoint: Endpoint) -> int | None:
        """The most that one attempt at an endpoint can cost; None where the price is unknown."""
        if endpoint.price is None:
            return None
        output = self.max_output_tokens or endpoint.max_output or OUTPUT_TOKENS_ASSUMED
        output = output if self.operation == "chat" else 0
        return dearest(endpoint.price).upper_bound(self.input_tokens, output)

    def deliver(self) -> None:
        """Send the last of the answer, or the error; the ledger has the request by now."""
        last, self.outbox = self.outbox, None
        self.attempt = None
        self.sink.done()
        if isinstance(last, bytes):
            if self.wish.metadata:
                last = annotated(last, self)
            if not self.stream:
                self.wire.whole(self, last)
                return
            if not self.head_sent:
                self.release(b"")
            self.wire.end(last)
        elif isinstance(last, TriviumError):
            self._deliver_error(last)
        elif last is not None:
            self.objects.give(self, last)

    def _deliver_error(self, error: TriviumError) -> None:
        if self.head_sent and self.dialect is not None:
            context = AnswerContext(id=self.id, model=self.model, created=self.time_ms // 1000, passed=self.passed)
            encoder = self.encoder or self.dialect.encoder(context)
            leave = self.wire.end if self.dialect.failure_ends else self.wire.cut
            last = encoder.fail(error)
            leave(annotated(last, self, error) if self.wish.metadata else last)
        else:
            self.sink.fail(self, error)


def opened(
    runtime: Runtime,
    sink: WireSink | ObjectSink,
    dialect: Dialect | None,
    body: bytes,
    wish: Wish,
    operation: Operation,
) -> Exchange:
    """A request that has arrived."""
    snapshot, time_ms, now = runtime.snapshot, time_ns() // 1_000_000, runtime.now()
    exchange = Exchange(
        runtime,
        snapshot,
        sink,
        dialect,
        body,
        wish,
        runtime.ids.next(time_ms),
        time_ms,
        now,
        now,
        now,
        len(body) // BYTES_PER_TOKEN,
        max(wish.data_class, snapshot.config.policy.data_class),
        wish.strict,
        wish.timeout_s,
        operation,
    )
    runtime.opened(exchange)
    return exchange
