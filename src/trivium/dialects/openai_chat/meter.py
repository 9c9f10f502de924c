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
from trivium.wire.sse import BOM, Frame, FrameCutter, LimitExceeded, read_frame

_PASSING = msgspec.json.Decoder(Passing)
_SPOKEN = msgspec.json.Decoder(Spoken)
_TEXT = b'"content":"'
_PADDING = b'"obfuscation":"'
"""Random text that hides the length of tokens from who listens; it differs from frame to frame, and comes last."""
_PADDING_END = b'"}\n\n'
_NO_TEMPLATE = b"\x00"
"""Begins no frame."""


class ChatMeter:
    """Reads one passed stream; `wants_usage` says whether the caller asked for the usage event."""

    def __init__(self, wants_usage: bool) -> None:
        self._wants_usage = wants_usage
        self._cutter = FrameCutter()
        self._before = self._after = _NO_TEMPLATE
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
        if self._ordinary(data) and not self._cutter.pending:
            return data
        if self.error is not None:
            return b""
        try:
            frames = self._cutter.feed(data)
        except LimitExceeded as error:
            raise UpstreamProtocolError(f"The upstream's stream cannot be read: {error}.") from None
        passed: list[bytes] = []
        for raw in frames:
            if self._ordinary(raw) or self._passes(raw):
                passed.append(raw)
            elif self.error is not None:
                break
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

    def _ordinary(self, raw: bytes) -> bool:
        """Whether this is one frame that is the template with another text (and padding): quotes and line ends
        stand only where the template has them."""
        if not raw.startswith(self._before):
            return False
        end = raw.find(b'"', len(self._before))
        if not raw.startswith(self._after, end) or raw.find(b"\n") != len(raw) - 2:
            return False
        rest = end + len(self._after)
        return rest == len(raw) or (raw.endswith(_PADDING_END) and raw.find(b'"', rest) == len(raw) - len(_PADDING_END))

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
            return True
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
        if self.content:
            self._learn(raw, frame)
        return True

    def _fail(self, error: UpstreamError) -> bool:
        self.error = error
        self._before = _NO_TEMPLATE
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

    def _learn(self, raw: bytes, frame: Frame) -> None:
        """Take a frame whose only `content` is a plain text as the template of those to come.

        What it does to this meter is done, and doing it again would change nothing.
        """
        found = raw.find(_TEXT)
        if found < 0 or len(frame.data) + len("data: \n\n") != len(raw):
            return
        at = found + len(_TEXT)
        end = raw.find(b'"', at)
        padding = raw.find(_PADDING, end)
        self._before = raw[:at]
        self._after = raw[end:] if padding < 0 else raw[end : padding + len(_PADDING)]


def _has_content(choice: Glimpse) -> bool:
    try:
        spoken = _SPOKEN.decode(choice.delta)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return False
    events = choice_events(AnswerChoice(index=choice.index), spoken, CallNumbers(), "")
    return any(map(is_content, events))
