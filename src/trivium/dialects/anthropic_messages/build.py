"""Requests towards an upstream: the canonical request as the body of `POST /messages`.

https://docs.claude.com/en/api/messages
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

import msgspec

from trivium.dialects.anthropic_messages.wire import REASONING_FORMAT, tool_input
from trivium.dialects.base import Built
from trivium.types.message import (
    Audio,
    File,
    Image,
    Message,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
)
from trivium.types.request import ReasoningOptions, Request, Sampling, Tool, ToolChoice

MAX_TOKENS_ASSUMED = 4096
"""`max_tokens` must be said in this dialect, and every model accepts this much; nothing that was said is lost."""
BUDGET_TOKENS_MIN = 1024
BUDGET_TOKENS_MAX = 128_000

OWN_FIELDS = frozenset(
    {
        "cache_control",
        "container",
        "context_management",
        "diagnostics",
        "inference_geo",
        "mcp_servers",
        "speed",
        "thinking",
        "user_profile_id",
        "workspace_id",
    }
)
"""Fields of `Request.extra` that this dialect put there and writes back."""

SERVICE_TIERS = {"auto": "auto", "default": "standard_only"}

_NEUTRAL: dict[str, object] = {
    "min_p": 0,
    "frequency_penalty": 0,
    "presence_penalty": 0,
    "repetition_penalty": 1,
    "seed": None,
    "logit_bias": {},
    "logprobs": False,
    "top_logprobs": 0,
}
"""Sampling parameters without a place here, and the value that asks for nothing."""

_NOT_IN_IDS = re.compile(r"[^a-zA-Z0-9_-]")

Block = dict[str, Any]


def build_request(request: Request) -> Built:
    """The request's bytes; what the API has no word for is named in the losses."""
    losses: list[str] = []
    system, messages = _conversation(request.messages, losses)
    max_tokens = request.max_output_tokens
    if max_tokens is None:
        max_tokens = MAX_TOKENS_ASSUMED + _budget(request.reasoning)
    body: dict[str, Any] = {"model": request.model, "max_tokens": max_tokens, "messages": messages}
    if system:
        body["system"] = _content(system)
    if request.stream:
        body["stream"] = True
    _add_tools(body, request, losses)
    _add_reasoning(body, request.reasoning, max_tokens, losses)
    _add_format(body, request, losses)
    _add_sampling(body, request.sampling, losses)
    _add_rest(body, request, losses)
    return Built(msgspec.json.encode(body), tuple(dict.fromkeys(losses)))


def _conversation(messages: tuple[Message, ...], losses: list[str]) -> tuple[list[Block], list[Block]]:
    """The leading system messages as the system prompt, and the rest; a later system message has a role of its own."""
    system: list[Block] = []
    turns: list[Block] = []
    for message in messages:
        if message.name is not None:
            losses.append("name")
        blocks = [block for part in message.parts for block in _blocks(part, losses)]
        if message.role == "system" and not turns:
            system += _only_text(blocks, losses)
        elif message.role == "system":
            blocks = _only_text(blocks, losses)
        if blocks and (turns or message.role != "system"):
            turns.append({"role": message.role, "content": _content(blocks)})
    if not turns and system:
        # At least one turn is required; a request that is all system prompt still has something to say.
        losses.append("system")
        return [], [{"role": "user", "content": _content(system)}]
    return system, turns


def _only_text(blocks: list[Block], losses: list[str]) -> list[Block]:
    losses += [f"messages.system.{block['type']}" for block in blocks if block["type"] != "text"]
    return [block for block in blocks if block["type"] == "text"]


def _content(blocks: list[Block]) -> str | list[Block]:
    """One plain text is said as a string, which the plainest servers of this dialect understand too."""
    if len(blocks) == 1 and blocks[0].keys() == {"type", "text"}:
        return blocks[0]["text"]
    return blocks


