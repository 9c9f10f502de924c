"""One cell of each case at the default deadlines, over the wire."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from faults import driver
from faults.cases import Cell


def one_of_each() -> list[Cell]:
    """The streamed cell with a fallback of the first row of each case and fixture."""
    found: dict[tuple[int, str], Cell] = {}
    for cell in driver.all_cells("gateway"):
        if cell.stream and cell.fallback:
            found.setdefault((cell.case.number, cell.case.fixture), cell)
    return list(found.values())


CELLS = one_of_each()


@pytest.fixture(scope="module")
def bench() -> Iterator[driver.GatewayBench]:
    with driver.gateway_bench(CELLS, scale=1) as bench:
        yield bench


@pytest.mark.real_time
@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.id)
def test_a_case_at_its_defaults(bench: driver.GatewayBench, cell: Cell) -> None:
    driver.run(bench, cell)
