"""What dialects share when they read and write requests: raw members, losses, sampling, tool results, files."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any, Generic, Literal, TypeVar, cast

import msgspec
from msgspec.structs import astuple, force_setattr

from trivium.dialects.common import (
    MESSAGES_BYTES_FREE,
    MODEL_NAME_BYTES_MAX,
    CommonHead,
    HeadDecoder,
    Json,
    ModelName,
    OnceDecoder,
    check_size,
    invalid,
)
from trivium.errors import InvalidRequest
from trivium.types.message import File, Message, Part, Text, ToolResult
from trivium.types.request import Request, Sampling, Tool, ToolChoice
from trivium.wire.json import BROKEN, is_null, is_utf8, join, members, raw
from trivium.wire.splice import splice_model

B = TypeVar("B", bound=msgspec.Struct)

DEFAULT_MEDIA = "application/octet-stream"

_DATA_URL = re.compile(r"data:(?P<type>[^;,]*)(?:;[^;,]*)*;base64,(?P<data>.*)", re.DOTALL)
_NEUTRAL: dict[str, object] = {
    "min_p": 0,
    "frequency_penalty": 0,
    "presence_penalty": 0,
    "repetition_penalty": 1,
    "logit_bias": {},
    "logprobs": False,
    "top_logprobs": 0,
}
"""Sampling parameters that have a value which asks for nothing."""
_SAMPLING = Sampling.__struct_fields__


class Losses(dict[str, None]):
    """Names of what could not be said, each once, in order; a caller may have sent very many."""

    def add(self, name: str, *, when: object = True) -> None:
        if when:
            self[name] = None


def given(**fields: Any) -> Json:
    """The members that have a value: None stands for what was left out."""
    return {name: value for name, value in fields.items() if value is not None}


def own_extra(extra: Json, own: frozenset[str], losses: Losses) -> Json:
    """The members of `extra` that are this dialect's own; all others are losses."""
    for name in extra:
        losses.add(name, when=name not in own)
    return {name: value for name, value in extra.items() if name in own}


_HEADS = ("models", "fallbacks", "provider", "trivium")
"""What is read from a request's head, and seen to there."""


class BodyReader(Generic[B]):
    """Decodes whole bodies; `__call__` gives the struct, and the members without a home in it, null ones aside."""

    def __init__(self, wire: type[B]) -> None:
        self._decode = msgspec.json.Decoder(wire).decode
        self._decode_known = msgspec.json.Decoder(_strict(wire)).decode
        self._known = {*wire.__struct_encode_fields__, *_HEADS}

    def __call__(self, body: bytes) -> tuple[B, Json]:
        """Raises InvalidRequest."""
        try:
            return self._decode_known(body), {}  # most bodies have no other members
        except BROKEN:
            pass
        try:
            wire = self._decode(body)
            rest = [(name, value) for name, value in members(body).items() if name not in self._known]
            return wire, {name: msgspec.json.decode(value) for name, value in rest if not is_null(value)}
        except BROKEN as error:
            raise invalid(error) from None


def _strict(wire: type[B], **fields: type) -> type[B]:
    """A body's struct that refuses other members; `fields` are of another type in it."""
    strict = msgspec.defstruct(
        wire.__name__, list(fields.items()), bases=(wire,), forbid_unknown_fields=True, kw_only=True
    )
    return cast("type[B]", strict)


class ChatReader(BodyReader[B]):
    """Of bodies with `model` and `messages`: one decode does for those in which the first look finds nothing."""

    def __init__(self, wire: type[B], peek: HeadDecoder[Any]) -> None:
        super().__init__(wire)
        self._peek = peek
        self._once = OnceDecoder(_strict(wire, model=ModelName)).once

    def __call__(self, body: bytes) -> tuple[B, Json]:
        """Raises InvalidRequest, as `peek` does and for too many messages."""
        if len(body) <= MESSAGES_BYTES_FREE and (body.isascii() or is_utf8(body)):
            try:
                wire, models = self._once(body)
            except BROKEN:
                pass
            else:
                plain: Any = wire
                if models == 1 and plain.messages and 0 < 4 * len(plain.model) <= MODEL_NAME_BYTES_MAX:
                    force_setattr(wire, "model", str(plain.model))  # a plain text again, for encoders
                    return wire, {}
        check_size(self._peek(body).messages)
        return super().__call__(body)


def missing(path: str, remedy: str) -> InvalidRequest:
    return InvalidRequest(f"`{path}` is missing.", remedy=remedy, param=path)


def sampling_members(sampling: Sampling, places: Mapping[str, str], losses: Losses) -> Json:
    """Sampling parameters by this wire's names (`places`: ours → its); one without a place that asks for something
    is a loss."""
    wire: Json = {}
    for name, value in zip(_SAMPLING, astuple(sampling), strict=True):
        if value is None:
            continue
        if name in places:
            wire[places[name]] = value
        else:
            losses.add(name, when=value != _NEUTRAL.get(name))
    return wire


class _Function(msgspec.Struct):
    name: str
    description: str | None = None
    parameters: Json | None = None


