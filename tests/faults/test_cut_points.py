"""Case 12 in full: a stream cut after every number of pieces, in three ways."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from faults import driver
from faults.cases import CUT, CUT_POINTS, Case, Cell, after_content, either, failed, rescued

KINDS = ("cut-after", "clean-cut-after", "close-cut-after")
CASES = [
    Case(12, f"{kind}-{count}", after_content(CUT) if count else either(rescued(), failed(CUT)), surfaces=("gateway",))
    for kind in KINDS
    for count in CUT_POINTS
]
CELLS = [cell for cell in driver.all_cells("gateway", CASES) if cell.stream]


@pytest.fixture(scope="module")
def bench() -> Iterator[driver.GatewayBench]:
    with driver.gateway_bench(CELLS) as bench:
        yield bench


@pytest.mark.long
@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.id)
def test_a_cut(bench: driver.GatewayBench, cell: Cell) -> None:
    driver.run(bench, cell)
