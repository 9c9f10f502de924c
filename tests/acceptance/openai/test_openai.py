"""The unmodified `openai` client against `trivium serve`, over both upstream dialects and the embedded model."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import openai
import pytest

from acceptance.world import ARGUMENTS, DIALECT_OF, IMAGE_URL, LOCAL, PNG, PROVIDERS, SCHEMA, TEXT, World

ASK: Any = [{"role": "user", "content": "What is the capital of France?"}]
TOOLS: Any = [
    {"type": "function", "function": {"name": name, "description": "Look.", "parameters": SCHEMA}}
    for name in ("weather", "news")
]

everywhere = pytest.mark.parametrize("at", PROVIDERS)


@everywhere
def test_a_plain_answer(trivium: World, at: str) -> None:
    done = trivium.openai().chat.completions.create(model=f"{at}/ok", messages=ASK, max_tokens=50)
    assert done.choices[0].message.content == TEXT
    assert (done.choices[0].message.role, done.choices[0].finish_reason) == ("assistant", "stop")
    assert done.object == "chat.completion"
    assert done.usage
    assert done.usage.total_tokens == done.usage.prompt_tokens + done.usage.completion_tokens
    assert done.usage.completion_tokens == 6


@everywhere
@pytest.mark.parametrize("usage", [True, False])
def test_a_stream(trivium: World, at: str, usage: bool) -> None:
    options: Any = {"stream_options": {"include_usage": True}} if usage else {}
    chunks = list(trivium.openai().chat.completions.create(model=f"{at}/ok", messages=ASK, stream=True, **options))
    choices = [choice for chunk in chunks for choice in chunk.choices]
    assert "".join(choice.delta.content or "" for choice in choices) == TEXT
    assert [choice.finish_reason for choice in choices if choice.finish_reason] == ["stop"]
    assert len({chunk.id for chunk in chunks}) == 1
    told = [chunk.usage for chunk in chunks if chunk.usage]
    assert [each.completion_tokens for each in told] == ([6] if usage else [])


@everywhere
def test_the_client_accumulates_a_stream(trivium: World, at: str) -> None:
    with trivium.openai().chat.completions.stream(model=f"{at}/tools2", messages=ASK, tools=TOOLS) as stream:
        kinds = {event.type for event in stream}
        done = stream.get_final_completion()
    assert "chunk" in kinds
    assert "tool_calls.function.arguments.done" in kinds
    assert [call.function.name for call in done.choices[0].message.tool_calls or []] == ["weather", "news"]


@everywhere
def test_async(trivium: World, at: str) -> None:
    async def ask() -> tuple[str | None, str]:
        async with trivium.async_openai() as client:
            whole = await client.chat.completions.create(model=f"{at}/ok", messages=ASK)
            stream = await client.chat.completions.create(model=f"{at}/ok", messages=ASK, stream=True)
            said = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
            return whole.choices[0].message.content, "".join(said)

    assert asyncio.run(ask()) == (TEXT, TEXT)


@everywhere
@pytest.mark.parametrize(("model", "names"), [("tool", ["weather"]), ("tools2", ["weather", "news"])])
@pytest.mark.parametrize("stream", [False, True])
def test_tools_and_their_results(trivium: World, at: str, model: str, names: list[str], stream: bool) -> None:
    client = trivium.openai()
    asked: Any = {"model": f"{at}/{model}", "messages": ASK, "tools": TOOLS, "tool_choice": "auto"}
    if stream:
        with client.chat.completions.stream(**asked) as flow:
            done: Any = flow.get_final_completion()
    else:
        done = client.chat.completions.create(**asked)
    message = done.choices[0].message
    assert done.choices[0].finish_reason == "tool_calls"
    assert [call.function.name for call in message.tool_calls] == names
    assert all(json.loads(call.function.arguments) == ARGUMENTS for call in message.tool_calls)
    results = [{"role": "tool", "tool_call_id": call.id, "content": "18 degrees"} for call in message.tool_calls]
    turn: Any = [*ASK, message.model_dump(exclude_none=True, exclude={"parsed": True}), *results]
    after = client.chat.completions.create(**(asked | {"messages": turn}))
    assert after.choices[0].message.content == "The tool says: 18 degrees"
    if at == "ant":
        content = trivium.last(model).json["messages"]
        assert [part["type"] for part in content[-1]["content"]] == ["tool_result"] * len(names)


@everywhere
@pytest.mark.parametrize("url", [f"data:image/png;base64,{PNG}", IMAGE_URL])
def test_images(trivium: World, at: str, url: str) -> None:
    parts = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": url}}]
    asked: Any = [{"role": "user", "content": parts}]
    done = trivium.openai().chat.completions.create(model=f"{at}/ok", messages=asked)
    assert (done.choices[0].message.content or "").startswith("I see 1 image.")
    sent = trivium.last("ok").body.decode()
    assert (PNG if PNG in url else IMAGE_URL) in sent


@everywhere
@pytest.mark.parametrize("role", ["system", "developer"])
def test_a_system_prompt(trivium: World, at: str, role: str) -> None:
    asked: Any = [{"role": role, "content": "Be brief."}, *ASK]
    trivium.openai().chat.completions.create(model=f"{at}/echo", messages=asked)
    sent = trivium.last("echo").json
    if at == "ant":
        assert "Be brief." in json.dumps(sent["system"])
        assert [message["role"] for message in sent["messages"]] == ["user"]
    else:
        assert sent["messages"] == asked


@everywhere
@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_cut_at_its_limit(trivium: World, at: str, stream: bool) -> None:
    done = trivium.openai().chat.completions.create(model=f"{at}/ok", messages=ASK, max_tokens=3, stream=stream)  # type: ignore[call-overload]
    reasons = [c.choices[0].finish_reason for c in done if c.choices] if stream else [done.choices[0].finish_reason]
    assert reasons[-1] == "length"


@everywhere
@pytest.mark.parametrize("stream", [False, True])
def test_cached_and_reasoning_tokens(trivium: World, at: str, stream: bool) -> None:
    asked: Any = {"model": f"{at}/cached-reasoning", "messages": ASK}
    client = trivium.openai().chat.completions
    if stream:
        last = list(client.create(**asked, stream=True, stream_options={"include_usage": True}))[-1]
        usage: Any = last.usage
    else:
        usage = client.create(**asked).usage
    assert usage.prompt_tokens_details.cached_tokens == usage.prompt_tokens // 2 > 0
    assert usage.completion_tokens_details.reasoning_tokens > 0
    assert usage.completion_tokens > usage.completion_tokens_details.reasoning_tokens


# ---- errors


@everywhere
@pytest.mark.parametrize(
    ("model", "error", "kind"),
    [
        ("400", openai.BadRequestError, None),
        ("400-context", openai.BadRequestError, "context_length_exceeded"),
        ("401", openai.InternalServerError, "upstream_auth_error"),
        ("403", openai.InternalServerError, "upstream_auth_error"),
        ("404", openai.NotFoundError, None),
        ("quota", openai.RateLimitError, None),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_an_upstream_error(
    trivium: World, at: str, model: str, error: type[openai.APIStatusError], kind: str | None, stream: bool
) -> None:
    before = trivium.upstream.count(model=model)
    with pytest.raises(error) as caught:
        trivium.openai().chat.completions.create(model=f"{at}/{model}", messages=ASK, stream=stream)
    assert caught.value.response.headers["x-request-id"]
    assert caught.value.message
    assert caught.value.type
    if error is openai.InternalServerError:
        assert caught.value.status_code == 502
    if kind:
        assert kind in (caught.value.code, caught.value.type)
    assert trivium.upstream.count(model=model) == before + 1


@everywhere
def test_a_rate_limit_tells_when_to_come_back(trivium: World, at: str) -> None:
    wait = 3600 + PROVIDERS.index(at)
    with pytest.raises(openai.RateLimitError) as caught:
        trivium.openai().chat.completions.create(model=f"{at}/429-retry-after-{wait}", messages=ASK)
    assert wait - 5 <= int(caught.value.response.headers["retry-after"]) <= wait


@everywhere
@pytest.mark.parametrize("model", ["error-midstream-2", "cut-after-2", "clean-cut-after-2", "stall-after-2"])
def test_a_broken_stream_ends_with_an_error(trivium: World, at: str, model: str) -> None:
    got: list[str] = []

    def read() -> None:
        with trivium.openai().chat.completions.create(model=f"{at}/{model}", messages=ASK, stream=True) as stream:
            for chunk in stream:
                got.extend(choice.delta.content or "" for choice in chunk.choices)

    with pytest.raises(openai.APIError):  # told in-band, before the connection is cut
        read()
    assert "The capital ".startswith("".join(got))


def test_no_such_model(trivium: World) -> None:
    for name, said in (("gpt-nonexistent", "provider/model"), ("local/none", "trivium models")):
        with pytest.raises(openai.NotFoundError) as caught:
            trivium.openai().chat.completions.create(model=name, messages=ASK)
        assert name.rpartition("/")[2] in caught.value.message
        assert said in caught.value.message


# ---- cancel


@everywhere
def test_leaving_a_stream_stops_the_upstream(trivium: World, at: str) -> None:
    stream = trivium.openai().chat.completions.create(model=f"{at}/gap-200", messages=ASK, stream=True)
    next(iter(stream))
    stream.close()
    trivium.await_cancelled("gap-200")


@everywhere
def test_giving_up_on_an_answer_stops_the_upstream(trivium: World, at: str) -> None:
    client = trivium.openai().with_options(timeout=0.3)
    with pytest.raises(openai.APITimeoutError):
        client.chat.completions.create(model=f"{at}/late-20000", messages=ASK)
    trivium.await_cancelled("late-20000")


# ---- headers


@everywhere
def test_headers_out(trivium: World, at: str) -> None:
    raw = trivium.openai().chat.completions.with_raw_response.create(model=f"{at}/priced", messages=ASK, max_tokens=50)
    usage: Any = raw.parse().usage
    assert raw.headers["x-request-id"] == raw.headers["request-id"] == raw.request_id
    assert raw.headers["x-trivium-access"] == "direct"
    assert raw.headers["x-trivium-endpoint"] == f"{at}/priced"
    assert raw.headers["x-trivium-attempts"] == "1"
    cost = (usage.prompt_tokens + 10 * usage.completion_tokens) / 1e6
    assert float(raw.headers["x-trivium-cost-usd"]) == pytest.approx(cost)
    assert "x-trivium-fallback" not in raw.headers
    assert "x-trivium-dropped" not in raw.headers
    unpriced = trivium.openai().chat.completions.with_raw_response.create(model=f"{at}/ok", messages=ASK)
    assert unpriced.headers["x-trivium-cost-usd"] == "unknown"


def test_a_fallback_is_told(trivium: World) -> None:
    raw = trivium.openai().chat.completions.with_raw_response.create(model="second", messages=ASK)
    assert raw.parse().choices[0].message.content == TEXT
    assert (raw.headers["x-trivium-endpoint"], raw.headers["x-trivium-attempts"]) == ("ant/ok", "2")
    assert raw.headers["x-trivium-fallback"].startswith("oai is")
    with trivium.openai().chat.completions.with_streaming_response.create(
        model="second", messages=ASK, stream=True
    ) as flow:
        assert flow.headers["x-trivium-fallback"].startswith("oai is")
        assert "[DONE]" in "".join(flow.iter_text())


def test_what_a_dialect_cannot_say_is_told_or_refused(trivium: World) -> None:
    client = trivium.openai()
    asked: Any = {"model": "ant/ok", "messages": ASK, "max_tokens": 9, "logit_bias": {"50256": -100}}
    raw = client.chat.completions.with_raw_response.create(**asked)
    assert "logit_bias" in raw.headers["x-trivium-dropped"]
    before = trivium.upstream.count()
    with pytest.raises(openai.BadRequestError, match="logit_bias") as caught:
        client.chat.completions.create(**asked, extra_headers={"x-trivium-strict": "1"})
    assert caught.value.param == "logit_bias"
    with pytest.raises(openai.BadRequestError, match="logit_bias"):
        client.chat.completions.create(**asked, extra_body={"trivium": {"strict": True}})
    assert trivium.upstream.count() == before
    kept = client.chat.completions.with_raw_response.create(**(asked | {"model": "oai/ok"}))
    assert "x-trivium-dropped" not in kept.headers
    assert trivium.last("ok").json["logit_bias"] == {"50256": -100}


@pytest.mark.parametrize(
    "more",
    [
        {"extra_headers": {"x-trivium-data-class": "premises"}, "model": "oai/ok"},
        {"extra_body": {"trivium": {"data_class": "premises"}}, "model": "oai/ok"},
        {"model": "homely"},
    ],
    ids=["header", "body", "route"],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_must_not_leave_does_not(trivium: World, more: dict[str, Any], stream: bool) -> None:
    before = trivium.upstream.count()
    with pytest.raises(openai.APIStatusError, match="premises") as caught:
        trivium.openai().chat.completions.create(messages=ASK, stream=stream, **more)
    assert 400 <= caught.value.status_code < 500
    assert trivium.upstream.count() == before


@pytest.mark.parametrize(
    "said",
    [
        {"extra_headers": {"x-trivium-timeout": "300ms"}},
        {"extra_body": {"trivium": {"timeout": "300ms"}}},
        {"extra_body": {"trivium": {"timeout": 0.3}}, "extra_headers": {"x-trivium-timeout": "1m"}},
    ],
)
def test_a_shorter_deadline(trivium: World, said: dict[str, Any]) -> None:
    start = time.monotonic()
    with pytest.raises(openai.InternalServerError) as caught:
        trivium.openai().chat.completions.create(model="oai/silent", messages=ASK, **said)
    assert caught.value.status_code == 504
    assert time.monotonic() - start < 5


# ---- lists and plans


def test_the_list_of_models(trivium: World) -> None:
    names = [model.id for model in trivium.openai().models.list()]
    assert {"auto", "second", LOCAL, "oai/priced"} <= set(names)


def test_the_plan(trivium: World) -> None:
    client = trivium.openai()
    before = trivium.upstream.count()
    plan: Any = client.post("/plan", cast_to=object, body={"model": "second", "messages": ASK})
    assert [row["endpoint"] for row in plan["endpoints"]] == ["oai/503", "ant/ok"]
    homely: Any = client.post("/plan", cast_to=object, body={"model": "homely", "messages": ASK})
    assert [(row["endpoint"], row["reason"]) for row in homely["rejected"]] == [("oai/ok", "data_class")]
    assert homely["endpoints"] == []
    assert homely["data_class"] == "premises"
    assert trivium.upstream.count() == before
    assert DIALECT_OF.keys() == set(PROVIDERS)


# ---- the embedded model


def test_the_embedded_model(trivium: World) -> None:
    raw = trivium.openai().chat.completions.with_raw_response.create(
        model=LOCAL, messages=ASK, max_tokens=8, extra_headers={"x-trivium-data-class": "premises"}
    )
    done = raw.parse()
    assert done.choices[0].message.content
    assert done.choices[0].finish_reason in ("stop", "length")
    assert done.usage
    assert done.usage.prompt_tokens > 0
    assert 0 < done.usage.completion_tokens <= 8
    assert (raw.headers["x-trivium-access"], raw.headers["x-trivium-endpoint"]) == ("local", LOCAL)


def test_a_stream_of_the_embedded_model(trivium: World) -> None:
    chunks = list(
        trivium.openai().chat.completions.create(
            model=LOCAL, messages=ASK, max_tokens=8, stream=True, stream_options={"include_usage": True}
        )
    )
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason]
    assert chunks[-1].usage
    assert chunks[-1].usage.completion_tokens > 0


def test_leaving_the_embedded_model_frees_it(trivium: World) -> None:
    stream = trivium.openai().chat.completions.create(
        model=LOCAL, messages=[{"role": "user", "content": "Count to a thousand."}], max_tokens=1500, stream=True
    )
    next(iter(stream))
    stream.close()
    done = trivium.openai().chat.completions.create(model=LOCAL, messages=ASK, max_tokens=2)
    assert done.choices[0].finish_reason in ("stop", "length")
