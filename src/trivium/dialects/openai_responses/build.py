"""Requests towards an upstream: the canonical request as the body of `POST /responses`.

https://platform.openai.com/docs/api-reference/responses/create
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, cast

import msgspec

from trivium.dialects.base import Built
from trivium.dialects.common import Json
from trivium.dialects.openai_responses.items import message_item, reasoning_item, text_part
from trivium.dialects.openai_responses.tools import OwnTools, StandIn, call_item, stand_ins
from trivium.dialects.openai_responses.wire import ASK_ENCRYPTED, ASK_LOGPROBS, REASONING_FORMAT
from trivium.dialects.request import Losses, data_url, given, sampling_members, tool_options
from trivium.types.message import Audio, File, Image, Message, Part, Reasoning, Refusal, Text, ToolCall, ToolResult
from trivium.types.request import ReasoningOptions, Request, ResponseFormat, Tool, ToolChoice

MAX_OUTPUT_TOKENS_MIN = 16
"""The API refuses less."""

OWN_FIELDS = frozenset(
    (
        *("access_programs", "background", "background_options", "context_management", "conversation", "image"),
        *("max_tool_calls", "moderation", "previous_response_id", "prompt", "prompt_cache_key", "prompt_cache_options"),
        *("prompt_cache_retention", "safety_identifier", "store", "stream_options", "tool_choice", "truncation"),
    )
)
"""Fields of `Request.extra` that are this API's own and are written back."""

_SAMPLING = {"temperature": "temperature", "top_p": "top_p", "top_logprobs": "top_logprobs", "logprobs": "logprobs"}
_SUMMARIES = frozenset({"auto", "concise", "detailed"})


def build_request(request: Request) -> Built:
    """The request's bytes; what the API has no word for is named in the losses."""
    losses = Losses()
    instructions, messages = _instructions(request.messages)
    writer = _Writer(stand_ins(request), losses)
    items = [item for message in messages for item in writer.items(message)]
    body = given(model=request.model, instructions=instructions) | {"input": items}
    return Built(msgspec.json.encode(body | options_of(request, losses)), tuple(losses))


def options_of(request: Request, losses: Losses) -> Json:
    """All of a request's body but what is said in it."""
    options, tools = request.reasoning, stand_ins(request)
    sampling = sampling_members(request.sampling, _SAMPLING, losses)
    limit, include = request.max_output_tokens, request.extra.get("include")
    own = any(isinstance(value, OwnTools) for value in request.extra.values())
    choice, parallel = tool_options(request, request.tools or own, losses)
    includes = [*cast("list[Any]", include)] if isinstance(include, list) else []
    if sampling.pop("logprobs", False):
        includes.append(ASK_LOGPROBS)
    if options is not None and options.effort != "none":
        includes.append(ASK_ENCRYPTED)  # whoever goes on needs it, since nothing is stored
    body = given(
        max_output_tokens=None if limit is None else max(limit, MAX_OUTPUT_TOKENS_MIN),
        stream=request.stream or None,
        tools=[_tool(tool, losses) for tool in request.tools if tool.name not in tools] or None,
        tool_choice=choice and _tool_choice(choice, tools),
        parallel_tool_calls=parallel,
        text=_format(request.response_format),
        reasoning=options and _reasoning(options, losses),
        include=includes or None,
        metadata=request.metadata or None,
        service_tier=request.service_tier,
        user=request.user,
        # Left out, the answer would be kept for a month; nobody could ever ask for it, since callers do not see its id.
        store=False,
    )
    losses.add("max_output_tokens", when=limit is not None and limit < MAX_OUTPUT_TOKENS_MIN)
    losses.add("stop", when=request.stop)
    losses.add("n", when=request.n > 1)
    return _with_own(body | sampling, request.extra, losses)


def _with_own(body: Json, extra: Json, losses: Losses) -> Json:
    """With what only this API knows; `text.verbosity` is a member of `text`."""
    for name, value in extra.items():
        place, _, member = name.partition(".")
        if isinstance(value, OwnTools):
            body.setdefault("tools", []).extend(value)
        elif name == "verbosity" or (place in {"text", "reasoning"} and member):
            place, member = (place, member) if member else ("text", name)
            body.setdefault(place, {})[member] = value
        elif place == "prompt_cache" and member:
            body[f"{place}_{member}"] = value
        elif name in OWN_FIELDS:
            body[name] = value
        else:
            losses.add(name, when=name != "include")
    return body


def _instructions(messages: tuple[Message, ...]) -> tuple[str | None, tuple[Message, ...]]:
    """The first system message as `instructions`, if it is one plain text and something follows it."""
    match messages:
        case (Message(role="system", parts=(Text(citations=(), cache=None) as only,), name=None), _, *_):
            return only.text, messages[1:]
        case _:
            return None, messages


