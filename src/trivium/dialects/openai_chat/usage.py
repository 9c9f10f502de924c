"""Usage on this wire: counts contain each other here and are disjoint in `types.usage`."""

from __future__ import annotations

from typing import Any, TypeVar, cast

import msgspec
from msgspec.structs import astuple

from trivium.dialects.common import tokens
from trivium.dialects.openai import cost_of
from trivium.dialects.openai_chat.wire import Details, Timings, UsageObject
from trivium.types.usage import Usage

S = TypeVar("S", UsageObject, Timings)

_NO_DETAILS = Details()


def read_usage(usage: Any, timings: Any) -> Usage | None:
    """The figures of an answer; None where it has none that can be true."""
    found = None if usage is None else of_usage(_shaped(usage, UsageObject))
    if found is None and timings is not None:
        found = _of_timings(_shaped(timings, Timings))
    return found


def _shaped(value: Any, shape: type[S]) -> S:
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError:
        return shape()


def of_usage(wire: UsageObject) -> Usage | None:
    """The figures of a usage object; None where they cannot be true. On the path of each request: zeros are skipped."""
    prompt, output = tokens(wire.prompt_tokens), tokens(wire.completion_tokens)
    if prompt is None or output is None:
        return None
    inside, made = wire.prompt_tokens_details or _NO_DETAILS, wire.completion_tokens_details or _NO_DETAILS
    if wire.cost is None and not (wire.prompt_cache_hit_tokens or any(astuple(inside)) or any(astuple(made))):
        return Usage(input_tokens=prompt, output_tokens=output)
    reasoning = made.reasoning_tokens and (tokens(made.reasoning_tokens) or 0)
    if reasoning and wire.total_tokens == prompt + output + reasoning:
        # Some servers count thinking beside the completion; it is billed as output all the same.
        output += reasoning
    hit = wire.prompt_cache_hit_tokens if inside.cached_tokens is None else inside.cached_tokens
    read = min(tokens(hit) or 0, prompt) if hit else 0
    written = min(tokens(inside.cache_write_tokens) or 0, prompt - read) if inside.cache_write_tokens else 0
    fresh = prompt - read - written
    return Usage(
        input_tokens=fresh,
        output_tokens=output,
        cache_read_tokens=read,
        cache_write_tokens=written,
        reasoning_tokens=min(reasoning, output) if reasoning else 0,
        input_audio_tokens=min(tokens(inside.audio_tokens) or 0, fresh) if inside.audio_tokens else 0,
        output_audio_tokens=min(tokens(made.audio_tokens) or 0, output) if made.audio_tokens else 0,
        input_image_tokens=min(tokens(inside.image_tokens) or 0, fresh) if inside.image_tokens else 0,
        cost_usd=None if wire.cost is None else _billed(wire),
    )


def _billed(wire: UsageObject) -> float | None:
    """What a routing service charges; with a key of one's own at its upstream that is a fee, beside that one's bill."""
    fee, inside = cost_of(wire.cost), wire.cost_details
    if fee is None or wire.is_byok is not True or not isinstance(inside, dict):
        return fee
    bill = cost_of(cast("dict[str, Any]", inside).get("upstream_inference_cost"))
    return None if bill is None else fee + bill


def _of_timings(wire: Timings) -> Usage | None:
    read, prompt, output = tokens(wire.cache_n), tokens(wire.prompt_n), tokens(wire.predicted_n)
    if read is None or prompt is None or output is None:
        return None
    return Usage(input_tokens=prompt, cache_read_tokens=read, output_tokens=output)


def usage_object(usage: Usage) -> dict[str, Any]:
    """The `usage` member of an answer."""
    inside = {"cached_tokens": usage.cache_read_tokens, "audio_tokens": usage.input_audio_tokens}
    if written := usage.cache_write_tokens + usage.cache_write_1h_tokens:
        inside["cache_write_tokens"] = written
    if usage.input_image_tokens:
        inside["image_tokens"] = usage.input_image_tokens
    wire: dict[str, Any] = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": inside,
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "audio_tokens": usage.output_audio_tokens,
        },
    }
    if usage.cost_usd is not None:
        wire["cost"] = usage.cost_usd
    return wire
