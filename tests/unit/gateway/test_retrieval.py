"""Embeddings and reranking on their way: who may answer, what is looked at, what is settled."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trivium import errors
from trivium.catalog.rows import Endpoint
from trivium.dialects import get as dialect_named
from trivium.gateway import needs
from trivium.gateway.explain import PlanView, view
from trivium.gateway.relay import PassedAnswer
from trivium.gateway.wish import Wish
from trivium.ledger.record import Closed, Reserved, Settled
from trivium.routing.plan import Rejected
from trivium.testing import FakeUpstream
from trivium.types.data import DataClass
from trivium.types.request import Request
from trivium.types.response import Response
from trivium.types.retrieval import EmbedRequest, RerankRequest
from unit.gateway.world import Sink, World

OPENAI = dialect_named("openai_embeddings")
COHERE = dialect_named("cohere_embed")
RERANK = dialect_named("rerank")
TEXT = """
[[providers]]
id = "oai"
base_url = "{url}/v1"
api_key = "k"
[[providers]]
id = "coh"
dialect = "cohere_v2"
base_url = "{url}/v2"
api_key = "k"
[[providers]]
id = "ant"
dialect = "anthropic_messages"
base_url = "{url}/v1"
api_key = "k"
[[models]]
id = "oai/priced"
price = {{ input = 2.0, output = 10.0 }}
[[models]]
id = "oai/same"
weights = "w"
[[models]]
id = "coh/same"
weights = "w"
[[models]]
id = "oai/down+503"
weights = "w"
[[models]]
id = "oai/chats"
operations = ["chat"]
[[models]]
id = "oai/small"
context = 2
[[engines]]
id = "tiny"
model = "smollm2-135m"
[[engines]]
id = "near"
model = "./near.gguf"
[[routes]]
name = "same"
targets = ["oai/down+503", "coh/same", "oai/ok"]
retries = 0
[[routes]]
name = "chats-first"
targets = ["ant/x", "oai/chats", "coh/ok"]
"""
STORE: dict[str, Any] = {
    "local_models": ("minilm", "ranks", "smollm2-135m"),
    "purposes": {"minilm": "embed", "./near.gguf": "embed", "ranks": "rerank"},
}


@pytest.fixture
def up() -> Iterator[FakeUpstream]:
    with FakeUpstream() as server:
        yield server


@pytest.fixture
def world(up: FakeUpstream, tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path, TEXT.format(url=up.origin), **STORE)
    yield made
    made.close()


def embed(world: World, model: str, wish: Wish | None = None, dialect: Any = OPENAI, **more: Any) -> tuple[Any, Sink]:
    fields: dict[str, Any] = {"model": model, "input": ["one", "two"], "encoding_format": "float"}
    if dialect is COHERE:
        fields = {"model": model, "texts": ["one", "two"], "input_type": "search_query"}
    exchange, sink = world.begin_raw(json.dumps(fields | more).encode(), wish, dialect)
    world.until(lambda: sink.over)
    return exchange, sink


def planned(world: World, request: Any) -> PlanView:
    return view(world.runtime.snapshot, world.runtime.conditions, request, Wish())


def rejected(world: World, request: Any) -> dict[str, str]:
    return {no.endpoint: no.reason for no in planned(world, request).rejected}


# ---- what is asked, and settled


@pytest.mark.parametrize(("model", "dialect"), [("oai/ok", OPENAI), ("coh/ok", OPENAI), ("oai/ok", COHERE)])
def test_everything_is_recorded_as_of_a_chat(world: World, model: str, dialect: Any) -> None:
    exchange, sink = embed(world, model, dialect=dialect)
    assert sink.error is None
    reserved, settled, closed = world.records()
    assert isinstance(reserved, Reserved)
    assert isinstance(settled, Settled)
    assert isinstance(closed, Closed)
    assert (reserved.place.endpoint, settled.outcome, settled.upstream_status) == (model, "ok", 200)
    assert (settled.input_tokens, settled.output_tokens, settled.estimated) == (2, 0, False)
    assert (closed.dialect, closed.endpoint, closed.stream) == (dialect.name, model, False)
    said = [word for word in world.said() if word != "done"]
    assert said == ["append Reserved", "flush True", "append Answered", "flush True", "whole"]
    assert exchange.losses == (("purpose",) if dialect is COHERE else ())


def test_input_tokens_are_all_that_is_paid_for_and_reserved(world: World) -> None:
    exchange, _ = embed(world, "oai/priced")
    reserved, settled, closed = world.records()
    assert isinstance(reserved, Reserved)
    assert isinstance(settled, Settled)
    assert isinstance(closed, Closed)
    assert closed.cost_nanos == settled.cost_nanos == 2 * 2_000
    assert reserved.reserved_nanos == exchange.input_tokens * 2_000


def test_an_answer_without_figures_has_no_output(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    relayed: list[PassedAnswer] = []
    end = PassedAnswer.end
    monkeypatch.setattr(PassedAnswer, "end", lambda self: relayed.append(self) or end(self))
    embed(world, "oai/ok")
    assert [relay.output_estimate for relay in relayed] == [0]


def test_what_may_be_misread_is_written_anew(world: World, up: FakeUpstream) -> None:
    raw = b'{"model":"oai/ok", "input":"a","encoding_format":"float"}'
    _, sink = world.begin_raw(raw, None, OPENAI)
    world.until(lambda: sink.over)
    assert up.requests[-1].body == raw.replace(b"oai/ok", b"ok")
    embed(world, "oai/ok", dimensions=3, encoding_format="base64")
    assert up.requests[-1].json == {
        "model": "ok",
        "input": ["one", "two"],
        "dimensions": 3,
        "encoding_format": "base64",
    }


def test_dimensions_that_were_ignored(world: World) -> None:
    exchange, sink = embed(world, "oai/fixed", dimensions=3)
    assert exchange.losses == ("dimensions",)
    assert [len(one["embedding"]) for one in json.loads(sink.data)["data"]] == [3, 3]
    _, strict = embed(world, "oai/fixed", Wish(strict=True), dimensions=3)
    assert isinstance(strict.error, errors.InvalidRequest)
    assert strict.error.param == "dimensions"
    assert embed(world, "oai/ok", Wish(strict=True), dimensions=3)[1].error is None


@pytest.mark.parametrize("model", ["coh/zero-choices", "oai/zero-choices", "coh/empty", "oai/html"])
def test_an_answer_that_is_none(world: World, model: str) -> None:
    assert isinstance(embed(world, model)[1].error, errors.UpstreamProtocolError)


def test_a_stream_is_never_asked_for(world: World, up: FakeUpstream) -> None:
    """Nor given, although an engine's chats always are one."""
    world.owner.base_url = f"{up.origin}/v1"
    exchange, sink = embed(world, "local/near")
    assert (sink.error, exchange.stream) == (None, False)
    assert "stream" not in up.requests[-1].json
    assert not exchange.leg.streams
    assert not embed(world, "oai/ok", stream=True)[0].stream


