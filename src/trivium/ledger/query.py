"""Questions to the ledger: usage by day, model, provider, road and key; the log; how fast local models are.

The rows are structs that encode to the objects in `{"rows": […]}` of `trivium usage --json` and `trivium log
--json`. Money is nano-dollars and, for people, dollars; null is *unknown*, never 0.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from statistics import median
from typing import Literal

import msgspec

from trivium.ledger.record import Outcome
from trivium.ledger.store import COST, Store, first_id
from trivium.types.data import Access, DataClass
from trivium.types.money import NANOS_PER_USD

By = Literal["day", "model", "provider", "road", "key"]
_COLUMNS: dict[By, str] = {"day": "day", "model": "model", "provider": "provider", "road": "access", "key": "key"}

_SAMPLES = 10_000
"""Attempts at most that a throughput is taken from: the latest."""


class UsageRow(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Sums over what has ended; of day to key, only what was grouped by is there."""

    day: str | None = None
    """UTC, as 2026-11-23."""
    model: str | None = None
    """Empty for requests that reached no endpoint; so are provider and road."""
    provider: str | None = None
    road: str | None = None
    key: str | None = None
    requests: int
    errors: int
    """Requests that the caller saw fail."""
    attempts: int
    failed_attempts: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    cost_nanos: int
    cost_usd: float
    held_nanos: int
    """Upper bounds of attempts whose cost is not known."""
    unknown_cost: int
    """Attempts whose cost is not known, the bound neither perhaps."""


class AttemptRow(msgspec.Struct, frozen=True, kw_only=True):
    attempt: int
    time_ms: int
    endpoint: str
    provider: str
    model: str
    road: str
    outcome: Outcome | None
    """None: still under way."""
    error: str
    upstream_status: int
    input_tokens: int
    output_tokens: int
    input_tokens_estimate: int
    """As it was planned with."""
    cache_read_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    estimated: bool
    cost_nanos: int | None
    """What the upstream says that it charges, else what its price makes of the tokens."""
    cost_usd: float | None
    reserved_nanos: int | None
    price_version: str
    ttft_ms: float | None
    duration_ms: float
    upstream_id: str
    finish_reason: str


