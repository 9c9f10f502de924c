"""A caller's request on this wire, read into the canonical one."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import msgspec

from trivium.dialects.base import Addressed
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
from trivium.dialects.request import ChatReader, given, joined_results, missing, split_data_url
from trivium.errors import InvalidRequest
from trivium.types.message import Audio, File, Image, Message, Part, Reasoning, Refusal, Text, ToolCall, ToolResult
from trivium.types.request import ReasoningOptions, Request, ResponseFormat, Sampling, Tool, ToolChoice

_read = ChatReader(Body, peek)
_DEFAULT_CACHE = "5m"
_beside = attrgetter("refusal", "reasoning", "reasoning_content", "reasoning_details", "tool_calls")

ContentPart = TextPart | ImagePart | AudioPart | FilePart | RefusalPart


def parse_request(body: bytes, _addressed: Addressed | None = None, /) -> Request:
    """Read a whole request. Raises InvalidRequest naming the field's path."""
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
    return Sampling(  # name by name: nothing that goes over the names costs as little
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
    return joined_results(read) if ToolMessage in map(type, wires) else tuple(read)


def _message(wire: ChatMessage, number: int) -> Message:
    parts: Any = _parts(wire.content, number)
    if type(wire) is AssistantMessage:
        return Message("assistant", _assistant(wire, parts), wire.name)
    if type(wire) is ToolMessage:
        return Message("user", (ToolResult(call_id=wire.tool_call_id, parts=parts, name=wire.name),))
    return Message("user" if type(wire) is UserMessage else "system", parts, wire.name)


def _assistant(wire: AssistantMessage, parts: tuple[Part, ...]) -> tuple[Part, ...]:
    if not any(_beside(wire)):
        return parts
    calls = (
        ToolCall(id=call.id, name=call.function.name, arguments=call.function.arguments)
        for call in wire.tool_calls or ()
    )
    refusals = (Refusal(wire.refusal),) if wire.refusal else ()
    return (*_thoughts(wire), *parts, *refusals, *calls)


def _thoughts(wire: AssistantMessage) -> list[Reasoning]:
    if wire.reasoning_details:
        return [_thought(detail) for detail in wire.reasoning_details]
    text = wire.reasoning_content or wire.reasoning
    return [Reasoning(text=text)] if text else []


def _thought(detail: ReasoningDetail) -> Reasoning:
    return Reasoning(**given(**{name: getattr(detail, name) for name in Reasoning.__struct_fields__}))


def _parts(content: str | Sequence[ContentPart] | None, message: int) -> tuple[Part, ...]:
    """Content as parts; empty texts say nothing and are left out."""
    if content is None or isinstance(content, str):
        return (Text(content),) if content else ()
    return tuple(
        _part(wire, f"messages[{message}].content[{number}]")
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
