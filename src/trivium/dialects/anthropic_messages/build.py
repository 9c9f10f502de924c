"""Requests towards an upstream: the canonical request as the body of `POST /messages`.

https://docs.claude.com/en/api/messages
"""

from __future__ import annotations

import re
from operator import attrgetter
from typing import Any

import msgspec

from trivium.dialects.anthropic_messages.wire import REASONING_FORMAT
from trivium.dialects.base import Built
from trivium.dialects.common import Json
from trivium.dialects.request import Losses, file_text, given, has_text, plain_text, sampling_members, tool_input
from trivium.types.message import Audio, File, Image, Message, Part, Reasoning, Refusal, Text, ToolCall, ToolResult
from trivium.types.request import ReasoningOptions, Request, ResponseFormat, Sampling, Tool, ToolChoice

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

_SAMPLING = {"temperature": "temperature", "top_p": "top_p", "top_k": "top_k"}
_NO_REASONING = ReasoningOptions()
_more = attrgetter(
    "tools", "tool_choice", "parallel_tools", "response_format", "reasoning", "stop", "service_tier", "extra"
)
_NO_MORE = _more(Request(model="", messages=()))
_NOT_IN_IDS = re.compile(r"[^a-zA-Z0-9_-]")


def build_request(request: Request) -> Built:
    """The request's bytes; what the API has no word for is named in the losses."""
    losses = Losses()
    options = request.reasoning or _NO_REASONING
    system, messages = _conversation(request.messages, losses)
    budget = _budget(options)
    max_tokens = MAX_TOKENS_ASSUMED + budget if request.max_output_tokens is None else request.max_output_tokens
    body: Json = {"model": request.model, "max_tokens": max_tokens, "messages": messages}
    if system:
        body["system"] = _content(system)
    if request.stream:
        body["stream"] = True
    thinking = _thinking(options, min(budget, max_tokens - 1), losses) if request.reasoning else None
    stop = [text for text in request.stop if text.strip()]  # the API refuses those of white space only
    if _more(request) != _NO_MORE:
        tools, choice = _tools(request, losses)
        output = given(effort=_effort(options, losses), format=_format(request.response_format, losses))
        body |= given(
            tools=tools or None,
            tool_choice=choice,
            thinking=thinking,
            output_config=output or None,
            stop_sequences=stop or None,
            service_tier=SERVICE_TIERS.get(request.service_tier or ""),
        )
    thinks = thinking is not None and thinking["type"] != "disabled"
    body |= sampling_members(_allowed(request.sampling, losses, thinks=thinks), _SAMPLING, losses)
    losses.add("stop", when=len(stop) < len(request.stop))
    losses.add("n", when=request.n > 1)
    losses.add("metadata", when=request.metadata)
    losses.add("service_tier", when=request.service_tier is not None and request.service_tier not in SERVICE_TIERS)
    for name, value in request.extra.items():
        if name in OWN_FIELDS:
            body[name] = value
        else:
            losses.add(name, when=name not in {"metadata", "server_tools"} or not isinstance(value, dict | list))
    found: Any = request.extra.get("metadata")  # in another dialect it may be anything
    own: Json = found if isinstance(found, dict) else {}  # pyright: ignore[reportUnknownVariableType]
    if metadata := own if request.user is None else own | {"user_id": request.user}:
        body["metadata"] = metadata
    return Built(msgspec.json.encode(body), tuple(losses))


def _conversation(messages: tuple[Message, ...], losses: Losses) -> tuple[list[Json], list[Json]]:
    """The leading system messages as the system prompt, and the rest; a later system message has a role of its own."""
    system: list[Json] = []
    turns: list[Json] = []
    for message in messages:
        if text := plain_text(message):
            if turns or message.role != "system":
                turns.append({"role": message.role, "content": text})
            else:
                system.append({"type": "text", "text": text})
            continue
        losses.add("name", when=message.name is not None)
        blocks = [block for part in message.parts for block in _blocks(part, losses)]
        if message.role == "system" and not turns:
            system += _only_text(blocks, losses)
        elif message.role == "system":
            blocks = _only_text(blocks, losses)
        if blocks and (turns or message.role != "system"):
            turns.append({"role": message.role, "content": _content(blocks)})
    if not turns and system:
        # At least one turn is required; a request that is all system prompt still has something to say.
        losses.add("system")
        return [], [{"role": "user", "content": _content(system)}]
    return system, turns


