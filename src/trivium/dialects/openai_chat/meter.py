"""A light reader of a passed stream: the bytes go on as they came, and what a bill and a verdict need is read.

Whole raw frames pass; only an unfinished one is held back, since it may be the error that must not
pass or the usage event that was not asked for. Most frames of a stream differ in their text alone:
after one was read, the bytes around its text are a template, and a frame that matches it has a
plain text in one choice and nothing else. Every other frame is decoded, in whatever spelling.
"""

from __future__ import annotations

import msgspec

from trivium.dialects.openai_chat.errors import decode_error, error_in_band
from trivium.dialects.openai_chat.events import CallNumbers, choice_events
from trivium.dialects.openai_chat.stream import DONE, DONE_DATA
from trivium.dialects.openai_chat.usage import read_usage
from trivium.dialects.openai_chat.wire import AnswerChoice, Glimpse, Passing, Spoken
from trivium.errors import TriviumError, UpstreamError, UpstreamProtocolError
from trivium.types.event import is_content
from trivium.types.usage import Usage
from trivium.wire.json import is_null
from trivium.wire.sse import BOM, Frame, FrameCutter, LimitExceeded, Template, read_frame

_PASSING = msgspec.json.Decoder(Passing)
_SPOKEN = msgspec.json.Decoder(Spoken)
_TEXT = b'"content":"'
_PADDING = b'"obfuscation":"'
"""Random text that hides the length of tokens from who listens; it differs from frame to frame, and comes last."""


class ChatMeter:
    """Reads one passed stream; `wants_usage` says whether the caller asked for the usage event."""

    def __init__(self, wants_usage: bool) -> None:
        self._wants_usage = wants_usage
        self._cutter = FrameCutter()
        self._template = Template(_PADDING)
        self._begun = False
        self._open: set[int] = set()
        self._finished: set[int] = set()
        self.content = False
        self.complete = False
        self.usage: Usage | None = None
        self.finish_reason = ""
        self.upstream_id = ""
        self.error: TriviumError | None = None
        self.malformed = 0

    def feed(self, data: bytes) -> bytes:
        """The bytes that the caller shall see. Raises UpstreamProtocolError for an event over its limit."""
        if self.error is not None:
            return b""
        try:
            frames = self._cutter.feed(data)
        except LimitExceeded as error:
            raise UpstreamProtocolError(f"The upstream's stream cannot be read: {error}.") from None
        passed: list[bytes] = []
        for raw in frames:
            if self._template.fits(raw) or self._passes(raw):
                passed.append(raw)
            if self.complete or self.error is not None:
                break  # what follows belongs to no answer
        return passed[0] if len(passed) == 1 else b"".join(passed)

    def close(self) -> bytes:
        """The marker, where it alone is missing; an unfinished frame is dropped."""
        self._cutter.close()
        if self.complete or self.error is not None or not self._all_finished:
            return b""
        self.complete = True
        return DONE

    @property
    def _all_finished(self) -> bool:
        return bool(self._finished) and not self._open

    def ordinary(self, data: bytes) -> bool:
        """Whether these bytes are one frame like the last one read, but for its text."""
        return not self._cutter.pending and self._template.fits(data)

    def _passes(self, raw: bytes) -> bool:
        """Read one frame with care; whether the caller shall see it."""
        if not self._begun:
            self._begun = True
            frame = read_frame(raw.removeprefix(BOM))
        else:
            frame = read_frame(raw)
        if frame is None:
            return True
        if frame.data.strip() == DONE_DATA:
            # A marker before every choice has finished would make a cut answer look whole.
            self.complete = self.complete or self._all_finished
            return self.complete
        if frame.event == "error":
            return self._fail(decode_error(200, frame.data))
        try:
            chunk = _PASSING.decode(frame.data)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
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
            self._template.learn(raw, _TEXT)
        return True

    def _fail(self, error: UpstreamError) -> bool:
        self.error = error
        self._template.forget()
        return False

    def _choice(self, choice: Glimpse) -> None:
        if choice.index not in self._finished:
            self._open.add(choice.index)
        if choice.finish_reason:
            self._open.discard(choice.index)
            self._finished.add(choice.index)
            self.finish_reason = self.finish_reason or choice.finish_reason
        if not self.content and not is_null(choice.delta):
            self.content = _has_content(choice)


def _has_content(choice: Glimpse) -> bool:
    try:
        spoken = _SPOKEN.decode(choice.delta)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False
    events = choice_events(AnswerChoice(index=choice.index), spoken, CallNumbers(), "")
    return any(map(is_content, events))
