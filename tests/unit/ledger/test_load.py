from __future__ import annotations

import logging
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ledger_help import NOON_MS, closed, dump, id_of, load, reserved, rows, settled, whole
from trivium.errors import LedgerUnavailable
from trivium.ledger import load as load_module
from trivium.ledger import store as store_module
from trivium.ledger.journal import JournalWriter
from trivium.ledger.load import Loader
from trivium.ledger.record import FIGURE_MAX, Record
from trivium.ledger.segment import HEADER
from trivium.ledger.store import Store

TESTS = Path(__file__).parents[2]


def write(home: Path, *records: Record) -> JournalWriter:
    writer = JournalWriter(home / "journal")
    for record in records:
        writer.append(record)
    assert writer.flush()
    return writer


def outcomes(home: Path) -> list[tuple[str, int, str | None]]:
    return rows(home, "SELECT id, attempt, outcome FROM attempt ORDER BY id, attempt")  # pyright: ignore[reportReturnType]


def segments(home: Path) -> list[Path]:
    return sorted((home / "journal").glob("*.journal"))


def test_a_living_writer_is_loaded_as_far_as_it_came(tmp_path: Path) -> None:
    writer = write(tmp_path, *whole("a"), reserved("b"))
    assert load(tmp_path) == 4
    assert load(tmp_path) == 0
    assert outcomes(tmp_path) == [("a", 1, "ok"), ("b", 1, None)]
    writer.append(settled("b", outcome="aborted_by_client", error="client_closed_request"))
    writer.append(closed("b", status=499, error="client_closed_request"))
    writer.flush()
    assert load(tmp_path) == 2
    assert outcomes(tmp_path) == [("a", 1, "ok"), ("b", 1, "aborted_by_client")]
    assert rows(tmp_path, "SELECT * FROM open_request") == []
    assert len(segments(tmp_path)) == 1
    writer.close()
    assert load(tmp_path) == 0
    assert list((tmp_path / "journal").iterdir()) == []
    assert rows(tmp_path, "SELECT * FROM journal_offset") == []


def test_one_loader_stays_for_long(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "ledger.db")
    loader = Loader(tmp_path / "journal", store)
    assert loader.run_once() == 0
    writer = JournalWriter(tmp_path / "journal", segment_bytes=1_000)
    for number in range(40):
        for record in whole(id_of(number)):
            writer.append(record)
        writer.flush()
        assert loader.run_once() == 3
        assert len(segments(tmp_path)) <= 1
    writer.close()
    assert loader.run_once() == 0
    assert store.read("SELECT count(*) FROM attempt")[0][0] == 40
    store.close()


def test_what_a_dead_writer_left_open_is_unknown_at_its_bound(tmp_path: Path) -> None:
    a, b = id_of(1), id_of(2)
    write(
        tmp_path,
        reserved(a, 1),
        settled(a, 1, outcome="error", error="upstream_timeout", cost_nanos=0),
        reserved(a, 2, endpoint="home/tiny", provider="home", model="tiny", access="local", reserved_nanos=5_000),
        reserved(b, 1, reserved_nanos=None),
        settled(b, 1),
    ).close()
    load(tmp_path)
    assert outcomes(tmp_path) == [(a, 1, "error"), (a, 2, "unknown"), (b, 1, "ok")]
    assert rows(tmp_path, "SELECT reserved_nanos, cost_nanos FROM attempt WHERE outcome = 'unknown'") == [(5_000, None)]
    assert rows(tmp_path, "SELECT id, error, attempts, status FROM request ORDER BY id") == [
        (a, "unknown", 2, 0),
        (b, "unknown", 1, 0),
    ]
    assert rows(
        tmp_path,
        "SELECT model, requests, errors, attempts, failed_attempts, nanos, held_nanos, unknown_cost FROM daily"
        " ORDER BY model",
    ) == [("small", 1, 1, 2, 1, 700, 0, 0), ("tiny", 1, 1, 1, 1, 0, 5_000, 1)]
    store = Store.open(tmp_path / "ledger.db")
    assert store.spent_since(0) == 5_700
    store.close()


def test_a_reservation_and_its_settlement_may_lie_in_different_segments(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / "journal", segment_bytes=200)
    for record in whole("a"):
        writer.append(record)
        writer.flush()
        load(tmp_path)
    assert outcomes(tmp_path) == [("a", 1, "ok")]
    assert rows(tmp_path, "SELECT attempts, requests FROM daily") == [(1, 1)]
    writer.close()


