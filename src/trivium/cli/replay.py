"""`trivium replay`: recorded traffic through another configuration, and what would have been different."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter
from cyclopts.validators import Number

from trivium.advisor.difference import Figure, Move, SelfTest, difference, moves, self_test
from trivium.advisor.replay import partly_known, replayable
from trivium.advisor.replay import replay as run
from trivium.cli.data import ledger, since_ms
from trivium.cli.terminal import OPTIONS, Options, note, print_json, print_table
from trivium.config.schema import Config
from trivium.errors import UsageError
from trivium.gateway.gateway import snapshot_of
from trivium.ledger import query
from trivium.ledger.store import Store


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of `--json`."""

    requests: int
    partly_known: int
    """Replayed with what is known: not all that their plan was made for is kept."""
    left_out: int
    """They never came to the router."""
    self_test: SelfTest
    rows: list[Figure]
    moves: list[Move]


def replay(
    *,
    from_: Annotated[Path | None, Parameter(name="--from")] = None,
    was: Path | None = None,
    since: str | None = None,
    limit: Annotated[int, Parameter(name=["--limit", "-n"], validator=Number(gte=1, lt=1 << 63))] = 100_000,
    options: Options = OPTIONS,
) -> None:
    """Run recorded traffic through the configuration of `--config`; nothing is sent.

    First it runs through the configuration that it was served with, which must ask the same endpoints again.

    Parameters
    ----------
    from_
        The ledger, a database; without it that of this home.
    was
        The configuration that the traffic was served with; without it the one that is found without `--config`.
    since
        From when: `7d`, `12h`, or a date such as 2026-11-23.
    limit
        How many requests at most, the latest.
    """
    actual = dataclasses.replace(options, config=was).load()
    with _ledger(actual, from_) as store:
        rows = query.log(store, limit=limit, since_ms=since_ms(since))
    recorded = replayable(rows)
    same = run(recorded, snapshot_of(actual))
    other = run(recorded, snapshot_of(options.load())) if options.config else same
    report = Report(
        requests=len(recorded),
        partly_known=sum(map(partly_known, recorded)),
        left_out=len(rows) - len(recorded),
        self_test=self_test(same),
        rows=difference(other),
        moves=moves(other),
    )
    if options.json:
        print_json(report)
    else:
        _show(report)


@contextmanager
def _ledger(config: Config, path: Path | None) -> Generator[Store]:
    if path is None:
        with ledger(config) as store:
            yield store
        return
    if not path.is_file():
        raise UsageError(f"There is no ledger `{path}`.", remedy="Name a database, for example `ledger.db` of a home.")
    store = Store.open(path)
    try:
        yield store
    finally:
        store.close()


def _show(report: Report) -> None:
    test = report.self_test
    print(f"self-test: {test.reproduced} of {test.requests} requests ask the same endpoints again")
    columns = ("figure", "kind", "requests", "before", "after")
    cells = [(one.figure, one.kind, one.requests, _figure(one.before), _figure(one.after)) for one in report.rows]
    print_table(columns, cells, right=columns[2:])
    if report.moves:
        cells = [(one.before or "nobody", one.after or "nobody", one.requests) for one in report.moves]
        print_table(("first asked before", "after", "requests"), cells, right=("requests",))
    if test.differing:
        note(f"Asked differently by the same configuration: {', '.join(test.differing)}. Was it another one (`--was`)?")
    if report.partly_known:
        note(f"Of {report.partly_known} requests not all is kept that their plan was made for.")
    if report.left_out:
        note(f"{report.left_out} requests were refused before a plan, and are left out.")


def _figure(value: float | None) -> str | None:
    return None if value is None else f"{value:.6g}"
