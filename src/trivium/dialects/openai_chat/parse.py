"""A caller's request on this wire, read into the canonical one."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import msgspec

from trivium.dialects.base import Addressed
from trivium.dialects.common import check_size
from trivium.dialects.openai_chat.head import peek
from trivium.dialects.openai_chat.wire import (
    AssistantMessage,
    AudioPart,
    Body,
    CacheControl,
    ChatMessage,
    FilePart,
    ImagePart,
    ReasoningDetail,
    RefusalPart,
    TextPart,
    ToolDefinition,
    ToolMessage,
    UserMessage,
)
from trivium.dialects.request import BodyReader, given, joined_results, missing, split_data_url
from trivium.errors import InvalidRequest
from trivium.types.message import Audio, File, Image, Message, Part, Reasoning, Refusal, Text, ToolCall, ToolResult
from trivium.types.request import ReasoningOptions, Request, ResponseFormat, Sampling, Tool, ToolChoice

_read = BodyReader(Body)
_DEFAULT_CACHE = "5m"
_SAMPLED = attrgetter(*Sampling.__struct_fields__)
_UNSAID = Sampling()

ContentPart = TextPart | ImagePart | AudioPart | FilePart | RefusalPart


def parse_request(body: bytes, _addressed: Addressed | None = None, /) -> Request:
    """Read a whole request. Raises InvalidRequest naming the field's path."""
    check_size(peek(body).messages)
    wire, extra = _read(body)
    for legacy, modern in (("functions", "tools"), ("function_call", "tool_choice")):
        if legacy in extra:
            raise InvalidRequest(
                f"`{legacy}` is not translated.", remedy=f"Send `{modern}` in its place.", param=legacy
            )
    return Request(
        model=wire.model,
        messages=_messages(wire.messages),
        max_output_tokens=wire.max_tokens if wire.max_completion_tokens is None else wire.max_completion_tokens,
        stream=wire.stream is True,
        include_usage=wire.stream_options is not None and wire.stream_options.include_usage is True,
        tools=tuple(map(_tool, wire.tools or ())),
        tool_choice=_tool_choice(wire),
        parallel_tools=wire.parallel_tool_calls,
        response_format=_response_format(wire),
        reasoning=_reasoning_options(wire),
        sampling=_sampling(wire),
        stop=(wire.stop,) if isinstance(wire.stop, str) else tuple(wire.stop or ()),
        n=wire.n or 1,
        user=wire.user,
        metadata=wire.metadata or {},
        service_tier=wire.service_tier,
        extra=extra,
    )


def _sampling(wire: Body) -> Sampling:
    values = _SAMPLED(wire)
    unsaid = values.count(None) == len(values)
    return _UNSAID if unsaid else Sampling(**dict(zip(Sampling.__struct_fields__, values, strict=True)))


def _tool(wire: ToolDefinition) -> Tool:
    function = wire.function
    return Tool(
        name=function.name,
        description=function.description,
        parameters=function.parameters or {},
        strict=function.strict,
        cache=_cache(wire.cache_control),
    )


def _tool_choice(wire: Body) -> ToolChoice | None:
    if isinstance(wire.tool_choice, ToolDefinition):
        return ToolChoice("named", wire.tool_choice.function.name)
    return None if wire.tool_choice is None else ToolChoice(wire.tool_choice)


def _response_format(wire: Body) -> ResponseFormat | None:
    form = wire.response_format
    if form is None or form.type != "json_schema":
        return form and ResponseFormat(type=form.type)
    if form.json_schema is None:
        raise missing("response_format.json_schema", "Send the schema that the answer shall have.")
    return ResponseFormat(type="json_schema", **msgspec.structs.asdict(form.json_schema))


