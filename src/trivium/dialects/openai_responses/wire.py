"""The words of the Responses API that requests, answers and streams share: usage, statuses, citations, logprobs.

https://platform.openai.com/docs/api-reference/responses/object
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from trivium.dialects.common import MAX_TOKENS, Json, tokens
from trivium.dialects.openai import cost_of
from trivium.types.event import Finish, FinishReason
from trivium.types.message import Citation
from trivium.types.usage import Usage

REASONING_FORMAT = "openai-responses-v1"
"""Marks thinking that only this API can decrypt (OpenRouter's name for it)."""

Count = Annotated[int, msgspec.Meta(ge=1, le=MAX_TOKENS)]

ASK_LOGPROBS, ASK_ENCRYPTED = "message.output_text.logprobs", "reasoning.encrypted_content"
"""Members of `include` that have a meaning here."""


class _InputDetails(msgspec.Struct, frozen=True):
    cached_tokens: Any = None
    cache_write_tokens: Any = None


class _OutputDetails(msgspec.Struct, frozen=True):
    reasoning_tokens: Any = None


class WireUsage(msgspec.Struct, frozen=True):
    """`usage` as it comes; `cost` is what routing services add."""

    input_tokens: Any = None
    output_tokens: Any = None
    input_tokens_details: _InputDetails | None = None
    output_tokens_details: _OutputDetails | None = None
    cost: Any = None


def usage_of(wire: WireUsage) -> Usage | None:
    """The figures, which contain each other here and are disjoint in ours; None where they cannot be true."""
    prompt, output = tokens(wire.input_tokens), tokens(wire.output_tokens)
    if prompt is None or output is None:
        return None
    inside, made = wire.input_tokens_details or _InputDetails(), wire.output_tokens_details or _OutputDetails()
    read = min(tokens(inside.cached_tokens) or 0, prompt)
    written = min(tokens(inside.cache_write_tokens) or 0, prompt - read)
    return Usage(
        input_tokens=prompt - read - written,
        output_tokens=output,
        cache_read_tokens=read,
        cache_write_tokens=written,
        reasoning_tokens=min(tokens(made.reasoning_tokens) or 0, output),
        cost_usd=cost_of(wire.cost),
    )


def wire_usage(usage: Usage) -> Json:
    """`usage` for a caller; `cost` is our addition, present where it is known."""
    written = usage.cache_write_tokens + usage.cache_write_1h_tokens
    wire: Json = {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cache_read_tokens, "cache_write_tokens": written},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_tokens,
    }
    if usage.cost_usd is not None:
        wire["cost"] = usage.cost_usd
    return wire


def finish_of(status: str, reason: str, *, has_calls: bool) -> Finish:
    """The finish that a status amounts to; the wire has one status for an answer that ends by itself or with calls."""
    if status != "incomplete":
        return Finish(reason="tool_calls" if has_calls else "stop", native=status)
    return Finish(reason="content_filter" if reason == "content_filter" else "length", native=reason or status)


def status_of(finish: FinishReason | None, *, refused: bool = False) -> tuple[str, Json | None]:
    """The status and `incomplete_details` for a caller; `refused`: the refusal is in the answer's own words."""
    match finish:
        case "length":
            return "incomplete", {"reason": "max_output_tokens"}
        case "content_filter":
            return "incomplete", {"reason": "content_filter"}
        case "refusal" if not refused:
            return "incomplete", {"reason": "content_filter"}
        case "error":
            return "failed", None
        case _:
            return "completed", None


class WireAnnotation(msgspec.Struct, frozen=True):
    """Any of this API's four citations; each has a source of another kind."""

    type: str = ""
    url: str | None = None
    title: str | None = None
    file_id: str | None = None
    filename: str | None = None
    start_index: int | None = None
    end_index: int | None = None

    @property
    def citation(self) -> Citation:
        named, title = self.url or self.file_id or self.filename or "", self.title or self.filename
        return Citation(source=named, title=title, start=self.start_index, end=self.end_index)


def wire_citation(citation: Citation, written: int) -> Json:
    """A `url_citation`; one without offsets stands for the `written` characters that it follows."""
    return {
        "type": "url_citation",
        "url": citation.source,
        "title": citation.title or "",
        "start_index": 0 if citation.start is None else citation.start,
        "end_index": written if citation.end is None else citation.end,
    }


def wire_logprobs(content: list[Json]) -> list[Json]:
    """Log-probabilities with all members that this API documents, among which the bytes of each token are."""
    return [_logprob(token) | {"top_logprobs": [*map(_logprob, token.get("top_logprobs") or ())]} for token in content]


def _logprob(entry: Json) -> Json:
    token, given = str(entry.get("token", "")), entry.get("bytes")
    return {"token": token, "bytes": list(token.encode()) if given is None else given, "logprob": entry.get("logprob")}
