"""The three roads at a glance: five factors by direct, routed and local, from what is known now.

Pure: everything comes in as arguments. A cell is a figure with where it comes from, or a sentence with its
reason; `not measured` is a legal cell, a guess is not.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from trivium.catalog.rows import Endpoint
from trivium.config.schema import Local
from trivium.types.data import Access
from trivium.types.money import NANOS_PER_USD

ROADS: tuple[Access, ...] = ("direct", "routed", "local")
SMALL_TOKENS, LARGE_TOKENS = 1_000_000, 1_000_000_000
"""Tokens a month: a developer's, and a product's."""
INPUT_SHARE = 0.75
"""Three tokens go in for one that comes out; what chat traffic is usually like."""
TOP_UP_SHARE, TOP_UP_USD_MIN = 0.055, 0.80
"""OpenRouter's fee on a card top-up, November 2026."""
HOURS_PER_MONTH = 730
NOT_MEASURED = "not measured"


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What this home's ledger says of a road. None: no traffic yet."""

    requests: int = 0
    ttft_ms_p50: float | None = None
    tokens_per_s: float | None = None


class Cell(msgspec.Struct, frozen=True):
    """`kind` is `measured`, `modelled` (from dated prices), `stated` or `unknown`."""

    text: str
    kind: str


class Factor(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    direct: Cell
    routed: Cell
    local: Cell


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What the advisor starts from. Endpoints are those that a key or a local model makes usable now."""

    endpoints: dict[Access, tuple[Endpoint, ...]]
    measured: dict[Access, Measured]
    local: Local


def factors(known: Known) -> tuple[Factor, ...]:
    """The table, in the order in which people ask."""
    return (
        _factor("cost, small scale (1 M tokens a month)", known, lambda road: _cost(known, road, SMALL_TOKENS)),
        _factor("cost, large scale (1 B tokens a month)", known, lambda road: _cost(known, road, LARGE_TOKENS)),
        _factor("latency (time to first token, then speed; p50)", known, lambda road: _latency(known, road)),
        _factor("control", known, lambda road: _CONTROL[road]),
        _factor("privacy", known, lambda road: _privacy(known, road)),
    )


def _factor(name: str, known: Known, cell: Callable[[Access], Cell]) -> Factor:
    cells = {
        road: cell(road) if known.endpoints.get(road) or road != "local" else Cell("no local model yet", "unknown")
        for road in ROADS
    }
    return Factor(name=name, **cells)


def blended_nanos(endpoint: Endpoint) -> float | None:
    """Nano-dollars for a million tokens, `INPUT_SHARE` of them in; None where the price is unknown."""
    price = endpoint.price
    if price is None or price.input is None or price.output is None:
        return None
    return price.input * INPUT_SHARE + price.output * (1 - INPUT_SHARE)


def _cost(known: Known, road: Access, tokens: int) -> Cell:
    if road == "local":
        return _local_cost(known, tokens)
    endpoints = known.endpoints.get(road, ())
    if not endpoints:
        return Cell("no key is set", "unknown")
    prices = [(cost, endpoint) for endpoint in endpoints if (cost := blended_nanos(endpoint)) is not None]
    if not prices:
        return Cell("price unknown", "unknown")
    low, high = min(prices, key=lambda p: p[0]), max(prices, key=lambda p: p[0])
    spans = [_with_fee(p[0] * tokens / 1e6 / NANOS_PER_USD, road) for p in (low, high)]
    version = low[1].price.version if low[1].price else ""
    what = f"{low[1].id}" if low[1].id == high[1].id else f"{low[1].id} to {high[1].id}"
    fee = f", with the {TOP_UP_SHARE:.1%} top-up fee" if road == "routed" else ""
    return Cell(f"{_usd_range(*spans)} ({what}; {version}{fee})", "modelled")


def _with_fee(usd: float, road: Access) -> float:
    return usd + max(usd * TOP_UP_SHARE, TOP_UP_USD_MIN) if road == "routed" else usd


def _local_cost(known: Known, tokens: int) -> Cell:
    speed = known.measured.get("local", Measured()).tokens_per_s
    local = known.local
    if local.watts is None or local.price_kwh is None:
        return Cell("not measured: set `[local] watts` and `price_kwh`", "unknown")
    if speed is None:
        return Cell(f"{NOT_MEASURED}: ask the local model something first", "unknown")
    hours = tokens / speed / 3600
    electricity = local.watts / 1000 * local.price_kwh * hours
    machines = hours / HOURS_PER_MONTH / (local.utilisation or 1)
    owned = 0.0
    if local.purchase is not None and local.life_months:
        owned = local.purchase / local.life_months * max(1.0, machines)
    need = f"; needs {machines:.1f} machines" if machines > 1 else ""
    kind = "electricity and hardware" if owned else "electricity only"
    return Cell(
        f"{_usd_range(electricity + owned, electricity + owned)} ({kind}, at {speed:.0f} tokens/s{need})", "modelled"
    )


def _latency(known: Known, road: Access) -> Cell:
    measured = known.measured.get(road, Measured())
    if measured.ttft_ms_p50 is None:
        return Cell(NOT_MEASURED, "unknown")
    speed = "" if measured.tokens_per_s is None else f", {measured.tokens_per_s:.0f} tokens/s"
    return Cell(f"{measured.ttft_ms_p50:.0f} ms{speed} over {measured.requests} requests here", "measured")


_CONTROL: dict[Access, Cell] = {
    "direct": Cell("the provider's models and limits; it retires models at its own dates", "stated"),
    "routed": Cell("many hosts behind one account; `provider` pins host and quantization", "stated"),
    "local": Cell("weights by hash, grammar and adapters; nothing is retired", "stated"),
}


def _privacy(known: Known, road: Access) -> Cell:
    if road == "local":
        return Cell("stays on this machine (`premises`), enforced where connections are handed out", "stated")
    classes = sorted({endpoint.ceiling for endpoint in known.endpoints.get(road, ())})
    if not classes:
        return Cell("no key is set", "unknown")
    stated = ", ".join(f"`{data_class.word}`" for data_class in classes)
    router = "; the router's and the host's policy both count" if road == "routed" else ""
    return Cell(f"up to {stated} by the providers' stated policies{router}", "stated")


def _usd_range(low: float, high: float) -> str:
    shown = [f"${amount:,.2f}" if amount >= 0.01 else f"${amount:.4f}" for amount in (low, high)]
    return shown[0] if shown[0] == shown[1] else f"{shown[0]} to {shown[1]}"
