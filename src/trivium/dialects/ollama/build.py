"""The canonical request in the bytes of this API: as a chat, and as a prompt as far as that goes."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from trivium.dialects.base import Built
from trivium.dialects.common import Json
from trivium.dialects.ollama.wire import SAMPLING
from trivium.dialects.request import Losses, apart, file_text, given, is_textual, sampling_members, tool_input
from trivium.types.message import File, Image, Message, Part, Reasoning, Refusal, Text, ToolCall, ToolResult
from trivium.types.request import ReasoningOptions, Request, ResponseFormat, Tool

CHAT_FIELDS = frozenset({"keep_alive", "truncate", "shift", "_debug_render_only"})
PROMPT_FIELDS = CHAT_FIELDS | {"suffix", "template", "raw", "context", "width", "height", "steps"}
"""Fields of `Request.extra` that are this API's own and are written back, beside those of `options`."""

_OPTIONS = "options."
_BESIDE = ("logprobs", "top_logprobs")
"""Sampling parameters that do not stand among the options."""
_THINK = {
    "none": False,
    "minimal": "low",
    "low": "low",
    "medium": True,
    "high": "high",
    "xhigh": "high",
    "max": "high",
}
"""Older servers refuse levels for most models, and take `true` for the middle one."""


def build_request(request: Request) -> Built:
    """A chat. Nobody can be made to call a tool here, nor be kept from it but by not being told of any."""
    losses = Losses()
    choice = request.tool_choice.mode if request.tool_choice else "auto"
    losses.add("tool_choice", when=choice in {"required", "named"})
    losses.add("tools", when=choice == "none" and request.tools)
    tools = [] if choice == "none" else [_tool(tool, losses) for tool in request.tools]
    body = given(model=request.model, messages=_messages(request.messages, losses), tools=tools or None)
    return _built(request, body, CHAT_FIELDS, losses)


def build_prompt(request: Request) -> Built:
    """A prompt: the system's words and the last of the user."""
    losses = Losses()
    losses.add("tools", when=request.tools)
    system = [part for message in request.messages if message.role == "system" for part in message.parts]
    users = [message for message in request.messages if message.role == "user"]
    losses.add("messages", when=len(users) > 1 or any(message.role == "assistant" for message in request.messages))
    asked = _said(users[-1].parts if users else (), losses)
    body = given(
        model=request.model,
        prompt=asked["content"],
        system=_said(system, losses)["content"] or None,
        images=asked.get("images"),
    )
    return _built(request, body, PROMPT_FIELDS, losses)


def _built(request: Request, body: Json, own: frozenset[str], losses: Losses) -> Built:
    """With what chats and prompts have in common; a stream is what one gets who does not say otherwise."""
    losses.add("parallel_tool_calls", when=request.parallel_tools is False)
    losses.add("n", when=request.n > 1)
    for name in ("user", "metadata", "service_tier"):
        losses.add(name, when=getattr(request, name))
    body["stream"] = request.stream
    body |= given(
        format=_format(request.response_format, losses), think=request.reasoning and _think(request.reasoning, losses)
    )
    options = sampling_members(request.sampling, SAMPLING | {name: name for name in _BESIDE}, losses)
    body |= {name: options.pop(name) for name in _BESIDE if name in options}
    options |= given(num_predict=request.max_output_tokens, stop=request.stop or None)
    for name, value in request.extra.items():
        if name.startswith(_OPTIONS):
            options[name.removeprefix(_OPTIONS)] = value
        elif name in own:
            body[name] = value
        else:
            losses.add(name)
    return Built(msgspec.json.encode(body | given(options=options or None)), tuple(losses))


def _format(wanted: ResponseFormat | None, losses: Losses) -> str | Json | None:
    if wanted is None or wanted.type == "text":
        return None
    losses.add("response_format", when=wanted.type == "json_schema" and wanted.schema is None)
    losses.add("response_format.description", when=wanted.description)
    return wanted.schema or "json"


def _think(options: ReasoningOptions, losses: Losses) -> bool | str | None:
    losses.add("reasoning.effort", when=options.effort in {"minimal", "xhigh", "max"})
    losses.add("reasoning.budget_tokens", when=options.budget_tokens is not None)
    losses.add("reasoning.exclude", when=options.exclude)
    losses.add("reasoning.summary", when=options.summary not in {None, "auto"})
    if options.effort is None:
        return None if options.budget_tokens is None else options.budget_tokens > 0
    return _THINK[options.effort]


def _tool(tool: Tool, losses: Losses) -> Json:
    losses.add("tools.strict", when=tool.strict)
    losses.add("cache_control", when=tool.cache)
    parameters = tool.parameters if "type" in tool.parameters else {"type": "object", **tool.parameters}
    function = given(name=tool.name, description=tool.description, parameters=parameters)
    return {"type": "function", "function": function}


def _messages(messages: tuple[Message, ...], losses: Losses) -> list[Json]:
    """Every tool result is a message of its own, before the user's words."""
    wires: list[Json] = []
    tools: dict[str, str] = {}
    for message in messages:
        losses.add("messages.name", when=message.name is not None)
        results, rest = apart(message, losses)
        wires += [_result(result, tools.get(result.call_id), losses) for result in results]
        if rest or not results:
            wires.append({"role": message.role, **_said(rest, losses)})
        tools |= {part.id: part.name for part in rest if isinstance(part, ToolCall)}
    return wires


def _result(result: ToolResult, tool: str | None, losses: Losses) -> Json:
    losses.add("messages.tool_result.is_error", when=result.is_error)
    losses.add("cache_control", when=result.cache)
    said = _said([part for part in result.parts if is_textual(part)], losses)
    return {"role": "tool", **said, **given(tool_name=result.name or tool, tool_call_id=result.call_id)}


def _said(parts: Sequence[Part], losses: Losses) -> Json:
    """A message's members: one text, and the images after it."""
    texts: list[str] = []
    images: list[str] = []
    thoughts: list[str] = []
    calls: list[Json] = []
    for part in parts:
        losses.add("cache_control", when=getattr(part, "cache", None))
        match part:
            case Text() | Refusal():
                losses.add("messages.citations", when=getattr(part, "citations", None))
                losses.add("messages.refusal", when=isinstance(part, Refusal))
                losses.add("messages.parts", when=texts or images)
                texts.append(part.text)
            case Image(data=str() as data):
                losses.add("messages.image.detail", when=part.detail not in {None, "auto"})
                images.append(data)
            case Image():
                losses.add("messages.image.url")
            case File() if is_textual(part) and (text := file_text(part)) is not None:
                losses.add("messages.file")
                texts.append(text)
            case ToolCall():
                calls.append(_call(part, losses))
            case Reasoning() if part.text and not (part.signature or part.encrypted):
                losses.add("messages.reasoning.parts", when=thoughts)
                thoughts.append(part.text)
            case _:
                losses.add(f"messages.{type(part).__name__.lower()}")
    return {
        "content": "\n\n".join(texts),
        **given(thinking="\n\n".join(thoughts) or None, images=images or None, tool_calls=calls or None),
    }


def _call(call: ToolCall, losses: Losses) -> Json:
    arguments, faithful = tool_input(call.arguments)
    losses.add("messages.tool_call.arguments", when=not faithful)
    losses.add("messages.tool_call.signature", when=call.signature is not None)
    return {"id": call.id, "function": {"name": call.name, "arguments": arguments}}
