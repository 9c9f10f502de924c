"""What OpenRouter's clients ask of the ledger: a generation, a key, credits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from trivium.errors import NotFound
from trivium.gateway.runtime import Runtime
from trivium.ledger.query import LogRow
from trivium.policy.key import Key

_UNTOLD = dict.fromkeys(
    (
        *("app_id", "cache_discount", "data_region", "external_user", "http_referer", "moderation_latency"),
        *("native_tokens_completion_images", "num_fetches", "num_input_audio_prompt", "num_media_completion"),
        *("num_media_prompt", "num_search_results", "preset_id", "router", "service_tier", "session_id"),
        *("user_agent", "web_search_engine", "workspace_id"),
    )
)
"""What its clients' types want to be there, and the ledger does not keep."""


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


_SPANS = ("usage", "usage_daily", "usage_weekly", "usage_monthly")
_PLAIN_KEY: dict[str, Any] = {
    "is_free_tier": False,
    "is_management_key": False,
    "is_provisioning_key": False,
    "include_byok_in_limit": False,
    "creator_user_id": None,
    "organization_id": None,
    "workspace_id": None,
    "allowed_data_regions": [],
    "budgets": [],
    "effective_budget": None,
    "free_model_daily_requests": {"limit": 0, "used": 0, "remaining": 0},
}
"""What a key of a configuration file is: no budget, nobody's account."""


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
            **dict(zip(_SPANS, spent, strict=True)),
            **{f"byok_{span}": 0.0 for span in _SPANS},
            **_PLAIN_KEY,
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
