"""What a choice of an upstream says, as events: the same for a whole message and for a delta of one."""

from __future__ import annotations

from typing import Any

import msgspec

from trivium.dialects.common import logprobs_of
from trivium.dialects.openai_chat.wire import Annotation, AnswerCall, AnswerChoice, Spoken
from trivium.dialects.request import given
from trivium.types import event as ev
from trivium.types.event import Event, FinishReason
from trivium.types.message import Citation

_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "error": "error",
}


def finish_of(native: str, choice: int) -> ev.Finish:
    """A finish in the canonical words; one that nobody has heard of counts as `stop`, and stays readable."""
    return ev.Finish(reason=_REASONS.get(native, "stop"), native=native, choice=choice)


class CallNumbers(msgspec.Struct):
    """Numbers the tool calls of one choice from 0, whatever a server makes of `index` and `id`.

    Seen in the wild: no index at all, one index for several whole calls, the id repeated with every delta.
    """

    ids: list[str | None] = []
    by_index: dict[int | None, int] = {}

    def number(self, call: AnswerCall) -> tuple[int, bool]:
        """The number of the call that this is part of, and whether it begins here."""
        known = self.by_index.get(call.index)
        if known is None and call.index is None and not call.id and self.ids:
            known = len(self.ids) - 1
        if known is not None and (not call.id or self.ids[known] in {call.id, None}):
            return known, False
        self.ids.append(call.id or None)
        self.by_index[call.index] = len(self.ids) - 1
        return len(self.ids) - 1, True


def call_events(call: AnswerCall, calls: CallNumbers, choice: int, answer_id: str) -> list[Event]:
    """A call's beginning, more of its arguments, or both. A call without an id gets one out of the answer's."""
    function = call.function
    number, begins = calls.number(call)
    events: list[Event] = []
    if begins:
        name = (function.name if function else None) or ""
        identity = call.id or f"call_{answer_id}_{choice}_{number}"
        events.append(ev.ToolCallStart(index=number, id=identity, name=name, choice=choice))
    arguments = function.arguments if function else None
    if arguments is not None and not isinstance(arguments, str):
        arguments = msgspec.json.encode(arguments).decode()
    if arguments:
        events.append(ev.ToolCallDelta(index=number, arguments=arguments, choice=choice))
    return events


def choice_events(wire: AnswerChoice, spoken: Spoken, calls: CallNumbers, answer_id: str) -> list[Event]:
    """Everything that one choice says, save its finish."""
    choice = wire.index
    events: list[Event] = []
    if spoken.reasoning_content or spoken.reasoning or spoken.reasoning_details:
        events += _thinking(spoken, choice)
    if isinstance(spoken.content, str):
        if spoken.content:
            events.append(ev.TextDelta(spoken.content, choice))
    elif spoken.content:
        events += _content_parts(spoken.content, choice)
    if spoken.refusal:
        events.append(ev.RefusalDelta(spoken.refusal, choice))
    for call in spoken.tool_calls or ():
        events += call_events(call, calls, choice, answer_id)
    if spoken.annotations:
        events += _annotations(spoken.annotations, choice)
    if audio := spoken.audio:
        events.append(ev.AudioDelta(**given(**msgspec.structs.asdict(audio)), choice=choice))
    if wire.logprobs and (content := logprobs_of(wire.logprobs.content)):
        events.append(ev.LogprobsDelta(content=content, choice=choice))
    return events


def _thinking(spoken: Spoken, choice: int) -> list[Event]:
    if spoken.reasoning_details:
        return [
            ev.ReasoningDelta(
                text=detail.text or "",
                summary=detail.summary or "",
                signature=detail.signature,
                encrypted=detail.encrypted,
                id=detail.id,
                format=detail.format,
                choice=choice,
                block=detail.index or 0,
            )
            for detail in spoken.reasoning_details
        ]
    text = spoken.reasoning_content or spoken.reasoning
    return [ev.ReasoningDelta(text=text or "", choice=choice)]


def _content_parts(parts: list[dict[str, Any]], choice: int) -> list[Event]:
    """Content as a list of parts, as some servers write it: texts, and thinking that is a list of texts."""
    events: list[Event] = []
    for part in parts:
        thinking = part.get("thinking")
        if isinstance(thinking, list):
            inner: list[Any] = thinking  # pyright: ignore[reportUnknownVariableType]
            events += [ev.ReasoningDelta(text=text, choice=choice) for item in inner if (text := _text_of(item))]
        elif text := _text_of(part):
            events.append(ev.TextDelta(text, choice))
    return events


def _text_of(part: Any) -> str:
    text = part.get("text") if isinstance(part, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    return text if isinstance(text, str) else ""


def _annotations(annotations: list[Annotation], choice: int) -> list[Event]:
    return [
        ev.CitationDelta(citation=Citation(**msgspec.structs.asdict(found)), choice=choice)
        for annotation in annotations
        if (found := annotation.url_citation)
    ]
