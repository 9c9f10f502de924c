"""Requests of callers: a body of `POST /responses` in the canonical vocabulary.

https://platform.openai.com/docs/api-reference/responses/create
"""

from __future__ import annotations

from typing import Any, Literal, TypeVar

import msgspec

from trivium.dialects.base import Addressed
from trivium.dialects.common import Json, check_size, converted, invalid, not_empty
from trivium.dialects.openai_responses.head import peek
from trivium.dialects.openai_responses.items import SEPARATOR
from trivium.dialects.openai_responses.tools import OwnTools, flat, free_tool, wrapped
from trivium.dialects.openai_responses.wire import ASK_ENCRYPTED, ASK_LOGPROBS, REASONING_FORMAT, Count, WireAnnotation
from trivium.dialects.request import BodyReader, missing, split_data_url
from trivium.errors import InvalidRequest
from trivium.types.message import (
    Audio,
    File,
    Image,
    Message,
    Part,
    Reasoning,
    Refusal,
    Role,
    Text,
    ToolCall,
    ToolResult,
)
from trivium.types.request import Effort, ReasoningOptions, Request, ResponseFormat, Sampling, Tool, ToolChoice

_WHOLE = "Send the whole conversation as `input`, or name a model of a provider that speaks this API."
ESSENTIAL = {
    "previous_response_id": _WHOLE,
    "conversation": _WHOLE,
    "prompt": "Send what the template says as `instructions` and `input`.",
    "background": "Leave it out, and wait for the answer or stream it.",
    "input.item_reference": "Send the item itself.",
    "input.compaction": "Send what was compacted, or a summary of it as a message.",
}
"""What only the server that keeps it knows."""

_NEUTRAL = {
    "background": False,
    "store": False,
    "truncation": "disabled",
    "stream_options": {"include_obfuscation": False},
}
"""Fields with a value that asks for nothing that other upstreams would do."""


class _Marked(msgspec.Struct, kw_only=True):
    """What may carry a prompt-cache mark."""

    prompt_cache_breakpoint: dict[str, Any] | None = None


class _InputText(_Marked, tag="input_text"):
    text: str


class _InputImage(_Marked, tag="input_image"):
    image_url: str | None = None
    file_id: str | None = None
    detail: str | None = None


class _InputFile(_Marked, tag="input_file"):
    file_data: str | None = None
    file_id: str | None = None
    file_url: str | None = None
    filename: str | None = None


class _Sound(msgspec.Struct):
    data: str
    format: str


class _InputAudio(msgspec.Struct, tag="input_audio"):
    input_audio: _Sound


class _OutputText(msgspec.Struct, tag="output_text"):
    text: str
    annotations: list[WireAnnotation] | None = None


class _Refusal(msgspec.Struct, tag="refusal"):
    refusal: str


class _Thought(msgspec.Struct, tag="reasoning_text"):
    text: str


class _Summary(msgspec.Struct, tag="summary_text"):
    text: str


_Part = _InputText | _InputImage | _InputFile | _InputAudio | _OutputText | _Refusal | _Thought


class _Item(msgspec.Struct):
    """An item of any type that has a meaning elsewhere; `_NEEDS` says what each must have."""

    type: str | None = None
    id: str | None = None
    role: Literal["user", "assistant", "system", "developer"] | None = None
    content: str | list[_Part] | None = None
    phase: str | None = None
    call_id: str | None = None
    name: str | None = None
    namespace: str | None = None
    arguments: str | None = None
    input: str | None = None
    output: str | list[_InputText | _InputImage | _InputFile] | None = None
    summary: list[_Summary] | None = None
    encrypted_content: str | None = None
    tools: list[dict[str, Any]] | None = None


_NEEDS = {
    "message": ("role", "content"),
    "function_call": ("call_id", "name", "arguments"),
    "custom_tool_call": ("call_id", "name", "input"),
    "function_call_output": ("call_id", "output"),
    "custom_tool_call_output": ("call_id", "output"),
    "reasoning": (),
    "additional_tools": ("tools",),
}


