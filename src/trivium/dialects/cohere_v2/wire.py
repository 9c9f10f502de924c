"""The words of the Chat API that requests, answers and streams share: finish reasons, usage, citations, logprobs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from trivium.dialects.common import Json, tokens
from trivium.dialects.request import Losses, given
from trivium.dialects.said import Said
from trivium.types.event import FinishReason
from trivium.types.message import Citation, Part, Reasoning, Refusal, Text, ToolCall
from trivium.types.usage import Usage

TOOL_PLAN = "cohere-tool-plan"
"""Marks thinking that is a plan about tools, which has a place of its own here."""
PLAN_BLOCK = -1
"""Its block in an answer; those of content are numbered from 0."""

_FINISH: dict[str, FinishReason] = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop",
    "MAX_TOKENS": "length",
    "TOOL_CALL": "tool_calls",
}
_WORDS: dict[FinishReason, str] = {
    "stop": "COMPLETE",
    "refusal": "COMPLETE",
    "length": "MAX_TOKENS",
    "tool_calls": "TOOL_CALL",
}


def finish_of(word: str) -> FinishReason:
    """The canonical reason; a word that this API gets later counts as a plain stop, `native` still says it."""
    return _FINISH.get(word, "stop")


def finish_word(finish: FinishReason | None, native: str | None, stop_sequence: str | None) -> str:
    """The reason for a caller. `ERROR` is all that this API can say of an answer that a filter ended."""
    if stop_sequence is not None:
        return "STOP_SEQUENCE"
    if native is not None and _FINISH.get(native) == finish:
        return native
    return _WORDS.get(finish or "error", "ERROR")


class _Units(msgspec.Struct, frozen=True):
    input_tokens: Any = None
    output_tokens: Any = None


class WireUsage(msgspec.Struct, frozen=True):
    billed_units: _Units | None = None
    tokens: _Units | None = None
    cached_tokens: Any = None


def usage_of(wire: WireUsage) -> Usage:
    """The billed figures, which leave out what this API adds to a prompt; the tokens where it bills none."""
    billed, used = wire.billed_units or _Units(), wire.tokens or _Units()
    prompt = _known(billed.input_tokens, used.input_tokens)
    read = min(tokens(wire.cached_tokens) or 0, prompt)
    output = _known(billed.output_tokens, used.output_tokens)
    return Usage(input_tokens=prompt - read, cache_read_tokens=read, output_tokens=output)


def _known(billed: Any, used: Any) -> int:
    count = tokens(billed)
    return (tokens(used) or 0) if count is None else count


def wire_usage(usage: Usage) -> Json:
    """`usage` for a caller; `cost` is our addition, present where it is known."""
    units = {"input_tokens": usage.prompt_tokens, "output_tokens": usage.output_tokens}
    return {"billed_units": units, "tokens": units, "cached_tokens": usage.cache_read_tokens} | given(
        cost=usage.cost_usd
    )


class _Source(msgspec.Struct, frozen=True):
    id: str | None = None
    document: Json | None = None
    tool_output: Json | None = None


class WireCitation(msgspec.Struct, frozen=True):
    start: int | None = None
    end: int | None = None
    sources: list[_Source] | None = None
    content_index: int | None = None
    type: str | None = None


def citations_of(wire: WireCitation) -> Iterator[Citation]:
    """One for each source. Those of thinking and of plans are skipped: only texts have citations elsewhere."""
    if wire.type not in {None, "TEXT_CONTENT"}:
        return
    for source in wire.sources or (_Source(),):
        said = source.document or source.tool_output or {}
        title, quote = (value if isinstance(value, str) else None for value in (said.get("title"), snippet(said)))
        yield Citation(source=source.id or "", title=title, quote=quote, start=wire.start, end=wire.end)


def snippet(document: Json) -> Any:
    """What a document says, under the names that the API recommends."""
    return document.get("snippet", document.get("text"))


def by_block(wires: Iterable[WireCitation], default: int) -> dict[int, list[Citation]]:
    """The citations of each block of content; `default` is the block of those that name none."""
    blocks: dict[int, list[Citation]] = {}
    for wire in wires:
        block = default if wire.content_index is None else wire.content_index
        blocks.setdefault(block, []).extend(citations_of(wire))
    return blocks


def wire_citation(citation: Citation, index: int, said: Said) -> Json:
    """A citation in block `index`, of which `said` is what has been said; one without offsets is of all that."""
    start, end = citation.start or 0, said.length if citation.end is None else citation.end
    document = given(id=citation.source, title=citation.title, snippet=citation.quote)
    return {
        "start": start,
        "end": end,
        "text": said.part(start, end),
        "sources": [{"type": "document", "id": citation.source, "document": document}],
        "content_index": index,
        "type": "TEXT_CONTENT",
    }


class WireLogprobs(msgspec.Struct, frozen=True):
    text: str | None = None
    logprobs: list[float] | None = None


def logprobs_of(wires: Iterable[WireLogprobs]) -> list[Json]:
    """A chunk of several tokens is one here, with the probability of all: nobody says where it could be parted."""
    return [
        {"token": text, "logprob": sum(wire.logprobs or ()), "bytes": list(text.encode()), "top_logprobs": []}
        for wire in wires
        for text in (wire.text or "",)
    ]


def wire_logprobs(said: Json) -> Json:
    """One token for a caller; its number in a vocabulary is unknown."""
    logprob = said.get("logprob")
    return {"text": said.get("token"), "token_ids": [], "logprobs": [] if logprob is None else [logprob]}


def assistant_members(parts: Iterable[Part], losses: Losses, where: str = "") -> Json:
    """What a message of the assistant has: a plan, content, citations and calls; `where` begins the names of losses."""
    plans: list[str] = []
    content: list[Json] = []
    citations: list[Json] = []
    calls: list[Json] = []
    for part in parts:
        losses.add("cache_control", when=getattr(part, "cache", None))
        match part:
            case Text() | Refusal():
                losses.add(f"{where}refusal", when=where and isinstance(part, Refusal))
                cited = part.citations if isinstance(part, Text) else ()
                losses.add(f"{where}citations", when=cited and not part.text)
                if part.text:
                    said = Said(part.text)
                    citations += [wire_citation(citation, len(content), said) for citation in cited]
                    content.append({"type": "text", "text": part.text})
            case Reasoning() if part.format == TOOL_PLAN:
                plans.append(part.text)
            case Reasoning():
                losses.add(f"{where}reasoning.signature", when=part.signature)
                losses.add(f"{where}reasoning.encrypted", when=part.encrypted)
                if text := part.text or part.summary:
                    content.append({"type": "thinking", "thinking": text})
            case ToolCall():
                losses.add(f"{where}tool_call.signature", when=part.signature)
                function = {"name": part.name, "arguments": part.arguments or "{}"}
                calls.append({"id": part.id, "type": "function", "function": function})
            case _:
                losses.add(f"{where}{type(part).__name__.lower()}")
    return given(
        tool_plan="".join(plans) or None,
        content=content or None,
        tool_calls=calls or None,
        citations=citations or None,
    )
