"""Records become rows: a pure fold of some records over the attempts that their requests already have.

Every step is idempotent (an attempt is settled once, a request closed once), so that records that are met
again change nothing, the sums by day included. Rows come in groups of one kind, so that what they share is looked at
once a group.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import msgspec
from msgspec.structs import astuple

from trivium.ledger.record import Closed, Place, Record, Reserved, Settled

Name = tuple[str, int]
"""An attempt's: the request's id and a number."""
Kind = tuple[Any, ...]
"""A row of `attempt_kind` or `request_kind`, without its number."""
Fact = tuple[Any, ...]
"""A row of `attempt_fact` or `request_fact`, without its kind."""
Dimensions = tuple[str, str, str, str, str]
"""Day, model, provider, access, key."""

Table = Literal["attempt", "request"]

_ENDING, _FIGURES = (Settled.__struct_fields__.index(name) for name in ("outcome", "input_tokens"))
_ASKED = Closed.__struct_fields__.index("requested_model")
_UNSETTLED = astuple(Settled("", 0, 0, "unknown", ""))
_UNDER_WAY = ("", *_UNSETTLED[_ENDING + 1 : _FIGURES])
_NOWHERE = Place("", "", "", "", "")
_DAY_MS = 86_400_000


class Known(NamedTuple):
    """An attempt that is in the database."""

    reserved: Reserved
    settled: bool


class Rows(NamedTuple):
    """What is to be written."""

    attempts: dict[Kind, list[Fact]]
    """New ones, and those that are settled now."""
    requests: dict[Kind, list[Fact]]
    daily: dict[Dimensions, list[int]]
    """What is added: requests, errors, attempts, failed_attempts, then tokens (input, output, cache read, cache
    write, reasoning), nanos, held_nanos, unknown_cost."""
    opened: set[str]
    """Requests that these records begin and do not close."""
    closed: set[str]
    """Requests that these records close and others began."""


def merge(records: Iterable[Record], known: Mapping[Name, Known], requests: set[str]) -> Rows:
    """Fold records over the attempts that are `known` and the ids of closed `requests` (added to)."""
    begun: dict[Name, Reserved] = {}
    ended: dict[Name, Settled] = {}
    over: list[Closed] = []
    rows = Rows({}, {}, {}, set(), set())
    begun_before = {id_ for id_, _ in known}
    for record in records:
        id_ = record.id
        if isinstance(record, Closed):
            if id_ not in requests:
                requests.add(id_)
                (rows.opened.discard if id_ in rows.opened else rows.closed.add)(id_)
                over.append(record)
            continue
        name = (id_, record.attempt)
        if isinstance(record, Settled):
            if name not in ended and not (name in known and known[name].settled):
                ended[name] = record
                if name not in begun and name not in known:
                    # Its reservation was damaged; the money is counted all the same.
                    begun[name] = Reserved(id_, record.attempt, record.time_ms, None, 0, _NOWHERE, "")
        elif name not in begun and name not in known:
            begun[name] = record
            if id_ not in begun_before and id_ not in requests:
                rows.opened.add(id_)
    before = {name: known[name].reserved for name in ended if name not in begun}
    _add_attempts(rows, begun | before, ended)
    _add_requests(rows, over, begun, known)
    return rows


def lost(attempts: Iterable[Known]) -> list[Record]:
    """What a dead writer would have written about these attempts of requests that it never closed."""
    records: list[Record] = []
    last: dict[str, Reserved] = {}
    first: dict[str, Reserved] = {}
    for begun, settled in attempts:
        last[begun.id] = begun
        first.setdefault(begun.id, begun)
        if not settled:
            records.append(Settled(begun.id, begun.attempt, begun.time_ms, "unknown", "unknown"))
    records.extend(_unclosed(first[id_], last[id_]) for id_ in first)
    return records


def _unclosed(first: Reserved, last: Reserved) -> Closed:
    asked = ("", "", first.key, 0, False, 0, "unknown", last.attempt, "", "", ())
    return Closed(first.id, first.time_ms, 0, None, *asked)


def _add_attempts(rows: Rows, begun: dict[Name, Reserved], ended: dict[Name, Settled]) -> None:
    groups: dict[tuple[Place, str, int, Kind], list[Fact]] = {}
    for name, reserved in begun.items():
        *fact, place, key = astuple(reserved)
        settled = ended.get(name)
        end = _UNSETTLED if settled is None else astuple(settled)
        ending = _UNDER_WAY if settled is None else end[_ENDING:_FIGURES]
        group = (place, key, reserved.time_ms // _DAY_MS, ending)
        found = groups.get(group)
        if found is None:
            found = groups[group] = []
        found.append((*fact, *end[_FIGURES:]))
    for (place, key, day, ending), facts in groups.items():
        rows.attempts.setdefault((*astuple(place), key, *ending), []).extend(facts)
        if ending is not _UNDER_WAY:
            _count_attempts(_sums(rows, day, place, key), facts, failed=ending[0] != "ok")


def _add_requests(rows: Rows, over: list[Closed], begun: dict[Name, Reserved], known: Mapping[Name, Known]) -> None:
    counts: dict[tuple[int, Place, str, bool], int] = {}
    for closed in over:
        row = astuple(closed)
        rows.requests.setdefault(row[_ASKED:], []).append(row[:_ASKED])
        name = (closed.id, closed.attempts)
        last = begun.get(name) or (known[name].reserved if name in known else None)
        count = (closed.time_ms // _DAY_MS, last.place if last else _NOWHERE, closed.key, closed.error != "")
        counts[count] = counts.get(count, 0) + 1
    for (day, place, key, failed), number in counts.items():
        sums = _sums(rows, day, place, key)
        sums[0] += number
        sums[1] += number * failed


def request_kind(kind: Kind) -> Kind:
    """The kind of a request as it stands in the database: its last two fields, texts, as JSON."""
    return *kind[:-2], *(msgspec.json.encode(texts).decode() for texts in kind[-2:])


def _sums(rows: Rows, day: int, place: Place, key: str) -> list[int]:
    return rows.daily.setdefault((_iso_day(day), place.model, place.provider, place.access, key), [0] * 12)


def _count_attempts(sums: list[int], facts: list[Fact], *, failed: bool) -> None:
    _, _, _, bounds, _, *tokens, own, told, _, _, _ = zip(*facts, strict=True)
    sums[2] += len(facts)
    sums[3] += failed * len(facts)
    for index, column in enumerate(tokens, start=4):
        sums[index] += sum(column)
    for bound, computed, charged in zip(bounds, own, told, strict=True):
        cost = computed if charged is None else charged
        if cost is None:
            sums[10] += bound or 0
            sums[11] += 1
        else:
            sums[9] += cost


@lru_cache(maxsize=64)
def _iso_day(number: int) -> str:
    """The UTC day as 2026-11-23."""
    return datetime.fromtimestamp(number * 86_400, UTC).date().isoformat()
