"""Whole answers on this wire: an upstream's read into events, ours written for a caller, passed ones looked at."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from trivium.dialects.base import AnswerContext, Built, PassedAnswer
from trivium.dialects.common import excerpt
from trivium.dialects.openai import error_in_band
from trivium.dialects.openai_chat.events import CallNumbers, choice_events, finish_of
from trivium.dialects.openai_chat.usage import of_usage, read_usage, usage_object
from trivium.dialects.openai_chat.wire import Answer, Passed, Passing, Spoken
from trivium.dialects.request import Losses
from trivium.errors import UpstreamProtocolError
from trivium.types.event import End, Event, FinishReason, Start, UsageReport
from trivium.types.message import Citation, Part, Reasoning, Refusal, Text, ToolCall
from trivium.types.response import Choice, Response
from trivium.wire.json import BROKEN

_ANSWER = msgspec.json.Decoder(Answer)
_PASSED = msgspec.json.Decoder(Passed)
_PASSING = msgspec.json.Decoder(Passing)
_SILENT = Spoken()

A = TypeVar("A", Answer, Passing)


def _read(body: bytes, decoder: msgspec.json.Decoder[A]) -> A:
    try:
        wire = decoder.decode(body)
    except BROKEN as error:
        text = "an empty body" if not body.strip() else f"a body that is no completion: {excerpt(str(error))}"
        raise UpstreamProtocolError(f"The upstream answered 200 with {text}.") from None
    if wire.error is not None:
        raise error_in_band(wire.error)
    if not wire.choices:
        raise UpstreamProtocolError("The upstream answered 200 without a choice.")
    for choice in wire.choices:
        if choice.error is not None:
            raise error_in_band(choice.error)
    return wire


def decode_answer(body: bytes) -> list[Event]:
    """A whole 200 answer as events, `End` last. Raises UpstreamProtocolError, or the error that the answer carries."""
    wire = _read(body, _ANSWER)
    events: list[Event] = [Start(id=wire.id or "", model=wire.model or "", created=int(wire.created or 0))]
    for choice in wire.choices or ():
        message = choice.message or _SILENT
        for number, call in enumerate(message.tool_calls or ()):
            call.index = number
        events += choice_events(choice, message, CallNumbers(), wire.id or "")
        events.append(finish_of(choice.finish_reason or "stop", choice.index))
    usage = read_usage(wire.usage, wire.timings)
    if usage is not None:
        events.append(UsageReport(usage))
    events.append(End())
    return events


def read_answer(body: bytes) -> PassedAnswer:
    """What a passed answer says about itself. Raises like `decode_answer`."""
    if (passed := _usual(body)) is not None:
        return passed
    wire = _read(body, _PASSING)
    reasons = [choice.finish_reason for choice in wire.choices or () if choice.finish_reason]
    return PassedAnswer(read_usage(wire.usage, wire.timings), reasons[0] if reasons else "", wire.id or "")


def _usual(body: bytes) -> PassedAnswer | None:
    """An answer of one choice with usage, as almost all are; None for any other, and for broken ones."""
    try:
        wire = _PASSED.decode(body)
    except BROKEN:
        return None
    choices, usage = wire.choices, wire.usage
    if wire.error is not None or usage is None or choices is None or len(choices) != 1 or choices[0].error is not None:
        return None
    used = of_usage(usage)
    return None if used is None else PassedAnswer(used, choices[0].finish_reason or "", wire.id or "")


def finish_word(reason: FinishReason) -> str:
    """A finish in this wire's words: a refusal is a content filter's stop here."""
    return "content_filter" if reason == "refusal" else reason


def encode_answer(response: Response, context: AnswerContext) -> Built:
    """Write a completion with all documented fields, null where there is nothing to say."""
    losses = Losses()
    return Built(msgspec.json.encode(completion(response, context, losses)), tuple(losses))


def completion(response: Response, context: AnswerContext, losses: Losses) -> dict[str, Any]:
    """The completion object."""
    body: dict[str, Any] = {
        "id": context.id,
        "object": "chat.completion",
        "created": context.created,
        "model": context.model,
        "system_fingerprint": None,
        "choices": [_choice(choice, losses) for choice in response.choices],
    }
    if response.usage is not None:
        body["usage"] = usage_object(response.usage)
    return body


def _choice(choice: Choice, losses: Losses) -> dict[str, Any]:
    return {
        "index": choice.index,
        "message": _message(choice.message.parts, losses),
        "logprobs": None if choice.logprobs is None else {"content": choice.logprobs, "refusal": None},
        "finish_reason": None if choice.finish_reason is None else finish_word(choice.finish_reason),
    }


def _message(parts: tuple[Part, ...], losses: Losses) -> dict[str, Any]:
    said: dict[type[Part], list[Any]] = {}
    for part in parts:
        said.setdefault(type(part), []).append(part)
    texts: list[Text] = said.pop(Text, [])
    refusals: list[Refusal] = said.pop(Refusal, [])
    thoughts: list[Reasoning] = said.pop(Reasoning, [])
    calls: list[ToolCall] = said.pop(ToolCall, [])
    for kind in said:
        losses.add(kind.__name__.lower())
    message: dict[str, Any] = {
        "role": "assistant",
        "content": "".join([part.text for part in texts]) if texts else None,
        "refusal": "".join([part.text for part in refusals]) if refusals else None,
        "annotations": _annotations(texts),
    }
    if thoughts:
        message["reasoning"] = "".join(part.text or part.summary or "" for part in thoughts)
        losses.add("reasoning.signature", when=any(part.signature or part.encrypted for part in thoughts))
    if calls:
        losses.add("tool_call.signature", when=any(call.signature for call in calls))
        message["tool_calls"] = [call_object(call) for call in calls]
    return message


def call_object(call: ToolCall) -> dict[str, Any]:
    """A whole tool call."""
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _annotations(texts: list[Text]) -> list[dict[str, Any]]:
    """Citations of all texts; their offsets count from the beginning of the joined content."""
    annotations: list[dict[str, Any]] = []
    before = 0
    for text in texts:
        after = before + len(text.text)
        if text.citations:
            annotations += [annotation(citation, before, after) for citation in text.citations]
        before = after
    return annotations


def annotation(citation: Citation, start: int, end: int) -> dict[str, Any]:
    """A `url_citation`; one without offsets stands for its whole text, from `start` to `end`."""
    wire: dict[str, Any] = {
        "url": citation.source,
        "title": citation.title or "",
        "start_index": start if citation.start is None else start + citation.start,
        "end_index": end if citation.end is None else start + citation.end,
    }
    if citation.quote is not None:
        wire["content"] = citation.quote
    return {"type": "url_citation", "url_citation": wire}
