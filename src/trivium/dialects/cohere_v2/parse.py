"""Requests of callers: a body of `POST /chat` in the canonical vocabulary.

https://docs.cohere.com/reference/chat
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec

from trivium.dialects.base import Addressed
from trivium.dialects.cohere_v2.build import SAMPLING
from trivium.dialects.cohere_v2.head import Count, peek
from trivium.dialects.cohere_v2.wire import TOOL_PLAN, WireCitation, by_block, snippet
from trivium.dialects.common import Json, check_size, invalid
from trivium.dialects.request import BodyReader, ToolDefinition, joined_results, split_data_url
from trivium.types.message import File, Image, Message, Part, Reasoning, Text, ToolCall, ToolResult
from trivium.types.request import ReasoningOptions, Request, ResponseFormat, Sampling, ToolChoice
from trivium.wire.json import BROKEN


class _Text(msgspec.Struct, tag="text"):
    text: str


class _Thinking(msgspec.Struct, tag="thinking"):
    thinking: str


class _ImageUrl(msgspec.Struct):
    url: str
    detail: str | None = None


class _Image(msgspec.Struct, tag="image_url"):
    image_url: _ImageUrl


class _Document(msgspec.Struct):
    data: Json | str
    id: str | None = None


class _DocumentPart(msgspec.Struct, tag="document"):
    document: _Document


class _Function(msgspec.Struct):
    name: str
    arguments: str | None = None


class _Call(msgspec.Struct):
    id: str
    function: _Function
    type: Literal["function"] = "function"


class _System(msgspec.Struct, tag_field="role", tag="system"):
    content: str | list[_Text]


class _User(msgspec.Struct, tag_field="role", tag="user"):
    content: str | list[_Text | _Image]


class _Assistant(msgspec.Struct, tag_field="role", tag="assistant"):
    content: str | list[_Text | _Thinking] | None = None
    tool_plan: str | None = None
    tool_calls: list[_Call] | None = None
    citations: list[WireCitation] | None = None


class _Tool(msgspec.Struct, tag_field="role", tag="tool"):
    tool_call_id: str
    content: str | list[_Text | _DocumentPart]


_Message = _System | _User | _Assistant | _Tool


class _Format(msgspec.Struct):
    type: Literal["text", "json_object"]
    json_schema: Json | None = None
    schema: Json | None = None


class _ThinkingOptions(msgspec.Struct):
    type: Literal["enabled", "disabled"] = "enabled"
    token_budget: Count | None = None


class _Body(msgspec.Struct):
    model: str
    messages: list[_Message]
    stream: bool | None = None
    max_tokens: Count | None = None
    tools: list[ToolDefinition] | None = None
    tool_choice: Literal["REQUIRED", "NONE"] | None = None
    strict_tools: bool | None = None
    documents: list[str | _Document] | None = None
    response_format: _Format | None = None
    thinking: _ThinkingOptions | None = None
    stop_sequences: list[str] | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0)] | None = None
    p: float | None = None
    k: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    logprobs: bool | None = None


class _CitationOptions(msgspec.Struct):
    mode: Literal["ENABLED", "DISABLED", "FAST", "ACCURATE", "OFF"] | None = None


class _Own(msgspec.Struct):
    """What only this wire knows, which is kept for it as it is."""

    citation_options: _CitationOptions | None = None
    priority: int | None = None
    safety_mode: Literal["CONTEXTUAL", "STRICT", "OFF"] | None = None


_read = BodyReader(_Body)
_check_own = msgspec.json.Decoder(_Own).decode
_CHOICES = {"REQUIRED": ToolChoice("required"), "NONE": ToolChoice("none")}


def parse_request(body: bytes, _addressed: Addressed | None = None, /) -> Request:
    """The canonical request. Raises InvalidRequest naming the field's path."""
    check_size(peek(body).messages)
    wire, extra = _read(body)
    if extra:
        try:
            _check_own(body)
        except BROKEN as error:
            raise invalid(error) from None
    form = wire.response_format
    return Request(
        model=wire.model,
        messages=joined_results(_messages(wire)),
        max_output_tokens=wire.max_tokens,
        stream=wire.stream is True,
        tools=tuple(tool.tool(wire.strict_tools) for tool in wire.tools or ()),
        tool_choice=_CHOICES[wire.tool_choice] if wire.tool_choice else None,
        response_format=form and _format(form),
        reasoning=wire.thinking and _reasoning(wire.thinking),
        sampling=Sampling(**{ours: getattr(wire, theirs) for ours, theirs in SAMPLING.items()}),
        stop=tuple(wire.stop_sequences or ()),
        extra=extra,
    )


