"""The map of the program: what happens to a request, in reading order.

``begin`` admits it, plans it and starts the first attempt; the attempt's callbacks come back to
``succeed`` or ``recover``; ``close`` writes the request's record, and ``deliver`` sends the end of the answer
once the journal has it. Plain calls throughout: what must wait (a connection, a back-off, an engine that
starts) calls back. Errors are raised as TriviumError anywhere below and caught here, once.
"""

from __future__ import annotations

import msgspec

from trivium.dialects.base import Dialect
from trivium.errors import (
    ClientGone,
    EngineUnavailable,
    InvalidRequest,
    NoEndpoint,
    PaymentRequired,
    PermissionDenied,
    TriviumError,
    UpstreamCut,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from trivium.gateway.attempt import Attempt, Last
from trivium.gateway.exchange import Exchange, Sink, Wish
from trivium.gateway.needs import media_needs, needs_of
from trivium.gateway.runtime import Runtime
from trivium.ledger.record import Closed
from trivium.routing.disposition import after_failure
from trivium.routing.plan import Facts, Plan
from trivium.types.data import DATA_CLASSES, DataClass
from trivium.types.request import Request

# ---- admit


def begin(runtime: Runtime, sink: Sink, dialect: Dialect, body: bytes, wish: Wish) -> Exchange:
    """Take a request in a caller's dialect; its answer or its error goes to `sink`."""
    exchange = Exchange(runtime, sink, dialect, body, wish)
    try:
        admit(exchange, dialect)
        plan(exchange, facts_of_head(exchange))
        attempt(exchange)
    except TriviumError as error:
        close(exchange, error)
    return exchange


def begin_request(runtime: Runtime, sink: Sink, request: Request, wish: Wish) -> Exchange:
    """Take a request of a caller in the same process, as an object."""
    exchange = Exchange(runtime, sink, None, b"", wish)
    exchange.request = request
    exchange.facts_model = request.model
    exchange.stream = request.stream
    exchange.wants_usage = True
    exchange.max_output_tokens = request.max_output_tokens
    try:
        runtime.admit()
        plan(exchange, facts_of_request(exchange, request))
        attempt(exchange)
    except TriviumError as error:
        close(exchange, error)
    return exchange


def admit(exchange: Exchange, dialect: Dialect) -> None:
    """Read the head of the body and what it says about the rules. Raises InvalidRequest, Draining."""
    exchange.runtime.admit()
    head = exchange.head = dialect.peek(exchange.body)
    exchange.facts_model = head.model
    exchange.stream = head.stream
    exchange.wants_usage = head.wants_usage
    exchange.max_output_tokens = head.max_output_tokens
    twin = head.trivium
    if twin is not None:
        exchange.strict = exchange.strict or bool(twin.strict)
        if twin.data_class is not None:
            exchange.data_class = max(exchange.data_class, data_class_of(twin.data_class))


def data_class_of(word: str) -> DataClass:
    """The class of a word in a header or body. Raises InvalidRequest for any other word."""
    found = DATA_CLASSES.get(word.strip().lower())
    if found is None:
        raise InvalidRequest(
            f"There is no data class `{word}`.", remedy=f"Use one of {', '.join(DATA_CLASSES)}.", param="data_class"
        )
    return found


# ---- plan


def facts_of_head(exchange: Exchange) -> Facts:
    head, key = exchange.head, exchange.wish.key
    if head is None:
        raise InvalidRequest("The request has no body.")
    return Facts(
        model=head.model,
        data_class=exchange.data_class,
        needs=head.needs,
        input_tokens=len(exchange.body) // 4,
        max_output_tokens=head.max_output_tokens,
        models=key.models if key else (),
        roads=key.roads if key else (),
    )


def facts_of_request(exchange: Exchange, request: Request) -> Facts:
    key = exchange.wish.key
    return Facts(
        model=request.model,
        data_class=exchange.data_class,
        needs=needs_of(request),
        input_tokens=sum(len(message.text) for message in request.messages) // 4,
        max_output_tokens=request.max_output_tokens,
        models=key.models if key else (),
        roads=key.roads if key else (),
    )


def plan(exchange: Exchange, facts: Facts) -> None:
    """Find the endpoints that may serve. Raises NotFound, NoEndpoint and its kin when there is none."""
    snapshot, head = exchange.snapshot, exchange.head
    more = head.models if head is not None else ()
    found = snapshot.plan(facts, more)
    route = found.route
    if route.data_class > facts.data_class:
        exchange.data_class = route.data_class
        facts = msgspec.structs.replace(facts, data_class=route.data_class)
        found = snapshot.plan(facts, more)
    if head is not None and (needs := media_needs(found, head.messages, exchange)):
        found = snapshot.plan(msgspec.structs.replace(facts, needs=facts.needs | needs), more)
    exchange.plan = exchange.runtime.within_budget(found, exchange)
    exchange.deadline = exchange.started + total_s(exchange, exchange.plan)
    if not exchange.plan.endpoints:
        raise no_endpoint(exchange.plan)
    if exchange.plan.rejected and exchange.plan.endpoints[0].id != route.targets[0]:
        first = next((r for r in exchange.plan.rejected if r.endpoint == route.targets[0]), None)
        exchange.fallback = f"{first.endpoint}: {first.detail}" if first else ""


def total_s(exchange: Exchange, plan: Plan) -> float:
    """Seconds that the whole request may take; a caller can only lower it."""
    if not plan.endpoints:
        return 0.0
    configured = exchange.snapshot.limits(plan.route, plan.endpoints[0], alone=True).total_s
    asked = exchange.wish.timeout_s
    return configured if asked is None else min(configured, asked)


def no_endpoint(plan: Plan) -> TriviumError:
    """Why nothing can serve: a single clear reason has its own error, else all are listed."""
    reasons = {rejected.reason for rejected in plan.rejected}
    text = "; ".join(f"`{rejected.endpoint}`: {rejected.detail}" for rejected in plan.rejected)
    message = f"No endpoint can serve `{plan.requested}`: {text or 'the route has no targets'}."
    if reasons == {"not_pulled"}:
        return EngineUnavailable(message)
    if reasons == {"budget"}:
        return PaymentRequired(message)
    if reasons & {"allowed_models", "allowed_roads"} == reasons:
        return PermissionDenied(message)
    if reasons <= {"capability", "context_length"}:
        return InvalidRequest(message, remedy="Choose a model that can do it.", param="model")
    return NoEndpoint(message, remedy="`trivium doctor` shows what is reachable and what would answer.")


# ---- attempt


def attempt(exchange: Exchange) -> None:
    """Start an attempt at the plan's current endpoint, or at the next whose breaker lets one through."""
    chosen, runtime = exchange.plan, exchange.runtime
    if chosen is None:
        raise NoEndpoint("There is no plan.")
    position = runtime.allowed(chosen, exchange.position)
    if position != exchange.position:
        exchange.tries = 0
        exchange.fallback = exchange.fallback or f"{chosen.endpoints[exchange.position].provider.id} is failing"
        exchange.position = position
    endpoint = chosen.endpoints[position]
    binding = runtime.binding(exchange.snapshot, endpoint)
    if binding is None:
        exchange.backoff = runtime.start_engine(endpoint, exchange, engine_ready)
        return
    alone = position + 1 >= len(chosen.endpoints)
    limits = exchange.snapshot.limits(chosen.route, endpoint, alone=alone)
    exchange.tries += 1
    exchange.attempts += 1
    exchange.attempt = Attempt(exchange, endpoint, binding, limits, succeeded=succeed, failed=recover)
    exchange.attempt.reserve()
    runtime.sent(endpoint)


def engine_ready(exchange: Exchange, error: TriviumError | None) -> None:
    """The engine that the exchange waited for has started, or cannot."""
    exchange.backoff = None
    if exchange.closed:
        return
    if error is None:
        again(exchange)
    else:
        step_on(exchange, error)


def again(exchange: Exchange) -> None:
    """Start the next attempt outside of `begin`; whatever is raised ends the request."""
    exchange.backoff = None
    if exchange.closed:
        return
    try:
        attempt(exchange)
    except TriviumError as error:
        close(exchange, error)


# ---- settle


def succeed(exchange: Exchange, done: Attempt, last: Last) -> None:
    """The attempt's answer is whole and settled: record the request and send the end of the answer."""
    exchange.attempt = None
    exchange.outbox = last
    record(exchange, None, done.endpoint.id)


def recover(exchange: Exchange, failed: Attempt, error: TriviumError) -> None:
    """The attempt failed and is settled: try again, go on, or tell the caller."""
    exchange.attempt = None
    if exchange.first_error is None:
        exchange.first_error = error
    if exchange.closed:
        return
    if exchange.released:
        close(exchange, error)
        return
    gone = isinstance(error, UpstreamUnreachable | UpstreamCut)
    if failed.endpoint.engine is not None and gone and exchange.tries == 1:
        again(exchange)  # the engine was unloaded or moved since its address was learnt: ask its owner once more
        return
    route = exchange.plan.route if exchange.plan else None
    left = exchange.deadline - exchange.runtime.now()
    if route is None or exchange.attempts >= route.attempts or left <= 0:
        close(exchange, error)
        return
    retries = 0 if failed.endpoint.access == "local" else route.retries
    step = after_failure(error, tries=exchange.tries, retries=retries, left_s=left, jitter=exchange.runtime.jitter())
    if step.move == "stop":
        close(exchange, error)
    elif step.move == "again":
        exchange.backoff = exchange.runtime.later(step.delay_s, again, exchange)
    else:
        step_on(exchange, error)


def step_on(exchange: Exchange, error: TriviumError) -> None:
    """Go to the next endpoint of the plan; without one the request ends with the error."""
    chosen = exchange.plan
    if chosen is None or exchange.position + 1 >= len(chosen.endpoints):
        close(exchange, error)
        return
    exchange.fallback = exchange.fallback or reason(chosen.endpoints[exchange.position].provider.id, error)
    exchange.position += 1
    exchange.tries = 0
    again(exchange)


PHRASES = {
    "upstream_timeout": "timed out",
    "upstream_unreachable": "could not be reached",
    "upstream_tls_error": "failed the TLS check",
    "upstream_cut": "broke off",
    "upstream_protocol_error": "sent a broken answer",
    "upstream_auth_error": "refused its key",
    "upstream_rate_limited": "is rate limited",
    "upstream_quota_exhausted": "is out of quota",
    "upstream_overloaded": "is overloaded",
    "upstream_server_error": "had a server error",
    "upstream_not_found": "does not know the model",
    "context_length_exceeded": "has too small a window",
    "engine_unavailable": "could not be started",
}


def reason(provider: str, error: TriviumError) -> str:
    """Why the first choice did not answer, for people: `openai timed out`."""
    return f"{provider} {PHRASES.get(error.kind, 'failed')}"


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
    if exchange.stream and not exchange.released and not exchange.closed:
        exchange.runtime.keep_alive(exchange, now)


# ---- record


def close(exchange: Exchange, error: TriviumError) -> None:
    """The request is over without a whole answer."""
    if exchange.closed:
        return
    if exchange.backoff is not None:
        exchange.backoff.cancel()
        exchange.backoff = None
    exchange.outbox = error
    exchange.status = error.status
    record(exchange, error, "")


def record(exchange: Exchange, error: TriviumError | None, endpoint: str) -> None:
    """Write the request's record; what is left of the answer leaves after it."""
    runtime, wish = exchange.runtime, exchange.wish
    exchange.closed = True
    runtime.journal.append(
        Closed(
            exchange.id,
            exchange.time_ms,
            exchange.facts_model,
            exchange.dialect.name if exchange.dialect else "python",
            wish.key.name if wish.key else "",
            int(exchange.data_class),
            exchange.stream,
            exchange.status,
            error.kind if error else "",
            exchange.attempts,
            endpoint,
            exchange.fallback if endpoint else "",
            exchange.losses,
            int((runtime.now() - exchange.started) * 1e6),
            exchange.total_cost_nanos,
            wish.key.tags if wish.key else (),
        )
    )
    runtime.closed(exchange)
    runtime.deliver_after_journal(exchange)
