"""The light reader of a passed stream: usage, ends, error; chunks that only continue a text pass unread."""

from __future__ import annotations

from trivium.dialects.gemini.answer import CHUNK, WireCandidate
from trivium.dialects.gemini.wire import finish_of, usage_of
from trivium.dialects.stream import SSEMeter
from trivium.wire.json import BROKEN
from trivium.wire.sse import BOM, read_frame

_TEXT = b'"text":"'


class GenerateMeter(SSEMeter):
    """There is no marker, so nothing is whole before the server closes."""

    def __init__(self, caller_wants_usage: bool = True) -> None:
        del caller_wants_usage
        super().__init__(b"")
        self._open: set[int] = set()
        self._ended: set[int] = set()

    def _finished(self) -> bool:
        return bool(self._ended) and not self._open

    def _passes(self, raw: bytes) -> bool:
        frame = read_frame(raw.removeprefix(BOM))
        if frame is None:
            return True
        try:
            chunk = CHUNK.decode(frame.data)
        except BROKEN:
            self.malformed += 1
            return False
        self.error = chunk.failure()
        if self.error is not None:
            self._template.forget()
            return False
        self.usage = usage_of(chunk.usage_metadata) or self.usage
        self.upstream_id = self.upstream_id or chunk.response_id or ""
        for candidate in chunk.candidates or ():
            self._look(candidate)
        if self.content:
            self._template.learn(raw, _TEXT)
        return True

    def _look(self, wire: WireCandidate) -> None:
        if wire.finish_reason:
            self._open.discard(wire.index)
            self._ended.add(wire.index)
            self.finish_reason = self.finish_reason or finish_of(wire.finish_reason)
        elif wire.index not in self._ended:
            self._open.add(wire.index)
        for part in (wire.content and wire.content.parts) or ():
            self.content = self.content or part.function_call is not None or bool(part.text and not part.thought)
