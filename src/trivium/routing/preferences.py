"""Preferences: what a caller says of who may serve it and in which order, as the `provider` object of routing services.

Hard wishes refuse an endpoint with a reason and both figures; soft ones only move it back. A routing service among the
endpoints is not judged by what it can obey itself: the wishes go on with the request, and it chooses among its own.
Source: sections 3 and 6 of OpenRouter's contract.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import inf
from typing import Annotated, Literal, Protocol

import msgspec

from trivium.catalog.rows import Endpoint
from trivium.dialects.common import invalid
from trivium.routing.parameters import supported
from trivium.types.data import DataClass
from trivium.types.money import NANOS_PER_USD, nanos
from trivium.wire.json import BROKEN

SLUGS_MAX = 100
"""More providers than any list names; what is remembered for a request's kind has a bound."""
TIERS = frozenset({"flex", "priority", "ultrafast", "scale"})
"""Endpoints of these are asked only by their full slug: they cost or wait differently."""

Slug = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
Slugs = Annotated[tuple[Slug, ...], msgspec.Meta(max_length=SLUGS_MAX)]
Usd = Annotated[float, msgspec.Meta(ge=0, le=1e6)] | Annotated[str, msgspec.Meta(pattern=r"^\d{1,6}(\.\d{1,12})?$")]
Figure = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
Quantization = Literal[
    "int4", "int8", "fp4", "mxfp4", "nvfp4", "fp6", "fp8", "mxfp8", "fp16", "bf16", "fp32", "unknown"
]  # fmt: skip
By = Literal["price", "throughput", "latency", "exacto"]
Refusal = tuple[str, str]


class MaxPrice(msgspec.Struct, frozen=True, omit_defaults=True):
    """USD per million tokens; per unit of the others."""

    prompt: Usd | None = None
    completion: Usd | None = None
    request: Usd | None = None
    image: Usd | None = None
    audio: Usd | None = None


class Percentiles(msgspec.Struct, frozen=True, omit_defaults=True):
    """Tokens a second or seconds, as they were measured or as bounds of that; None: not measured, no bound."""

    p50: Figure | None = None
    p75: Figure | None = None
    p90: Figure | None = None
    p99: Figure | None = None


class Sort(msgspec.Struct, frozen=True, omit_defaults=True):
    by: By | None = None
    partition: Literal["model", "none"] | None = None
    """`none` sorts the endpoints of all `models` together."""


class Measured(Protocol):
    """What is known of endpoints, by their ids, over the last five minutes; None: nothing."""

    def throughput(self, endpoint: str) -> Percentiles | None:
        """Tokens a second."""
        ...

    def latency(self, endpoint: str) -> Percentiles | None:
        """Seconds to the first content."""
        ...


class _Unmeasured:
    def throughput(self, endpoint: str) -> Percentiles | None: ...
    def latency(self, endpoint: str) -> Percentiles | None: ...


UNMEASURED: Measured = _Unmeasured()


class Preferences(msgspec.Struct, frozen=True, omit_defaults=True):
    """The `provider` object. Hashable, since plans are remembered by it; `options` says nothing to a plan."""

    order: Slugs | None = None
    allow_fallbacks: bool | None = None
    only: Slugs | None = None
    ignore: Slugs | None = None
    require_parameters: bool | None = None
    data_collection: Literal["allow", "deny"] | None = None
    zdr: bool | None = None
    enforce_distillable_text: bool | None = None
    quantizations: Annotated[tuple[Quantization, ...], msgspec.Meta(max_length=SLUGS_MAX)] | None = None
    max_price: MaxPrice | None = None
    sort: By | Sort | None = None
    preferred_min_throughput: Figure | Percentiles | None = None
    preferred_max_latency: Figure | Percentiles | None = None

    @property
    def data_class(self) -> DataClass:
        """How far a request may travel at most."""
        if self.zdr:
            return DataClass.ZERO_RETENTION
        return DataClass.NO_TRAINING if self.data_collection == "deny" else DataClass.ANY

    @property
    def live(self) -> bool:
        """Whether the order depends on what was measured, so that it holds for a moment only."""
        soft = self.preferred_min_throughput, self.preferred_max_latency
        return _sort(self).by in ("throughput", "latency") or soft != (None, None)


_read = msgspec.json.Decoder(Preferences).decode
_SORTS = {by: Sort(by) for by in ("price", "throughput", "latency", "exacto")}
_UNSORTED = Sort()
_PRICES = {"prompt": "input", "completion": "output", "audio": "input_audio", "request": "request"}
"""Bounds of `max_price`, and the figures of a price that they bound."""


def parse(provider: msgspec.Raw) -> Preferences | None:
    """Read a `provider` object; None for `null` and for what asks for nothing. Raises InvalidRequest with the path."""
    if bytes(provider).strip() == b"null":
        return None
    try:
        found = _read(provider)
    except BROKEN as error:
        raise invalid(error, "provider") from None
    return None if found == Preferences() else found


# ---- who may serve


def matches(slug: str, endpoint: Endpoint) -> bool:
    """Whether a slug means an endpoint: its full slug, the base of one that is no tier, or our id of its provider."""
    slug, row = slug.lower(), endpoint.provider
    full = row.slug.lower()
    base, _, variant = full.partition("/")
    if slug in (full, row.id.lower()) or (slug == base and variant not in TIERS):
        return True
    return bool(row.region) and slug == f"{full}/{row.region}".lower()


def _named(slugs: Sequence[str] | None, endpoint: Endpoint) -> bool:
    return any(matches(slug, endpoint) for slug in slugs or ())


