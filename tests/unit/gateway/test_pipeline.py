"""Requests from their first byte to their last record: plans, attempts, deadlines, leaving callers, the journal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from trivium import errors
from trivium.catalog.rows import Model, Timeouts
from trivium.gateway import images, pipeline, runtime
from trivium.gateway import snapshot as snapshot_module
from trivium.gateway.attempt import Attempt
from trivium.gateway.relay import PassedAnswer
from trivium.gateway.runtime import KEEP_ALIVE_FIRST_S, KEEP_ALIVE_NEXT_S, LOOK_S
from trivium.gateway.snapshot import Snapshot
from trivium.gateway.wish import Wish
from trivium.ledger.record import Closed, Record, Reserved, Settled
from trivium.policy.key import Key
from trivium.routing.route import Route, When
from trivium.testing import FakeUpstream
from trivium.types.data import DataClass
from trivium.types.message import Image, Message, Text
from trivium.types.request import Request
from trivium.types.response import Response
from trivium.types.secret import Secret
from unit.gateway.world import CHAT, MESSAGES, Sink, World

TEXT = """
[[providers]]
id = "oai"
base_url = "{url}"
api_key = "k"
[[providers]]
id = "ant"
dialect = "anthropic_messages"
base_url = "{url}"
api_key = "k"
[[models]]
id = "oai/priced"
price = {{ input = 1.0, output = 10.0 }}
[[models]]
id = "oai/narrow"
context = 100
max_output = 50
[[engines]]
id = "tiny"
model = "smollm2-135m"
[defaults]
model = "oai/priced"
budget = "0.00015 USD / day"
"""
KEY = Key(name="ci", digest="d", tags=("team",))
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
WITH_IMAGE = [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, IMAGE]}]


@pytest.fixture
def up() -> Iterator[FakeUpstream]:
    with FakeUpstream() as server:
        yield server


@pytest.fixture
def world(up: FakeUpstream, tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path, TEXT.format(url=up.base_url))
    yield made
    made.close()


def route(world: World, *targets: str, name: str = "r", **more: Any) -> str:
    """A route of the test's own."""
    config, old = world.config, world.runtime.snapshot
    made = Route(name=name, targets=targets, **more)
    world.config = msgspec.structs.replace(config, routes=config.routes | {name: made})
    world.runtime.swap(Snapshot(world.config, old.catalog, old.local_models, old.found))
    return name


def asked(up: FakeUpstream) -> list[str]:
    return [seen.model for seen in up.requests]


def outcomes(records: list[Record]) -> list[str]:
    """`r` for a reservation, the outcome of a settlement, the status of the request's record."""
    said: list[str] = []
    for record in records:
        match record:
            case Reserved():
                said.append("r")
            case Settled():
                said.append(record.outcome)
            case Closed():
                said.append(str(record.status))
    return said


# ---- the journal


@pytest.mark.parametrize(
    ("model", "more", "last"),
    [
        ("oai/ok", {}, "whole"),
        ("ant/ok", {}, "whole"),
        ("oai/gap-1", {"stream": True}, "end"),
        ("ant/gap-1", {"stream": True}, "end"),
        ("oai/gap-1", {"stream": True, "dialect": MESSAGES}, "end"),
    ],
)
def test_nothing_ends_before_its_record_is_written(world: World, model: str, more: Any, last: str) -> None:
    exchange, sink = world.ask(model, Wish(key=KEY), **more)
    said = ["append Reserved", "flush True", "append Answered", "flush True", "done", last]
    assert [word for word in world.said() if word not in ("begin", "chunk")] == said
    before = world.log[: world.log.index(("append", "Answered"))]
    streamed = b"".join(data for what, data in before if what in ("begin", "chunk"))
    assert bool(streamed) == (last == "end")
    assert not any(end in streamed for end in (b"[DONE]", b"message_stop", b'"usage":{"prompt'))
    reserved, settled, closed = world.records()
    assert isinstance(reserved, Reserved)
    assert (reserved.id, reserved.attempt, reserved.place.endpoint, reserved.key) == (exchange.id, 1, model, "ci")
    assert isinstance(settled, Settled)
    assert (settled.id, settled.outcome, settled.upstream_status, settled.estimated) == (exchange.id, "ok", 200, False)
    assert settled.input_tokens > 0
    assert settled.output_tokens > 0
    assert isinstance(closed, Closed)
    assert (closed.requested_model, closed.endpoint, closed.status, closed.attempts) == (model, model, 200, 1)
    assert (closed.key, closed.tags, closed.fallback, closed.error) == ("ci", ("team",), "", "")
    assert closed.dialect == more.get("dialect", CHAT).name
    assert closed.cost_nanos is None  # nobody knows what `ok` costs
    assert sink.error is None
    assert not world.runtime.exchanges


def test_nothing_is_sent_before_its_reservation_is_written(world: World, up: FakeUpstream) -> None:
    _, sink = world.begin("oai/ok")
    assert (world.said(), world.dialled, world.records()) == (["append Reserved"], 0, [])
    world.turn()
    assert world.said() == ["append Reserved", "flush True"]
    assert outcomes(world.records()) == ["r"]
    world.until(lambda: sink.over)
    assert up.count() == 1


def test_what_cannot_be_reserved_is_not_sent(world: World) -> None:
    world.journal.full = True
    exchange, sink = world.ask("oai/ok")
    assert isinstance(sink.error, errors.LedgerUnavailable)
    assert (exchange.status, world.dialled) == (503, 0)
    world.journal.full = False
    assert world.ask("oai/ok")[1].error is None
    assert outcomes(world.records()) == ["r", "error", "503", "r", "ok", "200"]


