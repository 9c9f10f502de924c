from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest

from ledger_help import NOON_MS, closed, dump, id_of, reserved, settled, together, whole
from trivium.errors import ConfigError, LedgerUnavailable
from trivium.ledger.journal import JournalWriter
from trivium.ledger.load import Loader
from trivium.ledger.record import Closed, Entry, Place, Reserved, Settled
from trivium.ledger.store import Store, migrate, migrations


def loaded(home: Path, *records: Entry, close: bool = True) -> Store:
    writer = JournalWriter(home / "journal")
    for record in records:
        writer.append(record)
    if close:
        writer.close()
    else:
        writer.flush()
    store = Store.open(home / "ledger.db")
    Loader(home / "journal", store).run_once()
    return store


def schema(store: Store) -> list[str]:
    return [row[0] for row in store.read("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name")]


def columns(store: Store, table: str) -> list[str]:
    return [row["name"] for row in store.read("SELECT name FROM pragma_table_info(?)", (table,))]


def test_all_its_files_are_the_owners(tmp_path: Path) -> None:
    store = loaded(tmp_path / "new" / "home", *whole("a"))
    files = [path for path in (tmp_path / "new" / "home").iterdir() if path.is_file()]
    assert {path.name for path in files} == {"ledger.db", "ledger.db-wal", "ledger.db-shm"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    store.close()


def test_how_it_is_opened(tmp_path: Path) -> None:
    with_url = Store.open(f"sqlite://{tmp_path}/a%20b.db")
    assert with_url.path == tmp_path / "a b.db"
    assert with_url.writer.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert with_url.writer.execute("PRAGMA synchronous").fetchone()[0] == 1
    with_url.close()


@pytest.mark.parametrize("url", ["postgresql://host/db", "sqlite://relative.db", "mysql:///x"])
def test_other_urls_are_refused_as_configuration(url: str) -> None:
    with pytest.raises(ConfigError, match="sqlite:///absolute/path"):
        Store.open(url)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"not a database, but long enough to be looked at" * 100)
    with pytest.raises(LedgerUnavailable, match="not a database"):
        Store.open(tmp_path / "ledger.db")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(LedgerUnavailable, match="Permission denied"):
        Store.open(tmp_path / "ledger.db")


def test_the_reader_cannot_write(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "ledger.db")
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        store.reader.execute("DELETE FROM request_fact")
    with pytest.raises(LedgerUnavailable, match="no such table"):
        store.read("SELECT * FROM nobody")
    store.close()


def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "ledger.db")
    store.writer.execute(f"PRAGMA user_version={len(migrations()) + 1}")
    store.close()
    with pytest.raises(ConfigError, match=r"newer Trivium \(ledger version") as caught:
        Store.open(tmp_path / "ledger.db")
    assert caught.value.exit_code == 78
    assert "Upgrade" in caught.value.remedy


def test_migrations_are_numbered_and_go_both_ways(tmp_path: Path) -> None:
    assert [int(up.name[:4]) for up, _ in migrations()] == list(range(1, len(migrations()) + 1))
    store = Store.open(tmp_path / "ledger.db")
    newest = schema(store)
    seen = [newest]
    for version in reversed(range(len(migrations()))):
        migrate(store.writer, store.path, to=version)
        seen.append(schema(store))
    assert seen[-1] == []
    for version in range(1, len(migrations()) + 1):
        migrate(store.writer, store.path, to=version)
        assert schema(store) == seen[len(migrations()) - version]
    store.close()


