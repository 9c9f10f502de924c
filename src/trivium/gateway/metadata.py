"""Routing metadata: how a request was routed, put into its answer for callers who ask for it in a header.

Source: section 10 of OpenRouter's contract. What stands in an answer is added to its last bytes, whoever wrote them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from trivium.errors import TriviumError
from trivium.routing.names import AUTO
from trivium.transport.server import Fields

if TYPE_CHECKING:
    from trivium.catalog.rows import Endpoint
    from trivium.gateway.exchange import Exchange

_HEADERS = (b"x-openrouter-metadata", b"x-openrouter-experimental-metadata")
_DONE = re.compile(rb"data: ?\[DONE\]\s*\Z")
_CLOSE = re.compile(rb"\}[\s]*\Z")
MEMBER = b"openrouter_metadata"


def asked(fields: Fields) -> bool:
    """Whether a caller wants it; any other word than `enabled` is a no."""
    return any(fields.get(name, b"").strip().lower() == b"enabled" for name in _HEADERS)


def annotated(last: bytes, exchange: Exchange, error: TriviumError | None = None) -> bytes:
    """The last bytes of an answer with the metadata as a member of their last object: a whole body, or the last frame
    before a stream's marker. A stream that ends with the marker alone gets a chunk of its own before it."""
    if error is not None and error.status == 500:
        return last
    told = b'"%b":%b' % (MEMBER, msgspec.json.encode(metadata(exchange, error)))
    marker = _DONE.search(last)
    end = marker.start() if marker else len(last)
    close = _CLOSE.search(last, 0, end)
    if close is not None:
        empty = last[: close.start()].rstrip().endswith(b"{")
        return b"".join((last[: close.start()], b"" if empty else b",", told, last[close.start() :]))
    if marker is None:
        return last
    head = {"id": exchange.id, "object": "chat.completion.chunk", "created": exchange.time_ms // 1000}
    chunk = msgspec.json.encode({**head, "model": exchange.model, "choices": []})
    return b"%bdata: %b,%b}\n\n%b" % (last[:end], chunk[:-1], told, last[end:])


def metadata(exchange: Exchange, error: TriviumError | None) -> dict[str, Any]:
    """The object; with an error no endpoint is selected."""
    plan, failures = exchange.plan, exchange.failures
    endpoints = plan.endpoints if plan else ()
    served = endpoints[exchange.position] if endpoints and error is None else None
    rejected = plan.rejected if plan else ()
    attempts = [{**_place(endpoint), "status": failure.status} for endpoint, failure in failures]
    if served is not None:
        attempts.append({**_place(served), "status": 200})
    return {
        "requested": exchange.model,
        "strategy": _strategy(exchange),
        "region": None,
        "summary": _summary(len(endpoints), len(rejected), served, error),
        "attempt": exchange.attempts,
        "is_byok": False,
        "generation_time": exchange.elapsed_ns() // 1_000_000,
        "endpoints": {
            "total": len(endpoints) + len(rejected),
            "available": [{**_place(one), "selected": one is served} for one in endpoints],
        },
        "attempts": attempts,
        "params": {},
        "rejected": [{"endpoint": one.endpoint, "reason": one.reason, "detail": one.detail} for one in rejected],
        "dropped": list(exchange.losses),
    }


def _place(endpoint: Endpoint) -> dict[str, Any]:
    return {"provider": endpoint.provider.name or endpoint.provider.id, "model": endpoint.id}


def _strategy(exchange: Exchange) -> str:
    if exchange.model == AUTO:
        return "auto"
    if exchange.head is not None and exchange.head.models:
        return "fallback"
    named = exchange.plan is not None and exchange.plan.route.targets != (exchange.plan.route.name,)
    return "alias" if named else "direct"


def _summary(usable: int, rejected: int, served: Endpoint | None, error: TriviumError | None) -> str:
    pool = f"{usable} of {usable + rejected} endpoints could serve"
    if served is not None:
        return f"{pool}; `{served.id}` did"
    return f"{pool}; {error.kind if error else 'none did'}"