def test_rerank_by_an_engine_that_embeds(world: World, up: FakeUpstream) -> None:
    world.owner.base_url = f"{up.origin}/v1"
    raw = json.dumps({"model": "local/near", "query": "a cat", "documents": ["a dog", "a cat"], "top_n": 1}).encode()
    exchange, sink = world.begin_raw(raw, None, RERANK)
    world.until(lambda: sink.over)
    assert sink.error is None
    assert exchange.losses == ("rerank.cosine",)
    assert [one["index"] for one in json.loads(sink.data)["results"]] == [1]
    assert (up.requests[-1].path, up.requests[-1].json["input"]) == ("/v1/embeddings", ["a cat", "a dog", "a cat"])


def test_rerank_by_an_engine_that_ranks(world: World, up: FakeUpstream) -> None:
    world.owner.base_url = f"{up.origin}/v1"
    raw = json.dumps({"model": "local/ranks", "query": "a cat", "documents": ["a dog", "a cat"]}).encode()
    exchange, sink = world.begin_raw(raw, None, RERANK)
    world.until(lambda: sink.over)
    assert (sink.error, exchange.losses, up.requests[-1].path) == (None, (), "/v1/rerank")
    for other in (EmbedRequest(model="local/ranks", inputs=("a",)), Request(model="local/ranks", messages=())):
        assert rejected(world, other) == {"local/ranks": "operation"}


def test_in_the_same_process(world: World) -> None:
    request = EmbedRequest(model="coh/ok", inputs=("one", "two"), dimensions=3)
    _, sink = world.begin_request(request)  # type: ignore[arg-type]
    world.until(lambda: sink.over)
    (answer,) = sink.answers
    assert isinstance(answer, Response)
    assert [len(vector) for vector in answer.embeddings] == [3, 3]
    closed = world.records()[-1]
    assert isinstance(closed, Closed)
    assert (closed.dialect, closed.stream) == ("python", False)


# ---- who may answer