def test_what_a_request_cost(world: World) -> None:
    exchange, _ = world.ask("oai/priced")
    _, settled, closed = world.records()
    assert isinstance(settled, Settled)
    assert isinstance(closed, Closed)
    expected = settled.input_tokens * 1_000 + settled.output_tokens * 10_000
    assert closed.cost_nanos == settled.cost_nanos == exchange.total_cost_nanos == expected


# ---- what is refused before anything is sent


@pytest.mark.parametrize(
    ("model", "wish", "more", "kind"),
    [
        ("nobody/x", Wish(), {}, errors.NotFound),
        ("oai/ok", Wish(data_class=DataClass.PREMISES), {}, errors.NoEndpoint),
        ("oai/ok", Wish(), {"trivium": {"data_class": "premises"}}, errors.NoEndpoint),
        ("homely", Wish(), {}, errors.NoEndpoint),
        ("oai/ok", Wish(), {"trivium": {"data_class": "secret"}}, errors.InvalidRequest),
        ("oai/ok", Wish(), {"trivium": {"timeout": "soon"}}, errors.InvalidRequest),
        ("oai/narrow", Wish(), {"max_tokens": 51}, errors.InvalidRequest),
        ("oai/narrow", Wish(), {"user": "u" * 600}, errors.ContextLengthExceeded),
        ("oai/ok", Wish(key=msgspec.structs.replace(KEY, models=("oai/x",))), {}, errors.PermissionDenied),
        ("oai/ok", Wish(key=msgspec.structs.replace(KEY, roads=("local",))), {}, errors.PermissionDenied),
        ("local/tiny", Wish(), {"messages": WITH_IMAGE}, errors.InvalidRequest),
        ("ant/ok", Wish(strict=True), {"seed": 1}, errors.InvalidRequest),
        ("ant/ok", Wish(), {"seed": 1, "trivium": {"strict": True}}, errors.InvalidRequest),
        ("auto", Wish(), {"max_tokens": 15, "messages": WITH_IMAGE}, errors.NoEndpoint),
    ],
)
def test_refused(world: World, model: str, wish: Wish, more: Any, kind: type[errors.TriviumError]) -> None:
    route(world, "oai/ok", name="homely", data_class=DataClass.PREMISES)
    exchange, sink = world.begin(model, wish, **more)
    assert exchange.closed
    assert "fail" not in world.said()  # the record comes first
    world.settle()
    assert type(sink.error) is kind
    assert outcomes(world.records()) == [str(kind.status)]
    closed = world.records()[-1]
    assert isinstance(closed, Closed)
    assert (closed.error, closed.endpoint, closed.cost_nanos) == (kind.kind, "", 0)
    assert world.dialled == 0
    assert world.said() == ["append Closed", "flush True", "done", "fail"]


def test_a_body_that_is_none(world: World) -> None:
    for body in (b"", b"{", b"[]", b"\xff", b'{"model":7,"messages":[]}', b'{"messages":[]}'):
        _, sink = world.begin_raw(body)
        world.settle()
        assert isinstance(sink.error, errors.InvalidRequest)
    assert world.dialled == 0


def test_who_ends_admits_nobody_and_records_it(world: World) -> None:
    world.runtime.cut_all()
    request = Request(model="oai/ok", messages=(Message("user", (Text("Hello"),)),))
    for _, sink in (world.begin("oai/ok"), world.begin_request(request)):
        world.settle()
        assert isinstance(sink.error, errors.Draining)
    assert outcomes(world.records()) == ["503", "503"]


# ---- plans


def test_the_class_of_a_route_is_the_requests(world: World, up: FakeUpstream) -> None:
    world.owner.base_url = up.base_url
    route(world, "oai/ok", "local/tiny", data_class=DataClass.PREMISES)
    exchange, sink = world.ask("r")
    assert sink.error is None
    assert exchange.data_class == DataClass.PREMISES
    assert exchange.fallback.startswith("oai/ok: the request is `premises`")
    assert outcomes(world.records()) == ["r", "ok", "200"]
    closed = world.records()[-1]
    assert isinstance(closed, Closed)
    assert (closed.endpoint, closed.data_class, closed.fallback) == ("local/tiny", 3, exchange.fallback)


@pytest.mark.parametrize(
    ("more", "endpoint", "fallback"),
    [
        ({}, "oai/narrow", ""),
        ({"max_tokens": 60}, "oai/ok", "oai/narrow: 60 output tokens asked for, 50 possible"),
        ({"user": "u" * 600}, "oai/ok", "oai/narrow: needs at least"),
    ],
)
def test_a_request_that_is_too_large_for_the_first(world: World, more: Any, endpoint: str, fallback: str) -> None:
    exchange, sink = world.ask(route(world, "oai/narrow", "oai/ok"), **more)
    assert sink.error is None
    assert exchange.plan is not None
    assert exchange.plan.endpoints[exchange.position].id == endpoint
    assert exchange.fallback.startswith(fallback)
    assert bool(exchange.fallback) == bool(fallback)


def test_why_the_first_of_a_route_is_passed_over_is_said_however_it_is_spelled(world: World) -> None:
    exchange, sink = world.ask(route(world, "oai/narrow:direct", "oai/ok"), max_tokens=60)
    assert sink.error is None
    assert exchange.fallback.startswith("oai/narrow: ")


