"""Streams of an upstream, read as canonical events, or lightly while they pass.

https://docs.cohere.com/v2/docs/streaming
"""

from __future__ import annotations

from typing import Any

import msgspec

from trivium.dialects.cohere_v2.answer import WireCall, WireContent, WireFunction, call_start, content_events
from trivium.dialects.cohere_v2.errors import classify, failure
from trivium.dialects.cohere_v2.wire import (
    PLAN_BLOCK,
    TOOL_PLAN,
    WireCitation,
    WireLogprobs,
    WireUsage,
    citations_of,
    finish_of,
    logprobs_of,
    usage_of,
)
from trivium.dialects.stream import SSEDecoder, SSEMeter
from trivium.errors import UpstreamError, UpstreamProtocolError
from trivium.types import event as ev
from trivium.types.event import Event
from trivium.wire.json import BROKEN
from trivium.wire.sse import Frame, read_frame

_DONE = b"[DONE]"
"""What may follow the end of an answer; alone it ends none."""
_TEXT = b'"text":"'
_NOTHING = WireCall(function=WireFunction(arguments="{}"))


class _Message(msgspec.Struct, frozen=True):
    """A piece of a message. At the start of an answer its members are empty lists."""

    content: WireContent | list[Any] | None = None
    tool_plan: str | None = None
    tool_calls: WireCall | list[Any] | None = None
    citations: WireCitation | list[Any] | None = None


class _Delta(msgspec.Struct, frozen=True):
    message: _Message | None = None
    finish_reason: str | None = None
    usage: WireUsage | None = None
    error: str | None = None
    error_type: str | None = None


class _Event(msgspec.Struct, frozen=True):
    """An event of any type."""

    type: str = ""
    id: str | None = None
    at: int | None = msgspec.field(default=None, name="index")
    delta: _Delta | None = None
    logprobs: WireLogprobs | None = None
    message: Any = None
    """The words of an error that is no event of its own."""

    @property
    def index(self) -> int:
        return self.at or 0

    @property
    def end(self) -> _Delta:
        return self.delta or _Delta()

    @property
    def said(self) -> _Message:
        return self.end.message or _Message()


_decode = msgspec.json.Decoder(_Event).decode


def _failure(wire: _Event) -> UpstreamError | None:
    """The error that an event is, if it is one."""
    if wire.type == "message-end":
        reason, delta = wire.end.finish_reason, wire.end
        if reason is None and delta.error is None:
            return UpstreamProtocolError("The upstream ended its answer without a finish reason.")
        return failure(reason or "", delta.error, delta.error_type)
    return classify(200, wire.message) if not wire.type and isinstance(wire.message, str) else None


class ChatDecoder(SSEDecoder):
    """Reads one stream; events of unknown kinds are skipped. `message-end` makes an answer whole."""

    TEXT = _TEXT

    def __init__(self) -> None:
        super().__init__()
        self._id = ""
        self._text_block = 0
        self._begun = 0
        self._calls: dict[int, int] = {}
        """The numbers of the tool calls that are open, by their indices."""
        self._silent: set[int] = set()
        """The indices of those that have said no arguments."""
        self._finished = False

    def _complete(self) -> bool:
        return self._finished

    def _frame(self, frame: Frame) -> list[Event]:
        if frame.data.strip() == _DONE:
            return self._end()
        wire = _decode(frame.data)
        if (failed := _failure(wire)) is not None:
            return self._fail(failed)
        said = wire.said
        match wire.type:
            case "content-delta" | "content-start" if isinstance(said.content, WireContent):
                return self._content(wire, said.content)
            case "tool-call-delta" if isinstance(said.tool_calls, WireCall) and wire.index in self._calls:
                return self._arguments(wire.index, said.tool_calls)
            case "tool-call-start" if isinstance(said.tool_calls, WireCall):
                return self._call(wire.index, said.tool_calls)
            case "tool-call-end" if wire.index in self._calls:
                events = self._arguments(wire.index, _NOTHING) if wire.index in self._silent else []
                del self._calls[wire.index]
                return events
            case "tool-plan-delta" if said.tool_plan:
                return [ev.ReasoningDelta(text=said.tool_plan, format=TOOL_PLAN, block=PLAN_BLOCK)]
            case "citation-start" if isinstance(said.citations, WireCitation):
                index = said.citations.content_index
                block = self._text_block if index is None else index
                return [ev.CitationDelta(citation=citation, block=block) for citation in citations_of(said.citations)]
            case "message-start":
                self._id = wire.id or ""
                return [ev.Start(id=self._id)]
            case "message-end":
                return self._finish(wire.end)
            case _:
                return [ev.Ping()]

    def _content(self, wire: _Event, content: WireContent) -> list[Event]:
        if content.text is not None:
            self._text_block = wire.index
        events = list(content_events(content, wire.index))
        if wire.logprobs is not None:
            events.append(ev.LogprobsDelta(content=logprobs_of((wire.logprobs,))))
        return events

    def _call(self, index: int, call: WireCall) -> list[Event]:
        if index in self._calls:
            raise UpstreamProtocolError("The upstream began a tool call before its last one had ended.")
        number = self._calls[index] = self._begun
        self._begun += 1
        self._silent.add(index)
        return [call_start(call, number, self._id), *self._arguments(index, call)]

    def _arguments(self, index: int, call: WireCall) -> list[Event]:
        arguments = call.function and call.function.arguments
        if not arguments:
            return []
        self._silent.discard(index)
        return [ev.ToolCallDelta(index=self._calls[index], arguments=arguments)]

    def _finish(self, delta: _Delta) -> list[Event]:
        reason = delta.finish_reason or ""
        if self._calls and finish_of(reason) != "length":
            raise UpstreamProtocolError("The upstream ended its answer within a tool call.")
        self._finished = True
        usage = [] if delta.usage is None else [ev.UsageReport(usage_of(delta.usage))]
        return [ev.Finish(reason=finish_of(reason), native=reason), *usage, *self._end()]


_SAID = frozenset({"tool-call-start", "tool-call-delta", "citation-start"})


class ChatMeter(SSEMeter):
    """After the first delta of a text, those like it are not looked at; every other frame is decoded."""

    def __init__(self, caller_wants_usage: bool = True) -> None:
        del caller_wants_usage
        super().__init__(b"")

    def _finished(self) -> bool:
        return False  # what says the finish is the marker itself

    def _passes(self, raw: bytes) -> bool:
        frame = read_frame(raw)
        if frame is None:
            return True
        if frame.data.strip() == _DONE:
            return False  # passed, it would make a cut answer look whole
        try:
            wire = _decode(frame.data)
        except BROKEN:
            self.malformed += 1
            return False
        self.error = _failure(wire)
        if self.error is not None:
            self._template.forget()
            return False
        self._look(wire)
        if wire.type == "content-delta" and self.content:
            self._template.learn(raw, _TEXT)
        return True

    def _look(self, wire: _Event) -> None:
        content = wire.said.content
        self.content = self.content or wire.type in _SAID or (isinstance(content, WireContent) and bool(content.text))
        if wire.type == "message-start":
            self.upstream_id = wire.id or ""
        elif wire.type == "message-end":
            self.finish_reason = finish_of(wire.end.finish_reason or "")
            self.usage = wire.end.usage and usage_of(wire.end.usage)
            self.complete = True
