"""A segment: one file of a journal, and how records lie in it.

A process writes a series `<tag>.<number>.journal`, where the tag is its own and unique, and holds a lock on
`<tag>.lock` as long as it lives: a series whose lock is free has lost its writer. A segment is a header (magic and
format version) and then frames: payload length and CRC-32 (both little-endian, 32 bits), payload (the records of a
turn of the loop, a msgpack array of tagged arrays). A writer only ever appends, so that a reader may stop at any
frame and go on from there.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast
from zlib import crc32

import msgspec

from trivium.errors import LedgerUnavailable
from trivium.ledger.record import FIGURE_MAX, TEXT_MAX, Entry

FORMAT = 3
_MAGIC = b"TRIVJNL"
HEADER = _MAGIC + bytes([FORMAT])

FRAME = struct.Struct("<II")
RECORD_MAX_BYTES = 16 << 10
"""A record above it is shortened: callers choose model names, and could fill the disk with them."""
_USUAL_BYTES = 512
"""What a record takes up on average at most, if none is to be looked at by itself."""
_ITEMS_MAX = 100

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Entry]).decode
_decode_one = msgspec.msgpack.Decoder[Entry](Entry).decode


def frame(records: Sequence[Entry]) -> bytes:
    """Records as one frame, whatever sizes others gave to their texts and figures."""
    payload = _payload(records)
    return FRAME.pack(len(payload), crc32(payload)) + payload


def _payload(records: Sequence[Entry]) -> bytes:
    try:
        payload = _encode(records)
    except (OverflowError, UnicodeEncodeError):
        payload = b""
    if payload and len(payload) <= max(RECORD_MAX_BYTES, _USUAL_BYTES * len(records)):
        return payload
    return _encode([msgspec.Raw(_one(record)) for record in records])


def _one(record: Entry) -> bytes:
    try:
        data = _encode(record)
    except (OverflowError, UnicodeEncodeError):
        return _encode(_tame(_builtins(record)))
    return data if len(data) <= RECORD_MAX_BYTES else _encode(_tame(_builtins(record)))


def _builtins(record: Entry) -> Any:
    return msgspec.to_builtins(record, builtin_types=(msgspec.Raw,))


def decode(payload: bytes) -> list[Entry]:
    """Raises msgspec.DecodeError; figures out of bounds are cut to them."""
    try:
        return _decode(payload)
    except msgspec.ValidationError:
        return [_decode_one(_encode(_tame(item))) for item in msgspec.msgpack.decode(payload, type=list[Any])]


def _tame(value: Any) -> Any:
    if isinstance(value, int):
        return max(-1, min(value, FIGURE_MAX))
    if isinstance(value, str):
        # A lone surrogate, which Python allows in a text and UTF-8 does not, becomes a question mark.
        return value[:TEXT_MAX].encode("utf-8", "replace").decode()
    if isinstance(value, (list, tuple)):
        return [_tame(item) for item in cast("list[Any]", value)[:_ITEMS_MAX]]
    return value


def segment_path(directory: Path, tag: str, number: int) -> Path:
    return directory / f"{tag}.{number:06d}.journal"


def lock_path(directory: Path, tag: str) -> Path:
    return directory / f"{tag}.lock"


def tag_of(segment: Path) -> str:
    return segment.name.split(".", 1)[0]


def series(directory: Path) -> dict[str, list[Path]]:
    """All segments of a directory by their writer's tag, each series in the order in which it was written."""
    found: dict[str, list[Path]] = {}
    for path in sorted(directory.glob("*.journal")):
        found.setdefault(tag_of(path), []).append(path)
    return found


def bytes_in(directory: Path) -> int:
    """What the segments of a directory take up; one that vanishes meanwhile (it is loaded) counts nothing."""
    total = 0
    for path in directory.glob("*.journal"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue
    return total


class Stretch(NamedTuple):
    """The whole frames at the beginning of some bytes."""

    records: list[Entry]
    size: int
    """Bytes that they take up."""
    damaged: bool
    """The next frame is there as a whole, and is not what was written."""


def parse(data: bytes) -> Stretch:
    """Read frames until the bytes end, a frame is incomplete, or one is damaged."""
    records: list[Entry] = []
    at, end = 0, len(data)
    while at + FRAME.size <= end:
        length, checksum = FRAME.unpack_from(data, at)
        stop = at + FRAME.size + length
        if stop > end:
            break
        payload = data[at + FRAME.size : stop]
        if crc32(payload) != checksum:
            return Stretch(records, at, damaged=True)
        try:
            records += decode(payload)
        except msgspec.DecodeError:
            # Zeros, which some file systems leave after a power cut, have a right checksum and are no record.
            return Stretch(records, at, damaged=True)
        at = stop
    return Stretch(records, at, damaged=False)


def check_header(head: bytes, path: Path) -> bool:
    """Whether a segment's header is complete; raises LedgerUnavailable for a format that is not ours."""
    if head == HEADER:
        return True
    if HEADER.startswith(head):
        return False
    if head.startswith(_MAGIC):
        raise LedgerUnavailable(
            f"`{path}` was written by another version of Trivium (journal format {head[-1]}; this one reads {FORMAT}).",
            remedy="Let that version load it; the file stays until then.",
        )
    raise LedgerUnavailable(f"`{path}` is no journal.", remedy="Move it out of the journal's directory.")
