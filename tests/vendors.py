"""The vendors' own clients, each driven the same way, whether sync or async: what is asked, and what came back."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TEXT = "Where is the Louvre?"
ASK = [{"role": "user", "content": TEXT}]


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


def _cohere_errors() -> tuple[type[Exception], type[Exception]]:
    import httpx
    from cohere.core.api_error import ApiError

    return ApiError, httpx.RemoteProtocolError  # what is told inside a stream is an event; then the stream is cut


def _gemini_errors() -> tuple[type[Exception], type[Exception]]:
    from google.genai.errors import APIError

    return APIError, APIError


def _ollama_errors() -> tuple[type[Exception], type[Exception]]:
    from ollama import ResponseError

    return ResponseError, ResponseError


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
COHERE = Vendor(
    name="cohere",
    method="cohere_client",
    ask=lambda client, model, **more: client.chat(model=model, messages=ASK, **more),
    text=lambda done: "".join(part.text for part in done.message.content),
    stream=lambda client, model: client.chat_stream(model=model, messages=ASK),
    delta=lambda event: event.delta.message.content.text if event.type == "content-delta" else "",
    tool={"tools": [{"type": "function", "function": {"name": "look", "parameters": SCHEMA}}]},
    calls=lambda done: [call.function.name for call in done.message.tool_calls],
    models=lambda client: client.models.list(),
    ids=lambda page: [model.name for model in page.models],
    errors=_cohere_errors,
    status=lambda error: error.status_code,
)
GEMINI = Vendor(
    name="gemini",
    method="gemini_client",
    ask=lambda client, model, **more: client.models.generate_content(model=model, contents=TEXT, **more),
    text=lambda done: done.text,
    stream=lambda client, model: client.models.generate_content_stream(model=model, contents=TEXT),
    delta=lambda chunk: chunk.text or "",
    tool={"config": {"tools": [{"function_declarations": [{"name": "look", "parameters_json_schema": SCHEMA}]}]}},
    calls=lambda done: [call.name for call in done.function_calls],
    models=lambda client: client.models.list(),
    ids=lambda pager: [model.name.removeprefix("models/") for model in pager.page],
    errors=_gemini_errors,
    status=lambda error: error.code,
)
OLLAMA = Vendor(
    name="ollama",
    method="ollama_client",
    ask=lambda client, model, **more: client.chat(model=model, messages=ASK, **more),
    text=lambda done: done.message.content,
    stream=lambda client, model: client.chat(model=model, messages=ASK, stream=True),
    delta=lambda chunk: chunk.message.content or "",
    tool={"tools": [{"type": "function", "function": {"name": "look", "parameters": SCHEMA}}]},
    calls=lambda done: [call.function.name for call in done.message.tool_calls],
    models=lambda client: client.list(),
    ids=lambda listed: [model.model for model in listed.models],
    errors=_ollama_errors,
    status=lambda error: error.status_code,
)
VENDORS = [OPENAI, ANTHROPIC, COHERE, GEMINI, OLLAMA]
