"""The canonical request in the bytes of this wire, for an upstream of its shape."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from trivium.dialects.base import Built
from trivium.types.message import (
    Audio,
    File,
    Image,
    Message,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
)
from trivium.types.request import ReasoningOptions, Request, ResponseFormat, Sampling, Tool, ToolChoice

OWN_FIELDS = frozenset(
    {
        "audio",
        "modalities",
        "moderation",
        "prediction",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "store",
        "verbosity",
        "web_search_options",
    }
)
"""Fields of `Request.extra` that are this API's own and are written back; all others are losses."""

_SAID_SAMPLING = (
    "temperature",
    "top_p",
    "frequency_penalty",
    "presence_penalty",
    "seed",
    "logit_bias",
    "logprobs",
    "top_logprobs",
)
_UNSAID_SAMPLING = ("top_k", "min_p", "repetition_penalty")
_DEFAULT_MEDIA = "application/octet-stream"

Json = dict[str, Any]


class _Losses(list[str]):
    """Names of what could not be said, each once."""

    def add(self, name: str, *, when: object = True) -> None:
        if when and name not in self:
            self.append(name)


def build_request(request: Request) -> Built:
    """Write a request; `max_tokens` is the name that all servers of this shape know."""
    losses = _Losses()
    body: Json = {"model": request.model}
    body["messages"] = [wire for message in request.messages for wire in _message(message, losses)]
    if request.max_output_tokens is not None:
        body["max_tokens"] = request.max_output_tokens
    if request.stream:
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}
    if request.tools:
        body["tools"] = [_tool(tool, losses) for tool in request.tools]
    if request.tool_choice is not None:
        body["tool_choice"] = _tool_choice(request.tool_choice)
    if request.parallel_tools is not None:
        body["parallel_tool_calls"] = request.parallel_tools
    if request.response_format is not None:
        body["response_format"] = _response_format(request.response_format)
    if request.reasoning is not None:
        _reasoning(request.reasoning, body, losses)
    _sampling(request.sampling, body, losses)
    _rest(request, body, losses)
    return Built(msgspec.json.encode(body), tuple(losses))


def _rest(request: Request, body: Json, losses: _Losses) -> None:
    if request.stop:
        body["stop"] = list(request.stop)
    if request.n > 1:
        body["n"] = request.n
    if request.user is not None:
        body["user"] = request.user
    if request.metadata:
        body["metadata"] = request.metadata
    if request.service_tier is not None:
        body["service_tier"] = request.service_tier
    for name, value in request.extra.items():
        if name in OWN_FIELDS:
            body[name] = value
        else:
            losses.add(name)


def _sampling(sampling: Sampling, body: Json, losses: _Losses) -> None:
    for name in _SAID_SAMPLING:
        value = getattr(sampling, name)
        if value is not None:
            body[name] = value
    for name in _UNSAID_SAMPLING:
        losses.add(name, when=getattr(sampling, name) is not None)


def _reasoning(options: ReasoningOptions, body: Json, losses: _Losses) -> None:
    if options.effort is not None:
        body["reasoning_effort"] = "xhigh" if options.effort == "max" else options.effort
    losses.add("reasoning.effort", when=options.effort == "max")
    losses.add("reasoning.budget_tokens", when=options.budget_tokens is not None)
    losses.add("reasoning.exclude", when=options.exclude)
    losses.add("reasoning.summary", when=options.summary is not None)


def _tool(tool: Tool, losses: _Losses) -> Json:
    losses.add("cache_control", when=tool.cache)
    function: Json = {"name": tool.name, "parameters": tool.parameters}
    if tool.description is not None:
        function["description"] = tool.description
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _tool_choice(choice: ToolChoice) -> str | Json:
    if choice.mode == "named":
        return {"type": "function", "function": {"name": choice.name}}
    return choice.mode


def _response_format(wanted: ResponseFormat) -> Json:
    if wanted.type != "json_schema":
        return {"type": wanted.type}
    schema: Json = {"name": wanted.name or "answer"}
    for name in ("schema", "description", "strict"):
        value = getattr(wanted, name)
        if value is not None:
            schema[name] = value
    return {"type": "json_schema", "json_schema": schema}