def test_no_caller_says_where_a_request_goes(world: World, up: FakeUpstream) -> None:
    with FakeUpstream() as other:
        names = ("base_url", "api_base", "url", "endpoint", "host", "proxy")
        _, sink = world.ask("oai/ok", **dict.fromkeys(names, other.base_url))
        assert sink.error is None
        assert (asked(up), other.count()) == (["ok"], 0)


def test_media_are_looked_for_where_it_matters(world: World, up: FakeUpstream) -> None:
    world.owner.base_url = up.base_url
    exchange, _ = world.ask(route(world, "local/tiny", "oai/ok"), messages=WITH_IMAGE)
    assert exchange.fallback == "local/tiny: the request needs images"
    word = [{"role": "user", "content": "An image of a document"}]
    exchange, _ = world.ask("r", messages=word)
    assert exchange.fallback == ""
    assert asked(up) == ["ok", "smollm2-135m"]


def test_a_passed_request_is_not_judged_by_its_words(world: World, up: FakeUpstream) -> None:
    tools = [{"type": "custom", "custom": {"name": "shell"}}]  # of which the strict parser knows nothing
    word = [{"role": "user", "content": "Read the file."}]
    world.ask(route(world, "oai/ok", "oai/529"), messages=word, tools=tools)
    assert asked(up) == ["ok"]


def test_a_picture_is_no_text(world: World) -> None:
    url = {"url": "data:image/png;base64," + "A" * 4_000}
    picture = [{"role": "user", "content": [{"type": "image_url", "image_url": url}]}]
    exchange, sink = world.ask(route(world, "oai/narrow", "oai/ok"), messages=picture)
    assert (sink.error, exchange.fallback) == (None, "")
    assert exchange.input_tokens < 100


def test_a_name_without_end_in_process(world: World) -> None:
    request = Request(model="a/" + "b" * 1_000, messages=(Message(role="user", parts=(Text("x"),)),))
    sink = Sink(world.log)
    pipeline.begin_request(world.runtime, sink, request, Wish())
    world.settle()
    assert isinstance(sink.error, errors.InvalidRequest)


def test_auto_spends_no_more_than_its_budget(world: World, up: FakeUpstream) -> None:
    world.owner.base_url = up.base_url
    first, _ = world.begin("auto")
    second, sink = world.begin("auto")  # what the first may cost is reserved
    assert first.plan is not None
    assert second.plan is not None
    assert [e.id for e in first.plan.endpoints] == ["oai/priced", "local/tiny"]
    assert [e.id for e in second.plan.endpoints] == ["local/tiny"]
    left = "it could exceed what is left of today's 0.00015 USD for `auto`; see `[defaults] budget`"
    assert second.fallback == f"oai/priced: {left}"
    named, _ = world.begin("oai/priced")  # who names a model pays for it
    assert named.fallback == ""
    world.until(lambda: sink.over and first.closed and named.closed)
    assert sink.error is None
    assert world.runtime.budget.spent_nanos == first.cost_nanos > 0
    world.owner.base_url = ""


def test_auto_waits_for_what_other_programs_spent_today(world: World, up: FakeUpstream) -> None:
    world.runtime.budget.known = False
    world.owner.base_url, world.owner.spent_nanos = up.base_url, 150_000
    exchange, sink = world.begin("auto")
    assert (exchange.plan, exchange.closed) == (None, False)
    world.until(lambda: sink.over)
    assert exchange.plan is not None
    assert [e.id for e in exchange.plan.endpoints] == ["local/tiny"]
    assert asked(up) == ["smollm2-135m"]


def test_auto_spends_nothing_while_nobody_says_what_was_spent(
    world: World, up: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "LEARN_S", 0.05)
    world.runtime.budget.known = False
    world.owner.base_url, world.owner.spent_nanos = up.base_url, None
    exchange, sink = world.begin("auto")
    world.until(lambda: sink.over)
    assert asked(up) == ["smollm2-135m"]
    left = "nobody says what is left of today's 0.00015 USD for `auto`; see `[defaults] budget`"
    assert exchange.fallback == f"oai/priced: {left}"


def test_auto_pays_for_no_second_try_that_its_budget_lacks(world: World, up: FakeUpstream) -> None:
    world.owner.base_url = up.base_url
    exchange, sink = world.begin("auto")
    assert exchange.attempt is not None
    world.runtime.budget.reserve(150_000)  # others, meanwhile
    exchange.attempt.fail(errors.UpstreamServerError("It broke."))
    world.until(lambda: sink.over)
    assert (sink.error, exchange.fallback) == (None, "oai would exceed today's budget")
    assert asked(up) == ["smollm2-135m"]


def test_auto_that_cannot_pay_and_has_nobody_else(up: FakeUpstream, tmp_path: Path) -> None:
    text = TEXT.format(url=up.base_url).replace('[[engines]]\nid = "tiny"\nmodel = "smollm2-135m"\n', "")
    world = World(tmp_path, text.replace("0.00015", "0.00001"))
    _, sink = world.begin("auto")
    world.settle()
    assert isinstance(sink.error, errors.PaymentRequired)
    assert up.count() == 0
    world.close()


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[World]:
    """Nothing is configured, so that `auto` rests on what a search finds."""
    (tmp_path / "bare").mkdir()
    made = World(tmp_path / "bare", "")
    yield made
    made.close()