class _Tool(msgspec.Struct):
    """A tool of any type that the caller runs."""

    type: str
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    format: dict[str, Any] | None = None
    tools: list[dict[str, Any]] = []


class _Choice(msgspec.Struct):
    type: str
    name: str | None = None
    mode: Literal["auto", "required"] = "auto"
    tools: list[dict[str, Any]] = []


class _Format(msgspec.Struct):
    type: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    schema: dict[str, Any] | None = None
    description: str | None = None
    strict: bool | None = None


class _TextOptions(msgspec.Struct):
    format: _Format | None = None


class _Reasoning(msgspec.Struct):
    effort: Effort | None = None
    summary: str | None = None
    generate_summary: str | None = None


class _Body(msgspec.Struct):
    model: str
    input: str | list[msgspec.Raw] | None = None
    instructions: str | None = None
    stream: bool | None = None
    max_output_tokens: Count | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: Literal["auto", "none", "required"] | _Choice | None = None
    parallel_tool_calls: bool | None = None
    text: dict[str, Any] | None = None
    reasoning: dict[str, Any] | None = None
    include: list[str] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_logprobs: int | None = None
    metadata: dict[str, str] | None = None
    user: str | None = None
    safety_identifier: str | None = None
    service_tier: str | None = None


class _Turn(msgspec.Struct):
    """A message while it is gathered from items; `kind` is `message`, `reasoning`, `call` or `result`."""

    role: Role
    kind: str
    parts: list[Part]


S = TypeVar("S", bound=msgspec.Struct)
_read = BodyReader(_Body)
_ITEM = msgspec.json.Decoder(_Item)


class _Typed(msgspec.Struct):
    type: str | None = None
    role: Any = None


_TYPED = msgspec.json.Decoder(_Typed)


def parse_request(body: bytes, _addressed: Addressed | None = None, /) -> Request:
    """The canonical request. Raises InvalidRequest naming the field's path."""
    given = peek(body).messages
    if not_empty(given):
        check_size(given, "input")
    return _Reader(*_read(body)).request()


