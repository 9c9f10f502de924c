"""The unmodified `anthropic` client against `trivium serve`, over both upstream dialects and the embedded model."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import anthropic
import pytest

from acceptance.world import ARGUMENTS, IMAGE_URL, LOCAL, PNG, PROVIDERS, SCHEMA, TEXT, World

ASK: Any = [{"role": "user", "content": "What is the capital of France?"}]
TOOLS: Any = [{"name": name, "description": "Look.", "input_schema": SCHEMA} for name in ("weather", "news")]

everywhere = pytest.mark.parametrize("at", PROVIDERS)


def asking(model: str, **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": ASK, "max_tokens": 1000} | more


@everywhere
def test_a_plain_answer(trivium: World, at: str) -> None:
    done = trivium.anthropic().messages.create(**asking(f"{at}/ok"))
    assert [(block.type, block.text) for block in done.content] == [("text", TEXT)]
    assert (done.type, done.role, done.stop_reason) == ("message", "assistant", "end_turn")
    assert done.usage.input_tokens > 0
    assert done.usage.output_tokens == 6


@everywhere
def test_a_stream_event_by_event(trivium: World, at: str) -> None:
    with trivium.anthropic().messages.create(**asking(f"{at}/ok"), stream=True) as stream:
        events: Any = list(stream)
    kinds = [event.type for event in events if event.type != "ping"]
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert "".join(event.delta.text for event in events if event.type == "content_block_delta") == TEXT
    assert events[-2].delta.stop_reason == "end_turn"
    assert events[-2].usage.output_tokens == 6


@everywhere
def test_the_client_accumulates_a_stream(trivium: World, at: str) -> None:
    with trivium.anthropic().messages.stream(**asking(f"{at}/ok")) as stream:
        said = "".join(stream.text_stream)
        done = stream.get_final_message()
    assert said == stream.get_final_text() == TEXT
    assert done.stop_reason == "end_turn"
    assert done.usage.output_tokens == 6
    assert stream.request_id


@everywhere
def test_async(trivium: World, at: str) -> None:
    async def ask() -> tuple[str, str]:
        async with trivium.async_anthropic() as client:
            whole: Any = await client.messages.create(**asking(f"{at}/ok"))
            async with client.messages.stream(**asking(f"{at}/ok")) as stream:
                return whole.content[0].text, await stream.get_final_text()

    assert asyncio.run(ask()) == (TEXT, TEXT)


@everywhere
@pytest.mark.parametrize(("model", "names"), [("tool", ["weather"]), ("tools2", ["weather", "news"])])
@pytest.mark.parametrize("stream", [False, True])
def test_tools_and_their_results(trivium: World, at: str, model: str, names: list[str], stream: bool) -> None:
    client = trivium.anthropic().messages
    asked = asking(f"{at}/{model}", tools=TOOLS, tool_choice={"type": "auto"})
    if stream:
        with client.stream(**asked) as flow:
            done: Any = flow.get_final_message()
    else:
        done = client.create(**asked)
    assert done.stop_reason == "tool_use"
    calls = [block for block in done.content if block.type == "tool_use"]
    assert [(call.name, call.input) for call in calls] == [(name, ARGUMENTS) for name in names]
    results = [{"type": "tool_result", "tool_use_id": call.id, "content": "18 degrees"} for call in calls]
    said = [block.model_dump(exclude_none=True) for block in done.content]
    turn: Any = [*ASK, {"role": "assistant", "content": said}, {"role": "user", "content": results}]
    after: Any = client.create(**(asked | {"messages": turn}))
    assert after.content[0].text == "The tool says: 18 degrees"
    if at == "oai":
        roles = [message["role"] for message in trivium.last(model).json["messages"]]
        assert roles == ["user", "assistant", *["tool"] * len(names)]


@everywhere
@pytest.mark.parametrize(
    "source",
    [{"type": "base64", "media_type": "image/png", "data": PNG}, {"type": "url", "url": IMAGE_URL}],
    ids=["base64", "url"],
)
def test_images(trivium: World, at: str, source: dict[str, str]) -> None:
    parts = [{"type": "image", "source": source}, {"type": "text", "text": "What is this?"}]
    done: Any = trivium.anthropic().messages.create(**asking(f"{at}/ok", messages=[{"role": "user", "content": parts}]))
    assert done.content[0].text.startswith("I see 1 image.")
    assert source.get("data", IMAGE_URL) in trivium.last("ok").body.decode()


@everywhere
@pytest.mark.parametrize("system", ["Be brief.", [{"type": "text", "text": "Be brief."}]], ids=["text", "blocks"])
def test_a_system_prompt(trivium: World, at: str, system: Any) -> None:
    trivium.anthropic().messages.create(**asking(f"{at}/echo", system=system))
    sent = trivium.last("echo").json
    if at == "oai":
        assert sent["messages"][0]["role"] in ("system", "developer")
        assert "Be brief." in json.dumps(sent["messages"][0])
        assert [message["role"] for message in sent["messages"][1:]] == ["user"]
    else:
        assert sent["system"] == system


@everywhere
def test_an_answer_cut_at_its_limit(trivium: World, at: str) -> None:
    asked = asking(f"{at}/ok", max_tokens=3)
    assert trivium.anthropic().messages.create(**asked).stop_reason == "max_tokens"
    with trivium.anthropic().messages.stream(**asked) as stream:
        assert stream.get_final_message().stop_reason == "max_tokens"


@everywhere
@pytest.mark.parametrize("stream", [False, True])
def test_cached_tokens_and_thinking(trivium: World, at: str, stream: bool) -> None:
    client = trivium.anthropic().messages
    if stream:
        with client.stream(**asking(f"{at}/cached-reasoning")) as flow:
            done: Any = flow.get_final_message()
    else:
        done = client.create(**asking(f"{at}/cached-reasoning"))
    assert [block.type for block in done.content] == ["thinking", "text"]
    assert done.usage.cache_read_input_tokens > 0
    assert done.usage.input_tokens > 0
    assert abs(done.usage.cache_read_input_tokens - done.usage.input_tokens) <= 1
    assert done.usage.output_tokens > 6


# ---- errors


@everywhere
@pytest.mark.parametrize(
    ("model", "error", "status"),
    [
        ("400", anthropic.BadRequestError, 400),
        ("400-context", anthropic.BadRequestError, 400),
        ("401", anthropic.InternalServerError, 502),
        ("403", anthropic.InternalServerError, 502),
        ("404", anthropic.NotFoundError, 404),
        ("quota", anthropic.RateLimitError, 429),
        ("529", anthropic.APIStatusError, 503),
    ],
)
def test_an_upstream_error(
    trivium: World, at: str, model: str, error: type[anthropic.APIStatusError], status: int
) -> None:
    for stream in (False, True):
        with pytest.raises(error) as caught:
            trivium.anthropic().messages.create(**asking(f"{at}/{model}"), stream=stream)
        assert caught.value.status_code == status
        body: Any = caught.value.body
        assert body["type"] == "error"
        assert body["error"]["type"]
        assert body["error"]["message"]
        assert caught.value.request_id


@everywhere
def test_a_rate_limit_tells_when_to_come_back(trivium: World, at: str) -> None:
    wait = 7200 + PROVIDERS.index(at)
    with pytest.raises(anthropic.RateLimitError) as caught:
        trivium.anthropic().messages.create(**asking(f"{at}/429-retry-after-{wait}"))
    assert wait - 5 <= int(caught.value.response.headers["retry-after"]) <= wait


@everywhere
@pytest.mark.parametrize("model", ["error-midstream-2", "cut-after-2", "clean-cut-after-2", "stall-after-2"])
def test_a_broken_stream_ends_with_an_error(trivium: World, at: str, model: str) -> None:
    got: list[str] = []
    with (
        pytest.raises(anthropic.APIError),
        trivium.anthropic().messages.stream(**asking(f"{at}/{model}")) as stream,
    ):
        got.extend(stream.text_stream)
    assert "The capital ".startswith("".join(got))


def test_no_such_model(trivium: World) -> None:
    with pytest.raises(anthropic.NotFoundError) as caught:
        trivium.anthropic().messages.create(**asking("claude-nonexistent"))
    body: Any = caught.value.body
    assert body["error"]["type"] == "not_found_error"
    assert "claude-nonexistent" in body["error"]["message"]
    assert "provider/model" in body["error"]["message"]


# ---- cancel


@everywhere
def test_leaving_a_stream_stops_the_upstream(trivium: World, at: str) -> None:
    with trivium.anthropic().messages.stream(**asking(f"{at}/gap-201")) as stream:
        next(iter(stream.text_stream))
    trivium.await_cancelled("gap-201")


@everywhere
def test_cancelling_a_task_stops_the_upstream(trivium: World, at: str) -> None:
    async def leave() -> None:
        async with trivium.async_anthropic() as client:
            task = asyncio.ensure_future(client.messages.create(**asking(f"{at}/late-21000")))
            await asyncio.sleep(0.3)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(leave())
    trivium.await_cancelled("late-21000")


# ---- headers, lists


@everywhere
def test_headers_out(trivium: World, at: str) -> None:
    raw: Any = trivium.anthropic().messages.with_raw_response.create(**asking(f"{at}/priced"))
    usage = raw.parse().usage
    assert raw.headers["x-request-id"] == raw.headers["request-id"] == raw.request_id
    assert (raw.headers["x-trivium-access"], raw.headers["x-trivium-endpoint"]) == ("direct", f"{at}/priced")
    assert raw.headers["x-trivium-attempts"] == "1"
    cost = (usage.input_tokens + 10 * usage.output_tokens) / 1e6
    assert float(raw.headers["x-trivium-cost-usd"]) == pytest.approx(cost)


def test_what_a_dialect_cannot_say_is_told_or_refused(trivium: World) -> None:
    client = trivium.anthropic().messages
    asked = asking("oai/ok", extra_body={"top_k": 5})
    assert "top_k" in client.with_raw_response.create(**asked).headers["x-trivium-dropped"]
    before = trivium.upstream.count()
    with pytest.raises(anthropic.BadRequestError, match="top_k"):
        client.create(**asked, extra_headers={"x-trivium-strict": "1"})
    assert trivium.upstream.count() == before


@everywhere
def test_what_must_not_leave_does_not(trivium: World, at: str) -> None:
    before = trivium.upstream.count()
    with pytest.raises(anthropic.APIStatusError, match="premises") as caught:
        trivium.anthropic().messages.create(**asking(f"{at}/ok"), extra_headers={"x-trivium-data-class": "premises"})
    assert 400 <= caught.value.status_code < 500
    assert trivium.upstream.count() == before


def test_what_the_caller_says_to_anthropic_reaches_it(trivium: World) -> None:
    said = {"anthropic-beta": "tools-2099-01-01", "anthropic-version": "2099-01-01"}
    trivium.anthropic().messages.create(**asking("ant/echo"), extra_headers=said, extra_body={"novel": {"a": 1}})
    seen = trivium.last("echo")
    assert said.items() <= seen.headers.items()
    assert seen.json["novel"] == {"a": 1}
    assert seen.headers["authorization"] == "Bearer test-key"  # its own key, never the caller's


def test_the_list_of_models(trivium: World) -> None:
    page = trivium.anthropic().models.list()
    assert {"auto", "second", LOCAL, "ant/priced"} <= {model.id for model in page}
    assert all(model.type == "model" and model.display_name for model in page.data)


# ---- the embedded model


def test_the_embedded_model(trivium: World) -> None:
    raw: Any = trivium.anthropic().messages.with_raw_response.create(**asking(LOCAL, max_tokens=8))
    done = raw.parse()
    assert done.content[0].text
    assert done.stop_reason in ("end_turn", "max_tokens")
    assert done.usage.input_tokens > 0
    assert 0 < done.usage.output_tokens <= 8
    assert raw.headers["x-trivium-access"] == "local"


def test_a_stream_of_the_embedded_model(trivium: World) -> None:
    with trivium.anthropic().messages.stream(**asking(LOCAL, max_tokens=8)) as stream:
        assert "".join(stream.text_stream)
        assert stream.get_final_message().usage.output_tokens > 0


def test_leaving_the_embedded_model_frees_it(trivium: World) -> None:
    with trivium.anthropic().messages.stream(**asking(LOCAL, max_tokens=1500)) as stream:
        next(iter(stream.text_stream))
    assert trivium.anthropic().messages.create(**asking(LOCAL, max_tokens=2)).stop_reason
