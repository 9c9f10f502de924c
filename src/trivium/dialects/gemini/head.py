"""The first look at a caller's body, whose model and stream the path has said; and the same body passed on."""

from __future__ import annotations

import math
from typing import Annotated

import msgspec
from msgspec import UNSET, UnsetType

from trivium.dialects.base import Addressed, Twin
from trivium.dialects.common import MAX_TOKENS, UNSAID, Json, check_models, check_name, check_twin, invalid, not_empty
from trivium.dialects.gemini.wire import camel_keys
from trivium.errors import InvalidRequest
from trivium.wire.json import BROKEN, NULL, join, members

Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_TOKENS)]
NOT_SENT = ("trivium", "models", "model")
"""Two fields for Trivium alone, and a model beside that of the path, which could be another one."""


class _Wire(msgspec.Struct):
    contents: msgspec.Raw
    generation_config: Json | None = None
    camel_config: Json | None = msgspec.field(default=None, name="generationConfig")
    tools: msgspec.Raw = NULL
    model: msgspec.Raw | UnsetType = UNSET
    models: tuple[str, ...] | UnsetType | None = UNSET
    trivium: Twin | UnsetType | None = UNSET


class Thinking(msgspec.Struct, rename="camel"):
    include_thoughts: bool | None = None
    thinking_budget: Annotated[int, msgspec.Meta(ge=-1, le=MAX_TOKENS)] | None = None
    thinking_level: str | None = None


class Config(msgspec.Struct, rename="camel"):
    """`generationConfig`, as far as it means something elsewhere."""

    max_output_tokens: Count | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: float | None = None
    stop_sequences: list[str] | None = None
    seed: int | None = None
    candidate_count: Count | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    response_logprobs: bool | None = None
    logprobs: Count | None = None
    response_mime_type: str | None = None
    response_schema: Json | None = None
    response_json_schema: Json | None = None
    thinking_config: Thinking | None = None

    @property
    def has_schema(self) -> bool:
        return self.response_schema is not None or self.response_json_schema is not None


class PathHead(msgspec.Struct, frozen=True, kw_only=True):
    """What a body says at first sight, with what its path says."""

    model: str
    messages: msgspec.Raw
    models: tuple[str, ...]
    trivium: Twin | None
    stream: bool = False
    needs: frozenset[str] = frozenset()
    wants_usage: bool = True
    passes: bool = True
    metadata: msgspec.Raw = UNSAID
    session: msgspec.Raw = UNSAID
    provider: msgspec.Raw = UNSAID


class GenerateHead(PathHead, frozen=True, kw_only=True):
    config: Config
    is_ours: bool
    """It has members that no upstream may see."""

    @property
    def max_output_tokens(self) -> int | None:
        return self.config.max_output_tokens


_DECODE = msgspec.json.Decoder(_Wire).decode


def peek(body: bytes, addressed: Addressed | None = None, /) -> GenerateHead:
    """The head. Raises InvalidRequest with what is wrong, where, and what to do."""
    if addressed is None:
        raise InvalidRequest("The path names no model.", remedy="Ask at `/v1beta/models/MODEL:generateContent`.")
    where = ""
    try:
        if not body.isascii():
            body.decode()
        wire = _DECODE(body)
        where = "generationConfig"
        sent = camel_keys(wire.camel_config or wire.generation_config or {})
        config = msgspec.convert(sent, Config, strict=False)  # numbers may come as texts, but not `inf` or `nan`
        if not math.isfinite(_sum(config)):
            raise msgspec.ValidationError("Expected finite numbers")
    except BROKEN as error:
        raise invalid(error, where) from None
    if wire.trivium is not UNSET:
        check_twin(body)
    check_name(addressed.model)
    check_models(wire.models or ())
    if not (not_empty(wire.contents) or bytes(memoryview(wire.contents)[:1]) == b"{"):
        remedy = 'Send the conversation, for example `[{"parts": [{"text": "Hello"}]}]`.'
        raise InvalidRequest("`contents` must be an array with something in it.", remedy=remedy, param="contents")
    return GenerateHead(
        model=addressed.model,
        stream=addressed.stream,
        messages=wire.contents,
        models=wire.models or (),
        trivium=wire.trivium or None,
        config=config,
        needs=_needs(config, tools=not_empty(wire.tools)),
        is_ours=any(sent is not UNSET for sent in (wire.trivium, wire.models, wire.model)),
    )


def _sum(config: Config) -> float:
    """Of all numbers that may be fractions: what is none makes it none."""
    penalties = (config.presence_penalty or 0) + (config.frequency_penalty or 0)
    return (config.temperature or 0) + (config.top_p or 0) + (config.top_k or 0) + penalties


def _needs(config: Config, *, tools: bool) -> frozenset[str]:
    needs = {
        "tools": tools,
        "json_schema": config.has_schema,
        "json_object": config.response_mime_type == "application/json" and not config.has_schema,
        "n": (config.candidate_count or 1) > 1,
        "logprobs": config.response_logprobs,
    }
    return frozenset(name for name, needed in needs.items() if needed)


def pass_request(
    body: bytes, head: GenerateHead, model: str, *, stream: bool | None = None, ask_usage: bool = False
) -> bytes:
    """The caller's bytes: model and stream stand in the path, and usage always comes."""
    del model, stream, ask_usage
    if not head.is_ours:
        return body
    return join({name: value for name, value in members(body).items() if name not in NOT_SENT})
