"""The unmodified `cohere` client against `trivium serve`, over upstreams of three dialects and the embedded model."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import cohere
import httpx
import pytest
from cohere.core.api_error import ApiError

from acceptance.world import ARGUMENTS, IMAGE_URL, LOCAL, PNG, SCHEMA, TEXT, World
from cohere_help import check_request

AT = ("oai", "ant", "coh")
ASK: Any = [{"role": "user", "content": "What is the capital of France?"}]
TOOLS: Any = [
    {"type": "function", "function": {"name": name, "description": "Look.", "parameters": SCHEMA}}
    for name in ("weather", "news")
]

everywhere = pytest.mark.parametrize("at", AT)
modes = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


def gathered(events: Any) -> dict[str, Any]:
    """What a stream amounts to, put together as Cohere's guides do."""
    said: dict[str, Any] = {"text": "", "thinking": "", "plan": "", "calls": [], "citations": [], "kinds": []}
    for event in events:
        said["kinds"].append(event.type)
        match event.type:
            case "content-delta":
                content = event.delta.message.content
                said["text"] += content.text or ""
                said["thinking"] += content.thinking or ""
            case "tool-plan-delta":
                said["plan"] += event.delta.message.tool_plan
            case "tool-call-start":
                call = event.delta.message.tool_calls
                said["calls"].append({"id": call.id, "name": call.function.name, "arguments": ""})
            case "tool-call-delta":
                said["calls"][-1]["arguments"] += event.delta.message.tool_calls.function.arguments
            case "citation-start":
                said["citations"].append(event.delta.message.citations)
            case "message-end":
                said |= {"finish": event.delta.finish_reason, "usage": event.delta.usage, "error": event.delta}
            case _:
                pass
    return said


def asked(trivium: World, model: str, *, stream: bool, **more: Any) -> dict[str, Any]:
    """One answer, whole or streamed, as the same things."""
    request: Any = {"model": model, "messages": ASK} | more
    if stream:
        return gathered(trivium.cohere().chat_stream(**request))
    done: Any = trivium.cohere().chat(**request)
    content, calls = done.message.content or [], done.message.tool_calls or []
    return {
        "text": "".join(block.text for block in content if block.type == "text"),
        "thinking": "".join(block.thinking for block in content if block.type == "thinking"),
        "plan": done.message.tool_plan or "",
        "calls": [{"id": c.id, "name": c.function.name, "arguments": c.function.arguments} for c in calls],
        "citations": done.message.citations or [],
        "finish": done.finish_reason,
        "usage": done.usage,
    }


@everywhere
@modes
def test_a_plain_answer(trivium: World, at: str, stream: bool) -> None:
    said = asked(trivium, f"{at}/ok", stream=stream, max_tokens=50)
    assert (said["text"], said["finish"]) == (TEXT, "COMPLETE")
    assert said["usage"].billed_units.input_tokens > 0
    assert said["usage"].billed_units.output_tokens == said["usage"].tokens.output_tokens == 6


@everywhere
def test_a_stream_event_by_event(trivium: World, at: str) -> None:
    events: Any = list(trivium.cohere().chat_stream(model=f"{at}/ok", messages=ASK))
    kinds = [event.type for event in events]
    assert kinds == ["message-start", "content-start", *["content-delta"] * 6, "content-end", "message-end"]
    assert events[0].id
    assert events[0].delta.message.role == "assistant"


@everywhere
def test_async(trivium: World, at: str) -> None:
    async def ask() -> tuple[str, str]:
        async with trivium.async_cohere() as client:
            whole: Any = await client.chat(model=f"{at}/ok", messages=ASK)
            events = [event async for event in client.chat_stream(model=f"{at}/ok", messages=ASK)]
            return whole.message.content[0].text, gathered(events)["text"]

    assert asyncio.run(ask()) == (TEXT, TEXT)


