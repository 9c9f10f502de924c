"""The media inside a request's messages, for every dialect: their kinds and sizes, and nothing else of them.

A passed request is its upstream's to judge, so nothing is refused here: a list that cannot be read counts as nothing.
"""

from __future__ import annotations

import msgspec

from trivium.dialects.base import Media
from trivium.wire.json import BROKEN, NULL, is_null

_DEPTH = 5
"""Messages, parts, those of a tool's result, a document among them, its parts: each level is scanned once more."""
_PLACES = {
    b'"image_url"': ("images", "image_url"),
    b'"input_audio"': ("audio", "input_audio"),
    b'"file"': ("files", "file"),
    b'"image"': ("images", "source"),
    b'"document"': ("files", "source"),
    b'"input_image"': ("images", "type"),
    b'"input_file"': ("files", "type"),
}
"""Types of parts, which no two dialects use for different things: what they carry, and the member that holds it; `type`
stands for one whose payload is in the part itself."""
_TEXT = msgspec.Raw(b'"text"')


class _Node(msgspec.Struct):
    """A message, a part, or what holds a part's payload; all of it raw, so that nothing is copied or in the way."""

    type: msgspec.Raw = NULL
    content: msgspec.Raw = NULL
    output: msgspec.Raw = NULL
    image_url: msgspec.Raw = NULL
    input_audio: msgspec.Raw = NULL
    file: msgspec.Raw = NULL
    source: msgspec.Raw = NULL
    data: msgspec.Raw = NULL
    file_data: msgspec.Raw = NULL
    url: msgspec.Raw = NULL


_DECODER: msgspec.json.Decoder[list[_Node] | _Node] = msgspec.json.Decoder(list[_Node] | _Node)


def media(messages: msgspec.Raw) -> Media:
    """What a request's messages carry; never raises."""
    kinds: set[str] = set()
    size, level = 0, [messages]
    for _ in range(_DEPTH):
        nodes = [node for values in level for node in _nodes(values)]
        level = [values for node in nodes for values in (node.content, node.output)]
        for (kind, member), node in ((_PLACES[bytes(n.type)], n) for n in nodes if bytes(n.type) in _PLACES):
            value = getattr(node, member)
            if not is_null(value):  # else it is somebody's `document` of text
                kinds.add(kind)
            for source in [node] if member == "type" else _nodes(value):
                data = NULL if source.type == _TEXT else source.data  # a document of plain text has its text there
                size += _inline(data, b'"') + _inline(source.file_data, b'"')
                size += _inline(source.url, b'"data:') + _inline(source.image_url, b'"data:')
                level.append(source.content)
    return Media(frozenset(kinds), size)


def _nodes(values: msgspec.Raw) -> list[_Node]:
    if bytes(memoryview(values)[:1]) not in (b"{", b"["):
        return []  # mostly a plain text
    try:
        found = _DECODER.decode(values)
    except BROKEN:
        return []
    return found if isinstance(found, list) else [found]


def _inline(value: msgspec.Raw, start: bytes) -> int:
    """The bytes of a string's content, if it starts like that."""
    text = memoryview(value)
    return len(text) - 2 if bytes(text[: len(start)]).lower() == start else 0
