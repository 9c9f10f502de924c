"""Requests of callers: a body of `generateContent` in the canonical vocabulary.

https://ai.google.dev/api/generate-content
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from trivium.dialects.base import Addressed
from trivium.dialects.common import MESSAGES_MAX, PARTS_MAX, Json, converted, invalid, too_long
from trivium.dialects.gemini.build import SAMPLING, TIERS
from trivium.dialects.gemini.head import Config, GenerateHead, Thinking, peek
from trivium.dialects.gemini.media import kind_of, type_of
from trivium.dialects.gemini.schema import json_schema
from trivium.dialects.gemini.wire import REASONING_FORMAT, UNSIGNED, as_list, camel, in_camel_case
from trivium.dialects.request import BodyReader, arguments_of, given
from trivium.errors import InvalidRequest
from trivium.types.message import Audio, File, Image, Message, Part, Reasoning, Role, Text, ToolCall, ToolResult
from trivium.types.request import Effort, ReasoningOptions, Request, ResponseFormat, Sampling, Tool, ToolChoice
from trivium.wire.json import BROKEN, is_null


class _Blob(msgspec.Struct, rename="camel"):
    data: str
    mime_type: str = ""
    display_name: str | None = None


class _FileData(msgspec.Struct, rename="camel"):
    file_uri: str
    mime_type: str | None = None
    display_name: str | None = None


class _Call(msgspec.Struct):
    name: str
    args: msgspec.Raw = msgspec.Raw(b"{}")
    id: str | None = None


class _Response(msgspec.Struct):
    name: str
    response: Json | None = None
    id: str | None = None
    parts: list[_Part] | _Part | None = None


class _Part(msgspec.Struct, rename="camel"):
    """A part with the members that have a meaning in other dialects; one of the last five says what it is."""

    thought: bool | None = None
    thought_signature: str | None = None
    text: str | None = None
    inline_data: _Blob | None = None
    file_data: _FileData | None = None
    function_call: _Call | None = None
    function_response: _Response | None = None


class _Content(msgspec.Struct):
    parts: list[_Part] | _Part | None = None
    role: str | None = None


class _Members(msgspec.Struct):
    """A content as nothing but the names that stand in its parts."""

    parts: list[dict[str, msgspec.Raw]] | dict[str, msgspec.Raw] | None = None


class _Declaration(msgspec.Struct, rename="camel"):
    name: str
    description: str | None = None
    parameters: Json | None = None
    parameters_json_schema: Json | None = None


class _Calling(msgspec.Struct, rename="camel"):
    mode: str | None = None
    allowed_function_names: list[str] | None = None


class _ToolConfig(msgspec.Struct, rename="camel"):
    function_calling_config: _Calling | None = None


class _Body(msgspec.Struct, rename="camel"):
    contents: list[_Content] | _Content
    system_instruction: _Content | str | None = None
    tools: list[Json] | Json | None = None
    tool_config: Json | None = None
    generation_config: Json | None = None
    service_tier: str | None = None
    model: Any = None


_read = BodyReader(_Body)
_MEMBERS: msgspec.json.Decoder[list[_Members] | _Members] = msgspec.json.Decoder(list[_Members] | _Members)
_KNOWN = frozenset(_Part.__struct_encode_fields__)
_ROLES: dict[str, Role] = {"user": "user", "model": "assistant", "function": "user", "tool": "user"}
_MODES: dict[str, Literal["auto", "none", "required"]] = {
    "MODE_UNSPECIFIED": "auto",
    "AUTO": "auto",
    "VALIDATED": "auto",
    "ANY": "required",
    "NONE": "none",
}
_EFFORTS: tuple[Effort, ...] = ("minimal", "low", "medium", "high", "xhigh")
_LEVELS: Mapping[str, Effort | None] = {effort.upper(): effort for effort in _EFFORTS}
_TIERS = {"unspecified": ""} | {wire: ours for ours, wire in TIERS.items()}
_AUDIO = {"mpeg": "mp3", "x-wav": "wav", "wave": "wav"}
_OWN_FILE = re.compile(r"https?://[^/]+/v\d\w*/files/[\w-]+")
"""What the API calls a file that was uploaded to it."""


def parse_request(body: bytes, addressed: Addressed | None = None, /) -> Request:
    """The canonical request. Raises InvalidRequest naming the field's path."""
    head = peek(body, addressed)
    contents = bytes(head.messages)
    if contents.count(b"{") > 5 * PARTS_MAX:  # arguments and results are made of objects too
        raise too_long("contents")
    try:
        reader = _Reader(*_read(in_camel_case(body)))
        names = as_list(_MEMBERS.decode(contents))
        if len(names) > MESSAGES_MAX or sum(len(content.parts or ()) for content in names) > PARTS_MAX:
            raise too_long("contents")
        reader.lose_members(names)
        return reader.request(head)
    except BROKEN as error:
        raise invalid(error) from None