@everywhere
@modes
@pytest.mark.parametrize(("model", "names"), [("tool", ["weather"]), ("tools2", ["weather", "news"])])
def test_tools_and_their_results(trivium: World, at: str, model: str, names: list[str], stream: bool) -> None:
    said = asked(trivium, f"{at}/{model}", stream=stream, tools=TOOLS)
    assert said["finish"] == "TOOL_CALL"
    assert [call["name"] for call in said["calls"]] == names
    assert all(json.loads(call["arguments"]) == ARGUMENTS for call in said["calls"])
    if stream:
        assert said["kinds"].count("tool-call-end") == len(names)
    assert bool(said["plan"]) == (at == "coh")
    calls = [
        {"id": c["id"], "type": "function", "function": {"name": c["name"], "arguments": c["arguments"]}}
        for c in said["calls"]
    ]
    document = {"type": "document", "document": {"data": {"snippet": "18 degrees"}, "id": "1"}}
    results = [{"role": "tool", "tool_call_id": call["id"], "content": [document]} for call in calls]
    turn = [*ASK, {"role": "assistant", "tool_plan": "I look.", "tool_calls": calls}, *results]
    after = asked(trivium, f"{at}/{model}", stream=stream, messages=turn, tools=TOOLS)
    assert after["text"].startswith("The tool says: ")
    sent = trivium.last(model).json["messages"]
    assert json.dumps(sent).count("18 degrees") == len(names)
    roles = {"ant": ["user", "assistant", "user"]}.get(at, ["user", "assistant", *["tool"] * len(names)])
    assert [message["role"] for message in sent] == roles


@everywhere
def test_a_turn_that_was_answered_is_said_again(trivium: World, at: str) -> None:
    done: Any = trivium.cohere().chat(model=f"{at}/tools2-reasoning", messages=ASK, tools=TOOLS)
    results = [{"role": "tool", "tool_call_id": call.id, "content": "18"} for call in done.message.tool_calls]
    turn: Any = [*ASK, done.message, *results]
    after: Any = trivium.cohere().chat(model=f"{at}/tools2-reasoning", messages=turn, tools=TOOLS)
    assert after.message.content[-1].text == "The tool says: 18"


@everywhere
def test_tools_are_forced_or_forbidden(trivium: World, at: str) -> None:
    client = trivium.cohere()
    forced: Any = client.chat(model=f"{at}/tool", messages=ASK, tools=TOOLS, tool_choice="REQUIRED", strict_tools=True)
    assert forced.message.tool_calls
    sent = trivium.last("tool").json
    assert sent["tool_choice"] == {"oai": "required", "ant": {"type": "any"}, "coh": "REQUIRED"}[at]
    tool = sent["tools"][0]
    assert {"oai": tool.get("function", {}).get("strict"), "ant": tool.get("strict"), "coh": sent.get("strict_tools")}[
        at
    ]
    free: Any = client.chat(model=f"{at}/tool", messages=ASK, tools=TOOLS, tool_choice="NONE")
    assert free.message.content[0].text == TEXT


@everywhere
@pytest.mark.parametrize("url", [f"data:image/png;base64,{PNG}", IMAGE_URL], ids=["base64", "url"])
def test_images(trivium: World, at: str, url: str) -> None:
    parts = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "What is this?"}]
    said = asked(trivium, f"{at}/ok", stream=False, messages=[{"role": "user", "content": parts}])
    assert said["text"].startswith("I see 1 image.")
    assert (PNG if PNG in url else IMAGE_URL) in trivium.last("ok").body.decode()


@everywhere
def test_a_system_prompt_and_documents(trivium: World, at: str) -> None:
    documents: Any = ["Paris is a city.", {"id": "d2", "data": {"title": "Penguins", "snippet": "They are tall."}}]
    messages: Any = [{"role": "system", "content": "Be brief."}, *ASK]
    trivium.cohere().chat(model=f"{at}/echo", messages=messages, documents=documents)
    sent = trivium.last("echo").body.decode()
    for text in ("Be brief.", "Paris is a city.", "They are tall.", "d2"):
        assert text in sent


@everywhere
@modes
def test_structured_output(trivium: World, at: str, stream: bool) -> None:
    form = {"type": "json_object", "json_schema": SCHEMA}
    said = asked(trivium, f"{at}/ok", stream=stream, response_format=form)
    assert json.loads(said["text"]) == ARGUMENTS


@everywhere
@modes
def test_an_answer_cut_at_its_limit(trivium: World, at: str, stream: bool) -> None:
    said = asked(trivium, f"{at}/ok", stream=stream, max_tokens=3)
    assert (said["text"], said["finish"]) == ("The capital of ", "MAX_TOKENS")


