"""The map of the program: what happens to a request, in reading order.

``begin`` admits it, plans it and starts the first attempt; the attempt's callbacks come back to
``succeed`` or ``recover``; the request's record is written, and ``Exchange.deliver`` sends the end of the answer
once the journal has it. Plain calls throughout: what must wait (a connection, a back-off, an engine that
starts) calls back. Errors are raised as TriviumError anywhere below and caught by ``take``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec

from trivium.dialects.base import Dialect, Twin
from trivium.dialects.common import UNSAID, check_name
from trivium.errors import (
    ClientGone,
    InternalError,
    NoEndpoint,
    PaymentRequired,
    TriviumError,
    UpstreamContextLength,
    UpstreamTimeout,
)
from trivium.gateway import availability, rescue
from trivium.gateway.attempt import Attempt, Figures, Last, begun
from trivium.gateway.exchange import Exchange, ObjectSink, WireSink, opened
from trivium.gateway.needs import image_urls, spelt, text_tokens
from trivium.gateway.planning import plan, with_named
from trivium.gateway.reasons import no_endpoint, reason
from trivium.gateway.runtime import Runtime
from trivium.gateway.snapshot import Leg
from trivium.gateway.wish import Wish, data_class_of, timeout_of
from trivium.ledger.record import Answered, Closed, Told
from trivium.routing.names import AUTO
from trivium.routing.parameters import PARAMETERS
from trivium.routing.plan import Plan, larger_window
from trivium.routing.preferences import parse as preferences_of
from trivium.types.request import Request
from trivium.types.retrieval import AnyRequest
from trivium.wire.json import is_null, members

LEARN_S_MAX = 5.0
"""More than `auto` waits for what is not known."""

# ---- admit


def begin(runtime: Runtime, sink: WireSink, dialect: Dialect, body: bytes, wish: Wish) -> Exchange:
    """Take a request in a caller's dialect; its answer or its error goes to `sink`."""
    exchange = opened(runtime, sink, dialect, body, wish, dialect.operation)
    take(exchange, enter)
    return exchange


def begin_request(runtime: Runtime, sink: ObjectSink, request: AnyRequest, wish: Wish) -> Exchange:
    """Take a request of a caller in the same process, as an object."""
    exchange = opened(runtime, sink, None, b"", wish, request.operation)
    exchange.request = request
    exchange.model = request.model
    exchange.wants_usage = True
    if isinstance(request, Request):
        exchange.stream = request.stream
        exchange.max_output_tokens = request.max_output_tokens
    exchange.input_tokens = text_tokens(request)
    take(exchange, enter)
    return exchange


def take(exchange: Exchange, step: Callable[[Exchange], None]) -> None:
    """Take a step of a request that nobody above could end; whatever is raised ends it, with one answer."""
    try:
        step(exchange)
    except TriviumError as error:
        close(exchange, error)
    except Exception as error:
        # The outermost boundary of a request: a defect of ours must not cost others theirs.
        exchange.runtime.report(error)
        close(exchange, InternalError("An internal error."))


def enter(exchange: Exchange) -> None:
    """Admit and start it. Raises InvalidRequest, Draining, and what `plan` raises."""
    exchange.runtime.admit()
    if exchange.dialect is not None:
        admit(exchange, exchange.dialect)
    else:
        check_name(exchange.model)
    start(exchange)


def admit(exchange: Exchange, dialect: Dialect) -> None:
    """Read the head of the body and what it says about the rules. Raises InvalidRequest."""
    head = exchange.head = dialect.peek(exchange.body, exchange.wish.addressed)
    exchange.model = head.model
    exchange.stream = head.stream
    exchange.wants_usage = head.wants_usage
    exchange.max_output_tokens = head.max_output_tokens
    if head.trivium is not None:
        heed(exchange, head.trivium)
    if head.provider is not UNSAID:
        prefer(exchange, head.provider)


def prefer(exchange: Exchange, provider: msgspec.Raw) -> None:
    """Heed what a body says of who may serve. Raises InvalidRequest."""
    wish = exchange.preferences = preferences_of(provider)
    if wish is not None and wish.require_parameters:
        sent = members(exchange.body)
        exchange.parameters = frozenset(name for name in PARAMETERS & sent.keys() if not is_null(sent[name]))


def heed(exchange: Exchange, twin: Twin) -> None:
    """Heed what a body wishes beside its headers; the strictest holds. Raises InvalidRequest."""
    exchange.strict = exchange.strict or bool(twin.strict)
    if twin.data_class is not None:
        exchange.data_class = max(exchange.data_class, data_class_of(twin.data_class))
    if twin.timeout is not None:
        asked_s = timeout_of(str(twin.timeout))
        exchange.timeout_s = asked_s if exchange.timeout_s is None else min(exchange.timeout_s, asked_s)


