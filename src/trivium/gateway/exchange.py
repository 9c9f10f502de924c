"""An exchange: the one object of a request, from its first byte to its last ledger record."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import time_ns
from typing import TYPE_CHECKING, Protocol

from trivium.catalog.rows import Endpoint
from trivium.dialects.base import AnswerContext, Dialect, Head, Media
from trivium.errors import InternalError, InvalidRequest, TriviumError
from trivium.gateway.needs import BYTES_PER_TOKEN
from trivium.gateway.relay import Last
from trivium.gateway.wish import Wish
from trivium.routing.names import AUTO
from trivium.routing.plan import Plan
from trivium.types.event import Event
from trivium.types.request import Request
from trivium.types.response import Response
from trivium.types.usage import Usage

if TYPE_CHECKING:
    from trivium.gateway.attempt import Attempt
    from trivium.gateway.runtime import Runtime
    from trivium.gateway.snapshot import Snapshot


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


class Exchange:
    """State of one request. Linked to its sink and its current attempt; everything is let go at the end."""

    __slots__ = (
        "attempt", "attempts", "backoff", "body", "closed", "cost_nanos", "cost_unknown", "data_class", "deadline",
        "dialect", "fallback", "head", "head_sent", "id", "input_tokens", "losses", "max_output_tokens", "media",
        "model", "outbox", "paused", "plan", "position", "quiet_since", "released", "request", "runtime", "sink",
        "snapshot", "started", "status", "stream", "strict", "time_ms", "timeout_s", "tries", "usage", "wants_usage",
        "wish",
    )  # fmt: skip

    def __init__(
        self, runtime: Runtime, sink: WireSink | ObjectSink, dialect: Dialect | None, body: bytes, wish: Wish
    ) -> None:
        self.runtime = runtime
        self.snapshot: Snapshot = runtime.snapshot
        self.sink = sink
        self.dialect = dialect
        self.body = body
        self.wish = wish
        self.head: Head | None = None
        self.request: Request | None = None
        self.input_tokens = len(body) // BYTES_PER_TOKEN
        """An estimate from the length."""
        self.media: Media | None = None
        """None: not looked for."""
        self.max_output_tokens: int | None = None
        self.model = ""
        """The model id as the caller spelled it."""
        self.time_ms = time_ms = time_ns() // 1_000_000
        self.id = "gen-" + runtime.ids.next(time_ms)
        self.started = runtime.now()
        self.deadline = self.started
        self.data_class = max(wish.data_class, self.snapshot.config.policy.data_class)
        self.strict = wish.strict
        self.timeout_s = wish.timeout_s
        self.stream = False
        self.wants_usage = False
        self.plan: Plan | None = None
        self.position = 0
        """Index of the current endpoint in the plan."""
        self.tries = 0
        """Attempts at the current endpoint."""
        self.attempts = 0
        self.attempt: Attempt | None = None
        self.backoff: asyncio.TimerHandle | asyncio.Task[None] | None = None
        """What this exchange waits for between attempts: a delay, or an engine that starts."""
        self.fallback = ""
        self.losses: tuple[str, ...] = ()
        self.head_sent = False
        self.released = False
        """The caller has content: nothing can be taken back."""
        self.quiet_since = self.started
        self.paused = False
        """The caller does not take what it is sent, so the upstream is not read."""
        self.usage: Usage | None = None
        self.cost_nanos = 0
        self.cost_unknown = False
        self.status = 200
        self.outbox: Last | TriviumError | None = None
        """The last of the answer, waiting for the journal."""
        self.closed = False
        runtime.opened(self)

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

    def canonical(self) -> Request:
        """The request in the vocabulary of all dialects, parsed once. Raises InvalidRequest."""
        if self.request is None:
            if self.dialect is None:
                raise InternalError("An in-process exchange began without its request.")
            self.request = self.dialect.parse_request(self.body)
        return self.request

    def refuse_losses(self, losses: tuple[str, ...]) -> None:
        """Raises InvalidRequest in strict mode for what a translation could not say."""
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
        if self.head_sent:
            self.wire.chunk(comment)
        else:
            self.head_sent = True
            self.wire.begin(self, comment)

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
        return endpoint.price.upper_bound(self.input_tokens, output)

    def deliver(self) -> None:
        """Send the last of the answer, or the error; the ledger has the request by now."""
        last, self.outbox = self.outbox, None
        self.attempt = None
        self.sink.done()
        if isinstance(last, bytes):
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
            context = AnswerContext(id=self.id, model=self.model, created=self.time_ms // 1000)
            self.wire.cut(self.dialect.encoder(context).fail(error))
        else:
            self.sink.fail(self, error)
