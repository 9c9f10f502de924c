"""Snapshots: what a caller's `model` means, which plans it gets, and what the attempts there have in common."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from trivium.catalog.rows import Endpoint
from trivium.config import shipped
from trivium.config.load import load
from trivium.dialects import get
from trivium.errors import ConfigError, NotFound
from trivium.gateway import listing
from trivium.gateway import snapshot as module
from trivium.gateway.snapshot import Limits, Snapshot, facts_of
from trivium.policy.key import Key
from trivium.routing.plan import Plan, Rejected
from trivium.types.data import DataClass

TEXT = """
[[providers]]
id = "oai"
base_url = "http://127.0.0.1:9/v1"
api_key = "k"
timeouts = { idle = "7s", total = "80s" }
[[providers]]
id = "ant"
dialect = "anthropic_messages"
base_url = "http://127.0.0.1:9/v1"
api_key = "k"
[[models]]
id = "oai/small"
context = 1000
max_output = 100
capabilities = ["tools"]
[[models]]
id = "oai/eager"
family = "eager"
[[routes]]
name = "both"
targets = ["oai/small", "quick"]
timeouts = { first_content = "3s", total = "70s" }
[[routes]]
name = "homely"
targets = ["oai/small"]
data_class = "premises"
[aliases]
quick = "ant/big"
bot = "both"
[policy]
timeouts = { total = "90s" }
"""
ENGINE = '[[engines]]\nid = "tiny"\nmodel = "smollm2-135m"\ncontext = 512\n'
MODEL = '[defaults]\nmodel = "oai/small"\n'
PULLABLE = next(iter(shipped.catalog().local_models))
NOTHING: frozenset[str] = frozenset()

Make = Callable[..., Snapshot]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def made(text: str = TEXT, env: dict[str, str] | None = None, **more: Any) -> Snapshot:
        file = tmp_path / "trivium.toml"
        file.write_text(text)
        return Snapshot(
            load(file=str(file), env=env or {}, cwd=tmp_path, home=tmp_path / "home"), shipped.catalog(), **more
        )

    return made


def usual(snapshot: Snapshot, model: str, *more: str, key: Key | None = None, **changes: Any) -> Plan:
    facts = {"data_class": DataClass.ANY, "needs": NOTHING} | changes
    return snapshot.usual_plan(model, more, facts["data_class"], facts["needs"], key)


def ids(plan: Plan) -> list[str]:
    return [endpoint.id for endpoint in plan.endpoints]


def whys(plan: Plan) -> dict[str, str]:
    return {one.endpoint: one.reason for one in plan.rejected}


# ---- names


@pytest.mark.parametrize(
    ("model", "route", "endpoints", "rejected"),
    [
        ("oai/small", "oai/small", ["oai/small"], {}),
        ("oai:small", "oai:small", ["oai/small"], {}),
        ("oai/a/b:free", "oai/a/b:free", ["oai/a/b:free"], {}),
        ("quick", "ant/big", ["ant/big"], {}),
        ("both", "both", ["oai/small", "ant/big"], {}),
        ("bot", "both", ["oai/small", "ant/big"], {}),
        ("oai/small:direct", "oai/small", ["oai/small"], {}),
        ("oai:small:direct", "oai:small", ["oai/small"], {}),
        ("oai/small:local", "oai/small", [], {"oai/small": "road"}),
        ("local/tiny:local", "local/tiny", ["local/tiny"], {}),
        ("local/tiny:direct", "local/tiny", [], {"local/tiny": "road"}),
        ("local/mine", "local/mine", ["local/mine"], {}),
        (f"local/{PULLABLE}", f"local/{PULLABLE}", [], {f"local/{PULLABLE}": "not_pulled"}),
        ("openai/gpt-5-mini", "openai/gpt-5-mini", [], {"openai/gpt-5-mini": "credential"}),
    ],
)
def test_what_a_name_means(make: Make, model: str, route: str, endpoints: list[str], rejected: dict[str, str]) -> None:
    plan = usual(make(TEXT + ENGINE, local_models=("mine",)), model)
    assert (plan.route.name, ids(plan), whys(plan)) == (route, endpoints, rejected)


@pytest.mark.parametrize("model", ["", "/", "oai/", "/small", "nobody", "nobody/x", "nobody:x", "local/x", "local/"])
def test_a_name_that_means_nothing(make: Make, model: str) -> None:
    with pytest.raises(NotFound) as caught:
        usual(make(), model)
    assert caught.value.param == "model"
    assert caught.value.remedy


def test_further_models_follow_once_each(make: Make) -> None:
    assert ids(usual(make(), "oai/small", "bot", "oai/x")) == ["oai/small", "ant/big", "oai/x"]
    with pytest.raises(NotFound):
        usual(make(), "oai/small", "nobody")


def test_what_the_configuration_says_of_an_endpoint(make: Make) -> None:
    snapshot = make(TEXT + ENGINE, local_models=("mine",))
    small, tiny, mine = (snapshot.endpoint(name) for name in ("oai:small", "local/tiny", "local/mine"))
    assert isinstance(small, Endpoint)
    assert (small.id, small.model, small.context, small.trusted_origin) == ("oai/small", "small", 1000, True)
    assert isinstance(tiny, Endpoint)
    assert (tiny.engine, tiny.model, tiny.context, tiny.access) == ("tiny", "smollm2-135m", 512, "local")
    assert isinstance(mine, Endpoint)
    assert (mine.engine, mine.model) == ("mine", "mine")


# ---- auto


def test_engines_with_one_file_have_the_same_weights(make: Make) -> None:
    own = ENGINE.replace("smollm2-135m", "mine")  # of which no catalog knows the weights
    twin, other = own.replace('"tiny"', '"twin"'), own.replace('"tiny"', '"other"').replace("mine", "theirs")
    made = make(TEXT + own + twin + other)
    tiny, twins, others = (made.endpoint(f"local/{name}") for name in ("tiny", "twin", "other"))
    assert isinstance(tiny, Endpoint)
    assert tiny.weights is not None
    assert isinstance(twins, Endpoint)
    assert isinstance(others, Endpoint)
    assert tiny.weights == twins.weights != others.weights


@pytest.mark.parametrize(
    ("text", "more", "targets"),
    [
        (TEXT, {}, [f"local/{PULLABLE}"]),
        (TEXT, {"env": {"OPENAI_API_KEY": "sk"}}, ["openai/*"]),
        (TEXT + MODEL, {"env": {"OPENAI_API_KEY": "sk"}}, ["oai/small"]),
        (TEXT + MODEL + ENGINE, {}, ["oai/small", "local/tiny"]),
        (TEXT + ENGINE, {"found": ("ollama/q",), "local_models": ("mine",)}, ["local/tiny"]),
        (TEXT, {"found": ("ollama/q", "vllm/v"), "local_models": ("mine", "other")}, ["ollama/q", "local/mine"]),
        (TEXT + MODEL, {"found": ("ollama/q",)}, ["oai/small", "ollama/q"]),
        (TEXT, {"found": ("ollama/q",)}, ["ollama/q"]),
        (TEXT + '[defaults]\nmodel = "ollama/q"\n', {"found": ("ollama/q",)}, ["ollama/q"]),
    ],
    ids=[
        "nothing",
        "key",
        "default",
        "engine",
        "engine-first",
        "found-and-store",
        "default-and-found",
        "found",
        "once",
    ],
)
def test_auto_is_one_primary_and_a_last_resort(make: Make, text: str, more: dict[str, Any], targets: list[str]) -> None:
    route = make(text, **more).route("auto")
    assert route.name == "auto"
    assert [t.partition("/")[0] + "/*" if targets == ["openai/*"] else t for t in route.targets] == targets


@pytest.mark.parametrize(
    ("text", "env", "rests"),
    [(TEXT, {}, True), (TEXT + MODEL, {}, False), (TEXT + ENGINE, {}, False), (TEXT, {"OPENAI_API_KEY": "sk"}, False)],
)
def test_when_auto_rests_on_servers_that_may_run(make: Make, text: str, env: dict[str, str], rests: bool) -> None:
    assert make(text, env).rests_on_found is rests


# ---- plans


def test_plans_are_made_once_a_kind(make: Make) -> None:
    snapshot, key = make(), Key(name="n", digest="d")
    first = usual(snapshot, "both")
    assert usual(snapshot, "both") is first
    others = [
        usual(snapshot, "bot"),
        usual(snapshot, "both", "oai/x"),
        usual(snapshot, "both", key=key),
        usual(snapshot, "both", data_class=DataClass.NO_TRAINING),
        usual(snapshot, "both", needs=frozenset({"images"})),
    ]
    assert all(other is not first for other in others)
    # A key of the same name that may do less is another one.
    less = msgspec.structs.replace(key, roads=("local",))
    assert whys(usual(snapshot, "oai/small", key=less)) == {"oai/small": "allowed_roads"}
    assert ids(usual(snapshot, "oai/small", key=key)) == ["oai/small"]


def test_a_larger_request_gets_a_plan_of_its_own(make: Make) -> None:
    snapshot = make()
    plan = usual(snapshot, "both")
    assert (plan.context, plan.max_output) == (1000, 100)
    for tokens, output, kept in [(1000, 100, True), (1200, None, False), (10, 101, False)]:
        assert plan.holds(tokens, output) is kept
        own = snapshot.plan(facts_of("both", DataClass.ANY, NOTHING, None, tokens, output))
        assert ids(own) == (["oai/small", "ant/big"] if kept else ["ant/big"])
    assert ids(usual(snapshot, "both")) == ["oai/small", "ant/big"]  # the large one changed nothing for others


@pytest.mark.parametrize(
    ("allowed", "model", "endpoints"),
    [
        (("oai/small",), "oai/small", ["oai/small"]),
        (("oai/small",), "oai/small:direct", ["oai/small"]),
        (("oai/small",), "both", ["oai/small"]),
        (("both",), "both", ["oai/small", "ant/big"]),
        (("bot",), "bot", ["oai/small", "ant/big"]),
        (("both",), "oai/small", []),
        (("ant/big",), "oai/small", []),
        (("auto",), "ant/big", []),
        (("oai/small",), "oai:small", []),
    ],
)
def test_the_models_of_a_key(make: Make, allowed: tuple[str, ...], model: str, endpoints: list[str]) -> None:
    plan = usual(make(), model, key=Key(name="n", digest="d", models=allowed))
    assert ids(plan) == endpoints
    assert set(whys(plan).values()) <= {"allowed_models"}


@pytest.mark.parametrize(
    ("allowed", "keys", "endpoints"),
    [
        (("openai/gpt-5-mini",), ("OPENAI", "OPENROUTER"), ["openai/gpt-5-mini"]),
        (("openai/gpt-5-mini",), ("OPENROUTER",), []),
        (("openrouter/openai/gpt-5-mini",), ("OPENAI", "OPENROUTER"), ["openrouter/openai/gpt-5-mini"]),
        ((), ("OPENAI", "OPENROUTER"), ["openai/gpt-5-mini", "openrouter/openai/gpt-5-mini"]),
    ],
)
def test_a_slug_does_not_widen_a_key(
    make: Make, allowed: tuple[str, ...], keys: tuple[str, ...], endpoints: list[str]
) -> None:
    snapshot = make("", {f"{name}_API_KEY": "k" for name in keys})
    key = Key(name="n", digest="d", models=allowed)
    plan = snapshot.usual_plan("openai/gpt-5-mini", (), DataClass.ANY, NOTHING, key, slugs=True)
    assert ids(plan) == endpoints


def test_a_key_may_name_a_slug(make: Make) -> None:
    snapshot, slug = make("", {"ANTHROPIC_API_KEY": "k", "OPENROUTER_API_KEY": "k"}), "anthropic/claude-haiku-4.5"
    key = Key(name="n", digest="d", models=(slug,))
    plan = snapshot.usual_plan(slug, (), DataClass.ANY, NOTHING, key, slugs=True)
    assert ids(plan) == ["anthropic/claude-haiku-4-5", f"openrouter/{slug}"]


@pytest.mark.parametrize(
    ("key", "slug", "found"),
    [
        (None, "openai/gpt-5-mini", ["OpenAI", "OpenRouter"]),
        (Key(name="n", digest="d", models=("openai/gpt-5-mini",)), "openai/gpt-5-mini", ["OpenAI"]),
        (Key(name="n", digest="d", roads=("routed",)), "openai/gpt-5-mini", ["OpenRouter"]),
        (Key(name="n", digest="d", models=("openai/gpt-5",)), "openai/gpt-5-mini", []),
        (None, "nope/x", []),
    ],
)
def test_the_endpoints_of_a_slug_are_those_of_the_key(make: Make, key: Key | None, slug: str, found: list[str]) -> None:
    snapshot = make("", {"OPENAI_API_KEY": "k", "OPENROUTER_API_KEY": "k"})
    if found:
        told = listing.endpoints(snapshot, key, slug, lambda _: None)["data"]["endpoints"]
        assert [endpoint["provider_name"] for endpoint in told] == found
    else:
        with pytest.raises(NotFound):
            listing.endpoints(snapshot, key, slug, lambda _: None)


@pytest.mark.parametrize(("roads", "endpoints"), [(("local",), []), (("direct",), ["oai/small"]), ((), ["oai/small"])])
def test_the_roads_of_a_key(make: Make, roads: tuple[str, ...], endpoints: list[str]) -> None:
    assert ids(usual(make(), "oai/small", key=Key(name="n", digest="d", roads=roads))) == endpoints


def test_every_cache_is_bounded(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CACHE_MAX", 4)
    snapshot = make()
    for number in range(50):
        plan = usual(snapshot, f"oai/m{number}")
        assert snapshot.leg(plan, 0).endpoint.id == f"oai/m{number}"
    caches = [value for name, value in vars(snapshot).items() if name.startswith("_")]
    assert len(caches) == 4
    assert all(1 <= len(cache) <= 4 for cache in caches)


# ---- what an attempt needs


def test_deadlines_of_an_attempt(make: Make) -> None:
    snapshot = make(TEXT + ENGINE)
    both, alone, local = (usual(snapshot, name) for name in ("both", "oai/eager", "local/tiny"))
    # A route's over a provider's over the policy's over the usual; nobody knows these two models, so they may think.
    assert snapshot.leg(both, 0).limits == Limits(first_content_s=3.0, idle_s=7.0, total_s=70.0)
    assert snapshot.leg(both, 1).limits == Limits(first_content_s=3.0, idle_s=20.0, total_s=70.0)
    assert snapshot.leg(alone, 0).limits == Limits(first_content_s=120.0, idle_s=7.0, total_s=80.0)
    assert snapshot.leg(local, 0).limits == Limits(first_content_s=300.0, idle_s=60.0, total_s=90.0)


def test_whom_nobody_could_replace_may_take_longer(make: Make) -> None:
    text = TEXT.replace("[policy]", 'pair = "talkers"\n[policy]') + (
        '[[routes]]\nname = "talkers"\ntargets = ["openai/gpt-4o-mini", "oai/eager"]\n'
    )
    snapshot = make(text, {"OPENAI_API_KEY": "sk"})
    first = usual(snapshot, "pair")
    assert snapshot.leg(first, 0).limits.first_content_s == 12.0
    assert snapshot.leg(usual(snapshot, "openai/gpt-4o-mini"), 0).limits.first_content_s == 60.0
    assert snapshot.leg(first, 0) is snapshot.leg(first, 0)


def test_what_is_reached_over_what(make: Make) -> None:
    snapshot = make(TEXT + ENGINE)
    plan = usual(snapshot, "both", "local/tiny")
    legs = [snapshot.leg(plan, position) for position in range(3)]
    assert [leg.binding.dialect.name if leg.binding else None for leg in legs] == [
        "openai_chat",
        "anthropic_messages",
        None,
    ]
    assert legs[0].binding is snapshot.leg(usual(snapshot, "oai/small"), 0).binding


def test_a_quirk_that_there_is_not(make: Make) -> None:
    snapshot = make()
    small = snapshot.endpoint("oai/small")
    assert isinstance(small, Endpoint)
    odd = msgspec.structs.replace(small, provider=msgspec.structs.replace(small.provider, quirks=("odd",)))
    with pytest.raises(ConfigError, match="odd"):
        snapshot.bind(odd, None, get("openai_chat"))


def test_a_rejection_is_remembered_as_one(make: Make) -> None:
    snapshot = make()
    assert isinstance(snapshot.endpoint("openai/gpt-5-mini"), Rejected)
    assert snapshot.endpoint("openai/gpt-5-mini") is snapshot.endpoint("openai/gpt-5-mini")
