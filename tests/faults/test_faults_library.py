"""The fault table in a program, through `AsyncTrivium`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from faults import driver
from faults.cases import Cell

CELLS = driver.all_cells("library")


@pytest.fixture(scope="module")
def bench() -> Iterator[driver.LibraryBench]:
    with driver.library_bench(CELLS) as bench:
        yield bench


@pytest.mark.parametrize("cell", driver.params(CELLS))
def test_a_cell_of_the_table(bench: driver.LibraryBench, cell: Cell) -> None:
    driver.run(bench, cell)
