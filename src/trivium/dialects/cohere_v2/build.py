"""Requests towards an upstream: the canonical request as the body of `POST /chat`.

https://docs.cohere.com/reference/chat
"""

from __future__ import annotations

from typing import Any

import msgspec

from trivium.dialects.base import Built
from trivium.dialects.cohere_v2.wire import assistant_members
from trivium.dialects.common import Json
from trivium.dialects.request import (
    Losses,
    apart,
    data_url,
    file_text,
    given,
    has_text,
    is_textual,
    own_extra,
    plain_text,
    sampling_members,
)
from trivium.types.message import File, Image, Message, Part, Text, ToolResult
from trivium.types.request import ReasoningOptions, Request, ResponseFormat, Sampling, Tool, ToolChoice
from trivium.wire.json import BROKEN

OWN_FIELDS = frozenset({"citation_options", "priority", "safety_mode"})
"""Fields of `Request.extra` that this dialect put there and writes back."""

STOPS_MAX = 5
SAMPLING = {
    "temperature": "temperature",
    "top_p": "p",
    "top_k": "k",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "seed": "seed",
    "logprobs": "logprobs",
}
_RANGES = {
    "temperature": (0, 1),
    "top_p": (0.01, 0.99),
    "top_k": (0, 500),
    "frequency_penalty": (0, 1),
    "presence_penalty": (0, 1),
    "seed": (0, 2**64 - 1),
}
"""What the API takes; it refuses all beyond."""
_DETAILS = frozenset({None, "auto", "low", "high"})


def build_request(request: Request) -> Built:
    """The request's bytes; what the API has no word for is named in the losses."""
    losses = Losses()
    conversation = _Conversation(request.messages, losses)
    tools, choice = _chosen(request.tools, request.tool_choice, losses)
    body = given(
        model=request.model,
        messages=conversation.wires,
        documents=conversation.documents or None,
        stream=request.stream or None,
        max_tokens=request.max_output_tokens,
        tools=[_tool(tool, losses) for tool in tools] or None,
        tool_choice=choice,
        strict_tools=_strict(tools, losses),
        response_format=request.response_format and _format(request.response_format, losses),
        thinking=request.reasoning and _thinking(request.reasoning, losses),
        stop_sequences=request.stop[:STOPS_MAX] or None,
    )
    body |= sampling_members(_within(request.sampling, losses), SAMPLING, losses)
    losses.add("stop", when=len(request.stop) > STOPS_MAX)
    losses.add("n", when=request.n > 1)
    losses.add("parallel_tool_calls", when=request.parallel_tools is False)
    for name in ("user", "metadata", "service_tier"):
        losses.add(name, when=getattr(request, name))
    return Built(msgspec.json.encode(body | own_extra(request.extra, OWN_FIELDS, losses)), tuple(losses))


class _Conversation:
    """The messages as this wire has them, and apart from them the documents."""

    def __init__(self, messages: tuple[Message, ...], losses: Losses) -> None:
        self._losses = losses
        self.documents: list[Json] = []
        self._last = next((said for said in reversed(messages) if said.role == "user" and _asks(said)), None)
        self.wires = [wire for message in messages for wire in self._message(message)]

    def _message(self, message: Message) -> list[Json]:
        if text := plain_text(message):
            return [{"role": message.role, "content": text}]
        self._losses.add("name", when=message.name)
        if message.role == "assistant":
            wire = assistant_members(message.parts, self._losses, "messages.")
            if "content" in wire and "citations" not in wire:
                wire["content"] = _plain(wire["content"])
            return [{"role": "assistant"} | wire] if wire else []
        results, parts = apart(message, self._losses)
        wires = [self._result(result) for result in results]
        content = self._content(parts, message)
        return [*wires, {"role": message.role, "content": content}] if content else wires

    def _content(self, parts: list[Part], message: Message) -> str | list[Json]:
        blocks: list[Json] = []
        first = message is self._last
        for part in parts:
            if isinstance(part, File):
                self._losses.add("messages.file.position", when=not first)
                self.documents += self._document(part)
                continue
            first = False
            if (block := self._block(part, message.role)) is not None:
                blocks.append(block)
        return _plain(blocks)

    def _block(self, part: Part, role: str) -> Json | None:
        self._losses.add("cache_control", when=getattr(part, "cache", None))
        match part:
            case Text():
                self._losses.add("messages.citations", when=part.citations)
                return {"type": "text", "text": part.text} if part.text else None
            case Image() if role == "user":
                self._losses.add("messages.image.detail", when=part.detail not in _DETAILS)
                url = part.url if part.data is None else data_url(part.data, part.media_type)
                detail = part.detail if part.detail in _DETAILS else None
                return {"type": "image_url", "image_url": given(url=url, detail=detail)}
            case _:
                self._losses.add(f"messages.{role}.{type(part).__name__.lower()}")
                return None

    def _document(self, file: File) -> list[Json]:
        """A document of text, as the API recommends it: with a title and a snippet, or with members of its own."""
        self._losses.add("cache_control", when=file.cache)
        text = file_text(file) if has_text(file) else None
        if text is None:
            self._losses.add("messages.file")
            return []
        if file.media_type == "application/json" and (data := _object(text)) is not None:
            return [given(id=file.name, data=data)]
        self._losses.add("messages.file.media_type", when=file.media_type != "text/plain")
        return [{"data": given(title=file.name, snippet=text)}]

    def _result(self, result: ToolResult) -> Json:
        self._losses.add("messages.tool_result.is_error", when=result.is_error)
        self._losses.add("messages.tool_result.name", when=result.name)
        self._losses.add("cache_control", when=result.cache)
        content: list[Json] = []
        for part in result.parts:
            if isinstance(part, File) and is_textual(part):
                content += [{"type": "document", "document": document} for document in self._document(part)]
            elif isinstance(part, Text) and (block := self._block(part, "tool")):
                content.append(block)
        return {"role": "tool", "tool_call_id": result.call_id, "content": _plain(content) or ""}