class _Reader:
    """Reads one body; `extra` gathers what has no place in the canonical request.

    An item or a tool's member without one is there under a name like `input.web_search_call`, with the places where it
    stood: it is a loss in every translation. The hints for this API's cache get names of their own, since a server of
    OpenAI's other dialect that is not OpenAI's may refuse a request for them.
    """

    def __init__(self, body: _Body, extra: Json) -> None:
        told = ((name, value) for name, value in extra.items() if value != _NEUTRAL.get(name))
        self.extra: Json = {name.replace("prompt_cache_", "prompt_cache."): value for name, value in told}
        self.body = body
        self.turns: list[_Turn] = []
        self.tools: list[Tool] = []

    def request(self) -> Request:
        body, includes = self.body, self.body.include or []
        self.read_input()
        self.read_tools(body.tools or [], "tools")
        if more := [name for name in includes if name not in {ASK_ENCRYPTED, ASK_LOGPROBS}]:
            self.extra["include"] = more
        if body.user and body.safety_identifier:
            self.extra["safety_identifier"] = body.safety_identifier
        choice = self.tool_choice()
        return Request(
            model=body.model,
            messages=tuple(Message(t.role, tuple(t.parts)) for t in self.turns if t.parts or t.role != "assistant"),
            max_output_tokens=body.max_output_tokens,
            stream=body.stream is True,
            tools=tuple(self.tools),
            tool_choice=choice,
            parallel_tools=body.parallel_tool_calls,
            response_format=self.form(),
            reasoning=self.reasoning(),
            sampling=Sampling(
                temperature=body.temperature,
                top_p=body.top_p,
                logprobs=ASK_LOGPROBS in includes or None,
                top_logprobs=body.top_logprobs,
            ),
            user=body.user or body.safety_identifier,
            metadata=body.metadata or {},
            service_tier=body.service_tier,
            extra=self.extra,
        )

    def lose(self, name: str, where: str) -> None:
        self.extra.setdefault(name, []).append(where)

    def options(self, name: str, value: Json | None, shape: type[S]) -> S:
        """A member that is an object; what has no place in its shape is kept aside by its path."""
        given = value or {}
        self.extra |= {f"{name}.{key}": given[key] for key in given if key not in shape.__struct_fields__}
        return converted(given, shape, name)

    # ---- the conversation

    def read_input(self) -> None:
        given = self.body.input
        if given is None and not ESSENTIAL.keys() & self.extra.keys():
            raise missing("input", "Send a text or a list of items.")
        if self.body.instructions:
            self.add("message", "system", [Text(self.body.instructions)])
        if isinstance(given, str):
            self.add("message", "user", [Text(given)])
        else:
            for index, raw in enumerate(given or ()):
                self.item(raw, f"input[{index}]")

    def add(self, kind: str, role: Role, parts: list[Part]) -> None:
        """What an assistant does until it is answered is one message, as other wires want it, and so are results in a
        row; a second text of the assistant, or thought after one, begins another if it has not called anything."""
        turn = self.turns[-1] if self.turns else _Turn(role, "", [])
        follows = kind == "call" or turn.kind != "message" if role == "assistant" else kind == turn.kind == "result"
        if self.turns and turn.role == role and follows:
            turn.parts += parts
            turn.kind = "call" if turn.kind == "call" else kind
        else:
            self.turns.append(_Turn(role, kind, parts))

    def item(self, raw: msgspec.Raw, where: str) -> None:
        typed = _decoded(raw, _TYPED, where)
        kind = typed.type or ("item_reference" if typed.role is None else "message")
        if kind not in _NEEDS:
            self.lose(f"input.{kind}", where)
            return
        item = _decoded(raw, _ITEM, where)
        for name in _NEEDS[kind]:
            if getattr(item, name) is None:
                raise missing(f"{where}.{name}", "Add the field.")
        match kind:
            case "message":
                self.message(item, where)
            case "reasoning":
                self.add("reasoning", "assistant", _thoughts(item))
            case "additional_tools":
                self.read_tools(item.tools or [], f"{where}.tools")
            case "function_call" | "custom_tool_call":
                self.add("call", "assistant", [_call(item)])
            case _:
                parts: Any = tuple(self.parts(item.output, f"{where}.output"))
                result = ToolResult(call_id=item.call_id or "", parts=parts, name=item.name)
                self.add("result", "user", [result])

    def message(self, item: _Item, where: str) -> None:
        if item.phase is not None:
            self.lose("input.phase", where)
        role: Role = "system" if item.role in {"developer", None} else item.role  # pyright: ignore[reportAssignmentType]
        self.add("message", role, self.parts(item.content, f"{where}.content"))

    def parts(self, content: str | list[Any] | None, where: str) -> list[Part]:
        """Content as parts; empty texts say nothing and are left out."""
        if isinstance(content, str):
            return [Text(content)] if content else []
        parts = (_part(part, f"{where}[{index}]") for index, part in enumerate(content or ()))
        return [part for part in parts if not isinstance(part, Text) or part.text]

    # ---- tools

    def read_tools(self, wires: list[Json], where: str, namespace: str | None = None) -> None:
        for index, wire in enumerate(wires):
            self.tool(wire, f"{where}[{index}]", namespace)

    def tool(self, wire: Json, where: str, namespace: str | None) -> None:
        """A function, one that stands for what is none, or a tool that the API runs itself."""
        kind = wire.get("type")
        if not isinstance(kind, str):
            raise missing(f"{where}.type", "Name the kind of tool, for example `function`.")
        if kind != "function" and namespace is None:
            self.extra.setdefault(f"tools.{kind}", OwnTools()).append(wire)
        if kind not in {"function", "custom", "namespace"}:
            return
        tool = converted(wire, _Tool, where)
        name, told = flat(tool.name, namespace), tool.description
        if kind == "custom":
            self.tools.append(free_tool(name, told, tool.format))
        elif kind == "function":
            for member in wire.keys() - set(_Tool.__struct_fields__):
                self.lose(f"tools.function.{member}", where)
            self.tools.append(Tool(name=name, description=told, parameters=tool.parameters or {}, strict=tool.strict))
        elif namespace is None:
            self.read_tools(tool.tools, f"{where}.tools", name)

    def tool_choice(self) -> ToolChoice | None:
        choice = self.body.tool_choice
        if choice is None or isinstance(choice, str):
            return choice and ToolChoice(choice)
        if choice.type in {"function", "custom"}:
            if choice.name is None:
                raise missing("tool_choice.name", "Name the tool.")
            return ToolChoice("named", choice.name)
        if choice.type == "allowed_tools":
            allowed = {name for tool in choice.tools if isinstance(name := tool.get("name"), str)}
            self.tools = [tool for tool in self.tools if tool.name in allowed]
            return ToolChoice(choice.mode)
        self.extra["tool_choice"] = {"type": choice.type}
        return None

    # ---- options

    def form(self) -> ResponseFormat | None:
        form = self.options("text", self.body.text, _TextOptions).format
        if form is None or form.type == "text":
            return None
        if form.type == "json_schema" and form.schema is None:
            raise missing("text.format.schema", "Send the schema that the answer shall have.")
        return ResponseFormat(**msgspec.structs.asdict(form))

    def reasoning(self) -> ReasoningOptions | None:
        options = self.options("reasoning", self.body.reasoning, _Reasoning)
        summary = options.summary or options.generate_summary
        return ReasoningOptions(effort=options.effort, summary=summary) if options.effort or summary else None


