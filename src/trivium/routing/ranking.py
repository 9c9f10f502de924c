"""Ranking: the eligible endpoints of a plan put in order by what is known of them now.

First what may be asked at all before what is cooling down, then the models in the caller's order, then tiers of
health; among equals the route's strategy decides. Pure: a board is made of snapshots of each endpoint's condition and
may be kept for a moment, as means change slowly; how long callers wait right now is looked at for every request.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from trivium.catalog.rows import Endpoint, Price
from trivium.routing.candidate import UNKNOWN, Candidate
from trivium.routing.draw import seed_of
from trivium.routing.health import Health, tier_of
from trivium.routing.plan import Plan
from trivium.routing.route import Route
from trivium.routing.statistics import Statistics, size_of
from trivium.routing.strategies import STRATEGIES

PRIOR_TTFT_S, PRIOR_ITL_S = 1.0, 0.02
"""Where nobody in the pool has been measured yet."""
SLOW_TIMES, SLOW_SAMPLES = 3.0, 10.0
"""An endpoint this many times slower than the median of its peers, by this many samples, is a faulty one."""
SLOW_PEERS = 3
SLOW_TTFT_S_MIN = 1.0
"""What answers within a second is nobody's trouble, however fast its peers are."""
LEAST_HEADROOM, EASY_HEADROOM = 0.01, 0.2
BLOCKED, SLOW = 1 << 20, 1 << 10


class Condition(msgspec.Struct, frozen=True):
    """How an endpoint is now. `wait_s` is how long it is put off, 0 if it may be asked; `why` says it to people."""

    ttft_s: tuple[float, ...]
    itl_s: float
    samples: float
    tier: int = 0
    wait_s: float = 0.0
    why: str = ""
    headroom: float = 1.0
    measured_ttft_s: float | None = None


class Row(msgspec.Struct, frozen=True):
    """An endpoint on the board."""

    index: int
    name: int
    rank: int
    health: Health | None
    weight: float
    input_price: float | None
    """Nano-dollars a token; None where the price is unknown."""
    output_price: float
    request_price: float
    ttft_s: tuple[float, ...]
    itl_s: float
    load: float
    local: bool
    slots: int | None


class Board(msgspec.Struct, frozen=True):
    """The endpoints of a plan by their ranks; `plain`: the order is the same for every request."""

    ranks: tuple[tuple[Row, ...], ...]
    plain: tuple[int, ...] | None
    notes: tuple[tuple[str, ...], ...]


class Size(msgspec.Struct, frozen=True):
    """Expected tokens of a request."""

    input_tokens: int
    output_tokens: float


def condition_of(known: Statistics | None, now_s: float, prior_ttft_s: float, prior_itl_s: float) -> Condition:
    """What the statistics of an endpoint say now; of one that nobody has asked, only what is expected of it."""
    if known is None:
        return Condition((prior_ttft_s,) * 4, prior_itl_s, 0.0)
    return Condition(
        tuple(known.ttft_s(now_s, size, prior_ttft_s) for size in range(len(known.ttft))),
        known.itl_s(now_s, prior_itl_s),
        known.samples(now_s),
        tier_of(known, now_s),
        measured_ttft_s=known.mean_ttft_s,
    )


def board(plan: Plan, conditions: Sequence[Condition], healths: Sequence[Health | None]) -> Board:
    """The plan's endpoints with what does not depend on a request's size."""
    slow = _slow(conditions)
    ranks: dict[int, tuple[Row, ...]] = {}
    for index, (endpoint, condition, health) in enumerate(zip(plan.endpoints, conditions, healths, strict=True)):
        row = _row(index, endpoint, plan, condition, health, is_slow=index in slow)
        ranks[row.rank] = (*ranks.get(row.rank, ()), row)
    ranked = tuple(ranks[rank] for rank in sorted(ranks))
    notes = tuple(_notes(condition, is_slow=index in slow) for index, condition in enumerate(conditions))
    plain = None
    if plan.route.strategy == "order" and not plan.route.weights and plan.route.max_wait_s is None:
        plain = tuple(row.index for rows in ranked for row in rows)
    return Board(ranked, plain, notes)


