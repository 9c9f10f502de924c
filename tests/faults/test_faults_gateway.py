"""The fault table over the wire, at `trivium serve`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from faults import driver
from faults.cases import Cell

CELLS = driver.all_cells("gateway")


@pytest.fixture(scope="module")
def bench() -> Iterator[driver.GatewayBench]:
    with driver.gateway_bench(CELLS) as bench:
        yield bench


@pytest.mark.parametrize("cell", driver.params(CELLS))
def test_a_cell_of_the_table(bench: driver.GatewayBench, cell: Cell) -> None:
    driver.run(bench, cell)
