"""Requests of callers: a body of `POST /messages` in the canonical vocabulary.

https://docs.claude.com/en/api/messages
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union

import msgspec

from trivium.dialects.anthropic_messages.build import SERVICE_TIERS
from trivium.dialects.anthropic_messages.head import peek
from trivium.dialects.anthropic_messages.wire import REASONING_FORMAT, WireCitation, citation_of
from trivium.dialects.base import Addressed
from trivium.dialects.common import MAX_TOKENS, Json, invalid
from trivium.dialects.request import ChatReader, missing
from trivium.errors import InvalidRequest
from trivium.types.message import File, Image, Message, Part, Reasoning, Text, ToolCall, ToolResult
from trivium.types.request import Effort, ReasoningOptions, Request, ResponseFormat, Sampling, Tool, ToolChoice


class _Cache(msgspec.Struct):
    type: Literal["ephemeral"]
    ttl: Literal["5m", "1h"] = "5m"


class _Base64(msgspec.Struct, tag="base64"):
    data: str
    media_type: str


class _Url(msgspec.Struct, tag="url"):
    url: str


class _FileId(msgspec.Struct, tag="file"):
    file_id: str


class _PlainText(msgspec.Struct, tag="text"):
    data: str


class _Marked(msgspec.Struct, kw_only=True):
    """What may carry a prompt-cache mark."""

    cache_control: _Cache | None = None


class _Text(_Marked, tag="text"):
    text: str
    citations: list[WireCitation] | None = None


class _Content(msgspec.Struct, tag="content"):
    content: str | list[_Text | _Image]


class _Image(_Marked, tag="image"):
    source: _Base64 | _Url | _FileId
    transformations: dict[str, Any] | None = None


class _Document(_Marked, tag="document"):
    source: _Base64 | _Url | _FileId | _PlainText | _Content
    title: str | None = None
    context: str | None = None
    citations: dict[str, Any] | None = None


class _ToolUse(msgspec.Struct, tag="tool_use"):
    id: str
    name: str
    input: msgspec.Raw


class _Thinking(msgspec.Struct, tag="thinking"):
    thinking: str
    signature: str = ""


class _RedactedThinking(msgspec.Struct, tag="redacted_thinking"):
    data: str


class _Foreign(msgspec.Struct):
    """A block that only this API can read, such as the steps of a tool that it ran itself."""


_FOREIGN_TYPES = (
    "search_result",
    "server_tool_use",
    "web_search_tool_result",
    "web_fetch_tool_result",
    "code_execution_tool_result",
    "bash_code_execution_tool_result",
    "text_editor_code_execution_tool_result",
    "tool_search_tool_result",
    "tool_reference",
    "mcp_tool_use",
    "mcp_tool_result",
    "container_upload",
    "browser_state",
    "compaction",
)

if TYPE_CHECKING:
    _AnyForeign = _Foreign
else:
    _AnyForeign = Union[  # noqa: UP007 - made of a list
        tuple(msgspec.defstruct(f"_{name}", [], bases=(_Foreign,), tag=name) for name in _FOREIGN_TYPES)
    ]


class _ToolResult(_Marked, tag="tool_result"):
    tool_use_id: str
    content: str | list[_Text | _Image | _Document | _AnyForeign] | None = None
    is_error: bool | None = None


_Block = _Text | _Image | _Document | _ToolUse | _ToolResult | _Thinking | _RedactedThinking | _AnyForeign


class _Message(msgspec.Struct):
    role: Literal["user", "assistant", "system"]
    content: str | list[_Block]


class _Tool(_Marked):
    name: str
    input_schema: dict[str, Any]
    description: str | None = None
    strict: bool | None = None
    type: str | None = None


class _Choice(msgspec.Struct):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class _ThinkingOptions(msgspec.Struct):
    type: Literal["enabled", "adaptive", "disabled", "between_tools"]
    budget_tokens: Annotated[int, msgspec.Meta(ge=0)] | None = None
    display: Literal["summarized", "omitted"] | None = None


class _Format(msgspec.Struct, tag="json_schema"):
    schema: dict[str, Any]


class _OutputConfig(msgspec.Struct):
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: _Format | None = None


class _Body(msgspec.Struct):
    model: str
    messages: list[_Message]
    max_tokens: Annotated[int, msgspec.Meta(ge=0, le=MAX_TOKENS)]
    system: str | list[_Text] | None = None
    stream: bool | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: _Choice | None = None
    thinking: _ThinkingOptions | None = None
    output_config: _OutputConfig | None = None
    output_format: _Format | None = None
    stop_sequences: list[str] | None = None
    temperature: Annotated[float, msgspec.Meta(ge=0)] | None = None
    top_p: float | None = None
    top_k: int | None = None
    metadata: dict[str, Any] | None = None
    service_tier: str | None = None


_read = ChatReader(_Body, peek)
_TIERS = {wire: ours for ours, wire in SERVICE_TIERS.items()}


class _Reader:
    """Reads one body; `extra` gathers what has no place in the canonical request.

    What stands inside a message or a tool is there under a name like `messages.server_tool_use`, with
    the places where it stood: it is a loss in every translation.
    """

    def __init__(self, body: _Body, extra: Json) -> None:
        self.body = body
        self.extra = extra

    def request(self) -> Request:
        body = self.body
        choice, output = body.tool_choice, body.output_config or _OutputConfig()
        disable_parallel = choice.disable_parallel_tool_use if choice else None
        form = output.format or body.output_format
        system = self.parts(body.system or "", "system")
        prompt = (Message("system", system),) if system else ()
        return Request(
            model=body.model,
            messages=(*prompt, *[self.message(message, index) for index, message in enumerate(body.messages)]),
            max_output_tokens=body.max_tokens,
            stream=body.stream is True,
            tools=self.tools(),
            tool_choice=choice and _tool_choice(choice),
            parallel_tools=None if disable_parallel is None else not disable_parallel,
            response_format=form and ResponseFormat(type="json_schema", schema=form.schema),
            reasoning=self.reasoning(output.effort),
            sampling=Sampling(temperature=body.temperature, top_p=body.top_p, top_k=body.top_k),
            stop=tuple(body.stop_sequences or ()),
            user=self.user(),
            service_tier=_TIERS.get(body.service_tier, body.service_tier) if body.service_tier else None,
            extra=self.extra,
        )

    def lose(self, name: str, where: str) -> None:
        self.extra.setdefault(name, []).append(where)

    def message(self, message: _Message, index: int) -> Message:
        if isinstance(message.content, str):
            return Message(message.role, (Text(message.content),) if message.content else ())
        where = f"messages[{index}].content"
        parts = self.parts(message.content, where)
        for kind, role, word in ((ToolResult, "user", "tool_result"), (ToolCall, "assistant", "tool_use")):
            if message.role != role and kind in map(type, parts):
                raise InvalidRequest(
                    f"A `{word}` block stands in a message of the {message.role}.",
                    remedy=f"Put it into a message with the role `{role}`.",
                    param=where,
                )
        return Message(message.role, parts)

    def parts(self, content: str | list[Any], where: str) -> tuple[Any, ...]:
        if isinstance(content, str):
            return (Text(content),) if content else ()
        found = (self.part(block, f"{where}[{index}]") for index, block in enumerate(content))
        return tuple(part for part in found if part is not None)

    def part(self, block: _Block, where: str) -> Part | None:
        match block:
            case _Text(text=""):
                return None
            case _Text():
                citations = tuple(citation_of(citation) for citation in block.citations or ())
                return Text(block.text, citations=citations, cache=_cache(block))
            case _Image():
                return self.image(block, where)
            case _Document():
                return self.document(block, where)
            case _ToolUse():
                arguments = bytes(block.input).decode()
                if not arguments.startswith("{"):
                    remedy, param = "Send the call's arguments.", f"{where}.input"
                    raise InvalidRequest(f"`{param}` is not an object.", remedy=remedy, param=param)
                return ToolCall(id=block.id, name=block.name, arguments=arguments)
            case _ToolResult():
                parts = self.parts(block.content or "", f"{where}.content")
                is_error = block.is_error is True
                return ToolResult(call_id=block.tool_use_id, parts=parts, is_error=is_error, cache=_cache(block))
            case _Thinking():
                return Reasoning(text=block.thinking, signature=block.signature or None, format=REASONING_FORMAT)
            case _RedactedThinking():
                return Reasoning(encrypted=block.data, format=REASONING_FORMAT)
            case _Foreign():
                self.lose(f"messages.{block.__struct_config__.tag}", where)
                return None

    def image(self, block: _Image, where: str) -> Image | File:
        if block.transformations:
            self.lose("messages.image.transformations", where)
        if isinstance(block.source, _FileId):
            return File(file_id=block.source.file_id, media_type="image/*", cache=_cache(block))
        return Image(**msgspec.structs.asdict(block.source), cache=_cache(block))

    def document(self, block: _Document, where: str) -> File:
        for name in ("context", "citations"):
            if getattr(block, name):
                self.lose(f"messages.document.{name}", where)
        name, cache = block.title, _cache(block)
        match block.source:
            case _Base64() | _Url() | _FileId():
                return File(**msgspec.structs.asdict(block.source), name=name, cache=cache)
            case _PlainText(data=text) | _Content(content=str(text)):
                pass
            case _Content(content=content):
                # In pieces, which only matter for citations.
                texts = [piece.text for piece in content if isinstance(piece, _Text)]
                if len(texts) < len(content):
                    self.lose("messages.document.image", where)
                text = "\n".join(texts)
        data = base64.b64encode(text.encode()).decode()
        return File(data=data, media_type="text/plain", name=name, cache=cache)

    def tools(self) -> tuple[Tool, ...]:
        """Tools of the caller; those that the API runs itself (their `type` has a date) mean nothing elsewhere."""
        tools: list[Tool] = []
        for index, wire in enumerate(self.body.tools or ()):
            kind = wire.get("type")
            if isinstance(kind, str) and kind != "custom":
                self.extra.setdefault("server_tools", []).append(wire)
                continue
            where = f"tools[{index}]"
            for name in wire.keys() - _TOOL_FIELDS:
                self.lose(f"tools.{name}", where)
            try:
                tool = msgspec.convert(wire, _Tool)
            except msgspec.ValidationError as error:
                raise invalid(error, where) from None
            schema, strict = tool.input_schema, tool.strict
            tools.append(
                Tool(name=tool.name, description=tool.description, parameters=schema, strict=strict, cache=_cache(tool))
            )
        return tuple(tools)

    def reasoning(self, effort: Effort | None) -> ReasoningOptions | None:
        thinking = self.body.thinking
        if thinking is not None and thinking.type == "between_tools":
            self.extra["thinking"] = {"type": thinking.type}
            thinking = None
        if thinking is None:
            return ReasoningOptions(effort=effort) if effort else None
        if thinking.type == "disabled":
            return ReasoningOptions(effort="none")
        if thinking.type == "enabled" and thinking.budget_tokens is None:
            remedy = "Say how many tokens to think with, or use the type `adaptive`."
            raise missing("thinking.budget_tokens", remedy)
        return ReasoningOptions(
            effort=effort,
            budget_tokens=thinking.budget_tokens if thinking.type == "enabled" else None,
            exclude=thinking.display == "omitted",
            summary="auto" if thinking.display == "summarized" else None,
        )

    def user(self) -> str | None:
        metadata = dict(self.body.metadata or {})
        user = metadata.pop("user_id", None)
        if metadata:
            self.extra["metadata"] = metadata
        if user is not None and not isinstance(user, str):
            raise InvalidRequest(
                "`metadata.user_id` is not a string.", remedy="Send an opaque id.", param="metadata.user_id"
            )
        return user


_TOOL_FIELDS = frozenset(_Tool.__struct_fields__)


def _cache(marked: _Marked) -> str | None:
    return marked.cache_control.ttl if marked.cache_control else None


def _tool_choice(wire: _Choice) -> ToolChoice:
    if wire.type == "tool":
        if wire.name is None:
            raise missing("tool_choice.name", "Name the tool.")
        return ToolChoice("named", wire.name)
    return ToolChoice("required" if wire.type == "any" else wire.type)


def parse_request(body: bytes, _addressed: Addressed | None = None, /) -> Request:
    """The canonical request. Raises InvalidRequest naming the field's path."""
    return _Reader(*_read(body)).request()
