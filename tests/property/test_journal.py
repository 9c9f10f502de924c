"""Whatever is written, however it is cut and whenever loaders die: each record counts once."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from ledger_help import apart_all, closed, dump, id_of, reserved, settled, together
from trivium.errors import LedgerUnavailable
from trivium.ledger import load as load_module
from trivium.ledger.journal import JournalWriter
from trivium.ledger.load import Loader
from trivium.ledger.query import usage
from trivium.ledger.record import Closed, Entry, Reserved, Settled
from trivium.ledger.segment import HEADER, frame
from trivium.ledger.store import Store

nanos = st.none() | st.integers(0, 10**12)


@st.composite
def requests(draw: st.DrawFn) -> list[list[Entry]]:
    """Some requests, each with its records in order; some of them never end."""
    found: list[list[Entry]] = []
    for number in range(draw(st.integers(1, 6))):
        id_ = id_of(number)
        attempts = draw(st.integers(0, 3))
        records: list[Entry] = []
        for attempt in range(1, attempts + 1):
            records.append(reserved(id_, attempt, reserved_nanos=draw(nanos), model=draw(st.sampled_from("ab"))))
            outcome = draw(st.sampled_from(["ok", "error", "error_midstream", "aborted_by_client"]))
            records.append(
                settled(id_, attempt, outcome=outcome, cost_nanos=draw(nanos), upstream_cost_nanos=draw(nanos))
            )
        records.append(closed(id_, attempts=attempts, error=draw(st.sampled_from(["", "upstream_cut"]))))
        if attempts and draw(st.booleans()):
            *records, _, _ = records
            cost = draw(nanos)
            over = closed(id_, attempts=attempts, cost_nanos=draw(st.sampled_from([cost, 7])))
            records.append(together(settled(id_, attempts, cost_nanos=cost, upstream_cost_nanos=draw(nanos)), over))
        found.append(records[: draw(st.integers(1, len(records)))] if draw(st.booleans()) else records)
    return found


@st.composite
def interleaved(draw: st.DrawFn) -> list[Entry]:
    """Their records as they may lie in one journal."""
    waiting = [list(records) for records in draw(requests())]
    merged: list[Entry] = []
    while waiting:
        records = draw(st.sampled_from(waiting))
        merged.append(records.pop(0))
        waiting = [records for records in waiting if records]
    return merged


@contextmanager
def fresh_home() -> Iterator[tuple[Path, Store]]:
    """Hypothesis runs many examples in one `tmp_path`; each gets a home of its own."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(Path(folder) / "ledger.db")
        yield Path(folder), store
        store.close()


def load(home: Path, store: Store) -> int:
    return Loader(home / "journal", store).run_once()


def rows(store: Store, sql: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in store.read(sql)]


def write(home: Path, records: list[Entry], *, turn: int = 3, segment_bytes: int = 64 << 20) -> JournalWriter:
    writer = JournalWriter(home / "journal", segment_bytes=segment_bytes)
    for start in range(0, len(records), turn):
        for record in records[start : start + turn]:
            writer.append(record)
        assert writer.flush()
    return writer


def check_all(home: Path, store: Store, entries: list[Entry]) -> None:
    """What was loaded from a dead writer is what these records say."""
    records = apart_all(entries)
    begun = {(r.id, r.attempt): r for r in records if isinstance(r, Reserved)}
    ended = {(r.id, r.attempt): r for r in records if isinstance(r, Settled)}
    over = {r.id for r in records if isinstance(r, Closed)}
    assert rows(store, "SELECT id, attempt, reserved_nanos, outcome, cost_nanos FROM attempt ORDER BY id, attempt") == [
        (*name, r.reserved_nanos, ended[name].outcome if name in ended else "unknown",
         ended[name].cost_nanos if name in ended else None)
        for name, r in sorted(begun.items())
    ]  # fmt: skip
    found = dict(rows(store, "SELECT id, error FROM request"))
    assert set(found) == over | {id_ for id_, _ in begun}
    assert {id_ for id_, error in found.items() if error == "unknown"} == set(found) - over
    bills = [r.cost_nanos if r.upstream_cost_nanos is None else r.upstream_cost_nanos for r in ended.values()]
    held = [
        r.reserved_nanos or 0
        for name, r in begun.items()
        if name not in ended or ended[name].cost_nanos is ended[name].upstream_cost_nanos is None
    ]
    (total,) = usage(store, by=())
    assert (total.requests, total.attempts) == (len(found), len(begun))
    assert (total.cost_nanos, total.held_nanos) == (sum(filter(None, bills)), sum(held))
    assert total.unknown_cost == len(held)
    assert store.spent_since(0) == total.cost_nanos + total.held_nanos
    assert list((home / "journal").iterdir()) == []
    assert rows(store, "SELECT * FROM open_request") == rows(store, "SELECT * FROM journal_offset") == []