def test_a_copy_of_a_journal_changes_nothing(tmp_path: Path) -> None:
    write(tmp_path, *whole("a"), reserved("b")).close()
    (saved,) = [(path.name, path.read_bytes()) for path in segments(tmp_path)]
    load(tmp_path)
    before = dump(tmp_path)
    (tmp_path / "journal" / saved[0]).write_bytes(saved[1])
    assert load(tmp_path) == 4
    assert dump(tmp_path) == before


def test_a_settlement_without_reservation_still_counts(tmp_path: Path) -> None:
    write(tmp_path, settled("a"), closed("a")).close()
    load(tmp_path)
    assert rows(tmp_path, "SELECT provider, outcome, cost_nanos FROM attempt") == [("", "ok", 700)]
    assert rows(tmp_path, "SELECT sum(nanos), sum(attempts), sum(requests) FROM daily") == [(700, 1, 1)]


def test_the_cost_that_the_upstream_names_is_the_bill(tmp_path: Path) -> None:
    write(tmp_path, reserved("a"), settled("a", cost_nanos=700, upstream_cost_nanos=650), closed("a")).close()
    load(tmp_path)
    assert rows(tmp_path, "SELECT nanos, unknown_cost FROM daily") == [(650, 0)]


def test_absurd_figures_do_not_stop_the_loader(tmp_path: Path) -> None:
    write(
        tmp_path,
        *(
            record
            for number in range(9)
            for record in (
                reserved(id_of(number), reserved_nanos=2**63),
                settled(id_of(number), cost_nanos=2**64 - 1, output_tokens=2**63),
                closed(id_of(number), cost_nanos=10**30),
            )
        ),
    ).close()
    load(tmp_path)
    assert rows(tmp_path, "SELECT nanos, output_tokens FROM daily") == [(9 * FIGURE_MAX, 9 * FIGURE_MAX)]


def test_a_record_larger_than_what_is_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_module, "_CHUNK_BYTES", 32)
    write(tmp_path, *whole("a"), *whole("b")).close()
    assert load(tmp_path) == 6


def test_a_torn_tail_ends_a_dead_journal_and_waits_in_a_living_one(tmp_path: Path) -> None:
    writer = write(tmp_path, *whole("a"))
    writer.append(reserved("b"))
    assert writer.flush()
    (path,) = segments(tmp_path)
    data = path.read_bytes()
    os.truncate(path, len(data) - 3)
    assert load(tmp_path) == 3
    assert load(tmp_path) == 0
    path.write_bytes(data)
    assert load(tmp_path) == 1
    os.truncate(path, len(data) + 5)
    path.write_bytes(data + path.read_bytes()[:5])
    writer.close()
    assert load(tmp_path) == 0
    assert list((tmp_path / "journal").iterdir()) == []
    assert outcomes(tmp_path) == [("a", 1, "ok"), ("b", 1, "unknown")]


def test_a_damaged_journal_is_loaded_up_to_there_and_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    writer = write(tmp_path, *whole("a"))
    for record in whole("b"):
        writer.append(record)
    writer.close()
    (path,) = segments(tmp_path)
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)
    with caplog.at_level(logging.ERROR, "trivium.ledger"):
        assert load(tmp_path) == 3
    assert "is damaged at byte" in caplog.text
    assert [path.name for path in (tmp_path / "journal").iterdir()] == [f"{path.name}.damaged"]
    assert load(tmp_path) == 0


def test_a_segment_of_another_version_stays_and_the_others_are_loaded(tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir()
    newer = tmp_path / "journal" / "00-1.000000.journal"
    newer.write_bytes(HEADER[:-1] + b"\x09" + b"?" * 40)
    write(tmp_path, *whole("a")).close()
    for _ in range(2):
        with pytest.raises(LedgerUnavailable, match="another version"):
            load(tmp_path)
        assert outcomes(tmp_path) == [("a", 1, "ok")]
        assert segments(tmp_path) == [newer]


def test_locks_without_a_journal_are_swept(tmp_path: Path) -> None:
    writer = write(tmp_path, *whole("a"))
    for name, age_s in (("old", 3_600), ("young", 0)):
        path = tmp_path / "journal" / f"{name}.lock"
        path.touch()
        os.utime(path, (time.time() - age_s,) * 2)
    load(tmp_path)
    assert sorted(path.name[:5] for path in (tmp_path / "journal").glob("*.lock") if "-" not in path.name) == ["young"]
    assert len(list((tmp_path / "journal").glob("*.lock"))) == 2
    writer.close()


def test_a_locked_database_costs_a_retry_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "BUSY_TIMEOUT_S", 0.05)
    store = Store.open(tmp_path / "ledger.db")
    loader = Loader(tmp_path / "journal", store)
    writer = write(tmp_path, *whole("a"))
    other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    for _ in range(3):
        with pytest.raises(LedgerUnavailable, match="locked"):
            loader.run_once()
        writer.append(reserved("b"))
        assert writer.flush()
    other.execute("ROLLBACK")
    other.close()
    assert loader.run_once() == 6
    store.close()
    writer.close()
    load(tmp_path)
    assert outcomes(tmp_path) == [("a", 1, "ok"), ("b", 1, "unknown")]