def _decoded(raw: msgspec.Raw, decoder: msgspec.json.Decoder[S], where: str) -> S:
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, RecursionError) as error:
        raise invalid(error, where) from None


def _call(item: _Item) -> ToolCall:
    arguments = item.arguments if item.input is None else wrapped(item.input)
    return ToolCall(id=item.call_id or "", name=flat(item.name or "", item.namespace), arguments=arguments or "")


def _thoughts(item: _Item) -> list[Part]:
    """Nothing, where it is but a reference to what its server has."""
    told = [part for part in item.content or () if isinstance(part, _Thought)]
    text, summary = (SEPARATOR.join(part.text for part in parts) for parts in (told, item.summary or ()))
    sealed, form = item.encrypted_content, REASONING_FORMAT
    thought = Reasoning(text=text, summary=summary or None, encrypted=sealed, id=item.id, format=form)
    return [thought] if text or summary or sealed else []


def _part(wire: _Part, where: str) -> Part:
    cache = "5m" if isinstance(wire, _Marked) and wire.prompt_cache_breakpoint else None
    match wire:
        case _InputText():
            return Text(wire.text, cache=cache)
        case _OutputText():
            return Text(wire.text, citations=tuple(note.citation for note in wire.annotations or ()))
        case _InputImage(image_url=None, file_id=None) | _InputFile(file_data=None, file_id=None, file_url=None):
            remedy = "Send its URL or its content."
            raise InvalidRequest(f"`{where}` has neither content nor a place.", remedy=remedy, param=where)
        case _InputImage(image_url=str(url)):
            detail = None if wire.detail == "auto" else wire.detail
            if not url.startswith("data:"):
                return Image(url=url, detail=detail, cache=cache)
            media_type, data = split_data_url(url, f"{where}.image_url")
            return Image(data=data, media_type=media_type, detail=detail, cache=cache)
        case _InputImage():
            return File(file_id=wire.file_id, media_type="image/*", cache=cache)
        case _InputFile():
            kind, data = None, wire.file_data
            if data is not None and data.startswith("data:"):
                kind, data = split_data_url(data, f"{where}.file_data")
            url, file_id, name = wire.file_url, wire.file_id, wire.filename
            return File(url=url, data=data, file_id=file_id, media_type=kind, name=name, cache=cache)
        case _InputAudio():
            return Audio(data=wire.input_audio.data, format=wire.input_audio.format)
        case _Refusal():
            return Refusal(wire.refusal)
        case _Thought():
            return Text(wire.text)
