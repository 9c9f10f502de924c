"""Requests towards an upstream: the canonical request as the body of `generateContent`, whose path has the rest.

https://ai.google.dev/api/generate-content
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from trivium.dialects.base import Built
from trivium.dialects.common import Json
from trivium.dialects.gemini.media import kind_of, type_of
from trivium.dialects.gemini.wire import REASONING_FORMAT, UNSIGNED
from trivium.dialects.request import Losses, given, sampling_members, tool_input
from trivium.types.message import Audio, File, Image, Message, Part, Reasoning, Refusal, Text, ToolCall, ToolResult
from trivium.types.request import ReasoningOptions, Request, ResponseFormat, Tool, ToolChoice

OWN_FIELDS = frozenset(("safetySettings", "cachedContent", "labels", "store", "continuationToken"))
"""Fields of `Request.extra` that are this API's own and are written back; those of its configurations beside them."""
_CONFIGS = ("generationConfig", "toolConfig")

SAMPLING = {
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "seed": "seed",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
    "logprobs": "responseLogprobs",
    "top_logprobs": "logprobs",
}
TIERS = {"default": "standard", "flex": "flex", "priority": "priority"}
STOP_MAX = 5

_BUDGETS_ONLY = re.compile(r"gemini-[12]\b")
"""Models of the first generations refuse levels of thought, later ones take both."""
_BUDGETS = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24_576, "xhigh": 24_576, "max": 24_576}
"""As Google maps efforts. https://ai.google.dev/gemini-api/docs/openai"""
_MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY", "named": "ANY"}


def build_request(request: Request) -> Built:
    """The request's bytes; what the API has no word for is named in the losses."""
    losses = Losses()
    system, contents = _Writer(losses).conversation(request.messages)
    body = given(
        contents=contents,
        systemInstruction={"parts": system} if system else None,
        tools=_tools(request, losses) or None,
        serviceTier=TIERS.get(request.service_tier or ""),
    )
    config = given(
        maxOutputTokens=request.max_output_tokens,
        stopSequences=request.stop[:STOP_MAX] or None,
        candidateCount=request.n if request.n > 1 else None,
        thinkingConfig=request.reasoning and _thinking(request.reasoning, request.model, losses),
    )
    config |= sampling_members(request.sampling, SAMPLING, losses)
    if request.response_format is not None:
        config |= _format(request.response_format, losses)
    losses.add("stop", when=len(request.stop) > STOP_MAX)
    losses.add("user", when=request.user)
    losses.add("metadata", when=request.metadata)
    losses.add("parallel_tools", when=request.parallel_tools is False)
    losses.add("service_tier", when=request.service_tier is not None and request.service_tier not in {*TIERS, "auto"})
    found = {"generationConfig": config, "toolConfig": _tool_config(request, losses)}
    for name, value in request.extra.items():
        if name in _CONFIGS and isinstance(value, dict):
            found[name] = value | found[name]
        elif name in OWN_FIELDS:
            body[name] = value
        else:
            losses.add(name, when=not _is_own_tool(name, value))
    body |= {name: value for name, value in found.items() if value}
    return Built(msgspec.json.encode(body), tuple(losses))


