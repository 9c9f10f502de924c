"""The catalog as routing services list it: models, their endpoints and providers, with price, limits and policy.

Source: section 17 of OpenRouter's contract. What is not known is null, and a price that is not known -1.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from trivium.catalog.rows import Endpoint, Override, Price, Provider
from trivium.errors import InvalidRequest, NotFound
from trivium.gateway.models import askable, model_rows
from trivium.gateway.snapshot import Snapshot
from trivium.policy.key import Key
from trivium.routing.names import parse as parse_name
from trivium.routing.parameters import supported
from trivium.routing.preferences import matches
from trivium.routing.statistics import Performance
from trivium.types.data import DataClass

LIMIT_MAX = 1000
"""Models of one page."""
_UNKNOWN = {"prompt": "-1", "completion": "-1"}
_FIGURES = {
    "prompt": "input",
    "completion": "output",
    "input_cache_read": "cache_read",
    "input_cache_write": "cache_write",
    "input_cache_write_1h": "cache_write_1h",
    "audio": "input_audio",
    "audio_output": "output_audio",
}
"""Members of `pricing` that are USD a token, and the figures of ours."""
_INPUTS = {"images": "image", "audio": "audio", "files": "file"}

Listed = tuple[dict[str, Any], tuple[Endpoint, ...]]
"""A model as it is listed, and its endpoints."""


def pricing(price: Price | None) -> dict[str, Any]:
    """USD a token, as texts, before the discount; -1 where that is unknown."""
    if price is None or price.input is None or price.output is None:
        return dict(_UNKNOWN)
    wire: dict[str, Any] = _figures(price)
    if price.discount_ppm:
        wire["discount"] = price.discount_ppm / 1e6
    if price.overrides:
        wire["overrides"] = [_conditions(one) | _figures(one) for one in price.overrides]
    return wire


def _figures(price: Price | Override) -> dict[str, str]:
    named = {name: getattr(price, figure) for name, figure in _FIGURES.items()}
    wire = {name: _usd(nanos) for name, nanos in named.items() if nanos is not None}
    return wire if price.request is None else {**wire, "request": _plain(f"{price.request / 1e9:.9f}")}


def _conditions(one: Override) -> dict[str, Any]:
    named = {name: getattr(one, name) for name in ("min_prompt_tokens", "utc_start", "utc_end", "utc_days")}
    return {name: value for name, value in named.items() if value is not None and value != ()}


def _usd(nanos_per_million: int) -> str:
    """Nano-dollars per million tokens as dollars a token, exactly: 15 decimal places hold all of it."""
    return _plain(f"{nanos_per_million // 10**15}.{nanos_per_million % 10**15:015d}")


def _plain(text: str) -> str:
    return text.rstrip("0").rstrip(".")


# ---- models


def models(snapshot: Snapshot, key: Key | None, query: str, operation: str = "chat") -> bytes:
    """The answer of `GET /models`, with the query's filters, order and page. Raises InvalidRequest."""
    asked = {name: values[-1] for name, values in urllib.parse.parse_qs(query).items()}
    listed = _filtered(_listed(snapshot, key, operation), asked)
    limit, offset = _count(asked, "limit", LIMIT_MAX), _count(asked, "offset", 10**9) or 0
    page = listed[offset : offset + limit] if limit is not None else listed[offset:]
    more = limit is not None and offset + limit < len(listed)
    wanted = urllib.parse.urlencode({**asked, "limit": limit, "offset": offset + (limit or 0)})
    following = f"/api/v1/models?{wanted}" if more else None
    return msgspec.json.encode(
        {"data": [model for model, _ in page], "total_count": len(listed), "links": {"next": following}}
    )


def count(snapshot: Snapshot, key: Key | None, query: str) -> dict[str, Any]:
    asked = {name: values[-1] for name, values in urllib.parse.parse_qs(query).items()}
    return {"data": {"count": len(_filtered(_listed(snapshot, key, "chat"), asked))}}


def _listed(snapshot: Snapshot, key: Key | None, operation: str) -> list[Listed]:
    rows = model_rows(snapshot, key)
    known = {row["id"] for row in rows}
    if key is None or not key.models:  # such a key names just what it is allowed
        rows += [{"id": slug, "name": slug} for slug in sorted(snapshot.slugs - known)]
    listed = ((row, _endpoints(snapshot, row["id"])) for row in rows)
    return [(_model(row, found), found) for row, found in listed if _is_for(found, operation)]


