"""The unmodified `google-genai` client against `trivium serve`, over upstreams of three dialects and the local model;
and the clients of two other vendors, over an upstream of this dialect."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx2
import pydantic
import pytest
from google import genai
from google.genai import errors, types

from acceptance.world import ARGUMENTS, IMAGE_URL, LOCAL, PNG, SCHEMA, TEXT, World
from gemini_help import check_answer, check_request
from support import read_raw, request_bytes

AT = ("oai", "ant", "gem")
ASK = "What is the capital of France?"
DECLARED: Any = [
    {"name": name, "description": "Look.", "parameters_json_schema": SCHEMA} for name in ("weather", "news")
]
TOOLS = [types.Tool(function_declarations=DECLARED)]

everywhere = pytest.mark.parametrize("at", AT)
modes = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


def client_of(world: World, key: str = "any", version: str | None = None) -> genai.Client:
    options = types.HttpOptions(base_url=world.served.origin, timeout=30_000, api_version=version)
    return genai.Client(api_key=key, http_options=options)


@pytest.fixture(scope="module")
def client(trivium: World) -> Iterator[genai.Client]:
    made = client_of(trivium)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def sent(trivium: World) -> Iterator[None]:
    """Whatever reaches the upstream of this dialect is what the vendor's types allow."""
    before = len(trivium.upstream.requests)
    yield
    for seen in trivium.upstream.requests[before:]:
        if seen.path.startswith("/v1beta/models/"):
            assert seen.headers["authorization"] == "Bearer test-key"  # its own key, never the caller's
            assert "x-goog-api-key" not in seen.headers
            check_request(seen.body)


def config(**more: Any) -> types.GenerateContentConfig:
    off = types.AutomaticFunctionCallingConfig(disable=True)
    return types.GenerateContentConfig(automatic_function_calling=off, **more)


def asked(client: genai.Client, model: str, contents: Any = ASK, *, stream: bool, **more: Any) -> dict[str, Any]:
    """One answer, whole or streamed, as the same things."""
    ask = client.models.generate_content_stream if stream else client.models.generate_content
    done: Any = ask(model=model, contents=contents, config=config(**more))
    chunks = list(done) if stream else [done]
    candidates = [found for chunk in chunks for found in chunk.candidates or () if not found.index]
    parts = [part for found in candidates if found.content for part in found.content.parts or ()]
    return {
        "text": "".join(part.text for part in parts if part.text and not part.thought),
        "thoughts": "".join(part.text for part in parts if part.text and part.thought),
        "calls": [part.function_call for part in parts if part.function_call],
        "parts": [part for part in parts if part.text or part.function_call],
        "finish": candidates[-1].finish_reason if candidates else None,
        "usage": chunks[-1].usage_metadata,
        "chunks": chunks,
    }


@everywhere
@modes
def test_a_plain_answer(client: genai.Client, at: str, stream: bool) -> None:
    said = asked(client, f"{at}/ok", stream=stream, max_output_tokens=50)
    assert (said["text"], said["finish"]) == (TEXT, types.FinishReason.STOP)
    assert said["usage"].prompt_token_count > 0
    assert said["usage"].candidates_token_count == 6
    assert [bool(chunk.candidates[0].finish_reason) for chunk in said["chunks"]] == [
        *[False] * (len(said["chunks"]) - 1),
        True,
    ]
    assert len({(chunk.response_id, chunk.model_version) for chunk in said["chunks"]}) == 1


@pytest.mark.parametrize("version", ["v1", "v1beta"])
def test_both_versions(trivium: World, version: str) -> None:
    with client_of(trivium, version=version) as client:
        assert asked(client, "gem/ok", stream=False)["text"] == TEXT
        assert asked(client, "oai/ok", stream=True)["text"] == TEXT


@everywhere
def test_async(trivium: World, at: str) -> None:
    async def ask() -> tuple[str | None, str]:
        async with client_of(trivium).aio as client:
            whole = await client.models.generate_content(model=f"{at}/ok", contents=ASK)
            stream = await client.models.generate_content_stream(model=f"{at}/ok", contents=ASK)
            return whole.text, "".join([chunk.text or "" async for chunk in stream])

    assert asyncio.run(ask()) == (TEXT, TEXT)