def test_auto_without_a_choice_waits_for_a_search(bare: World) -> None:
    found = Snapshot(bare.config, bare.runtime.snapshot.catalog, (), ("ollama/q",))
    searches: list[None] = []
    bare.found = lambda: (searches.append(None), bare.runtime.swap(found))
    exchange, _ = bare.begin("auto")
    assert (exchange.plan, exchange.closed) == (None, False)
    bare.until(lambda: exchange.plan is not None)
    assert exchange.snapshot is found
    assert exchange.plan is not None
    assert [e.id for e in exchange.plan.endpoints] == ["ollama/q"]
    later, _ = bare.begin("auto")
    assert later.plan is exchange.plan  # nobody waits again
    bare.settle()
    assert len(searches) == 1
    bare.clock += LOOK_S + 1
    bare.begin("auto")
    bare.settle()
    assert len(searches) == 2


def test_who_leaves_during_a_search_is_never_planned(bare: World) -> None:
    exchange, sink = bare.begin("auto")
    pipeline.caller_gone(exchange)
    bare.settle()
    assert isinstance(sink.error, errors.ClientGone)
    assert exchange.plan is None
    assert outcomes(bare.records()) == ["499"]


def test_a_search_that_finds_nothing(bare: World) -> None:
    _, sink = bare.begin("auto")
    bare.until(lambda: sink.over)
    assert isinstance(sink.error, errors.EngineUnavailable)
    assert "models pull" in str(sink.error)
    assert outcomes(bare.records()) == ["503"]


# ---- attempts


@pytest.mark.parametrize(
    ("targets", "more", "models", "fallback"),
    [
        (["oai/503", "ant/ok"], {}, ["503", "503", "ok"], "oai is overloaded"),
        (["oai/503", "ant/ok"], {"retries": 0}, ["503", "ok"], "oai is overloaded"),
        (["oai/500-once", "ant/ok"], {}, ["500-once", "500-once"], ""),
        (["oai/529", "ant/ok"], {}, ["529", "ok"], "oai is overloaded"),
        (["oai/401", "ant/ok"], {}, ["401", "ok"], "oai refused its key"),
        (["oai/404", "ant/ok"], {}, ["404", "ok"], "oai does not know the model"),
        (["oai/quota", "ant/ok"], {}, ["quota", "ok"], "oai is out of quota"),
        (["oai/400-context", "ant/ok"], {}, ["400-context", "ok"], "oai has too small a window"),
        (["oai/429-retry-after-60", "ant/ok"], {}, ["429-retry-after-60", "ok"], "oai is rate limited"),
        (["oai/429-retry-after-zero", "ant/ok"], {}, ["429-retry-after-zero"] * 2, ""),
        (["oai/empty", "ant/ok"], {}, ["empty", "ok"], "oai sent a broken answer"),
        (["oai/redirect", "ant/ok"], {}, ["redirect", "ok"], "oai sent a broken answer"),
        (["oai/cut-before-headers", "ant/ok"], {}, ["cut-before-headers", "ok"], "oai broke off"),
        (["oai/503", "ant/500-once"], {}, ["503", "503", "500-once", "500-once"], "oai is overloaded"),
        (["oai/503", "oai/529", "ant/ok"], {"retries": 0}, ["503", "529", "ok"], "oai is overloaded"),
    ],
)
def test_who_is_asked_next(
    world: World, up: FakeUpstream, targets: list[str], more: Any, models: list[str], fallback: str
) -> None:
    exchange, sink = world.ask(route(world, *targets, **more))
    assert sink.error is None
    assert (asked(up), exchange.fallback, exchange.attempts) == (models, fallback, len(models))
    assert outcomes(world.records()) == ["r", "error"] * (len(models) - 1) + ["r", "ok", "200"]
    assert [r.attempt for r in world.records() if isinstance(r, Settled)] == list(range(1, len(models) + 1))


@pytest.mark.parametrize(
    ("targets", "more", "models", "kind"),
    [
        (["oai/400", "ant/ok"], {}, ["400"], errors.UpstreamRejected),
        (["oai/400-filter", "ant/ok"], {}, ["400-filter"], errors.UpstreamRefused),
        (["oai/503", "ant/ok"], {"attempts": 2}, ["503", "503"], errors.UpstreamOverloaded),
        (["oai/503", "ant/ok"], {"attempts": 1}, ["503"], errors.UpstreamOverloaded),
        (["oai/529", "ant/401"], {}, ["529", "401"], errors.UpstreamAuthError),
        (["oai/404"], {}, ["404"], errors.UpstreamNotFound),
    ],
)
def test_when_it_is_enough(
    world: World, up: FakeUpstream, targets: list[str], more: Any, models: list[str], kind: type[errors.TriviumError]
) -> None:
    exchange, sink = world.ask(route(world, *targets, **more))
    assert type(sink.error) is kind
    assert isinstance(sink.error, errors.UpstreamError)
    assert sink.error.endpoint.endswith(models[-1])
    assert (asked(up), exchange.attempts, exchange.status) == (models, len(models), kind.status)
    assert outcomes(world.records()) == ["r", "error"] * len(models) + [str(kind.status)]


@pytest.mark.parametrize(
    ("model", "models", "said"),
    [
        ("cut-before-content", ["cut-before-content", "ok"], "end"),
        ("error-first-event", ["error-first-event", "ok"], "end"),
        ("cut-after-2", ["cut-after-2"], "cut"),
    ],
)
def test_what_was_released_is_not_taken_back(
    world: World, up: FakeUpstream, model: str, models: list[str], said: str
) -> None:
    _, sink = world.ask(route(world, f"oai/{model}", "oai/ok", retries=0), stream=True)
    assert (asked(up), world.said()[-1]) == (models, said)
    assert (b"[DONE]" in sink.data) == (said == "end")
    assert ("error_midstream" in outcomes(world.records())) == (said == "cut")


