"""The owner's threads."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from trivium.config.schema import Config
from trivium.gateway.owner import LedgerThread


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[LedgerThread]:
    thread = LedgerThread(Config(home=tmp_path / "home"))
    yield thread
    thread.close()


def test_who_asks_the_ledger_and_leaves_does_not_take_it_along(ledger: LedgerThread) -> None:
    busy, go_on = threading.Event(), threading.Event()
    first = ledger.submit(lambda _store, _loader: busy.set() or go_on.wait(10))
    assert busy.wait(10)
    second = ledger.submit(lambda _store, _loader: pytest.fail("nobody waits for this"))
    assert second.cancel()
    assert not first.cancel()
    go_on.set()
    assert ledger.submit(lambda _store, _loader: "still here").result(10) == "still here"
