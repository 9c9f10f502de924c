"""Server-sent events: raw bytes cut into frames, and frames read as the WHATWG event-stream grammar says.

https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream

Cutting and reading are apart because a passed stream needs the raw bytes of each frame: what
`FrameCutter` returns, joined, is what came in. Everything works on bytes, so that a character split
between two reads survives; how the bytes were sliced never changes the frames.
"""

from __future__ import annotations

import re

import msgspec

MAX_FRAME_BYTES = 4 * 1024 * 1024
"""An event larger than this is no token of an answer; buffering it would let an upstream fill the memory."""

BOM = b"\xef\xbb\xbf"
_END = rb"(?:\r\n|\n|\r(?!\n))"
_BLANK_LINE = re.compile(_END + _END)
_LONGEST_END = 4
_PADDING_END = b'"}\n\n'
_text = re.compile(rb'[^"\\\x00-\x1f]*(?:\\["\\/bfnrt][^"\\\x00-\x1f]*)*').match


class LimitExceeded(ValueError):
    """A frame is larger than its limit."""


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One event; `event` is `message` where the stream names none."""

    event: str
    data: bytes


class FrameCutter:
    """Cuts a stream into raw frames, each with the blank line that ends it."""

    __slots__ = ("_carriage_returns", "pending")

    def __init__(self) -> None:
        self.pending = bytearray()
        """The beginning of a frame whose end has not arrived."""
        self._carriage_returns = False

    def feed(self, data: bytes) -> list[bytes]:
        """The frames that these bytes complete. Raises LimitExceeded for one over 4 MiB."""
        if b"\r" in data:
            self._carriage_returns = True
        pending = self.pending
        if not pending:
            if not self._carriage_returns and data.find(b"\n\n") == len(data) - 2 and len(data) > 2:
                return [data]
            searched = 0
        else:
            searched = max(0, len(pending) - _LONGEST_END + 1)
        pending += data
        frames: list[bytes] = []
        start = 0
        while end := self._end(searched):
            frames.append(bytes(pending[start:end]))
            start = searched = end
        del pending[:start]
        if len(pending) > MAX_FRAME_BYTES:
            raise LimitExceeded(f"an event of the stream is larger than {MAX_FRAME_BYTES} bytes")
        return frames

    def close(self) -> bytes:
        """What is left: a frame that was never ended."""
        rest = bytes(self.pending)
        self.pending.clear()
        return rest

    def _end(self, searched: int) -> int:
        """The offset after the next blank line, or 0."""
        if self._carriage_returns:
            found = _BLANK_LINE.search(self.pending, searched)
            return found.end() if found else 0
        at = self.pending.find(b"\n\n", searched)
        return at + 2 if at >= 0 else 0


def read_frame(raw: bytes) -> Frame | None:
    """The event of one raw frame; None where it dispatches nothing (comments, `event:` without data)."""
    kind, rest = b"", raw
    if raw.startswith(b"event: "):
        kind, _, rest = raw.partition(b"\n")
    if rest.startswith(b"data: ") and rest.find(b"\n") == len(rest) - 2 and b"\r" not in raw:
        return Frame(kind[7:].decode("utf-8", "replace") or "message", rest[6:-2])
    event = b""
    data: list[bytes] = []
    for line in _lines(raw):
        name, _, value = line.partition(b":")
        if name == b"data":
            data.append(value.removeprefix(b" "))
        elif name == b"event":
            event = value.removeprefix(b" ")
    if not data:
        return None
    return Frame(event.decode("utf-8", "replace") or "message", b"\n".join(data))


def _lines(raw: bytes) -> list[bytes]:
    if b"\r" in raw:
        raw = raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return raw.split(b"\n")


class Template:
    """A frame as the shape of those to come: only one text in it may differ, and a padding at its end.

    Both must be whole JSON strings without control characters, so that no frame, marker or member hides in them.
    """

    __slots__ = ("_after", "_before", "_padded", "_padding", "_text_at")

    def __init__(self, padding: bytes = b"") -> None:
        """`padding` begins the value of a member that comes last, where there is one (`b'"obfuscation":"'`)."""
        self._padding = padding
        self.forget()

    def forget(self) -> None:
        self._before = self._after = b"\x00"  # begins no frame
        self._text_at = 0
        self._padded = False

    def learn(self, raw: bytes, text: bytes) -> bytes:
        """Take a frame whose text stands behind `text` (`b'"content":"'`), up to a quote; returns it as written."""
        at = raw.find(text) + len(text)
        end = _end_of_text(raw, at)
        if at < len(text) or raw[end : end + 1] != b'"':
            return b""
        padding = raw.find(self._padding, end) if self._padding else -1
        self._padded = padding >= 0
        self._before, self._text_at = raw[:at], at
        self._after = raw[end : padding + len(self._padding)] if self._padded else raw[end:]
        return raw[at:end]

    def count(self, data: bytes) -> int:
        """How many frames of this shape `data` is; 0 if there is anything else in it."""
        before, after, text_at = self._before, self._after, self._text_at
        at = frames = 0
        while data.startswith(before, at):
            end = _text(data, at + text_at).end()  # pyright: ignore[reportOptionalMemberAccess]  # matches nothing, too
            if not data.startswith(after, end):
                return 0
            at = end + len(after)
            if self._padded:
                at = _end_of_text(data, at)
                if not data.startswith(_PADDING_END, at):
                    return 0
                at += len(_PADDING_END)
            frames += 1
            if at == len(data):
                return frames
        return 0

    def texts(self, data: bytes) -> list[bytes]:
        """The texts of frames of this shape, as they are written; none if there is anything else in `data`."""
        before, after, text_at = self._before, self._after, self._text_at
        texts: list[bytes] = []
        at, size = 0, len(data)
        while data.startswith(before, at):
            at += text_at
            end = _text(data, at).end()  # pyright: ignore[reportOptionalMemberAccess]  # matches nothing, too
            if not data.startswith(after, end):
                return []
            texts.append(data[at:end])
            at = end + len(after)
            if self._padded:
                at = _end_of_text(data, at)
                if not data.startswith(_PADDING_END, at):
                    return []
                at += len(_PADDING_END)
            if at == size:
                return texts
        return []


def _end_of_text(raw: bytes, at: int) -> int:
    """Where the inside of a JSON string ends that begins at `at`: at its quote, or at what needs a closer look."""
    return _text(raw, at).end()  # pyright: ignore[reportOptionalMemberAccess]  # it matches the empty text


class SSEParser:
    """Frames out of bytes as they arrive; `comments` counts comment lines, which are signs of life."""

    __slots__ = ("_cutter", "_started", "comments", "last")

    def __init__(self) -> None:
        self._cutter = FrameCutter()
        self._started = False
        self.comments = 0
        self.last = b""
        """The frame that was cut last, as it came; empty while another one has begun."""

    def feed(self, data: bytes) -> list[Frame]:
        """The events that these bytes complete. Raises LimitExceeded for one over 4 MiB."""
        frames: list[Frame] = []
        for raw in self._cutter.feed(data):
            if not self._started:
                self._started = True
                raw = raw.removeprefix(BOM)
            self.comments += raw.startswith(b":") + raw.count(b"\n:") + raw.count(b"\r:")
            frame = read_frame(raw)
            if frame is not None:
                frames.append(frame)
            self.last = raw
        if self._cutter.pending:
            self.last = b""
        return frames

    def close(self) -> list[Frame]:
        """The stream ended: an event without its blank line is dropped, as the grammar demands."""
        self._cutter.close()
        return []
