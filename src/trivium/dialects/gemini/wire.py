"""The words of Gemini's API that requests, answers and streams share: spellings, finish reasons, usage, media types."""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec

from trivium.dialects.common import Json, tokens
from trivium.dialects.request import given
from trivium.errors import InvalidRequest
from trivium.types.event import FinishReason
from trivium.types.usage import Usage

REASONING_FORMAT = "google-gemini-v1"
"""Marks thinking whose signature only this API can verify (OpenRouter's name for it)."""
UNSIGNED = "skip_thought_signature_validator"
"""The signature that the API takes for a call that another model made; without any it refuses the request.
https://ai.google.dev/gemini-api/docs/thought-signatures"""

T = TypeVar("T")

_SNAKE = re.compile(r"_([a-z0-9])")
_SNAKE_KEY = re.compile(rb'"[a-z]+_[a-z_]*"\s*:')
_OPAQUE = frozenset(
    ("args", "response", "parameters", "parametersJsonSchema", "responseSchema", "responseJsonSchema",
     "labels", "partMetadata", "models", "trivium")
)  # fmt: skip
"""Members whose values are the caller's own: no key in them is this API's."""


def as_list(value: list[T] | T | None) -> list[T]:
    """The values of a repeated member, which this API also takes alone."""
    if isinstance(value, list):
        return value  # pyright: ignore[reportUnknownVariableType]
    return [] if value is None else [value]


def camel(name: str) -> str:
    return _SNAKE.sub(lambda found: found[1].upper(), name) if "_" in name else name


def in_camel_case(body: bytes) -> bytes:
    """A JSON body with its members in the one of their two spellings that is read here (`inlineData`, `inline_data`).

    Raises what `wire.json.BROKEN` names, and InvalidRequest for a member that is there in both.
    """
    return msgspec.json.encode(camel_keys(msgspec.json.decode(body))) if _SNAKE_KEY.search(body) else body


def camel_keys(value: Any) -> Any:
    if isinstance(value, list):
        return [camel_keys(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    if not isinstance(value, dict):
        return value
    fields: Json = value  # pyright: ignore[reportUnknownVariableType]
    named = [(camel(name), inner) for name, inner in fields.items()]
    done = {name: inner if name in _OPAQUE else camel_keys(inner) for name, inner in named}
    if len(done) < len(named):
        twice = next(name for name in fields if camel(name) != name and camel(name) in fields)
        raise InvalidRequest(f"`{twice}` is there in both spellings.", remedy="Send it once.", param=twice)
    return done


_FILTERED = ("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY", "IMAGE_RECITATION",
             "IMAGE_PROHIBITED_CONTENT", "MODEL_ARMOR")  # fmt: skip
_FAILED = ("MALFORMED_FUNCTION_CALL", "MALFORMED_RESPONSE", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "OTHER",
           "LANGUAGE", "MISSING_THOUGHT_SIGNATURE", "NO_IMAGE", "IMAGE_OTHER")  # fmt: skip
_FINISH: dict[str, FinishReason] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "CONTINUATION": "length",
    **dict.fromkeys(_FILTERED, "content_filter"),
    **dict.fromkeys(_FAILED, "error"),
}
_WORDS: dict[FinishReason, str] = {
    "stop": "STOP",
    "length": "MAX_TOKENS",
    "tool_calls": "STOP",
    "content_filter": "SAFETY",
    "refusal": "SAFETY",
    "error": "OTHER",
}


def finish_of(native: str, *, calls: bool = False) -> FinishReason:
    """The canonical reason: an answer that ends well with calls ends with them; an unknown word is a plain stop."""
    reason = _FINISH.get(native, "stop")
    return "tool_calls" if calls and reason == "stop" else reason


def finish_word(reason: FinishReason | None, native: str | None, *, refused: bool = False) -> str | None:
    """The reason for a caller; a native word of this API survives. `refused`: in its own words, then a plain stop."""
    if refused and reason == "stop":
        return _WORDS["refusal"]
    if native is not None and native in _FINISH and finish_of(native, calls=reason == "tool_calls") == reason:
        return native
    return None if reason is None else _WORDS[reason]


def shaped(value: Any, kind: type[T]) -> T | None:
    """A member of an answer that must not cost what stands beside it; None where it is none."""
    try:
        return None if value is None else msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return None


class _Modality(msgspec.Struct):
    modality: str = ""
    token_count: Any = msgspec.field(default=None, name="tokenCount")


class _Usage(msgspec.Struct, rename="camel"):
    """`usageMetadata` as it comes."""

    prompt_token_count: Any = None
    cached_content_token_count: Any = None
    tool_use_prompt_token_count: Any = None
    candidates_token_count: Any = None
    thoughts_token_count: Any = None
    prompt_tokens_details: list[_Modality] | None = None
    cache_tokens_details: list[_Modality] | None = None
    candidates_tokens_details: list[_Modality] | None = None


def usage_of(sent: Any) -> Usage | None:
    """Disjoint figures: the prompt holds what came from the cache, thoughts stand beside the candidates, and what
    tools of the API put into the prompt beside both. None where there is no prompt."""
    wire = shaped(sent, _Usage)
    if wire is None or (prompt := tokens(wire.prompt_token_count)) is None:
        return None
    cached = min(tokens(wire.cached_content_token_count) or 0, prompt)
    fresh = prompt - cached + (tokens(wire.tool_use_prompt_token_count) or 0)
    thoughts = tokens(wire.thoughts_token_count) or 0
    output = (tokens(wire.candidates_token_count) or 0) + thoughts

    def fresh_of(kind: str) -> int:
        return min(fresh, max(0, _of(wire.prompt_tokens_details, kind) - _of(wire.cache_tokens_details, kind)))

    return Usage(
        input_tokens=fresh,
        output_tokens=output,
        cache_read_tokens=cached,
        reasoning_tokens=thoughts,
        input_audio_tokens=fresh_of("AUDIO"),
        input_image_tokens=fresh_of("IMAGE"),
        output_audio_tokens=min(output, _of(wire.candidates_tokens_details, "AUDIO")),
    )


def _of(details: list[_Modality] | None, kind: str) -> int:
    return sum(tokens(found.token_count) or 0 for found in details or () if found.modality == kind)


def wire_usage(usage: Usage) -> Json:
    """`usageMetadata` for a caller; `cost` is our addition, present where it is known."""
    said = max(0, usage.output_tokens - usage.reasoning_tokens)
    return given(
        promptTokenCount=usage.prompt_tokens,
        candidatesTokenCount=said,
        totalTokenCount=usage.total_tokens,
        cachedContentTokenCount=usage.cache_read_tokens or None,
        thoughtsTokenCount=usage.reasoning_tokens or None,
        promptTokensDetails=_details(usage.prompt_tokens, usage.input_audio_tokens, usage.input_image_tokens),
        candidatesTokensDetails=_details(said, usage.output_audio_tokens),
        cost=usage.cost_usd,
    )


def _details(total: int, audio: int, image: int = 0) -> list[Json] | None:
    counts = {"TEXT": total - audio - image, "AUDIO": audio, "IMAGE": image}
    found = [{"modality": kind, "tokenCount": count} for kind, count in counts.items() if count > 0]
    return found if audio or image else None
