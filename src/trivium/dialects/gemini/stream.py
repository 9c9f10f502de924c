"""Streams of an upstream: chunks of `streamGenerateContent`, read as canonical events, or lightly while they pass.

There is no marker: the answer is whole when every candidate that began has its end and the server closes.
"""

from __future__ import annotations

from trivium.dialects.gemini.answer import CHUNK, Candidate, WireCandidate
from trivium.dialects.gemini.wire import finish_of, usage_of
from trivium.dialects.stream import SSEDecoder, SSEMeter
from trivium.types import event as ev
from trivium.types.event import Event
from trivium.wire.json import BROKEN
from trivium.wire.sse import BOM, Frame, read_frame

_TEXT = b'"text":"'


class GenerateDecoder(SSEDecoder):
    """Reads one stream."""

    TEXT = _TEXT

    def __init__(self) -> None:
        super().__init__()
        self._candidates: dict[int, Candidate] = {}
        self._id: str | None = None

    def _complete(self) -> bool:
        return bool(self._candidates) and all(candidate.finished for candidate in self._candidates.values())

    def texts(self, data: bytes) -> list[bytes]:
        """As its base; what was said is kept, for the offsets of citations."""
        texts = super().texts(data)
        if texts and self.place is not None:
            self._candidates[self.place[0]].heard.add(b"".join(texts), self.place[1])
        return texts

    def _frame(self, frame: Frame) -> list[Event]:
        chunk = CHUNK.decode(frame.data)
        failure = chunk.failure()
        if failure is not None:
            return self._fail(failure)
        events: list[Event] = []
        if self._id is None:
            self._id = chunk.response_id or ""
            events.append(ev.Start(id=self._id, model=chunk.model_version or "", usage=usage_of(chunk.usage_metadata)))
        for wire in chunk.candidates or ():
            candidate = self._candidates.get(wire.index)
            if candidate is None:
                candidate = self._candidates[wire.index] = Candidate(wire.index, self._id)
            events += candidate.events(wire)
        if self._complete() and (usage := usage_of(chunk.usage_metadata)) is not None:
            events.append(ev.UsageReport(usage))
        return events or [ev.Ping()]


class GenerateMeter(SSEMeter):
    """Reads one passed stream; chunks that only continue a text pass unread."""

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
