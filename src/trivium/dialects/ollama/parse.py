"""Requests of callers, read into the canonical one: a chat, or a prompt."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from trivium.dialects.base import Addressed
from trivium.dialects.common import Json, check_size, invalid
from trivium.dialects.ollama.head import peek, peek_prompt
from trivium.dialects.ollama.wire import (
    NOTHING,
    SAMPLING,
    Call,
    ChatBody,
    Options,
    PromptBody,
    ToolDefinition,
    WireMessage,
)
from trivium.dialects.request import BodyReader, joined_results
from trivium.errors import InvalidRequest
from trivium.types.message import Image, Message, Part, Reasoning, Text, ToolCall, ToolResult
from trivium.types.request import ReasoningOptions, Request, ResponseFormat, Sampling, Tool

_read_chat = BodyReader(ChatBody)
_read_prompt = BodyReader(PromptBody)
_KNOWN_OPTIONS = frozenset(Options.__struct_fields__)
_BASE64 = re.compile(r"[A-Za-z0-9+/]+=*")
_KINDS = {"iVBORw0KGgo": "image/png", "/9j/": "image/jpeg", "R0lGOD": "image/gif", "UklGR": "image/webp"}
"""How base64 of images begins: this wire does not say what they are."""


def parse_request(body: bytes, _addressed: Addressed | None = None, /) -> Request:
    """A chat. Raises InvalidRequest naming the field's path."""
    check_size(peek(body).messages)
    wire, extra = _read_chat(body)
    return _request(wire, extra, _messages(wire.messages), tuple(map(_tool, wire.tools or ())))


def parse_prompt(body: bytes, _addressed: Addressed | None = None, /) -> Request:
    """A prompt. Raises InvalidRequest naming the field's path."""
    peek_prompt(body)
    wire, extra = _read_prompt(body)
    system = (Message("system", (Text(wire.system),)),) if wire.system else ()
    asked = Message("user", (Text(wire.prompt), *_images(wire.images, "images")))
    return _request(wire, extra, (*system, asked), ())


def _request(
    wire: ChatBody | PromptBody, extra: Json, messages: tuple[Message, ...], tools: tuple[Tool, ...]
) -> Request:
    options, others = _options(wire.options or {})
    sampling = {ours: getattr(options, theirs) for ours, theirs in SAMPLING.items()}
    limit = options.num_predict
    return Request(
        model=wire.model,
        messages=messages,
        max_output_tokens=limit if limit is not None and limit > 0 else None,
        stream=wire.stream is not False,
        tools=tools,
        response_format=_format(wire.format),
        reasoning=_reasoning(wire.think),
        sampling=Sampling(**sampling, logprobs=wire.logprobs, top_logprobs=wire.top_logprobs),
        stop=tuple(options.stop or ()),
        extra=extra | others,
    )


def _options(given: Json) -> tuple[Options, Json]:
    """Those that we know, and the rest under names like `options.num_ctx`. A whole number may be written as `1.0`."""
    known = {name: value for name, value in given.items() if name in _KNOWN_OPTIONS}
    whole = {name: int(value) for name, value in known.items() if isinstance(value, float) and value.is_integer()}
    rest = {f"options.{name}": value for name, value in given.items() if name not in known and value is not None}
    try:
        return msgspec.convert(known | whole, Options), rest
    except msgspec.ValidationError as error:
        raise invalid(error, "options") from None


def _format(wanted: str | Json | None) -> ResponseFormat | None:
    if isinstance(wanted, dict):
        return ResponseFormat(type="json_schema", schema=wanted)
    return ResponseFormat(type="json_object") if wanted else None


def _reasoning(think: Any) -> ReasoningOptions | None:
    """`true` is what models with levels take for `medium`."""
    if isinstance(think, bool):
        return ReasoningOptions(effort="medium" if think else "none")
    return think and ReasoningOptions(effort=think)


def _tool(wire: ToolDefinition) -> Tool:
    function = wire.function
    return Tool(name=function.name, description=function.description, parameters=function.parameters or {})


def _messages(wires: list[WireMessage]) -> tuple[Message, ...]:
    """What callers do not name is given ids by its place, which stays the same as the conversation grows."""
    messages: list[Message] = []
    waiting: list[ToolCall] = []
    tools: dict[str, str] = {}
    for number, wire in enumerate(wires):
        where = f"messages[{number}]"
        said: tuple[Any, ...] = (Text(wire.content),) if wire.content else ()
        said += _images(wire.images, f"{where}.images")
        if wire.role == "tool":
            messages.append(Message("user", (_result(wire, number, said, waiting, tools),)))
            continue
        calls = [_call(call, number, index) for index, call in enumerate(wire.tool_calls or ())]
        if calls and wire.role != "assistant":
            param = f"{where}.tool_calls"
            raise InvalidRequest(f"`{param}` stands in a message of the {wire.role}.", remedy=_ROLES, param=param)
        if wire.role == "assistant":
            waiting = calls.copy()
            tools |= {call.id: call.name for call in calls}
        thoughts: tuple[Part, ...] = (Reasoning(text=wire.thinking),) if wire.thinking else ()
        messages.append(Message(wire.role, (*thoughts, *said, *calls)))
    return joined_results(messages)


_ROLES = "Only the `assistant` calls tools."


def _call(wire: Call, number: int, index: int) -> ToolCall:
    arguments = "{}" if wire.function.arguments == NOTHING else bytes(wire.function.arguments).decode()
    if not arguments.startswith("{"):
        param = f"messages[{number}].tool_calls[{index}].function.arguments"
        raise InvalidRequest(f"`{param}` is not an object.", remedy="Send the call's arguments.", param=param)
    return ToolCall(id=wire.id or f"call_{number}_{index}", name=wire.function.name, arguments=arguments)


def _result(
    wire: WireMessage, number: int, said: tuple[Any, ...], waiting: list[ToolCall], tools: dict[str, str]
) -> ToolResult:
    """A result belongs to the call that it names by its id, else by its tool, else to the first without one.

    `waiting` are the calls of the last turn without a result, `tools` those of all calls, by id.
    """
    if wire.tool_call_id is not None:
        fitting = [call for call in waiting if call.id == wire.tool_call_id]
    else:
        fitting = [call for call in waiting if call.name == wire.tool_name] or waiting
    call_id = wire.tool_call_id or (fitting[0].id if fitting else f"call_{number}")
    if fitting:
        waiting.remove(fitting[0])
    return ToolResult(
        call_id=call_id, parts=said, name=None if tools.get(call_id) == wire.tool_name else wire.tool_name
    )


def _images(images: list[str] | None, where: str) -> tuple[Image, ...]:
    return tuple(_image(data, f"{where}[{index}]") for index, data in enumerate(images or ()))


def _image(data: str, where: str) -> Image:
    if not _BASE64.fullmatch(data[:64]):
        raise InvalidRequest(
            f"`{where}` is not base64.", remedy="Send the image itself, without `data:` or a URL.", param=where
        )
    return Image(data=data, media_type=next((kind for start, kind in _KINDS.items() if data.startswith(start)), None))
