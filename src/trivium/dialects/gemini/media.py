"""The media inside a request's contents: their kinds and sizes; and how media types are told from addresses."""

from __future__ import annotations

import re

import msgspec

from trivium.dialects.base import Media
from trivium.dialects.gemini.wire import as_list
from trivium.wire.json import BROKEN, NULL

_EXTENSION = re.compile(r"\.([a-z0-9]{2,4})(?:[?#].*)?$", re.IGNORECASE | re.DOTALL)
_TYPES = {
    **{name: f"image/{name}" for name in ("png", "jpeg", "webp", "gif", "heic", "heif", "bmp")},
    **{name: f"audio/{name}" for name in ("wav", "mp3", "aac", "ogg", "flac", "aiff")},
    "jpg": "image/jpeg",
    "pdf": "application/pdf",
    "txt": "text/plain",
    "mp4": "video/mp4",
}
"""By the end of an address."""


class _Blob(msgspec.Struct):
    camel_type: str = msgspec.field(default="", name="mimeType")
    mime_type: str = ""
    camel_uri: str = msgspec.field(default="", name="fileUri")
    file_uri: str = ""
    data: msgspec.Raw = NULL

    @property
    def kind(self) -> str:
        return kind_of(self.camel_type or self.mime_type or type_of(self.camel_uri or self.file_uri))


class _Part(msgspec.Struct):
    """A part in either spelling."""

    inline: _Blob | None = msgspec.field(default=None, name="inlineData")
    inline_data: _Blob | None = None
    linked: _Blob | None = msgspec.field(default=None, name="fileData")
    file_data: _Blob | None = None
    result: _Content | None = msgspec.field(default=None, name="functionResponse")
    function_response: _Content | None = None


class _Content(msgspec.Struct):
    parts: list[_Part] | _Part | None = None


_DECODE = msgspec.json.Decoder(list[_Content] | _Content).decode


def type_of(uri: str) -> str:
    """The media type that the end of an address promises; empty if it does not."""
    found = _EXTENSION.search(uri)
    return _TYPES.get(found[1].lower(), "") if found else ""


def kind_of(media_type: str) -> str:
    return {"image": "images", "audio": "audio"}.get(media_type.partition("/")[0], "files")


def media(contents: msgspec.Raw) -> Media:
    """What a request's contents carry; never raises."""
    try:
        level = as_list(_DECODE(contents))
    except BROKEN:
        return Media()
    kinds: set[str] = set()
    size = 0
    while level:
        parts = [part for content in level for part in as_list(content.parts)]
        level = [inner for part in parts if (inner := part.result or part.function_response)]
        held = ((part.inline, part.inline_data, part.linked, part.file_data) for part in parts)
        found = [blob for blobs in held for blob in blobs if blob is not None]
        kinds.update(blob.kind for blob in found)
        size += sum(len(memoryview(blob.data)) - 2 for blob in found if blob.data != NULL)
    return Media(frozenset(kinds), size)
