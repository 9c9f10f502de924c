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
from trivium.errors import UpstreamProtocolError
from trivium.types.event import (
    CitationDelta,
    End,
    Event,
    Failure,
    Finish,
    Ping,
    ReasoningDelta,
    Start,
    TextDelta,
    ToolCallDelta,
    UsageReport,
)
from trivium.wire.sse import LimitExceeded, SSEParser


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
"""One event's data. Raises msgspec.DecodeError, UnicodeDecodeError or RecursionError."""

BROKEN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class _Call:
    """A tool call while it streams: its number among the calls, and whether it has said arguments yet."""

    __slots__ = ("index", "input", "is_silent")

    def __init__(self, index: int, given: msgspec.Raw) -> None:
        self.index = index
        self.input = given
        self.is_silent = True


class MessagesDecoder:
    """Reads one stream. Broken frames are skipped and counted, unknown events are skipped."""

    __slots__ = ("_calls", "_ended", "_finished", "_open_calls", "_parser", "_usage", "malformed")

    def __init__(self) -> None:
        self.malformed = 0
        self._parser = SSEParser()
        self._usage: WireUsage | None = None
        self._calls = 0
        self._open_calls: dict[int, _Call] = {}
        self._finished = False
        self._ended = False

    def feed(self, data: bytes) -> list[Event]:
        """Events of these bytes, none after the end or a failure. Raises UpstreamProtocolError for a huge frame."""
        events: list[Event] = []
        comments = self._parser.comments
        try:
            frames = self._parser.feed(data)
        except LimitExceeded as error:
            raise UpstreamProtocolError(f"The upstream's stream cannot be read: {error}") from None
        if self._parser.comments > comments:
            events.append(Ping())
        for frame in frames:
            if self._ended:
                break
            try:
                wire = decode_event(frame.data)
            except BROKEN:
                self.malformed += 1
                continue
            self._add(wire, events)
        return events

    def close(self) -> list[Event]:
        """A stop reason without `message_stop` is a complete answer all the same."""
        if self._ended or not self._finished:
            return []
        self._ended = True
        return [End()]

    def _add(self, wire: WireEvent, events: list[Event]) -> None:
        match wire.type:
            case "content_block_delta":
                self._add_delta(wire.index, wire.delta, events)
            case "content_block_start":
                self._add_block(wire.index, wire.content_block, events)
            case "content_block_stop":
                self._end_block(wire.index, events)
            case "message_start":
                self._usage = wire.message.usage
                usage = usage_of(self._usage) if self._usage else None
                events.append(Start(id=wire.message.id, model=wire.message.model, usage=usage))
            case "message_delta":
                self._add_end(wire, events)
            case "message_stop":
                if self._finished:
                    self._ended = True
                    events.append(End())
            case "ping":
                events.append(Ping())
            case "error":
                self._ended = True
                events.append(Failure(classify(200, wire.error)))
            case _:
                pass

    def _add_delta(self, index: int, delta: WireDelta, events: list[Event]) -> None:
        match delta.type:
            case "text_delta":
                if delta.text:
                    events.append(TextDelta(delta.text, block=index))
            case "input_json_delta":
                call = self._open_calls.get(index)
                if call is not None and delta.partial_json:
                    call.is_silent = False
                    events.append(ToolCallDelta(index=call.index, arguments=delta.partial_json))
            case "thinking_delta":
                events.append(ReasoningDelta(text=delta.thinking, block=index))
            case "signature_delta":
                if delta.signature:
                    events.append(ReasoningDelta(signature=delta.signature, format=REASONING_FORMAT, block=index))
            case "citations_delta":
                if delta.citation is not None:
                    events.append(CitationDelta(citation=citation_of(delta.citation), block=index))
            case _:
                pass

    def _add_block(self, index: int, block: WireBlock, events: list[Event]) -> None:
        events += block_events(block, index, self._calls)
        if block.type == "tool_use":
            self._open_calls[index] = _Call(self._calls, block.input)
            self._calls += 1

    def _end_block(self, index: int, events: list[Event]) -> None:
        """A call without a delta has the input that it began with: `{}`, or all of it from plainer servers."""
        call = self._open_calls.pop(index, None)
        if call is not None and call.is_silent:
            events.append(ToolCallDelta(index=call.index, arguments=bytes(call.input).decode()))

    def _add_end(self, wire: WireEvent, events: list[Event]) -> None:
        reason = wire.delta.stop_reason
        if reason is not None and not self._finished:
            self._finished = True
            events.append(
                Finish(reason=finish_of(reason), native=reason, stop_sequence=wire.delta.stop_sequence),
            )
        if wire.usage is not None:
            self._usage = merge_usage(self._usage, wire.usage)
            events.append(UsageReport(usage_of(self._usage)))
