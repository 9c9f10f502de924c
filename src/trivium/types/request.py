"""What a caller asks for, in the vocabulary that all dialects share."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import msgspec

from trivium.types.message import Message

Operation = Literal["chat", "count", "embed", "rerank"]
"""What is asked of a model."""
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class Tool(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A function that the model may call; `parameters` is a JSON Schema object."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] = {}
    strict: bool | None = None
    cache: str | None = None


class ToolChoice(msgspec.Struct, frozen=True, omit_defaults=True):
    """`auto`, `none`, `required` (any tool), or `named` with the tool's `name`."""

    mode: Literal["auto", "none", "required", "named"] = "auto"
    name: str | None = None


class ResponseFormat(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Structured output; `schema` (JSON Schema) and `name` belong to `json_schema`."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    schema: dict[str, Any] | None = None
    name: str | None = None
    description: str | None = None
    strict: bool | None = None


class ReasoningOptions(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """How much to think: an `effort`, or a budget in tokens; `exclude` thinks without showing it."""

    effort: Effort | None = None
    budget_tokens: int | None = None
    exclude: bool = False
    summary: str | None = None


class Sampling(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Sampling parameters; None means that the caller left it out, and nothing is sent in its place."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    repetition_penalty: float | None = None
    seed: int | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None


class Request(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One inference request. `messages` are in the normal form of `types.message`."""

    operation: ClassVar[Operation] = "chat"

    model: str
    messages: tuple[Message, ...]
    max_output_tokens: int | None = None
    stream: bool = False
    include_usage: bool = False
    """Whether the caller asked for usage inside the stream; dialects that always send it ignore this."""
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tools: bool | None = None
    response_format: ResponseFormat | None = None
    reasoning: ReasoningOptions | None = None
    sampling: Sampling = Sampling()
    stop: tuple[str, ...] = ()
    n: int = 1
    user: str | None = None
    metadata: dict[str, str] = {}
    service_tier: str | None = None
    routed: bool = False
    """Whether it goes to a routing service, which has fields of its own; set for each attempt."""
    extra: dict[str, Any] = {}
    """Fields of the caller's dialect without a home here. Its own dialect writes them back; every
    other dialect names them as losses."""
