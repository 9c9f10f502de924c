"""What a routing service is told of who may serve: the caller's `provider` within our rules, and its further models.

Source: section 19 of OpenRouter's contract. All others are told nothing: what it says is done here.
"""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING, Any

import msgspec

from trivium.catalog.rows import Endpoint
from trivium.dialects.common import UNSAID
from trivium.routing.preferences import matches
from trivium.types.data import DataClass
from trivium.wire.json import is_null, join, members

if TYPE_CHECKING:
    from trivium.gateway.exchange import Exchange

_SLUGS = msgspec.json.Decoder(list[str])


def forwarded(body: bytes, exchange: Exchange, endpoint: Endpoint) -> bytes:
    """A request's bytes for an endpoint, with `provider` and `models` as they are to be there."""
    head = exchange.head
    said = UNSAID if head is None else head.provider
    if said is UNSAID and endpoint.provider.access != "routed":
        return body  # as nearly always
    routed = endpoint.chooses
    if not routed and said is UNSAID:
        return body
    told: dict[str, Any] = {}
    if routed:
        told = {"provider": _provider(said, endpoint, exchange.data_class), "models": _models(exchange, endpoint)}
        if said is UNSAID and not any(told.values()):
            return body
    values: dict[str, Any] = {name: value for name, value in members(body).items() if name != "provider"}
    return join(values | {name: value for name, value in told.items() if value})


def _provider(said: msgspec.Raw, endpoint: Endpoint, data_class: DataClass) -> dict[str, Any]:
    """What the caller says, without slugs that mean the service itself, as strict as the request's class at least."""
    wish: dict[str, Any] = {} if said is UNSAID or is_null(said) else dict(members(bytes(said)))
    for name in ("order", "only"):
        if name in wish and not is_null(wish[name]):
            wish[name] = [slug for slug in _SLUGS.decode(wish[name]) if not matches(slug, endpoint)]
            if not wish[name]:
                del wish[name]
    if data_class >= DataClass.NO_TRAINING:
        wish["data_collection"] = "deny"
    if data_class >= DataClass.ZERO_RETENTION:
        wish["zdr"] = True
    return wish


def _models(exchange: Exchange, endpoint: Endpoint) -> list[str]:
    """The service's spellings of the models that would be asked of it next, where the caller named further ones."""
    plan = exchange.plan
    if plan is None or exchange.head is None or not exchange.head.models:
        return []
    later = plan.endpoints[exchange.position + 1 :]
    return [one.model for one in takewhile(lambda one: one.provider.id == endpoint.provider.id, later)]