@pytest.mark.parametrize("model", ["gem/google/ok", "gem/ok:exp", "oai/org/ok:free-ish", "gem/a:generateContent/ok"])
@modes
def test_names_with_slashes_and_colons(client: genai.Client, trivium: World, model: str, stream: bool) -> None:
    before = trivium.upstream.count()
    assert asked(client, model, stream=stream)["text"] == TEXT
    assert [seen.model for seen in trivium.upstream.requests[before:]] == [model.partition("/")[2]]


@everywhere
@modes
@pytest.mark.parametrize(("model", "names"), [("tool", ["weather"]), ("tools2", ["weather", "news"])])
def test_tools_and_their_results(
    client: genai.Client, trivium: World, at: str, model: str, names: list[str], stream: bool
) -> None:
    said = asked(client, f"{at}/{model}", stream=stream, tools=TOOLS)
    assert [(call.name, call.args) for call in said["calls"]] == [(name, ARGUMENTS) for name in names]
    assert said["finish"] == types.FinishReason.STOP
    assert all(call.id for call in said["calls"])
    for with_ids in (True, False):
        parts = [part.model_copy(deep=True) for part in said["parts"]]
        results = [
            types.Part.from_function_response(name=call.name, response={"result": "18 degrees"})
            for call in said["calls"]
        ]
        for part, result in zip([part for part in parts if part.function_call], results, strict=True):
            result.function_response.id = part.function_call.id if with_ids else None
            part.function_call.id = part.function_call.id if with_ids else None
        turns = [
            types.UserContent(ASK),
            types.ModelContent(parts),
            types.Content(role="user", parts=results),
        ]
        after = asked(client, f"{at}/{model}", turns, stream=stream, tools=TOOLS)
        assert "18 degrees" in after["text"]
        if at == "oai":
            calls, *answers = trivium.last(model).json["messages"][1:]
            assert [call["id"] for call in calls["tool_calls"]] == [answer["tool_call_id"] for answer in answers]
    if at == "gem":
        assert said["calls"]
        assert all(part.thought_signature for part in said["parts"])
        assert trivium.last(model).json["contents"][1]["parts"][0]["thoughtSignature"]


@everywhere
def test_the_client_calls_functions_by_itself_and_keeps_a_chat(trivium: World, client: genai.Client, at: str) -> None:
    asked_for: list[tuple[str, int]] = []

    def weather(city: str, days: int) -> str:
        """Look."""
        asked_for.append((city, days))
        return "18 degrees"

    chat = client.chats.create(model=f"{at}/tool", config=types.GenerateContentConfig(tools=[weather]))
    assert "18 degrees" in (chat.send_message(ASK).text or "")
    assert asked_for == [("Paris", 2)]
    assert [content.role for content in chat.get_history(curated=True)] == ["user", "model", "user", "model"]
    streamed = client.chats.create(model=f"{at}/ok")
    assert "".join(chunk.text or "" for chunk in streamed.send_message_stream(ASK)) == TEXT
    assert streamed.get_history(curated=True)[-1].role == "model"


