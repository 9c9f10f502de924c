"""The difference that a configuration would have made: figures of recorded requests beside those of replayed ones.

Three kinds of figure stand apart. *Exact*: who is asked first, and what the same tokens cost at known prices.
*Modelled*: times and failures where somebody else is asked. *Unknown*: those of endpoints that were never measured, and
how good another model's answers are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import msgspec

from trivium.advisor.replay import Kind, Replayed
from trivium.ledger.query import LogRow
from trivium.types.data import Access
from trivium.types.money import NANOS_PER_USD

ROADS: tuple[Access, ...] = ("direct", "routed", "local")
EXAMPLES = 5


class Figure(msgspec.Struct, frozen=True):
    """One figure over so many requests, as it was and as it would have been; None is unknown."""

    figure: str
    kind: Kind
    requests: int
    before: float | None
    after: float | None


class Move(msgspec.Struct, frozen=True):
    """How many requests would first have been asked of another endpoint; empty: of none."""

    before: str
    after: str
    requests: int


class SelfTest(msgspec.Struct, frozen=True):
    """Whether the configuration that the traffic was served with asks the same endpoints in the same order."""

    requests: int
    reproduced: int
    differing: tuple[str, ...]
    """The ids of some that it asks differently."""


def self_test(replayed: Sequence[Replayed]) -> SelfTest:
    differing = [one.row.id for one in replayed if one.asked != [attempt.endpoint for attempt in one.row.attempts]]
    return SelfTest(len(replayed), len(replayed) - len(differing), tuple(differing[:EXAMPLES]))


def moves(replayed: Sequence[Replayed]) -> list[Move]:
    """The most frequent first."""
    found = Counter((_first(one.row), one.asked[0] if one.asked else "") for one in replayed)
    return [Move(before, after, count) for (before, after), count in found.most_common() if before != after]


def difference(replayed: Sequence[Replayed]) -> list[Figure]:
    """The figures in the order in which people ask for them."""
    elsewhere = [one for one in replayed if one.kind == "modelled"]
    return [*_roads(replayed), *_costs(replayed), *_errors(replayed), *_times(elsewhere), *_unknown(replayed)]


def _roads(replayed: Sequence[Replayed]) -> list[Figure]:
    """On which road the first endpoint is; none where nobody may be asked."""
    before = Counter(one.row.attempts[0].road if one.row.attempts else "none" for one in replayed)
    after = Counter(one.answers[0].endpoint.access if one.answers else "none" for one in replayed)
    roads = [road for road in (*ROADS, "none") if before[road] or after[road]]
    return [Figure(f"road {road}", "exact", len(replayed), before[road], after[road]) for road in roads]


def _costs(replayed: Sequence[Replayed]) -> list[Figure]:
    pairs = [(one.row.cost_nanos, one.cost_nanos) for one in replayed]
    known = [(before, after) for before, after in pairs if before is not None and after is not None]
    sums = [sum(column) / NANOS_PER_USD for column in zip(*known, strict=True)] or [0.0, 0.0]
    found = [Figure("cost USD", "exact", len(known), *sums)]
    if len(known) < len(pairs):
        found.append(Figure("cost USD", "unknown", len(pairs) - len(known), None, None))
    return found


def _errors(replayed: Sequence[Replayed]) -> list[Figure]:
    found: list[Figure] = []
    for kind in ("exact", "modelled"):
        those = [one for one in replayed if one.kind == kind]
        if those:
            counts = sum(bool(one.row.error) for one in those), sum(one.error is not None for one in those)
            found.append(Figure("errors", kind, len(those), *counts))
    return found


def _times(replayed: Sequence[Replayed]) -> list[Figure]:
    """Of requests that others would have answered, where both answers are known."""
    both = [one for one in replayed if not one.row.error and one.error is None]
    whole = [(one.row.duration_ms, one.took_s * 1e3) for one in both]
    firsts = [
        (one.row.ttft_ms, one.answers[-1].ttft_s * 1e3)
        for one in both
        if one.row.ttft_ms is not None and one.answers[-1].ttft_s is not None
    ]
    return [
        Figure(f"{name} ms p{percent}", "modelled", len(pairs), *(_quantile(column, percent) for column in columns))
        for name, pairs in (("first content", firsts), ("duration", whole))
        if (columns := list(zip(*pairs, strict=True)))
        for percent in (50, 95)
    ]


def _unknown(replayed: Sequence[Replayed]) -> list[Figure]:
    counts: dict[str, Callable[[Replayed], bool]] = {
        "errors and times": lambda one: one.kind == "unknown",
        "quality": lambda one: bool(one.asked) and one.row.endpoint != one.asked[-1],
    }
    found = ((name, sum(map(holds, replayed))) for name, holds in counts.items())
    return [Figure(name, "unknown", count, None, None) for name, count in found if count]


def _first(row: LogRow) -> str:
    return row.attempts[0].endpoint if row.attempts else ""


def _quantile(values: Sequence[float], percent: int) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]
