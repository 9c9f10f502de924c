"""Further unmodified clients against `trivium serve`: plain, streamed, a tool call, structured, an error, cancelled."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from acceptance.world import ARGUMENTS, PROVIDERS, SCHEMA, TEXT, World

pytestmark = pytest.mark.filterwarnings("ignore")  # their own deprecations are not ours
everywhere = pytest.mark.parametrize("at", PROVIDERS)
ASK = "What is the capital of France?"
TOOL = {"type": "function", "function": {"name": "weather", "description": "Look.", "parameters": SCHEMA}}


# ---- mistralai


@pytest.fixture
def mistral(trivium: World) -> Any:
    client = pytest.importorskip("mistralai.client")
    with client.Mistral(api_key="any", server_url=trivium.served.origin) as made:
        yield made


@everywhere
def test_mistralai(trivium: World, mistral: Any, at: str) -> None:
    ask = [{"role": "user", "content": ASK}]
    assert mistral.chat.complete(model=f"{at}/ok", messages=ask).choices[0].message.content == TEXT
    with mistral.chat.stream(model=f"{at}/ok", messages=ask) as events:
        assert "".join(event.data.choices[0].delta.content or "" for event in events if event.data.choices) == TEXT
    done = mistral.chat.complete(model=f"{at}/tool", messages=ask, tools=[TOOL])
    (call,) = done.choices[0].message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", ARGUMENTS)
    form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}
    done = mistral.chat.complete(model=f"{at}/ok", messages=ask, response_format=form)
    assert json.loads(done.choices[0].message.content) == ARGUMENTS
    with pytest.raises(Exception, match="temperature") as caught:
        mistral.chat.complete(model=f"{at}/400-param", messages=ask)
    assert caught.value.status_code == 400  # type: ignore[attr-defined]
    stream = mistral.chat.stream(model=f"{at}/stall-after-2", messages=ask)
    next(iter(stream))
    stream.response.close()
    trivium.await_cancelled("stall-after-2")


# ---- langchain


def chat_model(trivium: World, kind: str, model: str, **more: Any) -> Any:
    if kind == "anthropic":
        made = pytest.importorskip("langchain_anthropic").ChatAnthropic
        return made(model=model, base_url=trivium.served.origin, api_key="any", max_retries=0, **more)
    made = pytest.importorskip("langchain_openai").ChatOpenAI
    return made(
        model=model,
        base_url=trivium.served.base_url,
        api_key="any",
        max_retries=0,
        use_responses_api=kind == "responses",
        **more,
    )


@pytest.mark.parametrize("kind", ["openai", "responses", "anthropic"])
@everywhere
def test_langchain(trivium: World, kind: str, at: str) -> None:
    def model(name: str, **more: Any) -> Any:
        return chat_model(trivium, kind, f"{at}/{name}", **more)

    assert model("ok").invoke(ASK).text == TEXT
    assert "".join(chunk.text for chunk in model("ok").stream(ASK)) == TEXT
    (call,) = model("tool").bind_tools([TOOL]).invoke(ASK).tool_calls
    assert (call["name"], call["args"]) == ("weather", ARGUMENTS)
    answer = {"title": "answer", "description": "The answer.", **SCHEMA}
    found = model("ok").with_structured_output(answer, method="json_schema").invoke(ASK)
    assert found == ARGUMENTS
    with pytest.raises(Exception, match="temperature"):
        model("400-param").invoke(ASK)


def test_langchain_cancelled(trivium: World) -> None:
    async def leave() -> None:
        async for _ in chat_model(trivium, "openai", "oai/stall-after-3").astream(ASK):
            break

    asyncio.run(leave())
    trivium.await_cancelled("stall-after-3")


# ---- pydantic-ai


@everywhere
def test_pydantic_ai(trivium: World, at: str) -> None:
    ai = pytest.importorskip("pydantic_ai")
    from pydantic import BaseModel
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    class Weather(BaseModel):
        city: str
        days: int

    provider = OpenAIProvider(base_url=trivium.served.base_url, api_key="any")

    def model(name: str) -> Any:
        return OpenAIChatModel(f"{at}/{name}", provider=provider)

    assert ai.Agent(model("ok")).run_sync(ASK).output == TEXT
    agent = ai.Agent(model("tool"))

    @agent.tool_plain
    def weather(city: str, days: int) -> str:
        return f"{city} {days}: 12 degrees"

    assert agent.run_sync(ASK).output == "The tool says: Paris 2: 12 degrees"
    told = ai.Agent(model("ok"), output_type=ai.NativeOutput(Weather)).run_sync(ASK).output
    assert told == Weather(city="Paris", days=2)

    async def streamed() -> str:
        async with ai.Agent(model("ok")).run_stream(ASK) as run:
            return await run.get_output()

    assert asyncio.run(streamed()) == TEXT
    with pytest.raises(ai.exceptions.ModelHTTPError) as caught:
        ai.Agent(model("400-param")).run_sync(ASK)
    assert caught.value.status_code == 400


# ---- llm


def test_llm(trivium: World, tmp_path: Path) -> None:
    """The command-line program, with a model of a file of its own."""
    pytest.importorskip("llm")
    (tmp_path / "extra-openai-models.yaml").write_text(
        "".join(
            f"- model_id: {at}\n  model_name: {at}/ok\n  api_base: {trivium.served.base_url}\n  supports_schema: true\n"
            for at in PROVIDERS
        )
    )
    env = os.environ | {"LLM_USER_PATH": str(tmp_path), "OPENAI_API_KEY": "any"}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "llm", *words], env=env, capture_output=True, text=True, timeout=60, check=False
        )

    for at in PROVIDERS:
        for more in ([], ["--no-stream"]):
            done = run("prompt", "-m", at, ASK, *more)
            assert done.stdout.strip() == TEXT, done.stderr
        done = run("prompt", "-m", at, ASK, "--schema", json.dumps(SCHEMA))
        assert json.loads(done.stdout) == ARGUMENTS, done.stderr
