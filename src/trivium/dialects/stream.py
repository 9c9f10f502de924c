"""What dialects share when they read an upstream's stream: frames in, events out, broken frames counted."""

from __future__ import annotations

import msgspec

from trivium.errors import UpstreamError, UpstreamProtocolError
from trivium.types.event import End, Event, Failure, Ping
from trivium.wire.sse import Frame, LimitExceeded, SSEParser

BROKEN = (msgspec.DecodeError, UnicodeError, RecursionError)
"""What decoding a frame raises where its data is no JSON of the expected shape."""


class SSEDecoder:
    """Reads one stream of server-sent events; a dialect says what a frame means and when its answer is whole.

    Broken frames are skipped and counted; comments are signs of life.
    """

    def __init__(self) -> None:
        self._parser = SSEParser()
        self._over = False
        self.malformed = 0

    def feed(self, data: bytes) -> list[Event]:
        """The events of these bytes, none after the end or a failure. Raises UpstreamProtocolError for a huge frame."""
        if self._over:
            return []
        comments = self._parser.comments
        try:
            frames = self._parser.feed(data)
        except LimitExceeded as error:
            raise UpstreamProtocolError(f"The upstream's stream cannot be read: {error}.") from None
        events: list[Event] = [Ping()] if self._parser.comments > comments else []
        for frame in frames:
            try:
                events += self._frame(frame)
            except BROKEN:
                self.malformed += 1
            if self._over:
                break
        return events

    def close(self) -> list[Event]:
        """`End` where only the marker is missing; nothing where the stream was cut."""
        return [] if self._over else self._end()

    def _frame(self, frame: Frame) -> list[Event]:
        """What a frame says. Raises one of `BROKEN`, with nothing done."""
        raise NotImplementedError

    def _complete(self) -> bool:
        """Whether every choice that began has its finish: before that, a marker ends a cut answer."""
        raise NotImplementedError

    def _end(self) -> list[Event]:
        self._over = True
        return [End()] if self._complete() else []

    def _fail(self, error: UpstreamError) -> list[Event]:
        self._over = True
        return [Failure(error)]
