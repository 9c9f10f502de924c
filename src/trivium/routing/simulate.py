"""Simulation: requests on a virtual clock, through the code that orders, retries and puts off real ones.

An event queue whose every turn is an arrival, a first content, an end or the end of a wait. What upstreams do is a
`World`'s: a script with faults here, recorded traffic in `advisor.replay`. Nothing is drawn but from seeds, so that
the same input gives the same output. Its steps are those of `gateway.pipeline`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from heapq import heappop, heappush, heapreplace
from typing import Literal, Protocol

import msgspec

from trivium.catalog.rows import Endpoint
from trivium.errors import (
    NoEndpoint,
    TriviumError,
    UpstreamContextLength,
    UpstreamRateLimited,
    UpstreamServerError,
    UpstreamTimeout,
)
from trivium.routing.conditions import Conditions
from trivium.routing.draw import unit
from trivium.routing.health import Health
from trivium.routing.plan import Plan, larger_window
from trivium.routing.sticky import Session
from trivium.types.request import Operation


class Answer(msgspec.Struct, frozen=True, gc=False):
    """What an endpoint does with an attempt; seconds from its sending."""

    endpoint: Endpoint
    took_s: float
    ttft_s: float | None = None
    output_tokens: int = 0
    error: TriviumError | None = None
    released: bool = False
    """Content had reached the caller before the error, so that nobody else can be asked from the beginning."""
    rescued: bool = False
    """Somebody else goes on with it."""


class Request(msgspec.Struct, eq=False, gc=False, kw_only=True):
    """A request that arrives at `at_s` with its plan, as yet in no order; below, how far it has come."""

    id: str
    seed: int
    at_s: float
    plan: Plan
    input_tokens: int = 0
    output_tokens: int = 0
    """How long an answer it gets."""
    max_output_tokens: int | None = None
    operation: Operation = "chat"
    stream: bool = True
    session: Session | None = None
    timeout_s: float | None = None
    position: int = 0
    tries: int = 0
    deadline: float = 0.0
    answers: tuple[Answer, ...] = ()


class Attempt(msgspec.Struct, eq=False, gc=False):
    """As `routing.conditions.Attempt`."""

    exchange: Request
    answer: Answer
    credential: int
    stream: bool
    health: Health | None = None
    counted: bool = False
    written: bool = True
    ended_s: float = 0.0

    @property
    def endpoint(self) -> Endpoint:
        return self.answer.endpoint

    def times(self) -> tuple[float | None, float, float]:
        return self.answer.ttft_s if self.stream else None, self.answer.took_s, self.ended_s

    def read_cache(self) -> bool:
        return False


class Bounds(msgspec.Struct, frozen=True):
    """What an attempt at one endpoint of a plan is held to, and whether it is streamed whatever its caller asked."""

    first_content_s: float = 12.0
    total_s: float = 600.0
    streams: bool = False


class World(Protocol):
    """Everything outside of the router."""

    def answer(self, request: Request, endpoint: Endpoint, now_s: float) -> Answer: ...
    def bounds(self, request: Request, position: int) -> Bounds: ...
    def free(self, request: Request, endpoint: Endpoint, now_s: float) -> bool | None:
        """Whether an endpoint that has failed answers something free; None: there is nothing to ask it."""
        ...

    def further(self, request: Request, error: TriviumError) -> Plan:
        """The plan with what its route names for a failure, next in turn."""
        ...

    def over(self, request: Request, error: TriviumError | None, now_s: float) -> None:
        """A request has ended: its last answer answered it, or an error did."""
        ...


_Event = tuple[float, int, Attempt | None, Request]
"""When, a number (keeps equal times in order; below 0: a first content), an attempt that goes on, else its request."""


class Simulation:
    """Runs requests, which come in the order of their arrival, in a world.

    `slack_s`: how exactly times are known; what may have ended before something else began is taken to have.
    """

    def __init__(self, world: World, slack_s: float = 0.0) -> None:
        self.now_s = 0.0
        self.conditions = Conditions(lambda: self.now_s)
        self._world = world
        self._asking: Request | None = None
        self._slack_s = slack_s
        self._events: list[_Event] = []
        self._count = 0

    def run(self, requests: Iterable[Request]) -> None:
        for request in requests:
            self._until(request.at_s)
            self.now_s = request.at_s
            self._begin(request)
        self._until(math.inf)

    def _until(self, end_s: float) -> None:
        """Let everything happen that does by then."""
        events = self._events
        while events and events[0][0] <= end_s:
            at_s, number, attempt, request = events[0]
            self.now_s = max(self.now_s, at_s)
            if attempt is None:
                heappop(events)
                self._attempt(request)
            elif number > 0:
                heappop(events)
                self._ended(attempt)
            else:
                if attempt.health is not None:
                    attempt.health.waiting.pop(attempt, None)
                answer = attempt.answer
                heapreplace(events, (at_s + answer.took_s - (answer.ttft_s or 0.0), -number, attempt, request))

    def _at(self, at_s: float, request: Request, attempt: Attempt | None = None, sign: int = 1) -> None:
        self._count += 1
        heappush(self._events, (at_s, sign * self._count, attempt, request))

    # ---- the steps of the pipeline

    def _begin(self, request: Request) -> None:
        plan = request.plan
        if not plan.endpoints:
            self._world.over(request, NoEndpoint("Nobody may be asked."), self.now_s)
            return
        if len(plan.endpoints) > 1:
            request.plan = self.conditions.ranked(plan, request.input_tokens, request.max_output_tokens, request.id)
        bounds = self._world.bounds(request, 0)
        request.deadline = self.now_s + bounds.total_s
        self._attempt(request, bounds)

    def _attempt(self, request: Request, bounds: Bounds | None = None) -> None:
        plan, conditions, now = request.plan, self.conditions, self.now_s
        self._asking = request
        position = conditions.allowed(plan, request.position, request.input_tokens, self._first)
        if position != request.position:
            request.position, request.tries, bounds = position, 0, None
        endpoint = plan.endpoints[position]
        try:
            wait_s = conditions.limited_s(endpoint, request.input_tokens, request.deadline)
        except UpstreamRateLimited as error:
            self._world.over(request, error, now)
            return
        if wait_s:
            self._at(now + wait_s, request)
            return
        credential = conditions.credential(endpoint, request.input_tokens) if endpoint.keys > 1 else 0
        bounds = bounds or self._world.bounds(request, position)
        stream = request.stream or bounds.streams
        answer = self._world.answer(request, endpoint, now)
        if answer.took_s > bounds.first_content_s or answer.took_s > request.deadline - now:
            answer = _bounded(answer, bounds, request.deadline - now, stream=stream)
        attempt = Attempt(request, answer, credential, stream)
        request.answers += (answer,)
        request.tries += 1
        conditions.sent(attempt)
        if stream and answer.ttft_s is not None:
            self._at(now + answer.ttft_s - self._slack_s, request, attempt, -1)
        else:
            self._at(now + answer.took_s - self._slack_s, request, attempt)

    def _first(self, endpoint: Endpoint) -> bool:
        """Ask an endpoint something free, as `gateway.probe` does; here the answer comes at once."""
        breaker = self.conditions.health(endpoint).breaker
        if not breaker.open_until_s or breaker.asked or self._asking is None:
            return False
        answers = self._world.free(self._asking, endpoint, self.now_s)
        self.conditions.change += 1
        if answers is False:
            breaker.still_out(self.now_s)
            return True
        breaker.asked = bool(answers)
        return False

    def _ended(self, attempt: Attempt) -> None:
        request, answer = attempt.exchange, attempt.answer
        attempt.ended_s = self.now_s
        self.conditions.ended(attempt, answer.error, answer.output_tokens, request.plan.route.breaker)
        if answer.error is None:
            self._world.over(request, None, self.now_s)
        else:
            self._failed(request, attempt, answer.error)

    def _failed(self, request: Request, failed: Attempt, error: TriviumError) -> None:
        route, left_s, made = request.plan.route, request.deadline - self.now_s, len(request.answers)
        lost = failed.answer.released and not failed.answer.rescued
        if lost or made >= route.attempts or left_s <= 0:
            self._world.over(request, error, self.now_s)
            return
        if failed.answer.released:
            self._step_on(request, error)
            return
        if self.conditions.at_once(failed, error, request.tries):
            self._attempt(request)
            return
        jitter = unit(request.seed, made)
        step = self.conditions.step(failed, error, route, tries=request.tries, left_s=left_s, jitter=jitter)
        if step.move == "stop":
            self._world.over(request, error, self.now_s)
        elif step.move == "again":
            self._at(self.now_s + step.delay_s, request)
        else:
            self._step_on(request, error)

    def _step_on(self, request: Request, error: TriviumError) -> None:
        if request.plan.route.fallbacks:
            request.plan = self._world.further(request, error)
        position = request.position + 1
        if isinstance(error, UpstreamContextLength):
            position = larger_window(request.plan, request.position)
        if position >= len(request.plan.endpoints):
            self._world.over(request, error, self.now_s)
            return
        request.position, request.tries = position, 0
        self._attempt(request)


def _bounded(answer: Answer, bounds: Bounds, left_s: float, *, stream: bool) -> Answer:
    """The answer as far as its deadlines let it come."""
    took_s, ttft_s = answer.took_s, answer.ttft_s
    first_s = took_s if ttft_s is None else ttft_s
    if stream and first_s > bounds.first_content_s:
        return _timed_out(answer, min(left_s, bounds.first_content_s), None)
    if took_s > left_s:
        return _timed_out(answer, left_s, ttft_s if stream and first_s < left_s else None)
    return answer


def _timed_out(answer: Answer, took_s: float, ttft_s: float | None) -> Answer:
    error = UpstreamTimeout(f"`{answer.endpoint.id}` did not answer in time.")
    return Answer(answer.endpoint, took_s, ttft_s, 0, error, released=ttft_s is not None)


# ---- a world by script


class Fault(msgspec.Struct, frozen=True):
    """What is wrong with an endpoint from `from_s` until before `until_s`: a failure, or that it is slower."""

    from_s: float
    until_s: float
    kind: Literal["down", "limited", "slow"] = "down"
    times: float = 10.0
    """How much slower."""


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """How an endpoint behaves: mean seconds to the first content and a token, and its faults."""

    ttft_s: float
    itl_s: float
    faults: tuple[Fault, ...] = ()


BOUNDS = Bounds()
FAILS_S = 0.05
"""How soon a scripted failure comes."""
_DOWN, _LIMITED = UpstreamServerError("It is down."), UpstreamRateLimited("It is busy.")


class Scripted:
    """A world of scripts, by the endpoint's id; it counts what was asked of whom and what came of it."""

    def __init__(self, scripts: Mapping[str, Script], bounds: Bounds = BOUNDS) -> None:
        self.scripts = scripts
        self.sent = dict.fromkeys(scripts, 0)
        self.answered = dict.fromkeys(scripts, 0)
        self.errors = 0
        self._bounds = bounds

    def answer(self, request: Request, endpoint: Endpoint, now_s: float) -> Answer:
        script = self.scripts[endpoint.id]
        self.sent[endpoint.id] += 1
        # Half of the time is constant and half exponential: queues have tails.
        varied = 0.5 - 0.5 * math.log(unit(request.seed, self.sent[endpoint.id]))
        for fault in script.faults:
            if fault.from_s <= now_s < fault.until_s:
                if fault.kind != "slow":
                    return Answer(endpoint, FAILS_S, error=_DOWN if fault.kind == "down" else _LIMITED)
                varied *= fault.times
        ttft_s, tokens = script.ttft_s * varied, request.output_tokens
        return Answer(endpoint, ttft_s + tokens * script.itl_s, ttft_s, tokens)

    def bounds(self, request: Request, position: int) -> Bounds:
        return self._bounds

    def free(self, request: Request, endpoint: Endpoint, now_s: float) -> bool | None:
        return not any(
            one.kind == "down" and one.from_s <= now_s < one.until_s for one in self.scripts[endpoint.id].faults
        )

    def further(self, request: Request, error: TriviumError) -> Plan:
        return request.plan

    def over(self, request: Request, error: TriviumError | None, now_s: float) -> None:
        if error is None:
            self.answered[request.answers[-1].endpoint.id] += 1
        else:
            self.errors += 1


def poisson(
    plan: Plan, *, count: int, per_s: float, seed: int, input_tokens: int, output_tokens: int
) -> Iterator[Request]:
    """Requests that come independently of each other, so many a second."""
    at_s = 0.0
    for number in range(count):
        draw = unit(seed, number)
        at_s -= math.log(draw) / per_s
        yield Request(
            id=f"gen-{seed}-{number}",
            seed=int(draw * (1 << 32)),
            at_s=at_s,
            plan=plan,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
        )