class LogRow(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    time: str
    """When it arrived: ISO 8601, UTC."""
    time_ms: int
    outcome: Outcome
    requested_model: str
    model: str
    """Of the last attempt, as are endpoint, provider and road; empty if there was none."""
    endpoint: str
    provider: str
    road: str
    dialect: str
    key: str
    data_class: str
    stream: bool
    status: int
    error: str
    fallback: str
    operation: str
    """With the next three, what its plan was made for; empty: nobody said so, as in ledgers of before."""
    needs: list[str]
    """Capabilities, as far as they were looked for."""
    models: list[str]
    """Further ones that it named."""
    max_output_tokens: int | None
    input_tokens: int
    """Over all attempts, as is the output."""
    output_tokens: int
    cost_nanos: int | None
    """Over all attempts; None if one of them is not known."""
    cost_usd: float | None
    ttft_ms: float | None
    """Of the last attempt, from its own dispatch."""
    duration_ms: float
    dropped: list[str]
    tags: list[str]
    attempts: list[AttemptRow]


class Throughput(msgspec.Struct, frozen=True, kw_only=True):
    """Medians over attempts that ended well."""

    endpoint: str
    road: str
    samples: int
    tokens_per_s: float | None
    """Output after the first content; None where no answer was long enough to tell."""
    ttft_ms: float


def usage(
    store: Store, *, by: Sequence[By] = ("day",), since_ms: int = 0, until_ms: int | None = None
) -> list[UsageRow]:
    """Sums over whole UTC days: from that of `since_ms` to that of `until_ms`, both included."""
    columns = ", ".join(f"{_COLUMNS[name]} AS {name}" for name in by)
    sums = [
        name for name in UsageRow.__struct_fields__ if name not in _COLUMNS and name not in ("cost_nanos", "cost_usd")
    ]
    rows = store.read(
        f"""SELECT {columns + ", " if columns else ""} coalesce(sum(nanos), 0) AS cost_nanos,
            {", ".join(f"coalesce(sum({name}), 0) AS {name}" for name in sums)}
            FROM daily WHERE day >= :since AND day <= :until
            {f"GROUP BY {', '.join(str(i + 1) for i in range(len(by)))} ORDER BY 1" if by else ""}""",  # noqa: S608
        {"since": _day(since_ms), "until": "9999" if until_ms is None else _day(until_ms)},
    )
    return [UsageRow(**dict(row), cost_usd=row["cost_nanos"] / NANOS_PER_USD) for row in rows]


def log(
    store: Store,
    *,
    limit: int = 50,
    since_ms: int = 0,
    until_ms: int | None = None,
    id: str | None = None,  # noqa: A002  # its name everywhere
    key: str | None = None,
) -> list[LogRow]:
    """Requests that have ended, the newest first, of those that arrived from `since_ms` until before `until_ms`."""
    requests = store.read(
        """SELECT * FROM request WHERE id >= :least AND id < :below
           AND (:id IS NULL OR id = :id) AND (:key IS NULL OR key = :key) ORDER BY id DESC LIMIT :limit""",
        {
            "least": id or (first_id(since_ms) if since_ms else ""),
            "below": f"{id}\0" if id else first_id(until_ms) if until_ms else "\U0010ffff",
            "id": id,
            "key": key,
            "limit": limit,
        },
    )
    attempts: dict[str, list[sqlite3.Row]] = {}
    ids = msgspec.json.encode([row["id"] for row in requests]).decode()
    for row in store.read(
        f"""SELECT *, {COST} AS cost FROM attempt WHERE id IN (SELECT value FROM json_each(?))
            ORDER BY id, attempt""",  # noqa: S608
        (ids,),
    ):
        attempts.setdefault(row["id"], []).append(row)
    return [_log_row(row, attempts.get(row["id"], [])) for row in requests]


def generation(store: Store, id: str) -> LogRow | None:  # noqa: A002
    """One request by its generation id; None if it is not known, or still under way."""
    rows = log(store, id=id)
    return rows[0] if rows else None


def spent(store: Store, key: str | None, since_ms: int) -> int:
    """Nano-dollars of whole UTC days, from that of `since_ms` on, by one key or (None) by all."""
    (row,) = store.read(
        "SELECT coalesce(sum(nanos), 0) AS nanos FROM daily WHERE day >= ? AND (? IS NULL OR key = ?)",
        (_day(since_ms), key, key),
    )
    return row["nanos"]


def throughput(
    store: Store, *, since_ms: int, access: Access | None = None, endpoint: str | None = None
) -> list[Throughput]:
    """What was measured since then, by endpoint."""
    samples: dict[tuple[str, str], list[sqlite3.Row]] = {}
    for row in store.read(
        """SELECT id, endpoint, access, output_tokens, ttft_us, duration_us FROM attempt
           WHERE id >= :since AND outcome = 'ok' AND ttft_us >= 0 AND (:access IS NULL OR access = :access)
           AND (:endpoint IS NULL OR endpoint = :endpoint) ORDER BY id DESC LIMIT :most""",
        {"since": first_id(since_ms), "access": access, "endpoint": endpoint, "most": _SAMPLES},
    ):
        samples.setdefault((row["endpoint"], row["access"]), []).append(row)
    return [
        Throughput(
            endpoint=name,
            road=road,
            samples=len(rows),
            tokens_per_s=_tokens_per_s(rows),
            ttft_ms=median(row["ttft_us"] for row in rows) / 1000,
        )
        for (name, road), rows in sorted(samples.items())
    ]


def _tokens_per_s(rows: Iterable[sqlite3.Row]) -> float | None:
    # The first token comes with the first content: those after it took the rest of the time.
    rates = [
        (row["output_tokens"] - 1) * 1e6 / (row["duration_us"] - row["ttft_us"])
        for row in rows
        if row["output_tokens"] > 1 and row["duration_us"] > row["ttft_us"]
    ]
    return median(rates) if rates else None


_ASKED = [
    *("id", "time_ms", "requested_model", "dialect", "key", "status", "error", "fallback"),
    *("operation", "max_output_tokens"),
]


def _log_row(request: sqlite3.Row, attempts: list[sqlite3.Row]) -> LogRow:
    last = attempts[-1] if attempts else None
    costs = [attempt["cost"] for attempt in attempts]
    cost = None if None in costs else sum(costs)
    where = ("model", "endpoint", "provider", "access")
    model, endpoint, provider, road = (last[name] for name in where) if last else [""] * 4
    return LogRow(
        **{name: request[name] for name in _ASKED},
        time=datetime.fromtimestamp(request["time_ms"] / 1000, UTC).isoformat(timespec="milliseconds"),
        outcome=_outcome(request["error"], last["outcome"] if last else None),
        model=model,
        endpoint=endpoint,
        provider=provider,
        road=road,
        data_class=DataClass(request["data_class"]).word,
        stream=bool(request["stream"]),
        needs=request["needs"].split(",") if request["needs"] else [],
        models=msgspec.json.decode(request["models"], type=list[str]),
        input_tokens=sum(attempt["input_tokens"] for attempt in attempts),
        output_tokens=sum(attempt["output_tokens"] for attempt in attempts),
        cost_nanos=cost,
        cost_usd=_usd(cost),
        ttft_ms=_ms(last["ttft_us"]) if last else None,
        duration_ms=request["duration_us"] / 1000,
        dropped=msgspec.json.decode(request["dropped"], type=list[str]),
        tags=msgspec.json.decode(request["tags"], type=list[str]),
        attempts=[_attempt_row(attempt) for attempt in attempts],
    )


def _outcome(error: str, last: Outcome | None) -> Outcome:
    """A request's: its last attempt's, unless it was refused before or after that."""
    if not error:
        return "ok"
    return "error" if last in (None, "ok") else last


_CHANGED = {"road", "estimated", "cost_nanos", "cost_usd", "ttft_ms", "duration_ms"}
_KEPT = [name for name in AttemptRow.__struct_fields__ if name not in _CHANGED]
"""What stands in the ledger as it is shown."""


def _attempt_row(row: sqlite3.Row) -> AttemptRow:
    return AttemptRow(
        **{name: row[name] for name in _KEPT},
        road=row["access"],
        estimated=bool(row["estimated"]),
        cost_nanos=row["cost"],
        cost_usd=_usd(row["cost"]),
        ttft_ms=_ms(row["ttft_us"]),
        duration_ms=row["duration_us"] / 1000,
    )


def _usd(nanos: int | None) -> float | None:
    return None if nanos is None else nanos / NANOS_PER_USD


def _ms(ttft_us: int) -> float | None:
    return None if ttft_us < 0 else ttft_us / 1000


def _day(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).date().isoformat()