class _Writer:
    """Writes a conversation as items; each result goes with its call, and is of its type."""

    def __init__(self, tools: dict[str, StandIn], losses: Losses) -> None:
        self._tools = tools
        self._losses = losses
        self._custom: set[str] = set()
        self._count = 0

    def items(self, message: Message) -> Iterator[Json]:
        self._losses.add("name", when=message.name is not None)
        said: list[Part] = []
        for part in message.parts:
            if isinstance(part, ToolResult | ToolCall | Reasoning):
                if message.role == "assistant":
                    yield from self._message(message.role, said)
                    said = []
                yield from self._item(part)
            else:
                said.append(part)
        yield from self._message(message.role, said)

    def _item(self, part: ToolResult | ToolCall | Reasoning) -> Iterator[Json]:
        self._count += 1
        match part:
            case ToolCall():
                self._losses.add("messages.tool_call.signature", when=part.signature is not None)
                item = call_item(part, self._tools.get(part.name), str(self._count), "completed")
                if item["type"] == "custom_tool_call":
                    self._custom.add(part.id)
                yield {name: value for name, value in item.items() if name not in {"id", "status"}}
            case ToolResult():
                yield self._output(part)
            case _:
                # The API refuses thinking that it cannot read, and has none itself, since nothing was stored.
                if part.format in {None, REASONING_FORMAT} and part.encrypted is not None:
                    yield reasoning_item(part, str(self._count), self._losses)
                else:
                    self._losses.add("messages.reasoning")

    def _output(self, result: ToolResult) -> Json:
        self._losses.add("messages.tool_result.is_error", when=result.is_error)
        self._losses.add("cache_control", when=result.cache)
        match result.parts:
            case ():
                output: str | list[Json] = ""
            case (Text() as only,):
                output = only.text
                self._losses.add("cache_control", when=only.cache)
            case parts:
                output = [wire for part in parts if (wire := self._part(part)) is not None]
        kind = "custom_tool_call" if result.call_id in self._custom else "function_call"
        return {"type": f"{kind}_output", "call_id": result.call_id, "output": output} | given(name=result.name)

    def _message(self, role: str, parts: list[Part]) -> Iterable[Json]:
        if not parts:
            return
        self._count += 1
        match parts:
            case [Text(citations=()) as only]:
                self._losses.add("cache_control", when=only.cache)
                yield {"type": "message", "role": role, "content": only.text}
            case _ if role == "assistant":
                content: list[Json] = []
                for part in parts:
                    if isinstance(part, Text | Refusal):
                        content.append(text_part(part, self._losses))
                    else:
                        self._losses.add(f"messages.assistant.{type(part).__name__.lower()}")
                if content:
                    yield message_item(str(self._count), content, "completed")
            case _:
                content = [wire for part in parts if (wire := self._part(part)) is not None]
                yield {"type": "message", "role": role, "content": content}

    def _part(self, part: Part) -> Json | None:
        self._losses.add("cache_control", when=getattr(part, "cache", None))
        match part:
            case Text():
                self._losses.add("messages.citations", when=part.citations)
                return {"type": "input_text", "text": part.text}
            case Image():
                url = part.url if part.data is None else data_url(part.data, part.media_type)
                return {"type": "input_image", "image_url": url, "detail": part.detail or "auto"}
            case File():
                return _file(part)
            case Audio():
                return {"type": "input_audio", "input_audio": {"data": part.data, "format": part.format}}
            case _:
                self._losses.add(f"messages.{type(part).__name__.lower()}")
                return None


def _file(part: File) -> Json:
    if part.file_id is not None and (part.media_type or "").startswith("image/"):
        return {"type": "input_image", "file_id": part.file_id, "detail": "auto"}
    data = None if part.data is None else data_url(part.data, part.media_type)
    where = given(file_id=part.file_id, file_url=part.url, file_data=data)
    return {"type": "input_file", **where} | given(filename=part.name)


def _tool(tool: Tool, losses: Losses) -> Json:
    """Left out, `strict` would bend the schema here, which it does nowhere else."""
    losses.add("cache_control", when=tool.cache)
    wire = {"type": "function", "name": tool.name, "parameters": tool.parameters or None, "strict": tool.strict is True}
    return wire | given(description=tool.description)


def _tool_choice(choice: ToolChoice, tools: dict[str, StandIn]) -> str | Json:
    if choice.mode != "named":
        return choice.mode
    found = tools.get(choice.name or "")
    kind = "custom" if found and found.type == "custom" else "function"
    return {"type": kind, "name": found.name if found else choice.name}


def _format(wanted: ResponseFormat | None) -> Json | None:
    if wanted is None or wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return {"format": {"type": "json_object"}}
    form = given(schema=wanted.schema or {}, description=wanted.description, strict=wanted.strict)
    return {"format": {"type": "json_schema", "name": wanted.name or "answer", **form}}


def _reasoning(options: ReasoningOptions, losses: Losses) -> Json | None:
    """Thinking is only shown where a summary of it is asked for."""
    losses.add("reasoning.budget_tokens", when=options.budget_tokens is not None)
    summary: Any = None if options.exclude else options.summary
    losses.add("reasoning.summary", when=summary is not None and summary not in _SUMMARIES)
    return given(effort=options.effort, summary=summary if summary in _SUMMARIES else None) or None