@everywhere
@modes
def test_forced_and_forbidden_tools(client: genai.Client, trivium: World, at: str, stream: bool) -> None:
    none = types.ToolConfig(function_calling_config=types.FunctionCallingConfig(mode="NONE"))
    assert not asked(client, f"{at}/tool", stream=stream, tools=TOOLS, tool_config=none)["calls"]
    one = types.FunctionCallingConfig(mode="ANY", allowed_function_names=["weather"])
    assert asked(
        client, f"{at}/tool", stream=stream, tools=TOOLS, tool_config=types.ToolConfig(function_calling_config=one)
    )
    choice = {
        "oai": {"tool_choice": {"type": "function", "function": {"name": "weather"}}},
        "ant": {"tool_choice": {"type": "tool", "name": "weather"}},
        "gem": {"toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["weather"]}}},
    }
    assert choice[at].items() <= trivium.last("tool").json.items()


class Trip(pydantic.BaseModel):
    city: str
    days: int


@everywhere
@pytest.mark.parametrize("form", [{"response_schema": Trip}, {"response_json_schema": Trip.model_json_schema()}])
def test_structured_output(client: genai.Client, trivium: World, at: str, form: dict[str, Any]) -> None:
    asked_for = config(response_mime_type="application/json", **form)
    done = client.models.generate_content(model=f"{at}/ok", contents=ASK, config=asked_for)
    assert Trip.model_validate_json(done.text or "").city == "Paris"
    if "response_schema" in form:
        assert isinstance(done.parsed, Trip)
    if at == "oai":
        sent = trivium.last("ok").json["response_format"]
        assert (sent["type"], sent["json_schema"]["schema"]["required"]) == ("json_schema", ["city", "days"])


@everywhere
@modes
@pytest.mark.parametrize(
    "part",
    [
        types.Part.from_bytes(data=base64.b64decode(PNG), mime_type="image/png"),
        types.Part.from_uri(file_uri=IMAGE_URL, mime_type="image/png"),
    ],
    ids=["bytes", "url"],
)
def test_images(client: genai.Client, trivium: World, at: str, part: types.Part, stream: bool) -> None:
    said = asked(client, f"{at}/ok", [part, "What is this?"], stream=stream)
    assert said["text"].startswith("I see 1 image.")
    body = trivium.last("ok").body.decode()
    assert (PNG if part.inline_data else IMAGE_URL) in (
        body if at != "gem" else body.replace("_", "/").replace("-", "+")
    )


@everywhere
@modes
def test_a_system_instruction_and_sampling(client: genai.Client, trivium: World, at: str, stream: bool) -> None:
    sampled: Any = {"temperature": 0.5, "top_p": 0.9, "stop_sequences": ["END"], "max_output_tokens": 99}
    asked(client, f"{at}/echo", stream=stream, system_instruction="Be brief.", **sampled)
    sent = trivium.last("echo").json
    match at:
        case "oai":
            assert "Be brief." in json.dumps(sent["messages"][0])
            assert (sent["temperature"], sent["stop"], sent["max_tokens"]) == (0.5, ["END"], 99)
        case "ant":
            assert (sent["system"], sent["top_p"], sent["stop_sequences"]) == ("Be brief.", 0.9, ["END"])
        case _:
            assert sent["systemInstruction"]["parts"] == [{"text": "Be brief."}]
            assert sent["generationConfig"]["stopSequences"] == ["END"]


@everywhere
@modes
def test_an_answer_cut_at_its_limit(client: genai.Client, at: str, stream: bool) -> None:
    said = asked(client, f"{at}/ok", stream=stream, max_output_tokens=3)
    assert said["finish"] == types.FinishReason.MAX_TOKENS


@everywhere
@modes
def test_cached_tokens_and_thoughts(client: genai.Client, at: str, stream: bool) -> None:
    thinking = types.ThinkingConfig(include_thoughts=True, thinking_budget=2000)
    said = asked(client, f"{at}/cached-reasoning", stream=stream, thinking_config=thinking, max_output_tokens=4000)
    assert said["thoughts"] == "The user asks for a capital. It is Paris."
    assert said["text"] == TEXT
    usage = said["usage"]
    assert usage.cached_content_token_count == usage.prompt_token_count // 2
    assert usage.candidates_token_count == 6
    assert (usage.thoughts_token_count or 0) > 0
    assert usage.total_token_count == usage.prompt_token_count + 6 + usage.thoughts_token_count


# ---- errors


@everywhere
@modes
@pytest.mark.parametrize(
    ("model", "error", "code", "word"),
    [
        ("400", errors.ClientError, 400, "INVALID_ARGUMENT"),
        ("400-context", errors.ClientError, 400, "INVALID_ARGUMENT"),
        ("400-filter", errors.ClientError, 400, "INVALID_ARGUMENT"),
        ("401", errors.ServerError, 502, "UNAVAILABLE"),
        ("403", errors.ServerError, 502, "UNAVAILABLE"),
        ("404", errors.ClientError, 404, "NOT_FOUND"),
        ("quota", errors.ClientError, 429, "RESOURCE_EXHAUSTED"),
        ("529", errors.ServerError, 503, "UNAVAILABLE"),
    ],
)
def test_an_upstream_error(
    client: genai.Client, at: str, model: str, error: type[errors.APIError], code: int, word: str, stream: bool
) -> None:
    with pytest.raises(error) as caught:
        asked(client, f"{at}/{model}", stream=stream)
    assert (caught.value.code, caught.value.status) == (code, word)
    assert caught.value.message


@everywhere
def test_a_rate_limit_tells_when_to_come_back(client: genai.Client, at: str) -> None:
    wait = 9200 + AT.index(at)
    with pytest.raises(errors.ClientError) as caught:
        asked(client, f"{at}/429-retry-after-{wait}", stream=False)
    details = caught.value.details["error"]["details"]
    delay = next(detail["retryDelay"] for detail in details if "retryDelay" in detail)
    assert wait - 5 <= int(delay.removesuffix("s")) <= wait
    assert wait - 5 <= int(caught.value.response.headers["retry-after"]) <= wait


@everywhere
@pytest.mark.parametrize("model", ["error-midstream-2", "cut-after-2", "clean-cut-after-2", "stall-after-2"])
def test_a_broken_stream_ends_with_an_error(client: genai.Client, at: str, model: str) -> None:
    got: list[types.GenerateContentResponse] = []
    with pytest.raises(errors.ServerError):
        got.extend(client.models.generate_content_stream(model=f"{at}/{model}", contents=ASK))
    assert "The capital ".startswith("".join(chunk.text or "" for chunk in got))
    assert not any(found.finish_reason for chunk in got for found in chunk.candidates or ())


def test_refusals_of_ours(client: genai.Client, trivium: World) -> None:
    with pytest.raises(errors.ClientError, match="provider/model") as missing:
        asked(client, "gemini-nonexistent", stream=False)
    assert missing.value.status == "NOT_FOUND"
    with pytest.raises(errors.ClientError) as wrong:
        asked(client, "oai/ok", [types.Content(role="robot", parts=[types.Part(text="x")])], stream=False)
    assert "contents[0].role" in json.dumps(wrong.value.details)
    for method, path in (("POST", "/v1beta/models/oai/ok:streamGenerateContent"), ("GET", "/v1beta/nothing")):
        answer = httpx2.request(method, trivium.served.origin + path, json={"contents": []})
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (error["code"], 400 if method == "POST" else 404)
        assert method == "GET" or "?alt=sse" in error["message"]


# ---- cancel


@everywhere
def test_leaving_a_stream_stops_the_upstream(client: genai.Client, trivium: World, at: str) -> None:
    stream: Any = client.models.generate_content_stream(model=f"{at}/gap-203", contents=ASK)
    next(stream)
    stream.close()
    trivium.await_cancelled("gap-203")


@everywhere
def test_cancelling_a_task_stops_the_upstream(trivium: World, at: str) -> None:
    async def leave() -> None:
        async with client_of(trivium).aio as client:
            task = asyncio.ensure_future(client.models.generate_content(model=f"{at}/late-21300", contents=ASK))
            await asyncio.sleep(0.3)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(leave())
    trivium.await_cancelled("late-21300")


# ---- heads, keys, lists, types


def raw(world: World, model: str, *, stream: bool, method: str = "POST", **more: Any) -> Any:
    action = "streamGenerateContent?alt=sse" if stream else "generateContent"
    body = json.dumps({"contents": [{"role": "user", "parts": [{"text": ASK}]}]} | more).encode()
    with socket.create_connection(("127.0.0.1", world.served.port), 30) as sock:
        sock.sendall(request_bytes(f"/v1beta/models/{model}:{action}", body, method=method))
        return read_raw(sock, 1)


@everywhere
@pytest.mark.parametrize("model", ["ok", "tools2", "cached-reasoning"])
def test_what_we_say_is_of_the_vendors_types(trivium: World, at: str, model: str) -> None:
    tools = [{"functionDeclarations": [{"name": name, "parametersJsonSchema": SCHEMA} for name in ("a", "b")]}]
    check_answer(raw(trivium, f"{at}/{model}", stream=False, tools=tools).payload)
    streamed = raw(trivium, f"{at}/{model}", stream=True, tools=tools)
    assert streamed.header("content-type").startswith("text/event-stream")
    frames = [frame for frame in streamed.payload.split(b"\n\n") if frame]
    for frame in frames:
        assert frame.startswith(b"data: ")
        check_answer(frame.removeprefix(b"data: "))


def test_heads(trivium: World) -> None:
    answer = raw(trivium, "oai/priced", stream=False, safetySettings=[])
    usage = json.loads(answer.payload)["usageMetadata"]
    cost = (usage["promptTokenCount"] + 10 * usage["candidatesTokenCount"]) / 1e6
    assert float(answer.header("x-trivium-cost-usd")) == pytest.approx(cost)
    assert answer.header("x-trivium-endpoint") == "oai/priced"
    assert answer.header("x-trivium-dropped") == "safetySettings"
    last = json.loads(raw(trivium, "oai/priced", stream=True).payload.split(b"data: ")[-1])
    assert last["usageMetadata"]["cost"] == pytest.approx(cost)


def test_unknown_members_pass_byte_for_byte(trivium: World) -> None:
    before = trivium.upstream.count()
    body = b'{ "contents":[{"parts":[{"text":"\\u00e9"}],"role":"user"}] ,"labels":{"a_b":"1.0e1"}}'
    for action in ("generateContent", "streamGenerateContent?alt=sse&key=any"):
        with socket.create_connection(("127.0.0.1", trivium.served.port), 30) as sock:
            sock.sendall(request_bytes(f"/v1beta/models/gem/ok:{action}", body))
            assert read_raw(sock, 1).status == 200
    sent = trivium.upstream.requests[before:]
    assert [seen.body for seen in sent] == [body, body]
    assert [seen.path for seen in sent] == [
        "/v1beta/models/ok:generateContent",
        "/v1beta/models/ok:streamGenerateContent?alt=sse",
    ]


def test_strict(client: genai.Client, trivium: World) -> None:
    before = trivium.upstream.count()
    strict = types.HttpOptions(headers={"x-trivium-strict": "1"})
    with pytest.raises(errors.ClientError, match="cachedContent"):
        asked(client, "oai/ok", stream=False, cached_content="cachedContents/a", http_options=strict)
    assert trivium.upstream.count() == before


def test_keys(guarded: World) -> None:
    with client_of(guarded, "tv-plain-0000") as client:
        assert asked(client, "gem/ok", stream=False)["text"] == TEXT
        assert {model.name for model in client.models.list()} >= {"models/auto"}
    with client_of(guarded, "tv-wrong") as client, pytest.raises(errors.ClientError) as caught:
        asked(client, "gem/ok", stream=False)
    assert (caught.value.code, caught.value.status) == (401, "UNAUTHENTICATED")
    place = f"{guarded.served.origin}/v1beta/models/gem/ok:generateContent"
    for key, status in (("tv-plain-0000", 200), ("tv-wrong", 401)):
        answer = httpx2.post(f"{place}?key={key}", json={"contents": [{"parts": [{"text": ASK}]}]})
        assert answer.status_code == status
        assert key not in answer.text
    assert not any("tv-" in seen.path or "tv-" in str(seen.headers) for seen in guarded.upstream.requests)
    assert "tv-plain" not in guarded.served.log()


@pytest.mark.parametrize("version", ["v1", "v1beta"])
def test_the_list_of_models(trivium: World, version: str) -> None:
    with client_of(trivium, version=version) as client:
        listed = {model.name: model for model in client.models.list(config={"page_size": 5})}
        assert {"models/auto", "models/second", f"models/{LOCAL}", "models/ant/priced"} <= listed.keys()
        assert all(
            model.display_name and "generateContent" in (model.supported_actions or []) for model in listed.values()
        )
        one = client.models.get(model="ant/priced")
        assert one.name == "models/ant/priced"
        with pytest.raises(errors.ClientError):
            client.models.get(model="nobody/x")


# ---- the embedded model


@modes
def test_the_embedded_model(client: genai.Client, stream: bool) -> None:
    said = asked(client, LOCAL, stream=stream, max_output_tokens=8)
    assert said["text"]
    assert said["finish"] in (types.FinishReason.STOP, types.FinishReason.MAX_TOKENS)
    assert said["usage"].prompt_token_count > 0
    assert 0 < said["usage"].candidates_token_count <= 8


# ---- other clients, over an upstream of this dialect


def chat_tools() -> Any:
    return [{"type": "function", "function": {"name": name, "parameters": SCHEMA}} for name in ("weather", "news")]


@modes
@pytest.mark.parametrize("model", ["tool", "tools2"])
def test_openais_client(trivium: World, model: str, stream: bool) -> None:
    chat: Any = trivium.openai().chat.completions
    messages: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": ASK}]
    if stream:
        flow = list(chat.create(model="gem/ok", messages=messages, stream=True, stream_options={"include_usage": True}))
        assert "".join(choice.delta.content or "" for chunk in flow for choice in chunk.choices) == TEXT
        assert flow[-1].usage.completion_tokens == 6
        with chat.stream(model=f"gem/{model}", messages=messages, tools=chat_tools()) as events:
            for _ in events:
                pass
            done = events.get_final_completion()
    else:
        assert chat.create(model="gem/ok", messages=messages).choices[0].message.content == TEXT
        done = chat.create(model=f"gem/{model}", messages=messages, tools=chat_tools())
    said = done.choices[0]
    assert said.finish_reason == "tool_calls"
    calls = said.message.tool_calls
    assert [(call.function.name, json.loads(call.function.arguments)) for call in calls] == [
        (name, ARGUMENTS) for name in ["weather", "news"][: len(calls)]
    ]
    results = [{"role": "tool", "tool_call_id": call.id, "content": "18 degrees"} for call in calls]
    turn = {"role": "assistant", "tool_calls": [call.model_dump(exclude={"parsed", "index"}) for call in calls]}
    for call in turn["tool_calls"]:
        call["function"].pop("parsed_arguments", None)
    after = chat.create(model=f"gem/{model}", messages=[*messages, turn, *results], tools=chat_tools())
    assert after.choices[0].message.content == "The tool says: 18 degrees"
    sent = trivium.last(model).json["contents"]
    assert [part["functionResponse"]["name"] for part in sent[2]["parts"]] == ["weather", "news"][: len(calls)]
    assert sent[1]["parts"][0]["thoughtSignature"] == "skip_thought_signature_validator"


@modes
def test_anthropics_client(trivium: World, stream: bool) -> None:
    client = trivium.anthropic().messages
    asked_for: Any = {"model": "gem/reasoning-tool", "max_tokens": 3000, "messages": [{"role": "user", "content": ASK}]}
    asked_for |= {"tools": [{"name": "weather", "input_schema": SCHEMA}], "thinking": {"type": "adaptive"}}
    if stream:
        with client.stream(**asked_for) as flow:
            done: Any = flow.get_final_message()
    else:
        done = client.create(**asked_for)
    assert [block.type for block in done.content] == ["thinking", "tool_use"]
    assert done.stop_reason == "tool_use"
    result = {"type": "tool_result", "tool_use_id": done.content[1].id, "content": "18 degrees"}
    said = [block.model_dump(exclude_none=True) for block in done.content]
    turns = [*asked_for["messages"], {"role": "assistant", "content": said}, {"role": "user", "content": [result]}]
    after: Any = client.create(**asked_for | {"messages": turns})
    assert after.content[-1].text == "The tool says: 18 degrees"


def test_a_blocked_prompt_is_an_error_of_theirs(trivium: World) -> None:
    import openai

    with pytest.raises(openai.BadRequestError, match="PROHIBITED_CONTENT") as caught:
        trivium.openai().chat.completions.create(model="gem/400-filter", messages=[{"role": "user", "content": ASK}])
    assert caught.value.code == "content_policy_violation"


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("/v1beta/models/gem%2F..%2F..%2Fv1%2Ffiles:generateContent", None),
        ("/v1beta/models/gem/%252e%252e/%252e%252e/admin:generateContent", None),
        ("/v1/chat/completions", "gem/../../../x"),
        ("/v1/chat/completions", "gem/%2e%2e/%2e%2e/admin"),
    ],
)
def test_a_models_name_leads_our_key_nowhere_else(trivium: World, path: str, model: str | None) -> None:
    before = len(trivium.upstream.requests)
    said: Any = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}
    if model:
        said = {"model": model, "messages": [{"role": "user", "content": "Hi"}]}
    answer = httpx2.post(f"{trivium.served.origin}{path}", json=said, headers={"x-goog-api-key": "any"})
    assert (answer.status_code, "segment" in answer.text) == (400, True)
    assert len(trivium.upstream.requests) == before
