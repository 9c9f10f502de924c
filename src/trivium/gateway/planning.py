"""Planning: the plan of a request, from what it says and from what is known of its endpoints now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from trivium.errors import InvalidRequest, TriviumError
from trivium.gateway.needs import SERVICE, WISHES, measure, needs_of
from trivium.gateway.snapshot import facts_of
from trivium.routing.disposition import failure_of
from trivium.routing.names import AUTO
from trivium.routing.plan import Plan, inserted
from trivium.routing.sticky import NAME_MAX, Session, keeps_cache, likeness
from trivium.routing.when import Occasion, chosen
from trivium.wire.json import BROKEN

if TYPE_CHECKING:
    from trivium.gateway.exchange import Exchange


def plan(exchange: Exchange) -> Plan:
    """The endpoints that may serve, in order. Raises NotFound, InvalidRequest."""
    needs, more = exchange.needs, exchange.more = _asked(exchange)
    choice = _choice(exchange, needs) if exchange.snapshot.config.conditional else None
    found = _plan(exchange, needs, more, choice)
    exchange.data_class = found.data_class
    if found.differs_in_media and (media := measure(exchange).kinds):
        exchange.needs = needs | media
        found = _plan(exchange, exchange.needs, more, choice)
    if len(found.endpoints) > 1:
        found = _ranked(exchange, found)
    if exchange.wish.service:
        exchange.needs |= SERVICE
    if exchange.preferences is not None or exchange.session is not None:
        exchange.needs |= WISHES
    if found.route.name == AUTO:
        measure(exchange)
        found = exchange.runtime.within_budget(found, exchange)
    return found


def _asked(exchange: Exchange) -> tuple[frozenset[str], tuple[str, ...]]:
    """What a request needs at first sight, and which further models it names."""
    if exchange.head is not None:
        return exchange.head.needs, exchange.head.models
    if exchange.request is None:
        raise InvalidRequest("The request has no body.")
    return needs_of(exchange.request), ()


def _choice(exchange: Exchange, needs: frozenset[str]) -> int | None:
    """The route with conditions that is for a request; what costs time to find out is looked at where one asks."""
    routes, key, head = exchange.snapshot.config.conditional, exchange.wish.key, exchange.head
    conditions = [route.when for route in routes if route.when is not None]
    looks = any(when.images is not None for when in conditions)
    metadata: dict[str, str] = {}
    if head is not None and any(when.metadata for when in conditions):
        metadata = _texts(head.metadata)
    return chosen(
        routes,
        Occasion(
            exchange.model,
            key.name if key else "",
            metadata,
            exchange.input_tokens,
            "tools" in needs,
            "images" in needs or (looks and "images" in measure(exchange).kinds),
        ),
    )


def _texts(metadata: msgspec.Raw) -> dict[str, str]:
    """The members of a request's metadata that are texts."""
    try:
        found = msgspec.json.decode(metadata, type=dict[str, object])
    except BROKEN:
        return {}
    return {name: value for name, value in found.items() if isinstance(value, str)}


def _plan(exchange: Exchange, needs: frozenset[str], more: tuple[str, ...], choice: int | None) -> Plan:
    snapshot, key, output = exchange.snapshot, exchange.wish.key, exchange.max_output_tokens
    operation, slugs = exchange.operation, exchange.wish.service
    wish, sent = exchange.preferences, exchange.parameters
    usual = snapshot.usual_plan(
        exchange.model,
        more,
        exchange.data_class,
        needs,
        key,
        operation,
        slugs=slugs,
        choice=choice,
        preferences=wish,
        parameters=sent,
    )
    if operation != "chat":
        return usual  # a window holds each of the texts, not all of them
    if not usual.holds(exchange.input_tokens, output):
        measure(exchange)  # media are no text: without them it may fit
    if usual.holds(exchange.input_tokens, output):
        return usual
    size = exchange.input_tokens, output
    wishes: dict[str, Any] = {"slugs": slugs, "choice": choice, "preferences": wish, "parameters": sent}
    facts = facts_of(exchange.model, exchange.data_class, needs, key, *size, **wishes)
    return snapshot.plan(facts, more)


def _ranked(exchange: Exchange, found: Plan) -> Plan:
    """The plan in the order in which this request asks its endpoints; who goes round the first one is told why."""
    runtime, output = exchange.runtime, exchange.max_output_tokens
    session = exchange.session = None if found.route.strategy == "order" else _session(exchange, found)
    view = runtime.conditions.ranked(found, exchange.input_tokens, output, exchange.id, session)
    if exchange.preferences is not None:
        return runtime.conditions.preferred(view, exchange.preferences)
    if view is not found and found.route.strategy == "order" and view.endpoints[0] is not found.endpoints[0]:
        exchange.fallback = "" if found.route.weights else runtime.why_not(found.endpoints[0], exchange)
    return view


def _session(exchange: Exchange, found: Plan) -> Session | None:
    """The conversation of a request, where one of its endpoints keeps a cache of prompts."""
    head, key = exchange.head, exchange.wish.key
    if head is None or not keeps_cache(found.endpoints):
        return None
    name, named = exchange.wish.session, True
    if told := bytes(head.session):
        try:
            name = msgspec.json.decode(told, type=str)[:NAME_MAX]
        except BROKEN:
            name = ""
    if not name:
        name, named = likeness(bytes(head.messages)), False
    return Session(key.name if key else "", found.requested, name, named) if name else None


def with_named(exchange: Exchange, made: Plan, error: TriviumError) -> Plan:
    """The plan with the targets that its route names for such a failure, next in turn."""
    named = made.route.fallbacks.get(failure_of(error))
    if not named:
        return made
    needs, _ = _asked(exchange)
    known = {endpoint.id for endpoint in made.endpoints}
    needs |= measure(exchange).kinds
    wishes = exchange.preferences, exchange.parameters
    more = exchange.snapshot.further(made, named, needs, exchange.wish.key, *wishes)
    return inserted(made, exchange.position + 1, [endpoint for endpoint in more if endpoint.id not in known])
