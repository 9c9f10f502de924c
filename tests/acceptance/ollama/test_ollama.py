"""The unmodified `ollama` client against `trivium serve`, over three upstream dialects and the embedded model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import ollama
import pytest

from acceptance.world import ARGUMENTS, LOCAL, PNG, SCHEMA, TEXT, World

ASK: Any = [{"role": "user", "content": "What is the capital of France?"}]
TOOLS: Any = [
    {"type": "function", "function": {"name": name, "description": "Look.", "parameters": SCHEMA}}
    for name in ("weather", "news")
]
everywhere = pytest.mark.parametrize("at", ["oll", "oai", "ant"])


@pytest.fixture
def client(kennel: World) -> Iterator[ollama.Client]:
    with ollama.Client(host=kennel.served.origin, timeout=30) as made:
        yield made


def raw(kennel: World, method: str, path: str, **more: Any) -> httpx.Response:
    return httpx.request(method, f"{kennel.served.origin}{path}", timeout=30, **more)


# ---- answers


@everywhere
def test_a_plain_answer(client: ollama.Client, at: str) -> None:
    done = client.chat(model=f"{at}/ok", messages=ASK)
    assert (done.message.role, done.message.content) == ("assistant", TEXT)
    assert (done.model, done.done, done.done_reason) == (f"{at}/ok", True, "stop")
    assert done.eval_count == 6
    assert (done.prompt_eval_count or 0) > 0
    assert (done.total_duration or 0) > 0
    assert (done.created_at or "").endswith("Z")


@everywhere
def test_a_stream(client: ollama.Client, at: str) -> None:
    lines = list(client.chat(model=f"{at}/ok", messages=ASK, stream=True))
    assert "".join(line.message.content or "" for line in lines) == TEXT
    assert [line.done for line in lines] == [*[False] * (len(lines) - 1), True]
    last = lines[-1]
    assert (last.done_reason, last.eval_count) == ("stop", 6)
    assert (last.prompt_eval_count or 0) > 0
    assert (last.total_duration or 0) >= (last.eval_duration or 0) > 0


@everywhere
def test_who_says_nothing_gets_a_stream(kennel: World, at: str) -> None:
    done = raw(kennel, "POST", "/api/chat", json={"model": f"{at}/ok", "messages": ASK})
    assert done.headers["content-type"] == "application/x-ndjson"
    assert [json.loads(line)["done"] for line in done.text.splitlines()] == [*[False] * 6, True]
    whole = raw(kennel, "POST", "/api/chat", json={"model": f"{at}/ok", "messages": ASK, "stream": False})
    assert whole.json()["message"]["content"] == TEXT


@everywhere
def test_a_prompt(client: ollama.Client, at: str) -> None:
    done = client.generate(model=f"{at}/echo", prompt="again", system="Be brief.")
    assert (done.response, done.done, done.done_reason) == ("again", True, "stop")
    lines = list(client.generate(model=f"{at}/ok", prompt="x", stream=True))
    assert "".join(line.response or "" for line in lines) == TEXT
    assert lines[-1].done
    assert lines[-1].eval_count == 6


@everywhere
def test_async(kennel: World, at: str) -> None:
    async def ask() -> tuple[str | None, str]:
        async with ollama.AsyncClient(host=kennel.served.origin, timeout=30) as client:
            whole = await client.chat(model=f"{at}/ok", messages=ASK)
            stream = await client.chat(model=f"{at}/ok", messages=ASK, stream=True)
            return whole.message.content, "".join([line.message.content or "" async for line in stream])

    assert asyncio.run(ask()) == (TEXT, TEXT)


@everywhere
@pytest.mark.parametrize(("model", "names"), [("tool", ["weather"]), ("tools2", ["weather", "news"])])
@pytest.mark.parametrize("stream", [False, True])
def test_tools_and_their_results(
    kennel: World, client: ollama.Client, at: str, model: str, names: list[str], stream: bool
) -> None:
    asked: Any = {"model": f"{at}/{model}", "tools": TOOLS}
    if stream:
        lines = list(client.chat(**asked, messages=ASK, stream=True))
        calls = [call for line in lines for call in line.message.tool_calls or ()]
        assert lines[-1].done_reason == "stop"
    else:
        done = client.chat(**asked, messages=ASK)
        calls = list(done.message.tool_calls or ())
    assert [(call.function.name, call.function.arguments) for call in calls] == [(name, ARGUMENTS) for name in names]
    # This client keeps no ids: the server finds out what belongs together.
    turn = ollama.Message(role="assistant", content="", tool_calls=calls)
    results = [{"role": "tool", "content": "18 degrees", "tool_name": call.function.name} for call in calls]
    after = client.chat(**asked, messages=[*ASK, turn, *results])
    assert after.message.content == "The tool says: 18 degrees"
    sent = kennel.last(model).json["messages"]
    if at == "oai":
        made = [call["id"] for call in sent[1]["tool_calls"]]
        assert made == [message["tool_call_id"] for message in sent[2:]]
        assert len(set(made)) == len(names)
    elif at == "ant":
        made = [block["id"] for block in sent[1]["content"]]
        assert made == [block["tool_use_id"] for block in sent[2]["content"]]


@everywhere
def test_images(kennel: World, client: ollama.Client, at: str) -> None:
    done = client.chat(model=f"{at}/ok", messages=[{"role": "user", "content": "What is this?", "images": [PNG]}])
    assert (done.message.content or "").startswith("I see 1 image.")
    sent = kennel.last("ok").body.decode()
    assert PNG in sent
    assert at == "oll" or "image/png" in sent


@everywhere
def test_structured_answers(client: ollama.Client, at: str) -> None:
    done = client.chat(model=f"{at}/ok", messages=ASK, format=SCHEMA)
    assert json.loads(done.message.content or "") == ARGUMENTS
    if at != "ant":
        assert client.generate(model=f"{at}/ok", prompt="x", format="json").response == "{}"


@everywhere
@pytest.mark.parametrize("stream", [False, True])
def test_thinking(client: ollama.Client, at: str, stream: bool) -> None:
    asked: Any = {"model": f"{at}/reasoning", "messages": ASK, "think": "low"}
    lines = list(client.chat(**asked, stream=True)) if stream else [client.chat(**asked)]
    assert "It is Paris." in "".join(line.message.thinking or "" for line in lines)
    assert "".join(line.message.content or "" for line in lines) == TEXT


@everywhere
def test_options_reach_the_model(kennel: World, client: ollama.Client, at: str) -> None:
    options = {"num_predict": 3, "temperature": 0.5, "stop": ["never"], "num_ctx": 2048}
    done = client.chat(model=f"{at}/ok", messages=ASK, options=options, keep_alive="5m")
    assert (done.done_reason, done.eval_count) == ("length", 3)
    assert client.chat(model=f"{at}/ok", messages=ASK, options=ollama.Options(num_predict=3)).done_reason == "length"
    sent = kennel.upstream.requests[-2].json
    if at == "oll":
        assert (sent["options"], sent["keep_alive"]) == (options, "5m")
    else:
        assert (sent["max_tokens"], sent["temperature"]) == (3, 0.5)


def test_what_is_passed_keeps_what_nobody_knows(kennel: World) -> None:
    body = {"model": "oll/ok", "messages": ASK, "novel": {"a": 1}, "stream": False, "trivium": {"strict": True}}
    assert raw(kennel, "POST", "/api/chat", json=body).status_code == 200
    sent = kennel.last("ok").json
    assert sent == {"model": "ok", "messages": ASK, "novel": {"a": 1}, "stream": True}


def test_what_a_dialect_cannot_say_is_told_or_refused(kennel: World) -> None:
    body = {"model": "oai/ok", "messages": ASK, "options": {"num_ctx": 5, "top_k": 3}, "keep_alive": 0, "stream": False}
    dropped = raw(kennel, "POST", "/api/chat", json=body).headers["x-trivium-dropped"]
    assert {"options.num_ctx", "top_k", "keep_alive"} <= set(dropped.split(", "))
    before = kennel.upstream.count()
    strict = raw(kennel, "POST", "/api/chat", json=body, headers={"x-trivium-strict": "1"})
    assert strict.status_code == 400
    assert "options.num_ctx" in strict.json()["error"]
    assert kennel.upstream.count() == before


@pytest.mark.parametrize(
    ("caller", "body"),
    [
        ("/v1/chat/completions", {"messages": ASK}),
        ("/v1/messages", {"messages": ASK, "max_tokens": 9}),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_others_reach_an_ollama_server(kennel: World, caller: str, body: dict[str, Any], stream: bool) -> None:
    done = raw(kennel, "POST", caller, json={"model": "oll/ok", "stream": stream, **body})
    assert done.status_code == 200
    assert "Paris" in done.text
    assert kennel.last("ok").path == "/api/chat"
    ollama._types.ChatRequest.model_validate_json(kennel.last("ok").body, strict=True)


# ---- errors


@everywhere
@pytest.mark.parametrize(
    ("model", "status"), [("400", 400), ("400-context", 400), ("401", 502), ("404", 404), ("quota", 429), ("503", 503)]
)
def test_an_upstream_error(client: ollama.Client, at: str, model: str, status: int) -> None:
    for stream in (False, True):
        with pytest.raises(ollama.ResponseError) as caught:
            list(client.chat(model=f"{at}/{model}", messages=ASK, stream=stream))
        assert caught.value.status_code == status
        assert caught.value.error
        assert "{" not in caught.value.error


@everywhere
@pytest.mark.parametrize("model", ["error-midstream-2", "cut-after-2", "clean-cut-after-2", "stall-after-2"])
def test_a_broken_stream_ends_with_an_error(client: ollama.Client, at: str, model: str) -> None:
    got: list[ollama.ChatResponse] = []
    with pytest.raises((ollama.ResponseError, httpx.RemoteProtocolError)):
        got.extend(client.chat(model=f"{at}/{model}", messages=ASK, stream=True))
    assert not any(line.done for line in got)
    assert "The capital ".startswith("".join(line.message.content or "" for line in got))


ODD = ["no-done", "unknown-event", "event-without-data", "comments", "crlf", "cr", "mixed-newlines", "bom"]


@pytest.mark.parametrize("model", [*ODD, "one-byte-writes", "malformed-chunk", "until-close"])
def test_odd_streams_of_an_ollama_server(kennel: World, client: ollama.Client, model: str) -> None:
    said = [line.message.content or "" for line in client.chat(model=f"oll/{model}", messages=ASK, stream=True)]
    assert "".join(said) == TEXT
    body = {"model": f"oll/{model}", "messages": ASK, "stream": True}
    other = raw(kennel, "POST", "/v1/chat/completions", json=body)
    assert "[DONE]" in other.text
    assert other.text.count("capital ") == 1


def test_no_such_model(client: ollama.Client) -> None:
    for ask in (
        lambda: client.chat(model="llama-nonexistent", messages=ASK),
        lambda: client.generate(model="llama-nonexistent", prompt="x"),
        lambda: client.show("llama-nonexistent"),
    ):
        with pytest.raises(ollama.ResponseError, match=r"llama-nonexistent.*provider/model") as caught:
            ask()
        assert caught.value.status_code == 404


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        ("/api/chat", b"{", "not valid JSON"),
        ("/api/chat", b'{"model":"oai/ok","messages":[{"role":"user","content":5}]}', "`messages[0].content`"),
        ("/api/chat", b'{"model":"oai/ok","messages":[{"role":"king"}]}', "`messages[0].role`"),
        ("/api/generate", b'{"model":"oai/ok","prompt":7}', "`prompt`"),
        ("/api/nowhere", b"{}", "There is no"),
    ],
)
def test_bad_input(kennel: World, path: str, body: bytes, says: str) -> None:
    done = raw(kennel, "POST", path, content=body, headers={"content-type": "application/json"})
    assert 400 <= done.status_code < 500
    assert says in done.json()["error"]


# ---- cancel


@everywhere
def test_leaving_a_stream_stops_the_upstream(kennel: World, client: ollama.Client, at: str) -> None:
    stream = client.chat(model=f"{at}/gap-203", messages=ASK, stream=True)
    next(iter(stream))
    stream.close()  # type: ignore[attr-defined]
    kennel.await_cancelled("gap-203")


@everywhere
def test_cancelling_a_task_stops_the_upstream(kennel: World, at: str) -> None:
    async def leave() -> None:
        async with ollama.AsyncClient(host=kennel.served.origin, timeout=30) as client:
            task = asyncio.ensure_future(client.chat(model=f"{at}/late-21007", messages=ASK))
            await asyncio.sleep(0.3)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(leave())
    kennel.await_cancelled("late-21007")


# ---- what else clients ask


def test_it_says_that_it_runs(kennel: World) -> None:
    assert raw(kennel, "GET", "/").text == "Ollama is running"
    assert raw(kennel, "HEAD", "/").status_code == 200
    assert raw(kennel, "HEAD", "/api/tags").status_code == raw(kennel, "HEAD", "/api/version").status_code == 200
    assert int(raw(kennel, "GET", "/api/version").json()["version"].split(".")[1]) >= 6


def test_the_list_of_models(client: ollama.Client) -> None:
    models = {model.model: model for model in client.list().models}
    assert {"auto", "small", LOCAL, "local/tiny", "oll/priced"} <= set(models)
    assert all(len(model.digest or "") == 64 and model.modified_at and model.details for model in models.values())


def test_what_a_model_can_do(kennel: World, client: ollama.Client) -> None:
    shown = client.show("oll/priced")
    assert shown.capabilities == ["completion", "tools", "vision", "thinking"]
    assert (shown.modelinfo or {})["oll.context_length"] == 4096
    assert client.show("small").capabilities == client.show("local/tiny").capabilities == ["completion"]
    assert "tools" in (client.show("oai/anything").capabilities or ())
    by_name = raw(kennel, "POST", "/api/show", json={"name": "oll/priced"})
    assert by_name.json()["capabilities"] == shown.capabilities
    assert raw(kennel, "POST", "/api/show", content=b"[]").status_code == 400


@pytest.mark.parametrize(
    ("method", "what"), [("POST", "pull"), ("POST", "push"), ("POST", "create"), ("POST", "copy"), ("DELETE", "delete")]
)
def test_models_do_not_come_and_go_by_a_request(kennel: World, method: str, what: str) -> None:
    done = raw(kennel, method, f"/api/{what}", json={"model": "x"})
    assert done.status_code == 403
    assert "trivium models pull" in done.json()["error"]


def test_an_engine_is_loaded_and_unloaded(kennel: World, client: ollama.Client) -> None:
    for _ in range(2):  # by a chat without messages, then by an empty prompt
        loaded: Any = client.generate(model="local/tiny", prompt="", keep_alive="5m")
        assert (loaded.done, loaded.done_reason, loaded.response) == (True, "load", "")
        running = {model.model: model for model in client.ps().models}
        assert running["local/tiny"].context_length
        assert running["local/tiny"].expires_at
        unloaded: Any = client.chat(model="small", messages=[], keep_alive=0)
        assert (unloaded.done_reason, unloaded.message.content) == ("unload", "")
        assert "local/tiny" not in {model.model for model in client.ps().models}
    loaded = client.chat(model="small", messages=[])
    assert loaded.done_reason == "load"
    answered = client.chat(model="local/tiny", messages=ASK, options={"num_predict": 4})
    assert answered.message.content
    assert answered.done_reason == "length"


@everywhere
def test_only_engines_are_loaded(kennel: World, client: ollama.Client, at: str) -> None:
    before = kennel.upstream.count()
    with pytest.raises(ollama.ResponseError, match="no engine that this server loads") as caught:
        client.chat(model=f"{at}/ok", messages=[], keep_alive="5m")
    assert caught.value.status_code == 400
    with pytest.raises(ollama.ResponseError, match="llama-nonexistent") as caught:
        client.generate(model="llama-nonexistent", keep_alive=0)
    assert caught.value.status_code == 404
    assert kennel.upstream.count() == before


def test_the_embedded_model(client: ollama.Client) -> None:
    lines = list(client.chat(model=LOCAL, messages=ASK, options={"num_predict": 8}, stream=True))
    assert "".join(line.message.content or "" for line in lines)
    assert 0 < (lines[-1].eval_count or 0) <= 8


def test_an_engine_that_answers_is_not_unloaded(client: ollama.Client) -> None:
    stream = iter(client.chat(model="local/tiny", messages=ASK, options={"num_predict": 200}, stream=True))
    next(stream)
    assert client.chat(model="local/tiny", messages=[], keep_alive="0s").done_reason == "unload"
    assert list(stream)[-1].done_reason in ("stop", "length")
    assert "local/tiny" in {model.model for model in client.ps().models}


# ---- keys


def test_a_key_sees_what_it_may_ask(guarded: World) -> None:
    assert raw(guarded, "GET", "/").text == "Ollama is running"
    for path in ("/api/tags", "/api/version", "/api/ps"):
        refused = raw(guarded, "GET", path)
        assert refused.status_code == 401
        assert refused.json()["error"]
    bearer = {"authorization": "Bearer tv-narrow-0000"}
    with ollama.Client(host=guarded.served.origin, headers=bearer, timeout=30) as client:
        assert {model.model for model in client.list().models} <= {"oai/ok"}
        assert client.ps().models == []
        assert client.chat(model="oai/ok", messages=ASK).message.content == TEXT
        assert "completion" in (client.show("oai/ok").capabilities or ())
        for ask in (
            lambda: client.show("oai/echo"),
            lambda: client.chat(model="oai/echo", messages=[]),
            lambda: client.chat(model="oai/echo", messages=ASK),
        ):
            with pytest.raises(ollama.ResponseError) as caught:
                ask()
            assert caught.value.status_code in (403, 404)
