"""A text of an answer while it grows: what citations quote of it, and where its characters stand in its bytes."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from msgspec.json import decode

QUOTE_MAX = 1000
"""Characters of an answer that a citation repeats: longer ones are found by their offsets, and many cost nothing."""


class Said:
    """A text that is read in blocks once it is asked about, so that no question costs a look at all of it."""

    def __init__(self, text: str = "") -> None:
        self._new: list[str | bytes] = [text]
        self._blocks: list[str] = []
        self._starts, self._bytes = [0], [0]
        """Where each block begins, and at last where all of them end."""

    def add(self, text: str | bytes) -> None:
        """More of it; bytes are the inside of a JSON string."""
        self._new.append(text)

    def _read(self) -> None:
        for new in self._new:
            text = new if isinstance(new, str) else decode(b'"%b"' % new, type=str)
            for at in range(0, len(text), QUOTE_MAX):
                block = text[at : at + QUOTE_MAX]
                self._blocks.append(block)
                self._starts.append(self._starts[-1] + len(block))
                self._bytes.append(self._bytes[-1] + len(_encoded(block)))
        self._new.clear()

    @property
    def length(self) -> int:
        """In characters."""
        self._read()
        return self._starts[-1]

    def part(self, start: int, end: int) -> str:
        """What stands between two offsets, at most 1000 characters of it."""
        self._read()
        start = max(start, 0)
        end = min(end, start + QUOTE_MAX)
        first, last = bisect_right(self._starts, start) - 1, bisect_left(self._starts, end)
        spans = zip(self._starts[first:last], self._blocks[first:last], strict=False)
        return "".join(block[max(start - begin, 0) : max(end - begin, 0)] for begin, block in spans)

    def byte(self, character: int) -> int:
        """Where a character begins in UTF-8; beyond the text as if it went on in ASCII."""
        self._read()
        at = bisect_right(self._starts, max(character, 0)) - 1
        inside = max(character, 0) - self._starts[at]
        return self._bytes[at] + (len(_encoded(self._blocks[at][:inside])) if at < len(self._blocks) else inside)

    def character(self, byte: int) -> int:
        """The character at a byte of UTF-8, or the next one."""
        self._read()
        at = bisect_right(self._bytes, max(byte, 0)) - 1
        inside = max(byte, 0) - self._bytes[at]
        if at < len(self._blocks):
            inside = len(_encoded(self._blocks[at])[:inside].decode("utf-8", "replace"))
        return self._starts[at] + inside


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "replace")
