"""The loader: journals become rows, each record exactly once.

Rows and the offset that they end at are committed in one transaction, so that it may be killed anywhere. A
segment is deleted once all of it is committed and its writer will add no more to it.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import time
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path

import msgspec

from trivium.errors import LedgerUnavailable
from trivium.ledger.merge import Kind, Known, Table, lost, merge, request_kind
from trivium.ledger.record import Entry, Place, Reserved, packed
from trivium.ledger.segment import HEADER, check_header, lock_path, parse, series, tag_of
from trivium.ledger.store import Store, transaction
from trivium.transport.platform import FileLock

log = logging.getLogger("trivium.ledger")

_CHUNK_BYTES = 512 << 10
"""Read and committed at once: about 2,000 requests. Those under way at its end cost twice, so it is not small."""
_BEING_BORN_S = 60.0
"""A writer's lock may be without a segment, and for a moment without its holder, when it is younger."""

_KINDS_MAX = 10_000
"""Kinds whose numbers are remembered."""

_ATTEMPTS = """SELECT id, attempt, time_ms, reserved_nanos, input_tokens_estimate,
    endpoint, provider, model, access, price_version, key, outcome FROM attempt
    WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id, attempt"""
_REQUESTS = "SELECT id FROM request WHERE id IN (SELECT value FROM json_each(?))"
_NEWEST = """SELECT coalesce((SELECT max(id) FROM attempt_fact), ''), coalesce((SELECT max(id) FROM request_fact), ''),
    coalesce((SELECT max(id) FROM answer), '')"""
_6, _11, _15, _16, _17, _19 = (", ".join("?" * width) for width in (6, 11, 15, 16, 17, 19))
_ADD_ANSWER = f"INSERT OR IGNORE INTO answer VALUES ({_19})"  # noqa: S608
_ADD_ATTEMPT = f"REPLACE INTO attempt_fact VALUES ({_16})"  # noqa: S608
_ADD_REQUEST = f"REPLACE INTO request_fact VALUES ({_6})"  # noqa: S608
_KEPT = "ON CONFLICT DO UPDATE SET key = key RETURNING kind"
_KIND: dict[Table, str] = {
    "attempt": f"INSERT INTO attempt_kind VALUES (NULL, {_11}) {_KEPT}",  # noqa: S608
    "request": f"INSERT INTO request_kind VALUES (NULL, {_15}) {_KEPT}",  # noqa: S608
}
"""Finds the number of a kind, or gives it one."""
_ADD_DAILY = f"""INSERT INTO daily VALUES ({_17})
    ON CONFLICT (day, model, provider, access, key) DO UPDATE SET
    requests = requests + excluded.requests, errors = errors + excluded.errors,
    attempts = attempts + excluded.attempts, failed_attempts = failed_attempts + excluded.failed_attempts,
    input_tokens = input_tokens + excluded.input_tokens, output_tokens = output_tokens + excluded.output_tokens,
    cache_read_tokens = cache_read_tokens + excluded.cache_read_tokens,
    cache_write_tokens = cache_write_tokens + excluded.cache_write_tokens,
    reasoning_tokens = reasoning_tokens + excluded.reasoning_tokens, nanos = nanos + excluded.nanos,
    held_nanos = held_nanos + excluded.held_nanos, unknown_cost = unknown_cost + excluded.unknown_cost"""  # noqa: S608