def _only_text(blocks: list[Json], losses: Losses) -> list[Json]:
    for block in blocks:
        losses.add(f"messages.system.{block['type']}", when=block["type"] != "text")
    return [block for block in blocks if block["type"] == "text"]


def _content(blocks: list[Json]) -> str | list[Json]:
    """One plain text is said as a string, which the plainest servers of this dialect understand too."""
    if len(blocks) == 1 and blocks[0].keys() == {"type", "text"}:
        return blocks[0]["text"]
    return blocks


def _blocks(part: Part, losses: Losses) -> list[Json]:
    """A part as content blocks: none, where it is empty or cannot be said."""
    match part:
        case Text():
            losses.add("messages.citations", when=part.citations)
            return [_marked({"type": "text", "text": part.text}, part.cache)] if part.text else []
        case Image():
            losses.add("messages.image.detail", when=part.detail not in {None, "auto"})
            return [_marked({"type": "image", "source": _image_source(part)}, part.cache)]
        case File():
            return _document(part, losses)
        case ToolCall():
            return [_tool_use(part, losses)]
        case ToolResult():
            return [_tool_result(part, losses)]
        case Reasoning():
            return _thought(part, losses)
        case Refusal():
            losses.add("messages.refusal")
            return [{"type": "text", "text": part.text}] if part.text else []
        case Audio():
            losses.add("messages.audio")
            return []


def _marked(block: Json, cache: str | None) -> Json:
    if cache == "1h":
        block["cache_control"] = {"type": "ephemeral", "ttl": "1h"}
    elif cache is not None:
        block["cache_control"] = {"type": "ephemeral"}
    return block


def _image_source(image: Image) -> Json:
    if image.url is not None:
        return {"type": "url", "url": image.url}
    return {"type": "base64", "media_type": image.media_type or "image/png", "data": image.data or ""}


def _document(file: File, losses: Losses) -> list[Json]:
    source = _file_source(file)
    if source is None:
        losses.add("messages.file")
        return []
    is_image = file.file_id is not None and (file.media_type or "").startswith("image/")
    block: Json = {"type": "image" if is_image else "document", "source": source}
    if file.name is not None and not is_image:
        block["title"] = file.name
    return [_marked(block, file.cache)]


def _file_source(file: File) -> Json | None:
    if file.file_id is not None:
        return {"type": "file", "file_id": file.file_id}
    if file.url is not None:
        return {"type": "url", "url": file.url}
    if not has_text(file):
        return {"type": "base64", "media_type": file.media_type or "application/pdf", "data": file.data or ""}
    text = file_text(file)
    return None if text is None else {"type": "text", "media_type": "text/plain", "data": text}


def _tool_use(call: ToolCall, losses: Losses) -> Json:
    value, is_faithful = tool_input(call.arguments)
    losses.add("messages.tool_call.arguments", when=not is_faithful)
    losses.add("messages.tool_call.signature", when=call.signature is not None)
    return {"type": "tool_use", "id": _call_id(call.id), "name": call.name, "input": value}


def _call_id(call_id: str) -> str:
    """Other vendors' ids may hold characters that this API refuses; call and result are bent alike."""
    return _NOT_IN_IDS.sub("_", call_id)


def _tool_result(result: ToolResult, losses: Losses) -> Json:
    content = [inner for part in result.parts for inner in _blocks(part, losses)]
    block = given(
        type="tool_result",
        tool_use_id=_call_id(result.call_id),
        content=_content(content) if content else None,
        is_error=result.is_error or None,
    )
    return _marked(block, result.cache)


