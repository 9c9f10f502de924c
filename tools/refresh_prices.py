"""Writes src/trivium/catalog/prices.json from the installed genai-prices: `python tools/refresh_prices.py`.

Only what is true of every request fits a flat row: prices valid on the day of the refresh, the base tier where longer
prompts cost more, no off-peak hours. `counts` in the file says how many models each of these limits touched; a model
whose text price cannot be told by a flat row at all is left out, so that it stays unknown.
"""

from __future__ import annotations

import argparse
import datetime as dt
import tomllib
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from importlib import metadata
from pathlib import Path

import msgspec
from genai_prices import data, types

from trivium.types.money import nanos

CATALOG = Path(__file__).parent.parent / "src/trivium/catalog"
COLUMNS = (
    "input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok", "cache_write_1h_mtok",
    "input_audio_mtok", "output_audio_mtok",
)  # fmt: skip
TESTS = {
    types.ClauseEquals: "equals",
    types.ClauseStartsWith: "starts",
    types.ClauseEndsWith: "ends",
    types.ClauseContains: "contains",
    types.ClauseRegex: "regex",
}
# Kinds that a text request is not billed by, or is billed at the price of its direction if they are equal to it.
BESIDES = {
    "input_image_mtok": "input_mtok",
    "output_image_mtok": "output_mtok",
    "input_video_mtok": "input_mtok",
    "output_video_mtok": "output_mtok",
    "output_reasoning_mtok": "output_mtok",
    "output_citation_mtok": "output_mtok",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--date", type=dt.date.fromisoformat, default=dt.date.today())
    book = price_book(parser.parse_args().date)
    (CATALOG / "prices.json").write_bytes(msgspec.json.encode(book) + b"\n")
    print(book["version"], book["counts"])


def price_book(day: dt.date) -> dict[str, object]:
    """The content of prices.json, for the providers of the catalog. Raises SystemExit for one without prices."""
    rows = tomllib.loads((CATALOG / "providers.toml").read_text())["providers"]
    wanted = {row["prices_id"] for row in rows if "prices_id" in row}
    if missing := wanted - {provider.id for provider in data.providers}:
        raise SystemExit(f"genai-prices does not know {sorted(missing)}")
    counts: Counter[str] = Counter()
    prices = {p.id: price_list(p, day, counts) for p in data.providers if p.id in wanted}
    return {
        "version": f"genai-prices {metadata.version('genai-prices')}",
        "checked": day.isoformat(),
        "counts": dict(sorted(counts.items())),
        "providers": prices,
    }


def price_list(provider: types.Provider, day: dt.date, counts: Counter[str]) -> dict[str, object]:
    """One provider's rows, in genai-prices' order, because its first match wins."""
    rows: list[list[int | None]] = []
    exact: dict[str, int] = {}
    rules: list[tuple[int, list[tuple[str, str]]]] = []
    for model in provider.models:
        row = [] if (price := current(model, day, counts)) is None else columns(price, counts)
        counts["models" if row else "left_out"] += 1
        for clause in clauses(model.match):
            if len(clause) == 1 and clause[0][0] == "equals":
                exact.setdefault(clause[0][1].lower(), len(rows))
            else:
                rules.append((len(rows), clause))
        rows.append(trimmed([*(row or [None] * len(COLUMNS) + [0]), model.context_window]))
    return {"rows": rows, "exact": exact, "rules": rules}


def current(model: types.ModelInfo, day: dt.date, counts: Counter[str]) -> types.ModelPrice | None:
    """The price valid on a day, whatever the hour: of an off-peak price, the dearest."""
    if isinstance(model.prices, types.ModelPrice):
        return model.prices
    hourly = [p.prices for p in model.prices if isinstance(p.constraint, types.TimeOfDateConstraint)]
    dated = [p for p in model.prices if p.constraint is None or _has_begun(p.constraint, day)]
    if hourly:
        counts["hourly"] += 1
        return max([*hourly, dated[-1].prices], key=lambda price: base(price.output_mtok) or 0)
    return dated[-1].prices if dated else None


def _has_begun(constraint: object, day: dt.date) -> bool:
    return isinstance(constraint, types.StartDateConstraint) and constraint.start_date <= day


def columns(price: types.ModelPrice, counts: Counter[str]) -> list[int | None]:
    """The flat row without its context, or an empty one where a text request is billed by more than fits in it."""
    for kind, direction in BESIDES.items():
        if getattr(price, kind) is not None and base(getattr(price, kind)) != base(getattr(price, direction)):
            return []
    if price.input_mtok is None or (price.output_mtok is None and len(vars(price)) > 1):
        return []
    counts["tiered"] += any(isinstance(value, types.TieredPrices) for value in vars(price).values())
    values = [base(getattr(price, column)) for column in COLUMNS]
    # Embedding models have a price for input only, and no output to bill.
    values[1] = values[1] if values[1] is not None else 0
    per_thousand = base(price.requests_kcount)
    return [*values, (per_thousand or 0) // 1000]


def base(value: Decimal | types.TieredPrices | None) -> int | None:
    if value is None:
        return None
    return nanos(value.base if isinstance(value, types.TieredPrices) else value)


def clauses(match: object) -> Iterator[list[tuple[str, str]]]:
    """A match rule as alternatives, each a list of tests that must all hold."""
    if isinstance(match, types.ClauseOr):
        for part in match.or_:
            yield from clauses(part)
    elif isinstance(match, types.ClauseAnd):
        yield [test for part in match.and_ for clause in clauses(part) for test in clause]
    else:
        kind = TESTS[type(match)]
        text = next(iter(vars(match).values()))
        yield [(kind, text if kind == "regex" else text.lower())]


def trimmed(row: list[int | None]) -> list[int | None]:
    """Without unknowns at its end: the reader fills them in."""
    while row and row[-1] is None:
        row.pop()
    return row


if __name__ == "__main__":
    main()
