"""What dialects share when they read an upstream's stream: as events, or lightly while its bytes pass."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, Generic, Protocol, TypeVar

import msgspec

from trivium.dialects.base import NOTHING_PASSED, Passed
from trivium.errors import TriviumError, UpstreamError, UpstreamProtocolError
from trivium.types.event import End, Event, Failure, Ping, TextDelta
from trivium.types.usage import Usage
from trivium.wire.json import BROKEN, is_utf8
from trivium.wire.ndjson import LineCutter, NDJSONParser, PlainLines
from trivium.wire.sse import Frame, FrameCutter, LimitExceeded, SSEParser, Template

F = TypeVar("F")
F_co = TypeVar("F_co", covariant=True)


class _Parser(Protocol[F_co]):
    @property
    def comments(self) -> int: ...
    def feed(self, data: bytes) -> Sequence[F_co]: ...
    def close(self) -> Sequence[F_co]: ...


class _Decoder(ABC, Generic[F]):
    """Reads one stream; a dialect says what a frame means and when its answer is whole.

    Broken frames are skipped and counted; comments are signs of life. Most frames only continue a text, which can be
    taken from them as it is written (`texts`).
    """

    def __init__(self, parser: _Parser[F], texts: Callable[[bytes], list[bytes]]) -> None:
        self._parser = parser
        self._texts = texts
        self._over = False
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
        return self._read(frames, events)

    def _read(self, frames: Sequence[F], events: list[Event]) -> list[Event]:
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
        event = said[-1] if said else None
        self.place = self._continues(event, len(said)) if type(event) is TextDelta else None
        return events

    @abstractmethod
    def _continues(self, event: TextDelta, said: int) -> tuple[int, int] | None:
        """The `place` of the last of so many events of a frame, if others can be taken as they are written."""

    def texts(self, data: bytes) -> list[bytes]:
        """The insides of the JSON strings by which `data` continues the text at `place`; none if it does more."""
        if self.place is None:
            return []
        texts = self._texts(data)
        return texts if data.isascii() or is_utf8(data) else []

    def close(self) -> list[Event]:
        """`End` where only the marker is missing; nothing where the stream was cut."""
        events = [] if self._over else self._read(self._parser.close(), [])
        return events if self._over else events + self._end()

    @abstractmethod
    def _frame(self, frame: F) -> list[Event]:
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


class SSEDecoder(_Decoder[Frame]):
    """Of server-sent events. A frame that said nothing but a text is the template of those that are plain."""

    TEXT: ClassVar[bytes] = b""
    """What stands before the text in such a frame (`b'"content":"'`); empty: none is that plain."""
    PADDING: ClassVar[bytes] = b""
    """As in `Template`."""

    def __init__(self) -> None:
        self._cut = SSEParser()
        self._template = Template(self.PADDING)
        super().__init__(self._cut, self._template.texts)

    def _continues(self, event: TextDelta, said: int) -> tuple[int, int] | None:
        if self.TEXT and said == 1 and (text := self._template.learn(self._cut.last, self.TEXT)):
            try:
                if msgspec.json.decode(b'"%b"' % text) == event.text:
                    return event.choice, event.block
            except BROKEN:
                pass
        return None


class NDJSONDecoder(_Decoder[bytes]):
    """Of lines of JSON."""

    def __init__(self, plain: PlainLines) -> None:
        self._lines = NDJSONParser()
        super().__init__(self._lines, plain.texts)

    def _continues(self, event: TextDelta, said: int) -> tuple[int, int] | None:
        return None if self._lines.pending else (event.choice, event.block)


class _Cutter(Protocol):
    @property
    def pending(self) -> bytearray: ...
    def feed(self, data: bytes) -> list[bytes]: ...
    def close(self) -> bytes: ...


class _Meter(ABC):
    """Reads one passed stream lightly; a dialect says what a frame means.

    Only an unfinished frame is held back: it may be the error that must not pass or the usage event that was not
    asked for. Most frames differ in their text alone: `count` knows those that need no look.
    """

    def __init__(self, cutter: _Cutter, count: Callable[[bytes], int]) -> None:
        self.content = False
        self.complete = False
        self.usage: Usage | None = None
        self.finish_reason = ""
        self.upstream_id = ""
        self.error: TriviumError | None = None
        self.malformed = 0
        self.frames = 0
        self._cutter = cutter
        self._unread = self.ordinary = count

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
            if self._unread(raw) or self._passes(raw):
                passed.append(raw)
            if self.complete or self.error is not None:
                break  # what follows belongs to no answer
        self.ordinary = _none if self._cutter.pending else self._unread
        return passed[0] if len(passed) == 1 else b"".join(passed)

    @property
    def passed(self) -> Passed:
        return NOTHING_PASSED

    @abstractmethod
    def _passes(self, raw: bytes) -> bool:
        """Read one frame with care; whether the caller shall see it."""


class SSEMeter(_Meter):
    """Of server-sent events. One that was read is the template of those that are plain."""

    def __init__(self, marker: bytes, padding: bytes = b"") -> None:
        """`marker` is the dialect's terminal event, `padding` as in `Template`."""
        self._marker = marker
        self._template = Template(padding)
        super().__init__(FrameCutter(), self._template.count)

    def close(self) -> bytes:
        """The marker, where it alone is missing. An unfinished frame is dropped, save the end of a line."""
        rest = self._cutter.close()
        if self.complete:
            return rest
        if self.error is not None or not self._finished():
            return b""
        self.complete = True
        return (b"" if rest.strip() else rest) + self._marker

    @abstractmethod
    def _finished(self) -> bool:
        """Whether every choice that began has its finish."""


class NDJSONMeter(_Meter):
    """Of lines of JSON; after the first content the plain ones need no look."""

    def __init__(self, plain: PlainLines) -> None:
        super().__init__(LineCutter(), _none)
        self._plain = plain

    def _has_content(self) -> None:
        self.content = True
        self._unread = self._plain.count

    def close(self) -> bytes:
        """The last line needs no line feed, and gets one."""
        return self.feed(b"\n") if self._cutter.pending else b""


def _none(_data: bytes) -> int:
    return 0


def _unreadable(error: LimitExceeded) -> UpstreamProtocolError:
    return UpstreamProtocolError(f"The upstream's stream cannot be read: {error}.")