def _endpoints(snapshot: Snapshot, name: str) -> tuple[Endpoint, ...]:
    found = map(snapshot.endpoint, snapshot.route(name, slugs=True).targets)
    return tuple(one for one in found if isinstance(one, Endpoint))


def _is_for(endpoints: tuple[Endpoint, ...], operation: str) -> bool:
    stated = [one.operations for one in endpoints if one.operations]
    return any(operation in one for one in stated) if stated or operation != "chat" else True


def _model(row: Mapping[str, Any], endpoints: tuple[Endpoint, ...]) -> dict[str, Any]:
    """One model in its shape, with the fields that clients rely on; its first endpoint stands for it."""
    first = endpoints[0] if endpoints else None
    inputs = ["text", *(word for name, word in _INPUTS.items() if first and name in first.capabilities)]
    context, most = (first.context, first.max_output) if first else (None, None)
    return {
        "id": row["id"],
        "canonical_slug": row["id"],
        "name": row.get("name") or row["id"],
        "created": row.get("created") or 0,
        "description": "",
        "context_length": context,
        "architecture": {
            "modality": f"{'+'.join(inputs)}->text",
            "input_modalities": inputs,
            "output_modalities": ["embeddings"] if first and "embed" in first.operations else ["text"],
            "tokenizer": "Other",
            "instruct_type": None,
        },
        "pricing": pricing(first.price if first else None),
        "top_provider": {"context_length": context, "max_completion_tokens": most, "is_moderated": False},
        "per_request_limits": None,
        "supported_parameters": sorted({name for one in endpoints for name in supported(one)}),
        "default_parameters": None,
        "supported_voices": None,
        "links": {"details": f"/api/v1/models/{row['id']}/endpoints"},
    }


# ---- filters


def _words(text: str) -> set[str]:
    return {word.strip().lower() for word in text.split(",")}


def _usd_per_million(model: dict[str, Any], name: str) -> float:
    return float(model["pricing"][name]) * 1e6


def _bound(member: str, sign: int) -> Callable[[Listed, str], bool]:
    """A bound of a price, from below (1) or above (-1); what has an unknown price is within none."""

    def holds(one: Listed, text: str) -> bool:
        price = _usd_per_million(one[0], member)
        return price >= 0 and sign * round(price, 9) >= sign * _number(text)

    return holds


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InvalidRequest(f"`{text[:40]}` is no number.", remedy="Send one.") from None


_FILTERS: dict[str, Callable[[Listed, str], bool]] = {
    "q": lambda one, text: text.lower() in f"{one[0]['id']} {one[0]['name']}".lower(),
    "context": lambda one, text: (one[0]["context_length"] or 0) >= _number(text),
    "supported_parameters": lambda one, text: _words(text) <= set(one[0]["supported_parameters"]),
    "input_modalities": lambda one, text: _words(text) <= set(one[0]["architecture"]["input_modalities"]),
    "output_modalities": lambda one, text: (
        text == "all" or bool(_words(text) & set(one[0]["architecture"]["output_modalities"]))
    ),
    "min_price": _bound("prompt", 1),
    "max_price": _bound("prompt", -1),
    "min_output_price": _bound("completion", 1),
    "max_output_price": _bound("completion", -1),
    "providers": lambda one, text: any(matches(slug, endpoint) for slug in _words(text) for endpoint in one[1]),
    "model_authors": lambda one, text: one[0]["id"].partition("/")[0].lower() in _words(text),
    "zdr": lambda one, text: text != "true" or any(e.ceiling >= DataClass.ZERO_RETENTION for e in one[1]),
    "region": lambda one, text: any((e.provider.region or "").startswith(text) for e in one[1]),
}
"""Members of the query that choose; others that the contract has are no reason to refuse."""
_SORTS: dict[str, tuple[Callable[[Listed], float], bool]] = {
    "pricing-low-to-high": (lambda one: _usd_per_million(one[0], "prompt"), False),
    "pricing-high-to-low": (lambda one: _usd_per_million(one[0], "prompt"), True),
    "context-high-to-low": (lambda one: one[0]["context_length"] or 0, True),
}
"""Orders that can be told; models of unknown price come last."""


