"""A plan as people and programs read it: the answer of `POST /v1/plan` and of `trivium explain`."""

from __future__ import annotations

import msgspec

from trivium.catalog.overrides import dearest
from trivium.catalog.rows import Endpoint
from trivium.gateway.needs import needs_of, text_tokens
from trivium.gateway.snapshot import Snapshot, facts_of
from trivium.gateway.wish import Wish
from trivium.routing.conditions import Conditions
from trivium.routing.draw import seed_of
from trivium.routing.plan import Plan
from trivium.routing.preferences import Preferences
from trivium.routing.ranking import Row, Size, candidate
from trivium.routing.statistics import size_of
from trivium.routing.when import Occasion, chosen
from trivium.types.request import Request
from trivium.types.retrieval import AnyRequest


class PlannedEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt that would be made. None is unknown."""

    endpoint: str
    model: str
    access: str
    expected_cost_usd: float | None
    """Of an answer of the length that its route's answers usually have; `cost_bound_usd` is what is reserved."""
    cost_bound_usd: float | None
    expected_ttft_ms: float | None
    expected_ms: float | None
    """Until the answer is whole."""
    notes: tuple[str, ...] = ()


class RejectedEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    endpoint: str
    reason: str
    detail: str


class PlanView(msgspec.Struct, frozen=True, kw_only=True):
    """`endpoints` in the order in which they would be tried."""

    requested: str
    route: str
    strategy: str
    data_class: str
    input_tokens: int
    output_tokens: int
    """As many as are expected."""
    seed: int
    """What the same order can be drawn from again."""
    endpoints: tuple[PlannedEndpoint, ...]
    rejected: tuple[RejectedEndpoint, ...]


def view(
    snapshot: Snapshot,
    conditions: Conditions,
    request: AnyRequest,
    wish: Wish,
    more: tuple[str, ...] = (),
    id_: str = "",
    input_tokens: int | None = None,
    preferences: Preferences | None = None,
) -> PlanView:
    """Plan a request without running it, as the one with the generation `id_` would be planned now.

    `more` are further model ids; `input_tokens` is how long it is, where its texts are not there any more. Raises
    NotFound for an unknown model.
    """
    tokens, needs = text_tokens(request) if input_tokens is None else input_tokens, needs_of(request)
    chat = request if isinstance(request, Request) else None
    wanted = chat.max_output_tokens if chat else None
    metadata = chat.metadata if chat else {}
    occasion = Occasion(
        request.model,
        wish.key.name if wish.key else "",
        {name: value for name, value in metadata.items() if isinstance(value, str)},
        tokens,
        "tools" in needs,
        "images" in needs,
    )
    facts = facts_of(
        request.model,
        max(wish.data_class, snapshot.config.policy.data_class),
        needs,
        wish.key,
        tokens if chat else 0,
        wanted,
        operation=request.operation,
        choice=chosen(snapshot.config.conditional, occasion),
        preferences=preferences,
    )
    found = snapshot.plan(facts, more)
    size = conditions.size(found, tokens, wanted) if chat else Size(tokens, 0)
    view = conditions.ranked(found, tokens, wanted, id_) if found.endpoints else found
    view = view if preferences is None else conditions.preferred(view, preferences)
    return PlanView(
        requested=found.requested,
        route=found.route.name,
        strategy=found.route.strategy,
        data_class=found.data_class.word,
        input_tokens=tokens,
        output_tokens=round(size.output_tokens),
        seed=seed_of(id_),
        endpoints=_planned(found, view, conditions, size, wanted),
        rejected=tuple(RejectedEndpoint(endpoint=r.endpoint, reason=r.reason, detail=r.detail) for r in view.rejected),
    )


def _planned(
    found: Plan, view: Plan, conditions: Conditions, size: Size, wanted: int | None
) -> tuple[PlannedEndpoint, ...]:
    if not found.endpoints:
        return ()
    now = conditions.now()
    board = conditions.board(found, now).board
    rows = {row.index: row for ranked in board.ranks for row in ranked}
    places = [found.endpoints.index(endpoint) for endpoint in view.endpoints]
    return tuple(
        _endpoint(found.endpoints[place], rows[place], size, wanted, board.notes[place], now) for place in places
    )


def _endpoint(
    endpoint: Endpoint, row: Row, size: Size, wanted: int | None, notes: tuple[str, ...], now: float
) -> PlannedEndpoint:
    expected = candidate(row, size, size_of(size.input_tokens), now)
    price, known = endpoint.price, row.input_price is not None
    measured = row.health.measured() if row.health is not None else None
    timed = measured is not None and measured.mean_ttft_s is not None
    bound = dearest(price).upper_bound(size.input_tokens, wanted or round(size.output_tokens)) if price else None
    return PlannedEndpoint(
        endpoint=endpoint.id,
        model=endpoint.model,
        access=endpoint.access,
        expected_cost_usd=expected.cost / 1e9 if known else None,
        cost_bound_usd=None if bound is None else bound / 1e9,
        expected_ttft_ms=expected.time_s * 1e3 - size.output_tokens * row.itl_s * 1e3 if timed else None,
        expected_ms=expected.time_s * 1e3 if timed or (measured and measured.mean_itl_s) else None,
        notes=notes if known else ("price unknown", *notes),
    )
