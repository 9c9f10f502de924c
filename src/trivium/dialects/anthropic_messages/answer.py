"""Whole answers: the `message` object of the Messages API, both ways, and the list of models."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec

from trivium.dialects.anthropic_messages.errors import WireError, classify
from trivium.dialects.anthropic_messages.wire import (
    REASONING_FORMAT,
    WireCitation,
    WireUsage,
    citation_of,
    finish_of,
    stop_of,
    usage_of,
    wire_citation,
    wire_usage,
)
from trivium.dialects.base import AnswerContext, Built, PassedAnswer
from trivium.dialects.common import Json
from trivium.dialects.request import Losses, tool_input
from trivium.errors import UpstreamProtocolError
from trivium.types import event as ev
from trivium.types.event import Event
from trivium.types.message import Audio, Message, Part, Reasoning, Refusal, Text, ToolCall
from trivium.types.response import Choice, Response
from trivium.types.usage import Usage
from trivium.wire.json import BROKEN


class WireBlock(msgspec.Struct, frozen=True):
    """A content block of any type, with the fields of those that have a meaning in other dialects."""

    type: str
    text: str = ""
    citations: list[WireCitation] | None = None
    thinking: str = ""
    signature: str = ""
    data: str = ""
    id: str = ""
    name: str = ""
    input: msgspec.Raw = msgspec.Raw(b"{}")


class _Passed(msgspec.Struct, frozen=True):
    id: str = ""
    stop_reason: str | None = None
    usage: WireUsage | None = None
    error: WireError | None = None


class _Whole(_Passed, frozen=True):
    model: str = ""
    content: list[WireBlock] = []
    stop_sequence: str | None = None


_A = TypeVar("_A", bound=_Passed)
_WHOLE = msgspec.json.Decoder(_Whole)
_PASSED = msgspec.json.Decoder(_Passed)


def decode_answer(body: bytes) -> list[Event]:
    """A whole answer as events; blocks of tools that the API ran itself have no event and are skipped."""
    answer = _decoded(_WHOLE, body)
    events: list[Event] = [ev.Start(id=answer.id, model=answer.model)]
    calls = 0
    for index, block in enumerate(answer.content):
        events += block_events(block, index, calls)
        if block.type == "tool_use":
            events.append(ev.ToolCallDelta(index=calls, arguments=bytes(block.input).decode()))
            calls += 1
    reason = answer.stop_reason or ""
    events.append(ev.Finish(reason=finish_of(reason), native=reason, stop_sequence=answer.stop_sequence))
    if answer.usage is not None:
        events.append(ev.UsageReport(usage_of(answer.usage)))
    events.append(ev.End())
    return events


def block_events(block: WireBlock, index: int, call: int) -> Iterator[Event]:
    """What a block says when it begins (in a stream) or as a whole, save the arguments of a call."""
    match block.type:
        case "text":
            if block.text:
                yield ev.TextDelta(block.text, block=index)
            for citation in block.citations or ():
                yield ev.CitationDelta(citation=citation_of(citation), block=index)
        case "thinking":
            signature = block.signature or None
            yield ev.ReasoningDelta(text=block.thinking, signature=signature, format=REASONING_FORMAT, block=index)
        case "redacted_thinking":
            yield ev.ReasoningDelta(encrypted=block.data, format=REASONING_FORMAT, block=index)
        case "tool_use":
            yield ev.ToolCallStart(index=call, id=block.id, name=block.name)
        case _:
            pass


def read_answer(body: bytes) -> PassedAnswer:
    """What a passed answer says about itself; an answer without content is legal here, one without an end is not."""
    answer = _decoded(_PASSED, body)
    return PassedAnswer(
        usage=usage_of(answer.usage) if answer.usage else None,
        finish_reason=finish_of(answer.stop_reason or ""),
        id=answer.id,
    )


def _decoded(decoder: msgspec.json.Decoder[_A], body: bytes) -> _A:
    try:
        body.decode()  # what is kept raw is not checked by the decoder
        answer = decoder.decode(body)
    except BROKEN as error:
        raise UpstreamProtocolError(f"The upstream's answer is no message: {error}") from None
    if answer.error is not None:
        raise classify(200, answer.error)
    if answer.stop_reason is None:
        raise UpstreamProtocolError("The upstream's answer has no `stop_reason`.")
    return answer


def encode_answer(response: Response, context: AnswerContext) -> Built:
    """The first choice as a `message`; what it has no word for is named in the losses."""
    losses = Losses()
    losses.add("n", when=len(response.choices) > 1)
    choice = response.choices[0] if response.choices else Choice(message=Message("assistant"))
    losses.add("logprobs", when=choice.logprobs)
    parts, stop_sequence = choice.message.parts, choice.stop_sequence
    refused = Refusal in map(type, parts)
    stop = stop_of(choice.finish_reason, choice.native_finish_reason, stop_sequence, refused=refused)
    content = [block for part in parts for block in _blocks(part, losses)]
    usage = response.usage or Usage(input_tokens=context.input_tokens_estimate, estimated=True)
    message = message_object(context, content, usage) | {"stop_reason": stop, "stop_sequence": stop_sequence}
    return Built(msgspec.json.encode(message), tuple(losses))


def message_object(context: AnswerContext, content: list[Json], usage: Usage) -> Json:
    """A `message` without its end: an answer's frame, and what a stream starts with."""
    return {
        "id": context.id,
        "type": "message",
        "role": "assistant",
        "model": context.model,
        "content": content,
        "stop_reason": None,
        "stop_sequence": None,
        "usage": wire_usage(usage),
    }


def _blocks(part: Part, losses: Losses) -> list[Json]:
    match part:
        case Text() if part.text or part.citations:
            citations = [wire_citation(citation) for citation in part.citations] or None
            return [{"type": "text", "text": part.text, "citations": citations}]
        case Refusal() if part.text:
            return [{"type": "text", "text": part.text, "citations": None}]
        case ToolCall():
            value, is_faithful = tool_input(part.arguments)
            losses.add("tool_call.arguments", when=not is_faithful)
            losses.add("tool_call.signature", when=part.signature)
            return [{"type": "tool_use", "id": part.id, "name": part.name, "input": value}]
        case Reasoning():
            return _thinking(part, losses)
        case _:
            losses.add("audio", when=isinstance(part, Audio))
            return []


def _thinking(part: Reasoning, losses: Losses) -> list[Json]:
    """Thinking of any origin is shown; only signatures of this API's own travel, so that no other comes back to it."""
    blocks: list[Json] = []
    own = part.format in {None, REASONING_FORMAT}
    if not own and (part.signature or part.encrypted):
        losses.add("reasoning.signature" if part.signature else "reasoning.encrypted")
    text = part.text or part.summary or ""
    signature = (part.signature if own else None) or ""
    if text or signature:
        blocks.append({"type": "thinking", "thinking": text, "signature": signature})
    if own and part.encrypted is not None:
        blocks.append({"type": "redacted_thinking", "data": part.encrypted})
    return blocks


def models_answer(rows: list[dict[str, Any]]) -> bytes:
    """All models on one page. https://docs.claude.com/en/api/models-list"""
    models = [
        {
            "type": "model",
            "id": row["id"],
            "display_name": row.get("name") or row["id"],
            "created_at": datetime.fromtimestamp(row.get("created") or 0, UTC).isoformat(),
            "max_input_tokens": row.get("context"),
            "lifecycle": "active",
        }
        for row in rows
    ]
    ends = {"first_id": models[0]["id"] if models else None, "last_id": models[-1]["id"] if models else None}
    return msgspec.json.encode({"data": models, "has_more": False, **ends})
