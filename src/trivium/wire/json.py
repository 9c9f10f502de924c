"""JSON values kept raw: the members of an object without decoding what they hold."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])

NULL = msgspec.Raw(b"null")
BROKEN = (msgspec.DecodeError, UnicodeError, RecursionError)
"""What a decoder raises for bytes that are no JSON of the expected shape, whatever is wrong with them."""


def members(body: bytes) -> dict[str, msgspec.Raw]:
    """The members of an object, values as raw bytes. Raises msgspec.DecodeError for anything else."""
    return _MEMBERS.decode(body)


def raw(value: object) -> msgspec.Raw:
    """A value as raw JSON."""
    return msgspec.Raw(msgspec.json.encode(value))


def is_utf8(data: bytes) -> bool:
    """Whether bytes are UTF-8; where they are likely ASCII, `data.isascii()` says so sooner."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def join(values: Mapping[str, object]) -> bytes:
    """The object with these members."""
    return msgspec.json.encode(values)


def is_null(value: msgspec.Raw) -> bool:
    """Whether a raw value is `null` or was not there at all."""
    return not memoryview(value) or value == NULL