@pytest.mark.parametrize("model", ["ant/x", "oai/chats", "local/tiny", "local/smollm2-135m"])
def test_who_does_not_embed_is_rejected_in_the_plan(world: World, model: str) -> None:
    _, sink = embed(world, model)
    assert isinstance(sink.error, errors.InvalidRequest)
    assert "does not embed" in sink.error.message
    assert world.dialled == 0
    assert rejected(world, EmbedRequest(model=model, inputs=("a",))) == {model: "operation"}


def test_a_model_that_makes_vectors_does_not_chat(world: World) -> None:
    _, sink = world.ask("local/minilm")
    assert isinstance(sink.error, errors.InvalidRequest)
    assert "does not chat" in sink.error.message
    snapshot = world.runtime.snapshot
    found = snapshot.endpoint("local/minilm")
    assert isinstance(found, Endpoint)
    assert (found.operations, found.ceiling) == ({"embed", "rerank"}, DataClass.PREMISES)
    assert isinstance(snapshot.endpoint("local/near"), Endpoint)
    assert [snapshot.purpose(name) for name in ("near", "tiny", "new")] == ["embed", "chat", "chat"]


def test_auto_never_rests_on_a_model_that_makes_vectors(world: World, tmp_path: Path) -> None:
    snapshot = world.runtime.snapshot
    assert snapshot.default_local() == ["local/tiny"]
    (tmp_path / "other").mkdir()
    lone = World(tmp_path / "other", '[[engines]]\nid = "near"\nmodel = "./near.gguf"', **STORE)
    assert lone.runtime.snapshot.default_local() == ["local/smollm2-135m"]
    assert lone.runtime.snapshot.rests_on_found
    lone.close()


def test_auto_is_for_chats(world: World) -> None:
    for request in (
        EmbedRequest(model="auto", inputs=("a",)),
        RerankRequest(model="auto", query="q", documents=("a",)),
    ):
        _, sink = world.begin_request(request)  # type: ignore[arg-type]
        world.settle()
        assert isinstance(sink.error, errors.InvalidRequest)
        assert "`auto` is for chats only" in sink.error.message
        assert sink.error.param == "model"
    assert world.dialled == 0


def test_vectors_of_other_weights_are_no_fallback(world: World, up: FakeUpstream) -> None:
    exchange, sink = embed(world, "same")
    assert sink.error is None
    assert [seen.path for seen in up.requests] == ["/v1/embeddings", "/v2/embed"]
    assert exchange.fallback == "oai is overloaded"
    plan = exchange.plan
    assert plan is not None
    assert [endpoint.id for endpoint in plan.endpoints] == ["oai/down+503", "coh/same"]
    (other,) = plan.rejected
    assert (other.endpoint, other.reason) == ("oai/ok", "fallback")
    assert "compared" in other.detail


def test_the_first_that_embeds_is_what_the_others_are_compared_with(world: World) -> None:
    exchange, sink = embed(world, "chats-first")
    assert sink.error is None
    plan = exchange.plan
    assert plan is not None
    assert [endpoint.id for endpoint in plan.endpoints] == ["coh/ok"]
    assert [(no.endpoint, no.reason) for no in plan.rejected] == [("ant/x", "operation"), ("oai/chats", "operation")]
    assert plan.passed_over == Rejected("ant/x", "operation", "it does not embed")


def test_a_ranking_may_be_anybodys(world: World) -> None:
    plan = view(
        world.runtime.snapshot,
        world.runtime.conditions,
        RerankRequest(model="same", query="q", documents=("a",)),
        Wish(),
    )
    assert [row.endpoint for row in plan.endpoints] == ["oai/down+503", "coh/same", "oai/ok"]


def test_a_window_holds_each_text_and_not_all(world: World) -> None:
    many = ["four"] * 50
    assert embed(world, "oai/small", input=many)[1].error is None
    chat = planned(world, Request(model="oai/small", messages=()))
    assert [row.endpoint for row in chat.endpoints] == ["oai/small"]


def test_the_plan_of_vectors_costs_what_goes_in(world: World) -> None:
    request = EmbedRequest(model="oai/priced", inputs=("a" * 40, "b" * 40))
    (row,) = planned(world, request).endpoints
    assert row.expected_cost_usd == pytest.approx(20 * 2e-6)


@pytest.mark.parametrize(
    ("request_", "tokens"),
    [
        (EmbedRequest(model="m", inputs=("a" * 8, "b" * 4)), 3),
        (EmbedRequest(model="m", inputs=((1, 2), (3,))), 3),
        (RerankRequest(model="m", query="a" * 4, documents=("b" * 8, "c" * 4)), 5),
    ],
)
def test_what_a_request_takes(request_: Any, tokens: int) -> None:
    assert needs.text_tokens(request_) == tokens
    assert needs.needs_of(request_) == frozenset()
