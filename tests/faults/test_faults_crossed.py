"""The fault table where caller and upstream speak different dialects, so that all that comes is translated."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from faults import driver
from faults.cases import CASES, Cell

NUMBERS = (11, 12, 13, 14, 15, 16, 17, 18, 19, 25)
"""Those that an answer's way matters for."""
CELLS = driver.all_cells("gateway", [case for case in CASES if case.number in NUMBERS])


@pytest.fixture(scope="module")
def bench() -> Iterator[driver.GatewayBench]:
    with driver.gateway_bench(CELLS, kind=driver.CrossedBench) as bench:
        yield bench


@pytest.mark.parametrize("cell", driver.params(CELLS))
def test_a_cell_of_the_table(bench: driver.GatewayBench, cell: Cell) -> None:
    driver.run(bench, cell)
