"""The unmodified `openai-agents` against `trivium serve`, which it asks in nothing but OpenAI's responses."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from agents import (
    Agent,
    ModelSettings,
    OpenAIResponsesModel,
    RunConfig,
    Runner,
    RunResult,
    RunResultStreaming,
    function_tool,
)
from pydantic import BaseModel

from acceptance.world import ARGUMENTS, TEXT, World

ASK = "What is the capital of France?"
QUIET = RunConfig(tracing_disabled=True)  # it would tell OpenAI of every run

everywhere = pytest.mark.parametrize("at", ["res", "oai", "ant"])
both = pytest.mark.parametrize("stream", [False, True])
asked: list[dict[str, Any]] = []


@function_tool
def weather(city: str, days: int) -> str:
    """The weather of some days."""
    asked.append({"city": city, "days": days})
    return "18 degrees"


def run(
    trivium: World, at: str, model: str, *, stream: bool, **more: Any
) -> tuple[RunResult | RunResultStreaming, list[Any]]:
    """A run of an agent, and what was streamed of it."""

    async def work() -> tuple[RunResult | RunResultStreaming, list[Any]]:
        async with trivium.async_openai() as client:
            answers = OpenAIResponsesModel(model=f"{at}/{model}", openai_client=client)
            agent = Agent(name="Guide", instructions="Be brief.", model=answers, **more)
            if not stream:
                return await Runner.run(agent, ASK, run_config=QUIET), []
            flow = Runner.run_streamed(agent, ASK, run_config=QUIET)
            return flow, [event async for event in flow.stream_events()]

    return asyncio.run(work())


@everywhere
@both
def test_a_run(trivium: World, at: str, stream: bool) -> None:
    done, events = run(trivium, at, "ok", stream=stream)
    assert done.final_output == TEXT
    assert done.context_wrapper.usage.output_tokens == 6
    if stream:
        raw = [event.data for event in events if event.type == "raw_response_event"]
        assert "".join(data.delta for data in raw if data.type == "response.output_text.delta") == TEXT


@everywhere
@both
def test_a_run_with_a_tool(trivium: World, at: str, stream: bool) -> None:
    asked.clear()
    settings = ModelSettings(parallel_tool_calls=True)
    done, events = run(trivium, at, "tool", stream=stream, tools=[weather], model_settings=settings)
    assert done.final_output == "The tool says: 18 degrees"
    assert asked == [ARGUMENTS]
    kinds = [item.type for item in done.new_items]
    assert kinds == ["tool_call_item", "tool_call_output_item", "message_output_item"]
    if stream:
        assert [event.name for event in events if event.type == "run_item_stream_event"] == [
            "tool_called",
            "tool_output",
            "message_output_created",
        ]


class Place(BaseModel):
    city: str
    days: int


@everywhere
@both
def test_structured_output(trivium: World, at: str, stream: bool) -> None:
    done, _ = run(trivium, at, "ok", stream=stream, output_type=Place)
    assert done.final_output == Place(city="Paris", days=2)


@everywhere
@both
def test_a_run_with_thoughts(trivium: World, at: str, stream: bool) -> None:
    """Thoughts go back to where they came from with the tool's result."""
    asked.clear()
    done, _ = run(trivium, at, "tool-reasoning", stream=stream, tools=[weather])
    assert done.final_output == "The tool says: 18 degrees"
    sent = trivium.last("tool-reasoning").json
    if at == "res":
        assert [item.get("type") for item in sent["input"]][1:] == [
            "reasoning",
            "function_call",
            "function_call_output",
        ]


@everywhere
@both
def test_an_error(trivium: World, at: str, stream: bool) -> None:
    with pytest.raises(Exception, match=r"maximum context length|prompt is too long"):
        run(trivium, at, "400-context", stream=stream)


@everywhere
def test_an_error_in_a_stream(trivium: World, at: str) -> None:
    with pytest.raises(Exception, match=r"Overloaded|stream|server_error|503"):
        run(trivium, at, "error-midstream-2", stream=True)


@everywhere
def test_leaving_a_run_stops_the_upstream(trivium: World, at: str) -> None:
    async def work() -> None:
        async with trivium.async_openai() as client:
            model = OpenAIResponsesModel(model=f"{at}/gap-200", openai_client=client)
            flow = Runner.run_streamed(Agent(name="Guide", model=model), ASK, run_config=QUIET)
            async for event in flow.stream_events():
                if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
                    flow.cancel()

    asyncio.run(work())
    trivium.await_cancelled("gap-200")
