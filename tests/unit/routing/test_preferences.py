"""Preferences: what a `provider` object may say, what each member refuses, and how the rest is put in order."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivium.catalog.rows import Endpoint, Price, Provider
from trivium.errors import InvalidRequest
from trivium.routing.plan import Facts, Plan, plan
from trivium.routing.preferences import MaxPrice, Percentiles, Preferences, Sort, arranged, matches, parse, refused_by
from trivium.routing.route import Route
from trivium.types.data import DataClass

ROUTE = Route(name="route", targets=())


def endpoint(name: str = "acme/small", slug: str | None = None, **changes: Any) -> Endpoint:
    row = {"id": name.partition("/")[0], "openrouter_slug": slug} | {
        field: changes.pop(field) for field in ("access", "region", "dialect", "chooses") if field in changes
    }
    fields: dict[str, Any] = {"model": name.partition("/")[2], "price": None, "context": None, "max_output": None}
    fields |= {"capabilities": frozenset(("tools",)), "ceiling": DataClass.PREMISES}
    return Endpoint(id=name, provider=Provider(**row), **(fields | changes))


def read(**said: Any) -> Preferences | None:
    return parse(msgspec.Raw(json.dumps(said).encode()))


def planned(wish: Preferences | None, *endpoints: Endpoint, **more: Any) -> Plan:
    return plan(Facts(model="m", preferences=wish, **more), ROUTE, endpoints)


def ids(found: Plan) -> list[str]:
    return [one.id for one in found.endpoints]


# ---- reading


@pytest.mark.parametrize("said", [b"null", b"{}", b'{"x":1,"options":{"a":{}}}', b'{"only":null,"zdr":null}'])
def test_what_asks_for_nothing(said: bytes) -> None:
    assert parse(msgspec.Raw(said)) is None


def test_all_of_it_is_read_once_and_can_be_a_key() -> None:
    full = read(
        order=["a"],
        allow_fallbacks=False,
        only=["a"],
        ignore=["b"],
        require_parameters=True,
        data_collection="deny",
        zdr=True,
        enforce_distillable_text=True,
        quantizations=["fp8"],
        max_price={"prompt": "1.5", "completion": 2, "request": 0, "image": 0.1, "audio": 1},
        sort={"by": "latency", "partition": "none"},
        preferred_min_throughput=10,
        preferred_max_latency={"p90": 2.5},
        options={"a": {"x": []}},
    )
    assert full is not None
    assert None not in msgspec.structs.astuple(full)
    assert {full: 1}[msgspec.structs.replace(full)] == 1
    assert full.live
    assert full.data_class is DataClass.ZERO_RETENTION


@pytest.mark.parametrize(
    ("said", "param"),
    [
        ({"max_price": {"prompt": "cheap"}}, "provider.max_price.prompt"),
        ({"max_price": {"prompt": -1}}, "provider.max_price.prompt"),
        ({"max_price": {"completion": "1e3"}}, "provider.max_price.completion"),
        ({"max_price": {"image": True}}, "provider.max_price.image"),
        ({"max_price": 3}, "provider.max_price"),
        ({"only": "acme"}, "provider.only"),
        ({"only": [""]}, "provider.only[0]"),
        ({"only": ["a"] * 101}, "provider.only"),
        ({"ignore": ["a", 1]}, "provider.ignore[1]"),
        ({"order": [{}]}, "provider.order[0]"),
        ({"quantizations": ["fp9"]}, "provider.quantizations[0]"),
        ({"allow_fallbacks": "no"}, "provider.allow_fallbacks"),
        ({"require_parameters": 1}, "provider.require_parameters"),
        ({"data_collection": "dney"}, "provider.data_collection"),
        ({"zdr": "yes"}, "provider.zdr"),
        ({"sort": "cheapest"}, "provider.sort"),
        ({"sort": {"by": "speed"}}, "provider.sort.by"),
        ({"sort": {"partition": "all"}}, "provider.sort.partition"),
        ({"preferred_max_latency": "2"}, "provider.preferred_max_latency"),
        ({"preferred_min_throughput": {"p50": -1}}, "provider.preferred_min_throughput.p50"),
    ],
)
def test_hostile_members_are_refused_by_their_path(said: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(**said)
    assert caught.value.param == param


@pytest.mark.parametrize("said", [b"5", b'"x"', b"[]", b"[" * 5000, b'{"max_price":{"prompt":1e999}}'])
def test_what_is_no_object_at_all(said: bytes) -> None:
    with pytest.raises(InvalidRequest):
        parse(msgspec.Raw(said))


# ---- slugs


@pytest.mark.parametrize(
    ("slug", "row", "meant"),
    [
        ("acme", endpoint("acme/m"), True),
        ("ACME", endpoint("acme/m"), True),
        ("acme", endpoint("own/m", "acme"), True),
        ("own", endpoint("own/m", "acme"), True),
        ("acme", endpoint("own/m", "acme/turbo"), True),
        ("acme/turbo", endpoint("own/m", "acme/turbo"), True),
        ("acme/fp8", endpoint("own/m", "acme/turbo"), False),
        ("acme/turbo", endpoint("own/m", "acme"), False),
        ("acme", endpoint("own/m", "acme/priority"), False),
        ("acme/priority", endpoint("own/m", "acme/priority"), True),
        ("acme", endpoint("own/m", "acme/flex"), False),
        ("acme/eu", endpoint("own/m", "acme", region="eu"), True),
        ("acme/us", endpoint("own/m", "acme", region="eu"), False),
        ("acm", endpoint("acme/m"), False),
        ("acme/m", endpoint("acme/m"), False),
    ],
)
def test_slugs(slug: str, row: Endpoint, meant: bool) -> None:
    assert matches(slug, row) is meant


# ---- who may serve


@pytest.mark.parametrize(
    ("said", "of", "reason", "told"),
    [
        ({"only": ["other"]}, {}, "allowed_providers", "other"),
        ({"ignore": ["acme"]}, {}, "allowed_providers", "ignore"),
        ({"order": ["x"], "allow_fallbacks": False}, {}, "allowed_providers", "order"),
        ({"zdr": True}, {"ceiling": DataClass.NO_TRAINING}, "data_policy:zdr", "no_training"),
        ({"data_collection": "deny"}, {"ceiling": DataClass.ANY}, "data_policy:training", "any"),
        ({"quantizations": ["fp8", "bf16"]}, {"quantization": "int4"}, "quantization", "int4"),
        ({"quantizations": ["fp8"]}, {}, "quantization", "unknown"),
        ({"max_price": {"prompt": "0.5"}}, {"price": Price(input=600_000_000, output=1)}, "max_price", "0.5 .* 0.6"),
        ({"max_price": {"completion": 1}}, {"price": Price(input=1, output=1_000_000_001)}, "max_price", "1 "),
        ({"max_price": {"request": 0}}, {"price": Price(input=1, output=1, request=1)}, "max_price", "request"),
        ({"max_price": {"audio": 1}}, {"price": Price(input=2_000_000_000, output=1)}, "max_price", "audio"),
        ({"max_price": {"prompt": 9}}, {}, "max_price", "unknown"),
        ({"enforce_distillable_text": True}, {}, "distillable_text", "nobody"),
        ({"only": ["other"]}, {"access": "routed", "chooses": False}, "allowed_providers", "other"),
        ({"ignore": ["acme"]}, {"access": "routed"}, "allowed_providers", "ignore"),
        ({"zdr": True}, {"access": "routed", "ceiling": DataClass.ANY}, "data_policy:zdr", "any"),
    ],
)
def test_what_each_member_refuses_with_both_figures(said: dict, of: dict, reason: str, told: str) -> None:
    wish = read(**said)
    assert wish is not None
    refusal = refused_by(wish, endpoint(**of))
    assert refusal is not None
    assert refusal[0] == reason
    assert re.search(told, refusal[1]), refusal[1]


@pytest.mark.parametrize(
    ("said", "of"),
    [
        ({"only": ["other", "acme"]}, {}),
        ({"only": []}, {}),
        ({"ignore": ["other"]}, {}),
        ({"order": ["other"]}, {}),
        ({"zdr": False}, {"ceiling": DataClass.ANY}),
        ({"data_collection": "allow"}, {"ceiling": DataClass.ANY}),
        ({"quantizations": ["unknown"]}, {}),
        ({"max_price": {"prompt": "0.6"}}, {"price": Price(input=600_000_000, output=1)}),
        ({"max_price": {"image": 0}}, {"price": Price(input=1, output=1)}),
        # What a routing service can see to itself is left to it.
        ({"only": ["x"], "max_price": {"prompt": 0}, "quantizations": ["fp8"]}, {"access": "routed"}),
    ],
)
def test_what_they_let_pass(said: dict, of: dict) -> None:
    wish = read(**said)
    assert wish is None or refused_by(wish, endpoint(**of)) is None


@pytest.mark.parametrize(
    ("sent", "of", "refused"),
    [
        ({"temperature", "tools"}, {}, False),
        ({"response_format"}, {}, True),
        ({"response_format"}, {"capabilities": frozenset({"json_object"})}, False),
        ({"top_k"}, {}, True),
        ({"top_k"}, {"dialect": "anthropic_messages"}, False),
        ({"seed"}, {"dialect": "anthropic_messages"}, True),
        ({"min_p"}, {"access": "local"}, False),
        ({"verbosity"}, {"access": "routed"}, False),
    ],
)
def test_parameters_that_must_be_heeded(sent: set[str], of: dict, refused: bool) -> None:
    found = refused_by(Preferences(require_parameters=True), endpoint(**of), frozenset(sent))
    assert (found is not None) is refused
    assert refused_by(Preferences(only=("acme",)), endpoint(**of), frozenset(sent)) is None


# ---- in which order

CHEAP = endpoint("cheap/m", price=Price(input=1, output=2))
DEAR = endpoint("dear/m", price=Price(input=10, output=20))
UNKNOWN = endpoint("unknown/m")
ALL = [DEAR, UNKNOWN, CHEAP]


class Figures:
    """`cheap` answers slowly, `dear` fast; nothing is known of the third."""

    def throughput(self, endpoint: str) -> Percentiles | None:
        return {"cheap/m": Percentiles(p50=10, p90=5), "dear/m": Percentiles(p50=100, p90=50)}.get(endpoint)

    def latency(self, endpoint: str) -> Percentiles | None:
        return {"cheap/m": Percentiles(p50=3), "dear/m": Percentiles(p50=0.5)}.get(endpoint)


@pytest.mark.parametrize(
    ("wish", "order"),
    [
        (Preferences(order=("cheap", "dear")), "cheap dear unknown"),
        (Preferences(order=("nobody",)), "dear unknown cheap"),
        (Preferences(sort="price"), "cheap dear unknown"),
        (Preferences(sort="throughput"), "dear cheap unknown"),
        (Preferences(sort="latency"), "dear cheap unknown"),
        (Preferences(sort="exacto"), "dear unknown cheap"),
        (Preferences(sort="price", order=("unknown",)), "unknown dear cheap"),  # an order switches a sort off
        (Preferences(preferred_min_throughput=50), "dear unknown cheap"),
        (Preferences(preferred_min_throughput=Percentiles(p50=10, p90=6)), "dear unknown cheap"),
        (Preferences(preferred_min_throughput=10), "dear cheap unknown"),
        (Preferences(preferred_max_latency=1), "dear unknown cheap"),
        (Preferences(preferred_max_latency=Percentiles(p99=1)), "dear unknown cheap"),
        (Preferences(preferred_max_latency=1, sort="price"), "dear unknown cheap"),
        (Preferences(preferred_max_latency=1, order=("cheap",)), "cheap dear unknown"),
    ],
)
def test_orders(wish: Preferences, order: str) -> None:
    assert [one.provider.id for one in arranged(wish, ALL, {}, Figures())] == order.split()


def test_a_models_endpoints_come_before_the_next_models() -> None:
    models = {"dear/m": 0, "unknown/m": 0, "cheap/m": 1}
    by_price = arranged(Preferences(sort="price"), ALL, models)
    assert [one.provider.id for one in by_price] == ["dear", "unknown", "cheap"]
    together = arranged(Preferences(sort=Sort("price", "none")), ALL, models)
    assert [one.provider.id for one in together] == ["cheap", "dear", "unknown"]
    ordered = arranged(Preferences(order=("cheap", "unknown")), ALL, models)
    assert [one.provider.id for one in ordered] == ["unknown", "dear", "cheap"]


# ---- in a plan


@pytest.mark.parametrize(
    ("wish", "more", "relaxed"),
    [
        (Preferences(only=("nobody",)), {}, "provider.only"),
        (Preferences(ignore=("cheap", "dear", "unknown")), {}, "provider.ignore"),
        (Preferences(max_price=MaxPrice(prompt=0.0)), {}, "provider.max_price"),
        (Preferences(only=("nobody",), max_price=MaxPrice(prompt=0.0)), {}, ""),
        (Preferences(only=("cheap",), max_price=MaxPrice(prompt=0.0)), {}, "provider.max_price"),
        (Preferences(only=("cheap",)), {"needs": frozenset({"images"})}, "capability"),
        (None, {"needs": frozenset({"images"})}, "capability"),
        (None, {"roads": ("local",)}, "allowed_roads"),
    ],
)
def test_the_one_constraint_that_empties_a_pool_is_told(wish: Preferences | None, more: dict, relaxed: str) -> None:
    found = planned(wish, *ALL, **more)
    assert (ids(found), found.relaxed) == ([], relaxed)


def test_a_plan_says_the_class_that_its_wishes_make() -> None:
    assert planned(Preferences(zdr=True), *ALL).data_class is DataClass.ZERO_RETENTION
    stricter = planned(Preferences(zdr=True), *ALL, data_class=DataClass.PREMISES)
    assert stricter.data_class is DataClass.PREMISES


# ---- properties

SLUGS = st.lists(st.sampled_from(["a", "b", "c", "a/turbo", "b/priority", "nobody"]), max_size=3).map(tuple)
usd = st.none() | st.integers(0, 5).map(float)
wishes = st.builds(
    Preferences,
    order=st.none() | SLUGS,
    only=st.none() | SLUGS,
    ignore=st.none() | SLUGS,
    zdr=st.none() | st.booleans(),
    data_collection=st.sampled_from([None, "allow", "deny"]),
    require_parameters=st.none() | st.booleans(),
    quantizations=st.sampled_from([None, (), ("fp8",), ("fp8", "unknown")]),
    max_price=st.none() | st.builds(MaxPrice, prompt=usd, completion=usd, request=usd),
    sort=st.sampled_from([None, "price", "latency", Sort("throughput", "none"), Sort("price", "none")]),
    preferred_max_latency=st.sampled_from([None, 1.0, Percentiles(p90=2.0)]),
)
some_endpoints = st.lists(
    st.builds(
        endpoint,
        name=st.just("x/m"),
        slug=st.sampled_from(["a", "b", "c", "a/turbo", "b/priority"]),
        access=st.sampled_from(["direct", "routed", "local"]),
        quantization=st.sampled_from([None, "fp8", "int4"]),
        ceiling=st.sampled_from(DataClass),
        price=st.none() | st.builds(Price, input=st.integers(0, 5 * 10**9), output=st.integers(0, 5 * 10**9)),
    ),
    max_size=6,
).map(lambda found: [msgspec.structs.replace(one, id=f"x/{number}") for number, one in enumerate(found)])
sent = st.frozensets(st.sampled_from(["top_k", "seed", "tools", "response_format"]))
_TIGHTER = ("only", "ignore", "zdr", "data_collection", "require_parameters", "quantizations", "max_price")


@given(wishes, some_endpoints, sent, st.booleans())
def test_planned_and_rejected_together_are_all_candidates(
    wish: Preferences, some: list[Endpoint], parameters: frozenset[str], alone: bool
) -> None:
    wish = msgspec.structs.replace(wish, allow_fallbacks=False) if alone else wish
    found = planned(wish, *some, parameters=parameters)
    assert sorted(ids(found) + [one.endpoint for one in found.rejected]) == sorted(one.id for one in some)
    assert all(one.reason and one.detail for one in found.rejected)
    assert not found.relaxed or not found.endpoints


@given(wishes, wishes, some_endpoints, sent)
def test_a_further_wish_adds_no_endpoint(
    wish: Preferences, more: Preferences, some: list[Endpoint], parameters: frozenset[str]
) -> None:
    free = set(ids(planned(None, *some)))
    assert set(ids(planned(wish, *some, parameters=parameters))) <= free
    for name in _TIGHTER:
        if getattr(wish, name) is None:
            tighter = msgspec.structs.replace(wish, **{name: getattr(more, name)})
            before = set(ids(planned(wish, *some, parameters=parameters)))
            assert set(ids(planned(tighter, *some, parameters=parameters))) <= before, name


@given(wishes, some_endpoints, st.dictionaries(st.sampled_from([f"x/{n}" for n in range(6)]), st.integers(0, 2)))
def test_an_order_is_a_permutation_and_the_same_twice(
    wish: Preferences, some: list[Endpoint], models: dict[str, int]
) -> None:
    once = arranged(wish, some, models, Figures())
    assert sorted(one.id for one in once) == sorted(one.id for one in some)
    assert arranged(wish, once, models, Figures()) == once
