"""The vendors' own clients, each driven the same way, whether sync or async: what is asked, and what came back."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
ASK = [{"role": "user", "content": "Where is the Louvre?"}]


async def got(value: Any) -> Any:
    """What a sync client returned, or what an async one promised."""
    return await value if inspect.isawaitable(value) else value


async def each(stream: Any) -> AsyncIterator[Any]:
    """The chunks of a stream of either kind."""
    if hasattr(stream, "__aiter__"):
        async for chunk in stream:
            yield chunk
    else:
        for chunk in stream:
            yield chunk


async def close(thing: Any) -> None:
    """Close a stream or a client of either kind."""
    await got((thing.aclose if hasattr(thing, "aclose") else thing.close)())


@dataclass(frozen=True)
class Vendor:
    """One vendor's package. `ask`, `stream` and `models` return what its client returns, awaited or not."""

    name: str
    method: str
    """Of `Trivium` and `AsyncTrivium`."""
    ask: Callable[..., Any]
    """`(client, model, **more)`"""
    text: Callable[[Any], str]
    """Of what `ask` returned."""
    stream: Callable[..., Any]
    delta: Callable[[Any], str]
    """Of a chunk."""
    tool: dict[str, Any]
    """What offers a tool `look`."""
    calls: Callable[[Any], list[str]]
    """Names of the tools that an answer calls."""
    models: Callable[[Any], Any]
    ids: Callable[[Any], list[str]]
    """Of a list of models."""
    errors: Callable[[], tuple[type[Exception], type[Exception]]]
    """What it raises for a status, and what else an answer can make it raise."""
    status: Callable[[Any], int]


def _openai_errors() -> tuple[type[Exception], type[Exception]]:
    import openai

    return openai.APIStatusError, openai.APIError


def _anthropic_errors() -> tuple[type[Exception], type[Exception]]:
    import anthropic

    return anthropic.APIStatusError, anthropic.APIError


OPENAI = Vendor(
    name="openai",
    method="openai_client",
    ask=lambda client, model, **more: client.chat.completions.create(model=model, messages=ASK, **more),
    text=lambda done: done.choices[0].message.content or "",
    stream=lambda client, model: client.chat.completions.create(model=model, messages=ASK, stream=True),
    delta=lambda chunk: "".join(choice.delta.content or "" for choice in chunk.choices),
    tool={"tools": [{"type": "function", "function": {"name": "look", "parameters": SCHEMA}}]},
    calls=lambda done: [call.function.name for call in done.choices[0].message.tool_calls],
    models=lambda client: client.models.list(),
    ids=lambda page: [model.id for model in page.data],
    errors=_openai_errors,
    status=lambda error: error.status_code,
)
ANTHROPIC = Vendor(
    name="anthropic",
    method="anthropic_client",
    ask=lambda client, model, **more: client.messages.create(model=model, max_tokens=99, messages=ASK, **more),
    text=lambda done: "".join(block.text for block in done.content),
    stream=lambda client, model: client.messages.create(model=model, max_tokens=9999, messages=ASK, stream=True),
    delta=lambda event: event.delta.text if event.type == "content_block_delta" else "",
    tool={"tools": [{"name": "look", "input_schema": SCHEMA}]},
    calls=lambda done: [block.name for block in done.content if block.type == "tool_use"],
    models=lambda client: client.models.list(),
    ids=lambda page: [model.id for model in page.data],
    errors=_anthropic_errors,
    status=lambda error: error.status_code,
)
VENDORS = [OPENAI, ANTHROPIC]
