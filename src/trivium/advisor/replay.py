"""Replay: recorded traffic through a configuration, on a virtual clock, and what would have been different.

An attempt that was really made goes as it went. One that was not is resampled from what its endpoint did: its failures
of that minute, else the times of an answer to a prompt of that size. Of an endpoint that was never asked nothing is
known, and said so. Not recorded and so not replayed: metadata, deadlines of callers, the daily budget of `auto`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import msgspec

from trivium.catalog.rows import Endpoint
from trivium.errors import InternalError, TriviumError, UpstreamError
from trivium.gateway.needs import SERVICE, WISHES
from trivium.gateway.reasons import no_endpoint
from trivium.gateway.snapshot import Snapshot, facts_of
from trivium.ledger.query import AttemptRow, LogRow
from trivium.routing.disposition import failure_of
from trivium.routing.draw import seed_of, unit
from trivium.routing.plan import MEDIA, Plan, inserted
from trivium.routing.ranking import PRIOR_ITL_S, PRIOR_TTFT_S
from trivium.routing.simulate import Answer, Bounds, Request, Simulation
from trivium.routing.statistics import size_of
from trivium.routing.when import Occasion, chosen
from trivium.types.data import DATA_CLASSES
from trivium.types.usage import Usage

Kind = Literal["exact", "modelled", "unknown"]
SLACK_S = 0.001
"""The ledger has the times of arrivals in milliseconds."""
OURS = frozenset(("draining", "ledger_unavailable", "authentication", "rate_limit_exceeded", "server", "unknown"))
"""How requests end that the router never saw, where they made no attempt."""


class Replayed(msgspec.Struct, frozen=True):
    """A request as it would have gone. `kind`: how well its answers are known."""

    row: LogRow
    answers: tuple[Answer, ...]
    error: TriviumError | None
    took_s: float
    kind: Kind

    @property
    def asked(self) -> list[str]:
        return [answer.endpoint.id for answer in self.answers]

    @property
    def cost_nanos(self) -> int | None:
        """For the same tokens, where those of an answer are known; what failed otherwise than recorded cost nothing."""
        costs: list[int | None] = []
        for answer, attempt in recorded(self.row, self.answers):
            if attempt is None and answer.error is not None:
                continue
            counted = attempt or next((one for one in self.row.attempts if one.outcome == "ok"), None)
            costs.append(None if counted is None else _cost(answer.endpoint, counted))
        known = [cost for cost in costs if cost is not None]
        return sum(known) if len(known) == len(costs) else None


def replay(rows: Sequence[LogRow], snapshot: Snapshot) -> list[Replayed]:
    """Run requests, the oldest first, through a configuration; each comes back once."""
    world = _Recorded(rows, snapshot)
    Simulation(world, SLACK_S).run(world.requests())
    return world.replayed


def replayable(rows: Iterable[LogRow]) -> list[LogRow]:
    """Those that a plan was made for, the oldest first."""
    return sorted((row for row in rows if row.attempts or row.error not in OURS), key=lambda row: (row.time_ms, row.id))


def partly_known(row: LogRow) -> bool:
    """Whether its plan was made for what is not kept: by an older version, for a caller's wishes or in a session."""
    return not row.operation or not WISHES.isdisjoint(row.needs)


def recorded(row: LogRow, answers: Iterable[Answer]) -> Iterator[tuple[Answer, AttemptRow | None]]:
    """Each answer with the attempt that was really made there, in turn; None: there was none."""
    had: Counter[str] = Counter()
    for answer in answers:
        name = answer.endpoint.id
        attempts = [one for one in row.attempts if one.endpoint == name]
        yield answer, attempts[had[name]] if had[name] < len(attempts) else None
        had[name] += 1


