"""The contract of routing services, served by `trivium serve`: its conformance checks, over HTTP.

Numbers are those of the checks. Types of errors (3) are a table in `tests/unit/dialects/test_error_types.py`, slugs (8)
and each member's figures (2) in `tests/unit/routing/test_preferences.py`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import openrouter
import pytest

from acceptance.world import World, world
from trivium.catalog.rows import UTC_DAYS

ASK: Any = [{"role": "user", "content": "What is the capital of France?"}]
CATALOGUE = """
[[models]]
id = "oai/old"
retired = "Use `oai/ok`."
[[models]]
id = "oai/old:free"
retired = "Use `oai/ok`."
[[models]]
id = "oai/vectors"
operations = ["embed"]
[[models]]
id = "oai/small"
context = 100
[[models]]
id = "oai/int4"
quantization = "int4"
[[models]]
id = "oai/tiered"
[models.price]
input = 1.0
output = 10.0
discount = 0.5
overrides = [{{ min_prompt_tokens = 0, utc_days = {days}, input = 4.0 }}]
[[providers]]
id = "quiet"
base_url = "{origin}/v1"
api_key = "k"
data = {{ trains = false, retains_days = 0 }}
[[providers]]
id = "geo"
base_url = "{origin}/geo"
api_key = "k"
"""
ROUTES: list[dict[str, Any]] = [
    {"name": "two", "targets": ["oai/ok", "ant/ok"]},
    {"name": "priced", "targets": ["ant/ok", "oai/priced", "ant/priced"]},
    {"name": "down", "targets": ["oai/503", "ant/503"]},
    {"name": "busy", "targets": ["oai/429-forever", "ant/429-forever"]},
    {"name": "gone", "targets": ["oai/404", "ant/404"]},
    {"name": "nowhere", "targets": ["openai/gpt-5-mini"]},
]


@pytest.fixture(scope="module")
def at(model_home: Path) -> Iterator[World]:
    with world(model_home, CATALOGUE.format(origin="http://127.0.0.1:9", days=list(UTC_DAYS)), ROUTES) as made:
        yield made


def post(at: World, path: str = "/api/v1/chat/completions", headers: Any = None, **fields: Any) -> httpx.Response:
    body = {"messages": ASK} | fields
    if path.endswith("messages"):
        body.setdefault("max_tokens", 50)
    if path.endswith("responses"):
        body["input"] = body.pop("messages")[0]["content"]
    return httpx.post(at.served.origin + path, json=body, headers=headers, timeout=30)


PATHS = ("/api/v1/chat/completions", "/api/v1/messages", "/api/v1/responses", "/v1/chat/completions", "/v1/messages")

# ---- 1: the vendors' clients


@pytest.mark.filterwarnings("ignore:.*DEPRECATED")  # its own, of what it reads
@pytest.mark.parametrize("stream", [False, True])
def test_1_openrouters_client_reads_all_that_it_looks_up(at: World, stream: bool) -> None:
    with httpx.Client(timeout=30) as http:
        client = openrouter.OpenRouter(api_key="any", server_url=f"{at.served.origin}/api/v1", client=http)
        done: Any = client.chat.send(
            model="two",
            messages=ASK,
            stream=stream,
            provider={"order": ["ant"], "max_price": {"image": "100"}},
            x_open_router_metadata="enabled",
        )
        if stream:
            with done as events:
                done = list(events)[-1]
        assert done.openrouter_metadata.attempts[-1].provider == "ant"
        assert done.usage.total_tokens
        assert client.models.list().result.data
        assert client.models.count().data.count > 5
        assert client.models.list_for_user(security={"bearer": "any"}).result.data
        assert client.models.get(author="oai", slug="priced").data.id == "oai/priced"
        assert "oai" in [row.slug for row in client.providers.list().data]
        assert client.endpoints.list_zdr_endpoints().data is not None
        assert [row.id for row in client.embeddings.list_models().result.data] == ["oai/vectors"]
        assert client.api_keys.get_current_key_metadata().data.limit is None


def test_1_openais_and_anthropics_clients_read_a_refusal(at: World) -> None:
    wish = {"provider": {"only": ["nobody"]}}
    with pytest.raises(openai.NotFoundError) as one:
        at.openai().chat.completions.create(model="two", messages=ASK, extra_body=wish)
    assert one.value.code == "no_endpoints"
    with pytest.raises(anthropic.NotFoundError) as other:
        at.anthropic().messages.create(model="two", messages=ASK, max_tokens=50, extra_body=wish)
    assert other.value.body["error"]["availability"]["excluded_by"] == ["allowed_providers"]  # type: ignore[index]


# ---- 2: the `provider` object


@pytest.mark.parametrize("path", [*PATHS, "/v1/responses"])
@pytest.mark.parametrize(
    ("model", "provider", "served"),
    [
        ("two", {}, "oai/ok"),
        ("two", {"order": ["ant"]}, "ant/ok"),
        ("two", {"only": ["ant"]}, "ant/ok"),
        ("two", {"ignore": ["oai"]}, "ant/ok"),
        ("priced", {"sort": "price"}, "oai/priced"),
        ("priced", {"max_price": {"completion": "10"}}, "oai/priced"),
        ("two", {"quantizations": ["unknown"], "whatever": 1}, "oai/ok"),
    ],
)
def test_2_who_serves(at: World, path: str, model: str, provider: dict[str, Any], served: str) -> None:
    done = post(at, path, model=model, provider=provider)
    assert (done.status_code, done.headers["x-trivium-endpoint"]) == (200, served), done.text
    assert "provider" not in at.last(served.partition("/")[2]).json


ALONE, DISTILL = {"order": ["x"], "allow_fallbacks": False}, "enforce_distillable_text"


@pytest.mark.parametrize(
    ("provider", "code", "excluded", "field"),
    [
        ({"only": ["nobody"]}, "constraint_filtered", ["allowed_providers"], "provider.only"),
        ({"ignore": ["oai", "ant"]}, "constraint_filtered", ["allowed_providers"], "provider.ignore"),
        (ALONE, "constraint_filtered", ["allowed_providers"], "provider.allow_fallbacks"),
        ({"only": ["oai"], "ignore": ["oai"]}, "constraint_filtered", ["allowed_providers"], "provider.only"),
        ({"quantizations": ["fp8"]}, "constraint_filtered", ["quantization"], "provider.quantizations"),
        ({"max_price": {"prompt": 0}}, "constraint_filtered", ["max_price"], "provider.max_price"),
        ({"zdr": True}, "privacy_restricted", ["data_policy:zdr"], "provider.zdr"),
        ({"data_collection": "deny"}, "privacy_restricted", ["data_policy:training"], "provider.data_collection"),
        ({"only": ["oai"], "zdr": True}, "privacy_restricted", ["data_policy:zdr"], "provider.zdr"),
        ({DISTILL: True}, "constraint_filtered", ["allowed_providers"], f"provider.{DISTILL}"),
    ],
)  # fmt: skip
def test_2_an_empty_pool_says_what_emptied_it(
    at: World, provider: dict[str, Any], code: str, excluded: list[str], field: str
) -> None:
    before = at.upstream.count()
    for path in PATHS:
        refused = post(at, path, model="two", provider=provider)
        told = refused.json()["error"]["availability"]
        assert (refused.status_code, told["code"], told["constraint"]["field"]) == (404, code, field), refused.text
        assert set(told["excluded_by"]) == set(excluded)
        assert told["constraint"]["detail"]
    assert at.upstream.count() == before


def test_2_all_parameters_must_be_heeded_where_that_is_asked(at: World) -> None:
    wish = {"require_parameters": True}
    assert post(at, model="two", provider=wish, top_k=4).headers["x-trivium-endpoint"] == "ant/ok"
    assert post(at, model="two", provider=wish, seed=4).headers["x-trivium-endpoint"] == "oai/ok"
    refused = post(at, model="two", provider=wish, seed=4, top_k=4).json()["error"]
    assert refused["availability"]["excluded_by"] == ["require_parameters"]
    assert post(at, model="two", seed=4, top_k=4).status_code == 200


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("provider", "param"),
    [
        ({"max_price": {"prompt": "cheap"}}, "provider.max_price.prompt"),
        ({"only": [1]}, "provider.only[0]"),
        ({"sort": {"by": []}}, "provider.sort.by"),
        ({"zdr": "no"}, "provider.zdr"),
        ("oai", "provider"),
    ],
)
def test_2_hostile_wishes_are_refused_by_their_path(at: World, path: str, provider: Any, param: str) -> None:
    refused = post(at, path, model="two", provider=provider)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, param)


# ---- 4: all codes, from a scripted catalogue

CODES = [
    ("nobody/nothing", {}, "model_not_found", 400),
    ("oai/vectors", {}, "wrong_endpoint", 400),
    ("nowhere", {}, "no_endpoints", 404),
    ("oai/old", {}, "model_deprecated", 404),
    ("oai/old:free", {}, "free_variant_ended", 404),
    ("gone", {}, "model_unavailable_upstream", 404),
    ("two", {"provider": {"zdr": True}}, "privacy_restricted", 404),
    ("two", {"provider": {"only": ["x"]}}, "constraint_filtered", 404),
    ("busy", {}, "capacity_exhausted", 429),
    ("down", {}, "temporarily_unavailable", 503),
]


@pytest.mark.parametrize("path", PATHS[:3])
@pytest.mark.parametrize(("model", "more", "code", "status"), CODES)
def test_4_each_code(at: World, path: str, model: str, more: dict[str, Any], code: str, status: int) -> None:
    refused = post(at, path, model=model, **more)
    error = refused.json()["error"]
    told = error["availability"]
    assert (refused.status_code, told["code"], error["http_status"]) == (status, code, status), refused.text
    assert {"code", "retryable", "requested_models", "docs_url"} <= told.keys()
    assert told["retryable"] is (status in (429, 503))
    assert told["requested_models"] == [model]
    assert None not in told.values()
    assert [] not in told.values()
    assert refused.headers["x-generation-id"].startswith("gen-")
    if code == "wrong_endpoint":
        assert "/v1/embeddings" in told["constraint"]["detail"]
    if code in ("capacity_exhausted", "temporarily_unavailable", "model_unavailable_upstream"):
        assert told["affected_providers"] == ["oai", "ant"]
        assert [one["provider"] for one in error["metadata"]["previous_errors"]] != []


# ---- 5: usage and its cost


@pytest.mark.parametrize("model", ["oai/priced", "ant/priced"])
@pytest.mark.parametrize("stream", [False, True])
def test_5_usage_comes_once_and_its_parts_add_up(at: World, model: str, stream: bool) -> None:
    done = post(at, model=model, stream=stream)
    frames = [line[6:] for line in done.text.splitlines() if line.startswith("data: {")] if stream else [done.text]
    told = [usage for frame in frames if (usage := json.loads(frame).get("usage"))]
    assert len(told) == 1
    parts = told[0]["cost_details"]
    names = ("upstream_inference_prompt_cost", "upstream_inference_completions_cost")
    assert sum(round(parts[name] * 1e9) for name in names) == round(told[0]["cost"] * 1e9)
    assert round(parts["upstream_inference_cost"] * 1e9) == round(told[0]["cost"] * 1e9)
    if stream:
        assert json.loads(frames[-1])["choices"] == []


# ---- 9: metadata


def last_frame(text: str, path: str) -> dict[str, Any]:
    frames = [line[6:] for line in text.splitlines() if line.startswith("data: {")]
    last = json.loads(frames[-1])
    return last["response"] if path.endswith("responses") and "openrouter_metadata" not in last else last


@pytest.mark.parametrize("word", ["enabled", "Enabled"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", [*PATHS, "/v1/responses"])
@pytest.mark.parametrize("model", ["oai/ok", "ant/ok"])
def test_9_metadata_stand_in_the_last_object(at: World, path: str, stream: bool, model: str, word: str) -> None:
    done = post(at, path, {"x-openrouter-metadata": word}, model=model, stream=stream)
    if stream:
        assert done.text.count('"openrouter_metadata"') == 1
        assert not path.endswith("completions") or done.text.rstrip().endswith("data: [DONE]")
        told = last_frame(done.text, path)["openrouter_metadata"]
    else:
        told = done.json()["openrouter_metadata"]
    assert (told["requested"], told["strategy"], told["attempt"], told["region"]) == (model, "direct", 1, None)
    place = {"provider": model[:3], "model": model}
    assert told["endpoints"] == {"total": 1, "available": [{**place, "selected": True}]}
    assert told["attempts"] == [{**place, "status": 200}]


@pytest.mark.parametrize("headers", [{}, {"x-openrouter-metadata": "disabled"}, {"x-openrouter-metadata": "yes"}])
def test_9_nobody_gets_them_who_does_not_ask(at: World, headers: dict[str, str]) -> None:
    assert "openrouter_metadata" not in post(at, headers=headers, model="oai/ok").text


@pytest.mark.parametrize("path", PATHS[:3])
def test_9_an_error_has_them_beside_it(at: World, path: str) -> None:
    headers = {"x-openrouter-experimental-metadata": "enabled"}
    never = post(at, path, headers, model="two", provider={"only": ["x"]}).json()["openrouter_metadata"]
    assert (never["attempt"], never["endpoints"]) == (0, {"total": 2, "available": []})
    assert [one["reason"] for one in never["rejected"]] == ["allowed_providers"] * 2
    failed = post(at, path, headers, model="down").json()["openrouter_metadata"]
    assert {attempt["status"] for attempt in failed["attempts"]} == {503}
    assert [one["selected"] for one in failed["endpoints"]["available"]] == [False, False]


# ---- 10: prices that change


def test_10_an_override_and_a_discount_are_billed_and_listed(at: World) -> None:
    used = post(at, model="oai/tiered").json()["usage"]
    nanos = 2000 * used["prompt_tokens"] + 5000 * used["completion_tokens"]
    assert round(used["cost"] * 1e9) == nanos
    shown = httpx.get(f"{at.served.origin}/api/v1/model/oai/tiered", timeout=30).json()["data"]["pricing"]
    assert (shown["prompt"], shown["discount"]) == ("0.000001", 0.5)
    assert shown["overrides"] == [{"min_prompt_tokens": 0, "utc_days": list(UTC_DAYS), "prompt": "0.000004"}]


# ---- 11: what is not known is no reason to refuse


def test_11_unknown_fields_are_no_reason_to_refuse(at: World) -> None:
    more = {"nobody_knows": {"this": 1}, "route": "fallback", "transforms": ["middle-out"], "plugins": [], "trace": {}}
    for path in PATHS[:2]:
        assert post(at, path, model="ant/ok", **more).status_code == 200
    assert post(at, model="oai/ok", provider={"new": {"x": 1}, "sort": None}, **more).status_code == 200


def test_11_but_what_contradicts_itself_is_refused(at: World) -> None:
    both = {"fallbacks": [{"model": "ant/ok"}], "models": ["ant/ok"]}
    refused = post(at, "/api/v1/messages", model="oai/ok", **both)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "fallbacks")
    refused = post(at, "/api/v1/messages", model="oai/ok", fallbacks=[{"model": "ant/ok", "max_tokens": 1}])
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "fallbacks[0]")
    refused = post(at, model="oai/ok", reasoning={"effort": "low"}, reasoning_effort="high")
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "reasoning_effort")
    done = post(at, "/api/v1/messages", model="oai/503", fallbacks=[{"model": "ant/ok"}])
    assert (done.status_code, done.headers["x-trivium-endpoint"]) == (200, "ant/ok")
    assert "fallbacks" not in at.last("ok").json


# ---- the catalogue


def test_the_catalogue_is_filtered_sorted_and_paged(at: World) -> None:
    def listed(**query: Any) -> dict[str, Any]:
        return httpx.get(f"{at.served.origin}/api/v1/models", params=query, timeout=30).json()

    def ids(**query: Any) -> list[str]:
        return [row["id"] for row in listed(**query)["data"]]

    whole = listed()
    assert whole["total_count"] == len(whole["data"])
    assert whole["links"]["next"] is None
    assert ids(q="PRICED") == ["priced", "oai/priced", "ant/priced", "coh/priced"]
    assert ids(providers="oai", max_price=1, min_price=1) == ["oai/priced", "oai/tiered"]
    assert ids(min_output_price=11) == []
    assert ids(context=101, q="small") == []
    assert "ant/priced" not in ids(supported_parameters="seed")
    assert ids(sort="pricing-low-to-high")[:3] == ["oai/priced", "ant/priced", "coh/priced"]
    contexts = [row["context_length"] or 0 for row in listed(sort="context-high-to-low")["data"]]
    assert contexts == sorted(contexts, reverse=True) != sorted(contexts)
    page = listed(limit=2, offset=1)
    assert (len(page["data"]), page["total_count"]) == (2, whole["total_count"])
    assert "offset=3" in page["links"]["next"]
    for query, param in (({"limit": 0}, "limit"), ({"limit": "x"}, "limit"), ({"max_price": "x"}, "max_price")):
        refused = httpx.get(f"{at.served.origin}/api/v1/models", params=query, timeout=30)
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, param)


@pytest.mark.parametrize("base", ["/api/v1", "/v1"])
@pytest.mark.parametrize(
    "path",
    [
        *("/key", "/credits", "/providers", "/models/count", "/models/user", "/embeddings/models", "/endpoints/zdr"),
        *("/models/oai/priced/endpoints", "/model/oai/priced"),
    ],
)
def test_what_is_looked_up_is_there_under_both_bases(at: World, base: str, path: str) -> None:
    found = httpx.get(at.served.origin + base + path, timeout=30)
    assert (found.status_code, "data" in found.json()) == (200, True)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", PATHS)
def test_an_answer_has_its_generation_id_under_its_base(at: World, path: str, stream: bool) -> None:
    done = post(at, path, model="oai/ok", stream=stream)
    expected = done.headers["x-request-id"] if path.startswith("/api") else None
    assert done.headers.get("x-generation-id") == expected
    found = httpx.get(f"{at.served.origin}/api/v1/generation", params={"id": done.headers["x-request-id"]}, timeout=30)
    assert found.json()["data"]["id"] == done.headers["x-request-id"]


# ---- the page


def routes_of_the_page() -> list[tuple[str, str, str]]:
    page = (Path(__file__).parents[3] / "docs" / "openrouter.md").read_text(encoding="utf-8")
    table = page.partition("## Routes")[2].partition("##")[0]
    return re.findall(r"^\| `(\w+) (/\S+)` \| (\w)", table, re.MULTILINE)


@pytest.mark.parametrize("base", ["/api/v1", "/v1"])
def test_the_page_says_which_routes_there_are(at: World, base: str) -> None:
    routes = routes_of_the_page()
    assert len(routes) > 20
    for method, path, level in routes:
        at_path = base + path.replace("{author}", "oai").replace("{slug}", "priced")
        answer = httpx.request(method, at.served.origin + at_path, json={} if method == "POST" else None, timeout=30)
        missing = answer.status_code == 404 and f"There is no `{at_path}`" in answer.text
        assert missing is (level == "N"), (method, at_path, answer.text)
