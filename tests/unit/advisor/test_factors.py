"""The factor table: figures from what is known, reasons where nothing is, and never a guess."""

from __future__ import annotations

from typing import Any

import pytest

from trivium.advisor.factors import ROADS, Factor, Known, Measured, blended_nanos, factors
from trivium.catalog.rows import Endpoint, Price, Provider
from trivium.config.schema import Local
from trivium.types.data import Access, DataClass

PRICE = Price(input=1_000_000_000, output=5_000_000_000, version="2026-11-01")


def endpoint(road: Access, price: Price | None = PRICE, **more: Any) -> Endpoint:
    facts: dict[str, Any] = {"id": f"{road}/m", "ceiling": DataClass.ANY, "price": price}
    rest = {"model": "m", "context": None, "max_output": None, "capabilities": frozenset[str]()}
    return Endpoint(
        provider=Provider(id=road, access=road, base_url="https://example.com/v1"), **rest, **(facts | more)
    )


def table(*endpoints: Endpoint, machine: Local | None = None, **measured: Measured) -> dict[str, Factor]:
    roads: dict[Access, tuple[Endpoint, ...]] = {r: tuple(e for e in endpoints if e.access == r) for r in ROADS}
    seen: dict[Access, Measured] = {road: measured.get(road, Measured()) for road in ROADS}
    known = Known(endpoints=roads, measured=seen, local=machine or Local())
    return {factor.name.partition(" (")[0]: factor for factor in factors(known)}


def test_knowing_nothing_every_cell_is_a_reason() -> None:
    rows = table()
    assert [*rows] == ["cost, small scale", "cost, large scale", "latency", "control", "privacy"]
    assert {rows[name].direct.text for name in ("cost, small scale", "privacy")} == {"no key is set"}
    assert rows["latency"].direct.text == "not measured"
    assert {rows[name].local.text for name in rows} == {"no local model yet"}
    assert {cell.kind for row in rows.values() for cell in (row.direct, row.local)} <= {"unknown", "stated"}


def test_costs_are_modelled_from_dated_prices() -> None:
    assert blended_nanos(endpoint("direct")) == 2_000_000_000
    rows = table(endpoint("direct"), endpoint("routed"))
    assert rows["cost, small scale"].direct.text == "$2.00 (direct/m; 2026-11-01)"
    assert rows["cost, large scale"].direct.text.startswith("$2,000.00 ")
    assert rows["cost, small scale"].direct.kind == "modelled"
    # The fee is 5.5 %, and 0.80 USD at least.
    assert rows["cost, small scale"].routed.text.startswith("$2.80 ")
    assert rows["cost, large scale"].routed.text.startswith("$2,110.00 ")
    assert "top-up fee" in rows["cost, large scale"].routed.text


def test_several_prices_are_a_range_and_an_unknown_one_is_not_free() -> None:
    dear = Price(input=4_000_000_000, output=8_000_000_000, version="2026-11-01")
    rows = table(endpoint("direct", dear, id="direct/dear"), endpoint("direct"), endpoint("direct", None))
    assert rows["cost, small scale"].direct.text.startswith("$2.00 to $5.00 (direct/m to direct/dear;")
    assert table(endpoint("direct", None))["cost, small scale"].direct.text == "price unknown"


@pytest.mark.parametrize(
    ("local", "speed", "said"),
    [
        (Local(), 50.0, "set `[local] watts`"),
        (Local(watts=100, price_kwh=0.30), None, "ask the local model something first"),
        (Local(watts=100, price_kwh=0.30), 50.0, "$0.17 (electricity only, at 50 tokens/s)"),
        (Local(watts=100, price_kwh=0.30, purchase=2400, life_months=24), 50.0, "$100.17 (electricity and hardware"),
    ],
)
def test_local_tokens_cost_electricity_and_hardware_as_measured(local: Local, speed: float | None, said: str) -> None:
    rows = table(endpoint("local"), machine=local, local=Measured(tokens_per_s=speed))
    assert said in rows["cost, small scale"].local.text


def test_what_was_measured_is_said_with_its_count() -> None:
    rows = table(endpoint("direct"), direct=Measured(requests=12, ttft_ms_p50=345.6))
    assert (rows["latency"].direct.text, rows["latency"].direct.kind) == ("346 ms over 12 requests here", "measured")
    rows = table(endpoint("local"), local=Measured(requests=3, ttft_ms_p50=20, tokens_per_s=51.4))
    assert rows["latency"].local.text == "20 ms, 51 tokens/s over 3 requests here"


def test_privacy_says_the_ceilings_that_providers_state() -> None:
    rows = table(endpoint("direct", ceiling=DataClass.NO_TRAINING), endpoint("direct"), endpoint("routed"))
    assert rows["privacy"].direct.text == "up to `any`, `no_training` by the providers' stated policies"
    assert "the router's and the host's" in rows["privacy"].routed.text
