from __future__ import annotations

import time

import pytest

from trivium.wire.ndjson import LineCutter, NDJSONParser, PlainLines
from trivium.wire.sse import MAX_FRAME_BYTES, LimitExceeded


def test_lines_end_with_line_feeds():
    parser = NDJSONParser()
    assert parser.feed(b'{"a":1}\r\n\n{"b":') == [b'{"a":1}']
    assert parser.feed(b"2}\n  \n") == [b'{"b":2}']
    assert parser.close() == []


def test_the_last_line_needs_none():
    parser = NDJSONParser()
    assert parser.feed(b'{"a":1}') == []
    assert parser.close() == [b'{"a":1}']
    assert parser.close() == []


def test_a_line_has_a_limit():
    parser = NDJSONParser()
    parser.feed(b"x" * MAX_FRAME_BYTES)
    with pytest.raises(LimitExceeded):
        parser.feed(b"x")


def test_raw_lines_joined_are_what_came_in():
    cutter = LineCutter()
    data = b'{"a":1}\n\n \r\n{"b":2}\n{"c"'
    lines = [line for start in range(0, len(data), 3) for line in cutter.feed(data[start : start + 3])]
    assert lines == [b'{"a":1}\n', b"\n", b" \r\n", b'{"b":2}\n']
    assert cutter.pending == b'{"c"'
    assert cutter.feed(b"") == []
    assert cutter.feed(b":3}\n") == [b'{"c":3}\n']
    assert cutter.feed(b"x\n") == [b"x\n"]
    assert cutter.close() == b""


def test_a_mark_at_the_start_is_not_part_of_the_line():
    for said in (b"\xef\xbb\xbf{}\n", b"\xef\xbb\xbf{}\n{"):
        assert NDJSONParser().feed(said) == [b"{}"]
    parser = NDJSONParser()
    assert [*parser.feed(b"\xef\xbb\xbf{}"), *parser.close()] == [b"{}"]


PLAIN = PlainLines(rb'\{"n":[0-9]+,"text":"', rb'","done":false\}')


@pytest.mark.parametrize(
    ("data", "texts"),
    [
        (b'{"n":1,"text":"a","done":false}\n', [b"a"]),
        (
            b'{"n":1,"text":"a","done":false}\n{"n":22,"text":"\\n\\"\xc3\xa9","done":false}\n',
            [b"a", b'\\n\\"\xc3\xa9'],
        ),
        (b'{"n":1,"text":"","done":false}\n', []),
        (b'{"n":1,"text":"\\u0041","done":false}\n', []),
        (b'{"n":1,"text":"a","done":false}\n{"n":1,"text":"a","done":true}\n', []),
        (b'{"n":1,"text":"a","done":false}', []),
        (b'{"n":1,"text":"a\nb","done":false}\n', []),
        (b'{"n":1,"text":"a\\","done":false}\n', []),
        (b'{"n":1,"text":"a","error":"x","done":false}\n', []),
        (b"\n", []),
        (b"", []),
    ],
)
def test_plain_lines_say_nothing_but_a_text(data: bytes, texts: list[bytes]):
    assert PLAIN.texts(data) == texts
    assert PLAIN.count(data) == len(texts)


def test_a_line_that_is_almost_plain_costs_no_more_than_its_length():
    line = b'{"n":1,"text":"%b","done":false}\n'
    data = (line % (b"\\n" * 2000)) * 2000 + b"?"
    start = time.process_time()
    assert PLAIN.count(data) == 0
    assert time.process_time() - start < 5
