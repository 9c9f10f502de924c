"""Conditions: what a process knows of endpoints and credentials, and the order of a plan that follows from it.

Around the state machines of this package: it gives them the time of the clock that it is given, hears of every attempt,
and says what was measured to other processes. Every table has a bound, as callers invent model ids.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from trivium.catalog.rows import Endpoint
from trivium.errors import (
    TriviumError,
    UpstreamAuthError,
    UpstreamCut,
    UpstreamError,
    UpstreamQuotaExhausted,
    UpstreamRateLimited,
    UpstreamTLSError,
    UpstreamUnreachable,
)
from trivium.routing.allowance import Allowance, Bench, scope_of
from trivium.routing.disposition import AT_ONCE, RETRY_AFTER_S_MAX, Step, after_failure
from trivium.routing.draw import seed_of
from trivium.routing.health import Health
from trivium.routing.plan import Plan, Rejected
from trivium.routing.preferences import Percentiles, Preferences, arranged
from trivium.routing.ranking import (
    PRIOR_ITL_S,
    PRIOR_TTFT_S,
    Board,
    Condition,
    Size,
    board,
    condition_of,
    order,
)
from trivium.routing.route import Breaker, Route
from trivium.routing.statistics import Performance, Statistics, performance, size_of
from trivium.routing.sticky import Session, Sticky
from trivium.types.request import Operation

ENDPOINTS_MAX = 4096
BOARDS_MAX = 1024
BOARD_S = 0.25
"""How long means are good for; who waits and who is open is looked at for every request."""
VIEWS_MAX = 64
"""Orders of one plan that are kept as plans; more endpoints than four have more orders than that."""
WINDOW_S = 300
"""What callers prefer is measured over the last five minutes."""
LOOK_AGAIN_S = 0.05
"""A probe that is under way may end at any time; so often a board is made anew for that."""
BRIEF_S = 2.0
"""A limit that ends within this is waited for; else somebody else is asked."""
OUTPUT_TOKENS_EXPECTED = 500.0
"""What an answer takes where its route has given none yet."""
OUTPUT_WEIGHT = 0.05
SAMPLES_MAX = 256
"""Answers whose figures are left for whoever looks next."""
BUFFERED_ITL_S = 0.0001
"""Nobody generates faster: an answer that came so was buffered, and its speed shows from when it was asked only."""


class Asking(Protocol):
    """As much of a request as conditions depend on."""

    @property
    def input_tokens(self) -> int: ...
    @property
    def operation(self) -> Operation: ...
    @property
    def plan(self) -> Plan | None: ...
    @property
    def session(self) -> Session | None: ...
    @property
    def timeout_s(self) -> float | None:
        """What the caller itself bounds it by."""
        ...

    @property
    def deadline(self) -> float:
        """By the clock."""
        ...


class Attempt(Protocol):
    """As much of an attempt: where, for whom, and how it went."""

    health: Health | None
    counted: bool
    """A limit of its key counts it."""

    @property
    def exchange(self) -> Asking: ...
    @property
    def endpoint(self) -> Endpoint: ...
    @property
    def credential(self) -> int: ...
    @property
    def stream(self) -> bool: ...
    @property
    def written(self) -> bool: ...
    def times(self) -> tuple[float | None, float, float]:
        """Seconds from its sending to the first content, where its answer is a stream, and to now, by the clock."""
        ...

    def read_cache(self) -> bool:
        """Whether a part of its prompt was read from a cache."""
        ...


class _Kept(msgspec.Struct):
    """A board with its plan, until when it is good, and the plans that its orders have made."""

    plan: Plan
    board: Board
    until_s: float
    change: int
    views: dict[tuple[int, ...], Plan]


class Conditions:
    """One a process. Times are Unix seconds that only run forwards, so that processes can share figures.

    `offset_s` is what the clock lacks of them.
    """

    def __init__(self, now: Callable[[], float], offset_s: float = 0.0) -> None:
        self.clock = now
        self.offset_s = offset_s
        self.healths: dict[str, Health] = {}
        self.allowances: dict[tuple[str, int, str], Allowance] = {}
        self.credentials: dict[tuple[str, int], Bench] = {}
        self.limited: set[str] = set()
        """Providers whose limits are known or whose credentials are benched; all others cost nothing to look at."""
        self.outputs: dict[str, float] = {}
        """Tokens that an answer of each route takes."""
        self.sticky = Sticky()
        self.disturbed = False
        """Anything at all is held against anybody; if not, as nearly always, nobody has to be looked at."""
        self.change = 0
        """Counts whatever moves an endpoint at once; a board of before is stale."""
        self._boards: dict[int, _Kept] = {}

    def now(self) -> float:
        return self.clock() + self.offset_s

    # ---- the order of a plan

    def ranked(
        self,
        plan: Plan,
        input_tokens: int,
        output_tokens_max: int | None,
        id_: str,
        session: Session | None = None,
    ) -> Plan:
        """The plan with its endpoints in the order in which this request asks them; a session stays where it is."""
        now = self.now()
        kept = self.board(plan, now)
        made = kept.board
        places = made.plain
        if places is None:
            size = self.size(plan, input_tokens, output_tokens_max)
            seed = seed_of(session.name if session is not None and session.named else id_)
            places = order(made, plan.route, size, seed, now)
            if session is not None and (at := self.sticky.find(session, now)) is not None:
                places = staying(made, places, at)
        view = kept.views.get(places)
        if view is None:
            if len(kept.views) >= VIEWS_MAX:
                kept.views.clear()
            view = kept.views[places] = reordered(plan, places)
        return view

    def preferred(self, view: Plan, wish: Preferences) -> Plan:
        """A ranked plan as the caller prefers it; what is put off stays behind what may be asked."""
        now = self.now()
        models = {endpoint.id: view.group(place) for place, endpoint in enumerate(view.endpoints)}
        listed = arranged(wish, view.endpoints, models, self)
        listed.sort(key=lambda endpoint: bool(self.put_off(endpoint, now, 0)[0]))
        rejected: tuple[Rejected, ...] = ()
        if wish.allow_fallbacks is False and not wish.order:
            why = f"`provider.allow_fallbacks` is false, and `{listed[0].id}` comes first"
            rejected = tuple(Rejected(endpoint.id, "allowed_providers", why) for endpoint in listed[1:])
            del listed[1:]
        groups = tuple(models[endpoint.id] for endpoint in listed) if view.groups else ()
        return msgspec.structs.replace(
            view, endpoints=tuple(listed), groups=groups, rejected=(*view.rejected, *rejected)
        )

    # ---- routing.preferences.Measured

    def throughput(self, endpoint: str) -> Percentiles | None:
        health = self.healths.get(endpoint)
        found = None if health is None else health.measured().throughput(self.now(), WINDOW_S)
        return None if found is None else Percentiles(*found.values())

    def latency(self, endpoint: str) -> Percentiles | None:
        health = self.healths.get(endpoint)
        found = None if health is None else health.measured().latency_s(self.now(), WINDOW_S)
        return None if found is None else Percentiles(*found.values())

    def performance(self, endpoint: str) -> Performance | None:
        """How an endpoint has been doing; None where nobody has asked it."""
        health = self.healths.get(endpoint)
        return None if health is None else performance(health.measured(), self.now())

    # ---- the size of a request

    def size(self, plan: Plan, input_tokens: int, output_tokens_max: int | None) -> Size:
        expected = self.outputs.get(plan.route.name, OUTPUT_TOKENS_EXPECTED)
        return Size(input_tokens, min(expected, output_tokens_max) if output_tokens_max else expected)

    def board(self, plan: Plan, now: float) -> _Kept:
        """The plan's board, made anew when it is old or something has moved."""
        kept = self._boards.get(id(plan))
        if kept is not None and kept.change == self.change and now < kept.until_s and kept.plan is plan:
            return kept
        conditions, until_s = self._conditions(plan, now)
        made = board(plan, conditions, [self.healths.get(endpoint.id) for endpoint in plan.endpoints])
        if len(self._boards) >= BOARDS_MAX:
            self._boards.clear()
        views = kept.views if kept is not None and kept.plan is plan else {tuple(range(len(plan.endpoints))): plan}
        kept = self._boards[id(plan)] = _Kept(plan, made, until_s, self.change, views)
        return kept

    def _conditions(self, plan: Plan, now: float) -> tuple[list[Condition], float]:
        """How each endpoint is, drawn towards the pool's mean where little is known; and until when that holds."""
        healths = [self.healths.get(endpoint.id) for endpoint in plan.endpoints]
        measured = [health.means() if health is not None else None for health in healths]
        known = [one for one in measured if one is not None]
        ttft_s = _median([mean for one in known if (mean := one.mean_ttft_s) is not None], PRIOR_TTFT_S)
        itl_s = _median([mean for one in known if (mean := one.mean_itl_s) is not None], PRIOR_ITL_S)
        until_s, found = now + BOARD_S, list[Condition]()
        for endpoint, one in zip(plan.endpoints, measured, strict=True):
            condition = condition_of(one, now, ttft_s, itl_s)
            wait_s, reason, why = self.put_off(endpoint, now, 0)  # whatever its size: a board is for all of them
            if wait_s:
                until_s = min(until_s, now + max(LOOK_AGAIN_S, wait_s))
                blocked_s = wait_s if reason != "rate_limited" or wait_s > BRIEF_S else 0.0
                condition = msgspec.structs.replace(condition, wait_s=blocked_s, why=why)
            if endpoint.provider.id in self.limited:
                condition = msgspec.structs.replace(condition, headroom=self._headroom(endpoint))
            found.append(condition)
        return found, until_s

    # ---- whether an endpoint may be asked

    def put_off(self, endpoint: Endpoint, now: float, input_tokens: int) -> tuple[float, str, str]:
        """For how long an endpoint is not to be asked, with the reason and its words; 0 if it may be."""
        health = self.healths.get(endpoint.id)
        if health is not None:
            breaker = health.breaker
            if breaker.open_until_s and not breaker.allows(now):
                wait = max(0.001, breaker.open_until_s - now)
                return wait, "breaker_open", f"its breaker is open after {breaker.failures} failures"
            if health.missing is not None and now < health.missing.until_s:
                return health.missing.until_s - now, "not_found", "its provider did not know the model"
        if endpoint.provider.id in self.limited:
            return self._limited(endpoint, now, input_tokens)
        return 0.0, "", ""

    def _limited(self, endpoint: Endpoint, now: float, input_tokens: int) -> tuple[float, str, str]:
        wait, reason, told = min(self._blocked(endpoint, number, now, input_tokens) for number in range(endpoint.keys))
        if not wait:
            return 0.0, "", ""
        what = "a rate limit is reached" if reason == "rate_limited" else "its key is refused"
        return wait, reason, f"{what}, {'as its provider says, ' * told}for {wait:.3g} s more"

    def _blocked(self, endpoint: Endpoint, number: int, now: float, input_tokens: int) -> tuple[float, str, bool]:
        bench = self.credentials.get((endpoint.provider.id, number))
        if bench is not None and now < bench.until_s:
            return bench.until_s - now, bench.reason, bench.told
        allowance = self.allowances.get((endpoint.provider.id, number, endpoint.model))
        if allowance is None:
            return 0.0, "", False
        return allowance.blocked_s(now, input_tokens), "rate_limited", allowance.bench is None or allowance.bench.told

    def allowed(self, plan: Plan, position: int, input_tokens: int, first: Callable[[Endpoint], bool]) -> int:
        """The first position from `position` on that may be asked now or soon; `position` if none may.

        `first`: whether an endpoint whose cool-down is over is still to be asked something free.
        """
        if not self.disturbed:
            return position
        now, count = self.now(), len(plan.endpoints)
        for index in range(position, count):
            endpoint = plan.endpoints[index]
            wait_s, reason, _ = self.put_off(endpoint, now, input_tokens)
            if (not wait_s and (index + 1 == count or not first(endpoint))) or (
                reason == "rate_limited" and wait_s <= BRIEF_S
            ):
                return index
        open_ones = (i for i in range(position, count) if not self._is_limited(plan.endpoints[i], now, input_tokens))
        return next(open_ones, position)  # the least bad: who may be back sooner than its breaker thinks

    def _is_limited(self, endpoint: Endpoint, now: float, input_tokens: int) -> bool:
        return self.put_off(endpoint, now, input_tokens)[1] in ("rate_limited", "credential", "not_found")

    def limited_s(self, endpoint: Endpoint, input_tokens: int, deadline: float) -> float:
        """For how long to wait before an endpoint whose limit is known to be reached is asked; 0: ask it now.

        The deadline is one of the clock. Raises UpstreamRateLimited where its provider has said that it takes too long.
        """
        if endpoint.provider.id not in self.limited:
            return 0.0
        wait_s, reason, why = self.put_off(endpoint, self.now(), input_tokens)
        if reason != "rate_limited" or not self.is_told(endpoint):
            return 0.0
        if wait_s <= RETRY_AFTER_S_MAX and wait_s < deadline - self.clock():
            return wait_s
        raise limited(endpoint, wait_s, why)

    def _headroom(self, endpoint: Endpoint) -> float:
        found = [
            allowance.headroom()
            for number in range(endpoint.keys)
            if (allowance := self.allowances.get((endpoint.provider.id, number, endpoint.model))) is not None
        ]
        return max(found, default=1.0)

    def is_told(self, endpoint: Endpoint) -> bool:
        """Whether a provider itself has said that each of its keys has reached a limit of a model, and until when."""
        found = [self.allowances.get((endpoint.provider.id, number, endpoint.model)) for number in range(endpoint.keys)]
        return all(one is not None and (one.bench is None or one.bench.told) for one in found)

    def credential(self, endpoint: Endpoint, input_tokens: int) -> int:
        """Which of a provider's credentials to use: of those that may, the one with the most left, the least busy."""
        if endpoint.keys == 1:
            return 0
        now = self.now()

        def rank(number: int) -> tuple[float, float, int, int]:
            allowance = self.allowances.get((endpoint.provider.id, number, endpoint.model))
            wait, _, _ = self._blocked(endpoint, number, now, input_tokens)
            if allowance is None:
                return wait, -1.0, 0, number
            return wait, -allowance.headroom(), allowance.in_flight, number

        return min(range(endpoint.keys), key=rank)

    # ---- what attempts tell

    def health(self, endpoint: Endpoint) -> Health:
        found = self.healths.get(endpoint.id)
        if found is None:
            if len(self.healths) >= ENDPOINTS_MAX:
                self._forget()
            found = self.healths[endpoint.id] = Health(self.now(), local=endpoint.access == "local")
            if endpoint.keys > 1:
                self.limited.add(endpoint.provider.id)
                self.disturbed = True
        return found

    def _forget(self) -> None:
        """Drop what was used least lately, except where it keeps callers from an endpoint that fails."""
        kept = {name: one for name, one in self.healths.items() if one.breaker.open_until_s or one.in_flight}
        if len(kept) > ENDPOINTS_MAX // 2:
            kept.clear()
        others = sorted(self.healths.items(), key=lambda pair: pair[1].touched_s)
        self.healths = dict(others[-(ENDPOINTS_MAX // 2 - len(kept)) :]) | kept
        self.change += 1

    def sent(self, attempt: Attempt) -> None:
        """An attempt leaves."""
        endpoint, now = attempt.endpoint, self.clock() + self.offset_s
        health = attempt.health = self.healths.get(endpoint.id) or self.health(endpoint)
        if now - health.touched_s > 1.0:
            health.fold()  # what was sent before belongs to its own minute
        health.touched_s = now
        health.sent += 1
        health.in_flight += 1
        if attempt.stream:
            health.waiting[attempt] = now
        if self.disturbed:
            health.breaker.sent(now)
            if endpoint.provider.id in self.limited:
                attempt.counted = True
                self._allowance(endpoint, attempt.credential).sent(attempt.exchange.input_tokens)

    def _allowance(self, endpoint: Endpoint, number: int) -> Allowance:
        name = (endpoint.provider.id, number, endpoint.model)
        found = self.allowances.get(name)
        if found is None:
            if len(self.allowances) >= ENDPOINTS_MAX:
                self.allowances = {name: one for name, one in self.allowances.items() if one.in_flight}
            found = self.allowances[name] = Allowance()
        return found

    def heard(self, attempt: Attempt, fields: Mapping[bytes, bytes]) -> None:
        """An answer's head says something of limits."""
        endpoint = attempt.endpoint
        allowance = self._allowance(endpoint, attempt.credential)
        if endpoint.provider.id not in self.limited:
            self.limited.add(endpoint.provider.id)
            self.disturbed = True
        if not attempt.counted:
            attempt.counted = True
            allowance.in_flight += 1
        had = allowance.requests
        allowance.hear(fields, self.now())
        if allowance.requests is not None and allowance.requests < 1 and had != allowance.requests:
            self._moved()

    def ended(self, attempt: Attempt, error: TriviumError | None, output_tokens: int, rule: Breaker) -> None:
        """An attempt is over: its figures, and whose fault it was if it failed."""
        health = attempt.health
        if health is None:
            return  # it never left
        endpoint = attempt.endpoint
        health.in_flight -= 1
        if health.waiting:
            health.waiting.pop(attempt, None)
        if attempt.counted:
            self._allowance(endpoint, attempt.credential).ended()
        if error is None:
            self._answered(attempt, health, output_tokens)
            return
        now, asking = self.now(), attempt.exchange
        impatient = asking.timeout_s is not None and self.clock() >= asking.deadline
        if not isinstance(error, UpstreamError) or impatient:
            health.breaker.abandoned()  # its caller left or would not wait, or we failed
        elif (scope := self._put_off_by(attempt, error, now)) or not (
            error.retryable or isinstance(error, UpstreamTLSError)
        ):
            health.breaker.abandoned()
            if scope:
                self._moved()
        else:
            health.own.fail(now)
            was_open = bool(health.breaker.open_until_s)
            health.breaker.failed(now, rule, health.sent)
            if health.breaker.open_until_s and not was_open:
                self._moved()

    def _answered(self, attempt: Attempt, health: Health, output_tokens: int) -> None:
        exchange, (ttft_s, took_s, ended_s) = attempt.exchange, attempt.times()
        ended_s += self.offset_s
        if health.breaker.failures or health.breaker.hinted:
            was_open = bool(health.breaker.open_until_s)
            health.breaker.succeeded(ended_s - took_s)
            if was_open and not health.breaker.open_until_s:
                self._moved()
        if self.disturbed:
            self._welcome(attempt, health, ended_s - took_s)
        if exchange.operation != "chat":
            return
        if exchange.session is not None:
            self.sticky.answered(exchange.session, attempt.endpoint.id, ended_s, cached=attempt.read_cache())
        itl_s = None
        if output_tokens > 1:
            itl_s = (took_s - (ttft_s or 0.0)) / (output_tokens - 1)
            if ttft_s is None or itl_s < BUFFERED_ITL_S:
                itl_s = took_s / output_tokens
        health.samples.append((ended_s, size_of(exchange.input_tokens), ttft_s, itl_s))
        if len(health.samples) > SAMPLES_MAX:
            health.fold()
        plan = exchange.plan
        if plan is not None and len(plan.endpoints) > 1 and output_tokens:
            self._answer_took(plan.route.name, output_tokens)

    def _answer_took(self, route: str, output_tokens: int) -> None:
        before = self.outputs.get(route)
        if before is None and len(self.outputs) >= ENDPOINTS_MAX:
            self.outputs.clear()
        self.outputs[route] = output_tokens if before is None else before + (output_tokens - before) * OUTPUT_WEIGHT

    def _welcome(self, attempt: Attempt, health: Health, sent_s: float) -> None:
        """An answer came: whatever was held against a model or a key when it was sent is over."""
        if health.missing is not None and sent_s >= health.missing.since_s:
            health.missing = None
        provider = attempt.endpoint.provider.id
        if provider in self.limited:
            bench = self.credentials.get((provider, attempt.credential))
            if bench is not None and sent_s >= bench.since_s:
                del self.credentials[provider, attempt.credential]
            self._allowance(attempt.endpoint, attempt.credential).welcome(sent_s)

    def _moved(self) -> None:
        """Something is held against an endpoint, or is not any more: boards of before are stale."""
        self.change += 1
        held = any(one.breaker.open_until_s or one.missing for one in self.healths.values())
        self.disturbed = held or bool(self.limited)

    def at_once(self, failed: Attempt, error: TriviumError, tries: int) -> bool:
        """Whether the same endpoint is asked again at once: an engine at its new address, a provider with another key.

        `tries` is how many the endpoint has had of this request.
        """
        endpoint = failed.endpoint
        gone = isinstance(error, UpstreamUnreachable | UpstreamCut)
        if endpoint.engine is not None and gone and tries == 1:
            return True  # it was unloaded or moved since its address was learnt: ask its owner once more
        return tries < endpoint.keys and self._has_other_key(failed, error)

    def step(
        self, failed: Attempt, error: TriviumError, route: Route, *, tries: int, left_s: float, jitter: float
    ) -> Step:
        """What follows a failed attempt that is not repeated `at_once`."""
        step = after_failure(
            error,
            tries=tries,
            retries=0 if failed.endpoint.access == "local" else route.retries,
            left_s=left_s,
            jitter=jitter,
            passes_refusals=route.on_refusal == "pass" and "refusal" not in route.fallbacks,
        )
        return AT_ONCE if step.move == "again" and not self._may_repeat(failed) else step

    def _has_other_key(self, failed: Attempt, error: TriviumError) -> bool:
        """Whether what a provider refused to one of its keys may be asked with another one at once."""
        refused = isinstance(error, UpstreamRateLimited | UpstreamQuotaExhausted | UpstreamAuthError)
        endpoint = failed.endpoint
        return refused and not self.put_off(endpoint, self.now(), failed.exchange.input_tokens)[0]

    def _may_repeat(self, failed: Attempt) -> bool:
        """Whether the same endpoint may be asked again by the same request: it is not suspect, and it can bear it."""
        health, now = failed.health, self.now()
        if health is None or not failed.written:
            return True  # what has sent nothing costs nobody anything
        plan = failed.exchange.plan
        suspect = health.breaker.suspect(plan.route.breaker if plan is not None else Breaker())
        return not suspect and not health.breaker.open_until_s and health.retries.take(now, health.sent)

    def _put_off_by(self, attempt: Attempt, error: UpstreamError, now: float) -> bool:
        """Bench what a refusal is about, if it is not the endpoint's own condition."""
        endpoint, number = attempt.endpoint, attempt.credential
        bench = self.credentials.get((endpoint.provider.id, number))
        scope = scope_of(error, bench.times if bench is not None else 0)
        if scope is None:
            return False
        if scope.of == "endpoint":
            if endpoint.access == "routed":
                return False  # a service's 404 is about what was wished for as often as about the model
            if attempt.health is not None:
                attempt.health.missing = Bench(now + scope.wait_s, scope.reason, since_s=now)
            return True
        self.limited.add(endpoint.provider.id)
        if scope.of == "credential":
            times = bench.times + 1 if bench is not None else 1
            self.credentials[endpoint.provider.id, number] = Bench(
                now + scope.wait_s, scope.reason, times=times, since_s=now
            )
        else:
            self._allowance(endpoint, number).put_off(now, scope.wait_s, scope.reason, told=scope.told)
        return True

    # ---- what processes share

    def told(self) -> dict[str, Statistics]:
        """What was measured here since it was told last."""
        return {name: health.share() for name, health in self.healths.items() if not health.quiet}

    def hear_others(self, measured: Mapping[str, Statistics], failing: frozenset[str]) -> None:
        """Take over what all processes have measured; who is `failing` elsewhere is suspected here."""
        for name, statistics in measured.items():
            health = self.healths.get(name)
            if health is not None:
                health.shared = statistics
                health.breaker.hinted = name in failing

    def restore(self, measured: Mapping[str, Statistics]) -> None:
        """Begin with what was measured before."""
        for name, statistics in list(measured.items())[:ENDPOINTS_MAX]:
            health = self.healths[name] = Health(self.now(), local=False)
            health.shared = statistics
            health.own.tau_s = statistics.tau_s

    def failing(self) -> list[str]:
        return [name for name, health in self.healths.items() if health.breaker.open_until_s]


def staying(made: Board, places: tuple[int, ...], at: str) -> tuple[int, ...]:
    """An order with an endpoint moved to its front, unless others are better off now: of its rank it stays."""
    place = next((row.index for row in made.ranks[0] if row.name == seed_of(at)), None)
    return places if place is None else (place, *(one for one in places if one != place))


def reordered(plan: Plan, places: tuple[int, ...]) -> Plan:
    """The plan with its endpoints in another order."""
    groups = tuple(plan.groups[place] for place in places) if plan.groups else ()
    return msgspec.structs.replace(plan, endpoints=tuple(plan.endpoints[place] for place in places), groups=groups)


def _median(values: list[float], otherwise: float) -> float:
    values.sort()
    return values[len(values) // 2] if values else otherwise


def limited(endpoint: Endpoint, wait_s: float, why: str) -> UpstreamRateLimited:
    """What a caller is told instead of being sent where a limit is known to be reached."""
    return UpstreamRateLimited(
        f"`{endpoint.id}` is not asked: {why}.", remedy="Try again then.", retry_after_s=wait_s, endpoint=endpoint.id
    )