WRITING = """
import sys, time
from pathlib import Path
from ledger_help import id_of, whole
from trivium.ledger.journal import JournalWriter

writer = JournalWriter(Path(sys.argv[1]), segment_bytes=20_000)
number = 0
while True:
    for _ in range(7):
        for record in whole(id_of(number)):
            writer.append(record)
        number += 1
    assert writer.flush()
    print(number, flush=True)
    time.sleep(0.0005)
"""


def test_a_killed_writer_has_lost_nothing_that_it_flushed(tmp_path: Path) -> None:
    """While it writes, this process loads."""
    store = Store.open(tmp_path / "ledger.db")
    loader = Loader(tmp_path / "journal", store)
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", WRITING, str(tmp_path / "journal")],
            env=os.environ | {"PYTHONPATH": str(TESTS)},
            stdout=subprocess.PIPE,
        ) as child:
            assert child.stdout is not None
            flushed = 0
            while flushed < 200:
                flushed = int(child.stdout.readline())
                loader.run_once()
            child.kill()
            flushed = int((child.stdout.read().splitlines() or [flushed])[-1])
        loader.run_once()
        assert segments(tmp_path) == []
        count, closed_count = store.read("SELECT count(*), (SELECT count(*) FROM request) FROM attempt")[0]
        assert flushed <= count <= flushed + 7
        assert count == closed_count
        assert store.read("SELECT sum(nanos), sum(attempts), sum(requests) FROM daily")[0][:] == (
            700 * count,
            count,
            count,
        )
        store.writer.executescript("DELETE FROM attempt_fact; DELETE FROM request_fact; DELETE FROM daily")
    store.close()


LOADING = """
import os, signal, sys
from pathlib import Path
from trivium.ledger import load
from trivium.ledger.load import Loader
from trivium.ledger.store import Store

load._CHUNK_BYTES = 2_000
left = int(sys.argv[2])

def count(statement):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)

home = Path(sys.argv[1])
store = Store.open(home / "ledger.db")
store.writer.set_trace_callback(count)
Loader(home / "journal", store).run_once()
"""


def test_a_loader_killed_at_any_statement_loads_each_record_once(tmp_path: Path) -> None:
    expected = tmp_path / "expected"
    for home in (expected, tmp_path):
        write(home, *(r for number in range(12) for r in whole(id_of(number))), reserved(id_of(99))).close()
    load(expected)
    # Each time a little further, until one comes through.
    for statements in (3, 15, 30, 60, 90, 150, 10_000):
        done = subprocess.run(
            [sys.executable, "-c", LOADING, str(tmp_path), str(statements)],
            env=os.environ | {"PYTHONPATH": str(TESTS)},
            check=False,
            timeout=30,
        )
        assert done.returncode in (0, -9)
    assert done.returncode == 0
    assert dump(tmp_path) == dump(expected)
    assert segments(tmp_path) == []
    assert rows(tmp_path, "PRAGMA integrity_check") == [("ok",)]


def test_days_are_of_utc(tmp_path: Path) -> None:
    midnight = NOON_MS + 12 * 3_600_000
    for time_ms in (midnight - 1, midnight):
        id_ = id_of(1, time_ms)
        write(tmp_path, reserved(id_, time_ms=time_ms), settled(id_), closed(id_, time_ms=time_ms)).close()
    load(tmp_path)
    assert rows(tmp_path, "SELECT day, requests, attempts FROM daily ORDER BY day") == [
        ("2025-11-26", 1, 1),
        ("2025-11-27", 1, 1),
    ]
