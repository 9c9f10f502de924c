"""What a type checker tells somebody who uses the library. Checked by pyright in `tests/test_typing.py`, never run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_type

import anthropic
import cohere
import ollama
import openai
from google import genai
from google.genai.client import AsyncClient as AsyncGemini

from trivium import AsyncTrivium, Trivium
from trivium.errors import TriviumError
from trivium.types.event import Event, Ranked, TextDelta
from trivium.types.message import ToolCall
from trivium.types.response import Response
from trivium.types.usage import Usage

MESSAGES = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is the capital of France?"}]


def ask() -> None:
    with Trivium() as client:
        answer = client.chat("What is the capital of France?")
        assert_type(answer, Response)
        assert_type(answer.text, str)
        assert_type(answer.tool_calls, tuple[ToolCall, ...])
        assert_type(answer.usage, Usage | None)
        assert_type(answer.cost_usd, float | None)
        assert_type(answer.access, str)
        assert_type(answer.endpoint, str)
        assert_type(answer.attempts, int)
        client.chat(MESSAGES, model="local/tiny", temperature=0.0, max_tokens=16, data_class="premises")


def read() -> str:
    client = Trivium("trivium.toml")
    events = client.stream("Tell a story.", model="auto")
    assert_type(events, Iterator[Event])
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def look() -> list[str]:
    plan = Trivium().plan("hello", model="assistant")
    return [entry.endpoint for entry in plan.endpoints] + [f"{no.endpoint}: {no.reason}" for no in plan.rejected]


def find() -> int:
    with Trivium() as client:
        answer = client.embed(["What is the capital of France?"], "local/minilm", dimensions=64)
        assert_type(answer.embeddings, tuple[tuple[float, ...], ...])
        ranked = client.rerank("capital of France", ["Paris", "Rome"], "local/minilm", top_n=1)
        assert_type(ranked.ranking, tuple[Ranked, ...])
        return ranked.ranking[0].index


async def ask_awaited() -> None:
    async with AsyncTrivium() as client:
        assert_type(await client.chat(MESSAGES), Response)
        async for event in client.stream("Tell a story."):
            assert_type(event, Event)
        await client.plan("hello")
        assert_type(await client.embed("hello", "local/minilm", purpose="query"), Response)
        assert_type(await client.rerank("hello", ["a"], "local/minilm"), Response)


def vendors() -> str | None:
    with Trivium() as trivium:
        assert_type(trivium.anthropic_client(), anthropic.Anthropic)
        assert_type(trivium.cohere_client(), cohere.ClientV2)
        assert_type(trivium.gemini_client(), genai.Client)
        assert_type(trivium.ollama_client(), ollama.Client)
        client = trivium.openai_client()
        assert_type(client, openai.OpenAI)
        done = client.chat.completions.create(model="auto", messages=[{"role": "user", "content": "hello"}])
        return done.choices[0].message.content


async def vendors_awaited() -> None:
    async with AsyncTrivium() as trivium:
        assert_type(trivium.openai_client(), openai.AsyncOpenAI)
        assert_type(trivium.anthropic_client(), anthropic.AsyncAnthropic)
        assert_type(trivium.cohere_client(), cohere.AsyncClientV2)
        assert_type(trivium.gemini_client(), AsyncGemini)
        assert_type(trivium.ollama_client(), ollama.AsyncClient)


def recover() -> str:
    try:
        return Trivium().chat("hello").text
    except TriviumError as error:
        return f"{error.kind}: {error.message} {error.remedy}"


def wrong() -> None:
    """Each ignore is needed: pyright reports one that is not."""
    Trivium(config=3)  # pyright: ignore[reportArgumentType]
    Trivium().chat(3)  # pyright: ignore[reportArgumentType]
    Trivium().chat("hello", model=None)  # pyright: ignore[reportArgumentType]
    Trivium().embed("hello")  # pyright: ignore[reportCallIssue]
    Trivium().ask("hello")  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