def _reasoning_options(wire: Body) -> ReasoningOptions | None:
    """`reasoning_effort` is the shorthand for a routing service's `reasoning`."""
    options = wire.reasoning
    exclude = wire.include_reasoning is False or (options is not None and options.exclude is True)
    if options is None:
        if wire.reasoning_effort is None and not exclude:
            return None
        return ReasoningOptions(effort=wire.reasoning_effort, exclude=exclude)
    if options.effort and wire.reasoning_effort and options.effort != wire.reasoning_effort:
        raise InvalidRequest(
            "`reasoning_effort` and `reasoning.effort` differ.", remedy="Send one of them.", param="reasoning_effort"
        )
    effort = options.effort or wire.reasoning_effort
    if effort is None and options.max_tokens is None and options.enabled is not None:
        effort = "medium" if options.enabled else "none"
    return ReasoningOptions(effort=effort, budget_tokens=options.max_tokens, exclude=exclude, summary=options.summary)


def _messages(wires: list[ChatMessage]) -> tuple[Message, ...]:
    read = [_message(wire, number) for number, wire in enumerate(wires)]
    return joined_results(read) if any(type(wire) is ToolMessage for wire in wires) else tuple(read)


def _message(wire: ChatMessage, number: int) -> Message:
    if type(wire) is UserMessage and type(wire.content) is str:
        return Message("user", (Text(wire.content),) if wire.content else (), wire.name)
    where = f"messages[{number}].content"
    if isinstance(wire, ToolMessage):
        parts: Any = _parts(wire.content, where)
        return Message("user", (ToolResult(call_id=wire.tool_call_id, parts=parts, name=wire.name),))
    if isinstance(wire, AssistantMessage):
        return Message("assistant", _assistant(wire, where), wire.name)
    return Message("user" if isinstance(wire, UserMessage) else "system", _parts(wire.content, where), wire.name)


def _assistant(wire: AssistantMessage, where: str) -> tuple[Part, ...]:
    calls = (
        ToolCall(id=call.id, name=call.function.name, arguments=call.function.arguments)
        for call in wire.tool_calls or ()
    )
    refusals = (Refusal(wire.refusal),) if wire.refusal else ()
    return (*_thoughts(wire), *_parts(wire.content or "", where), *refusals, *calls)


def _thoughts(wire: AssistantMessage) -> list[Reasoning]:
    if wire.reasoning_details:
        return [_thought(detail) for detail in wire.reasoning_details]
    text = wire.reasoning_content or wire.reasoning
    return [Reasoning(text=text)] if text else []


def _thought(detail: ReasoningDetail) -> Reasoning:
    return Reasoning(**given(**{name: getattr(detail, name) for name in Reasoning.__struct_fields__}))


def _parts(content: str | Sequence[ContentPart], where: str) -> tuple[Part, ...]:
    """Content as parts; empty texts say nothing and are left out."""
    if isinstance(content, str):
        return (Text(content),) if content else ()
    return tuple(
        _part(wire, f"{where}[{number}]")
        for number, wire in enumerate(content)
        if not (isinstance(wire, TextPart) and not wire.text)
    )


def _part(wire: ContentPart, where: str) -> Part:
    cache = _cache(wire.cache_control)
    match wire:
        case TextPart():
            return Text(wire.text, cache=cache)
        case ImagePart(image_url=image):
            if not image.url.startswith("data:"):
                return Image(url=image.url, detail=image.detail, cache=cache)
            media_type, data = split_data_url(image.url, f"{where}.image_url.url")
            return Image(data=data, media_type=media_type, detail=image.detail, cache=cache)
        case AudioPart():
            return Audio(data=wire.input_audio.data, format=wire.input_audio.format)
        case FilePart():
            return _file(wire, cache, where)
        case RefusalPart():
            return Refusal(wire.refusal)


def _file(wire: FilePart, cache: str | None, where: str) -> File:
    name, data = wire.file.filename, wire.file.file_data
    if data is None:
        if wire.file.file_id is None:
            raise InvalidRequest(
                f"`{where}.file` has neither `file_data` nor `file_id`.",
                remedy="Send one of them.",
                param=f"{where}.file",
            )
        return File(file_id=wire.file.file_id, name=name, cache=cache)
    if data.startswith(("https://", "http://")):
        return File(url=data, name=name, cache=cache)
    media_type, data = split_data_url(data, f"{where}.file.file_data") if data.startswith("data:") else (None, data)
    return File(data=data, media_type=media_type, name=name, cache=cache)


def _cache(mark: CacheControl | None) -> str | None:
    return None if mark is None else mark.ttl or _DEFAULT_CACHE