@everywhere
@modes
def test_cached_tokens_and_thinking(trivium: World, at: str, stream: bool) -> None:
    said = asked(trivium, f"{at}/cached-reasoning", stream=stream, thinking={"type": "enabled", "token_budget": 2000})
    assert said["thinking"].startswith("The user asks")
    assert said["text"] == TEXT
    assert 0 < said["usage"].cached_tokens < said["usage"].billed_units.input_tokens
    assert said["usage"].billed_units.output_tokens > 6


# ---- errors


@everywhere
@modes
@pytest.mark.parametrize(
    ("model", "error", "status"),
    [
        ("400", cohere.BadRequestError, 400),
        ("400-context", cohere.BadRequestError, 400),
        ("401", ApiError, 502),
        ("403", ApiError, 502),
        ("404", cohere.NotFoundError, 404),
        ("quota", cohere.TooManyRequestsError, 429),
        ("529", cohere.ServiceUnavailableError, 503),
    ],
)
def test_an_upstream_error(
    trivium: World, at: str, model: str, error: type[ApiError], status: int, stream: bool
) -> None:
    with pytest.raises(error) as caught:
        asked(trivium, f"{at}/{model}", stream=stream)
    assert caught.value.status_code == status
    body: Any = caught.value.body
    assert body["id"] == (caught.value.headers or {})["x-request-id"]
    assert body["message"]


@everywhere
def test_a_rate_limit_tells_when_to_come_back(trivium: World, at: str) -> None:
    wait = 7300 + AT.index(at)
    with pytest.raises(cohere.TooManyRequestsError) as caught:
        asked(trivium, f"{at}/429-retry-after-{wait}", stream=False)
    assert wait - 5 <= int((caught.value.headers or {})["retry-after"]) <= wait


@everywhere
@pytest.mark.parametrize("model", ["error-midstream-2", "cut-after-2", "clean-cut-after-2", "stall-after-2"])
def test_a_broken_stream_ends_with_an_error(trivium: World, at: str, model: str) -> None:
    events: list[Any] = []
    with pytest.raises((httpx.RemoteProtocolError, cohere.ServiceUnavailableError)) as caught:
        events.extend(trivium.cohere().chat_stream(model=f"{at}/{model}", messages=ASK))
    if isinstance(caught.value, cohere.ServiceUnavailableError):
        assert model == "error-midstream-2"  # it came with the first content, in one read
        return
    said = gathered(events)
    assert "The capital ".startswith(said["text"])
    assert (said["kinds"][-1], said["finish"]) == ("message-end", "ERROR")
    assert said["error"].error
    assert said["usage"] is None


def test_no_such_model(trivium: World) -> None:
    with pytest.raises(cohere.NotFoundError) as caught:
        asked(trivium, "command-nonexistent", stream=False)
    body: Any = caught.value.body
    assert "command-nonexistent" in body["message"]
    assert "provider/model" in body["message"]


def test_a_path_that_does_not_exist_is_refused_in_its_dialect(trivium: World) -> None:
    answer = httpx.post(f"{trivium.served.origin}/v2/nothing", json={})
    assert answer.status_code == 404
    assert answer.json()["message"].startswith("There is no `/v2/nothing`")


def test_bad_input_is_named(trivium: World) -> None:
    messages: Any = [{"role": "user", "content": [{"type": "video"}]}]
    with pytest.raises(cohere.BadRequestError, match="content") as caught:
        asked(trivium, "oai/ok", stream=False, messages=messages)
    body: Any = caught.value.body
    assert (body["error_type"], body["param"]) == ("invalid_request", "messages[0].content[0].type")


# ---- cancel


@everywhere
def test_leaving_a_stream_stops_the_upstream(trivium: World, at: str) -> None:
    stream: Any = trivium.cohere().chat_stream(model=f"{at}/gap-202", messages=ASK)
    while next(stream).type != "content-delta":
        pass
    stream.close()
    trivium.await_cancelled("gap-202")


@everywhere
def test_cancelling_a_task_stops_the_upstream(trivium: World, at: str) -> None:
    async def leave() -> None:
        async with trivium.async_cohere() as client:
            task = asyncio.ensure_future(client.chat(model=f"{at}/late-21500", messages=ASK))
            await asyncio.sleep(0.3)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(leave())
    trivium.await_cancelled("late-21500")


# ---- headers, lists