def _plain(blocks: list[Json]) -> str | list[Json]:
    """One text is a string, which the plainest servers of this dialect understand too."""
    return blocks[0]["text"] if len(blocks) == 1 and blocks[0]["type"] == "text" else blocks


def _asks(message: Message) -> bool:
    return any(not isinstance(part, ToolResult) for part in message.parts)


def _object(text: str) -> Json | None:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except BROKEN:
        return None


def _chosen(tools: tuple[Tool, ...], choice: ToolChoice | None, losses: Losses) -> tuple[tuple[Tool, ...], str | None]:
    """The tools, and whether one must or must not be called. To force one by name, only that one is offered."""
    if choice is None or choice.mode == "auto" or not tools:
        losses.add("tool_choice", when=choice and choice.mode in {"required", "named"})
        return tools, None
    if choice.mode == "named":
        named = tuple(tool for tool in tools if tool.name == choice.name)
        losses.add("tools" if named else "tool_choice.name", when=len(named) != len(tools))
        tools = named or tools
    return tools, "NONE" if choice.mode == "none" else "REQUIRED"


def _tool(tool: Tool, losses: Losses) -> Json:
    losses.add("cache_control", when=tool.cache)
    parameters = tool.parameters or {"type": "object", "properties": {}}
    return {"type": "function", "function": given(name=tool.name, description=tool.description, parameters=parameters)}


def _strict(tools: tuple[Tool, ...], losses: Losses) -> bool | None:
    """Strictness is of all tools or of none here."""
    wanted = {tool.strict for tool in tools}
    losses.add("tools.strict", when=len(wanted) > 1 and True in wanted)
    return wanted.pop() if len(wanted) == 1 else None


def _format(wanted: ResponseFormat, losses: Losses) -> Json:
    losses.add("response_format.description", when=wanted.description)
    if wanted.type == "text":
        return {"type": "text"}
    return {"type": "json_object"} | given(json_schema=wanted.schema)


def _thinking(options: ReasoningOptions, losses: Losses) -> Json:
    """Thinking is on or off, and may have a budget; how hard to try is the model's to find."""
    losses.add("reasoning.exclude", when=options.exclude)
    losses.add("reasoning.summary", when=options.summary)
    if options.effort == "none" or options.budget_tokens == 0:
        return {"type": "disabled"}
    budget = options.budget_tokens
    losses.add("reasoning.effort", when=options.effort not in ({None} if budget else {None, "medium"}))
    return {"type": "enabled"} | given(token_budget=budget)


def _within(sampling: Sampling, losses: Losses) -> Sampling:
    changes: dict[str, Any] = {}
    for name, (least, most) in _RANGES.items():
        value = getattr(sampling, name)
        if value is not None and not least <= value <= most:
            losses.add(name)
            changes[name] = min(max(value, least), most)
    return msgspec.structs.replace(sampling, **changes) if changes else sampling
