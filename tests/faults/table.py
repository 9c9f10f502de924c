"""The result table: asks every cell of the normal run and writes what was seen to a Markdown file.

    make faults-table            (python -m faults.table docs/faults.md, with tests/ on the path)

Exits with 1 if a cell failed. Seconds are at deadlines divided by 20, on the machine that the table names.
"""

from __future__ import annotations

import datetime as dt
import os
import platform
import sys
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from faults import driver
from faults.cases import FALLBACK_TEXT, SURFACES, Cell
from support import SCALE

TITLES = {
    1: "connect refused",
    2: "connect timeout",
    3: "TLS: expired, wrong host, self-signed, stalled",
    4: "names: none, failing, slow",
    6: "no response headers",
    7: "headers at 1 byte/s",
    11: "stall before and after content",
    12: "stream cut after content (FIN)",
    13: "cut before the first content",
    14: "RST in the body",
    15: "terminal marker missing",
    16: "spellings of SSE, broken JSON",
    17: "split and invalid UTF-8",
    18: "200 with an error",
    19: "error in the middle of a stream",
    22: "429 and how long to wait",
    25: "500, 502, 503, 504, 529",
    30: "keep-alive race",
}


HEAD = """\
# Fault tests: results

Written by `make faults-table` on {today}: {machine}. Deadlines are divided by {scale}; waits that stand in a header
are not. A cell that does not hold its own figure and the four invariants (alive, money, clean, truth) counts as failed.

*answered*: by the primary. *rescued*: by the fallback, the whole answer. *safe*: a typed error in the caller's dialect,
never a clean end. Cells are stream or whole, each dialect, library or gateway, with a fallback or without, for each row
of `tests/faults/cases.py`; of the forms of a 429 one cell each a surface.

| # | fault | cells | answered | rescued | safe | failed | p50 s | max s |
|---|---|---|---|---|---|---|---|---|"""
TAIL = """\
Callers who leave (32, 33), `kill -9` under load (34), SIGTERM (40), all cut points of case 12, the 10,000 requests of
case 30 and one cell of each case at the default deadlines are tests of their own in `tests/faults`: `make faults`.
"""


@dataclass
class Row:
    cells: int = 0
    seen: Counter[str] = field(default_factory=Counter[str])
    times: list[float] = field(default_factory=list[float])
    failures: list[str] = field(default_factory=list[str])


def verdict(seen: driver.Seen) -> str:
    """The outcome as the contract names it."""
    if seen.outcome == "answer":
        return "rescued" if seen.text == FALLBACK_TEXT else "answered"
    return "safe"


def ask(bench: driver.Bench, chosen: Iterable[Cell]) -> dict[int, Row]:
    rows: dict[int, Row] = {}
    for cell in chosen:
        row = rows.setdefault(cell.case.number, Row())
        row.cells += 1
        try:
            seen = driver.run(bench, cell)
        except AssertionError as error:
            row.failures.append(cell.id)
            print(f"\n{cell.id}: {error}"[:2000], file=sys.stderr)
        else:
            row.seen[verdict(seen)] += 1
            row.times.append(seen.elapsed_s)
    return rows


def normal(surface: str) -> list[Cell]:
    """The cells that are not left to the long run."""
    return [found.values[0] for found in driver.params(driver.all_cells(surface)) if not found.marks]


def render(rows: dict[int, Row]) -> str:
    today = dt.datetime.now(dt.UTC).date().isoformat()
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    lines = HEAD.format(today=today, machine=machine, scale=SCALE).splitlines()
    for number, row in sorted(rows.items()):
        seen, times = row.seen, row.times or [float("nan")]
        lines.append(
            f"| {number} | {TITLES[number]} | {row.cells} | {seen['answered']} | {seen['rescued']} | {seen['safe']} "
            f"| {len(row.failures)} | {median(times):.3f} | {max(times):.3f} |"
        )
    total = sum(row.cells for row in rows.values())
    failures = [failure for row in rows.values() for failure in row.failures]
    lines += ["", f"{total} cells, {len(failures)} failed."]
    lines += ["", *(f"* {failure}" for failure in failures)] if failures else []
    return "\n".join([*lines, "", TAIL])


def collect(surface: str) -> dict[int, Row]:
    chosen = normal(surface)
    opened: AbstractContextManager[driver.Bench] = (
        driver.gateway_bench(chosen) if surface == "gateway" else driver.library_bench(chosen)
    )
    with opened as bench:
        return ask(bench, chosen)


def added(one: Row, other: Row) -> Row:
    return Row(one.cells + other.cells, one.seen + other.seen, one.times + other.times, one.failures + other.failures)


def main(target: Path) -> int:
    rows: dict[int, Row] = {}
    with ProcessPoolExecutor(2) as pool:
        for part in pool.map(collect, SURFACES):
            rows = {number: added(rows.get(number, Row()), row) for number, row in part.items()}
    target.write_text(render(rows))
    print(target)
    return 1 if any(row.failures for row in rows.values()) else 0


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/faults.md")))
