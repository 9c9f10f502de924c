"""A form's field is found by its part's name alone, once, in time that grows with the body."""

from __future__ import annotations

import time

import pytest

from trivium.errors import InvalidRequest
from trivium.gateway.form import field

KIND = b'multipart/form-data; boundary="XX"'


def form(*parts: tuple[bytes, bytes], boundary: bytes = b"XX") -> bytes:
    """A body of parts: what their disposition says after `form-data`, and their content."""
    said = b"".join(b"--%b\r\nContent-Disposition: form-data%b\r\n\r\n%b\r\n" % (boundary, *part) for part in parts)
    return said + b"--%b--\r\n" % boundary


MODEL = (b'; name="model"', b"oai/cheap")


def found(body: bytes, kind: bytes = KIND) -> bytes | None:
    place = field(kind, body, b"model")
    return None if place is None else body[slice(*place)]


@pytest.mark.parametrize(
    "kind", [KIND, b"Multipart/Form-Data;boundary=XX", b"multipart/form-data; charset=x; boundary=XX"]
)
def test_a_field(kind: bytes) -> None:
    assert (
        found(form((b'; name="file"; filename="a.wav"', b"\r\n--X\x00"), MODEL, (b'; name="n"', b"1")), kind)
        == b"oai/cheap"
    )
    assert found(b"preamble\r\n" + form(MODEL), kind) == b"oai/cheap"
    assert found(form((b'; name="n"', b"1")), kind) is None
    assert found(form((b'; name="model"', b"")), kind) == b""


@pytest.mark.parametrize(
    "part",
    [
        (b'; name="file"; filename="x"', b'name="model"\r\n\r\noai/cheap\r\n--X'),
        (b'; name="model"; filename="x"', b"oai/dear"),
        (b"; filename*=utf-8''%c3; name=\"model\"", b"oai/dear"),
        (b'; name="a\\"; name=\\"model"', b"x"),
    ],
)
def test_what_only_looks_like_it(part: tuple[bytes, bytes]) -> None:
    assert found(form(part, MODEL)) == b"oai/cheap"
    assert found(form(part)) is None


@pytest.mark.parametrize(
    "body",
    [
        form(MODEL, MODEL),
        form((b'; name="x"; y; name="model"', b"x")),
        form((b'; name="x"; name="model"', b"x")),
        form(MODEL)[:-8],
        b"--XX\r\nX: y\r\n\r\nv\r\n--XX--",
        form((b'; name="a"\r\nContent-Disposition: form-data; name="model"', b"v")),
        b"--XXmodel\r\n\r\nv\r\n--XX--",
        b"",
        form(*[(b'; name="n"', b"1")] * 1_001),
        form((b'; name="x"' + b" " * 5_000, b"1")),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest, match="form cannot be read"):
        found(body)


@pytest.mark.parametrize(
    "kind", [b"multipart/form-data", b"multipart/form-data; boundary=", b"multipart/mixed; boundary=XX"]
)
def test_without_a_boundary(kind: bytes) -> None:
    with pytest.raises(InvalidRequest):
        found(form(MODEL), kind)


@pytest.mark.parametrize("line", [b'name="model"\r\n', b"\r\n--X", b"\r\n--XX", b"a" * 14, b'"\\' * 7])
def test_a_hostile_body_costs_no_more_than_its_length(line: bytes) -> None:
    body = b"--XX\r\n" + line * (4_000_000 // len(line)) + b"--XX--\r\n"
    began = time.process_time()
    with pytest.raises(InvalidRequest):
        found(body)
    assert time.process_time() - began < 5  # minutes, if it were quadratic