def _message(message: Message, losses: _Losses) -> Iterable[Json]:
    """One message may be several here: every tool result is a message of its own, before the user's words."""
    if message.role == "assistant":
        wire = _assistant(message, losses)
    else:
        results = [part for part in message.parts if isinstance(part, ToolResult)]
        yield from (_result(result, losses) for result in results)
        moved = [part for result in results for part in result.parts if not isinstance(part, Text)]
        parts = [*moved, *(part for part in message.parts if not isinstance(part, ToolResult))]
        if results and not parts:
            return
        wire = {"role": message.role, "content": _content(parts, losses)}
    if message.name is not None:
        wire["name"] = message.name
    yield wire


def _result(result: ToolResult, losses: _Losses) -> Json:
    """Only text may stand in a tool's message; other parts move into the user's message that follows."""
    losses.add("messages.tool_result.is_error", when=result.is_error)
    losses.add("messages.tool_result.name", when=result.name)
    losses.add("cache_control", when=result.cache)
    texts = [part for part in result.parts if isinstance(part, Text)]
    losses.add("messages.tool_result.media_position", when=len(texts) < len(result.parts))
    return {"role": "tool", "tool_call_id": result.call_id, "content": _content(texts, losses)}


def _assistant(message: Message, losses: _Losses) -> Json:
    said = [part for part in message.parts if isinstance(part, Text | Refusal)]
    calls = [_call(part, losses) for part in message.parts if isinstance(part, ToolCall)]
    for part in message.parts:
        if not isinstance(part, Text | Refusal | ToolCall | Reasoning):
            losses.add(f"messages.assistant.{type(part).__name__.lower()}")
    wire: Json = {"role": "assistant", "content": _content(said, losses) if said or not calls else None}
    if thoughts := _thoughts(message, losses):
        wire["reasoning_content"] = thoughts
    if calls:
        wire["tool_calls"] = calls
    return wire


def _call(call: ToolCall, losses: _Losses) -> Json:
    losses.add("messages.tool_call.signature", when=call.signature)
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _thoughts(message: Message, losses: _Losses) -> str:
    """Thinking that a server of this shape may have written; what is signed or sealed belongs to another wire."""
    texts: list[str] = []
    for part in message.parts:
        if not isinstance(part, Reasoning):
            continue
        if part.signature or part.encrypted or not part.text:
            losses.add("messages.reasoning")
        else:
            losses.add("messages.reasoning.summary", when=part.summary)
            losses.add("messages.reasoning.id", when=part.id or part.format)
            texts.append(part.text)
    losses.add("messages.reasoning.parts", when=len(texts) > 1)
    return "\n\n".join(texts)


def _content(parts: Sequence[Part], losses: _Losses) -> str | list[Json]:
    """One text is a string, which every server takes; anything else a list of parts."""
    if not parts:
        return ""
    wires = [wire for part in parts if (wire := _part(part, losses)) is not None]
    if len(wires) == 1 and wires[0]["type"] == "text":
        return wires[0]["text"]
    return wires


def _part(part: Part, losses: _Losses) -> Json | None:
    losses.add("cache_control", when=getattr(part, "cache", None))
    match part:
        case Text():
            losses.add("messages.citations", when=part.citations)
            return {"type": "text", "text": part.text}
        case Refusal():
            return {"type": "refusal", "refusal": part.text}
        case Image():
            return _image(part)
        case Audio():
            return {"type": "input_audio", "input_audio": {"data": part.data, "format": part.format}}
        case File():
            return _file(part, losses)
        case _:
            losses.add(f"messages.{type(part).__name__.lower()}")
            return None


def _image(image: Image) -> Json:
    url = image.url if image.data is None else f"data:{image.media_type or _DEFAULT_MEDIA};base64,{image.data}"
    wire: Json = {"url": url}
    if image.detail is not None:
        wire["detail"] = image.detail
    return {"type": "image_url", "image_url": wire}


def _file(file: File, losses: _Losses) -> Json | None:
    wire: Json = {}
    if file.name is not None:
        wire["filename"] = file.name
    if file.data is not None:
        wire["file_data"] = f"data:{file.media_type or _DEFAULT_MEDIA};base64,{file.data}"
    elif file.file_id is not None:
        wire["file_id"] = file.file_id
    else:
        losses.add("messages.file.url")
        return None
    return {"type": "file", "file": wire}