def test_an_endpoint_that_keeps_failing_is_passed_over(world: World, up: FakeUpstream) -> None:
    name = route(world, "oai/529", "ant/ok")
    for _ in range(5):
        world.ask(name)
    exchange, _ = world.ask(name)
    assert asked(up)[-1] == "ok"
    assert asked(up).count("529") == 5
    assert (exchange.attempts, exchange.fallback, exchange.position) == (1, "oai is failing", 0)


def test_an_engine_is_waited_for_or_gone_round(world: World, up: FakeUpstream) -> None:
    exchange, sink = world.ask(route(world, "local/tiny", "oai/ok"))
    assert sink.error is None
    assert (exchange.fallback, exchange.attempts, world.owner.asked) == ("local could not be started", 1, 1)
    _, sink = world.ask("local/tiny")
    assert isinstance(sink.error, errors.EngineUnavailable)
    world.owner.base_url = up.base_url
    world.ask("local/tiny")
    world.ask("local/tiny")
    assert world.owner.asked == 3  # its address is known now
    assert asked(up) == ["ok", "smollm2-135m", "smollm2-135m"]


def test_what_is_too_long_goes_to_a_larger_window_only(world: World, up: FakeUpstream) -> None:
    models = {
        name: Model(id=name, context=context)
        for name, context in (("oai/400-context", 8000), ("ant/small", 8000), ("ant/large", 9000))
    }
    world.config = msgspec.structs.replace(world.config, models=models)
    exchange, sink = world.ask(route(world, "oai/400-context", "ant/small", "ant/large"))
    assert sink.error is None
    assert asked(up) == ["400-context", "large"]
    exchange, sink = world.ask(route(world, "oai/400-context", "ant/small"))
    assert isinstance(sink.error, errors.UpstreamContextLength)
    assert exchange.attempts == 1


@pytest.mark.parametrize(
    ("more", "models", "fails"),
    [
        ({}, ["400-filter"], True),
        ({"on_refusal": "next"}, ["400-filter", "ok"], False),
        ({"fallbacks": {"refusal": ("ant/other",)}}, ["400-filter", "other"], False),
        ({"fallbacks": {"context_length": ("ant/other",)}}, ["400-filter"], True),
    ],
)
def test_a_refusal_is_routed_around_only_where_a_route_says_so(
    world: World, up: FakeUpstream, more: Any, models: list[str], fails: bool
) -> None:
    _, sink = world.ask(route(world, "oai/400-filter", "ant/ok", **more))
    assert asked(up) == models
    assert isinstance(sink.error, errors.UpstreamRefused) == fails


def test_targets_that_a_route_names_for_a_failure_come_first(world: World, up: FakeUpstream) -> None:
    name = route(world, "oai/529", "ant/ok", fallbacks={"error": ("ant/529", "oai/named")})
    exchange, sink = world.ask(name)
    assert sink.error is None
    assert asked(up) == ["529", "529", "named"]
    assert exchange.plan is not None
    assert [one.id for one in exchange.plan.endpoints] == ["oai/529", "ant/529", "oai/named", "ant/ok"]


def test_named_targets_obey_what_the_caller_prefers(world: World, up: FakeUpstream) -> None:
    name = route(world, "oai/529", fallbacks={"error": ("ant/ok",)})
    for provider in ({"ignore": ["ant"]}, {"allow_fallbacks": False}):
        _, sink = world.ask(name, provider=provider)
        assert isinstance(sink.error, errors.UpstreamOverloaded)
    _, sink = world.ask(name)
    assert sink.error is None


def test_routes_of_one_name_keep_their_own_deadlines(world: World) -> None:
    name = route(world, "oai/ok", timeouts=Timeouts(total_s=50.0), line=1)
    other = Route(name=name, targets=("oai/ok",), when=When(tools=True), timeouts=Timeouts(total_s=5.0), line=9)
    world.config = msgspec.structs.replace(world.config, conditional=(other,))
    world.runtime.swap(Snapshot(world.config, world.runtime.snapshot.catalog))
    tools = [{"type": "function", "function": {"name": "f"}}]
    spans: list[float] = []
    for more in ({}, {"tools": tools}):
        exchange, _ = world.ask(name, **more)
        spans.append(exchange.deadline - exchange.started)
    assert spans == [50.0, 5.0]


def test_a_limit_is_kept_to_before_it_is_met(world: World, up: FakeUpstream) -> None:
    name = route(world, "oai/429-retry-after-60", "ant/ok")
    world.ask(name)
    exchange, sink = world.ask(name)
    assert sink.error is None
    assert asked(up) == ["429-retry-after-60", "ok", "ok"]
    assert exchange.fallback == "oai is rate limited"
    _, sink = world.ask("oai/429-retry-after-60")
    assert isinstance(sink.error, errors.UpstreamRateLimited)
    assert 55 < (sink.error.retry_after_s or 0) <= 60
    assert len(asked(up)) == 3


def test_several_keys_share_what_is_asked(world: World, up: FakeUpstream) -> None:
    bound = world.config.providers["oai"]
    pooled = msgspec.structs.replace(bound, credential=Secret("sk-1"), more=(Secret("sk-2"),))
    world.config = msgspec.structs.replace(world.config, providers=world.config.providers | {"oai": pooled})
    name = route(world, "oai/429-retry-after-1")
    world.ask(name)
    _, sink = world.ask(name)
    assert sink.error is None
    sent = [seen.headers["authorization"] for seen in up.requests]
    assert sent[0] == "Bearer sk-1"
    assert set(sent[1:]) == {"Bearer sk-2"}


