"""The canonical request in the bytes of this wire, for an upstream of its shape."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter

import msgspec

from trivium.dialects.base import Built
from trivium.dialects.common import Json
from trivium.dialects.openai_chat.answer import call_object
from trivium.dialects.request import (
    Losses,
    apart,
    data_url,
    file_text,
    given,
    has_text,
    is_textual,
    plain_text,
    sampling_members,
    tool_options,
)
from trivium.types.message import Audio, File, Image, Message, Part, Reasoning, Refusal, Text, ToolCall, ToolResult
from trivium.types.request import ReasoningOptions, Request, ResponseFormat, Sampling, Tool, ToolChoice

OWN_FIELDS = frozenset(
    {
        "audio",
        "modalities",
        "moderation",
        "prediction",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "store",
        "verbosity",
        "web_search_options",
    }
)
"""Fields of `Request.extra` that are this API's own and are written back; all others are losses."""

_ROUTED_FIELDS = OWN_FIELDS | {
    "cache_control",
    "debug",
    "deferred_tools",
    "image_config",
    "plugins",
    "route",
    "session_id",
    "stop_server_tools_when",
    "top_a",
    "trace",
    "transforms",
    "usage",
}
"""And those of routing services, which go to no other server: some would refuse them."""

_SAMPLING = {name: name for name in Sampling.__struct_fields__ if name not in {"top_k", "min_p", "repetition_penalty"}}
_ROUTED_SAMPLING = {name: name for name in Sampling.__struct_fields__}
_more = attrgetter(
    "tools",
    "tool_choice",
    "parallel_tools",
    "response_format",
    "reasoning",
    "stop",
    "n",
    "metadata",
    "service_tier",
)
_NO_MORE = _more(Request(model="", messages=()))


def build_request(request: Request) -> Built:
    """Write a request; `max_tokens` is the name that all servers of this shape know."""
    losses = Losses()
    choice, parallel = tool_options(request, request.tools, losses)
    body: Json = {"model": request.model, "messages": _messages(request.messages, losses)}
    if request.max_output_tokens is not None:
        body["max_tokens"] = request.max_output_tokens
    if request.stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    if request.user is not None:
        body["user"] = request.user
    if _more(request) != _NO_MORE:
        body |= given(
            tools=[_tool(tool, losses) for tool in request.tools] or None,
            tool_choice=choice and _tool_choice(choice),
            parallel_tool_calls=parallel,
            response_format=request.response_format and _response_format(request.response_format),
            **(_reasoning(request.reasoning, request.routed, losses) if request.reasoning else {}),
            stop=request.stop or None,
            n=request.n if request.n > 1 else None,
            metadata=request.metadata or None,
            service_tier=request.service_tier,
        )
    body |= sampling_members(request.sampling, _ROUTED_SAMPLING if request.routed else _SAMPLING, losses)
    known = _ROUTED_FIELDS if request.routed else OWN_FIELDS
    for name, value in request.extra.items():
        if name in known:
            body[name] = value
        else:
            losses.add(name)
    return Built(msgspec.json.encode(body), tuple(losses))


def _reasoning(options: ReasoningOptions, routed: bool, losses: Losses) -> Json:
    """An effort in the word that all servers know; what it cannot say in a routing service's `reasoning`."""
    losses.add("reasoning.effort", when=options.effort == "max")
    effort = "xhigh" if options.effort == "max" else options.effort
    budget, exclude, summary = options.budget_tokens, options.exclude, options.summary
    if routed and (exclude or budget is not None or summary is not None):
        return {"reasoning": given(effort=effort, max_tokens=budget, exclude=exclude or None, summary=summary)}
    losses.add("reasoning.budget_tokens", when=budget is not None)
    losses.add("reasoning.exclude", when=exclude)
    losses.add("reasoning.summary", when=summary is not None)
    return {"reasoning_effort": effort}


def _tool(tool: Tool, losses: Losses) -> Json:
    losses.add("cache_control", when=tool.cache)
    function = given(name=tool.name, parameters=tool.parameters, description=tool.description, strict=tool.strict)
    return {"type": "function", "function": function}


def _tool_choice(choice: ToolChoice) -> str | Json:
    return {"type": "function", "function": {"name": choice.name}} if choice.mode == "named" else choice.mode