def _row(
    index: int, endpoint: Endpoint, plan: Plan, condition: Condition, health: Health | None, *, is_slow: bool
) -> Row:
    price = endpoint.price or Price()
    known = price.input is not None and price.output is not None
    headroom = max(LEAST_HEADROOM, min(1.0, condition.headroom / EASY_HEADROOM))
    tier = 0 if plan.route.strategy == "order" else condition.tier  # its order is a promise: degraded is not enough
    rank = (BLOCKED if condition.wait_s else 0) + (SLOW if is_slow else 0) + plan.group(index) * 4 + tier
    return Row(
        index=index,
        name=seed_of(endpoint.id),
        rank=rank,
        health=health,
        weight=plan.route.weights.get(endpoint.id, 1.0) if plan.route.weights else 1.0,
        input_price=(price.input or 0) / 1e6 if known else None,
        output_price=(price.output or 0) / 1e6 if known else 0.0,
        request_price=float(price.request) if known else 0.0,
        ttft_s=condition.ttft_s,
        itl_s=condition.itl_s,
        load=1 / headroom,
        local=endpoint.access == "local",
        slots=endpoint.slots,
    )


def _slow(conditions: Sequence[Condition]) -> frozenset[int]:
    """Those that are slow beside their peers: at most half of them, and none where there are fewer than three."""
    if len(conditions) < SLOW_PEERS:
        return frozenset()
    known = [(c.measured_ttft_s, i) for i, c in enumerate(conditions) if c.measured_ttft_s and c.samples]
    if len(known) < SLOW_PEERS:
        return frozenset()
    found: list[tuple[float, int]] = []
    for ttft_s, index in known:
        peers = sorted(other for other, i in known if i != index)
        median = peers[len(peers) // 2] if len(peers) % 2 else sum(peers[len(peers) // 2 - 1 : len(peers) // 2 + 1]) / 2
        if ttft_s > max(SLOW_TTFT_S_MIN, SLOW_TIMES * median) and conditions[index].samples >= SLOW_SAMPLES:
            found.append((ttft_s, index))
    return frozenset(index for _, index in sorted(found, reverse=True)[: len(conditions) // 2])


TIER_NOTES = ("", "80-94 % of its attempts succeed", "less than 80 % of its attempts succeed")


def _notes(condition: Condition, *, is_slow: bool) -> tuple[str, ...]:
    notes = (condition.why, TIER_NOTES[condition.tier], "slow beside the others" if is_slow else "")
    return tuple(note for note in notes if note)


def order(made: Board, route: Route, size: Size, seed: int, now_s: float) -> tuple[int, ...]:
    """The places of the plan's endpoints in the order in which this request asks them."""
    if made.plain is not None:
        return made.plain
    rank, bucket, found = STRATEGIES[route.strategy], size_of(size.input_tokens), list[Candidate]()
    for rows in made.ranks:
        candidates = [candidate(row, size, bucket, now_s) for row in rows]
        found += rank(candidates, seed) if len(candidates) > 1 else candidates
    if route.max_wait_s is not None:
        late = {row.index for rows in made.ranks for row in rows if wait_s(row, size, bucket, now_s) > route.max_wait_s}
        found.sort(key=lambda one: one.index in late)
    return tuple([one.index for one in found])


def wait_s(row: Row, size: Size, bucket: int, now_s: float) -> float:
    """How long a request waits for its turn at a local endpoint: that of an engine's slots, else of who waits now.

    An engine queues without a limit and never says that it is full, so its queue is bounded here.
    """
    health = row.health
    if not row.local or health is None:
        return 0.0
    if row.slots is None:
        return health.oldest_s(now_s)
    turns = max(0, health.in_flight - row.slots + 1) / row.slots
    return turns * (row.ttft_s[bucket] + size.output_tokens * row.itl_s)


def candidate(row: Row, size: Size, bucket: int, now_s: float) -> Candidate:
    """What a request of this size, and of this class of sizes, costs and takes at an endpoint, as it looks now."""
    health, output_tokens, ttft_s = row.health, size.output_tokens, row.ttft_s[bucket]
    if health is not None and health.waiting and (waits_s := health.oldest_s(now_s)) > ttft_s:
        ttft_s = waits_s
    time_s = ttft_s + output_tokens * row.itl_s
    load = time_s * row.load
    if row.slots and health is not None:
        load *= 1 + health.in_flight / row.slots
    cost = UNKNOWN
    if row.input_price is not None:
        cost = size.input_tokens * row.input_price + output_tokens * row.output_price + row.request_price
    return Candidate(row.index, row.name, cost, time_s, load, row.weight)