class ToolDefinition(msgspec.Struct):
    """A function as a caller offers it, on the wires that took OpenAI's shape over."""

    function: _Function
    type: Literal["function"] = "function"

    def tool(self, strict: bool | None = None) -> Tool:
        wire = self.function
        return Tool(name=wire.name, description=wire.description, parameters=wire.parameters or {}, strict=strict)


def tool_options(request: Request, tools: object, losses: Losses) -> tuple[ToolChoice | None, bool | None]:
    """Which tool shall be called, and whether several at once: both are refused where no tools go with them."""
    if tools:
        return request.tool_choice, request.parallel_tools
    losses.add("tool_choice", when=request.tool_choice and request.tool_choice.mode in {"required", "named"})
    return None, None


def data_url(data: str, media_type: str | None) -> str:
    """Base64 text as a `data:` URL (RFC 2397)."""
    return f"data:{media_type or DEFAULT_MEDIA};base64,{data}"


def split_data_url(url: str, where: str) -> tuple[str | None, str]:
    """Media type and base64 text of a `data:` URL. Raises InvalidRequest."""
    found = _DATA_URL.fullmatch(url)
    if found is None:
        raise InvalidRequest(
            f"`{where}` is not a base64 `data:` URL.", remedy="Write it as `data:image/png;base64,…`.", param=where
        )
    return found["type"] or None, found["data"]


_OURS = ("trivium", "models", "fallbacks")
"""Fields for Trivium alone, which strict upstreams refuse; `provider` is seen to before."""


def pass_request(
    body: bytes, head: CommonHead, model: str, *, stream: bool | None = None, ask_usage: bool = False
) -> bytes:
    """The caller's bytes with `model` spliced and `stream` as asked, where usage always comes and is not asked for."""
    del ask_usage
    restream = stream is not None and stream != head.stream
    has_ours = head.twin_sent is not msgspec.UNSET or head.models_sent is not msgspec.UNSET
    if not has_ours and not (restream and head.stream_sent is not msgspec.UNSET):
        if not restream and model == head.model:
            return body
        extra = b'"stream":%b' % (b"true" if stream else b"false") if restream else b""
        spliced = splice_model(body, head.model, model, head.messages, extra)
        if spliced is not None:
            return spliced
    values = members(body)
    for name in _OURS:
        values.pop(name, None)
    values["model"] = raw(model)
    if restream:
        values["stream"] = raw(stream)
    return join(values)


def plain_text(message: Message) -> str | None:
    """What a message says that is one text and nothing else, as most are; None for any other."""
    parts = message.parts
    if len(parts) != 1 or type(parts[0]) is not Text or message.name is not None:
        return None
    return None if parts[0].citations or parts[0].cache is not None else parts[0].text


def joined_results(messages: Iterable[Message]) -> tuple[Message, ...]:
    """The messages of a wire whose tool results are messages of their own: those in a row become one of the user."""
    done: list[Message] = []
    for are_results, run in groupby(messages, _only_results):
        if are_results:
            done.append(Message("user", tuple(part for message in run for part in message.parts)))
        else:
            done += run
    return tuple(done)


def _only_results(message: Message) -> bool:
    parts = message.parts
    return bool(parts) and type(parts[0]) is ToolResult and all(isinstance(part, ToolResult) for part in parts)


def apart(message: Message, losses: Losses) -> tuple[list[ToolResult], list[Part]]:
    """A message for such a wire: its tool results, in which only text may stand, and what follows them."""
    results = [part for part in message.parts if isinstance(part, ToolResult)]
    moved = [part for result in results for part in result.parts if not is_textual(part)]
    losses.add("messages.tool_result.media_position", when=moved)
    return results, [*moved, *(part for part in message.parts if not isinstance(part, ToolResult))]


_TEXTS = ("text/", "application/json")


def has_text(file: File) -> bool:
    """Whether a file is a document of text that stands in the request."""
    return file.data is not None and (file.media_type or "").startswith(_TEXTS)


def is_textual(part: Part) -> bool:
    return isinstance(part, Text) or (isinstance(part, File) and has_text(part))


def file_text(file: File) -> str | None:
    """The text of a file that has one; None where it is no base64 of UTF-8."""
    try:
        return base64.b64decode(file.data or "", validate=True).decode()
    except ValueError:
        return None


def arguments_of(value: msgspec.Raw, where: str) -> str:
    """The arguments of a caller's call, where they are an object; none are an empty one. Raises InvalidRequest."""
    text = "{}" if is_null(value) else bytes(value).decode()
    if not text.startswith("{"):
        raise InvalidRequest(f"`{where}` is not an object.", remedy="Send the call's arguments.", param=where)
    return text


_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


def is_object(text: str) -> bool:
    """Whether a text is a complete JSON object."""
    try:
        _OBJECT.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def tool_input(arguments: str) -> tuple[msgspec.Raw, bool]:
    """A call's arguments where they must be an object, and whether they were one (or empty).

    What a model wrote that is no object is kept under a key of our own rather than thrown away.
    """
    if not arguments.strip():
        return msgspec.Raw(b"{}"), True
    if is_object(arguments):
        return msgspec.Raw(arguments.strip().encode()), True
    return msgspec.Raw(msgspec.json.encode({"arguments": arguments})), False
