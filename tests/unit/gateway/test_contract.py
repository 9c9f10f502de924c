"""What the contract of routing services asks of a request's ends: metadata in the last bytes, and why nobody served."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trivium import errors
from trivium.dialects import get
from trivium.gateway.availability import RETRYABLE, STATUSES
from trivium.gateway.exchange import Exchange
from trivium.gateway.metadata import annotated, asked
from trivium.gateway.wish import Wish
from trivium.types.data import DataClass
from unit.gateway.world import CHAT, MESSAGES, World

ROOT = Path(__file__).parents[3]
TEXT = """
[[providers]]
id = "oai"
base_url = "http://127.0.0.1:9/v1"
api_key = "k"
[[providers]]
id = "svc"
access = "routed"
base_url = "http://127.0.0.1:9/v1"
api_key = "k"
data = { trains = false }
[[routes]]
name = "both"
targets = ["oai/m", "svc/m"]
"""
SERVICE = Wish(service=True, metadata=True)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path, TEXT)
    made.dials = False
    yield made
    made.close()


@pytest.fixture
def exchange(world: World) -> Exchange:
    return world.begin("oai/m", SERVICE)[0]


# ---- metadata


@pytest.mark.parametrize(
    "last",
    [
        b'{"a":1}',
        b'{"a":{"b":{}}}\n',
        b"{}",
        b"{ }",
        b'data: {"a":1}\n\ndata: [DONE]\n\n',
        b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
        b'data: {"text":"}\\n\\n"}\r\n\r\ndata: [DONE]\r\n\r\n',
        b"data:[DONE]\n\n",
        b'{"done":true}\n',
    ],
)
def test_they_stand_in_the_last_object(exchange: Exchange, last: bytes) -> None:
    out = annotated(last, exchange)
    frames = [frame.partition(b"data: ")[2] or frame for frame in out.splitlines() if b"{" in frame]
    told: Any = json.loads(frames[-1])
    assert told["openrouter_metadata"]["requested"] == "oai/m"
    assert out.count(b"openrouter_metadata") == 1
    assert out.endswith(last[-1:])
    assert (b"[DONE]" in out) is (b"[DONE]" in last)


@pytest.mark.parametrize("last", [b"", b": a comment\n\n", b"text"])
def test_where_there_is_no_object_nothing_is_added(exchange: Exchange, last: bytes) -> None:
    assert annotated(last, exchange) == last


def test_an_error_of_ours_says_nothing_of_the_route(exchange: Exchange) -> None:
    assert annotated(b'{"error":{}}', exchange, errors.InternalError("x")) == b'{"error":{}}'
    told = json.loads(annotated(b'{"error":{}}', exchange, errors.UpstreamCut("x")))["openrouter_metadata"]
    assert [one["selected"] for one in told["endpoints"]["available"]] == [False]


def test_who_asks() -> None:
    assert asked({b"x-openrouter-metadata": b" ENABLED "})
    assert not asked({b"x-openrouter-metadata": b"disabled"})
    assert not asked({})


# ---- why nobody served


def ended(world: World, model: str, wish: Wish = SERVICE, **more: Any) -> errors.TriviumError:
    _, sink = world.begin(model, wish, **more)
    world.settle()
    assert sink.error is not None
    return sink.error


@pytest.mark.parametrize("dialect", [CHAT, MESSAGES, get("openrouter")])
def test_a_slug_is_known_in_every_dialect_of_a_service(world: World, dialect: Any) -> None:
    error = ended(world, "openai/gpt-5-mini", dialect=dialect)
    assert "`openrouter/openai/gpt-5-mini`" in str(error)
    assert "`openrouter/" not in str(ended(world, "openai/gpt-5-mini", Wish(), dialect=dialect))


def test_an_unknown_model_has_the_status_of_the_callers_contract(world: World) -> None:
    for wish, status in ((SERVICE, 400), (Wish(), 404)):
        error = ended(world, "local/nothing", wish)
        assert error.availability is not None
        assert (error.status, error.availability.code) == (status, "model_not_found")


def test_what_is_told_of_one_request_is_not_told_to_another(world: World) -> None:
    exchange, _ = world.begin("both", SERVICE)
    assert exchange.plan is not None
    exchange.failures = ((exchange.plan.endpoints[0], errors.UpstreamCut("before")),)
    world.runtime.cut_all()
    world.settle()
    ending = world.runtime.ending
    assert ending is not None
    assert (ending.previous, ending.availability) == ((), None)


def test_a_wish_and_a_key_are_told_apart(world: World) -> None:
    zdr: Any = {"provider": {"zdr": True}}
    theirs = ended(world, "oai/m", **zdr).availability
    assert theirs is not None
    assert theirs.constraint is not None
    assert theirs.constraint.field == "provider.zdr"
    ours = ended(world, "oai/m", Wish(service=True, data_class=DataClass.ZERO_RETENTION), **zdr).availability
    assert ours is not None
    assert ours.constraint is None  # it takes more than one
    alone = ended(world, "oai/m", Wish(service=True, data_class=DataClass.ZERO_RETENTION)).availability
    assert alone is not None
    assert alone.constraint is not None
    assert (alone.excluded_by, alone.constraint.field) == (("data_class",), "data_class")


def test_the_class_of_a_wish_holds_for_the_connection(world: World) -> None:
    exchange, _ = world.begin("svc/m", SERVICE, provider={"data_collection": "deny"})
    assert exchange.data_class is DataClass.NO_TRAINING


def test_an_order_by_what_is_measured_follows_the_measurements(world: World) -> None:
    conditions = world.runtime.conditions

    def first() -> str:
        exchange, _ = world.begin("both", SERVICE, provider={"sort": "latency"})
        assert exchange.plan is not None
        return exchange.plan.endpoints[0].id

    exchange, _ = world.begin("both", SERVICE)
    assert exchange.plan is not None
    one, other, *_ = exchange.plan.endpoints
    conditions.health(one).own.answer(conditions.now(), 0, 2.0, 0.01)
    assert first() == one.id  # what is not measured comes last
    conditions.health(other).own.answer(conditions.now(), 0, 1.0, 0.01)
    assert first() == other.id


# ---- the page


def test_the_page_explains_every_code() -> None:
    page = (ROOT / "docs" / "openrouter.md").read_text(encoding="utf-8")
    assert len(STATUSES) == 11
    for code, status in STATUSES.items():
        assert f'<a id="{code}"></a>`{code}` | {status} |' in page
    assert STATUSES.keys() >= RETRYABLE