def test_a_route_with_conditions_takes_what_it_is_for(world: World, up: FakeUpstream) -> None:
    name = route(world, "oai/usual")
    conditional = Route(name=name, targets=("oai/long",), when=When(tokens_min=50))
    taking = Route(name="taker", targets=("oai/taken",), when=When(models=("ant/*",)))
    world.config = msgspec.structs.replace(world.config, conditional=(conditional, taking))
    world.runtime.swap(Snapshot(world.config, world.runtime.snapshot.catalog))
    world.ask(name)
    world.ask(name, text="word " * 100)
    world.ask("ant/anything")
    _, sink = world.ask("taker")
    assert asked(up) == ["usual", "long", "taken", "taken"]
    world.config = msgspec.structs.replace(world.config, routes={})
    world.runtime.swap(Snapshot(world.config, world.runtime.snapshot.catalog))
    _, sink = world.ask(name)
    assert isinstance(sink.error, errors.NotFound)
    assert "without `when`" in str(sink.error)


@pytest.mark.parametrize("found", [True, False])
def test_images_by_url_are_fetched_where_the_wire_takes_bytes(
    world: World, up: FakeUpstream, monkeypatch: pytest.MonkeyPatch, found: bool
) -> None:
    bare = msgspec.structs.replace(MESSAGES, by_url=False)
    suited = snapshot_module.suited
    monkeypatch.setattr(
        snapshot_module, "suited", lambda *asked: bare if suited(*asked) is MESSAGES else suited(*asked)
    )

    def inlined(request: Request, data_class: DataClass, _: object) -> Request:
        if not found:
            raise errors.InvalidRequest("it is gone", param="messages")
        (message,) = request.messages
        shown = Image(data="QUJD", media_type="image/png")
        parts = tuple(shown if isinstance(part, Image) else part for part in message.parts)
        return msgspec.structs.replace(request, messages=(msgspec.structs.replace(message, parts=parts),))

    monkeypatch.setattr(images, "inlined", inlined)
    model = route(world, "ant/ok", "oai/ok")
    exchange, sink = world.ask(model, messages=WITH_IMAGE)
    assert sink.error is None
    assert (exchange.attempts, asked(up)) == (1, ["ok"])
    sent = json.dumps(up.requests[0].json)
    assert ("QUJD" in sent, "example.org" in sent) == (found, not found)
    assert up.requests[0].path == ("/v1/messages" if found else "/v1/chat/completions")
    if not found:
        _, sink = world.ask("ant/ok", messages=WITH_IMAGE)
        assert isinstance(sink.error, errors.InvalidRequest)


def test_an_engine_that_moved_is_asked_for_once_more(world: World, up: FakeUpstream) -> None:
    with FakeUpstream() as old:
        world.owner.base_url = old.base_url
        world.ask("local/tiny")
    world.owner.base_url = up.base_url
    exchange, sink = world.ask("local/tiny")
    assert sink.error is None
    assert (exchange.attempts, exchange.fallback, world.owner.asked) == (2, "", 2)


def test_an_object_and_its_events(world: World) -> None:
    request = Request(model="oai/ok", messages=(Message("user", (Text("Hello"),)),))
    for stream in (False, True):
        _, sink = world.begin_request(msgspec.structs.replace(request, stream=stream))
        world.until(lambda sink=sink: sink.over)  # type: ignore[misc]
        assert isinstance(sink.answers[0], Response) != stream
        closed = world.records()[-1]
        assert isinstance(closed, Closed)
        assert (closed.dialect, closed.stream) == ("python", stream)
    assert world.said()[-4:] == ["append Answered", "flush True", "done", "give"]


# ---- callers who leave


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        ("reserved", ["r", "aborted_by_client", "499"]),
        ("dialling", ["r", "aborted_by_client", "499"]),
        ("starting", ["499"]),
        ("sent", ["r", "aborted_by_client", "499"]),
        ("released", ["r", "aborted_by_client", "499"]),
        ("backing off", ["r", "error", "499"]),
        ("closed", ["r", "ok", "200"]),
    ],
)
def test_a_caller_leaves(world: World, up: FakeUpstream, stage: str, expected: list[str]) -> None:
    world.dials = stage != "dialling"
    world.owner.base_url = None
    models = {"sent": "oai/silent", "released": "oai/stall-after-2", "starting": "local/tiny"}
    name = route(world, "oai/429-retry-after-9", "oai/ok") if stage == "backing off" else models.get(stage, "oai/ok")
    exchange, sink = world.begin(name, stream=stage in ("sent", "released"))
    arrived = {
        "reserved": lambda: True,
        "dialling": lambda: world.dialled == 1,
        "starting": lambda: world.owner.asked == 1,
        "sent": lambda: up.count() == 1,
        "released": lambda: exchange.released,
        "backing off": lambda: exchange.attempts == 1 and exchange.attempt is None,
        "closed": lambda: exchange.closed,
    }
    world.until(arrived[stage])
    sent, waiting = stage in ("sent", "released"), exchange.backoff
    assert (waiting is not None) == (stage in ("starting", "backing off"))
    pipeline.caller_gone(exchange)
    pipeline.caller_gone(exchange)
    assert exchange.closed
    assert (exchange.attempt, exchange.backoff) == (None, None)
    world.until(lambda: sink.over)
    assert outcomes(world.records()) == expected
    assert isinstance(sink.error, errors.ClientGone) == (stage not in ("released", "closed"))
    if sent:
        up.wait_until(lambda: up.requests[0].client_gone_at is not None)
    world.settle()
    assert waiting is None or waiting.cancelled()
    assert up.count() == (0 if stage in ("reserved", "dialling", "starting") else 1)
    assert world.said().count("done") == 1
    assert not world.runtime.exchanges
    if stage == "released":
        settled = world.records()[1]
        assert isinstance(settled, Settled)
        assert settled.estimated
        assert settled.output_tokens > 0