class _Calls:
    """Gives every call of a conversation an id and every result that of its call, since both may come without.

    The same beginning gets the same ids, so that a conversation keeps them from turn to turn.
    """

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._open: dict[str, deque[str]] = {}
        self._answered: set[str] = set()
        self._count = 0

    def begin(self, call_id: str | None, name: str) -> str:
        self._count += 1
        call_id = call_id or f"call_{self._count}"
        self._names[call_id] = name
        self._open.setdefault(name, deque()).append(call_id)
        return call_id

    def answer(self, call_id: str | None, name: str) -> tuple[str, str | None]:
        """The id, and the name where it says more: without an id it is the first call of that name that waits."""
        if not call_id:
            waiting = self._open.get(name, deque())
            while waiting and waiting[0] in self._answered:
                waiting.popleft()
            call_id = waiting[0] if waiting else f"call_{name}"
        self._answered.add(call_id)
        return call_id, None if name in {self._names.get(call_id), call_id} else name


class _Reader:
    """Reads one body; `extra` gathers what has no place in the canonical request.

    What stands inside contents or tools is there under a name like `messages.executableCode`, with the places where
    it stood: it is a loss in every translation.
    """

    def __init__(self, body: _Body, extra: Json) -> None:
        self.body = body
        self.extra = extra
        self.calls = _Calls()

    def request(self, head: GenerateHead) -> Request:
        body, config = self.body, head.config
        self.own("generationConfig", body.generation_config, Config)
        tier = (body.service_tier or "").lower()
        return Request(
            model=head.model,
            messages=(*self.system(), *(self.message(wire, at) for at, wire in enumerate(as_list(body.contents)))),
            max_output_tokens=config.max_output_tokens,
            stream=head.stream,
            tools=self.tools(),
            tool_choice=self.tool_choice(),
            response_format=self.response_format(config),
            reasoning=config.thinking_config and _reasoning(config.thinking_config),
            sampling=Sampling(
                top_k=None if config.top_k is None else int(config.top_k),
                **{ours: getattr(config, field) for ours, field in _SAMPLED.items()},
            ),
            stop=tuple(config.stop_sequences or ()),
            n=config.candidate_count or 1,
            service_tier=_TIERS.get(tier, tier) or None,
            extra=self.extra,
        )

    def lose(self, name: str, where: str) -> None:
        self.extra.setdefault(name, []).append(where)

    def own(self, name: str, wire: Json | None, known: type[msgspec.Struct]) -> None:
        """Keep the members that only this API knows."""
        fields = {key: value for key, value in (wire or {}).items() if value is not None}
        if rest := {key: fields[key] for key in fields.keys() - set(known.__struct_encode_fields__)}:
            self.extra[name] = rest

    def lose_members(self, contents: list[_Members]) -> None:
        """Name the members of parts that mean nothing elsewhere."""
        for at, content in enumerate(contents):
            for number, part in enumerate(as_list(content.parts)):
                for name in part.keys() - _KNOWN:
                    if not is_null(part[name]) and (known := camel(name)) not in _KNOWN:
                        self.lose(f"messages.{known}", f"contents[{at}].parts[{number}]")

    def system(self) -> tuple[Message, ...]:
        wire = self.body.system_instruction
        if isinstance(wire, str):
            wire = _Content(parts=_Part(text=wire))
        parts = self.parts(wire, "systemInstruction") if wire else []
        for part in parts:
            if not isinstance(part, Text):
                self.lose(f"messages.system.{type(part).__name__.lower()}", "systemInstruction")
        texts = tuple(part for part in parts if isinstance(part, Text))
        return (Message("system", texts),) if texts else ()

    def message(self, wire: _Content, index: int) -> Message:
        where = f"contents[{index}]"
        role = _ROLES.get(wire.role or "user")
        if role is None:
            param = f"{where}.role"
            raise InvalidRequest(f"`{param}` is no role.", remedy="Use one of `user` and `model`.", param=param)
        parts = self.parts(wire, where)
        wrong, word = (ToolCall, "functionCall") if role == "user" else (ToolResult, "functionResponse")
        if any(isinstance(part, wrong) for part in parts):
            remedy = f"Put it into one of the {'model' if role == 'user' else 'user'}."
            raise InvalidRequest(f"`{where}` has a `{word}`.", remedy=remedy, param=where)
        return Message(role, tuple(parts))

    def parts(self, wire: _Content, where: str) -> list[Part]:
        parts: list[Part] = []
        for at, part in enumerate(as_list(wire.parts)):
            parts += self.part(part, f"{where}.parts[{at}]")
        return parts

    def part(self, wire: _Part, where: str) -> list[Part]:
        signature, text = wire.thought_signature or None, wire.text or ""
        if text and wire.thought:
            return [Reasoning(text=text, signature=signature, format=REASONING_FORMAT)]
        said: list[Part] = [Text(text)] if text else []
        if text and signature is None:
            return said
        match wire:
            case _Part(function_call=_Call() as call):
                sent, signature = None if signature == UNSIGNED else signature, None
                call_id, arguments = (
                    self.calls.begin(call.id, call.name),
                    arguments_of(call.args, f"{where}.functionCall.args"),
                )
                said.append(ToolCall(id=call_id, name=call.name, arguments=arguments, signature=sent))
            case _Part(function_response=_Response() as response):
                said.append(self.result(response, where))
            case _Part(inline_data=_Blob() as blob):
                said.append(_inline(blob))
            case _Part(file_data=_FileData() as file):
                said.append(_linked(file))
            case _:
                pass
        # A signature that stands at anything but a thought or a call is one of its own.
        return [*said, Reasoning(signature=signature, format=REASONING_FORMAT)] if signature else said

    def result(self, wire: _Response, where: str) -> ToolResult:
        parts, is_error = _said(wire.response or {})
        for at, inner in enumerate(as_list(wire.parts)):
            inside = f"{where}.functionResponse.parts[{at}]"
            for part in self.part(inner, inside):
                if isinstance(part, Text | Image | File):
                    parts.append(part)
                else:
                    self.lose(f"messages.functionResponse.{type(part).__name__.lower()}", inside)
        call_id, name = self.calls.answer(wire.id, wire.name)
        return ToolResult(call_id=call_id, parts=tuple(parts), is_error=is_error, name=name)

    def tools(self) -> tuple[Tool, ...]:
        """Functions of the caller; tools that the API runs itself mean nothing elsewhere."""
        tools: list[Tool] = []
        for at, wire in enumerate(as_list(self.body.tools)):
            declared: Any = wire.pop("functionDeclarations", None) or []
            where = f"tools[{at}].functionDeclarations"
            tools += (self.tool(one, f"{where}[{number}]") for number, one in enumerate(as_list(declared)))
            self.extra |= {f"tools.{name}": value for name, value in wire.items() if value is not None}
        return tuple(tools)

    def tool(self, wire: Any, where: str) -> Tool:
        tool = converted(wire, _Declaration, where)
        for name in wire.keys() - set(_Declaration.__struct_encode_fields__):
            self.lose(f"tools.{name}", where)
        parameters = tool.parameters_json_schema
        if parameters is None:
            parameters = json_schema(tool.parameters or {})
        return Tool(name=tool.name, description=tool.description, parameters=parameters)

    def tool_choice(self) -> ToolChoice | None:
        config, where = self.body.tool_config or {}, "toolConfig.functionCallingConfig"
        calling = converted(config, _ToolConfig, "toolConfig").function_calling_config
        self.own("toolConfig", config, _ToolConfig)
        if calling is None:
            return None
        for name in config["functionCallingConfig"].keys() - set(_Calling.__struct_encode_fields__):
            self.lose(f"toolConfig.{name}", where)
        mode, names = (calling.mode or "AUTO").upper(), calling.allowed_function_names or ()
        if mode not in _MODES:
            raise InvalidRequest(
                f"`{where}.mode` is no mode.", remedy="Use one of `AUTO`, `ANY` and `NONE`.", param=f"{where}.mode"
            )
        if mode == "ANY" and len(names) == 1:
            return ToolChoice("named", names[0])
        if names:
            self.lose("toolConfig.allowedFunctionNames", where)
        if mode == "VALIDATED":
            self.lose("toolConfig.mode", where)
        return ToolChoice(_MODES[mode])

    def response_format(self, config: Config) -> ResponseFormat | None:
        kind, schema = config.response_mime_type or "text/plain", config.response_json_schema
        if schema is None and config.response_schema is not None:
            schema = json_schema(config.response_schema)
        if kind not in {"application/json", "text/plain"}:  # one word of an enumeration
            own: Json = self.extra.setdefault("generationConfig", {})
            own |= given(responseMimeType=kind, responseJsonSchema=schema)
        elif schema is not None:
            return ResponseFormat(type="json_schema", schema=schema)
        return ResponseFormat(type="json_object") if kind == "application/json" else None