def test_a_migration_that_fails_leaves_the_version_before(tmp_path: Path) -> None:
    blank = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    blank.execute("CREATE TABLE daily (mine)")
    with pytest.raises(sqlite3.OperationalError, match="already exists"):
        migrate(blank, tmp_path / "ledger.db")
    assert blank.execute("PRAGMA user_version").fetchone()[0] == 0
    assert [row[0] for row in blank.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")] == ["daily"]
    blank.close()


def test_rows_survive_the_way_down_and_up_again(tmp_path: Path) -> None:
    unsaid: dict[str, Any] = {"operation": "", "max_output_tokens": None}  # what version 3 is for
    records = reserved("b"), settled("b"), closed("b", **unsaid)
    store = loaded(tmp_path, reserved("a"), together(settled("a"), closed("a", **unsaid)), *records, close=False)
    assert [row[0] for row in store.read("SELECT id FROM answer")] == ["a"]
    before = dump(tmp_path)
    migrate(store.writer, store.path, to=1)
    assert store.read("SELECT count(*) FROM attempt")[0][0] == 2
    migrate(store.writer, store.path)
    assert store.read("SELECT count(*) FROM answer")[0][0] == 0
    assert dump(tmp_path) == before
    store.close()


def test_kinds_that_differ_in_what_an_older_version_does_not_keep_become_one(tmp_path: Path) -> None:
    records = [record for needs in ("", "tools") for record in (*_begun(needs), closed(f"r{needs}", needs=needs))]
    store = loaded(tmp_path, *records, close=False)
    assert store.read("SELECT count(*) FROM request_kind")[0][0] == 2
    migrate(store.writer, store.path, to=2)
    assert store.read("SELECT count(*) FROM request_kind")[0][0] == 1
    assert store.read("SELECT count(*) FROM request WHERE requested_model = 'assistant'")[0][0] == 2
    store.close()


def _begun(needs: str) -> tuple[Reserved, Settled]:
    return reserved(f"r{needs}"), settled(f"r{needs}")


def test_columns_stand_in_the_order_of_the_records(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "ledger.db")
    begun, ended, asked = Reserved.__struct_fields__, Settled.__struct_fields__, Closed.__struct_fields__
    figures = ended.index("input_tokens")
    assert columns(store, "attempt_fact") == [*begun[:5], *ended[figures:], "kind"]
    assert columns(store, "attempt_kind") == ["kind", *Place.__struct_fields__, "key", "ended", *ended[4:figures]]
    assert columns(store, "request_fact") == [*asked[:4], "kind", asked[4]]
    assert columns(store, "request_kind") == ["kind", *asked[5:]]
    answer = [*asked[:3], "attempt_time_ms", *begun[3:5], *ended[figures:], "request_kind", "attempt_kind", asked[4]]
    assert [name.replace("attempt_dur", "dur") for name in columns(store, "answer")] == answer
    store.close()


def test_spent_counts_the_bound_where_the_cost_is_not_known(tmp_path: Path) -> None:
    auto = {"requested_model": "auto"}
    yesterday = NOON_MS - 86_400_000
    ids = [id_of(number) for number in range(6)]
    store = loaded(
        tmp_path,
        *(reserved(id_, reserved_nanos=10 ** (number + 2)) for number, id_ in enumerate(ids)),
        settled(ids[0], cost_nanos=1),
        closed(ids[0], **auto),
        settled(ids[1], cost_nanos=2, upstream_cost_nanos=3),
        closed(ids[1]),
        settled(ids[2], cost_nanos=None, outcome="error_midstream"),
        closed(ids[2], **auto),
        settled(ids[3], cost_nanos=None),
        closed(ids[3]),
        reserved(old := id_of(0, yesterday), time_ms=yesterday),
        settled(old),
        closed(old, time_ms=yesterday, **auto),
        close=False,
    )
    # Closed as auto: 1 + 10^4. As another: 3 + 10^5. Under way, for whom is not known: 10^6 + 10^7.
    assert store.spent_since(NOON_MS) == 11_110_004
    assert store.spent_since(NOON_MS, requested_model="auto") == 11_010_001
    assert store.spent_since(yesterday, requested_model="auto") == 11_010_701
    assert store.spent_since(NOON_MS + 1) == 0
    store.close()


@pytest.mark.parametrize("url", ["sqlite:///tmp/a%00b", "sqlite:///tmp/a\0b"])
def test_a_name_that_no_file_can_have_is_one_that_cannot_be_opened(url: str) -> None:
    with pytest.raises(LedgerUnavailable, match="cannot be opened"):
        Store.open(url)