# ---- deadlines


def test_a_total_deadline_ends_a_request_in_every_state(world: World, up: FakeUpstream) -> None:
    world.owner.base_url = None
    held = [
        world.begin("oai/silent", Wish(timeout_s=30)),
        world.begin("oai/stall-after-2", Wish(timeout_s=60), stream=True, trivium={"timeout": "30s"}),
        world.begin("local/tiny", Wish(timeout_s=30)),
        world.begin(route(world, "oai/429-retry-after-9"), Wish(timeout_s=30), trivium={"timeout": 90}),
    ]
    world.until(lambda: up.count() == 3 and held[1][0].released and held[3][0].backoff is not None)
    for exchange, _ in held:
        assert exchange.deadline == exchange.started + 30
        pipeline.sweep(exchange, exchange.started + 19)
        assert not exchange.closed
    world.clock += 30
    for exchange, sink in held:
        pipeline.sweep(exchange, world.clock)
        assert exchange.closed
        world.until(lambda sink=sink: sink.over)  # type: ignore[misc]
        assert isinstance(sink.error, errors.UpstreamTimeout) or b"total deadline" in sink.data
    assert not world.runtime.exchanges
    up.wait_until(lambda: sum(seen.client_gone_at is not None for seen in up.requests) == 2)


def test_a_request_has_no_more_time_than_its_route(world: World) -> None:
    for asked_s, total_s in [(None, 600.0), (5.0, 5.0), (1000.0, 600.0)]:
        exchange, _ = world.begin("oai/ok", Wish(timeout_s=asked_s))
        assert exchange.deadline == exchange.started + total_s


@pytest.mark.parametrize(
    ("model", "wait_s", "models", "said"),
    [
        ("silent", 121, ["silent", "ok"], "no content within 120 s"),
        ("stall-before-content", 121, ["stall-before-content", "ok"], "no content within 120 s"),
        ("stall-after-2", 21, ["stall-after-2"], "fell silent for 20 s"),
    ],
)
def test_silence_has_its_own_deadlines(
    world: World, up: FakeUpstream, model: str, wait_s: float, models: list[str], said: str
) -> None:
    exchange, sink = world.begin(route(world, f"oai/{model}", "oai/ok", retries=0), stream=True)
    world.until(lambda: up.count() == 1)
    if model != "silent":
        world.until(lambda: exchange.attempt is not None and exchange.attempt.relay is not None)
    world.until(lambda: exchange.released == (model == "stall-after-2"))
    world.settle()
    world.sweep(exchange, 0)  # what has arrived so far was no silence
    first = exchange.attempt
    world.sweep(exchange, wait_s - 2)
    assert exchange.attempt is first
    world.sweep(exchange, 2)
    assert exchange.attempt is not first
    world.until(lambda: sink.over)
    assert asked(up) == models
    settled = world.records()[1]
    assert isinstance(settled, Settled)
    assert settled.error == "upstream_timeout"
    assert (said.encode() in sink.data) == (len(models) == 1)
    assert exchange.fallback == ("oai timed out" if len(models) == 2 else "")


def test_a_whole_answer_may_be_silent_until_its_end(world: World, up: FakeUpstream) -> None:
    exchange, _ = world.begin("oai/silent")
    world.until(lambda: up.count() == 1)
    world.sweep(exchange, 599)
    assert not exchange.closed


def test_a_caller_who_does_not_read_is_no_silence_of_the_upstream(world: World) -> None:
    exchange, _ = world.begin("oai/stall-after-2", stream=True)
    world.until(lambda: exchange.released)
    exchange.on_caller_writable(writable=False)
    for _ in range(5):
        world.sweep(exchange, 19)
    assert not exchange.closed
    exchange.on_caller_writable(writable=True)
    world.sweep(exchange, 21)
    assert exchange.closed


def test_who_waits_is_kept_company(world: World, up: FakeUpstream) -> None:
    exchange, sink = world.begin("oai/silent", stream=True)
    whole, other = world.begin("oai/silent")
    world.until(lambda: up.count() == 2)
    comment = CHAT.keep_alive
    for wait_s, heard in [
        (KEEP_ALIVE_FIRST_S - 0.1, b""),
        (0.1, comment),
        (KEEP_ALIVE_NEXT_S - 0.1, comment),
        (0.1, comment * 2),
    ]:
        world.sweep(exchange, wait_s)
        pipeline.sweep(whole, world.clock)
        assert (sink.data, other.data) == (heard, b"")
    assert not exchange.released
    # An error that comes now is told inside the stream, since its head has gone.
    pipeline.sweep(exchange, exchange.deadline)
    world.until(lambda: sink.over)
    assert sink.data.startswith(comment * 2)
    assert b"upstream_timeout" in sink.data
    assert sink.error is None


def test_the_end_of_the_process_ends_every_request(world: World, up: FakeUpstream) -> None:
    world.owner.base_url = None
    held = [world.begin("oai/silent"), world.begin("local/tiny"), world.begin("oai/stall-after-1", stream=True)]
    world.until(lambda: up.count() == 2 and held[2][0].released)
    world.runtime.cut_all()
    world.settle()
    assert [type(sink.error) for _, sink in held] == [errors.Draining, errors.Draining, type(None)]
    assert b"draining" in held[2][1].data
    assert sorted(outcomes(world.records())) == sorted(["r", "r", "error", "error_midstream", "503", "503", "503"])


