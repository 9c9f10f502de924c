"""What an upstream has sent of an answer, kept as it came, and read only if the answer breaks off."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from trivium.dialects.base import StreamDecoder, TextSource
from trivium.errors import UpstreamError
from trivium.types import event as ev
from trivium.types.event import Event
from trivium.wire.json import BROKEN

KEPT_BYTES_MAX = 4 * 1024 * 1024
"""Some fifteen thousand tokens, each an event of its own; longer answers are not rescued."""
BATCH = 64
"""How many reads of an answer are looked at together: one that is not plain costs the others a slower look."""


class Kept:
    """What an upstream has sent of its answer, on the way to who reads it."""

    __slots__ = ("_parts", "_size", "body")

    def __init__(self, body: Callable[[bytes], None]) -> None:
        self.body = body
        """Who reads it now."""
        self._parts: list[bytes] = []
        self._size = 0

    def __call__(self, data: bytes) -> None:
        self._size += len(data)
        if self._size <= KEPT_BYTES_MAX:
            self._parts.append(data)
        else:
            self._parts.clear()
        self.body(data)

    def events(self, decoder: StreamDecoder) -> list[Event]:
        """What that means; nothing where it was too long, or cannot be read as the caller may have read it."""
        found: list[Event] = []
        texts = _Texts(decoder)
        try:
            for part in _batches(self._parts):
                if not texts.take(part):
                    found += texts.said()
                    found += decoder.feed(part)
            found += texts.said()
        except (UpstreamError, *BROKEN):
            return []
        return [] if decoder.malformed or self._size > KEPT_BYTES_MAX else found


def _batches(parts: list[bytes]) -> Iterable[bytes]:
    """The first part, which says how the stream begins, then the others, many at once."""
    yield from parts[:1]
    for start in range(1, len(parts), BATCH):
        yield b"".join(parts[start : start + BATCH])


class _Texts:
    """Reads what only continues a text, as most of an answer does, without decoding each event: a caller waits."""

    def __init__(self, decoder: StreamDecoder) -> None:
        self._source = decoder if isinstance(decoder, TextSource) else None
        self._pieces: list[bytes] = []

    def take(self, data: bytes) -> bool:
        """Whether it was that."""
        pieces = self._source.texts(data) if self._source is not None and self._source.place is not None else []
        self._pieces += pieces
        return bool(pieces)

    def said(self) -> list[Event]:
        """The text since this was asked last. Raises one of `BROKEN`."""
        pieces, self._pieces = self._pieces, []
        if not pieces or self._source is None or self._source.place is None:
            return []
        return [ev.TextDelta(msgspec.json.decode(b'"%b"' % b"".join(pieces), type=str), *self._source.place)]
