"""A form's field, found in the bytes of a multipart body, so that nothing else in it is touched.

Source: RFC 7578 and RFC 2046, 5.1. Read strictly: what two readers could read in two ways is refused.
"""

from __future__ import annotations

import re

from trivium.errors import InvalidRequest

PARTS_MAX = 1_000
_HEAD_BYTES_MAX = 4096
_BOUNDARY = re.compile(
    rb'multipart/form-data\s*;(?:[^"]*;)?\s*boundary=(?:"([^"]{1,70})"|([^\s";,]{1,70}))', re.IGNORECASE
)
_DISPOSITION = re.compile(rb"content-disposition[ \t]*:[ \t]*form-data((?:[ \t]*;[^\r\n]*)?)", re.IGNORECASE)
_PARAMETER = re.compile(rb'[ \t]*;[ \t]*([a-z*]+)=(?:"((?:[^"\\]|\\.)*)"|[^\s";]+)', re.IGNORECASE)


def field(kind: bytes, body: bytes, name: bytes) -> tuple[int, int] | None:
    """Where the value of the field `name` stands; None: there is none.

    Raises InvalidRequest for a form that cannot be read in one way: no boundary, a broken head, the field twice.
    """
    found = _BOUNDARY.match(kind)
    if found is None:
        raise _broken("its content type names no boundary")
    delimiter = b"--" + (found[1] or found[2])
    at = 0 if body.startswith(delimiter) else body.find(b"\r\n" + delimiter) + 2
    if at == 1:
        raise _broken("its boundary is not in the body")
    place: tuple[int, int] | None = None
    for _ in range(PARTS_MAX):
        at += len(delimiter)
        if body.startswith(b"--", at):
            return place
        head_end = body.find(b"\r\n\r\n", at, at + _HEAD_BYTES_MAX)
        end = body.find(b"\r\n" + delimiter, head_end + 2) if head_end >= 0 else -1
        if end < 0 or not body.startswith(b"\r\n", at):
            raise _broken("a part of it has no end")
        if _names(body[at + 2 : head_end]) == name:
            if place is not None:
                raise _broken(f"it has `{name.decode()}` twice")
            place = (min(head_end + 4, end), end)
        at = end + 2
    raise _broken(f"it has more than {PARTS_MAX} parts")


def _names(head: bytes) -> bytes:
    """The name of a part; empty for one with a file."""
    lines = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-disposition")]
    found = _DISPOSITION.fullmatch(lines[0]) if len(lines) == 1 else None
    if found is None:
        raise _broken("a part of it does not say its name")
    given: dict[bytes, bytes] = {}
    at, said = 0, found[1].rstrip()
    while at < len(said):
        parameter = _PARAMETER.match(said, at)
        if parameter is None or parameter[1].lower() in given:
            raise _broken("the head of a part of it can be read in two ways")
        given[parameter[1].lower()] = parameter[2] or b""
        at = parameter.end()
    return b"" if given.keys() & {b"filename", b"filename*"} else given.get(b"name", b"")


def _broken(why: str) -> InvalidRequest:
    return InvalidRequest(f"The form cannot be read: {why}.", remedy="Send `multipart/form-data` (RFC 7578).")