def _blocks(part: Part, losses: list[str]) -> list[Block]:
    """A part as content blocks: none, where it is empty or cannot be said."""
    match part:
        case Text():
            if part.citations:
                losses.append("messages.citations")
            return [_marked({"type": "text", "text": part.text}, part.cache)] if part.text else []
        case Image():
            if part.detail not in {None, "auto"}:
                losses.append("messages.image.detail")
            return [_marked({"type": "image", "source": _image_source(part)}, part.cache)]
        case File():
            return _document(part, losses)
        case ToolCall():
            return [_tool_use(part, losses)]
        case ToolResult():
            return [_tool_result(part, losses)]
        case Reasoning():
            return _thinking(part, losses)
        case Refusal():
            losses.append("messages.refusal")
            return [{"type": "text", "text": part.text}] if part.text else []
        case Audio():
            losses.append("messages.audio")
            return []


def _marked(block: Block, cache: str | None) -> Block:
    if cache == "1h":
        block["cache_control"] = {"type": "ephemeral", "ttl": "1h"}
    elif cache is not None:
        block["cache_control"] = {"type": "ephemeral"}
    return block


def _image_source(image: Image) -> Block:
    if image.url is not None:
        return {"type": "url", "url": image.url}
    return {"type": "base64", "media_type": image.media_type or "image/png", "data": image.data or ""}


def _document(file: File, losses: list[str]) -> list[Block]:
    source = _file_source(file)
    if source is None:
        losses.append("messages.file")
        return []
    is_image = file.file_id is not None and (file.media_type or "").startswith("image/")
    block: Block = {"type": "image" if is_image else "document", "source": source}
    if file.name is not None and not is_image:
        block["title"] = file.name
    return [_marked(block, file.cache)]


