"""The light reader of a passed stream: usage, finish, error and end; plain deltas pass unread."""

from __future__ import annotations

from trivium.dialects.anthropic_messages.encode import MESSAGE_STOP
from trivium.dialects.anthropic_messages.errors import classify
from trivium.dialects.anthropic_messages.stream import WireEvent, decode_event
from trivium.dialects.anthropic_messages.wire import WireUsage, finish_of, merge_usage, usage_of
from trivium.dialects.stream import BROKEN
from trivium.errors import TriviumError, UpstreamProtocolError
from trivium.types.usage import Usage
from trivium.wire.sse import FrameCutter, LimitExceeded, Template, read_frame

_SILENT_BLOCKS = frozenset({"", "text", "thinking", "redacted_thinking"})
_TEXT = b'"text":"'
_CONTENT_DELTAS = frozenset({"input_json_delta", "citations_delta"})


class MessagesMeter:
    """Whole frames pass, so that an error of ours can follow at any time; an incomplete one waits for its rest.

    After the first delta of a text, those like it are not looked at; every other frame is decoded.
    """

    __slots__ = (
        "_cutter", "_template", "_wire_usage", "complete", "content", "error", "finish_reason", "malformed",
        "upstream_id", "usage",
    )  # fmt: skip

    def __init__(self, caller_wants_usage: bool = True) -> None:
        del caller_wants_usage
        self.content = False
        self.complete = False
        self.usage: Usage | None = None
        self.finish_reason = ""
        self.upstream_id = ""
        self.error: TriviumError | None = None
        self.malformed = 0
        self._cutter = FrameCutter()
        self._template = Template()
        self._wire_usage: WireUsage | None = None

    def ordinary(self, data: bytes) -> bool:
        """Whether these bytes are one frame like the last one read, but for its text."""
        return not self._cutter.pending and self._template.fits(data)

    def feed(self, data: bytes) -> bytes:
        """The complete frames so far that the caller shall see: all before an error."""
        if self.error is not None:
            return b""
        try:
            frames = self._cutter.feed(data)
        except LimitExceeded as error:
            self.error = UpstreamProtocolError(f"The upstream's stream cannot be read: {error}")
            return b""
        passed: list[bytes] = []
        for raw in frames:
            if self._template.fits(raw) or self._passes(raw):
                passed.append(raw)
            if self.complete or self.error is not None:
                break  # what follows belongs to no answer
        return passed[0] if len(passed) == 1 else b"".join(passed)

    def close(self) -> bytes:
        """The marker to synthesise, if only that is missing; an incomplete frame is dropped."""
        rest = self._cutter.close()
        if self.complete:
            return rest
        if self.error is not None or not self.finish_reason:
            return b""
        self.complete = True
        return MESSAGE_STOP

    def _passes(self, raw: bytes) -> bool:
        """Read one frame with care; whether the caller shall see it."""
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
                self.complete = bool(self.finish_reason)
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
