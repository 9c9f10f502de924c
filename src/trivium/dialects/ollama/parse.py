"""Requests of callers, read into the canonical one: a chat, or a prompt."""

from __future__ import annotations

import re
from collections import deque
from typing import Any

from trivium.dialects.base import Addressed
from trivium.dialects.common import MESSAGES_BYTES_FREE, PARTS_MAX, Json, check_size, converted, too_long
from trivium.dialects.ollama.head import peek, peek_prompt
from trivium.dialects.ollama.wire import SAMPLING, Call, ChatBody, Options, PromptBody, WireMessage
from trivium.dialects.request import BodyReader, arguments_of, joined_results
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
    if len(body) > MESSAGES_BYTES_FREE and sum(map(_parts, wire.messages)) > PARTS_MAX:
        raise too_long("messages")
    return _request(wire, extra, _messages(wire.messages), tuple(tool.tool() for tool in wire.tools or ()))


def parse_prompt(body: bytes, _addressed: Addressed | None = None, /) -> Request:
    """A prompt. Raises InvalidRequest naming the field's path."""
    peek_prompt(body)
    wire, extra = _read_prompt(body)
    if len(body) > MESSAGES_BYTES_FREE and len(wire.images or ()) > PARTS_MAX:
        raise too_long("images")
    system = (Message("system", (Text(wire.system),)),) if wire.system else ()
    asked = Message("user", (Text(wire.prompt), *_images(wire.images, "images")))
    return _request(wire, extra, (*system, asked), ())


def _parts(message: WireMessage) -> int:
    return len(message.images or ()) + len(message.tool_calls or ())


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
    return converted(known | whole, Options, "options"), rest


def _format(wanted: str | Json | None) -> ResponseFormat | None:
    if isinstance(wanted, dict):
        return ResponseFormat(type="json_schema", schema=wanted)
    return ResponseFormat(type="json_object") if wanted else None


def _reasoning(think: Any) -> ReasoningOptions | None:
    """`true` is what models with levels take for `medium`."""
    if isinstance(think, bool):
        return ReasoningOptions(effort="medium" if think else "none")
    return think and ReasoningOptions(effort=think)


def _messages(wires: list[WireMessage]) -> tuple[Message, ...]:
    """What callers do not name is given ids by its place, which stays the same as the conversation grows."""
    messages: list[Message] = []
    turn = _Calls()
    for number, wire in enumerate(wires):
        where = f"messages[{number}]"
        said: tuple[Any, ...] = (Text(wire.content),) if wire.content else ()
        said += _images(wire.images, f"{where}.images")
        if wire.role == "tool":
            call_id, name = turn.answered(wire, number)
            messages.append(Message("user", (ToolResult(call_id=call_id, parts=said, name=name),)))
            continue
        calls = [_call(call, number, index) for index, call in enumerate(wire.tool_calls or ())]
        if calls and wire.role != "assistant":
            param = f"{where}.tool_calls"
            raise InvalidRequest(f"`{param}` stands in a message of the {wire.role}.", remedy=_ROLES, param=param)
        if wire.role == "assistant":
            turn.begin(calls)
        thoughts: tuple[Part, ...] = (Reasoning(text=wire.thinking),) if wire.thinking else ()
        messages.append(Message(wire.role, (*thoughts, *said, *calls)))
    return joined_results(messages)


_ROLES = "Only the `assistant` calls tools."


def _call(wire: Call, number: int, index: int) -> ToolCall:
    where = f"messages[{number}].tool_calls[{index}].function.arguments"
    arguments = arguments_of(wire.function.arguments, where)
    return ToolCall(id=wire.id or f"call_{number}_{index}", name=wire.function.name, arguments=arguments)


class _Calls:
    """The tools of all calls so far, by id, and which calls of the last turn wait for a result."""

    def __init__(self) -> None:
        self._tools: dict[str, str] = {}
        self.begin([])

    def begin(self, calls: list[ToolCall]) -> None:
        """A turn with these calls."""
        self._order = deque(call.id for call in calls)
        self._named: dict[str, deque[str]] = {}
        self._answered: set[str] = set()
        for call in calls:
            self._tools[call.id] = call.name
            self._named.setdefault(call.name, deque()).append(call.id)

    def answered(self, wire: WireMessage, number: int) -> tuple[str, str | None]:
        """The call that a result is for, and the tool that it names where the call does not.

        By its id, else by the tool, else the first that waits.
        """
        name = wire.tool_name
        queues = (self._named.get(name or "", deque()), self._order)
        waiting = (queue.popleft() for queue in queues for _ in range(len(queue)))
        fitting = (call_id for call_id in waiting if call_id not in self._answered)
        call_id = wire.tool_call_id or next(fitting, f"call_{number}")
        self._answered.add(call_id)
        return call_id, None if self._tools.get(call_id) == name else name


def _images(images: list[str] | None, where: str) -> tuple[Image, ...]:
    return tuple(_image(data, f"{where}[{index}]") for index, data in enumerate(images or ()))


def _image(data: str, where: str) -> Image:
    if not _BASE64.fullmatch(data[:64]):
        raise InvalidRequest(
            f"`{where}` is not base64.", remedy="Send the image itself, without `data:` or a URL.", param=where
        )
    return Image(data=data, media_type=next((kind for start, kind in _KINDS.items() if data.startswith(start)), None))
