"""Records become rows: a pure fold of some records over the rows that their requests already have.

Every step is idempotent (an attempt is settled once, a request closed once), so that records that are met
again change nothing, the sums by day included.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import astuple

from trivium.ledger.record import Closed, Record, Reserved, Settled

Row = list[Any]
"""A row of `attempt`: the fields of `Reserved`, then those of `Settled` after the attempt's name."""

TIME, PROVIDER, MODEL, ACCESS, KEY, RESERVED, OUTCOME = 2, 4, 5, 6, 7, 9, 12
"""Where these stand in a Row."""
_RESERVED_WIDTH = len(Reserved.__struct_fields__)
_DROPPED, _TAGS = (Closed.__struct_fields__.index(name) for name in ("dropped", "tags"))
_UNSETTLED = [None, None, "", 0, 0, 0, 0, 0, 0, 0, None, None, -1, 0, "", ""]

Dimensions = tuple[str, str, str, str, str]
"""Day, model, provider, access, key."""

_DAY_MS = 86_400_000


class Rows(NamedTuple):
    """What is to be written: whole rows, and what is added to the sums by day."""

    new_attempts: list[Row]
    changed_attempts: list[Row]
    requests: list[tuple[Any, ...]]
    daily: dict[Dimensions, list[int]]
    """requests, errors, attempts, failed_attempts, then tokens (input, output, cache read, cache write,
    reasoning), nanos, held_nanos, unknown_cost."""
    opened: set[str]
    """Requests that these records begin and do not close."""
    closed: set[str]
    """Requests that these records close and others began."""


def merge(records: Iterable[Record], known: dict[tuple[str, int], Row], requests: set[str]) -> Rows:
    """Fold records over the rows that are `known` (changed in place) and the ids of closed `requests` (added to)."""
    new: dict[tuple[str, int], Row] = {}
    rows = Rows([], [], [], defaultdict(lambda: [0] * 12), set(), set())
    begun_before = {id_ for id_, _ in known}
    for record in records:
        id_ = record.id
        if type(record) is Reserved:
            key = (id_, record.attempt)
            if key not in known and key not in new:
                new[key] = [*astuple(record), *_UNSETTLED]
                if id_ not in begun_before and id_ not in requests:
                    rows.opened.add(id_)
        elif type(record) is Settled:
            key = (id_, record.attempt)
            row = new.get(key)
            if row is None:
                row = known.get(key)
                if row is None:
                    # Its reservation was damaged; the money is counted all the same.
                    row = new[key] = [id_, record.attempt, record.time_ms, *_NOWHERE, None, 0, *_UNSETTLED]
                elif row[OUTCOME] is None:
                    rows.changed_attempts.append(row)
            if row[OUTCOME] is None:
                row[_RESERVED_WIDTH:] = astuple(record)[2:]
                _count_attempt(rows.daily[_dimensions(row)], record, row[RESERVED])
        elif type(record) is Closed and id_ not in requests:
            requests.add(id_)
            (rows.opened.discard if id_ in rows.opened else rows.closed.add)(id_)
            rows.requests.append(_closed(record))
            last = (id_, record.attempts)
            _count_request(rows.daily, record, new.get(last) or known.get(last))
    rows.new_attempts.extend(new.values())
    return rows


def lost(attempts: Iterable[Row]) -> list[Record]:
    """What a dead writer would have written about these attempts of requests that it never closed."""
    records: list[Record] = []
    by_request: dict[str, list[Row]] = {}
    for row in attempts:
        by_request.setdefault(row[0], []).append(row)
        if row[OUTCOME] is None:
            records.append(_unknown(row))
    records.extend(_unclosed(rows) for rows in by_request.values())
    return records


_NOWHERE = ("", "", "", "", "", "")


def _closed(c: Closed) -> tuple[Any, ...]:
    row = list(astuple(c))
    row[_DROPPED], row[_TAGS] = _array(c.dropped), _array(c.tags)
    return tuple(row)


def _array(texts: tuple[str, ...]) -> str:
    return msgspec.json.encode(texts).decode() if texts else "[]"


def _dimensions(row: Row) -> Dimensions:
    return (_day(row[TIME]), row[MODEL], row[PROVIDER], row[ACCESS], row[KEY])


def _count_attempt(sums: list[int], s: Settled, reserved_nanos: int | None) -> None:
    sums[2] += 1
    sums[3] += s.outcome != "ok"
    sums[4] += s.input_tokens
    sums[5] += s.output_tokens
    sums[6] += s.cache_read_tokens
    sums[7] += s.cache_write_tokens
    sums[8] += s.reasoning_tokens
    cost = s.cost_nanos if s.upstream_cost_nanos is None else s.upstream_cost_nanos
    if cost is None:
        sums[10] += reserved_nanos or 0
        sums[11] += 1
    else:
        sums[9] += cost


def _count_request(daily: dict[Dimensions, list[int]], c: Closed, last: Row | None) -> None:
    model, provider, access = (last[MODEL], last[PROVIDER], last[ACCESS]) if last else ("", "", "")
    sums = daily[(_day(c.time_ms), model, provider, access, c.key)]
    sums[0] += 1
    sums[1] += c.error != ""


def _day(time_ms: int) -> str:
    """The UTC day as 2026-11-23."""
    return _iso_day(time_ms // _DAY_MS)


@lru_cache(maxsize=64)
def _iso_day(number: int) -> str:
    return datetime.fromtimestamp(number * 86_400, UTC).date().isoformat()


def _unknown(row: Row) -> Settled:
    return Settled(row[0], row[1], row[TIME], "unknown", "unknown")


def _unclosed(rows: list[Row]) -> Closed:
    first, last = rows[0], rows[-1]
    nothing = ("", "", (), 0, None)  # endpoint, fallback, dropped, duration, cost
    return Closed(first[0], first[TIME], "", "", first[KEY], 0, False, 0, "unknown", last[1], *nothing)
