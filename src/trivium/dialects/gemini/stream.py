"""Streams of an upstream: chunks of `streamGenerateContent` as canonical events.

There is no marker: the answer is whole when every candidate that began has its end and the server closes.
"""

from __future__ import annotations

from trivium.dialects.gemini.answer import CHUNK, Candidate
from trivium.dialects.gemini.wire import usage_of
from trivium.dialects.stream import SSEDecoder
from trivium.types import event as ev
from trivium.types.event import Event
from trivium.wire.sse import Frame


class GenerateDecoder(SSEDecoder):
    """Reads one stream."""

    TEXT = b'"text":"'

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
