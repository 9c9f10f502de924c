"""What OpenRouter's clients ask beside answers: models with their endpoints, a generation, a key, credits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from trivium.catalog.rows import Endpoint, Price
from trivium.dialects.openai_chat.openrouter import model_object
from trivium.errors import NotFound
from trivium.gateway.models import askable
from trivium.gateway.runtime import Runtime
from trivium.gateway.snapshot import Snapshot
from trivium.ledger.query import LogRow
from trivium.policy.key import Key
from trivium.routing.names import parse as parse_name

_UNKNOWN = {"prompt": "-1", "completion": "-1"}
_UNMEASURED = dict.fromkeys(
    ("latency_last_30m", "throughput_last_30m", "uptime_last_5m", "uptime_last_30m", "uptime_last_1d")
)
_UNTOLD = dict.fromkeys(
    (
        *("app_id", "cache_discount", "data_region", "external_user", "http_referer", "moderation_latency"),
        *("native_tokens_completion_images", "num_fetches", "num_input_audio_prompt", "num_media_completion"),
        *("num_media_prompt", "num_search_results", "preset_id", "router", "service_tier", "session_id"),
        *("user_agent", "web_search_engine", "workspace_id"),
    )
)
"""What its clients' types want to be there, and the ledger does not keep."""


def pricing(price: Price | None) -> dict[str, str]:
    """USD a token, as texts; -1 where that is unknown."""
    if price is None or price.input is None or price.output is None:
        return _UNKNOWN
    named = {
        "prompt": price.input,
        "completion": price.output,
        "input_cache_read": price.cache_read,
        "input_cache_write": price.cache_write,
    }
    wire = {name: _usd(nanos) for name, nanos in named.items() if nanos is not None}
    return wire | {"request": f"{price.request / 1e9:.9f}".rstrip("0").rstrip(".")}


def _usd(nanos_per_million: int) -> str:
    """Nano-dollars per million tokens as dollars a token, exactly: 15 decimal places hold all of it."""
    text = f"{nanos_per_million // 10**15}.{nanos_per_million % 10**15:015d}"
    return text.rstrip("0").rstrip(".")


def priced(snapshot: Snapshot, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of models with price and context of those that are one endpoint."""
    return [row | _facts(snapshot, row["id"]) for row in rows]


def _facts(snapshot: Snapshot, name: str) -> dict[str, Any]:
    targets = snapshot.route(name).targets
    found = snapshot.endpoint(targets[0]) if targets == (name,) else None
    return {"pricing": pricing(found.price), "context": found.context} if isinstance(found, Endpoint) else {}


def endpoints(snapshot: Snapshot, key: Key | None, slug: str) -> dict[str, Any]:
    """A model by its `author/slug` with all endpoints that a key may ask. Raises NotFound."""
    usable = askable(snapshot, key, slug, slugs=True)
    if snapshot.route(slug).targets == (slug,) and parse_name(slug, snapshot.config.providers) is None:
        # A routing service is asked for any slug, but only what the catalog has is known to be one.
        usable = tuple(one for one in usable if snapshot.catalog.model(one.provider.id, one.model) is not None)
    if not usable:
        raise NotFound(f"There is no model `{slug[:200]}`.", remedy="`/api/v1/models` lists them.", param="model")
    first = usable[0]
    model = model_object({"id": slug, "context": first.context, "pricing": pricing(first.price)})
    return {"data": {**model, "endpoints": [_endpoint(slug, endpoint) for endpoint in usable]}}


def _endpoint(slug: str, endpoint: Endpoint) -> dict[str, Any]:
    row = endpoint.provider
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
        "quantization": None,
        "service_tier": None,
        "status": 0,
        "supported_parameters": [],
        "supports_implicit_caching": False,
        "supports_diarization": False,
        "supports_tool_choice": dict.fromkeys(
            ("auto", "none", "required", "function"), "tools" in endpoint.capabilities
        ),
        "native_tools": {},
        **_UNMEASURED,
    }


async def generation(runtime: Runtime, key: Key | None, id_: str) -> dict[str, Any]:
    """What the ledger has of a request, by its generation id; others' requests are not shown. Raises NotFound."""
    told = await runtime.owner.call("generation", generation=id_)
    row = None if told is None else msgspec.convert(told, LogRow)
    if row is None or (key is not None and row.key != key.name):
        raise NotFound(
            f"There is no generation `{id_[:60]}`.", remedy="Use the `id` of an answer that has ended.", param="id"
        )
    ended = row.attempts[-1] if row.attempts else None
    return {
        "data": {
            **_UNTOLD,
            "id": row.id,
            "request_id": row.id,
            "upstream_id": ended.upstream_id if ended else None,
            "created_at": row.time,
            "model": row.requested_model,
            "provider_name": row.provider,
            "api_type": "completions",
            "origin": "",
            "streamed": row.stream,
            "cancelled": row.outcome == "aborted_by_client",
            "finish_reason": ended.finish_reason if ended else None,
            "native_finish_reason": ended.finish_reason if ended else None,
            "total_cost": row.cost_usd,
            "usage": row.cost_usd,
            "upstream_inference_cost": row.cost_usd,
            "is_byok": False,
            "tokens_prompt": row.input_tokens,
            "tokens_completion": row.output_tokens,
            "native_tokens_prompt": row.input_tokens,
            "native_tokens_completion": row.output_tokens,
            "native_tokens_reasoning": sum(attempt.reasoning_tokens for attempt in row.attempts),
            "native_tokens_cached": sum(attempt.cache_read_tokens for attempt in row.attempts),
            "latency": row.ttft_ms,
            "generation_time": row.duration_ms,
            "provider_responses": [
                {"provider_name": attempt.provider, "status": attempt.upstream_status, "latency": attempt.ttft_ms}
                for attempt in row.attempts
            ],
        }
    }


async def key_of(runtime: Runtime, key: Key | None, now: datetime) -> dict[str, Any]:
    """A caller's key: what it has spent by day, week and month (UTC); a server without keys answers for all."""
    day = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    starts = [None, day, day - timedelta(days=day.weekday()), day.replace(day=1)]
    spent = await _spent(runtime, key, starts)
    return {
        "data": {
            "label": key.name if key else "no key",
            "limit": None,
            "limit_remaining": None,
            "limit_reset": None,
            **dict(zip(("usage", "usage_daily", "usage_weekly", "usage_monthly"), spent, strict=True)),
            "is_free_tier": False,
            "is_management_key": False,
            "expires_at": datetime.fromtimestamp(key.expires_s, UTC).isoformat() if key and key.expires_s else None,
            "rate_limit": {"requests": -1, "interval": "10s", "note": "deprecated"},
        }
    }


async def credits(runtime: Runtime, key: Key | None) -> dict[str, Any]:  # noqa: A001  # its name on that wire
    """What was spent; there is nothing to spend from."""
    (spent,) = await _spent(runtime, key, [None])
    return {"data": {"total_credits": None, "total_usage": spent}}


async def _spent(runtime: Runtime, key: Key | None, starts: list[datetime | None]) -> list[float]:
    """USD since each of these moments; None: ever."""
    since = [0 if start is None else int(start.timestamp() * 1000) for start in starts]
    told: list[int] = await runtime.owner.call("spent_by_key", key=key.name if key else None, since_ms=since)
    return [nanos / 1e9 for nanos in told]