def start(exchange: Exchange) -> None:
    """Plan and make the first attempt; `auto` may wait a moment for what is to be known of this machine and day."""
    if exchange.model == AUTO and exchange.operation == "chat":
        learning = exchange.runtime.before_auto(rests_on_found=exchange.snapshot.rests_on_found)
        if learning is not None:
            exchange.deadline = exchange.started + LEARN_S_MAX
            exchange.backoff = exchange.runtime.after(learning, learnt, exchange)
            return
    planned(exchange)


def learnt(exchange: Exchange) -> None:
    """What `auto` waited for is known, or will not be: plan with it."""
    exchange.backoff = None
    if not exchange.closed:
        exchange.snapshot = exchange.runtime.snapshot
        take(exchange, planned)


# ---- plan


def planned(exchange: Exchange) -> None:
    """Find the endpoints that may serve, and ask the first. Raises NotFound, NoEndpoint and its kin."""
    found = plan(exchange)
    exchange.plan = found
    if not found.endpoints:
        raise no_endpoint(found)
    leg = exchange.leg = exchange.snapshot.leg(found, 0, exchange.dialect, exchange.operation)
    total_s, asked_s = leg.limits.total_s, exchange.timeout_s
    exchange.deadline = exchange.started + (total_s if asked_s is None else min(total_s, asked_s))
    if found.passed_over is not None:
        exchange.fallback = f"{found.passed_over.endpoint}: {found.passed_over.detail}"
    attempt(exchange)


# ---- attempt


def attempt(exchange: Exchange) -> None:
    """Start an attempt at the plan's current endpoint, or at the next whose breaker lets one through."""
    chosen, leg, runtime = exchange.plan, exchange.leg, exchange.runtime
    if chosen is None or leg is None:
        raise NoEndpoint("There is no plan.")
    if runtime.conditions.disturbed:
        position = runtime.allowed(chosen, exchange.position, exchange.input_tokens)
        if position != exchange.position:
            exchange.fallback = exchange.fallback or runtime.why_not(leg.endpoint, exchange)
            leg = go_to(exchange, chosen, position)
        if wait_s := runtime.conditions.limited_s(leg.endpoint, exchange.input_tokens, exchange.deadline):
            exchange.backoff = runtime.later(wait_s, again, exchange)
            return
    if exchange.auto and (too_much := runtime.too_much(leg.endpoint, exchange)):
        step_on(exchange, PaymentRequired(f"`{leg.endpoint.id}` is not asked again: {too_much}."))
        return
    number = runtime.conditions.credential(leg.endpoint, exchange.input_tokens) if leg.endpoint.keys > 1 else 0
    binding = leg.binding or runtime.binding(leg, exchange.snapshot, number)
    if binding is None:
        exchange.backoff = runtime.prepare(leg.endpoint, exchange, ready)
        return
    if not binding.dialect.by_url and binding.dialect is not exchange.dialect and image_urls(exchange.canonical()):
        exchange.backoff = runtime.fetch_images(exchange.canonical(), exchange, ready)
        return
    made = begun(exchange, leg, binding, number, succeed, recover)
    made.reserve()
    exchange.attempt = made
    exchange.tries += 1
    exchange.attempts += 1
    runtime.conditions.sent(made)


def go_to(exchange: Exchange, chosen: Plan, position: int) -> Leg:
    """Make another endpoint of the plan the current one."""
    exchange.position = position
    exchange.tries = 0
    leg = exchange.leg = exchange.snapshot.leg(chosen, position, exchange.dialect, exchange.operation)
    return leg


def ready(exchange: Exchange, error: TriviumError | None) -> None:
    """What the exchange waited for is there (an engine runs, a token or images have come), or cannot be had."""
    exchange.backoff = None
    if exchange.closed:
        return
    if error is None:
        again(exchange)
    else:
        take(exchange, partial(step_on, error=error))


def again(exchange: Exchange) -> None:
    """Start the next attempt, later than `begin`."""
    exchange.backoff = None
    if not exchange.closed:
        take(exchange, attempt)


# ---- settle


def succeed(exchange: Exchange, done: Attempt, figures: Figures, last: Last) -> None:
    """The attempt's answer is whole: record it with its request, and send the end of the answer."""
    exchange.attempt = None
    exchange.outbox = last
    exchange.runtime.journal.append(Answered(*told(exchange, "", done.endpoint.id), *figures))
    over(exchange)


def recover(exchange: Exchange, failed: Attempt, error: TriviumError) -> None:
    """The attempt failed and is settled: try again, go on, or tell the caller."""
    exchange.attempt = None
    if not exchange.closed:
        take(exchange, partial(go_on, failed=failed, error=error))