@everywhere
def test_headers_out(trivium: World, at: str) -> None:
    raw: Any = trivium.cohere().v2.with_raw_response.chat(model=f"{at}/priced", messages=ASK)
    units = raw.data.usage.billed_units
    assert raw.headers["x-request-id"]
    assert (raw.headers["x-trivium-access"], raw.headers["x-trivium-endpoint"]) == ("direct", f"{at}/priced")
    cost = (units.input_tokens + 10 * units.output_tokens) / 1e6
    assert float(raw.headers["x-trivium-cost-usd"]) == pytest.approx(cost)
    streamed = asked(trivium, f"{at}/priced", stream=True)
    assert streamed["usage"].cost == pytest.approx(cost)


def test_what_a_dialect_cannot_say_is_told_or_refused(trivium: World) -> None:
    client = trivium.cohere().v2
    raw: Any = client.with_raw_response.chat(model="oai/ok", messages=ASK, safety_mode="STRICT", k=5)
    assert raw.headers["x-trivium-dropped"] == "top_k, safety_mode"
    before = trivium.upstream.count()
    options: Any = {"additional_headers": {"x-trivium-strict": "1"}}
    with pytest.raises(cohere.BadRequestError, match="safety_mode"):
        client.chat(model="oai/ok", messages=ASK, safety_mode="STRICT", request_options=options)
    assert trivium.upstream.count() == before


@everywhere
def test_what_must_not_leave_does_not(trivium: World, at: str) -> None:
    before = trivium.upstream.count()
    options: Any = {"additional_headers": {"x-trivium-data-class": "premises"}}
    with pytest.raises(ApiError, match="premises"):
        trivium.cohere().chat(model=f"{at}/ok", messages=ASK, request_options=options)
    assert trivium.upstream.count() == before


def test_what_the_caller_says_to_its_own_vendor_reaches_it(trivium: World) -> None:
    options: Any = {"additional_body_parameters": {"novel": {"a": 1}}}
    trivium.cohere().chat(model="coh/echo", messages=ASK, safety_mode="STRICT", priority=3, request_options=options)
    seen = trivium.last("echo")
    assert (seen.path, seen.json["novel"], seen.json["priority"]) == ("/v2/chat", {"a": 1}, 3)
    assert seen.headers["authorization"] == "Bearer test-key"  # its own key, never the caller's


def test_the_list_of_models(trivium: World) -> None:
    page: Any = trivium.cohere().models.list()
    assert {"auto", "second", LOCAL, "coh/priced"} <= {model.name for model in page.models}
    assert page.next_page_token is None


# ---- what others send to an upstream of this dialect


@modes
def test_other_callers_reach_it(trivium: World, stream: bool) -> None:
    tools: Any = [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA, "strict": True}}]
    url = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
    messages: Any = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [url, {"type": "text", "text": "?"}]},
        {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": TOOLS[0]["function"]}]},
    ]
    messages[2]["tool_calls"][0]["function"] = {"name": "weather", "arguments": "{}"}
    messages.append({"role": "tool", "tool_call_id": "c", "content": "18"})
    done: Any = trivium.openai().chat.completions.create(
        model="coh/ok", messages=messages, tools=tools, tool_choice="auto", stream=stream, reasoning_effort="medium"
    )
    said = "".join(c.choices[0].delta.content or "" for c in done) if stream else done.choices[0].message.content
    assert said == "The tool says: 18"
    check_request(trivium.last("ok").body)
    document = {
        "type": "document",
        "source": {"type": "text", "media_type": "text/plain", "data": "Paris."},
        "title": "t",
    }
    content: Any = [document, {"type": "text", "text": "?"}]
    asking: Any = {"model": "coh/echo", "max_tokens": 50, "messages": [{"role": "user", "content": content}]}
    if stream:
        with trivium.anthropic().messages.stream(**asking) as flow:
            assert flow.get_final_text() == "?"
    else:
        assert trivium.anthropic().messages.create(**asking).content[0].text == "?"  # type: ignore[union-attr]
    seen = trivium.last("echo")
    check_request(seen.body)
    assert seen.json["documents"] == [{"data": {"title": "t", "snippet": "Paris."}}]


# ---- the embedded model


@modes
def test_the_embedded_model(trivium: World, stream: bool) -> None:
    said = asked(trivium, LOCAL, stream=stream, max_tokens=8)
    assert said["text"]
    assert said["finish"] in ("COMPLETE", "MAX_TOKENS")
    assert said["usage"].billed_units.input_tokens > 0
    assert 0 < said["usage"].billed_units.output_tokens <= 8