def _response_format(wanted: ResponseFormat) -> Json:
    if wanted.type != "json_schema":
        return {"type": wanted.type}
    name, schema = wanted.name or "answer", wanted.schema
    form = given(name=name, schema=schema, description=wanted.description, strict=wanted.strict)
    return {"type": "json_schema", "json_schema": form}


def _messages(messages: Iterable[Message], losses: Losses) -> list[Json]:
    """One message may be several here: every tool result is a message of its own, before the user's words."""
    wires: list[Json] = []
    for message in messages:
        if (text := plain_text(message)) is not None:
            wires.append({"role": message.role, "content": text})
        elif message.role == "assistant":
            wires.append(_assistant(message, losses) | given(name=message.name))
        else:
            results, parts = apart(message, losses)
            wires += [_result(result, losses) for result in results]
            if parts or not results:
                wires.append({"role": message.role, "content": _content(parts, losses)} | given(name=message.name))
    return wires


def _result(result: ToolResult, losses: Losses) -> Json:
    """Only text may stand in a tool's message; other parts move into the user's message that follows."""
    losses.add("messages.tool_result.is_error", when=result.is_error)
    losses.add("messages.tool_result.name", when=result.name)
    losses.add("cache_control", when=result.cache)
    texts = [part for part in result.parts if is_textual(part)]
    return {"role": "tool", "tool_call_id": result.call_id, "content": _content(texts, losses)}


def _assistant(message: Message, losses: Losses) -> Json:
    said = [part for part in message.parts if isinstance(part, Text | Refusal)]
    calls = [part for part in message.parts if isinstance(part, ToolCall)]
    losses.add("messages.tool_call.signature", when=any(call.signature for call in calls))
    for part in message.parts:
        if not isinstance(part, Text | Refusal | ToolCall | Reasoning):
            losses.add(f"messages.assistant.{type(part).__name__.lower()}")
    wire: Json = {"role": "assistant", "content": _content(said, losses) if said or not calls else None}
    tool_calls = [call_object(call) for call in calls] or None
    return wire | given(reasoning_content=_thoughts(message, losses) or None, tool_calls=tool_calls)


def _thoughts(message: Message, losses: Losses) -> str:
    """Thinking that a server of this shape may have written; what is signed or sealed belongs to another wire."""
    texts: list[str] = []
    for part in message.parts:
        if not isinstance(part, Reasoning):
            continue
        if part.signature or part.encrypted or not part.text:
            losses.add("messages.reasoning")
        else:
            losses.add("messages.reasoning.summary", when=part.summary)
            losses.add("messages.reasoning.id", when=part.id or part.format)
            texts.append(part.text)
    losses.add("messages.reasoning.parts", when=len(texts) > 1)
    return "\n\n".join(texts)


def _content(parts: Sequence[Part], losses: Losses) -> str | list[Json]:
    """One text is a string, which every server takes; anything else a list of parts."""
    if not parts:
        return ""
    wires = [wire for part in parts if (wire := _part(part, losses)) is not None]
    return wires[0]["text"] if len(wires) == 1 and wires[0]["type"] == "text" else wires


def _document(file: File) -> Json | None:
    """A document of text as a text with its name: servers of this shape take files of other kinds, if any."""
    text, name = file_text(file), "" if file.name is None else f" name={msgspec.json.encode(file.name).decode()}"
    return None if text is None else {"type": "text", "text": f"<document{name}>\n{text}\n</document>"}


def _part(part: Part, losses: Losses) -> Json | None:
    losses.add("cache_control", when=getattr(part, "cache", None))
    match part:
        case Text():
            losses.add("messages.citations", when=part.citations)
            return {"type": "text", "text": part.text}
        case Refusal():
            return {"type": "refusal", "refusal": part.text}
        case Image():
            url = part.url if part.data is None else data_url(part.data, part.media_type)
            return {"type": "image_url", "image_url": given(url=url, detail=part.detail)}
        case Audio():
            return {"type": "input_audio", "input_audio": {"data": part.data, "format": part.format}}
        case File() if has_text(part):
            losses.add("messages.file")
            return _document(part)
        case File(data=None, file_id=None):
            losses.add("messages.file.url")
            return None
        case File():
            data = None if part.data is None else data_url(part.data, part.media_type)
            file_id = part.file_id if data is None else None
            return {"type": "file", "file": given(filename=part.name, file_data=data, file_id=file_id)}
        case _:
            losses.add(f"messages.{type(part).__name__.lower()}")
            return None
