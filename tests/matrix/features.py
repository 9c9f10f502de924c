"""What a request can say, one thing each, and what becomes of it between two dialects: kept, bent, dropped, unsaid.

Nobody is asked: a request in the caller's dialect is read and written for the upstream, and read again there.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from trivium.dialects import get
from trivium.dialects.base import Addressed, Dialect
from trivium.types.message import Audio, File, Image, Message, Reasoning, Text, ToolCall, ToolResult
from trivium.types.request import ReasoningOptions, Request, ResponseFormat, Sampling, Tool, ToolChoice

DIALECTS = ("openai_chat", "openai_responses", "anthropic_messages", "cohere_v2", "gemini", "ollama")
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
DATA = base64.b64encode(b"some bytes of it").decode()
ASK = Message("user", (Text("What is the capital of France?"),))
BASE = Request(model="m", messages=(ASK,), max_output_tokens=4000)
TOOLS = (Tool(name="weather", description="Look.", parameters=SCHEMA),)
CALLED = Message("assistant", (ToolCall(id="call_1", name="weather", arguments='{"city":"Paris"}'),))


@dataclass(frozen=True)
class Feature:
    name: str
    request: Request
    said: Callable[[Request], object]
    """What a request says of it."""


def _sampling(**value: Any) -> Feature:
    ((name, _),) = value.items()
    return Feature(name, replace(BASE, sampling=Sampling(**value)), lambda request: getattr(request.sampling, name))


def _member(title: str, name: str, value: Any, **more: Any) -> Feature:
    return Feature(title, replace(BASE, **{name: value}, **more), lambda request: getattr(request, name))


def _part(title: str, part: Any, said: Callable[[Any], object]) -> Feature:
    kind = type(part)

    def found(request: Request) -> object:
        parts = [inner for message in request.messages for inner in message.parts]
        return [said(inner) for inner in parts if isinstance(inner, kind)]

    return Feature(title, replace(BASE, messages=(Message("user", (*ASK.parts, part)),)), found)


def _talk(title: str, *messages: Message, said: Callable[[Request], object] | None = None) -> Feature:
    return Feature(
        title,
        replace(BASE, messages=messages, tools=TOOLS),
        said or (lambda request: [_plain(m) for m in request.messages]),
    )


def _plain(message: Message) -> object:
    """A message without what names calls: wires without ids make their own."""
    return message.role, [
        (type(part).__name__, getattr(part, "text", None) or getattr(part, "arguments", None)) for part in message.parts
    ]


def _results(request: Request) -> list[ToolResult]:
    return [part for message in request.messages for part in message.parts if isinstance(part, ToolResult)]


def _thoughts(request: Request) -> object:
    parts = [part for message in request.messages for part in message.parts if isinstance(part, Reasoning)]
    return [(part.text, part.signature, part.encrypted) for part in parts]


def _required(request: Request) -> object:
    """The tool that must be called: by its name, or because there is no other."""
    choice = request.tool_choice or ToolChoice()
    if choice.mode == "required" and len(request.tools) == 1:
        return request.tools[0].name
    return choice.name


def _effort(request: Request) -> object:
    return request.reasoning and request.reasoning.effort


FEATURES = [
    _member("max tokens", "max_output_tokens", 4000),
    _talk("system prompt", Message("system", (Text("Be brief."),)), ASK),
    _talk("prefill", ASK, Message("assistant", (Text("The capital"),))),
    _part("image, base64", Image(data=DATA, media_type="image/png"), lambda part: part.data),
    _part("image, URL", Image(url="https://example.com/a.png"), lambda part: part.url),
    _part("audio", Audio(data=DATA, format="wav"), lambda part: part.data),
    _part("file, base64", File(data=DATA, media_type="application/pdf", name="a.pdf"), lambda part: part.data),
    _part("file, URL", File(url="https://example.com/a.pdf"), lambda part: part.url),
    _part("prompt-cache mark", Text("Long.", cache="5m"), lambda part: part.cache),
    Feature("tools", replace(BASE, tools=TOOLS), lambda r: [(t.name, t.description, t.parameters) for t in r.tools]),
    _member("a tool is required", "tool_choice", ToolChoice("required"), tools=TOOLS),
    Feature("this tool is required", replace(BASE, tools=TOOLS, tool_choice=ToolChoice("named", "weather")), _required),
    _member("no tool", "tool_choice", ToolChoice("none"), tools=TOOLS),
    _member("one call at a time", "parallel_tools", value=False, tools=TOOLS),
    Feature(
        "strict tools", replace(BASE, tools=(replace(TOOLS[0], strict=True),)), lambda r: [t.strict for t in r.tools]
    ),
    _talk("tool result", ASK, CALLED, Message("user", (ToolResult(call_id="call_1", parts=(Text("12"),)),))),
    _talk(
        "tool result, failed",
        ASK,
        CALLED,
        Message("user", (ToolResult(call_id="call_1", parts=(Text("12"),), is_error=True),)),
        said=lambda request: [result.is_error for result in _results(request)],
    ),
    _talk(
        "tool result, image",
        ASK,
        CALLED,
        Message("user", (ToolResult(call_id="call_1", parts=(Image(data=DATA, media_type="image/png"),)),)),
        said=lambda request: [[type(part) for part in result.parts] for result in _results(request)],
    ),
    Feature(
        "JSON schema",
        replace(BASE, response_format=ResponseFormat(type="json_schema", schema=SCHEMA, name="answer")),
        lambda request: request.response_format and (request.response_format.type, request.response_format.schema),
    ),
    Feature(
        "JSON object",
        replace(BASE, response_format=ResponseFormat(type="json_object")),
        lambda request: request.response_format and request.response_format.type,
    ),
    Feature("reasoning effort", replace(BASE, reasoning=ReasoningOptions(effort="high")), _effort),
    Feature("no reasoning", replace(BASE, reasoning=ReasoningOptions(effort="none")), _effort),
    Feature(
        "reasoning budget",
        replace(BASE, reasoning=ReasoningOptions(budget_tokens=2000)),
        lambda request: request.reasoning and request.reasoning.budget_tokens,
    ),
    Feature(
        "earlier thinking",
        replace(BASE, messages=(ASK, Message("assistant", (Reasoning(text="Hm."), Text("Paris."))), ASK)),
        _thoughts,
    ),
    _sampling(temperature=0.5),
    _sampling(top_p=0.5),
    _sampling(top_k=7),
    _sampling(min_p=0.25),
    _sampling(frequency_penalty=0.5),
    _sampling(presence_penalty=0.5),
    _sampling(repetition_penalty=1.5),
    _sampling(seed=7),
    _sampling(logit_bias={"50256": -100.0}),
    _sampling(logprobs=True),
    _member("stop sequences", "stop", ("END", "STOP")),
    _member("n", "n", 2),
    _member("user", "user", "u-1"),
    _member("metadata", "metadata", {"team": "a"}),
    _member("service tier", "service_tier", "default"),
]


@dataclass(frozen=True)
class Fate:
    word: str
    """`kept`, `fetched`, `bent`, `dropped`, `unsaid` (the caller's dialect has no word for it) or `lost` (unnamed)."""
    losses: tuple[str, ...] = ()


def addressed(dialect: Dialect) -> Addressed | None:
    return Addressed("m", stream=False) if dialect.name == "gemini" else None


def fate(feature: Feature, caller: Dialect, upstream: Dialect) -> Fate:
    """What becomes of it on the way."""
    asked = caller.parse_request(caller.build_request(feature.request).body, addressed(caller))
    nothing, said = feature.said(BASE), feature.said(asked)
    if said != feature.said(feature.request) and feature.request != BASE:
        return Fate("unsaid")
    if feature.name == "image, URL" and not upstream.by_url:
        return Fate("fetched")
    built = upstream.build_request(asked)
    arrived = feature.said(upstream.parse_request(built.body, addressed(upstream)))
    if arrived == said:
        return Fate("kept")
    if not built.losses:
        return Fate("lost")
    return Fate("dropped" if arrived in (nothing, None, [], ()) else "bent", built.losses)


def all_fates() -> dict[tuple[str, str, str], Fate]:
    """By feature, caller's and upstream's dialect."""
    return {
        (feature.name, caller, upstream): fate(feature, get(caller), get(upstream))
        for feature in FEATURES
        for caller in DIALECTS
        for upstream in DIALECTS
    }
