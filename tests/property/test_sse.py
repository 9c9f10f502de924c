"""However a stream is sliced, it says the same."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from trivium.wire.ndjson import NDJSONParser
from trivium.wire.sse import FrameCutter, SSEParser

PIECES = [
    b"data",
    b"event",
    b": ",
    b":",
    b" ",
    b"\n",
    b"\r",
    b"\r\n",
    b"\n\n",
    b"x",
    "é😀".encode(),
    b"\xef\xbb\xbf",
    b"\xff",
]
STREAMS = st.lists(st.sampled_from(PIECES), max_size=40).map(b"".join)


def sliced(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted({cut % (len(data) + 1) for cut in cuts}), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


@given(STREAMS, st.lists(st.integers(0, 400), max_size=6))
def test_slices_give_the_same_frames(stream, cuts):
    whole, parts = SSEParser(), SSEParser()
    assert [frame for part in sliced(stream, cuts) for frame in parts.feed(part)] == whole.feed(stream)
    assert parts.comments == whole.comments


@given(STREAMS)
def test_every_offset_gives_the_same_frames(stream):
    expected = SSEParser().feed(stream)
    for offset in range(len(stream) + 1):
        parser = SSEParser()
        assert parser.feed(stream[:offset]) + parser.feed(stream[offset:]) == expected


@given(STREAMS, st.lists(st.integers(0, 400), max_size=6))
def test_raw_frames_join_to_the_stream(stream, cuts):
    cutter = FrameCutter()
    raw = [frame for part in sliced(stream, cuts) for frame in cutter.feed(part)]
    assert b"".join(raw) + cutter.close() == stream


@given(st.lists(st.sampled_from([b"{}", b"\n", b"\r\n", b" ", b'{"a":"\xc3\xa9"}'])).map(b"".join), st.integers(0, 99))
def test_lines_do_not_depend_on_slices(stream, cut):
    whole, parts = NDJSONParser(), NDJSONParser()
    offset = cut % (len(stream) + 1)
    expected = whole.feed(stream) + whole.close()
    assert parts.feed(stream[:offset]) + parts.feed(stream[offset:]) + parts.close() == expected
