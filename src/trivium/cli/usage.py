"""`trivium usage`: requests, tokens and money, summed."""

from __future__ import annotations

from functools import partial
from typing import get_args

import msgspec

from trivium.cli.data import ledger, since_ms
from trivium.cli.terminal import OPTIONS, Options, note, print_rows
from trivium.errors import UsageError
from trivium.ledger import query
from trivium.ledger.query import By, UsageRow
from trivium.types.money import dollars


def usage(*, by: str = "day,model", since: str | None = None, options: Options = OPTIONS) -> None:
    """Sum up what was asked, over whole UTC days.

    Args:
        by: What to sum by, separated by commas: day, model, provider, road, key.
        since: From when: `7d`, `12h`, or a date such as 2026-11-23.
    """
    groups, start = groups_of(by), since_ms(since)
    with ledger(options.load()) as store:
        rows = query.usage(store, by=groups, since_ms=start)
    figures = ("requests", "errors", "input", "output", "cached", "cost")
    print_rows(rows, (*groups, *figures), partial(_cells, groups), json=options.json, right=figures)
    unknown, held = sum(row.unknown_cost for row in rows), sum(row.held_nanos for row in rows)
    if unknown and not options.json:
        note(f"The cost of {unknown} attempts is unknown and not in the sums; known bounds: {dollars(held)}.")


def groups_of(text: str) -> tuple[By, ...]:
    """`day,model` as columns; raises UsageError for one that there is not."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    try:
        return msgspec.convert(words, tuple[By, ...])
    except msgspec.ValidationError:
        known = ", ".join(get_args(By))
        raise UsageError(f"`--by {text[:80]}` is not known.", remedy=f"Sum by any of {known}.") from None


def _cells(groups: tuple[By, ...], row: UsageRow) -> list[object]:
    names = [getattr(row, name) or "-" for name in groups]
    cost = dollars(row.cost_nanos) + (" + unknown" if row.unknown_cost else "")
    return [*names, row.requests, row.errors, row.input_tokens, row.output_tokens, row.cache_read_tokens, cost]
