"""The plan: which endpoints are tried for a request, in which order, and why the others are not.

A pure function of the facts, the route and its candidates. Hard rules reject with a reason, cheap and
certain ones first; nothing here knows the time, so that a plan can be computed, cached and explained.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from trivium.catalog.rows import Endpoint
from trivium.dialects import suited
from trivium.routing.preferences import Preferences, refused_by, relaxed
from trivium.routing.route import Route
from trivium.types.data import DataClass
from trivium.types.request import Operation

CONTEXT_SLACK = 0.9
"""An estimated count of tokens is good to about 10 %: reject only what cannot fit even then."""
GROUPS_MAX = 200
"""Models beyond this many count as one."""
MEDIA = frozenset(("images", "audio", "files"))
"""Capabilities that only show when the messages are read."""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What a plan needs to know of a request. `input_tokens` is an estimate; `needs` are capabilities."""

    model: str
    slugs: bool = False
    """Whether the name may be the catalog's `author/slug`."""
    operation: Operation = "chat"
    data_class: DataClass = DataClass.ANY
    needs: frozenset[str] = frozenset()
    input_tokens: int = 0
    max_output_tokens: int | None = None
    models: tuple[str, ...] = ()
    """What the caller's key may name; empty: anything."""
    roads: tuple[str, ...] = ()
    """Which roads the caller's key may take; empty: all."""
    choice: int | None = None
    """Which route with conditions it is for; None: none of them."""
    preferences: Preferences | None = None
    """Its `provider` object."""
    parameters: frozenset[str] = frozenset()
    """What it sends, where all of that must be heeded."""


class Rejected(msgspec.Struct, frozen=True):
    """An endpoint that the request must not or cannot use. `detail` is for people, with the figures."""

    endpoint: str
    reason: str
    detail: str


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """`endpoints` in the order in which they would be tried; together with `rejected` all candidates."""

    requested: str
    route: Route
    endpoints: tuple[Endpoint, ...]
    rejected: tuple[Rejected, ...] = ()
    passed_over: Rejected | None = None
    """The first candidate, if it was rejected: why another one answers."""
    relaxed: str = ""
    """Where there is no endpoint: the one constraint without which there would be one."""
    data_class: DataClass = DataClass.ANY
    """What it was made for: the request's, or the stricter one of a route that is named."""
    context: int | None = None
    """The smallest window of the endpoints, in tokens; None where none is known."""
    max_output: int | None = None
    """The least that one of them can answer with, in tokens."""
    groups: tuple[int, ...] = ()
    """Which of the models that the caller named each endpoint serves, in its order; empty: it named one."""
    differs_in_media: bool = False
    """Not every endpoint takes every kind of media, so that it matters which ones the request carries."""

    def group(self, index: int) -> int:
        """The place of an endpoint's model among those that the caller named."""
        return min(GROUPS_MAX, self.groups[index]) if self.groups else 0

    def holds(self, input_tokens: int, max_output_tokens: int | None) -> bool:
        """Whether it stays the plan for a request of this size, whatever size it was made for."""
        if self.context is not None and input_tokens > self.context:
            return False
        return not max_output_tokens or self.max_output is None or max_output_tokens <= self.max_output


def plan(
    facts: Facts, route: Route, candidates: Sequence[Endpoint | Rejected], groups: Sequence[int] | None = None
) -> Plan:
    """The eligible candidates as listed, and the others with their reasons; `routing.ranking` puts them in order.

    `groups` says for each candidate which of the models that the caller named it serves.
    """
    eligible: list[Endpoint] = []
    places: list[int] = []
    rejected: list[Rejected] = []
    first = next((c for c in candidates if isinstance(c, Endpoint) and _offers(c, facts.operation)), None)
    if facts.operation == "embed":
        route = msgspec.structs.replace(route, fallback="same-weights")  # vectors of two models cannot be compared
    for place, candidate in enumerate(candidates):
        if isinstance(candidate, Rejected):
            rejected.append(candidate)
            continue
        refusal = _refusal(facts, route, candidate, first)
        if refusal is None:
            eligible.append(candidate)
            places.append(groups[place] if groups else 0)
        else:
            rejected.append(Rejected(candidate.id, *refusal))
    return Plan(
        requested=facts.model,
        route=route,
        endpoints=tuple(eligible),
        rejected=tuple(rejected),
        passed_over=rejected[0] if rejected and (not eligible or eligible[0] is not candidates[0]) else None,
        relaxed="" if eligible else _relaxed(facts, route, candidates, first),
        data_class=facts.data_class if (wish := facts.preferences) is None else max(facts.data_class, wish.data_class),
        context=min((e.context for e in eligible if e.context is not None), default=None),
        max_output=min((e.max_output for e in eligible if e.max_output), default=None),
        groups=tuple(places) if any(places) else (),
        differs_in_media=_differ_in_media(eligible),
    )


def inserted(made: Plan, position: int, more: Sequence[Endpoint]) -> Plan:
    """A plan with further endpoints from a position on."""
    if not more:
        return made
    endpoints = (*made.endpoints[:position], *more, *made.endpoints[position:])
    group = made.group(position - 1)
    groups = (*made.groups[:position], *[group] * len(more), *made.groups[position:]) if made.groups else ()
    return msgspec.structs.replace(made, endpoints=endpoints, groups=groups)