def _filtered(listed: list[Listed], asked: Mapping[str, str]) -> list[Listed]:
    for name, text in asked.items():
        if name in _FILTERS:
            try:
                listed = [one for one in listed if _FILTERS[name](one, text)]
            except InvalidRequest as error:
                error.param = name
                raise
    key, reverse = _SORTS.get(asked.get("sort", ""), (None, False))
    if key is None:
        return listed
    return sorted(listed, key=lambda one: (key(one) < 0, -key(one) if reverse else key(one)))


def _count(asked: Mapping[str, str], name: str, most: int) -> int | None:
    text = asked.get(name)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or not (name == "offset" or 1 <= int(text[:9]) <= most):
        raise InvalidRequest(f"`{name}` is no number from 1 to {most}.", remedy="Correct it.", param=name)
    return int(text[:9])


# ---- endpoints and providers


Measured = Callable[[str], Performance | None]
"""What is known of an endpoint's doing, by its id."""


def endpoints(snapshot: Snapshot, key: Key | None, slug: str, measured: Measured) -> dict[str, Any]:
    """A model by its `author/slug` with all endpoints that a key may ask. Raises NotFound."""
    usable = askable(snapshot, key, slug, slugs=True)
    if snapshot.route(slug).targets == (slug,) and parse_name(slug, snapshot.config.providers) is None:
        # A routing service is asked for any slug, but only what the catalog has is known to be one.
        usable = tuple(one for one in usable if snapshot.catalog.model(one.provider.id, one.model) is not None)
    if not usable:
        raise NotFound(f"There is no model `{slug[:200]}`.", remedy="`/api/v1/models` lists them.", param="model")
    return {"data": {**_model({"id": slug}, usable), "endpoints": [_endpoint(slug, one, measured) for one in usable]}}


def zero_retention(snapshot: Snapshot, key: Key | None, measured: Measured) -> dict[str, Any]:
    """All endpoints that keep nothing."""
    found = {one.id: one for _, some in _listed(snapshot, key, "chat") for one in some}
    kept = (one for one in found.values() if one.ceiling >= DataClass.ZERO_RETENTION)
    return {"data": [_endpoint(one.id, one, measured) for one in kept]}


def providers(snapshot: Snapshot) -> dict[str, Any]:
    """Those that can be asked."""
    bound = snapshot.config.providers
    rows = [one.row for id_, one in bound.items() if one.has_key or id_ in snapshot.config.configured]
    return {"data": [_provider(row) for row in rows]}


def _provider(row: Provider) -> dict[str, Any]:
    untold = dict.fromkeys(("privacy_policy_url", "terms_of_service_url", "status_page_url", "datacenters"))
    return {"name": row.name or row.id, "slug": row.slug, "headquarters": row.jurisdiction, **untold}


def _endpoint(slug: str, endpoint: Endpoint, measured: Measured) -> dict[str, Any]:
    row, known = endpoint.provider, measured(endpoint.id)
    return {
        "name": f"{row.name or row.id} | {slug}",
        "tag": row.slug,
        "provider_name": row.name or row.id,
        "model_id": slug,
        "model_name": slug,
        "context_length": endpoint.context or 0,  # null is no number to its clients
        "max_prompt_tokens": None,
        "max_completion_tokens": endpoint.max_output,
        "pricing": pricing(endpoint.price),
        "quantization": endpoint.quantization,
        "service_tier": None,
        "status": 0,
        "supported_parameters": sorted(supported(endpoint)),
        "supports_implicit_caching": False,
        "supports_diarization": False,
        "supports_tool_choice": dict.fromkeys(
            ("auto", "none", "required", "function"), "tools" in endpoint.capabilities
        ),
        "native_tools": {},
        "latency_last_30m": _quantiles(known.latency_s, 1e3) if known else None,
        "throughput_last_30m": _quantiles(known.throughput, 1.0) if known else None,
        "uptime_last_5m": _percent(known.uptime_5m) if known else None,
        "uptime_last_30m": _percent(known.uptime_30m) if known else None,
        "uptime_last_1d": _percent(known.uptime_1d) if known else None,
    }


def _quantiles(found: dict[int, float] | None, times: float) -> dict[str, float] | None:
    return None if found is None else {f"p{quantile}": round(value * times, 1) for quantile, value in found.items()}


def _percent(share: float | None) -> float | None:
    return None if share is None else round(share * 100, 2)
