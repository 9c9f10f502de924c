from __future__ import annotations

import pytest

from trivium.wire.ndjson import NDJSONParser
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
