"""The owner's threads."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from trivium.config.schema import Config, Ledger
from trivium.errors import ConfigError, LedgerUnavailable
from trivium.gateway import owner
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


def test_a_defect_is_told_to_who_asked_and_does_not_end_the_thread(
    ledger: LedgerThread, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ZeroDivisionError):
        ledger.submit(lambda _store, _loader: 1 // 0).result(10)
    assert "Traceback" in caplog.text
    assert ledger.submit(lambda _store, _loader: "still here").result(10) == "still here"


def test_who_asks_a_ledger_that_cannot_be_opened_is_told_until_it_can(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "home" / "ledger.db").mkdir(parents=True)
    thread = LedgerThread(Config(home=tmp_path / "home"))
    for _ in range(2):
        with pytest.raises(LedgerUnavailable):
            thread.submit(lambda _store, _loader: None).result(10)
    assert len(caplog.records) == 1
    (tmp_path / "home" / "ledger.db").rmdir()
    assert thread.submit(lambda _store, _loader: "opened").result(10) == "opened"
    thread.close()


def test_a_ledger_of_another_kind_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    thread = LedgerThread(Config(home=tmp_path / "home", ledger=Ledger(url="postgresql://x/y")))
    with pytest.raises(ConfigError):
        thread.submit(lambda _store, _loader: None).result(10)
    thread.close()
    assert "postgresql" in caplog.text


def test_an_owner_whose_thread_cannot_make_a_loop_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def none_left() -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(owner, "new_event_loop", none_left)
    made = owner.Owner(Config(home=tmp_path / "home"))
    started = threading.Thread(target=made.start, daemon=True)
    started.start()
    started.join(10)
    assert not started.is_alive()
    made.close()
    assert "Too many open files" in caplog.text