class _Writer:
    """Writes messages, and remembers the names of calls, which a result must repeat here."""

    def __init__(self, losses: Losses) -> None:
        self.losses = losses
        self.names: dict[str, str] = {}

    def conversation(self, messages: tuple[Message, ...]) -> tuple[list[Json], list[Json]]:
        """The parts of the system instruction, and the contents; a later system message has no role of its own."""
        system: list[Json] = []
        contents: list[Json] = []
        for message in messages:
            self.losses.add("name", when=message.name is not None)
            parts = self.message(message)
            if message.role == "system" and not contents:
                system += parts
                continue
            self.losses.add("system", when=message.role == "system")
            if parts:
                contents.append({"role": "model" if message.role == "assistant" else "user", "parts": parts})
        if not contents and system:
            # At least one turn is required; a request that is all system prompt still has something to say.
            self.losses.add("system")
            return [], [{"role": "user", "parts": system}]
        return system, contents

    def message(self, message: Message) -> list[Json]:
        parts = [wire for part in message.parts for wire in self.part(part)]
        calls = [wire for wire in parts if "functionCall" in wire]
        if calls and not any("thoughtSignature" in wire for wire in calls):
            calls[0]["thoughtSignature"] = UNSIGNED
        return parts

    def part(self, part: Part) -> list[Json]:
        """A part as one of this API: none, where it is empty or cannot be said."""
        self.losses.add("cache_control", when=getattr(part, "cache", None))
        match part:
            case Text():
                self.losses.add("messages.citations", when=part.citations)
                return [{"text": part.text}] if part.text else []
            case Image():
                self.losses.add("messages.image.detail", when=part.detail not in {None, "auto"})
                return [_image(part)]
            case File():
                return [_file(part)]
            case Audio():
                return [_inline(f"audio/{part.format}", part.data)]
            case ToolCall():
                return [self.call(part)]
            case ToolResult():
                return [self.result(part)]
            case Reasoning():
                return self.thought(part)
            case Refusal():
                self.losses.add("messages.refusal")
                return [{"text": part.text}] if part.text else []

    def call(self, call: ToolCall) -> Json:
        self.names[call.id] = call.name
        value, is_faithful = tool_input(call.arguments)
        self.losses.add("messages.tool_call.arguments", when=not is_faithful)
        return given(functionCall={"id": call.id, "name": call.name, "args": value}, thoughtSignature=call.signature)

    def result(self, result: ToolResult) -> Json:
        name = result.name or self.names.get(result.call_id) or result.call_id
        texts = [part.text for part in result.parts if isinstance(part, Text)]
        said: Any = "".join(texts) if len(texts) < 2 else [{"type": "text", "text": text} for text in texts]
        media = [wire for part in result.parts if not isinstance(part, Text) for wire in self.part(part)]
        self.losses.add("cache_control", when=result.cache)
        response = {"error" if result.is_error else "output": said}
        return {
            "functionResponse": given(id=result.call_id, name=name, response=response, parts=media or None),
        }

    def thought(self, part: Reasoning) -> list[Json]:
        """Thoughts of this API, and unsigned ones, which it reads as such; what others signed or sealed stays out."""
        own = part.format == REASONING_FORMAT
        text = part.text or part.summary or ""
        if (not own and (part.signature or part.encrypted)) or not (text or part.signature):
            self.losses.add("messages.reasoning")
            return []
        if not text:
            return [{"text": "", "thoughtSignature": part.signature}]  # it came after a text
        return [given(text=text, thought=True, thoughtSignature=part.signature)]


def _inline(media_type: str, data: str, name: str | None = None) -> Json:
    return {"inlineData": given(mimeType=media_type, data=data, displayName=name)}


def _image(image: Image) -> Json:
    if image.url is None:
        return _inline(image.media_type or "image/png", image.data or "")
    found = type_of(image.url)
    media_type = found if kind_of(found) == "images" else "image/jpeg"
    return {"fileData": {"fileUri": image.url, "mimeType": media_type}}


def _file(file: File) -> Json:
    uri = file.file_id or file.url
    if uri is None:
        return _inline(file.media_type or "application/pdf", file.data or "", file.name)
    return {"fileData": given(fileUri=uri, mimeType=file.media_type or type_of(uri) or None, displayName=file.name)}


def _is_own_tool(name: str, value: Any) -> bool:
    return name.startswith("tools.") and isinstance(value, dict)


def _tools(request: Request, losses: Losses) -> list[Json]:
    tools: list[Json] = [{"functionDeclarations": [_tool(tool, losses) for tool in request.tools]}]
    own = [{name[6:]: value} for name, value in request.extra.items() if _is_own_tool(name, value)]
    return own if not request.tools else tools + own


def _tool(tool: Tool, losses: Losses) -> Json:
    losses.add("cache_control", when=tool.cache)
    losses.add("tools.strict", when=tool.strict)
    return given(name=tool.name, description=tool.description, parametersJsonSchema=tool.parameters or None)


def _tool_config(request: Request, losses: Losses) -> Json:
    choice = request.tool_choice
    if choice is None:
        return {}
    if not request.tools:
        losses.add("tool_choice", when=choice.mode not in {"auto", "none"})
        return {}
    return {"functionCallingConfig": _calling(choice)}


def _calling(choice: ToolChoice) -> Json:
    return given(mode=_MODES[choice.mode], allowedFunctionNames=None if choice.name is None else [choice.name])


def _thinking(options: ReasoningOptions, model: str, losses: Losses) -> Json:
    """An effort as a level, or as a budget where the model knows no levels; a budget as it is."""
    losses.add("reasoning.summary", when=options.summary not in {None, "auto"})
    budget, effort, level = options.budget_tokens, options.effort, None
    if effort is None:
        pass
    elif budget is not None and effort != "none":
        losses.add("reasoning.effort")
    elif _BUDGETS_ONLY.search(model):
        losses.add("reasoning.effort", when=effort in {"minimal", "xhigh", "max"})
        budget = _BUDGETS[effort]
    else:
        losses.add("reasoning.effort", when=effort in {"none", "max"})  # these models always think
        budget, level = None, {"none": "MINIMAL", "max": "XHIGH"}.get(effort, effort.upper())
    return given(thinkingBudget=budget, thinkingLevel=level, includeThoughts=None if options.exclude else True)


def _format(wanted: ResponseFormat, losses: Losses) -> Json:
    losses.add("response_format.description", when=wanted.description is not None)
    if wanted.type == "text":
        return {}
    schema = wanted.schema if wanted.type == "json_schema" else None
    return given(responseMimeType="application/json", responseJsonSchema=schema)
