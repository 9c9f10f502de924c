"""What attempts tell of endpoints and credentials, whose fault a failure is, and the order that follows."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from trivium import errors
from trivium.catalog.rows import Endpoint, Price, Provider
from trivium.routing import conditions as module
from trivium.routing.conditions import BRIEF_S, Conditions
from trivium.routing.health import tier_of
from trivium.routing.plan import Plan
from trivium.routing.preferences import Preferences
from trivium.routing.route import Breaker, Order, Route
from trivium.routing.sticky import Session
from trivium.testing.clock import Clock
from trivium.types.data import DataClass

RULE = Breaker(failures=2)


def endpoint(name: str, *, provider: str = "", price: int | None = None, keys: int = 1) -> Endpoint:
    return Endpoint(
        id=f"{provider or name}/{name}",
        provider=Provider(id=provider or name),
        model=name,
        price=None if price is None else Price(input=price, output=price),
        context=None,
        max_output=None,
        capabilities=frozenset(),
        ceiling=DataClass.ANY,
        keys=keys,
    )


A, B, C = (endpoint(name, price=price) for name, price in (("a", 3_000_000), ("b", 1_000_000), ("c", 2_000_000)))


def plan(*endpoints: Endpoint, strategy: Order = "order", groups: tuple[int, ...] = ()) -> Plan:
    return Plan(
        requested="r",
        route=Route(name="r", targets=(), breaker=RULE, strategy=strategy),
        endpoints=endpoints,
        groups=groups,
    )


@pytest.fixture
def clock() -> Clock:
    return Clock(1000.0)


@pytest.fixture
def conditions(clock: Clock) -> Conditions:
    return Conditions(clock.now)


class Attempt:
    """As much of one as is told of."""

    def __init__(
        self, conditions: Conditions, clock: Clock, at: Endpoint, *, stream: bool = True, key: int = 0
    ) -> None:
        self.endpoint, self.stream, self.credential, self.health = at, stream, key, None
        self.counted = False
        self.exchange = SimpleNamespace(
            plan=plan(at), input_tokens=100, operation="chat", session=None, timeout_s=None, deadline=1e9
        )
        self._conditions, self._clock, self._sent = conditions, clock, clock.now()
        self._first: float | None = None
        conditions.sent(cast("Any", self))

    def times(self) -> tuple[float | None, float, float]:
        return self._first, self._clock.now() - self._sent, self._clock.now()

    def content(self) -> None:
        self._first = self._clock.now() - self._sent
        cast("Any", self.health).waiting.pop(self, None)

    def end(self, error: errors.TriviumError | None = None, tokens: int = 11) -> None:
        self._conditions.ended(cast("Any", self), error, tokens if error is None else 0, RULE)


def fail(conditions: Conditions, clock: Clock, at: Endpoint, error: errors.TriviumError, times: int = 2) -> None:
    for _ in range(times):
        Attempt(conditions, clock, at).end(error)


def answer(conditions: Conditions, clock: Clock, at: Endpoint, ttft_s: float, took_s: float, tokens: int = 11) -> None:
    attempt = Attempt(conditions, clock, at)
    clock.advance(ttft_s)
    attempt.content()
    clock.advance(took_s - ttft_s)
    attempt.end(tokens=tokens)


def order(conditions: Conditions, made: Plan, id_: str = "gen-1", tokens: int = 100) -> list[str]:
    return [one.model for one in conditions.ranked(made, tokens, None, id_).endpoints]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (errors.UpstreamServerError("Oops."), "breaker_open"),
        (errors.UpstreamTimeout("Slow."), "breaker_open"),
        (errors.UpstreamCut("Cut."), "breaker_open"),
        (errors.UpstreamUnreachable("Gone."), "breaker_open"),
        (errors.UpstreamOverloaded("Busy."), "breaker_open"),
        (errors.UpstreamRateLimited("Slow down."), "rate_limited"),
        (errors.UpstreamQuotaExhausted("Pay."), "credential"),
        (errors.UpstreamAuthError("Who?"), "credential"),
        (errors.UpstreamNotFound("What?"), "not_found"),
        (errors.UpstreamRejected("No."), ""),
        (errors.UpstreamContextLength("Long."), ""),
        (errors.UpstreamRefused("Never."), ""),
        (errors.UpstreamTLSError("Expired."), "breaker_open"),
        (errors.ClientGone("Left."), ""),
        (errors.LedgerUnavailable("Full."), ""),
        (errors.Draining("Bye."), ""),
    ],
    ids=lambda value: value.kind if isinstance(value, errors.TriviumError) else "",
)
def test_what_a_failure_is_about(conditions: Conditions, clock: Clock, error: errors.TriviumError, reason: str) -> None:
    fail(conditions, clock, A, error)
    wait_s, found, why = conditions.put_off(A, conditions.now(), 100)
    assert found == reason
    assert bool(wait_s) == bool(reason) == bool(why)
    health = conditions.healths[A.id]
    assert bool(health.breaker.open_until_s) == (reason == "breaker_open")
    assert not health.in_flight
    assert not health.waiting


@pytest.mark.parametrize(
    ("error", "same_model", "same_key"),
    [
        (errors.UpstreamRateLimited("Slow down."), False, True),
        (errors.UpstreamAuthError("Who?"), False, False),
        (errors.UpstreamNotFound("What?"), True, True),
    ],
)
def test_how_far_a_refusal_reaches(
    conditions: Conditions, clock: Clock, error: errors.TriviumError, same_model: bool, same_key: bool
) -> None:
    """A 429 is about a key and a model, a 401 about the key whatever it asks, a 404 about the model for any key."""
    one, other = endpoint("one", provider="p", keys=2), endpoint("other", provider="p", keys=2)
    fail(conditions, clock, one, error, 1)
    assert (conditions._blocked(other, 0, conditions.now(), 1)[0] == 0) == (same_key or same_model)
    assert conditions._blocked(one, 1, conditions.now(), 1)[0] == 0
    assert bool(conditions.put_off(one, conditions.now(), 1)[0]) == isinstance(error, errors.UpstreamNotFound)


def test_a_key_is_chosen_that_may_be_used(conditions: Conditions, clock: Clock) -> None:
    at = endpoint("m", keys=3)
    assert conditions.credential(at, 1) == 0
    Attempt(conditions, clock, at, key=0).end(errors.UpstreamRateLimited("Slow down.", retry_after_s=5.0))
    assert conditions.credential(at, 1) == 1
    held = Attempt(conditions, clock, at, key=1)
    assert conditions.credential(at, 1) == 2
    Attempt(conditions, clock, at, key=2).end(errors.UpstreamAuthError("Who?"))
    held.end()
    assert conditions.credential(at, 1) == 1
    clock.advance(5.1)
    assert conditions.credential(at, 1) in (0, 1)


def test_what_is_failing_is_asked_last_and_first_again_after_its_cool_down(
    conditions: Conditions, clock: Clock
) -> None:
    made = plan(A, B)
    assert conditions.ranked(made, 100, None, "x") is made
    fail(conditions, clock, A, errors.UpstreamTimeout("Slow."))
    assert order(conditions, made) == ["b", "a"]
    clock.advance(RULE.cooldown_s + 0.01)
    assert order(conditions, made) == ["a", "b"]
    answer(conditions, clock, A, 0.1, 0.2)
    assert conditions.healths[A.id].breaker.state(conditions.now()) == "closed"


def test_where_all_are_failing_the_order_stays(conditions: Conditions, clock: Clock) -> None:
    made = plan(A, B)
    for at in (A, B):
        fail(conditions, clock, at, errors.UpstreamTimeout("Slow."))
    assert order(conditions, made) == ["a", "b"]


def test_the_models_that_were_named_are_asked_one_after_the_other(conditions: Conditions, clock: Clock) -> None:
    made = plan(A, B, C, strategy="cheapest", groups=(0, 1, 1))
    assert order(conditions, made) == ["a", "b", "c"]
    fail(conditions, clock, A, errors.UpstreamTimeout("Slow."))
    assert order(conditions, made) == ["b", "c", "a"]


def test_the_cheapest_first_and_the_unknown_last(conditions: Conditions) -> None:
    unknown, free = endpoint("u"), endpoint("f", price=0)
    assert order(conditions, plan(unknown, A, B, C, free, strategy="cheapest")) == ["f", "b", "c", "a", "u"]


def test_the_fastest_is_known_by_its_answers(conditions: Conditions, clock: Clock) -> None:
    made = plan(A, B, strategy="fastest")
    for _ in range(5):
        answer(conditions, clock, A, 0.9, 1.5)
        answer(conditions, clock, B, 0.1, 0.2)
    assert order(conditions, made) == ["b", "a"]
    conditions.outputs["r"] = 1.0
    assert conditions.size(made, 10, None).output_tokens == 1.0
    assert conditions.size(made, 10, 3).output_tokens == 1.0


def test_a_stall_is_seen_before_it_ends(conditions: Conditions, clock: Clock) -> None:
    made = plan(A, B, strategy="fastest")
    conditions.outputs["r"] = 11.0
    for _ in range(5):
        answer(conditions, clock, A, 0.1, 0.2)
        answer(conditions, clock, B, 0.2, 0.4)
    assert order(conditions, made) == ["a", "b"]
    stalled = Attempt(conditions, clock, A)
    clock.advance(3.0)
    assert order(conditions, made) == ["b", "a"]
    stalled.content()
    assert not conditions.healths[A.id].waiting
    stalled.end(errors.ClientGone("Left."))
    assert order(conditions, made) == ["a", "b"]


def measured(conditions: Conditions, at: Endpoint, ttft_s: float) -> None:
    for _ in range(12):
        conditions.health(at).own.answer(conditions.now(), 0, ttft_s, 0.01)


def test_one_of_three_that_is_slow_goes_to_the_end(conditions: Conditions) -> None:
    made = plan(A, B, C)
    for at, ttft_s in ((A, 5.0), (B, 0.2), (C, 0.3)):
        measured(conditions, at, ttft_s)
    assert order(conditions, made) == ["b", "c", "a"]
    assert conditions.board(made, conditions.now()).board.notes[0] == ("slow beside the others",)


def test_at_most_half_of_a_pool_is_put_off_for_being_slow(conditions: Conditions) -> None:
    endpoints = [endpoint(f"e{number}") for number in range(5)]
    for number, ttft_s in enumerate((90.0, 70.0, 0.2, 0.2, 0.2)):
        measured(conditions, endpoints[number], ttft_s)
    assert order(conditions, plan(*endpoints)) == ["e2", "e3", "e4", "e0", "e1"]
    assert order(conditions, plan(*endpoints[:2])) == ["e0", "e1"]


def test_a_fast_pool_has_nobody_slow(conditions: Conditions) -> None:
    for at, ttft_s in ((A, 0.9), (B, 0.01), (C, 0.01)):
        measured(conditions, at, ttft_s)
    assert order(conditions, plan(A, B, C)) == ["a", "b", "c"]


def test_limits_that_a_provider_tells_are_kept_to(conditions: Conditions, clock: Clock) -> None:
    first, other = endpoint("first"), endpoint("other")
    attempt = Attempt(conditions, clock, first)
    told = {
        b"x-ratelimit-limit-requests": b"100",
        b"x-ratelimit-remaining-requests": b"1",
        b"x-ratelimit-reset-requests": b"30s",
    }
    conditions.heard(cast("Any", attempt), told)
    attempt.end()
    made = plan(first, other)
    assert order(conditions, made) == ["first", "other"]
    held = Attempt(conditions, clock, first)
    clock.advance(module.BOARD_S)
    assert order(conditions, made) == ["other", "first"]
    assert conditions.is_told(first)
    held.end()
    clock.advance(30.0)
    assert order(conditions, made) == ["first", "other"]


def test_a_limit_that_ends_soon_is_waited_for(conditions: Conditions, clock: Clock) -> None:
    made = plan(A, B)
    Attempt(conditions, clock, A).end(errors.UpstreamRateLimited("Slow down.", retry_after_s=BRIEF_S))
    assert order(conditions, made) == ["a", "b"]
    assert conditions.put_off(A, conditions.now(), 1)[0] == pytest.approx(BRIEF_S)


def test_tokens_that_are_left_are_enough_for_some_requests_only(conditions: Conditions, clock: Clock) -> None:
    attempt = Attempt(conditions, clock, A)
    told = {b"anthropic-ratelimit-tokens-remaining": b"500", b"anthropic-ratelimit-tokens-reset": b"60"}
    conditions.heard(cast("Any", attempt), told)
    assert conditions.put_off(A, conditions.now(), 400)[0] == 0
    assert conditions.put_off(A, conditions.now(), 600)[1] == "rate_limited"


def test_what_processes_tell_each_other(clock: Clock) -> None:
    one, other = Conditions(clock.now), Conditions(clock.now)
    other.health(A)
    for _ in range(4):
        answer(one, clock, A, 0.5, 0.9)
    fail(one, clock, A, errors.UpstreamTimeout("Slow."), 1)
    told = msgspec.json.decode(msgspec.json.encode(one.told()), type=dict[str, module.Statistics])
    assert set(told) == {A.id}
    assert one.told() == {}
    other.hear_others(told, frozenset((A.id,)))
    now = one.now()
    mine, theirs = one.healths[A.id].measured(), other.healths[A.id].measured()
    assert theirs.ttft_s(now, 0, 1.0) == pytest.approx(mine.ttft_s(now, 0, 1.0))
    assert theirs.attempts == mine.attempts == 5
    shared = other.healths[A.id].shared
    assert shared.latency_s(now, 300) == told[A.id].latency_s(now, 300) is not None
    assert other.healths[A.id].breaker.suspect(RULE)
    assert other.healths[A.id].breaker.allows(now)


def test_invented_names_close_no_open_breaker(
    conditions: Conditions, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ENDPOINTS_MAX", 6)
    fail(conditions, clock, A, errors.UpstreamTimeout("Slow."))
    for number in range(30):
        answer(conditions, clock, endpoint(f"n{number}"), 0.1, 0.2)
        assert conditions.put_off(A, conditions.now(), 1)[1] == "breaker_open"
        assert len(conditions.healths) <= 6


def test_the_same_request_is_asked_in_the_same_order(conditions: Conditions) -> None:
    made = plan(A, B, C, strategy="balanced")
    ids = [f"gen-{number}" for number in range(200)]
    first = [order(conditions, made, id_) for id_ in ids]
    assert first == [order(conditions, made, id_) for id_ in ids]
    assert {found[0] for found in first} == {"a", "b", "c"}


def test_a_session_stays_where_it_was_answered(conditions: Conditions, clock: Clock) -> None:
    made = plan(A, B, C, strategy="price")
    session = Session("", "r", "s-1", named=True)

    def first(id_: str) -> str:
        return conditions.ranked(made, 100, None, id_, session).endpoints[0].model

    drawn = first("gen-1")
    assert {first(f"gen-{number}") for number in range(50)} == {drawn}  # its own name is the seed
    stays = "a" if drawn != "a" else "c"
    conditions.sticky.answered(session, f"{stays}/{stays}", conditions.now(), cached=False)
    assert first("gen-2") == stays
    at = A if stays == "a" else C
    fail(conditions, clock, at, errors.UpstreamTimeout("Slow."))
    assert first("gen-3") != stays
    clock.advance(RULE.cooldown_s + 1)
    answer(conditions, clock, at, 0.1, 0.2)
    assert first("gen-4") == stays
    clock.advance(601)
    assert first("gen-5") == drawn


def test_what_a_caller_prefers_decides_among_what_may_be_asked(conditions: Conditions, clock: Clock) -> None:
    view = conditions.ranked(plan(A, B, C, strategy="price"), 100, None, "gen-1")

    def ids(**wish: Any) -> list[str]:
        return [one.model for one in conditions.preferred(view, Preferences(**wish)).endpoints]

    assert ids(sort="price") == ["b", "c", "a"]
    assert ids(order=("c", "a")) == ["c", "a", "b"]
    answer(conditions, clock, A, 0.5, 0.6)
    answer(conditions, clock, C, 0.1, 0.2)
    assert ids(sort="latency") == ["c", "a", "b"]
    assert ids(sort="price", preferred_max_latency=0.3)[0] == "c"
    fail(conditions, clock, C, errors.UpstreamTimeout("Slow."))
    assert ids(sort="latency") == ["a", "b", "c"]


def test_no_fallbacks_is_the_first_alone(conditions: Conditions) -> None:
    view = plan(A, B, C)
    found = conditions.preferred(view, Preferences(allow_fallbacks=False, sort="price"))
    assert [one.model for one in found.endpoints] == ["b"]
    assert [(one.endpoint, one.reason) for one in found.rejected] == [
        ("c/c", "allowed_providers"),
        ("a/a", "allowed_providers"),
    ]


def test_what_was_under_way_when_an_outage_began_does_not_end_it(conditions: Conditions, clock: Clock) -> None:
    under_way = Attempt(conditions, clock, A)
    clock.advance(1.0)
    fail(conditions, clock, A, errors.UpstreamTimeout("Slow."))
    clock.advance(1.0)
    under_way.end()
    assert conditions.put_off(A, conditions.now(), 1)[1] == "breaker_open"
    clock.advance(RULE.cooldown_s)
    answer(conditions, clock, A, 0.1, 0.2)
    assert not conditions.disturbed


def test_figures_count_when_they_were_and_not_when_they_are_looked_at(conditions: Conditions, clock: Clock) -> None:
    for _ in range(20):
        answer(conditions, clock, A, 0.1, 0.2)
    clock.advance(3600.0)
    assert conditions.throughput(A.id) is None
    answer(conditions, clock, A, 0.1, 0.2)
    known = conditions.healths[A.id].measured()
    assert known.attempts == 21
    assert known.samples(conditions.now()) < 1.1
    assert max(sent for sent, _ in known.minutes.values()) <= 20
    assert known.latency_s(conditions.now(), 300) is not None


def test_a_full_engine_is_gone_round_where_a_route_says_how_long_it_may_be_waited_for(
    conditions: Conditions, clock: Clock
) -> None:
    local = msgspec.structs.replace(endpoint("l"), provider=Provider(id="local", access="local"), slots=2)
    listed = plan(local, B)
    made = msgspec.structs.replace(listed, route=msgspec.structs.replace(listed.route, max_wait_s=1.0))
    conditions.outputs["r"] = 10.0
    for _ in range(3):
        answer(conditions, clock, local, 0.5, 1.0)
    assert order(conditions, made) == ["l", "b"]
    running = [Attempt(conditions, clock, local) for _ in range(2)]
    assert order(conditions, made) == ["l", "b"]  # half a turn is to be waited for
    running += [Attempt(conditions, clock, local) for _ in range(2)]
    assert order(conditions, made) == ["b", "l"]
    assert order(conditions, listed) == ["l", "b"]
    for one in running:
        one.end(errors.ClientGone("Left."))
    assert order(conditions, made) == ["l", "b"]


def test_a_key_that_is_refused_for_ever_stays_benched_and_hurts_nobody(conditions: Conditions, clock: Clock) -> None:
    for _ in range(1100):
        Attempt(conditions, clock, A).end(errors.UpstreamAuthError("Who?"))
    wait_s, reason, _ = conditions.put_off(A, conditions.now(), 1)
    assert (reason, wait_s) == ("credential", pytest.approx(300.0))


def test_a_callers_own_deadline_costs_an_endpoint_nothing(conditions: Conditions, clock: Clock) -> None:
    for _ in range(10):
        attempt = Attempt(conditions, clock, A)
        attempt.exchange.timeout_s, attempt.exchange.deadline = 0.05, clock.now() + 0.05
        clock.advance(0.05)
        attempt.end(errors.UpstreamTimeout("Slow."))
    assert conditions.put_off(A, conditions.now(), 1) == (0.0, "", "")


@pytest.mark.parametrize("error", [errors.UpstreamRateLimited("x", retry_after_s=60.0), errors.UpstreamAuthError("x")])
def test_an_answer_that_began_before_a_refusal_does_not_undo_it(
    conditions: Conditions, clock: Clock, error: errors.TriviumError
) -> None:
    under_way = Attempt(conditions, clock, A)
    clock.advance(1.0)
    fail(conditions, clock, A, error, 1)
    clock.advance(1.0)
    under_way.end()
    assert conditions.put_off(A, conditions.now(), 1)[0]


def test_requests_in_flight_are_counted_once_each_way(conditions: Conditions, clock: Clock) -> None:
    running = [Attempt(conditions, clock, A) for _ in range(5)]
    told = {b"x-ratelimit-remaining-requests": b"9", b"x-ratelimit-reset-requests": b"30s"}
    for attempt in running:
        conditions.heard(cast("Any", attempt), told)
        attempt.end()
    assert conditions.allowances["a", 0, "a"].in_flight == 0


def test_a_service_that_does_not_know_a_model_is_asked_again(conditions: Conditions, clock: Clock) -> None:
    routed = msgspec.structs.replace(endpoint("r"), provider=Provider(id="r", access="routed"))
    fail(conditions, clock, routed, errors.UpstreamNotFound("No endpoints found that support tool use"))
    assert conditions.put_off(routed, conditions.now(), 1) == (0.0, "", "")
    fail(conditions, clock, routed, errors.UpstreamQuotaExhausted("fewer max_tokens could be afforded"))
    assert conditions.put_off(routed, conditions.now(), 1) == (0.0, "", "")


def test_the_least_bad_is_asked_where_the_first_is_limited(conditions: Conditions, clock: Clock) -> None:
    Attempt(conditions, clock, A).end(errors.UpstreamRateLimited("x", retry_after_s=60.0))
    fail(conditions, clock, B, errors.UpstreamTimeout("Slow."))
    assert conditions.allowed(plan(A, B), 0, 1, lambda _: False) == 1


def test_who_often_failed_is_forgiven_in_time(conditions: Conditions, clock: Clock) -> None:
    known = conditions.health(A).own
    for number in range(200):
        known.send(conditions.now())
        if number % 10 == 0:
            known.fail(conditions.now())
    assert tier_of(conditions.health(A).measured(), conditions.now()) == 1
    clock.advance(3600.0)
    assert tier_of(conditions.health(A).measured(), conditions.now()) == 0
    for _ in range(200):
        known.send(conditions.now())
        known.fail(conditions.now())
    assert tier_of(conditions.health(A).measured(), conditions.now()) == 2
