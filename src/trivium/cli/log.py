"""`trivium log`: requests, the newest first, each with its attempts."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from trivium.cli.data import ledger, since_ms
from trivium.cli.terminal import OPTIONS, Options, duration, note, print_rows, print_table
from trivium.errors import NotFound
from trivium.ledger import query
from trivium.ledger.query import AttemptRow, LogRow
from trivium.types.money import dollars


def log(
    *,
    limit: Annotated[int, Parameter(name=["--limit", "-n"], validator=Number(gte=1, lt=1 << 63))] = 20,
    since: str | None = None,
    id: str | None = None,  # noqa: A002  # the option's name
    options: Options = OPTIONS,
) -> None:
    """List requests, the newest first. What was said is not kept, so it is not shown.

    Args:
        limit: How many at most.
        since: From when: `7d`, `12h`, or a date such as 2026-11-23.
        id: One request, by the generation id that its answer carried.
    """
    with ledger(options.load()) as store:
        rows = query.log(store, limit=limit, since_ms=since_ms(since), id=id)
    if id is not None and not rows:
        raise NotFound(f"No ended request has the id `{id[:80]}`.", remedy="`trivium log` lists the latest.")
    columns = ("time", "asked for", "answered by", "outcome", "in", "out", "cost", "took")
    print_rows(rows, columns, _cells, json=options.json, right=columns[4:])
    if options.json:
        return
    if id is not None:
        show_attempts(rows[0])
    elif not rows:
        note("No request has ended yet.")


def _cells(row: LogRow) -> list[object]:
    outcome = row.error or row.outcome
    fallback = f" (fallback: {row.fallback})" if row.fallback else ""
    figures = (row.input_tokens, row.output_tokens, dollars(row.cost_nanos), duration(row.duration_ms / 1000))
    when = row.time[:19].replace("T", " ")
    return [when, row.requested_model, row.endpoint or "-", outcome + fallback, *figures]


def show_attempts(row: LogRow) -> None:
    """The attempts of a request, as a table."""
    columns = ("attempt", "endpoint", "road", "outcome", "status", "cost", "price of", "first content", "took")
    right = ("status", "cost", "first content", "took")
    print_table(columns, map(_attempt_cells, row.attempts), right=right)
    dropped = ", ".join(row.dropped) or "nothing"
    note(f"id {row.id}, dialect {row.dialect}, data class {row.data_class}, dropped: {dropped}")


def _attempt_cells(row: AttemptRow) -> list[object]:
    first = "-" if row.ttft_ms is None else duration(row.ttft_ms / 1000)
    outcome, status = row.error or row.outcome or "under way", row.upstream_status or "-"
    figures = (status, dollars(row.cost_nanos), row.price_version, first, duration(row.duration_ms / 1000))
    return [row.attempt, row.endpoint, row.road, outcome, *figures]
