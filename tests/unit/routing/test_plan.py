"""Plans: every candidate is in one once, and a constraint only ever takes endpoints away."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivium.catalog.rows import Endpoint, Provider
from trivium.routing.plan import MEDIA, Facts, Plan, Rejected, inserted, larger_window, plan
from trivium.routing.route import Route
from trivium.types.data import DataClass

CAPABILITIES = ("tools", "images", "audio", "files")
ACCESSES = ("direct", "routed", "local")
WEIGHTS = (None, "one", "two")


def endpoint(name: str = "acme/small", **changes: object) -> Endpoint:
    provider = Provider(id="acme", access=changes.pop("access", "direct"))  # type: ignore[arg-type]
    fields: dict[str, object] = {
        "id": name,
        "provider": provider,
        "model": "small",
        "price": None,
        "context": None,
        "max_output": None,
        "capabilities": frozenset(CAPABILITIES),
        "ceiling": DataClass.PREMISES,
    }
    return Endpoint(**(fields | changes))  # type: ignore[arg-type]


sizes = st.none() | st.integers(1, 1000)
subsets = st.frozensets(st.sampled_from(CAPABILITIES))
endpoints = st.builds(
    endpoint,
    name=st.just("x"),
    access=st.sampled_from(ACCESSES),
    context=sizes,
    max_output=sizes,
    capabilities=subsets,
    ceiling=st.sampled_from(DataClass),
    weights=st.sampled_from(WEIGHTS),
    family=st.sampled_from(WEIGHTS),
)
candidates = st.lists(endpoints | st.just(Rejected("x", "credential", "no key")), max_size=6).map(
    lambda found: [
        msgspec.structs.replace(c, **{"id" if isinstance(c, Endpoint) else "endpoint": f"acme/{index}"})
        for index, c in enumerate(found)
    ]
)
facts = st.builds(
    Facts,
    model=st.just("route"),
    data_class=st.sampled_from(DataClass),
    needs=subsets,
    input_tokens=st.integers(0, 1000),
    max_output_tokens=sizes,
    roads=st.lists(st.sampled_from(ACCESSES), unique=True).map(tuple),
)
ROUTE = Route(name="route", targets=())


def ids(found: Plan) -> list[str]:
    return [e.id for e in found.endpoints]


@given(facts, candidates)
def test_every_candidate_is_in_the_plan_once_and_in_order(given_facts: Facts, given_candidates: list) -> None:
    found = plan(given_facts, ROUTE, given_candidates)
    names = [c.id if isinstance(c, Endpoint) else c.endpoint for c in given_candidates]
    assert sorted(ids(found) + [r.endpoint for r in found.rejected]) == sorted(names)
    assert ids(found) == [name for name in names if name in ids(found)]
    assert all(r.reason and r.detail for r in found.rejected)
    assert plan(given_facts, ROUTE, given_candidates) == found


@given(facts, candidates, facts)
def test_a_further_constraint_adds_no_endpoint(given_facts: Facts, given_candidates: list, more: Facts) -> None:
    tighter = [
        {"data_class": max(given_facts.data_class, more.data_class)},
        {"needs": given_facts.needs | more.needs},
        {"input_tokens": given_facts.input_tokens + more.input_tokens},
        {"max_output_tokens": (given_facts.max_output_tokens or 0) + (more.max_output_tokens or 1)},
        {"roads": tuple(set(given_facts.roads) & set(more.roads)) or given_facts.roads or more.roads},
    ]
    before = set(ids(plan(given_facts, ROUTE, given_candidates)))
    for change in tighter:
        after = plan(msgspec.structs.replace(given_facts, **change), ROUTE, given_candidates)
        assert set(ids(after)) <= before, change


@given(facts, candidates)
def test_a_stricter_likeness_adds_no_endpoint(given_facts: Facts, given_candidates: list) -> None:
    free = set(ids(plan(given_facts, ROUTE, given_candidates)))
    for likeness in ("same-weights", "same-family"):
        route = msgspec.structs.replace(ROUTE, fallback=likeness)
        assert set(ids(plan(given_facts, route, given_candidates))) <= free


@pytest.mark.parametrize(
    ("changes", "asked", "reason"),
    [
        ({"ceiling": DataClass.ANY}, {"data_class": DataClass.NO_TRAINING}, "data_class"),
        ({"capabilities": frozenset[str]()}, {"needs": frozenset({"tools"})}, "capability"),
        ({"context": 100}, {"input_tokens": 120}, "context_length"),
        ({"max_output": 100}, {"max_output_tokens": 101}, "output_length"),
        ({"access": "routed"}, {"roads": ("direct", "local")}, "allowed_roads"),
    ],
)
def test_a_reason(changes: dict, asked: dict, reason: str) -> None:
    found = plan(Facts(model="route", **asked), ROUTE, [endpoint(**changes)])
    assert [r.reason for r in found.rejected] == [reason]


def test_an_estimate_is_given_the_benefit_of_the_doubt() -> None:
    assert ids(plan(Facts(model="route", input_tokens=111), ROUTE, [endpoint(context=100)])) == ["acme/small"]


def test_unknown_weights_are_like_nothing() -> None:
    route = msgspec.structs.replace(ROUTE, fallback="same-weights")
    two = [endpoint("acme/a"), endpoint("acme/b")]
    assert ids(plan(Facts(model="route"), route, two)) == ["acme/a"]
    two = [endpoint("acme/a", weights="one"), endpoint("acme/b", weights="one"), endpoint("acme/c", weights="two")]
    assert ids(plan(Facts(model="route"), route, two)) == ["acme/a", "acme/b"]


@given(facts, candidates, st.integers(0, 2000), st.integers(0, 1500) | st.none())
def test_a_plan_stays_the_plan_for_what_it_holds(
    given_facts: Facts, given_candidates: list, tokens: int, output: int | None
) -> None:
    usual = msgspec.structs.replace(given_facts, input_tokens=0, max_output_tokens=None)
    found = plan(usual, ROUTE, given_candidates)
    assert found.holds(0, None)
    own = plan(msgspec.structs.replace(usual, input_tokens=tokens, max_output_tokens=output), ROUTE, given_candidates)
    if found.holds(tokens, output):
        assert msgspec.structs.replace(own, relaxed=found.relaxed) == found  # which may be asked for less still
    assert set(ids(own)) <= set(ids(found))


@pytest.mark.parametrize(
    ("sizes", "context", "max_output", "held", "not_held"),
    [
        ([(None, None)], None, None, [(10**9, 10**9)], []),
        ([(100, 10)], 100, 10, [(100, 10), (0, 0), (100, None)], [(101, 10), (100, 11)]),
        ([(100, None), (50, 10), (None, 20)], 50, 10, [(50, 10)], [(51, None), (50, 11)]),
    ],
)
def test_the_least_window_holds_for_all(
    sizes: list[tuple[int | None, int | None]],
    context: int | None,
    max_output: int | None,
    held: list[tuple[int, int | None]],
    not_held: list[tuple[int, int | None]],
) -> None:
    some = [endpoint(f"acme/{n}", context=c, max_output=m) for n, (c, m) in enumerate(sizes)]
    # What is rejected anyway bounds nobody.
    out = endpoint("acme/out", context=1, max_output=1, access="routed")
    found = plan(Facts(model="route", roads=("direct",)), ROUTE, [*some, out])
    assert (found.context, found.max_output) == (context, max_output)
    assert all(found.holds(*size) for size in held)
    assert not any(found.holds(*size) for size in not_held)


BLIND, ALL = frozenset({"tools"}), MEDIA | {"tools"}


@pytest.mark.parametrize(
    ("some", "differs"),
    [
        ([], False),
        ([{"capabilities": BLIND}], False),
        ([{"capabilities": BLIND, "engine": "tiny"}], True),
        ([{"capabilities": ALL, "engine": "tiny"}], False),
        ([{"capabilities": ALL}, {"capabilities": ALL}], False),
        ([{"capabilities": ALL}, {"capabilities": BLIND}], True),
        ([{"capabilities": BLIND}, {"capabilities": BLIND}], True),
        ([{"capabilities": MEDIA - {"audio"}}, {"capabilities": ALL}], True),
        ([{"capabilities": BLIND, "access": "routed"}, {"capabilities": ALL}], False),
    ],
)
def test_when_it_matters_which_media_a_request_carries(some: list[dict], differs: bool) -> None:
    given_candidates = [endpoint(f"acme/{n}", **changes) for n, changes in enumerate(some)]
    assert plan(Facts(model="route", roads=("direct",)), ROUTE, given_candidates).differs_in_media is differs


@given(facts, candidates, st.sets(st.sampled_from(sorted(MEDIA))))
def test_media_do_not_change_a_plan_that_says_so(given_facts: Facts, given_candidates: list, media: set) -> None:
    found = plan(given_facts, ROUTE, given_candidates)
    own = plan(msgspec.structs.replace(given_facts, needs=given_facts.needs | media), ROUTE, given_candidates)
    if not found.differs_in_media and len(found.endpoints) != 1:
        assert ids(own) == ids(found)


class TestLaterEndpoints:
    """What follows where a window was too small, or a route names targets for a failure."""

    def made(self, *windows: tuple[str | None, int | None]) -> Plan:
        endpoints = [
            msgspec.structs.replace(endpoint(name=f"p/{place}", context=context), weights=weights)
            for place, (weights, context) in enumerate(windows)
        ]
        return Plan(requested="r", route=Route(name="r", targets=()), endpoints=tuple(endpoints))

    @pytest.mark.parametrize(
        ("windows", "place"),
        [
            ([("a", 100), ("b", 100), ("c", 200)], 2),
            ([("a", 100), ("b", 50), ("c", 99)], 3),
            ([("a", 100), ("a", None), ("b", None)], 2),
            ([("a", 100), ("a", 200)], 1),
            ([(None, None), ("b", 10)], 1),
            ([("a", 100)], 1),
        ],
    )
    def test_a_larger_window(self, windows: list[tuple[str | None, int | None]], place: int) -> None:
        assert larger_window(self.made(*windows), 0) == place

    def test_further_endpoints_come_next(self) -> None:
        made = msgspec.structs.replace(self.made(("a", 1), ("b", 1)), groups=(0, 1))
        found = inserted(made, 1, [endpoint(name="p/new")])
        assert [one.id for one in found.endpoints] == ["p/0", "p/new", "p/1"]
        assert found.groups == (0, 0, 1)
        assert inserted(made, 1, []) is made
