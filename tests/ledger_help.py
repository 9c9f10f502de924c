"""Records with the fields that a test does not care about filled in, and a look at what was loaded."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import astuple

from trivium.ledger.load import Loader
from trivium.ledger.record import Answered, Closed, Entry, Place, Record, Reserved, Settled, apart, packed
from trivium.ledger.store import Store
from trivium.types.ids import ulid

NOON_MS = 1_764_158_400_000
"""2025-11-26T12:00:00Z."""


PLACE = Place("acme/small", "acme", "small", "direct", "2025-11-01")


def id_of(number: int, time_ms: int = NOON_MS) -> str:
    return f"gen-{ulid(time_ms, number)}"


def reserved(id_: str, attempt: int = 1, **changes: Any) -> Reserved:
    fields: dict[str, Any] = {
        "time_ms": NOON_MS,
        "reserved_nanos": 1_000,
        "input_tokens_estimate": 10,
        "key": "ci",
    }
    place = {name: changes.pop(name) for name in Place.__struct_fields__ if name in changes}
    fields["packed_place"] = packed(msgspec.structs.replace(PLACE, **place))
    return Reserved(id=id_, attempt=attempt, **(fields | changes))


def settled(id_: str, attempt: int = 1, **changes: Any) -> Settled:
    fields: dict[str, Any] = {
        "time_ms": NOON_MS + 900,
        "outcome": "ok",
        "error": "",
        "upstream_status": 200,
        "input_tokens": 12,
        "output_tokens": 34,
        "cache_read_tokens": 0,
        "cache_write_tokens": 0,
        "reasoning_tokens": 0,
        "estimated": False,
        "cost_nanos": 700,
        "upstream_cost_nanos": None,
        "ttft_us": 100_000,
        "duration_us": 900_000,
        "upstream_id": "u",
        "finish_reason": "stop",
    }
    return Settled(id=id_, attempt=attempt, **(fields | changes))


def closed(id_: str, **changes: Any) -> Closed:
    fields: dict[str, Any] = {
        "time_ms": NOON_MS,
        "requested_model": "assistant",
        "dialect": "openai_chat",
        "key": "ci",
        "data_class": 1,
        "stream": True,
        "status": 200,
        "error": "",
        "attempts": 1,
        "endpoint": "acme/small",
        "fallback": "",
        "operation": "chat",
        "needs": "",
        "models": (),
        "dropped": (),
        "duration_us": 950_000,
        "cost_nanos": 700,
        "max_output_tokens": 256,
    }
    return Closed(id=id_, **(fields | changes))


def whole(id_: str) -> list[Reserved | Settled | Closed]:
    return [reserved(id_), settled(id_), closed(id_)]


def together(done: Settled, over: Closed) -> Answered:
    """The last two records of a request that was answered, as one."""
    return Answered(*astuple(over), *astuple(done)[5:])


def apart_all(entries: Iterable[Entry]) -> list[Record]:
    """Every `Answered` as the two records that it stands for."""
    found: list[Record] = []
    for entry in entries:
        found += apart(entry) if isinstance(entry, Answered) else (entry,)
    return found


def load(home: Path) -> int:
    """Load `home`/journal into `home`/ledger.db, as a new owner does."""
    store = Store.open(home / "ledger.db")
    try:
        return Loader(home / "journal", store).run_once()
    finally:
        store.close()


def rows(home: Path, sql: str) -> list[tuple[Any, ...]]:
    store = Store.open(home / "ledger.db")
    try:
        return [tuple(row) for row in store.read(sql)]
    finally:
        store.close()


_ATTEMPT = [
    *(name for name in (*Reserved.__struct_fields__, *Settled.__struct_fields__[3:]) if name != "packed_place"),
    *Place.__struct_fields__,
]


def dump(home: Path) -> dict[str, list[tuple[Any, ...]]]:
    """All that people can ask about, offsets and open requests left out."""
    questions = {
        "request": f"SELECT {', '.join(Closed.__struct_fields__)} FROM request ORDER BY id",  # noqa: S608
        "attempt": f"SELECT {', '.join(_ATTEMPT)} FROM attempt ORDER BY id, attempt",  # noqa: S608
        "daily": "SELECT * FROM daily ORDER BY day, model, provider, access, key",
    }
    return {table: rows(home, sql) for table, sql in questions.items()}