_SAMPLED = {ours: ours for ours in SAMPLING if ours not in {"top_k", "logprobs", "top_logprobs"}} | {
    "logprobs": "response_logprobs",
    "top_logprobs": "logprobs",
}


def _reasoning(wire: Thinking) -> ReasoningOptions:
    """A budget of 0 is no thinking, one of -1 as much as the model likes."""
    level = (wire.thinking_level or "").upper().removeprefix("THINKING_LEVEL_UNSPECIFIED")
    if level and level not in _LEVELS:
        where = "generationConfig.thinkingConfig.thinkingLevel"
        raise InvalidRequest(
            f"`{where}` is no level.", remedy=f"Use one of {', '.join(_EFFORTS).upper()}.", param=where
        )
    budget = wire.thinking_budget
    return ReasoningOptions(
        effort="none" if budget == 0 else _LEVELS.get(level),
        budget_tokens=budget if budget and budget > 0 else None,
        exclude=wire.include_thoughts is not True,
    )


def _standard(data: str) -> str:
    """Base64 in the alphabet that every API reads; this one takes that of URLs too, without padding."""
    if "-" in data or "_" in data:
        data = data.replace("-", "+").replace("_", "/")
    return data + "=" * (-len(data) % 4)


def _inline(blob: _Blob) -> Image | Audio | File:
    data = _standard(blob.data)
    match kind_of(blob.mime_type):
        case "images":
            return Image(data=data, media_type=blob.mime_type)
        case "audio":
            form = blob.mime_type.partition("/")[2].partition(";")[0]
            return Audio(data=data, format=_AUDIO.get(form, form))
        case _:
            return File(data=data, media_type=blob.mime_type or None, name=blob.display_name)


def _linked(wire: _FileData) -> Image | File:
    uri, name = wire.file_uri, wire.display_name
    if _OWN_FILE.fullmatch(uri) or not uri.startswith(("https://", "http://")):
        return File(file_id=uri, media_type=wire.mime_type, name=name)
    if kind_of(wire.mime_type or type_of(uri)) == "images":
        return Image(url=uri)
    return File(url=uri, media_type=wire.mime_type, name=name)


def _said(response: Json) -> tuple[list[Text | Image | File], bool]:
    """What a function said, and whether that is an error; anything but one plain `output` stays JSON."""
    if len(response) == 1:
        (name, value), *_ = response.items()
        if name in {"output", "result", "error"}:
            return _texts(value), name == "error"
    return _texts(response) if response else [], False


def _texts(value: Any) -> list[Text | Image | File]:
    """A text as it is, a list of text blocks as several, any other value as its JSON."""
    if isinstance(value, str):
        return [Text(value)] if value else []
    try:
        return [Text(block.text) for block in msgspec.convert(value, list[_Block])]
    except msgspec.ValidationError:
        return [Text(msgspec.json.encode(value).decode())]


class _Block(msgspec.Struct, tag="text", forbid_unknown_fields=True):
    text: str