class Loader:
    """Loads what all writers of `directory` have written into `store`. One thread at a time runs it."""

    def __init__(self, directory: Path, store: Store) -> None:
        self._directory = directory
        self._store = store
        self._offsets: dict[str, int] = {}
        self._kinds: dict[tuple[Table, Kind], int] = {}

    def run_once(self) -> int:
        """Load all that is there now; returns how many records.

        Raises LedgerUnavailable when the database cannot be written (nothing is lost: run it again later), and,
        after all others are loaded, for a segment that cannot be read, one of a newer version included.
        """
        loaded = 0
        trouble: LedgerUnavailable | None = None
        found = series(self._directory)
        for tag in found:
            try:
                loaded += self._load_series(tag)
            except sqlite3.Error as error:
                raise LedgerUnavailable(
                    f"The ledger `{self._store.path}` cannot be written: {error}.",
                    remedy="The journal keeps all records until it can.",
                ) from error
            except FileNotFoundError:
                continue  # another program loaded it meanwhile
            except OSError as error:
                trouble = LedgerUnavailable(f"A journal cannot be loaded: {error}.")
            except LedgerUnavailable as error:
                trouble = error
        self._remove_orphaned_locks(found)
        if trouble is not None:
            raise trouble
        return loaded

    def _load_series(self, tag: str) -> int:
        lock = FileLock(lock_path(self._directory, tag))
        dead = lock.acquire()
        try:
            # Listed only now, when a writer that is dead can no longer have added to it.
            paths = series(self._directory).get(tag, [])
            loaded = sum(self._load_segment(tag, path) for path in paths)
            if dead:
                self._settle_lost(tag)
            # A living writer ends a segment before it begins the next.
            self._remove(paths if dead else paths[:-1])
        finally:
            lock.release()
        if dead:
            lock.path.unlink(missing_ok=True)
        return loaded

    def _load_segment(self, tag: str, path: Path) -> int:
        loaded, chunk, size = 0, _CHUNK_BYTES, path.stat().st_size
        while self._offsets.get(path.name, 0) < size:
            with self._transaction():
                offset = self._committed(path)
                data = _read(path, offset, chunk)
                stretch = parse(data)
                if stretch.records:
                    self._write(tag, stretch.records)
                    self._commit_to(path, offset + stretch.size)
            self._offsets[path.name] = offset + stretch.size
            loaded += len(stretch.records)
            if not stretch.records:
                if len(data) < chunk or stretch.damaged:
                    break
                chunk *= 2  # a record larger than a chunk
        return loaded

    def _committed(self, path: Path) -> int:
        row = self._store.writer.execute("SELECT offset FROM journal_offset WHERE segment = ?", (path.name,)).fetchone()
        return row[0] if row else len(HEADER)

    def _commit_to(self, path: Path, offset: int) -> None:
        self._store.writer.execute("INSERT OR REPLACE INTO journal_offset VALUES (?, ?)", (path.name, offset))

    def _write(self, tag: str, records: Sequence[Entry]) -> None:
        database = self._store.writer
        # Ids sort by time: nearly all are newer than what is there, and need not be looked for.
        newest = max(database.execute(_NEWEST).fetchone())
        ids = (msgspec.json.encode({record.id for record in records if record.id <= newest}).decode(),)
        known = {(row.reserved.id, row.reserved.attempt): row for row in self._attempts(ids)}
        rows = merge(records, known, {row[0] for row in database.execute(_REQUESTS, ids)})
        for (asked, ended), facts in rows.answers.items():
            numbers = self._number("request", request_kind(asked)), self._number("attempt", ended)
            database.executemany(_ADD_ANSWER, [(*fact[:-1], *numbers, fact[-1]) for fact in facts])
        for kind, facts in rows.attempts.items():
            number = self._number("attempt", kind)
            database.executemany(_ADD_ATTEMPT, [(*fact, number) for fact in facts])
        for kind, facts in rows.requests.items():
            number = self._number("request", request_kind(kind))
            database.executemany(_ADD_REQUEST, [(*fact[:-1], number, fact[-1]) for fact in facts])
        database.executemany(_ADD_DAILY, [(*dimensions, *sums) for dimensions, sums in rows.daily.items()])
        database.executemany("INSERT OR IGNORE INTO open_request VALUES (?, ?)", [(tag, id_) for id_ in rows.opened])
        database.executemany(
            "DELETE FROM open_request WHERE writer = ? AND id = ?", [(tag, id_) for id_ in rows.closed]
        )

    def _attempts(self, ids: tuple[str]) -> list[Known]:
        """Those of the requests whose ids are in a JSON array."""
        return [
            Known(
                Reserved(row[0], row[1], row[2], row[3], row[4], packed(Place(*row[5:10])), row[10]),
                settled=row[11] is not None,
            )
            for row in self._store.writer.execute(_ATTEMPTS, ids)
        ]

    def _number(self, table: Table, kind: Kind) -> int:
        """The number of a kind, which it gets when it is first seen."""
        number = self._kinds.get((table, kind))
        if number is None:
            number = int(self._store.writer.execute(_KIND[table], kind).fetchone()[0])
            if len(self._kinds) >= _KINDS_MAX:
                self._kinds.clear()
            self._kinds[table, kind] = number
        return number

    @contextlib.contextmanager
    def _transaction(self) -> Generator[None]:
        try:
            with transaction(self._store.writer):
                yield
        except BaseException:
            self._kinds.clear()  # some of them were perhaps rolled back
            raise

    def _settle_lost(self, tag: str) -> None:
        """End what a dead writer left open: its attempts are `unknown`, and their bounds are kept."""
        database = self._store.writer
        open_ids = [row[0] for row in database.execute("SELECT id FROM open_request WHERE writer = ?", (tag,))]
        if not open_ids:
            return
        with self._transaction():
            self._write(tag, lost(self._attempts((msgspec.json.encode(open_ids).decode(),))))

    def _remove(self, paths: list[Path]) -> None:
        if not paths:
            return
        # A checkpoint syncs what was committed: only then may its source go.
        self._store.writer.execute("PRAGMA wal_checkpoint(PASSIVE)")
        for path in paths:
            offset = self._committed(path)
            if parse(_read(path, offset, path.stat().st_size)).damaged:
                log.error("`%s` is damaged at byte %d; it is kept as `%s.damaged`.", path, offset, path.name)
                path.rename(path.with_name(f"{path.name}.damaged"))
            else:
                path.unlink()
            self._offsets.pop(path.name, None)
        with transaction(self._store.writer):
            self._store.writer.executemany(
                "DELETE FROM journal_offset WHERE segment = ?", [(path.name,) for path in paths]
            )

    def _remove_orphaned_locks(self, found: Iterable[str]) -> None:
        for path in self._directory.glob("*.lock"):
            with contextlib.suppress(OSError):  # next time, or another program did it
                if tag_of(path) not in found and time.time() - path.stat().st_mtime > _BEING_BORN_S:
                    lock = FileLock(path)
                    if lock.acquire():
                        lock.release()
                        path.unlink()


def _read(path: Path, offset: int, size: int) -> bytes:
    """Up to `size` bytes from `offset`; none where even the header is not complete."""
    with path.open("rb") as file:
        if not check_header(file.read(len(HEADER)), path):
            return b""
        file.seek(offset)
        return file.read(size)
