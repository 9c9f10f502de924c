"""What dialects share when they read an upstream's stream: as events, or lightly while its bytes pass."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import msgspec

from trivium.errors import TriviumError, UpstreamError, UpstreamProtocolError
from trivium.types.event import End, Event, Failure, Ping, TextDelta
from trivium.types.usage import Usage
from trivium.wire.json import BROKEN
from trivium.wire.sse import Frame, FrameCutter, LimitExceeded, SSEParser, Template


class SSEDecoder(ABC):
    """Reads one stream of server-sent events; a dialect says what a frame means and when its answer is whole.

    Broken frames are skipped and counted; comments are signs of life. Most frames only continue a text: one that was
    read is the template of those from which the text can be taken as it is written (`texts`).
    """

    TEXT: ClassVar[bytes] = b""
    """What stands before the text in such a frame (`b'"content":"'`); empty: none is that plain."""
    PADDING: ClassVar[bytes] = b""
    """As in `Template`."""

    def __init__(self) -> None:
        self._parser = SSEParser()
        self._over = False
        self._template = Template(self.PADDING)
        self.malformed = 0
        self.place: tuple[int, int] | None = None
        """Choice and block of the text that `texts` continue; None while there is none."""

    def feed(self, data: bytes) -> list[Event]:
        """The events of these bytes, none after the end or a failure. Raises UpstreamProtocolError for a huge frame."""
        if self._over:
            return []
        comments = self._parser.comments
        try:
            frames = self._parser.feed(data)
        except LimitExceeded as error:
            raise _unreadable(error) from None
        events: list[Event] = [Ping()] if self._parser.comments > comments else []
        said: list[Event] = []
        for frame in frames:
            try:
                said = self._frame(frame)
                events += said
            except BROKEN:
                said = []
                self.malformed += 1
            if self._over:
                break
        if self.TEXT:
            self._learn(said)
        return events

    def _learn(self, said: list[Event]) -> None:
        """Take the last frame as the template, if a text is all that it said."""
        self.place = None
        event = said[0] if len(said) == 1 else None
        if type(event) is TextDelta and (text := self._template.learn(self._parser.last, self.TEXT)):
            try:
                if msgspec.json.decode(b'"%b"' % text) == event.text:
                    self.place = (event.choice, event.block)
            except BROKEN:
                pass

    def texts(self, data: bytes) -> list[bytes]:
        """The insides of the JSON strings by which `data` continues the text at `place`; none if it does more."""
        if self.place is None:
            return []
        texts = self._template.texts(data)
        return texts if data.isascii() or _is_utf8(data) else []

    def close(self) -> list[Event]:
        """`End` where only the marker is missing; nothing where the stream was cut."""
        return [] if self._over else self._end()

    @abstractmethod
    def _frame(self, frame: Frame) -> list[Event]:
        """What a frame says. Raises one of `BROKEN`, with nothing done."""

    @abstractmethod
    def _complete(self) -> bool:
        """Whether every choice that began has its finish: before that, a marker ends a cut answer."""

    def _end(self) -> list[Event]:
        self._over = True
        return [End()] if self._complete() else []

    def _fail(self, error: UpstreamError) -> list[Event]:
        self._over = True
        return [Failure(error)]


class SSEMeter(ABC):
    """Reads one passed stream of server-sent events lightly; a dialect says what a frame means.

    Only an unfinished frame is held back: it may be the error that must not pass or the usage event that was not
    asked for. Most frames differ in their text alone, so one that was read is the template of those that need no look.
    """

    def __init__(self, marker: bytes, padding: bytes = b"") -> None:
        """`marker` is the dialect's terminal event, `padding` as in `Template`."""
        self.content = False
        self.complete = False
        self.usage: Usage | None = None
        self.finish_reason = ""
        self.upstream_id = ""
        self.error: TriviumError | None = None
        self.malformed = 0
        self.frames = 0
        self._marker = marker
        self._cutter = FrameCutter()
        self._template = Template(padding)
        self.ordinary = self._template.count

    def feed(self, data: bytes) -> bytes:
        """The bytes that the caller shall see. Raises UpstreamProtocolError for a huge frame."""
        if self.error is not None:
            return b""
        try:
            frames = self._cutter.feed(data)
        except LimitExceeded as error:
            raise _unreadable(error) from None
        self.frames += len(frames)
        passed: list[bytes] = []
        for raw in frames:
            if self._template.count(raw) or self._passes(raw):
                passed.append(raw)
            if self.complete or self.error is not None:
                break  # what follows belongs to no answer
        self.ordinary = _none if self._cutter.pending else self._template.count
        return passed[0] if len(passed) == 1 else b"".join(passed)

    def close(self) -> bytes:
        """The marker, where it alone is missing. An unfinished frame is dropped, save a line end behind the marker."""
        rest = self._cutter.close()
        if self.complete:
            return rest
        if self.error is not None or not self._finished():
            return b""
        self.complete = True
        return self._marker

    @abstractmethod
    def _passes(self, raw: bytes) -> bool:
        """Read one frame with care; whether the caller shall see it."""

    @abstractmethod
    def _finished(self) -> bool:
        """Whether every choice that began has its finish."""


def _none(_data: bytes) -> int:
    return 0


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _unreadable(error: LimitExceeded) -> UpstreamProtocolError:
    return UpstreamProtocolError(f"The upstream's stream cannot be read: {error}.")