def refused_by(wish: Preferences, endpoint: Endpoint, parameters: frozenset[str] = frozenset()) -> Refusal | None:
    """Why an endpoint may not serve, as (reason, detail); None if it may. `parameters` are those that were sent."""
    if _named(wish.ignore, endpoint):
        return "allowed_providers", "`provider.ignore` names it"
    kept = DataClass(endpoint.ceiling)
    if wish.data_class > kept:
        kind = "zdr" if wish.zdr else "training"
        return f"data_policy:{kind}", f"asked for is `{wish.data_class.word}`, the endpoint's ceiling is `{kept.word}`"
    if endpoint.chooses:
        return None
    if wish.only and not _named(wish.only, endpoint):
        return "allowed_providers", f"`provider.only` names {_list(wish.only)}"
    if wish.order and wish.allow_fallbacks is False and not _named(wish.order, endpoint):
        return "allowed_providers", f"`provider.order` names {_list(wish.order)}, and `allow_fallbacks` is false"
    if wish.quantizations and (known := endpoint.quantization or "unknown") not in wish.quantizations:
        return "quantization", f"wanted is {_list(wish.quantizations)}; this is {known}"
    if wish.enforce_distillable_text:
        return "distillable_text", "nobody states that its author allows distillation"
    if wish.require_parameters and (missing := sorted(parameters - supported(endpoint))):
        return "require_parameters", f"it does not know {_list(missing)}"
    return None if wish.max_price is None else _too_dear(wish.max_price, endpoint)


def _list(words: Sequence[str]) -> str:
    return ", ".join(f"`{word}`" for word in words[:8]) + (" and others" if words[8:] else "")


def _too_dear(bound: MaxPrice, endpoint: Endpoint) -> Refusal | None:
    for name, figure in _PRICES.items():
        most, price = getattr(bound, name), endpoint.price
        if most is None:
            continue
        costs = None if price is None else getattr(price, figure)
        if costs is None and name == "audio" and price is not None:
            costs = price.input
        unit = "USD a request" if name == "request" else "USD per million tokens"
        if costs is None:
            return "max_price", f"`{name}` may cost {float(most):g} {unit}; its price is unknown"
        if costs > nanos(most):
            return "max_price", f"`{name}` may cost {float(most):g} {unit}; it costs {costs / NANOS_PER_USD:g}"
    return None


def relaxed(wish: Preferences) -> Iterator[tuple[str, Preferences]]:
    """These preferences without one of their hard constraints, each by its name in a request."""
    for name in _HARD:
        if getattr(wish, name) is not None:
            yield f"provider.{name}", msgspec.structs.replace(wish, **{name: None})


_HARD = (
    *("only", "ignore", "allow_fallbacks", "data_collection", "zdr", "quantizations", "max_price"),
    *("require_parameters", "enforce_distillable_text"),
)


# ---- in which order


def arranged(
    wish: Preferences,
    endpoints: Sequence[Endpoint],
    models: Mapping[str, int],
    measured: Measured = UNMEASURED,
) -> list[Endpoint]:
    """The same endpoints in the order that is wished for; what is not told apart stays as it was.

    `models` is the number of the model that an endpoint, by its id, was asked for under: those of the first go first.
    """
    sort = _sort(wish)
    apart = not (sort.by and sort.partition == "none") or bool(wish.order)

    def key(endpoint: Endpoint) -> tuple[float, ...]:
        model = models.get(endpoint.id, 0) if apart else 0
        if not wish.order:
            return _disappoints(wish, endpoint, measured), model, _value(sort.by, endpoint, measured)
        rank = next((rank for rank, slug in enumerate(wish.order) if matches(slug, endpoint)), len(wish.order))
        return model, rank, _disappoints(wish, endpoint, measured) if rank == len(wish.order) else 0

    return sorted(endpoints, key=key)


def _sort(wish: Preferences) -> Sort:
    return _SORTS[wish.sort] if isinstance(wish.sort, str) else wish.sort or _UNSORTED


def _value(by: By | None, endpoint: Endpoint, measured: Measured) -> float:
    """Less is better; what is unknown comes last."""
    match by:
        case "price":
            price = endpoint.price
            return inf if price is None or price.input is None or price.output is None else price.input + price.output
        case "throughput":
            found = measured.throughput(endpoint.id)
            return inf if found is None or found.p50 is None else -found.p50
        case "latency":
            found = measured.latency(endpoint.id)
            return inf if found is None or found.p50 is None else found.p50
        case _:
            return 0


def _disappoints(wish: Preferences, endpoint: Endpoint, measured: Measured) -> int:
    """0: it does what is preferred, 1: nobody knows, 2: it does not."""
    least, most = wish.preferred_min_throughput, wish.preferred_max_latency
    return max(
        0 if least is None else _short(_bounds(least), measured.throughput(endpoint.id), -1),
        0 if most is None else _short(_bounds(most), measured.latency(endpoint.id), 1),
    )


def _bounds(wanted: float | Percentiles) -> Percentiles:
    return wanted if isinstance(wanted, Percentiles) else Percentiles(p50=wanted)


def _short(bounds: Percentiles, found: Percentiles | None, sign: int) -> int:
    worst = 0
    for name in Percentiles.__struct_fields__:
        bound, figure = getattr(bounds, name), getattr(found, name, None)
        if bound is not None:
            worst = max(worst, 1 if figure is None else 2 * (sign * figure > sign * bound))
    return worst
