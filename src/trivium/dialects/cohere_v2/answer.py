"""Whole answers of the Chat API, both ways, and the list of models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from trivium.dialects.base import AnswerContext, Built, PassedAnswer
from trivium.dialects.cohere_v2.errors import classify, failure
from trivium.dialects.cohere_v2.wire import (
    PLAN_BLOCK,
    TOOL_PLAN,
    WireCitation,
    WireLogprobs,
    WireUsage,
    assistant_members,
    by_block,
    finish_of,
    finish_word,
    logprobs_of,
    usage_of,
    wire_logprobs,
    wire_usage,
)
from trivium.dialects.common import Json
from trivium.dialects.request import Losses, given
from trivium.errors import UpstreamProtocolError
from trivium.types import event as ev
from trivium.types.event import Event
from trivium.types.message import Message
from trivium.types.response import Choice, Response
from trivium.wire.json import BROKEN, NULL


class WireContent(msgspec.Struct, frozen=True):
    """A block of content, whole or a piece of one; its members that are there say what it is."""

    text: str | None = None
    thinking: str | None = None


class WireFunction(msgspec.Struct, frozen=True):
    name: str | None = None
    arguments: str | None = None


class WireCall(msgspec.Struct, frozen=True):
    id: str | None = None
    function: WireFunction | None = None


class _Message(msgspec.Struct, frozen=True):
    tool_plan: str | None = None
    content: list[WireContent] | None = None
    citations: list[WireCitation] | None = None
    tool_calls: list[WireCall] | None = None


class _Answer(msgspec.Struct, frozen=True):
    id: str | None = None
    finish_reason: str | None = None
    message: msgspec.Raw = NULL
    """The error's words, if it is a text."""
    usage: WireUsage | None = None
    logprobs: list[WireLogprobs] | None = None
    error: str | None = None


_ANSWER = msgspec.json.Decoder(_Answer)
_MESSAGE = msgspec.json.Decoder(_Message | str | None)


def _read(body: bytes) -> tuple[_Answer, str]:
    """An answer and its finish reason. Raises UpstreamProtocolError, or the error that it carries."""
    try:
        body.decode()  # what is kept raw is not checked by the decoder
        answer = _ANSWER.decode(body)
        said = _MESSAGE.decode(answer.message) if answer.finish_reason is None else None
    except BROKEN as error:
        raise UpstreamProtocolError(f"The upstream's answer is no message: {error}") from None
    if isinstance(said, str):
        raise classify(200, said)
    if answer.finish_reason is None:
        raise UpstreamProtocolError("The upstream's answer has no `finish_reason`.")
    if (failed := failure(answer.finish_reason, answer.error)) is not None:
        raise failed
    return answer, answer.finish_reason


def read_answer(body: bytes) -> PassedAnswer:
    """What a passed answer says about itself; an answer without content is legal here, one without an end is not."""
    answer, reason = _read(body)
    return PassedAnswer(answer.usage and usage_of(answer.usage), finish_of(reason), answer.id or "")


def decode_answer(body: bytes) -> list[Event]:
    """A whole answer as events, `End` last. Raises UpstreamProtocolError, or the error that it carries."""
    answer, reason = _read(body)
    try:
        message = _MESSAGE.decode(answer.message)
    except BROKEN as error:
        raise UpstreamProtocolError(f"The upstream's answer is no message: {error}") from None
    events: list[Event] = [ev.Start(id=answer.id or "")]
    if isinstance(message, _Message):
        events += _message_events(message, answer.id or "")
    if answer.logprobs:
        events.append(ev.LogprobsDelta(content=logprobs_of(answer.logprobs)))
    events.append(ev.Finish(reason=finish_of(reason), native=reason))
    if answer.usage is not None:
        events.append(ev.UsageReport(usage_of(answer.usage)))
    events.append(ev.End())
    return events


def _message_events(message: _Message, answer_id: str) -> Iterator[Event]:
    if message.tool_plan:
        yield ev.ReasoningDelta(text=message.tool_plan, format=TOOL_PLAN, block=PLAN_BLOCK)
    contents = message.content or []
    first = next((index for index, content in enumerate(contents) if content.text is not None), 0)
    cited = by_block(message.citations or (), first)
    for index, content in enumerate(contents):
        yield from content_events(content, index)
        yield from (ev.CitationDelta(citation=citation, block=index) for citation in cited.pop(index, ()))
    for number, call in enumerate(message.tool_calls or ()):
        yield call_start(call, number, answer_id)
        yield ev.ToolCallDelta(index=number, arguments=(call.function and call.function.arguments) or "{}")


def content_events(content: WireContent, block: int) -> Iterator[Event]:
    """What a block of content says, or a piece of it."""
    if content.thinking:
        yield ev.ReasoningDelta(text=content.thinking, block=block)
    if content.text:
        yield ev.TextDelta(content.text, block=block)


def call_start(call: WireCall, number: int, answer_id: str) -> ev.ToolCallStart:
    """A call's beginning; one without an id gets one. Raises UpstreamProtocolError for one without a name."""
    if call.function is None or not call.function.name:
        raise UpstreamProtocolError("The upstream called a tool without its name.")
    return ev.ToolCallStart(index=number, id=call.id or f"call_{answer_id}_{number}", name=call.function.name)


def encode_answer(response: Response, context: AnswerContext) -> Built:
    """The first choice as an answer; what it has no word for is named in the losses."""
    losses = Losses()
    losses.add("n", when=len(response.choices) > 1)
    choice = response.choices[0] if response.choices else Choice(message=Message("assistant"))
    losses.add("finish_reason", when=choice.finish_reason == "content_filter")
    losses.add("logprobs.top_logprobs", when=any(item.get("top_logprobs") for item in choice.logprobs or ()))
    answer: Json = {
        "id": context.id,
        "finish_reason": finish_word(choice.finish_reason, choice.native_finish_reason, choice.stop_sequence),
        "message": {"role": "assistant", "content": []} | assistant_members(choice.message.parts, losses),
    }
    answer |= given(
        usage=response.usage and wire_usage(response.usage),
        logprobs=choice.logprobs and [wire_logprobs(said) for said in choice.logprobs],
    )
    return Built(msgspec.json.encode(answer), tuple(losses))


def models_answer(rows: list[dict[str, Any]]) -> bytes:
    """All models on one page. https://docs.cohere.com/reference/list-models"""
    models = [
        {
            "name": row["id"],
            "is_deprecated": False,
            "endpoints": ["chat"],
            "finetuned": False,
            "context_length": row.get("context"),
        }
        for row in rows
    ]
    return msgspec.json.encode({"models": models, "next_page_token": None})
