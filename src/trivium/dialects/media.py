"""The media inside a request's messages, for every dialect: their kinds and sizes, and nothing else of them.

A passed request is its upstream's to judge, so nothing is refused here: a list that cannot be read counts as nothing.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from trivium.dialects.base import Media
from trivium.wire.json import NULL

_DEPTH = 5
"""Messages, parts, those of a tool's result, a document among them, its parts: each level is scanned once more."""
_PLACES = {
    b'"image_url"': ("images", "image_url"),
    b'"input_audio"': ("audio", "input_audio"),
    b'"file"': ("files", "file"),
    b'"image"': ("images", "source"),
    b'"document"': ("files", "source"),
}
"""Types of parts, which no two dialects use for different things: what they carry, and the member that holds it."""
_TEXT = msgspec.Raw(b'"text"')


class _Node(msgspec.Struct):
    """A message or a part; all of it raw, so that no payload is copied and nothing odd gets in the way."""

    type: msgspec.Raw = NULL
    content: msgspec.Raw = NULL
    image_url: msgspec.Raw = NULL
    input_audio: msgspec.Raw = NULL
    file: msgspec.Raw = NULL
    source: msgspec.Raw = NULL


class _Source(msgspec.Struct):
    """What holds a part's payload."""

    type: msgspec.Raw = NULL
    data: msgspec.Raw = NULL
    file_data: msgspec.Raw = NULL
    url: msgspec.Raw = NULL
    content: msgspec.Raw = NULL

    @property
    def inline_bytes(self) -> int:
        data = 0 if self.type == _TEXT else _inline(self.data, b'"')  # a document of plain text has its text there
        return data + _inline(self.file_data, b'"') + _inline(self.url, b'"data:')


T = TypeVar("T")
_NODES: msgspec.json.Decoder[list[_Node] | _Node] = msgspec.json.Decoder(list[_Node] | _Node)
_SOURCES = msgspec.json.Decoder(_Source)
_NOTHING, _NOWHERE = list[_Node](), _Source()


def media(messages: msgspec.Raw) -> Media:
    """What a request's messages carry; never raises."""
    kinds: set[str] = set()
    size, level = 0, [messages]
    for _ in range(_DEPTH):
        read = [_read(_NODES, values, _NOTHING) for values in level]
        nodes = [node for found in read for node in (found if isinstance(found, list) else [found])]
        level = [node.content for node in nodes]
        for node in nodes:
            kind, place = _PLACES.get(bytes(node.type), ("", ""))
            if kind:
                kinds.add(kind)
                source = _read(_SOURCES, getattr(node, place), _NOWHERE)
                size += source.inline_bytes
                level.append(source.content)
    return Media(frozenset(kinds), size)


def _read(decoder: msgspec.json.Decoder[T], value: msgspec.Raw, nothing: T) -> T:
    if bytes(memoryview(value)[:1]) not in (b"{", b"["):
        return nothing  # mostly a plain text
    try:
        return decoder.decode(value)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return nothing


def _inline(value: msgspec.Raw, start: bytes) -> int:
    """The bytes of a string's content, if it starts like that."""
    text = memoryview(value)
    return len(text) - 2 if bytes(text[: len(start)]).lower() == start else 0
