"""A light reader of a passed stream: the bytes go on as they came, and what a bill and a verdict need is read.

After a frame with a plain text in one choice was read, those that differ in the text alone pass; any other is decoded.
"""

from __future__ import annotations

import msgspec

from trivium.dialects.openai import decode_error, error_in_band
from trivium.dialects.openai_chat.events import CallNumbers, choice_events
from trivium.dialects.openai_chat.stream import DONE, DONE_DATA
from trivium.dialects.openai_chat.usage import read_usage
from trivium.dialects.openai_chat.wire import AnswerChoice, Glimpse, Passing, Spoken
from trivium.dialects.stream import SSEMeter
from trivium.errors import UpstreamError
from trivium.types.event import is_content
from trivium.wire.json import BROKEN, is_null
from trivium.wire.sse import BOM, Frame, read_frame

_PASSING = msgspec.json.Decoder(Passing)
_SPOKEN = msgspec.json.Decoder(Spoken)
_PADDING = b'"obfuscation":"'
"""Random text that hides the length of tokens from who listens; it differs from frame to frame, and comes last."""


class ChatMeter(SSEMeter):
    """Reads one passed stream; `wants_usage` says whether the caller asked for the usage event."""

    TEXT = b'"content":"'

    def __init__(self, wants_usage: bool) -> None:
        super().__init__(DONE, _PADDING)
        self._wants_usage = wants_usage
        self._begun = False
        self._open: set[int] = set()
        self._ended: set[int] = set()

    def _finished(self) -> bool:
        return bool(self._ended) and not self._open

    def _passes(self, raw: bytes) -> bool:
        if not self._begun:
            self._begun = True
            frame = read_frame(raw.removeprefix(BOM))
        else:
            frame = read_frame(raw)
        if frame is None:
            return True
        if frame.data.strip() == DONE_DATA:
            # A marker before every choice has finished would make a cut answer look whole.
            self.complete = self._finished()
            return self.complete
        if frame.event == "error":
            return self._fail(decode_error(200, frame.data))
        try:
            chunk = _PASSING.decode(frame.data)
        except BROKEN:
            self.malformed += 1
            return False
        return self._chunk(chunk, raw, frame)

    def _chunk(self, chunk: Passing, raw: bytes, frame: Frame) -> bool:
        choices = chunk.choices or []
        if chunk.error is not None:
            return self._fail(error_in_band(chunk.error))
        self.usage = read_usage(chunk.usage, chunk.timings) or self.usage
        if not choices:
            return self._wants_usage or chunk.usage is None
        self.upstream_id = self.upstream_id or chunk.id or ""
        for choice in choices:
            if choice.error is not None:
                return self._fail(error_in_band(choice.error))
            self._choice(choice)
        if self.content and len(frame.data) + len("data: \n\n") == len(raw):
            # What this frame did to the meter is done, and doing it again would change nothing.
            self._template.learn(raw, self.TEXT)
        return True

    def _fail(self, error: UpstreamError) -> bool:
        self.error = error
        self._template.forget()
        return False

    def _choice(self, choice: Glimpse) -> None:
        if choice.index not in self._ended:
            self._open.add(choice.index)
        if choice.finish_reason:
            self._open.discard(choice.index)
            self._ended.add(choice.index)
            self.finish_reason = self.finish_reason or choice.finish_reason
        if not self.content:
            self.content = bool(choice.text) or (not is_null(choice.delta) and _has_content(choice))


def _has_content(choice: Glimpse) -> bool:
    try:
        spoken = _SPOKEN.decode(choice.delta)
    except BROKEN:
        return False
    events = choice_events(AnswerChoice(index=choice.index), spoken, CallNumbers(), "")
    return any(map(is_content, events))