def _cost(endpoint: Endpoint, counted: AttemptRow) -> int | None:
    """What an attempt's tokens cost at an endpoint: as it was charged there, unless the price has changed since."""
    version = endpoint.price.version if endpoint.price else ""
    if counted.endpoint == endpoint.id and (counted.price_version == version or counted.outcome != "ok"):
        return counted.cost_nanos
    read, write = counted.cache_read_tokens, counted.cache_write_tokens
    usage = Usage(
        input_tokens=max(0, counted.input_tokens - read - write),
        output_tokens=counted.output_tokens,
        cache_read_tokens=read,
        cache_write_tokens=write,
    )
    return endpoint.price.cost(usage) if endpoint.price else None


class _Recorded:
    """The world of `routing.simulate` as a ledger knows it."""

    def __init__(self, rows: Sequence[LogRow], snapshot: Snapshot) -> None:
        self.replayed: list[Replayed] = []
        self._snapshot = snapshot
        self._rows = {row.id: row for row in rows}
        self._keys = {key.name: key for key in snapshot.config.keys}
        self._kinds: dict[str, Kind] = {}
        self._answered: dict[tuple[str, int], list[AttemptRow]] = {}
        """By endpoint and class of the prompt's size, or -1 for all."""
        self._ended: dict[tuple[str, int], list[AttemptRow]] = {}
        """By endpoint and minute."""
        for attempt in (attempt for row in rows for attempt in row.attempts):
            if attempt.outcome == "ok":
                for size in (size_of(attempt.input_tokens_estimate), -1):
                    self._answered.setdefault((attempt.endpoint, size), []).append(attempt)
            if attempt.outcome == "ok" or attempt.error in _UPSTREAM:
                self._ended.setdefault((attempt.endpoint, attempt.time_ms // 60_000), []).append(attempt)

    # ---- what was asked

    def requests(self) -> Iterator[Request]:
        for row in self._rows.values():
            try:
                plan = self._plan(row)
            except TriviumError as error:
                self.replayed.append(Replayed(row, (), error, 0.0, "exact"))
                continue
            yield Request(
                id=row.id,
                seed=seed_of(row.id),
                at_s=row.time_ms / 1e3,
                plan=plan,
                input_tokens=_estimate(row),
                output_tokens=next((one.output_tokens for one in row.attempts if one.outcome == "ok"), 0),
                max_output_tokens=row.max_output_tokens,
                operation=_operation(row),
                stream=row.stream,
            )

    def _plan(self, row: LogRow) -> Plan:
        """As `gateway.planning` makes it. Raises NotFound, InvalidRequest, NoEndpoint and its kin."""
        needs, more, key = frozenset(row.needs) - SERVICE - WISHES, tuple(row.models), self._keys.get(row.key)
        data_class, size, operation = (
            DATA_CLASSES[row.data_class],
            (_estimate(row), row.max_output_tokens),
            _operation(row),
        )
        occasion = Occasion(row.requested_model, row.key, {}, size[0], "tools" in needs, "images" in needs)
        choice = chosen(self._snapshot.config.conditional, occasion)
        named: dict[str, Any] = {"operation": operation, "slugs": not SERVICE.isdisjoint(row.needs), "choice": choice}

        def usual(needs: frozenset[str]) -> Plan:
            return self._snapshot.usual_plan(row.requested_model, more, data_class, needs, key, **named)

        made = usual(needs if row.dialect == "python" else needs - MEDIA)
        if made.differs_in_media:
            made = usual(needs)
        if operation == "chat" and not made.holds(*size):
            facts = facts_of(row.requested_model, data_class, needs, key, *size, **named)
            made = self._snapshot.plan(facts, more)
        if not made.endpoints:
            raise no_endpoint(made)
        return made

    # ---- routing.simulate.World

    def answer(self, request: Request, endpoint: Endpoint, now_s: float) -> Answer:
        row = self._rows[request.id]
        mine = [attempt for attempt in row.attempts if attempt.endpoint == endpoint.id]
        before = sum(answer.endpoint.id == endpoint.id for answer in request.answers)
        if before < len(mine):
            answer = _as_it_went(endpoint, mine[before])
            went_on = answer.released and mine[before] is not row.attempts[-1]
            return msgspec.structs.replace(answer, rescued=True) if went_on else answer
        draw = unit(request.seed, seed_of(endpoint.id) + before)
        now = self._ended.get((endpoint.id, int(now_s // 60)), ())
        if now and (ended := now[int(draw * len(now))]).outcome != "ok":
            self._mark(request, "modelled")
            return _as_it_went(endpoint, ended)
        size = size_of(request.input_tokens)
        known = self._answered.get((endpoint.id, size)) or self._answered.get((endpoint.id, -1))
        self._mark(request, "modelled" if known else "unknown")
        if not known:
            took_s = PRIOR_TTFT_S + request.output_tokens * PRIOR_ITL_S
            return Answer(endpoint, took_s, PRIOR_TTFT_S, request.output_tokens)
        like = known[int(draw * len(known))]
        took_s, ttft_s = like.duration_ms / 1e3, _ttft_s(like)
        if ttft_s is not None and like.output_tokens > 1:
            took_s = ttft_s + (took_s - ttft_s) * max(0, request.output_tokens - 1) / (like.output_tokens - 1)
        return Answer(endpoint, took_s, ttft_s, request.output_tokens)

    def _mark(self, request: Request, kind: Kind) -> None:
        if self._kinds.get(request.id) != "unknown":
            self._kinds[request.id] = kind

    def bounds(self, request: Request, position: int) -> Bounds:
        leg = self._snapshot.leg(request.plan, position, None, request.operation)
        return Bounds(leg.limits.first_content_s, leg.limits.total_s, leg.streams)

    def free(self, request: Request, endpoint: Endpoint, now_s: float) -> bool | None:
        """It is not recorded: who was really asked had answered, else what ended well in that minute tells."""
        if any(attempt.endpoint == endpoint.id for attempt in self._rows[request.id].attempts):
            return True
        ended = self._ended.get((endpoint.id, int(now_s // 60)), ())
        return not ended or any(attempt.outcome == "ok" for attempt in ended)

    def further(self, request: Request, error: TriviumError) -> Plan:
        made, row = request.plan, self._rows[request.id]
        named = made.route.fallbacks.get(failure_of(error), ())
        more = self._snapshot.further(made, named, frozenset(row.needs) - SERVICE - WISHES, self._keys.get(row.key))
        return inserted(made, request.position + 1, [one for one in more if one not in made.endpoints])

    def over(self, request: Request, error: TriviumError | None, now_s: float) -> None:
        kind = self._kinds.get(request.id, "exact")
        self.replayed.append(Replayed(self._rows[request.id], request.answers, error, now_s - request.at_s, kind))


def _estimate(row: LogRow) -> int:
    return row.attempts[0].input_tokens_estimate if row.attempts else 0


def _operation(row: LogRow) -> Any:
    return row.operation or "chat"


def _ttft_s(attempt: AttemptRow) -> float | None:
    """Of an answer that came in one piece the ledger has its end, and nothing was measured."""
    ttft_ms = attempt.ttft_ms
    return None if ttft_ms is None or ttft_ms == attempt.duration_ms else ttft_ms / 1e3


def _as_it_went(endpoint: Endpoint, attempt: AttemptRow) -> Answer:
    ttft_s = _ttft_s(attempt)
    if attempt.outcome == "ok":
        return Answer(endpoint, attempt.duration_ms / 1e3, ttft_s, attempt.output_tokens)
    kind = _ERRORS.get(attempt.error, InternalError)
    error = kind("As recorded.")
    if isinstance(error, UpstreamError):
        error.upstream_status = attempt.upstream_status
    released = attempt.outcome == "error_midstream"
    return Answer(endpoint, attempt.duration_ms / 1e3, ttft_s, attempt.output_tokens, error, released)


def _tree(root: type[TriviumError]) -> dict[str, type[TriviumError]]:
    return {root.kind: root} | {kind: one for child in root.__subclasses__() for kind, one in _tree(child).items()}


_UPSTREAM = _tree(UpstreamError)
_ERRORS = _tree(TriviumError) | _UPSTREAM
"""Errors by kind; where callers and upstreams share one, an attempt's is the upstream's."""
