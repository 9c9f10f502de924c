"""Streams of an upstream: server-sent events of the Messages API as canonical events.

https://docs.claude.com/en/api/messages-streaming
"""

from __future__ import annotations

import msgspec

from trivium.dialects.anthropic_messages.answer import WireBlock, block_events
from trivium.dialects.anthropic_messages.errors import WireError, classify
from trivium.dialects.anthropic_messages.wire import (
    REASONING_FORMAT,
    WireCitation,
    WireUsage,
    citation_of,
    finish_of,
    merge_usage,
    usage_of,
)
from trivium.dialects.stream import SSEDecoder
from trivium.types import event as ev
from trivium.types.event import Event
from trivium.wire.sse import Frame


class WireMessage(msgspec.Struct, frozen=True):
    """What a `message_start` tells."""

    id: str = ""
    model: str = ""
    usage: WireUsage | None = None


class WireDelta(msgspec.Struct, frozen=True):
    """The change of a block, or the end of the message."""

    type: str = ""
    text: str = ""
    partial_json: str = ""
    thinking: str = ""
    signature: str = ""
    citation: WireCitation | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None


class WireEvent(msgspec.Struct, frozen=True):
    """An event of any type; absent members keep their defaults."""

    type: str
    index: int = 0
    message: WireMessage = WireMessage()
    content_block: WireBlock = WireBlock("")
    delta: WireDelta = WireDelta()
    usage: WireUsage | None = None
    error: WireError = WireError()


decode_event = msgspec.json.Decoder(WireEvent).decode
"""One event's data. Raises what `wire.json.BROKEN` names."""


class MessagesDecoder(SSEDecoder):
    """Reads one stream; events of unknown kinds are skipped. A stop reason makes an answer whole."""

    TEXT = b'"text":"'

    def __init__(self) -> None:
        super().__init__()
        self._usage: WireUsage | None = None
        self._calls = 0
        self._open_calls: dict[int, int] = {}
        """Their numbers among the calls, by their blocks."""
        self._silent: dict[int, msgspec.Raw] = {}
        """What those without a delta began with."""
        self._finished = False

    def _complete(self) -> bool:
        return self._finished

    def _frame(self, frame: Frame) -> list[Event]:
        wire = decode_event(frame.data)
        match wire.type:
            case "content_block_delta":
                return self._delta(wire.index, wire.delta)
            case "content_block_start":
                return self._block(wire.index, wire.content_block)
            case "content_block_stop":
                # A call without a delta has the input that it began with: `{}`, or all of it from plainer servers.
                number, given = self._open_calls.pop(wire.index, 0), self._silent.pop(wire.index, None)
                return [] if given is None else [ev.ToolCallDelta(index=number, arguments=bytes(given).decode())]
            case "message_start":
                self._usage = wire.message.usage
                usage = usage_of(self._usage) if self._usage else None
                return [ev.Start(id=wire.message.id, model=wire.message.model, usage=usage)]
            case "message_delta":
                return self._message_delta(wire)
            case "message_stop":
                return self._end() if self._finished else []
            case "ping":
                return [ev.Ping()]
            case "error":
                return self._fail(classify(200, wire.error))
            case _:
                return []

    def _delta(self, index: int, delta: WireDelta) -> list[Event]:
        match delta.type:
            case "text_delta" if delta.text:
                return [ev.TextDelta(delta.text, block=index)]
            case "input_json_delta" if delta.partial_json and index in self._open_calls:
                self._silent.pop(index, None)
                return [ev.ToolCallDelta(index=self._open_calls[index], arguments=delta.partial_json)]
            case "thinking_delta":
                return [ev.ReasoningDelta(text=delta.thinking, block=index)]
            case "signature_delta" if delta.signature:
                return [ev.ReasoningDelta(signature=delta.signature, format=REASONING_FORMAT, block=index)]
            case "citations_delta" if delta.citation is not None:
                return [ev.CitationDelta(citation=citation_of(delta.citation), block=index)]
            case _:
                return []

    def _block(self, index: int, block: WireBlock) -> list[Event]:
        events = list(block_events(block, index, self._calls))
        if block.type == "tool_use":
            self._open_calls[index], self._silent[index] = self._calls, block.input
            self._calls += 1
        return events

    def _message_delta(self, wire: WireEvent) -> list[Event]:
        events: list[Event] = []
        reason = wire.delta.stop_reason
        if reason is not None and not self._finished:
            self._finished = True
            events.append(ev.Finish(reason=finish_of(reason), native=reason, stop_sequence=wire.delta.stop_sequence))
        if wire.usage is not None:
            self._usage = merge_usage(self._usage, wire.usage)
            events.append(ev.UsageReport(usage_of(self._usage)))
        return events