def larger_window(made: Plan, position: int) -> int:
    """The next place whose endpoint may hold what was too long for that at `position`; the plan's end if none may.

    Never the same weights again, nor a window that is known to be no larger; one that is unknown may be tried.
    """
    failed = made.endpoints[position]
    for place in range(position + 1, len(made.endpoints)):
        endpoint = made.endpoints[place]
        same = endpoint.weights is not None and endpoint.weights == failed.weights and endpoint.context is None
        known = endpoint.context is not None and failed.context is not None and endpoint.context <= failed.context
        if not same and not known:
            return place
    return len(made.endpoints)


_FREE: dict[str, tuple[str, object]] = {
    "data_class": ("data_class", DataClass.ANY),
    "needs": ("capability", frozenset[str]()),
    "input_tokens": ("context_length", 0),
    "max_output_tokens": ("output_length", None),
    "roads": ("allowed_roads", ()),
}
"""Facts that constrain: the reason that they are rejected with, and their value where they do not."""


def _relaxed(facts: Facts, route: Route, candidates: Sequence[Endpoint | Rejected], first: Endpoint | None) -> str:
    """The first constraint without which, alone, a candidate could serve; empty: it takes more, or there is none."""
    for name, less in _relaxations(facts):
        if any(_refusal(less, route, one, first) is None for one in candidates if isinstance(one, Endpoint)):
            return name
    return ""


def _relaxations(facts: Facts) -> Iterator[tuple[str, Facts]]:
    if facts.preferences is not None:
        for name, less in relaxed(facts.preferences):
            yield name, msgspec.structs.replace(facts, preferences=less)
    for name, (reason, free) in _FREE.items():
        if getattr(facts, name) != free:
            yield reason, msgspec.structs.replace(facts, **{name: free})


def _differ_in_media(endpoints: Sequence[Endpoint]) -> bool:
    """A lone remote endpoint is asked all the same and answers for itself; an engine of ours would fail with a 500."""
    if len(endpoints) == 1 and endpoints[0].engine is None:
        return False
    return not all(endpoint.capabilities >= MEDIA for endpoint in endpoints)


def _refusal(facts: Facts, route: Route, endpoint: Endpoint, first: Endpoint | None) -> tuple[str, str] | None:
    """Why an endpoint cannot serve, as (reason, detail); None if it can."""
    if facts.roads and endpoint.access not in facts.roads:
        return "allowed_roads", f"the key allows {', '.join(facts.roads)}; this endpoint is {endpoint.access}"
    if facts.preferences is not None and (refused := refused_by(facts.preferences, endpoint, facts.parameters)):
        return refused
    if facts.data_class > endpoint.ceiling:
        return (
            "data_class",
            f"the request is `{facts.data_class.word}`, the endpoint's ceiling is `{endpoint.ceiling.word}`",
        )
    if not _offers(endpoint, facts.operation):
        return "operation", f"it does not {facts.operation}{_where(endpoint)}"
    missing = sorted(facts.needs - endpoint.capabilities)
    if missing:
        return "capability", f"the request needs {', '.join(missing)}"
    unlike = _unlike(route, endpoint, first)
    if unlike:
        vectors = "vectors of two models cannot be compared: " if facts.operation == "embed" else ""
        return "fallback", vectors + unlike
    return _too_long(facts, endpoint)


def _offers(endpoint: Endpoint, operation: Operation) -> bool:
    known, asked = endpoint.operations, "chat" if operation == "count" else operation
    return (not known or asked in known) and suited(endpoint.dialects, None, operation) is not None


def _where(endpoint: Endpoint) -> str:
    """Where to ask an endpoint instead that is stated to be for something."""
    return next((f"; ask `{path}`" for operation, path in _PATHS.items() if operation in endpoint.operations), "")


_PATHS: dict[Operation, str] = {"embed": "/v1/embeddings", "rerank": "/v1/rerank", "chat": "/v1/chat/completions"}


def _unlike(route: Route, endpoint: Endpoint, first: Endpoint | None) -> str:
    if first is None or endpoint is first or route.fallback == "any":
        return ""
    key = "weights" if route.fallback == "same-weights" else "family"
    mine, theirs = getattr(endpoint, key), getattr(first, key)
    if mine is not None and mine == theirs:
        return ""
    return f"the route requires {route.fallback} as `{first.id}` ({theirs or 'unknown'}); this is {mine or 'unknown'}"


def _too_long(facts: Facts, endpoint: Endpoint) -> tuple[str, str] | None:
    wanted = facts.max_output_tokens
    if wanted is not None and endpoint.max_output is not None and wanted > endpoint.max_output:
        return "output_length", f"{wanted} output tokens asked for, {endpoint.max_output} possible"
    needed = int(facts.input_tokens * CONTEXT_SLACK)
    if endpoint.context is not None and needed > endpoint.context:
        return "context_length", f"needs at least {needed} tokens, the maximum context length is {endpoint.context}"
    return None
