"""A caller's request on this wire, read into the canonical one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from trivium.dialects.common import invalid
from trivium.dialects.openai_chat.head import peek
from trivium.dialects.openai_chat.wire import (
    KNOWN_FIELDS,
    AssistantMessage,
    AudioPart,
    Body,
    CacheControl,
    ChatMessage,
    FilePart,
    ImagePart,
    JsonObjectFormat,
    JsonSchemaFormat,
    NamedTool,
    ReasoningDetail,
    RefusalPart,
    TextPart,
    ToolDefinition,
    ToolMessage,
    UserMessage,
)
from trivium.errors import InvalidRequest
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
from trivium.wire.json import is_null, members

_BODY = msgspec.json.Decoder(Body)
_DATA_URL = re.compile(r"data:(?P<type>[^;,]*)(?:;[^;,]*)*;base64,(?P<data>.*)", re.DOTALL)
_DEFAULT_CACHE = "5m"

ContentPart = TextPart | ImagePart | AudioPart | FilePart | RefusalPart


def parse_request(body: bytes) -> Request:
    """Read a whole request. Raises InvalidRequest naming the field's path."""
    peek(body)
    try:
        wire = _BODY.decode(body)
        extra = _extra(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise invalid(error) from None
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


def _extra(body: bytes) -> dict[str, Any]:
    fields = members(body)
    return {
        name: msgspec.json.decode(value)
        for name, value in fields.items()
        if name not in KNOWN_FIELDS and not is_null(value)
    }


def _sampling(wire: Body) -> Sampling:
    return Sampling(
        temperature=wire.temperature,
        top_p=wire.top_p,
        top_k=wire.top_k,
        min_p=wire.min_p,
        frequency_penalty=wire.frequency_penalty,
        presence_penalty=wire.presence_penalty,
        repetition_penalty=wire.repetition_penalty,
        seed=wire.seed,
        logit_bias=wire.logit_bias,
        logprobs=wire.logprobs,
        top_logprobs=wire.top_logprobs,
    )


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
    if isinstance(wire.tool_choice, NamedTool):
        return ToolChoice("named", wire.tool_choice.function.name)
    return None if wire.tool_choice is None else ToolChoice(wire.tool_choice)


def _response_format(wire: Body) -> ResponseFormat | None:
    match wire.response_format:
        case None:
            return None
        case JsonSchemaFormat(json_schema=schema):
            return ResponseFormat(
                type="json_schema",
                schema=schema.schema,
                name=schema.name,
                description=schema.description,
                strict=schema.strict,
            )
        case JsonObjectFormat():
            return ResponseFormat(type="json_object")
        case _:
            return ResponseFormat()


def _reasoning_options(wire: Body) -> ReasoningOptions | None:
    """`reasoning_effort` is the shorthand for a routing service's `reasoning`."""
    options = wire.reasoning
    exclude = wire.include_reasoning is False or (options is not None and options.exclude is True)
    if options is None:
        if wire.reasoning_effort is None and not exclude:
            return None
        return ReasoningOptions(effort=wire.reasoning_effort, exclude=exclude)
    effort = options.effort or wire.reasoning_effort
    if effort is None and options.max_tokens is None and options.enabled is not None:
        effort = "medium" if options.enabled else "none"
    return ReasoningOptions(effort=effort, budget_tokens=options.max_tokens, exclude=exclude, summary=options.summary)


def _messages(wires: list[ChatMessage]) -> tuple[Message, ...]:
    messages: list[Message] = []
    results: list[ToolResult] = []
    for number, wire in enumerate(wires):
        if isinstance(wire, ToolMessage):
            results.append(_result(wire, f"messages[{number}].content"))
            continue
        if results:
            messages.append(Message("user", tuple(results)))
            results = []
        messages.append(_message(wire, f"messages[{number}].content"))
    if results:
        messages.append(Message("user", tuple(results)))
    return tuple(messages)


def _message(wire: ChatMessage, where: str) -> Message:
    if isinstance(wire, AssistantMessage):
        return Message("assistant", (*_thoughts(wire), *_said(wire, where), *_calls(wire)), wire.name)
    role = "user" if isinstance(wire, UserMessage) else "system"
    return Message(role, _parts(wire.content, where), wire.name)


def _result(wire: ToolMessage, where: str) -> ToolResult:
    parts: Any = _parts(wire.content, where)
    return ToolResult(call_id=wire.tool_call_id, parts=parts, name=wire.name)


def _said(wire: AssistantMessage, where: str) -> tuple[Part, ...]:
    parts = _parts(wire.content or "", where)
    return (*parts, Refusal(wire.refusal)) if wire.refusal else parts


def _calls(wire: AssistantMessage) -> list[ToolCall]:
    return [
        ToolCall(id=call.id, name=call.function.name, arguments=call.function.arguments)
        for call in wire.tool_calls or ()
    ]


def _thoughts(wire: AssistantMessage) -> list[Reasoning]:
    if wire.reasoning_details:
        return [thought(detail) for detail in wire.reasoning_details]
    text = wire.reasoning_content or wire.reasoning
    return [Reasoning(text=text)] if text else []


def thought(detail: ReasoningDetail) -> Reasoning:
    """One entry of `reasoning_details`."""
    return Reasoning(
        text=detail.text or "",
        summary=detail.summary,
        signature=detail.signature,
        encrypted=detail.data,
        id=detail.id,
        format=detail.format,
    )


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
    match wire:
        case TextPart():
            return Text(wire.text, cache=_cache(wire.cache_control))
        case ImagePart():
            return _image(wire, where)
        case AudioPart():
            return Audio(data=wire.input_audio.data, format=wire.input_audio.format)
        case FilePart():
            return _file(wire, where)
        case RefusalPart():
            return Refusal(wire.refusal)


def _image(wire: ImagePart, where: str) -> Image:
    url, detail, cache = wire.image_url.url, wire.image_url.detail, _cache(wire.cache_control)
    if not url.startswith("data:"):
        return Image(url=url, detail=detail, cache=cache)
    media_type, data = _data_url(url, f"{where}.image_url.url")
    return Image(data=data, media_type=media_type, detail=detail, cache=cache)


def _file(wire: FilePart, where: str) -> File:
    file, cache = wire.file, _cache(wire.cache_control)
    data = file.file_data
    if data is None:
        if file.file_id is None:
            raise InvalidRequest(
                f"`{where}.file` has neither `file_data` nor `file_id`.",
                remedy="Send one of them.",
                param=f"{where}.file",
            )
        return File(file_id=file.file_id, name=file.filename, cache=cache)
    if data.startswith(("https://", "http://")):
        return File(url=data, name=file.filename, cache=cache)
    media_type, data = _data_url(data, f"{where}.file.file_data") if data.startswith("data:") else (None, data)
    return File(data=data, media_type=media_type, name=file.filename, cache=cache)


def _data_url(url: str, where: str) -> tuple[str | None, str]:
    """Media type and base64 text of a `data:` URL (RFC 2397)."""
    found = _DATA_URL.fullmatch(url)
    if found is None:
        raise InvalidRequest(
            f"`{where}` is not a base64 `data:` URL.",
            remedy="Write it as `data:image/png;base64,…`.",
            param=where,
        )
    return found["type"] or None, found["data"]


def _cache(mark: CacheControl | None) -> str | None:
    return None if mark is None else mark.ttl or _DEFAULT_CACHE
