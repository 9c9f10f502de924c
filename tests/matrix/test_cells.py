"""Six dialects in, six out: what is asked in one and answered in another is right, or named as a loss."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from matrix.cells import CELLS, verdict, world
from matrix.features import DIALECTS
from support import Served


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with world(tmp_path_factory.mktemp("matrix")) as made:
        yield made


@pytest.mark.parametrize("upstream", DIALECTS)
@pytest.mark.parametrize("caller", DIALECTS)
@pytest.mark.parametrize("cell", CELLS)
def test_right_or_named(served: Served, cell: str, caller: str, upstream: str) -> None:
    assert verdict(served, cell, caller, upstream)
