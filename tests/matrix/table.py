"""The tables of `docs/dialects.md`: each pair of dialects asked once, and what a request can say between them.

    make dialects-table          (python -m matrix.table docs/dialects.md, with tests/ on the path)

Exits with 1 if a cell is neither right nor a named loss.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from matrix.cells import CELLS, verdict, world
from matrix.features import DIALECTS, FEATURES, all_fates

HEAD = """\
# Dialects: what goes between them

Written by `make dialects-table` from the code: the first table by asking a server over a fake upstream, the second by
translating each thing that a request can say. A loss is named in `x-trivium-dropped` and in the ledger, and is a 400
under `x-trivium-strict: 1`. The same dialect on both sides is passed byte for byte, save for the model's name.

## How each pair behaves

Rows: what is asked. Columns: the caller's dialect. A cell counts the six upstreams that answer right; *loss* names what
the others could not carry.
"""
MIDDLE = """
## What a request can say

Rows: one thing each. Columns: the caller's dialect. A letter stands for each upstream, in the order
{order}:
**k** kept, **f** fetched and sent as bytes, **~** said in other words and named, **x** dropped and named; `-` where the
caller's dialect cannot say it.
"""
LETTERS = {"kept": "k", "fetched": "f", "bent": "~", "dropped": "x", "unsaid": "-", "lost": "!"}


def row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def behaviour() -> tuple[list[str], int]:
    """The lines of the first table, and how many cells failed."""
    lines, failed = [row("", *(f"`{name}`" for name in DIALECTS)), row("---", *["---"] * len(DIALECTS))], 0
    with tempfile.TemporaryDirectory() as home, world(Path(home)) as served:
        for cell in CELLS:
            shown: list[str] = []
            for caller in DIALECTS:
                said: list[str] = []
                for upstream in DIALECTS:
                    try:
                        said.append(verdict(served, cell, caller, upstream))
                    except AssertionError as error:
                        failed += 1
                        said.append("failed")
                        print(f"{cell}, {caller} to {upstream}: {error}", file=sys.stderr)
                losses = sorted({word for word in said if word != "right"})
                shown.append(", ".join([f"{said.count('right')} of 6", *losses]))
            lines.append(row(cell, *shown))
    return lines, failed


def features() -> list[str]:
    fates = all_fates()
    lines = [row("", *(f"`{name}`" for name in DIALECTS)), row("---", *["---"] * len(DIALECTS))]
    for feature in FEATURES:
        cells = ["".join(LETTERS[fates[feature.name, caller, up].word] for up in DIALECTS) for caller in DIALECTS]
        lines.append(row(feature.name.replace("_", " "), *("-" if set(cell) == {"-"} else cell for cell in cells)))
    return lines


def main(path: str) -> int:
    lines, failed = behaviour()
    order = ", ".join(f"`{name}`" for name in DIALECTS)
    text = "\n".join([HEAD, *lines, MIDDLE.format(order=order), *features()]) + "\n"
    Path(path).write_text(text)
    print(text)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