def _thought(part: Reasoning, losses: Losses) -> list[Json]:
    """Only thinking that this API signed can be replayed; it refuses any other."""
    if part.format in {None, REASONING_FORMAT}:
        if part.encrypted is not None:
            return [{"type": "redacted_thinking", "data": part.encrypted}]
        if part.signature is not None:
            return [{"type": "thinking", "thinking": part.text, "signature": part.signature}]
    losses.add("messages.reasoning")
    return []


def _tools(request: Request, losses: Losses) -> tuple[list[Json], Json | None]:
    """The tools, and how to choose among them where that is said."""
    tools = [_tool(tool) for tool in request.tools]
    server_tools: Any = request.extra.get("server_tools")
    if isinstance(server_tools, list):
        tools += server_tools
    choice, parallel = request.tool_choice, request.parallel_tools
    if not tools:
        losses.add("tool_choice", when=choice is not None and choice.mode not in {"auto", "none"})
        return [], None
    if choice is None and parallel is None:
        return tools, None
    wire = _tool_choice(choice or ToolChoice())
    if parallel is not None and wire["type"] != "none":
        wire["disable_parallel_tool_use"] = not parallel
    return tools, wire


def _tool(tool: Tool) -> Json:
    schema = tool.parameters or {"type": "object"}
    return _marked(
        given(name=tool.name, input_schema=schema, description=tool.description, strict=tool.strict), tool.cache
    )


def _tool_choice(choice: ToolChoice) -> Json:
    if choice.mode == "named":
        return {"type": "tool", "name": choice.name}
    return {"type": "any" if choice.mode == "required" else choice.mode}


def _budget(options: ReasoningOptions) -> int:
    """The asked budget within the API's bounds; 0 for none."""
    if options.budget_tokens is None or options.effort == "none":
        return 0
    return min(max(options.budget_tokens, BUDGET_TOKENS_MIN), BUDGET_TOKENS_MAX)


def _thinking(options: ReasoningOptions, budget: int, losses: Losses) -> Json | None:
    """A budget as it is, an effort as adaptive thinking (beside the API's own field for it), `none` as none."""
    if options.effort == "none":
        return {"type": "disabled"}
    losses.add("reasoning.budget_tokens", when=budget != (options.budget_tokens or 0))
    if budget >= BUDGET_TOKENS_MIN:
        thinking: Json = {"type": "enabled", "budget_tokens": budget}
    elif options.budget_tokens is None or options.effort is not None:
        thinking = {"type": "adaptive"}
    else:
        return None
    losses.add("reasoning.summary", when=options.summary not in {None, "auto"})
    if options.exclude:
        thinking["display"] = "omitted"
    elif options.summary is not None:
        thinking["display"] = "summarized"
    return thinking


def _effort(options: ReasoningOptions, losses: Losses) -> str | None:
    losses.add("reasoning.effort", when=options.effort == "minimal")
    return {"minimal": "low", "none": None}.get(options.effort or "none", options.effort)


def _format(wanted: ResponseFormat | None, losses: Losses) -> Json | None:
    if wanted is None or wanted.type == "text":
        return None
    losses.add("response_format", when=wanted.schema is None)
    losses.add("response_format.description", when=wanted.schema is not None and wanted.description is not None)
    return None if wanted.schema is None else {"type": "json_schema", "schema": wanted.schema}


def _allowed(sampling: Sampling, losses: Losses, *, thinks: bool) -> Sampling:
    """Temperature ends at 1 here, and while thinking it is 1 and `top_k` is not allowed."""
    temperature, top_k = sampling.temperature, sampling.top_k
    if not thinks and (temperature is None or temperature <= 1):
        return sampling
    if temperature is not None and temperature != 1:
        losses.add("temperature")
        temperature = None if thinks else 1.0
    losses.add("top_k", when=thinks and top_k is not None)
    return msgspec.structs.replace(sampling, temperature=temperature, top_k=None if thinks else top_k)