def _file_source(file: File) -> Block | None:
    if file.file_id is not None:
        return {"type": "file", "file_id": file.file_id}
    if file.url is not None:
        return {"type": "url", "url": file.url}
    if file.media_type != "text/plain":
        return {"type": "base64", "media_type": file.media_type or "application/pdf", "data": file.data or ""}
    try:
        text = base64.b64decode(file.data or "", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    return {"type": "text", "media_type": "text/plain", "data": text}


def _tool_use(call: ToolCall, losses: list[str]) -> Block:
    value, is_faithful = tool_input(call.arguments)
    if not is_faithful:
        losses.append("messages.tool_call.arguments")
    if call.signature is not None:
        losses.append("messages.tool_call.signature")
    return {"type": "tool_use", "id": _call_id(call.id), "name": call.name, "input": value}


def _call_id(call_id: str) -> str:
    """Other vendors' ids may hold characters that this API refuses; call and result are bent alike."""
    return _NOT_IN_IDS.sub("_", call_id)


def _tool_result(result: ToolResult, losses: list[str]) -> Block:
    block: Block = {"type": "tool_result", "tool_use_id": _call_id(result.call_id)}
    content = [inner for part in result.parts for inner in _blocks(part, losses)]
    if content:
        block["content"] = _content(content)
    if result.is_error:
        block["is_error"] = True
    return _marked(block, result.cache)


def _thinking(part: Reasoning, losses: list[str]) -> list[Block]:
    """Only thinking that this API signed can be replayed; it refuses any other."""
    if part.format in {None, REASONING_FORMAT}:
        if part.encrypted is not None:
            return [{"type": "redacted_thinking", "data": part.encrypted}]
        if part.signature is not None:
            return [{"type": "thinking", "thinking": part.text, "signature": part.signature}]
    losses.append("messages.reasoning")
    return []


def _add_tools(body: dict[str, Any], request: Request, losses: list[str]) -> None:
    tools = [_tool(tool) for tool in request.tools]
    server_tools: Any = request.extra.get("server_tools")
    if isinstance(server_tools, list):
        tools += server_tools
    choice, parallel = request.tool_choice, request.parallel_tools
    if not tools:
        if choice is not None and choice.mode not in {"auto", "none"}:
            losses.append("tool_choice")
        return
    body["tools"] = tools
    if choice is None and parallel is None:
        return
    wire = _tool_choice(choice or ToolChoice())
    if parallel is not None and wire["type"] != "none":
        wire["disable_parallel_tool_use"] = not parallel
    body["tool_choice"] = wire


def _tool(tool: Tool) -> Block:
    wire: Block = {"name": tool.name, "input_schema": tool.parameters or {"type": "object"}}
    if tool.description is not None:
        wire["description"] = tool.description
    if tool.strict is not None:
        wire["strict"] = tool.strict
    return _marked(wire, tool.cache)


def _tool_choice(choice: ToolChoice) -> Block:
    if choice.mode == "named":
        return {"type": "tool", "name": choice.name}
    return {"type": "any" if choice.mode == "required" else choice.mode}


def _budget(options: ReasoningOptions | None) -> int:
    """The asked budget within the API's bounds; 0 for none."""
    if options is None or options.budget_tokens is None or options.effort == "none":
        return 0
    return min(max(options.budget_tokens, BUDGET_TOKENS_MIN), BUDGET_TOKENS_MAX)


def _add_reasoning(body: dict[str, Any], options: ReasoningOptions | None, max_tokens: int, losses: list[str]) -> None:
    """A budget as it is, an effort by the API's own field, and `none` as thinking switched off."""
    if options is None:
        return
    if options.effort == "none":
        body["thinking"] = {"type": "disabled"}
        return
    budget = min(_budget(options), max_tokens - 1)
    if budget != (options.budget_tokens or 0):
        losses.append("reasoning.budget_tokens")
    if budget >= BUDGET_TOKENS_MIN:
        body["thinking"] = {"type": "enabled", "budget_tokens": budget}
    elif options.budget_tokens is None or options.effort is not None:
        body["thinking"] = {"type": "adaptive"}
    else:
        return
    if options.exclude:
        body["thinking"]["display"] = "omitted"
    elif options.summary is not None:
        body["thinking"]["display"] = "summarized"
    if options.summary not in {None, "auto"}:
        losses.append("reasoning.summary")
    if options.effort == "minimal":
        losses.append("reasoning.effort")
    if options.effort is not None:
        body["output_config"] = {"effort": "low" if options.effort == "minimal" else options.effort}


def _add_format(body: dict[str, Any], request: Request, losses: list[str]) -> None:
    wanted = request.response_format
    if wanted is None or wanted.type == "text":
        return
    if wanted.schema is None:
        losses.append("response_format")
        return
    if wanted.description is not None:
        losses.append("response_format.description")
    body.setdefault("output_config", {})["format"] = {"type": "json_schema", "schema": wanted.schema}


def _add_sampling(body: dict[str, Any], sampling: Sampling, losses: list[str]) -> None:
    """Temperature ends at 1 here, and while thinking it is 1 and `top_k` is not allowed."""
    thinks = body.get("thinking", {"type": "disabled"})["type"] != "disabled"
    temperature = sampling.temperature
    if temperature is not None and (temperature > 1 or (thinks and temperature != 1)):
        losses.append("temperature")
        temperature = None if thinks else 1.0
    if temperature is not None:
        body["temperature"] = temperature
    if sampling.top_p is not None:
        body["top_p"] = sampling.top_p
    if sampling.top_k is not None and thinks:
        losses.append("top_k")
    elif sampling.top_k is not None:
        body["top_k"] = sampling.top_k
    for name, neutral in _NEUTRAL.items():
        value = getattr(sampling, name)
        if value is not None and value != neutral:
            losses.append(name)


def _add_rest(body: dict[str, Any], request: Request, losses: list[str]) -> None:
    stop = [text for text in request.stop if text.strip()]
    if len(stop) < len(request.stop):
        # The API refuses stop sequences of white space only.
        losses.append("stop")
    if stop:
        body["stop_sequences"] = stop
    if request.n > 1:
        losses.append("n")
    if request.metadata:
        losses.append("metadata")
    if request.service_tier in SERVICE_TIERS:
        body["service_tier"] = SERVICE_TIERS[request.service_tier]
    elif request.service_tier is not None:
        losses.append("service_tier")
    for name, value in request.extra.items():
        if name == "metadata":
            body[name] = dict(value)
        elif name in OWN_FIELDS:
            body[name] = value
        elif name != "server_tools":
            losses.append(name)
    if request.user is not None:
        body.setdefault("metadata", {})["user_id"] = request.user
