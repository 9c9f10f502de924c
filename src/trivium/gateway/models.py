"""The models that a caller may name, and where it may ask them."""

from __future__ import annotations

from typing import Any

import msgspec

from trivium.catalog.rows import Endpoint
from trivium.errors import NotFound
from trivium.gateway.snapshot import Snapshot
from trivium.policy.key import Key
from trivium.routing.names import AUTO, LOCAL
from trivium.types.data import DataClass
from trivium.types.request import Operation


def model_rows(snapshot: Snapshot, key: Key | None) -> list[dict[str, Any]]:
    """Rows of `{id, created, owned_by, name, context}`: `auto`, routes, aliases, local models, and the catalog's
    models of every provider that has a key. A provider's other models can be named all the same."""
    config = snapshot.config
    names = [AUTO, *config.routes, *config.aliases]
    names += [f"{LOCAL}/{model}" for model in (*config.engines, *snapshot.local_models)]
    names += config.models
    for provider, bound in config.providers.items():
        if bound.has_key or provider in config.configured:
            names += [f"{provider}/{spelling}" for owner, spelling in snapshot.catalog.spellings if owner == provider]
    allowed = set(key.models) if key is not None and key.models else None
    shown = [name for name in dict.fromkeys(names) if allowed is None or name in allowed]
    return [
        {"id": name, "created": 0, "owned_by": name.partition("/")[0], "name": name, "context": None} for name in shown
    ]


def model_row(snapshot: Snapshot, key: Key | None, name: str) -> dict[str, Any]:
    """The row of one model, listed or not. Raises NotFound for one that this caller cannot name."""
    found = next((row for row in model_rows(snapshot, key) if row["id"] == name), None)
    if found is None:
        if key is not None and key.models and name not in key.models:
            raise NotFound(f"There is no model `{name[:200]}`.", remedy="`/v1/models` lists those of your key.")
        for target in snapshot.route(name).targets:
            snapshot.endpoint(target)  # raises NotFound for a name that means nothing
        found = {"id": name, "created": 0, "owned_by": name.partition("/")[0], "name": name, "context": None}
    return found


def askable(snapshot: Snapshot, key: Key | None, name: str, *, slugs: bool = False) -> tuple[Endpoint, ...]:
    """The endpoints of a plan for a name with this key, whatever they are for. Raises NotFound for what is none."""
    operations: tuple[Operation, ...] = ("chat",) if snapshot.route(name).name == AUTO else ("chat", "embed", "rerank")
    least = key.data_class if key else DataClass.ANY
    plans = (snapshot.usual_plan(name, (), least, frozenset(), key, asked, slugs=slugs) for asked in operations)
    return next((plan.endpoints for plan in plans if plan.endpoints), ())


def one_of(listing: bytes) -> bytes:
    """The one model of a list, in the shape of its dialect."""
    lists: list[Any] = [
        value for value in msgspec.json.decode(listing, type=dict[str, Any]).values() if isinstance(value, list)
    ]
    return msgspec.json.encode(lists[0][0])