def go_on(exchange: Exchange, failed: Attempt, error: TriviumError) -> None:
    exchange.failures += ((failed.endpoint, error),)
    route = exchange.plan.route if exchange.plan else None
    left = exchange.deadline - exchange.runtime.now()
    if route is None or exchange.attempts >= route.attempts or left <= 0:
        close(exchange, error)
        return
    if exchange.released and failed.has_spoken:
        rescued(exchange, failed, error)
        return
    conditions, tries = exchange.runtime.conditions, exchange.tries
    if (tries == 1 and exchange.runtime.renews_token(failed, error)) or conditions.at_once(failed, error, tries):
        again(exchange)
        return
    if exchange.released:
        rescued(exchange, failed, error)
        return
    jitter = exchange.runtime.jitter()
    step = conditions.step(failed, error, route, tries=tries, left_s=left, jitter=jitter)
    if step.move == "stop":
        close(exchange, error)
    elif step.move == "next":
        step_on(exchange, error)
    elif step.delay_s:
        exchange.backoff = exchange.runtime.later(step.delay_s, again, exchange)
    else:
        again(exchange)


def rescued(exchange: Exchange, failed: Attempt, error: TriviumError) -> None:
    """The caller has part of the answer: another endpoint goes on with it, or it ends with the error."""
    if rescue.begin(exchange, failed, error):
        step_on(exchange, error)
    else:
        close(exchange, error)


def step_on(exchange: Exchange, error: TriviumError) -> None:
    """Go to the next endpoint of the plan; without one the request ends with the error."""
    chosen = exchange.plan
    if chosen is None:
        close(exchange, error)
        return
    chosen = exchange.plan = with_named(exchange, chosen, error)
    position: int | None = exchange.position + 1
    if exchange.released:
        position = rescue.place(exchange)
    elif isinstance(error, UpstreamContextLength):
        position = larger_window(chosen, exchange.position)
    if position is None or position >= len(chosen.endpoints):
        close(exchange, error)
        return
    exchange.fallback = exchange.fallback or reason(chosen.endpoints[exchange.position].provider.id, error)
    go_to(exchange, chosen, position)
    again(exchange)


def caller_gone(exchange: Exchange) -> None:
    """Nobody reads the answer: stop the upstream, in this callback, and keep what it cost."""
    if exchange.closed:
        return
    running, exchange.attempt = exchange.attempt, None
    if running is not None:
        running.abort()
        running.settle("aborted_by_client", ClientGone("The caller closed its connection."))
    close(exchange, ClientGone("The caller closed its connection."))


def sweep(exchange: Exchange, now: float) -> None:
    """Look at the deadlines of a request in flight, and keep its caller company."""
    take(exchange, partial(look_at, now=now))


def look_at(exchange: Exchange, now: float) -> None:
    ending = exchange.runtime.ending
    if ending is not None:
        if exchange.attempt is not None:
            exchange.attempt.fail(ending)
        else:
            close(exchange, ending)
    elif exchange.attempt is not None:
        exchange.attempt.expire(now)
    elif now >= exchange.deadline and not exchange.closed:
        close(exchange, UpstreamTimeout("The request did not finish within its total deadline."))
    if exchange.stream and not exchange.closed and (not exchange.released or rescue.waits(exchange)):
        exchange.runtime.keep_alive(exchange, now)


# ---- record


def close(exchange: Exchange, error: TriviumError) -> None:
    """The request is over without a whole answer."""
    if exchange.closed:
        return
    if exchange.backoff is not None:
        exchange.backoff.cancel()
        exchange.backoff = None
    error = availability.told(exchange, error) if exchange.rescue is None else rescue.truth(exchange, error)
    exchange.outbox = error
    exchange.status = error.status
    exchange.runtime.journal.append(Closed(*told(exchange, error.kind, "")))
    over(exchange)


def told(exchange: Exchange, error: str, endpoint: str) -> Told:
    """The fields of the request's record; `endpoint` answered it, or `error` did."""
    key, dialect = exchange.wish.key, exchange.dialect
    return (
        exchange.id,
        exchange.time_ms,
        int((exchange.runtime.now() - exchange.started) * 1e6),
        exchange.total_cost_nanos,
        exchange.max_output_tokens,
        exchange.model,
        "python" if dialect is None else dialect.name,
        "" if key is None else key.name,
        exchange.data_class,
        exchange.stream,
        exchange.status,
        error,
        exchange.attempts,
        endpoint,
        exchange.fallback if endpoint else "",
        exchange.operation,
        spelt(exchange.needs) if exchange.needs else "",
        exchange.more,
        exchange.losses,
        () if key is None else key.tags,
    )


def over(exchange: Exchange) -> None:
    """What is left of the answer leaves after the record."""
    exchange.closed = True
    exchange.runtime.closed(exchange)
    exchange.runtime.deliver_after_journal(exchange)