@given(records=interleaved())
@settings(deadline=None, max_examples=40)
def test_an_answer_is_what_its_two_records_are(records: list[Entry]) -> None:
    with fresh_home() as (home, store), fresh_home() as (other_home, other):
        write(home, records).close()
        write(other_home, apart_all(records)).close()
        load(home, store)
        load(other_home, other)
        assert dump(home) == dump(other_home)


@given(records=interleaved(), turn=st.integers(1, 5), segment_bytes=st.integers(100, 1_000))
@settings(deadline=None, max_examples=40)
def test_what_is_written_is_loaded_once(records: list[Entry], turn: int, segment_bytes: int) -> None:
    with fresh_home() as (home, store):
        write(home, records, turn=turn, segment_bytes=segment_bytes).close()
        assert load(home, store) == len(records)
        assert load(home, store) == 0
        check_all(home, store, records)


@given(records=interleaved(), pauses=st.lists(st.integers(0, 30), max_size=5))
@settings(deadline=None, max_examples=40)
def test_when_it_is_loaded_makes_no_difference(records: list[Entry], pauses: list[int]) -> None:
    with fresh_home() as (home, store):
        writer = JournalWriter(home / "journal", segment_bytes=300)
        for number, record in enumerate(records):
            writer.append(record)
            assert writer.flush()
            if number in pauses:
                load(home, store)
        writer.close()
        load(home, store)
        check_all(home, store, records)


@given(records=interleaved(), steps=st.lists(st.integers(1, 400), max_size=6))
@settings(deadline=None, max_examples=40)
def test_loaders_that_die_anywhere_load_each_record_once(records: list[Entry], steps: list[int]) -> None:
    """SQLite interrupts a loader after so many steps of its machine, in the middle of any statement."""
    with fresh_home() as (home, store), mock.patch.object(load_module, "_CHUNK_BYTES", 200):
        write(home, records, segment_bytes=400).close()
        for count in steps:
            store.writer.set_progress_handler(lambda: 1, count)
            with contextlib.suppress(LedgerUnavailable):
                load(home, store)
        store.writer.set_progress_handler(None, 0)
        load(home, store)
        check_all(home, store, records)


RECORDS: list[Entry] = [
    reserved(id_of(1), reserved_nanos=9_000),
    reserved(id_of(2), reserved_nanos=50),
    settled(id_of(1)),
    closed(id_of(1)),
    settled(id_of(2), cost_nanos=None, outcome="error"),
    reserved(id_of(2), 2),
]


def test_a_dead_journal_cut_at_any_byte() -> None:
    with fresh_home() as (home, store):
        write(home, RECORDS, turn=1).close()
        (path,) = (home / "journal").glob("*.journal")
        data = path.read_bytes()
        ends = [len(HEADER)]
        for record in RECORDS:
            ends.append(ends[-1] + len(frame([record])))
        assert ends[-1] == len(data)
        for cut in range(len(data) + 1):
            path.write_bytes(data[:cut])
            count = max((number for number, end in enumerate(ends) if end <= cut), default=0)
            assert load(home, store) == count
            check_all(home, store, RECORDS[:count])
            store.writer.executescript("DELETE FROM attempt_fact; DELETE FROM request_fact; DELETE FROM daily")