# ---- rules hold for every model that is named


def test_a_key_names_every_model(world: World, up: FakeUpstream) -> None:
    key = Key(name="n", digest="d", models=("oai/529",))
    world.ask("oai/529", Wish(key=key), models=["ant/ok"])
    assert asked(up) == ["529"]


def test_the_class_of_a_further_route(world: World, up: FakeUpstream) -> None:
    route(world, "oai/ok", name="homely", data_class=DataClass.PREMISES)
    world.ask("oai/529", models=["homely"])
    assert asked(up) == []


@pytest.mark.parametrize("further", [True, False])
def test_the_road_of_a_further_model(world: World, up: FakeUpstream, further: bool) -> None:
    if further:
        world.ask("oai/529", models=["ant/ok:local"])
    else:
        world.ask(route(world, "oai/529", "ant/ok:local"))
    assert asked(up) == ["529"]


def test_what_was_never_reserved_is_no_attempt(world: World) -> None:
    world.begin("ant/ok", Wish(strict=True), seed=1)
    world.settle()
    closed = world.records()[-1]
    assert isinstance(closed, Closed)
    assert closed.attempts == 0


@pytest.mark.parametrize("where", ["plan", "attempt"])
def test_a_defect_ends_its_request_with_one_answer(world: World, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    defects: list[BaseException] = []
    world.runtime.report = defects.append  # type: ignore[method-assign]

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, where, broken)
        exchange, sink = world.begin("oai/ok")
    world.settle()
    assert isinstance(sink.error, errors.InternalError)
    assert exchange not in world.runtime.exchanges
    assert [type(record) for record in world.records()] == [Closed]
    assert len(defects) == 1


def test_a_defect_in_one_request_costs_no_other_of_its_turn(world: World) -> None:
    defects: list[BaseException] = []
    world.runtime.report = defects.append  # type: ignore[method-assign]
    (_, first), (_, second), (_, third) = world.begin("oai/ok"), world.begin("oai/ok"), world.begin("oai/ok")

    world.runtime._sends[0].binding = None  # type: ignore[assignment]  # who sends it meets an AttributeError
    world.runtime._sends[1].exchange.sink.whole = None  # type: ignore[attr-defined]  # so does who delivers it
    world.until(lambda: first.over and third.over)
    assert isinstance(first.error, errors.InternalError)
    assert (second.data, second.error, third.error) == (b"", None, None)
    assert ("cut", b"") in world.log
    assert len(defects) == 2


def test_losses_are_those_of_the_attempt_that_answered(world: World, up: FakeUpstream) -> None:
    world.ask(route(world, "ant/529", "oai/ok"), seed=1)
    assert asked(up) == ["529", "ok"]
    closed = world.records()[-1]
    assert isinstance(closed, Closed)
    assert (closed.endpoint, closed.dropped) == ("oai/ok", ())


@pytest.mark.parametrize("status", ["400", "500"])
def test_a_body_that_a_local_server_cannot_read_is_the_callers_fault(
    world: World, up: FakeUpstream, status: str
) -> None:
    world.owner.base_url = up.base_url
    world.config = msgspec.structs.replace(
        world.config, engines={"tiny": msgspec.structs.replace(world.config.engines["tiny"], model=status)}
    )
    world.runtime.swap(Snapshot(world.config, world.runtime.snapshot.catalog))
    _, sink = world.ask("local/tiny", messages=[{"content": "x"}])
    assert isinstance(sink.error, errors.InvalidRequest)
    assert sink.error.param == "messages[0].role"
    _, sink = world.ask("local/tiny")
    assert isinstance(sink.error, errors.UpstreamError)


# ---- defects of ours


def broken(*_: Any, **__: Any) -> Any:
    raise RuntimeError("a defect")


@pytest.mark.parametrize("place", ["_relay", "on_end", "complete", "_settle"])
def test_a_defect_in_an_attempt_ends_its_request(world: World, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    owner = PassedAnswer if place == "on_end" else Attempt
    monkeypatch.setattr(owner, "end" if place == "on_end" else place, broken)
    exchange, sink = world.begin("oai/ok")
    world.until(lambda: sink.over)
    assert isinstance(sink.error, errors.InternalError)
    assert exchange.attempts == 1
    assert outcomes(world.records())[-1] == "500"
    assert not world.runtime.exchanges


def test_a_defect_on_the_way_to_the_next_endpoint_ends_the_request(world: World, up: FakeUpstream) -> None:
    name = route(world, "oai/529", "oai/ok")
    leg = world.runtime.snapshot.leg
    world.runtime.snapshot.leg = lambda plan, position, *who: broken() if position else leg(plan, position, *who)
    _, sink = world.ask(name)
    assert isinstance(sink.error, errors.InternalError)
    assert asked(up) == ["529"]


def test_a_defect_in_a_sweep_ends_the_request(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    exchange, sink = world.begin("oai/silent")
    monkeypatch.setattr(Attempt, "expire", broken)
    world.sweep(exchange, 1.0)
    world.settle()
    assert isinstance(sink.error, errors.InternalError)
    assert exchange.closed


def test_a_journal_that_breaks_is_one_that_cannot_be_written(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    exchange, sink = world.begin("oai/ok")
    with monkeypatch.context() as patch:
        patch.setattr(world.journal, "flush", broken)
        world.settle()
    assert isinstance(sink.error, errors.LedgerUnavailable)
    assert exchange.closed
    assert world.ask("oai/ok")[1].error is None
