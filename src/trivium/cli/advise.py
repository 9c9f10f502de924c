"""`trivium advise`: the three roads at a glance, from what is known now."""

from __future__ import annotations

from operator import attrgetter
from statistics import median

from trivium.advisor.factors import ROADS, Known, Measured, factors
from trivium.catalog.rows import Endpoint
from trivium.cli.data import ledger
from trivium.cli.terminal import OPTIONS, Options, note, print_rows
from trivium.config.schema import Config
from trivium.gateway.gateway import snapshot_of
from trivium.ledger.query import Throughput, throughput
from trivium.types.data import Access


def advise(*, options: Options = OPTIONS) -> None:
    """Compare direct, routed and local: cost at small and at large scale, latency, control, privacy."""
    config = options.load()
    with ledger(config) as store:
        seen = throughput(store, since_ms=0)
    table = factors(Known(endpoints=endpoints(config), measured=measured(seen), local=config.local))
    cells = attrgetter("name", *(f"{road}.text" for road in ROADS))
    print_rows(table, ("factor", *ROADS), cells, json=options.json)
    if not options.json:
        note(
            "Costs are modelled from dated prices: three tokens in for one out. Latency and speed are this home's own."
        )


def endpoints(config: Config) -> dict[Access, tuple[Endpoint, ...]]:
    """By road, what a key or a local model makes usable now: each provider's default and local models."""
    snapshot = snapshot_of(config)
    local = dict.fromkeys((*config.engines, *snapshot.local_models))
    names = [f"local/{name}" for name in local if snapshot.purpose(name) == "chat"]
    for id_, bound in config.providers.items():
        if bound.has_key and bound.row.default_model:
            names.append(f"{id_}/{bound.row.default_model}")
    found = [endpoint for name in names if isinstance(endpoint := snapshot.endpoint(name), Endpoint)]
    return {road: tuple(endpoint for endpoint in found if endpoint.access == road) for road in ROADS}


def measured(rows: list[Throughput]) -> dict[Access, Measured]:
    """What the ledger says, by road; a road without traffic has nothing measured."""
    return {road: _of([row for row in rows if row.road == road]) for road in ROADS}


def _of(rows: list[Throughput]) -> Measured:
    if not rows:
        return Measured()
    speeds = [row.tokens_per_s for row in rows if row.tokens_per_s is not None]
    return Measured(
        requests=sum(row.samples for row in rows),
        ttft_ms_p50=median(row.ttft_ms for row in rows),
        tokens_per_s=median(speeds) if speeds else None,
    )
