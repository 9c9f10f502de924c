"""An endpoint from its rows: what one model at one provider costs, holds, can do and may be sent."""

from __future__ import annotations

import re

from trivium.catalog.catalog import Catalog
from trivium.catalog.rows import Endpoint, Model, Provider
from trivium.types.data import DataClass

# A local daemon may hand models with such names to its maker's servers (`glm-4.6:cloud`, `gpt-oss:120b-cloud`).
_RUNS_ELSEWHERE = re.compile(r"[:-]cloud$", re.IGNORECASE)


def endpoint(
    catalog: Catalog,
    provider: Provider,
    model: str,
    *,
    override: Model | None = None,
    trusted_origin: bool = False,
) -> Endpoint:
    """One model at one provider; `model` is the provider's own spelling, `override` a row of `[[models]]`.

    What nobody states stays unknown: a price is None, capabilities are those of the provider's row, and a model that
    the catalog does not know counts as a silent thinker. A row without a base URL is served by an engine of ours.
    """
    known = catalog.model(provider.id, model)
    rows = [row for row in (override, known) if row is not None]
    ours = not provider.base_url
    capabilities = next((row.capabilities for row in rows if row.capabilities is not None), provider.capabilities)
    return Endpoint(
        id=f"{provider.id}/{model}",
        provider=provider,
        model=model,
        price=next((row.price for row in rows if row.price is not None), None) or catalog.price(provider, model),
        context=next((row.context for row in rows if row.context is not None), catalog.context(provider, model)),
        max_output=next((row.max_output for row in rows if row.max_output is not None), None),
        capabilities=frozenset(capabilities),
        operations=frozenset(next((row.operations for row in rows if row.operations), ())),
        ceiling=provider.data.ceiling if ours or _stays(provider, model) else DataClass.ANY,
        weights=next((row.weights for row in rows if row.weights), None),
        family=next((row.family for row in rows if row.family), None),
        quantization=next((row.quantization for row in rows if row.quantization), None),
        silent_thinker=not ours and (known is None or known.silent_thinker),
        engine=model if ours else None,
        trusted_origin=trusted_origin,
    )


def _stays(provider: Provider, model: str) -> bool:
    """Whether the provider's data policy holds for this model, and nobody else gets to see the request."""
    covered = provider.data_for is None or re.fullmatch(provider.data_for, model) is not None
    return covered and not _RUNS_ELSEWHERE.search(model)
