"""A plan as people and programs read it: the answer of `POST /v1/plan` and of `trivium explain`."""

from __future__ import annotations

import msgspec

from trivium.catalog.overrides import dearest
from trivium.gateway.needs import needs_of, text_tokens
from trivium.gateway.snapshot import Snapshot, facts_of
from trivium.gateway.wish import Wish
from trivium.routing.preferences import Preferences
from trivium.types.request import Request
from trivium.types.retrieval import AnyRequest

OUTPUT_TOKENS_EXPECTED = 500
"""What an answer takes where nothing is known yet."""


class PlannedEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt that would be made. None is unknown."""

    endpoint: str
    model: str
    access: str
    expected_cost_usd: float | None
    expected_ttft_ms: float | None
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
    endpoints: tuple[PlannedEndpoint, ...]
    rejected: tuple[RejectedEndpoint, ...]


def view(
    snapshot: Snapshot,
    request: AnyRequest,
    wish: Wish,
    more: tuple[str, ...] = (),
    preferences: Preferences | None = None,
) -> PlanView:
    """Plan a request without running it; `more` are further model ids. Raises NotFound for an unknown model."""
    tokens = text_tokens(request)
    data_class = max(wish.data_class, snapshot.config.policy.data_class)
    chat = request if isinstance(request, Request) else None
    size = (tokens, chat.max_output_tokens) if chat else (0, None)
    needs, operation = needs_of(request), request.operation
    facts = facts_of(request.model, data_class, needs, wish.key, *size, operation=operation, preferences=preferences)
    plan = snapshot.plan(facts, more)
    output = chat.max_output_tokens or OUTPUT_TOKENS_EXPECTED if chat else 0
    planned = [
        PlannedEndpoint(
            endpoint=endpoint.id,
            model=endpoint.model,
            access=endpoint.access,
            expected_cost_usd=_usd(dearest(endpoint.price).upper_bound(tokens, output) if endpoint.price else None),
            expected_ttft_ms=None,
            notes=() if endpoint.price else ("price unknown",),
        )
        for endpoint in plan.endpoints
    ]
    rejected = [RejectedEndpoint(endpoint=r.endpoint, reason=r.reason, detail=r.detail) for r in plan.rejected]
    return PlanView(
        requested=plan.requested,
        route=plan.route.name,
        strategy=plan.route.strategy,
        data_class=plan.data_class.word,
        endpoints=tuple(planned),
        rejected=tuple(rejected),
    )


def _usd(cost_nanos: int | None) -> float | None:
    return None if cost_nanos is None else cost_nanos / 1e9
