"""The store: the ledger's SQLite database, one connection that writes and one that only reads.

WAL with `synchronous=NORMAL`: a commit survives the death of the process and may be rolled back by a power cut. The
schema is numbered by `migrations/NNNN_name.sql`, each with its way back in `NNNN_name.down.sql`; the number that a
database has reached is its `user_version`.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from trivium.config.home import make_private, user_path
from trivium.errors import ConfigError, LedgerUnavailable
from trivium.types.ids import ulid

BUSY_TIMEOUT_S = 5.0
"""How long a statement waits for another program's lock."""

COST = "coalesce(attempt.upstream_cost_nanos, attempt.cost_nanos)"
"""SQL: what an attempt cost. The upstream's own figure is what will be on its bill; ours stands where it is silent."""

_SPENT = """SELECT coalesce(sum(coalesce(upstream_cost_nanos, a.cost_nanos, reserved_nanos, 0)), 0)
    FROM attempt_fact AS a LEFT JOIN request_fact AS r USING (id) LEFT JOIN request_kind AS k ON k.kind = r.kind
    WHERE id >= :since AND (:model IS NULL OR coalesce(requested_model, '') IN ('', :model)
        OR requested_model LIKE :model || ':%')
    UNION ALL SELECT coalesce(sum(coalesce(upstream_cost_nanos, cost_nanos, reserved_nanos, 0)), 0)
    FROM answer JOIN request_kind ON kind = request_kind
    WHERE id >= :since AND (:model IS NULL OR requested_model IN ('', :model)
        OR requested_model LIKE :model || ':%')"""


class Store:
    """An open database. One thread at a time writes; `reader` may be used by others at the same time."""

    def __init__(self, path: Path, writer: sqlite3.Connection, reader: sqlite3.Connection) -> None:
        self.path = path
        self.writer = writer
        self.reader = reader

    @classmethod
    def open(cls, url_or_path: str | Path) -> Store:
        """Open `sqlite:///absolute/path` or a path; makes the file (0600), brings its schema up to date.

        Raises ConfigError for another kind of URL and for a database newer than this program,
        LedgerUnavailable for one that cannot be used (locked, damaged, read-only).
        """
        path = _path_of(url_or_path)
        try:
            make_private(path.parent)
            # Made here because SQLite gives its other files the mode of the first.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            writer = _connect(path, "rw")
            try:
                writer.execute("PRAGMA journal_mode=WAL")
                writer.execute("PRAGMA synchronous=NORMAL")
                migrate(writer, path)
                return cls(path, writer, _connect(path, "ro"))
            except BaseException:
                writer.close()
                raise
        except (sqlite3.Error, OSError, ValueError) as error:  # a NUL in its name, too
            raise LedgerUnavailable(
                f"The ledger `{path}` cannot be opened: {error}.",
                remedy="Check its permissions and free space; the journal keeps all records until it is back.",
            ) from error

    def close(self) -> None:
        self.reader.close()
        self.writer.close()

    def read(self, sql: str, parameters: dict[str, Any] | tuple[Any, ...] = ()) -> list[sqlite3.Row]:
        """Rows of a question; raises LedgerUnavailable."""
        try:
            return self.reader.execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            raise LedgerUnavailable(f"The ledger `{self.path}` cannot be read: {error}.") from error

    def spent_since(self, time_ms: int, *, requested_model: str | None = None) -> int:
        """Nano-dollars of all requests that arrived since `time_ms`; where a cost is not known, its bound.

        With `requested_model`, those of requests for that name, with a suffix or without, and those of which it is not
        known what they asked for: still under way, or lost with their process.
        """
        parameters = {"since": first_id(time_ms), "model": requested_model}
        return sum(int(row[0]) for row in self.read(_SPENT, parameters))


@contextmanager
def transaction(connection: sqlite3.Connection) -> Generator[None]:
    """All or nothing; the lock is taken at once, so that what is read inside is still true when it is written."""
    _roll_back(connection)  # where the last attempt at it failed too
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("COMMIT")
    except BaseException:
        _roll_back(connection)
        raise


def _roll_back(connection: sqlite3.Connection) -> None:
    # After some failures (a full disk) SQLite has rolled back by itself.
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def first_id(time_ms: int) -> str:
    """The least generation id of a time: ids sort by it."""
    return f"gen-{ulid(time_ms, 0)}"


def _path_of(url_or_path: str | Path) -> Path:
    if isinstance(url_or_path, Path):
        return url_or_path
    scheme, separator, rest = url_or_path.partition("://")
    if not separator:
        return user_path(url_or_path)
    if scheme != "sqlite" or not rest.startswith("/"):
        raise ConfigError(
            f"`{scheme}://…` is no ledger that this version can write.",
            remedy="Set url to sqlite:///absolute/path.",
            key="ledger.url",
        )
    return Path(unquote(rest))


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.row_factory = sqlite3.Row
    return connection


def migrations() -> list[tuple[Path, Path]]:
    """The way up to and down from versions 1, 2, 3 …"""
    files = {file.name: file for file in Path(__file__).with_name("migrations").iterdir()}
    ups = sorted(name for name in files if name.endswith(".sql") and not name.endswith(".down.sql"))
    return [(files[name], files[f"{name[:-4]}.down.sql"]) for name in ups]


def migrate(connection: sqlite3.Connection, path: Path, *, to: int | None = None) -> None:
    """Bring a schema to version `to` (None: the newest), each step in a transaction of its own.

    Raises ConfigError for a database that is newer than this program.
    """
    known = migrations()
    target = len(known) if to is None else to
    while (version := _version(connection)) != target:
        if version > len(known):
            raise ConfigError(
                f"`{path}` was written by a newer Trivium (ledger version {version}; this one knows {len(known)}).",
                remedy="Upgrade Trivium, or name another database in [ledger] url.",
                key="ledger.url",
            )
        script, then = (known[version][0], version + 1) if version < target else (known[version - 1][1], version - 1)
        with transaction(connection):
            # Another program may have been here between the two looks.
            if _version(connection) == version:
                for statement in _statements(script.read_text(encoding="utf-8")):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version={then}")


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _statements(script: str) -> Iterator[str]:
    # `executescript` would commit first.
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
