"""Records become rows: a pure fold of some records over the attempts that their requests already have.

Every step is idempotent (an attempt is settled once, a request closed once), so that records that are met
again change nothing, the sums by day included. Rows come in groups of one kind, so that what they share is looked at
once a group. A request that its first attempt answered, as nearly all are, is one row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import msgspec
from msgspec.structs import astuple

from trivium.ledger.record import (
    CLOSED_WIDTH,
    Answered,
    Closed,
    Entry,
    Place,
    Record,
    Reserved,
    Settled,
    apart,
    packed,
    place_of,
)

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
_ENDED = _FIGURES - _ENDING
_ASKED, _KEY, _ERROR, _ATTEMPTS, _TEXTS = (
    Closed.__struct_fields__.index(name) for name in ("requested_model", "key", "error", "attempts", "models")
)
_MAX_OUTPUT = Closed.__struct_fields__.index("max_output_tokens")
_ANSWER_FIGURES = Answered.__struct_fields__.index("input_tokens")
_UNDER_WAY = ("", *astuple(Settled("", 0, 0, "unknown", ""))[_ENDING + 1 :])
_NOWHERE = Place("", "", "", "", "")
_DAY_MS = 86_400_000


class Known(NamedTuple):
    """An attempt that is in the database."""

    reserved: Reserved
    settled: bool


class Rows(NamedTuple):
    """What is to be written."""

    answers: dict[tuple[Kind, Kind], list[Fact]]
    """Requests that were begun and answered here, by their kind and that of their one attempt."""
    attempts: dict[Kind, list[Fact]]
    """Others: new ones, and those that are settled now."""
    requests: dict[Kind, list[Fact]]
    daily: dict[Dimensions, list[int]]
    """What is added: requests, errors, attempts, failed_attempts, then tokens (input, output, cache read, cache
    write, reasoning), nanos, held_nanos, unknown_cost."""
    opened: set[str]
    """Requests that these records begin and do not close."""
    closed: set[str]
    """Requests that these records close and others began."""


def merge(entries: Iterable[Entry], known: Mapping[Name, Known], requests: set[str]) -> Rows:
    """Fold records over the attempts that are `known` and the ids of closed `requests` (added to)."""
    fold = _Fold(known, requests)
    for entry in entries:
        if isinstance(entry, Reserved):
            fold.begin(entry)
        elif isinstance(entry, Answered):
            fold.answer(entry)
        elif isinstance(entry, Settled):
            fold.settle(entry)
        else:
            fold.close(entry)
    return fold.rows()


class _Fold:
    """What some records say, by attempt."""

    def __init__(self, known: Mapping[Name, Known], requests: set[str]) -> None:
        self._known = known
        self._requests = requests
        self._begun_before = {id_ for id_, _ in known}
        self._begun: dict[Name, Reserved] = {}
        self._ended: dict[Name, Kind] = {}
        """The fields of `Settled` from its outcome on."""
        self._over: list[Kind] = []
        """The fields of `Closed`."""
        self._answers: dict[tuple[bytes, int, Kind], list[Fact]] = {}
        """By place, day, and what else makes the kinds."""
        self._opened: set[str] = set()
        self._closed: set[str] = set()

    def begin(self, reserved: Reserved) -> None:
        id_ = reserved.id
        name = (id_, reserved.attempt)
        if id_ not in self._requests and name not in self._begun and name not in self._known:
            self._begun[name] = reserved
            if id_ not in self._begun_before:
                self._opened.add(id_)

    def answer(self, answered: Answered) -> None:
        id_ = answered.id
        if id_ in self._requests:
            return
        if (
            answered.attempts == 1
            and id_ in self._opened
            and (id_, 1) not in self._ended
            and answered.cost_nanos == answered.attempt_cost_nanos
        ):
            self._answer_at_once(answered, self._begun.pop((id_, 1)))
        else:
            settled, closed = apart(answered)
            self.settle(settled)
            self.close(closed)

    def _answer_at_once(self, answered: Answered, begun: Reserved) -> None:
        id_, time_ms, duration_us, _, *_ = row = astuple(answered)
        self._opened.discard(id_)
        self._requests.add(id_)
        kind = (bytes(begun.packed_place), time_ms // _DAY_MS, row[_ASKED:_ANSWER_FIGURES])
        fact = (id_, time_ms, duration_us, begun.time_ms, begun.reserved_nanos, begun.input_tokens_estimate)
        facts = self._answers.get(kind)
        if facts is None:
            facts = self._answers[kind] = []
        facts.append((*fact, *row[_ANSWER_FIGURES:], row[_MAX_OUTPUT]))

    def settle(self, settled: Settled) -> None:
        name = (settled.id, settled.attempt)
        known = self._known.get(name)
        if name in self._ended or (known is not None and known.settled):
            return
        self._ended[name] = astuple(settled)[_ENDING:]
        if known is None and name not in self._begun:
            # Its reservation was damaged; the money is counted all the same.
            self._begun[name] = Reserved(settled.id, settled.attempt, settled.time_ms, None, 0, packed(_NOWHERE), "")

    def close(self, closed: Closed) -> None:
        id_ = closed.id
        if id_ not in self._requests:
            self._requests.add(id_)
            (self._opened.discard if id_ in self._opened else self._closed.add)(id_)
            self._over.append(astuple(closed)[:CLOSED_WIDTH])

    def rows(self) -> Rows:
        rows = Rows({}, {}, {}, {}, self._opened, self._closed)
        _add_answers(rows, self._answers)
        before = {name: self._known[name].reserved for name in self._ended if name not in self._begun}
        _add_attempts(rows, self._begun | before, self._ended)
        _add_requests(rows, self._over, self._begun, self._known)
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
    asked = ("", "", first.key, 0, False, 0, "unknown", last.attempt, "", "", "", "", (), ())
    return Closed(first.id, first.time_ms, 0, None, None, *asked)


def _add_answers(rows: Rows, answers: dict[tuple[bytes, int, Kind], list[Fact]]) -> None:
    for (packed_place, day, said), facts in answers.items():
        asked, ending = said[: CLOSED_WIDTH - _ASKED], said[CLOSED_WIDTH - _ASKED :]
        place, key = place_of(packed_place), asked[_KEY - _ASKED]
        kinds = (asked, (*astuple(place), key, "ok", "", *ending))
        rows.answers.setdefault(kinds, []).extend(facts)
        sums = _sums(rows, day, place, key)
        sums[0] += len(facts)
        _count_attempts(sums, [fact[4:-1] for fact in facts], failed=False)


def _add_attempts(rows: Rows, begun: dict[Name, Reserved], ended: dict[Name, Kind]) -> None:
    for name, reserved in begun.items():
        *fact, _, key = astuple(reserved)
        end, place = ended.get(name, _UNDER_WAY), reserved.place
        fact += end[_ENDED:]
        rows.attempts.setdefault((*astuple(place), key, *end[:_ENDED]), []).append(tuple(fact))
        if end[0]:
            sums = _sums(rows, reserved.time_ms // _DAY_MS, place, key)
            _count_attempts(sums, [fact[3:]], failed=end[0] != "ok")


def _add_requests(rows: Rows, over: list[Kind], begun: dict[Name, Reserved], known: Mapping[Name, Known]) -> None:
    for row in over:
        rows.requests.setdefault(row[_ASKED:], []).append(row[:_ASKED])
        name = (row[0], row[_ATTEMPTS])
        last = begun.get(name) or (known[name].reserved if name in known else None)
        sums = _sums(rows, row[1] // _DAY_MS, last.place if last else _NOWHERE, row[_KEY])
        sums[0] += 1
        sums[1] += row[_ERROR] != ""


def request_kind(kind: Kind) -> Kind:
    """The kind of a request as it stands in the database: its last fields, several texts each, as JSON."""
    texts = _TEXTS - _ASKED
    return *kind[:texts], *(msgspec.json.encode(several).decode() for several in kind[texts:])


def _sums(rows: Rows, day: int, place: Place, key: str) -> list[int]:
    return rows.daily.setdefault((_iso_day(day), place.model, place.provider, place.access, key), [0] * 12)


def _count_attempts(sums: list[int], facts: Sequence[Sequence[Any]], *, failed: bool) -> None:
    """Add attempts that have ended; the facts begin with the bound of the cost."""
    bounds, _, *tokens, own, told, _, _, _ = zip(*facts, strict=True)
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
