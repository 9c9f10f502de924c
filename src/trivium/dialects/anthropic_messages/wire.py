"""The words of the Messages API that requests, answers and streams share: usage, stop reasons, blocks."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import astuple, replace

from trivium.dialects.common import tokens
from trivium.types.event import FinishReason
from trivium.types.message import Citation
from trivium.types.usage import Usage

REASONING_FORMAT = "anthropic-claude-v1"
"""Marks thinking whose signature or encrypted text only this API can verify (OpenRouter's name for it)."""

_FINISH: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "refusal",
}
_STOP: dict[FinishReason, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
    "refusal": "refusal",
}


def finish_of(stop_reason: str) -> FinishReason:
    """The canonical reason; a word that this API gets later counts as a plain stop, `native` still says it."""
    return _FINISH.get(stop_reason, "stop")


def stop_of(
    finish: FinishReason | None, native: str | None, stop_sequence: str | None, *, refused: bool = False
) -> str | None:
    """The stop reason for a caller; None where the answer has no end that this API has a word for.

    A native word of this API survives as it is. `refused`: the answer has a refusal in its own words,
    which other dialects end with a plain stop.
    """
    if refused and finish == "stop":
        return "refusal"
    if stop_sequence is not None:
        return "stop_sequence"
    if native is not None and _FINISH.get(native) == finish:
        return native
    return _STOP.get(finish) if finish else None


class _CacheCreation(msgspec.Struct, frozen=True):
    ephemeral_5m_input_tokens: Any = None
    ephemeral_1h_input_tokens: Any = None


_NO_LIFETIMES = _CacheCreation()


class _OutputDetails(msgspec.Struct, frozen=True):
    thinking_tokens: Any = None


class WireUsage(msgspec.Struct, frozen=True):
    """`usage` as it comes; a stream says it in two places, and figures that it leaves out keep their value."""

    input_tokens: Any = None
    output_tokens: Any = None
    cache_read_input_tokens: Any = None
    cache_creation_input_tokens: Any = None
    cache_creation: _CacheCreation | None = None
    output_tokens_details: _OutputDetails | None = None


def merge_usage(earlier: WireUsage | None, later: WireUsage) -> WireUsage:
    """The figures of both, where `later` says them its own (they are cumulative)."""
    if earlier is None:
        return later
    said = zip(later.__struct_fields__, astuple(later), strict=True)
    return replace(earlier, **{name: value for name, value in said if value is not None})


def usage_of(wire: WireUsage) -> Usage:
    """`input_tokens` excludes the cache on this wire too; the breakdown by lifetime may be missing."""
    lifetimes, details = wire.cache_creation or _NO_LIFETIMES, wire.output_tokens_details
    hour = tokens(lifetimes.ephemeral_1h_input_tokens) or 0
    written = tokens(wire.cache_creation_input_tokens)
    if written is None:
        written = hour + (tokens(lifetimes.ephemeral_5m_input_tokens) or 0)
    return Usage(
        input_tokens=tokens(wire.input_tokens) or 0,
        output_tokens=tokens(wire.output_tokens) or 0,
        cache_read_tokens=tokens(wire.cache_read_input_tokens) or 0,
        cache_write_tokens=max(0, written - hour),
        cache_write_1h_tokens=min(hour, written),
        reasoning_tokens=0 if details is None else tokens(details.thinking_tokens) or 0,
    )


def wire_usage(usage: Usage) -> dict[str, Any]:
    """`usage` for a caller; `cost` is our addition, present where it is known."""
    wire: dict[str, Any] = {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_read_input_tokens": usage.cache_read_tokens,
        "cache_creation_input_tokens": usage.cache_write_tokens + usage.cache_write_1h_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write_tokens,
            "ephemeral_1h_input_tokens": usage.cache_write_1h_tokens,
        },
    }
    if usage.reasoning_tokens:
        wire["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    if usage.cost_usd is not None:
        wire["cost"] = usage.cost_usd
    return wire


class WireCitation(msgspec.Struct, frozen=True):
    """Any of this API's five citations; each has a source of another kind."""

    cited_text: str | None = None
    url: str | None = None
    source: str | None = None
    file_id: str | None = None
    title: str | None = None
    document_title: str | None = None
    document_index: int = 0


def citation_of(wire: WireCitation) -> Citation:
    """Its offsets count inside the source, not inside the answer, so they have no home in ours."""
    named = wire.url or wire.source or wire.file_id or wire.document_title
    return Citation(
        source=named or f"document:{wire.document_index}",
        title=wire.title or wire.document_title,
        quote=wire.cited_text,
    )


def wire_citation(citation: Citation) -> dict[str, Any]:
    """The one form that needs no index into documents of the request, which other dialects do not give."""
    return {
        "type": "web_search_result_location",
        "url": citation.source,
        "title": citation.title,
        "cited_text": citation.quote or "",
        "encrypted_index": "",
    }
