"""A whole answer, and the fold that makes one from the events of a stream."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from trivium.types import event as ev
from trivium.types.event import Event, FinishReason
from trivium.types.message import Audio, Citation, Message, Part, Reasoning, Refusal, Text, ToolCall
from trivium.types.usage import Usage


class Choice(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    index: int = 0
    message: Message
    finish_reason: FinishReason | None = None
    native_finish_reason: str | None = None
    stop_sequence: str | None = None
    logprobs: list[dict[str, Any]] | None = None


class Response(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An answer. The last group of fields is Trivium's own and empty until the gateway fills it."""

    id: str = ""
    model: str = ""
    created: int = 0
    choices: tuple[Choice, ...] = ()
    usage: Usage | None = None
    embeddings: tuple[tuple[float, ...], ...] = ()
    """Vectors, in the order of the texts."""
    ranking: tuple[ev.Ranked, ...] = ()
    """Documents by their place in the request, the best first."""

    endpoint: str = ""
    access: str = ""
    attempts: int = 0
    cost_nanos: int | None = None
    fallback: str | None = None
    losses: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The text of the first choice."""
        return self.choices[0].message.text if self.choices else ""

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tool calls of the first choice."""
        parts = self.choices[0].message.parts if self.choices else ()
        return tuple(part for part in parts if isinstance(part, ToolCall))

    @property
    def finish_reason(self) -> FinishReason | None:
        return self.choices[0].finish_reason if self.choices else None

    @property
    def cost_usd(self) -> float | None:
        """What the request cost in USD; None where a price is unknown."""
        return None if self.cost_nanos is None else self.cost_nanos / 1e9


class _Slot(msgspec.Struct):
    """One part of a choice while it grows."""

    kind: type[Part]
    text: list[str] = []
    citations: list[Citation] = []
    fields: dict[str, Any] = {}

    def part(self) -> Part:
        text = "".join(self.text)
        if self.kind is Text:
            return Text(text, citations=tuple(self.citations))
        if self.kind is Refusal:
            return Refusal(text)
        if self.kind is ToolCall:
            return ToolCall(arguments=text, **self.fields)
        if self.kind is Audio:
            return Audio(data=text, format=self.fields.get("format", ""))
        return Reasoning(text=text, **self.fields)


class _ChoiceFold(msgspec.Struct):
    """The parts of one choice, in the order in which they began."""

    slots: dict[tuple[type[Part], int], _Slot] = {}
    logprobs: list[dict[str, Any]] = []
    finish: ev.Finish | None = None

    def slot(self, kind: type[Part], index: int = 0) -> _Slot:
        found = self.slots.get((kind, index))
        if found is None:
            found = self.slots[kind, index] = _Slot(kind)
        return found

    def add(self, event: Event) -> None:
        match event:  # the usual ones first: a struct that is none of a class takes its time to say so
            case ev.TextDelta():
                self.slot(Text, event.block).text.append(event.text)
            case ev.Finish():
                self.finish = event
            case ev.ToolCallDelta():
                self.slot(ToolCall, event.index).text.append(event.arguments)
            case ev.CitationDelta():
                self.slot(Text, event.block).citations.append(event.citation)
            case ev.ReasoningDelta():
                _add_reasoning(self.slot(Reasoning, event.block), event)
            case ev.RefusalDelta():
                self.slot(Refusal).text.append(event.text)
            case ev.ToolCallStart():
                fields = self.slot(ToolCall, event.index).fields
                fields.update(id=event.id, name=event.name)
                if event.signature is not None:
                    fields["signature"] = event.signature
            case ev.AudioDelta():
                self.slot(Audio).text.append(event.data)
            case ev.LogprobsDelta():
                self.logprobs += event.content
            case _:
                pass

    def choice(self, index: int) -> Choice:
        parts = tuple([slot.part() for slot in self.slots.values()])
        finish = self.finish
        return Choice(
            index=index,
            message=Message("assistant", parts),
            finish_reason=finish.reason if finish else None,
            native_finish_reason=finish.native if finish else None,
            stop_sequence=finish.stop_sequence if finish else None,
            logprobs=self.logprobs or None,
        )


def _add_reasoning(slot: _Slot, event: ev.ReasoningDelta) -> None:
    slot.text.append(event.text)
    if event.summary:
        slot.fields["summary"] = (slot.fields.get("summary") or "") + event.summary
    for name in ("signature", "encrypted", "id", "format"):
        value = getattr(event, name)
        if value is not None:
            slot.fields[name] = value


class Fold(msgspec.Struct):
    """Gathers the events of one stream; `response()` may be asked at any time, also for a cut stream."""

    start: ev.Start = ev.Start()
    choices: dict[int, _ChoiceFold] = {}
    usage: Usage | None = None
    vectors: dict[int, tuple[float, ...]] = {}
    ranking: list[ev.Ranked] = []

    def add(self, event: Event) -> None:
        number: int | None = getattr(event, "choice", None)
        if number is not None:
            choice = self.choices.get(number)
            if choice is None:
                choice = self.choices[number] = _ChoiceFold()
            choice.add(event)
        elif type(event) is ev.Start:
            self.start = event
            self.usage = event.usage or self.usage
        elif type(event) is ev.UsageReport:
            self.usage = event.usage
        elif type(event) is ev.Embedded:
            self.vectors[event.index] = event.vector
        elif type(event) is ev.Ranked:
            self.ranking.append(event)

    def response(self) -> Response:
        return Response(
            id=self.start.id,
            model=self.start.model,
            created=self.start.created,
            choices=tuple([self.choices[index].choice(index) for index in sorted(self.choices)]),
            usage=self.usage,
            embeddings=tuple([self.vectors[index] for index in sorted(self.vectors)]),
            ranking=tuple(self.ranking),
        )


def fold(events: Iterable[Event]) -> Response:
    """Make the whole answer that a stream of events amounts to.

    Property of every dialect: the fold of its stream equals its non-streamed answer.
    """
    gathered = Fold()
    for event in events:
        gathered.add(event)
    return gathered.response()
