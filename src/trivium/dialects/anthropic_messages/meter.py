"""The light reader of a passed stream: usage, finish, error and end; plain deltas pass unread."""

from __future__ import annotations

from trivium.dialects.anthropic_messages.encode import MESSAGE_STOP
from trivium.dialects.anthropic_messages.errors import classify
from trivium.dialects.anthropic_messages.stream import WireEvent, decode_event
from trivium.dialects.anthropic_messages.wire import WireUsage, finish_of, merge_usage, usage_of
from trivium.dialects.stream import SSEMeter
from trivium.errors import UpstreamProtocolError
from trivium.wire.json import BROKEN
from trivium.wire.sse import read_frame

_SILENT_BLOCKS = frozenset({"", "text", "thinking", "redacted_thinking"})
_TEXT = b'"text":"'
_CONTENT_DELTAS = frozenset({"input_json_delta", "citations_delta"})


class MessagesMeter(SSEMeter):
    """After the first delta of a text, those like it are not looked at; every other frame is decoded."""

    def __init__(self, caller_wants_usage: bool = True) -> None:
        del caller_wants_usage
        super().__init__(MESSAGE_STOP)
        self._wire_usage: WireUsage | None = None

    def feed(self, data: bytes) -> bytes:
        """As its base; a huge frame is an error of the stream like any other."""
        try:
            return super().feed(data)
        except UpstreamProtocolError as error:
            self.error = error
            return b""

    def _finished(self) -> bool:
        return bool(self.finish_reason)

    def _passes(self, raw: bytes) -> bool:
        frame = read_frame(raw)
        if frame is None:
            return True
        try:
            wire = decode_event(frame.data)
        except BROKEN:
            self.malformed += 1
            return False
        self._look(wire)
        if self.error is not None:
            self._template.forget()
            return False
        if wire.type == "content_block_delta" and self.content:
            self._template.learn(raw, _TEXT)
        return True

    def _look(self, wire: WireEvent) -> None:
        match wire.type:
            case "content_block_delta":
                self.content = self.content or bool(wire.delta.text) or wire.delta.type in _CONTENT_DELTAS
            case "content_block_start":
                block = wire.content_block
                self.content = self.content or bool(block.text) or block.type not in _SILENT_BLOCKS
            case "message_start":
                self.upstream_id = wire.message.id
                self._count(wire.message.usage)
            case "message_delta":
                if wire.delta.stop_reason is not None:
                    self.finish_reason = finish_of(wire.delta.stop_reason)
                self._count(wire.usage)
            case "message_stop":
                self.complete = self._finished()
                if not self.complete:
                    # Passed, this marker would make a cut answer look whole.
                    self.error = UpstreamProtocolError("The upstream ended its answer without a stop reason.")
            case "error":
                self.error = classify(200, wire.error)
            case _:
                pass

    def _count(self, usage: WireUsage | None) -> None:
        if usage is not None:
            self._wire_usage = merge_usage(self._wire_usage, usage)
            self.usage = usage_of(self._wire_usage)
