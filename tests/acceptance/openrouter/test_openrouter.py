"""The unmodified `openrouter` client against `/api/v1`, over both upstream dialects: its shapes are read strictly."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openrouter
import pytest
from openrouter import components, errors

from acceptance.world import ARGUMENTS, PROVIDERS, SCHEMA, TEXT, World, configuration
from support import serve
from trivium.testing import FakeUpstream

ASK: Any = [{"role": "user", "content": "What is the capital of France?"}]
TOOLS: Any = [{"type": "function", "function": {"name": "weather", "description": "Look.", "parameters": SCHEMA}}]

everywhere = pytest.mark.parametrize("at", PROVIDERS)


@pytest.fixture
def client(trivium: World) -> Iterator[openrouter.OpenRouter]:
    with httpx.Client(timeout=30) as http:
        yield openrouter.OpenRouter(api_key="any", server_url=f"{trivium.served.origin}/api/v1", client=http)


@everywhere
def test_a_plain_answer(client: openrouter.OpenRouter, at: str) -> None:
    done = client.chat.send(model=f"{at}/priced", messages=ASK)
    assert isinstance(done, components.ChatResult)
    assert done.id.startswith("gen-")
    assert (done.choices[0].message.content, done.choices[0].finish_reason) == (TEXT, "stop")
    assert done.usage
    assert done.usage.total_tokens == done.usage.prompt_tokens + done.usage.completion_tokens
    assert done.usage.cost
    assert done.usage.cost == pytest.approx((done.usage.prompt_tokens + 10 * done.usage.completion_tokens) / 1e6)


@everywhere
def test_an_unknown_price_is_null_and_not_nothing(trivium: World, at: str) -> None:
    body = {"model": f"{at}/ok", "messages": ASK}
    done = httpx.post(f"{trivium.served.origin}/api/v1/chat/completions", json=body, timeout=30).json()
    assert done["usage"]["cost"] is None
    assert (done["provider"], done["choices"][0]["native_finish_reason"]) == (at, "stop" if at == "oai" else "end_turn")
    assert done["system_fingerprint"] is None


@everywhere
def test_a_stream_ends_with_its_usage(client: openrouter.OpenRouter, at: str) -> None:
    with client.chat.send(model=f"{at}/reasoning", messages=ASK, stream=True) as stream:  # type: ignore[union-attr]
        chunks = list(stream)
    deltas = [choice.delta for chunk in chunks for choice in chunk.choices]
    assert "".join(delta.content or "" for delta in deltas) == TEXT
    assert "".join(delta.reasoning or "" for delta in deltas).startswith("The user asks")
    details = [detail for delta in deltas for detail in delta.reasoning_details or ()]
    assert {detail.type for detail in details} == {"reasoning.text"}
    assert [bool(chunk.usage) for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert chunks[-1].choices == []


@everywhere
def test_tools(client: openrouter.OpenRouter, at: str) -> None:
    done: Any = client.chat.send(model=f"{at}/tool", messages=ASK, tools=TOOLS)
    (call,) = done.choices[0].message.tool_calls
    assert call.function.name == "weather"
    assert json.loads(call.function.arguments) == ARGUMENTS
    result = {"role": "tool", "tool_call_id": call.id, "content": "12 degrees"}
    said = done.choices[0].message.model_dump(by_alias=True, exclude_unset=True)
    again: Any = client.chat.send(model=f"{at}/tool", messages=[*ASK, said, result], tools=TOOLS)
    assert again.choices[0].message.content == "The tool says: 12 degrees"


@everywhere
def test_structured(client: openrouter.OpenRouter, at: str) -> None:
    form: Any = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}
    done: Any = client.chat.send(model=f"{at}/ok", messages=ASK, response_format=form)
    assert json.loads(done.choices[0].message.content) == ARGUMENTS


def test_async(trivium: World) -> None:
    async def ask() -> Any:
        async with httpx.AsyncClient(timeout=30) as http:
            client = openrouter.OpenRouter(
                api_key="any", server_url=f"{trivium.served.origin}/api/v1", async_client=http
            )
            return await client.chat.send_async(model="oai/ok", messages=ASK)

    assert asyncio.run(ask()).choices[0].message.content == TEXT


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("oai/400", errors.BadRequestResponseError),
        ("oai/429-forever", errors.TooManyRequestsResponseError),
        ("nobody/nothing", errors.BadRequestResponseError),
        ("oai/500", errors.BadGatewayResponseError),
    ],
)
def test_errors_are_of_its_types(client: openrouter.OpenRouter, model: str, kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught:
        client.chat.send(model=model, messages=ASK, retries=None)
    assert caught.value.data.error.message  # type: ignore[attr-defined]


def test_an_error_in_the_stream_is_a_chunk(trivium: World) -> None:
    body = {"model": "oai/error-midstream-2", "messages": ASK, "stream": True}
    said = ""
    with (
        httpx.stream("POST", f"{trivium.served.origin}/api/v1/chat/completions", json=body, timeout=30) as answer,
        contextlib.suppress(httpx.RemoteProtocolError),  # a broken answer never ends properly
    ):
        for piece in answer.iter_text():
            said += piece
    last = said.strip().split("\n\n")[-1]
    assert '"finish_reason":"error"' in last
    assert '"error_type"' in last
    assert "[DONE]" not in said


def test_a_caller_who_leaves_stops_the_upstream(trivium: World, client: openrouter.OpenRouter) -> None:
    stream: Any = client.chat.send(model="oai/stall-after-2", messages=ASK, stream=True)
    next(iter(stream))
    stream.response.close()
    trivium.await_cancelled("stall-after-2")


def test_a_generation_can_be_looked_up_at_once(client: openrouter.OpenRouter) -> None:
    done: Any = client.chat.send(model="ant/priced", messages=ASK)
    found = client.generations.get_generation(id=done.id).data
    assert (found.id, found.model, found.provider_name) == (done.id, "ant/priced", "ant")
    assert found.total_cost == pytest.approx(done.usage.cost)
    assert (found.tokens_prompt, found.tokens_completion) == (done.usage.prompt_tokens, done.usage.completion_tokens)
    with pytest.raises(errors.NotFoundResponseError):
        client.generations.get_generation(id="gen-nothing", retries=None)


def test_models_and_their_endpoints(client: openrouter.OpenRouter, trivium: World) -> None:
    listed = {model.id: model for model in client.models.list().result.data}
    assert "auto" in listed
    assert listed["oai/priced"].pricing.prompt
    shown = httpx.get(f"{trivium.served.origin}/api/v1/models/oai/priced/endpoints", timeout=30).json()["data"]
    assert shown["endpoints"][0]["pricing"]["prompt"] == "0.000001"
    found = client.endpoints.list(author="oai", slug="priced").data
    assert [endpoint.provider_name for endpoint in found.endpoints] == ["oai"]


def test_key_and_credits(trivium: World, client: openrouter.OpenRouter) -> None:
    client.chat.send(model="oai/priced", messages=ASK)
    key = httpx.get(f"{trivium.served.origin}/api/v1/key", timeout=30).json()["data"]
    assert key["usage"] >= key["usage_daily"] > 0
    assert key["limit"] is None
    spent = httpx.get(f"{trivium.served.origin}/api/v1/credits", timeout=30).json()["data"]
    assert spent["total_usage"] >= key["usage"]


def test_what_is_missing_is_said_in_its_envelope(trivium: World) -> None:
    origin = trivium.served.origin
    for path, status in (("/api/v1/nothing", 404), ("/api/v1/generation", 400), ("/api/v1/models/a/b/endpoints", 404)):
        answer = httpx.get(origin + path, timeout=30)
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["metadata"]["error_type"] == error["error_type"]) == (
            status,
            status,
            True,
        )


# ---- what is OpenRouter's own in a request

SERVICE = """
[[providers]]
id = "svc"
access = "routed"
base_url = "{origin}/v1"
api_key = "k"
data = {{ trains = false }}
"""
OWN: dict[str, Any] = {
    "provider": {"order": ["x"], "data_collection": "deny"},
    "plugins": [{"id": "web"}],
    "session_id": "s",
    "usage": {"include": True},
    "reasoning": {"max_tokens": 2000},
    "top_k": 4,
}


@pytest.fixture(scope="module")
def routed(model_home: Path) -> Iterator[World]:
    """A server that asks a routing service, too."""
    with FakeUpstream() as up:
        text = configuration(up) + SERVICE.format(origin=up.origin)
        with serve(text, home=model_home) as served:
            yield World(served, up)
            assert served.process.poll() is None, served.log()


@pytest.mark.parametrize("path", ["/api/v1/chat/completions", "/v1/chat/completions"])
def test_they_reach_a_routing_service_unchanged(routed: World, path: str) -> None:
    body = {"model": "svc/ok", "messages": ASK, **OWN}
    done = httpx.post(routed.served.origin + path, json=body, headers={"x-trivium-strict": "1"}, timeout=30)
    assert done.status_code == 200, done.text
    sent = routed.last("ok").json
    assert {name: sent.get(name) for name in OWN} == OWN


def test_elsewhere_they_are_told_to_be_dropped(routed: World) -> None:
    done = post(routed, model="oai/ok", provider={"order": ["x"]}, plugins=[])
    assert done.headers["x-trivium-dropped"] == "plugins"  # what `provider` says is done here
    assert not {"provider", "plugins"} & routed.last("ok").json.keys()


def post(at: World, **fields: Any) -> httpx.Response:
    body = {"messages": ASK} | fields
    return httpx.post(f"{at.served.origin}/api/v1/chat/completions", json=body, timeout=30)


@pytest.mark.parametrize("stream", [False, True])
def test_a_list_of_models_names_one_and_the_answer_says_which_served(trivium: World, stream: bool) -> None:
    first = post(trivium, models=["oai/ok", "ant/ok"], stream=stream)
    assert '"model":"oai/ok"' in first.text
    served = post(trivium, models=["oai/503", "ant/ok"], stream=stream)
    assert served.status_code == 200
    assert '"model":"ant/ok"' in served.text
    assert '"model":"oai/503"' not in served.text


@pytest.mark.parametrize("wish", [{"data_collection": "deny"}, {"zdr": True}])
@pytest.mark.parametrize("path", ["/api/v1/chat/completions", "/v1/chat/completions"])
def test_a_wish_for_privacy_keeps_a_request_from_who_promises_nothing(
    trivium: World, wish: dict[str, Any], path: str
) -> None:
    before = trivium.upstream.count()
    body = {"model": "oai/ok", "messages": ASK, "provider": wish}
    refused = httpx.post(trivium.served.origin + path, json=body, timeout=30)
    assert 400 <= refused.status_code < 500
    assert "ceiling" in refused.text
    assert trivium.upstream.count() == before