def _format(form: _Format) -> ResponseFormat:
    """`schema` is an older name, which the API's guides still use."""
    schema = form.schema if form.json_schema is None else form.json_schema
    if form.type == "text" or schema is None:
        return ResponseFormat(type=form.type)
    return ResponseFormat(type="json_schema", schema=schema)


def _reasoning(wire: _ThinkingOptions) -> ReasoningOptions:
    if wire.type == "disabled":
        return ReasoningOptions(effort="none")
    if wire.token_budget is not None:
        return ReasoningOptions(budget_tokens=wire.token_budget)
    return ReasoningOptions(effort="medium")


def _messages(wire: _Body) -> list[Message]:
    """The messages; the documents, which belong to the question, stand at the head of the user's last one."""
    messages = [_message(message, f"messages[{index}].content") for index, message in enumerate(wire.messages)]
    if wire.documents:
        files = tuple(_file(_Document(said) if isinstance(said, str) else said) for said in wire.documents)
        asked = [index for index, message in enumerate(wire.messages) if isinstance(message, _User)]
        if asked:
            messages[asked[-1]] = Message("user", files + messages[asked[-1]].parts)
        else:
            messages.append(Message("user", files))
    return messages


def _message(wire: _Message, where: str) -> Message:
    match wire:
        case _System():
            return Message("system", _parts(wire.content, where))
        case _User():
            return Message("user", _parts(wire.content, where))
        case _Tool():
            parts: Any = _parts(wire.content, where)
            return Message("user", (ToolResult(call_id=wire.tool_call_id, parts=parts),))
        case _Assistant():
            return Message("assistant", _assistant(wire))


def _assistant(wire: _Assistant) -> tuple[Part, ...]:
    plan = (Reasoning(text=wire.tool_plan, format=TOOL_PLAN),) if wire.tool_plan else ()
    blocks = [_Text(wire.content)] if isinstance(wire.content, str) else wire.content or []
    first = next((index for index, block in enumerate(blocks) if isinstance(block, _Text)), 0)
    cited = by_block(wire.citations or (), first)
    content = tuple(
        Text(block.text, citations=tuple(cited.pop(index, ())))
        if isinstance(block, _Text)
        else Reasoning(text=block.thinking)
        for index, block in enumerate(blocks)
        if block != _Text("") and block != _Thinking("")
    )
    calls = (
        ToolCall(id=call.id, name=call.function.name, arguments=call.function.arguments or "{}")
        for call in wire.tool_calls or ()
    )
    return (*plan, *content, *calls)


def _parts(content: str | Sequence[_Text | _Image | _DocumentPart], where: str) -> tuple[Part, ...]:
    """Content as parts; empty texts say nothing and are left out."""
    if isinstance(content, str):
        return (Text(content),) if content else ()
    return tuple(
        _part(wire, f"{where}[{index}].image_url.url") for index, wire in enumerate(content) if wire != _Text("")
    )


def _part(wire: _Text | _Image | _DocumentPart, where: str) -> Part:
    match wire:
        case _Text():
            return Text(wire.text)
        case _DocumentPart():
            return _file(wire.document)
        case _Image(image_url=image):
            if not image.url.startswith("data:"):
                return Image(url=image.url, detail=image.detail)
            media_type, data = split_data_url(image.url, where)
            return Image(data=data, media_type=media_type, detail=image.detail)


def _file(document: _Document) -> File:
    """A document as a file of plain text, or of JSON where it has members that a text with a name cannot hold.

    Its name is the id by which citations point at it, or else its title.
    """
    data, name = document.data, document.id
    if isinstance(data, str):
        return File(data=_base64(data), media_type="text/plain", name=name)
    title, text, others = data.get("title"), snippet(data), data.keys() - {"snippet", "text"}
    if isinstance(text, str) and len(data) - len(others) == 1:
        if not others:
            return File(data=_base64(text), media_type="text/plain", name=name)
        if others == {"title"} and isinstance(title, str) and name is None:
            return File(data=_base64(text), media_type="text/plain", name=title)
    return File(data=_base64(msgspec.json.encode(data).decode()), media_type="application/json", name=name)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
