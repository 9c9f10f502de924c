"""Server-sent events: the WHATWG grammar, case by case."""

from __future__ import annotations

import pytest

from trivium.wire.sse import MAX_FRAME_BYTES, Frame, FrameCutter, LimitExceeded, SSEParser, Template

CASES = {
    "plain": (b"data: x\n\n", [("message", b"x")]),
    "no space after the colon": (b"data:x\n\n", [("message", b"x")]),
    "one space is stripped, a second stays": (b"data:  x\n\n", [("message", b" x")]),
    "several data lines": (b"data: a\ndata: b\n\n", [("message", b"a\nb")]),
    "data without a colon": (b"data\n\n", [("message", b"")]),
    "data twice without a colon": (b"data\ndata\n\n", [("message", b"\n")]),
    "empty data": (b"data:\n\n", [("message", b"")]),
    "named": (b"event: ping\ndata: 1\n\n", [("ping", b"1")]),
    "the name may follow": (b"data: 1\nevent: ping\n\n", [("ping", b"1")]),
    "an empty name is none": (b"event:\ndata: 1\n\n", [("message", b"1")]),
    "event without data": (b"event: ping\n\ndata: 1\n\n", [("message", b"1")]),
    "comments": (b": hello\n\n:\ndata: 1\n: more\n\n", [("message", b"1")]),
    "id, retry and unknown fields": (b"id: 1\nretry: 2\nfoo: 3\ndatax: 4\ndata: 1\n\n", [("message", b"1")]),
    "a space before the colon is part of the name": (b"data : 1\n\n", []),
    "carriage returns": (b"data: a\r\rdata: b\r\r", [("message", b"a"), ("message", b"b")]),
    "CRLF": (b"data: a\r\n\r\ndata: b\r\n\r\n", [("message", b"a"), ("message", b"b")]),
    "mixed ends": (b"data: a\r\ndata: b\rdata: c\n\r\ndata: d\n\n", [("message", b"a\nb\nc"), ("message", b"d")]),
    "a lone CRLF is one end": (b"data: a\r\ndata: b\n\n", [("message", b"a\nb")]),
    "byte-order mark": (b"\xef\xbb\xbfdata: 1\n\n", [("message", b"1")]),
    "a second mark is text": (b"\xef\xbb\xbf\xef\xbb\xbfdata: 1\n\n", []),
    "many blank lines": (b"\n\n\n\ndata: 1\n\n\n\n\ndata: 2\n\n", [("message", b"1"), ("message", b"2")]),
    "several in one read": (b"data: 1\n\ndata: 2\n\n", [("message", b"1"), ("message", b"2")]),
    "cut frame": (b"data: 1\n\ndata: 2\n", [("message", b"1")]),
    "characters of several bytes": ("data: é€😀\n\n".encode(), [("message", "é€😀".encode())]),
}


@pytest.mark.parametrize("name", CASES)
def test_grammar(name):
    stream, expected = CASES[name]
    wanted = [Frame(event, data) for event, data in expected]
    whole = SSEParser()
    assert whole.feed(stream) + whole.close() == wanted
    bytewise = SSEParser()
    assert [frame for i in range(len(stream)) for frame in bytewise.feed(stream[i : i + 1])] == wanted


def test_comments_are_counted():
    parser = SSEParser()
    parser.feed(b": one\n\ndata: x\n: two\r\n:three\r:four\n\n")
    assert parser.comments == 4


def test_a_frame_has_a_limit():
    parser = SSEParser()
    parser.feed(b"data: " + b"x" * (MAX_FRAME_BYTES - 6))
    with pytest.raises(LimitExceeded, match="larger than 4194304"):
        parser.feed(b"x")


def test_the_limit_is_for_one_frame():
    parser = SSEParser()
    frame = b"data: " + b"x" * (MAX_FRAME_BYTES // 2) + b"\n\n"
    assert len(parser.feed(frame * 3)) == 3


def test_a_cutter_gives_back_the_rest():
    cutter = FrameCutter()
    assert cutter.feed(b"data: 1\n\ndata: 2") == [b"data: 1\n\n"]
    assert cutter.close() == b"data: 2"
    assert cutter.close() == b""


TEXT, PADDING = b'"content":"', b'"obfuscation":"'


def chunk(text: bytes, before: bytes = b'{"id":"c","delta":{', after: bytes = b"}}") -> bytes:
    return b"data: " + before + TEXT + text + b'"' + after + b"\n\n"


def padded(text: bytes, padding: bytes, after: bytes = b"}") -> bytes:
    return chunk(text, after=b'},"obfuscation":"' + padding + b'"' + after)


@pytest.mark.parametrize(
    ("learned", "frame", "frames"),
    [
        (chunk(b"Hi"), chunk(b"Hi"), 1),
        (chunk(b"Hi"), chunk(b""), 1),
        (chunk(b""), chunk("é😀 {[,:]}\\n".encode()), 1),
        (chunk(b"Hi"), chunk(b"a" * 100_000), 1),
        (chunk(b"Hi"), chunk(b'say \\"no\\"'), 1),
        (chunk(b'say \\"no\\"'), chunk(b"Hi"), 1),
        (chunk(b"Hi"), chunk(b"a\rb"), 0),
        (chunk(b"Hi"), chunk(b"a\r\rdata: [DONE]\r\rb"), 0),
        (chunk(b"Hi"), chunk(b"a\\"), 0),
        (chunk(b"Hi"), chunk(b"a\x01b"), 0),
        (chunk(b"Hi"), chunk(b"\\u00e9"), 0),  # rare; its digits are not looked at here
        (chunk(b"Hi"), chunk(b"Hi", after=b'},"usage":{}}'), 0),
        (chunk(b"Hi"), chunk(b"Hi", before=b'{"id":"d","delta":{'), 0),
        (chunk(b"Hi"), chunk(b'Hi","finish_reason":"stop'), 0),
        (chunk(b"Hi"), chunk(b"a\nb"), 0),
        (chunk(b"Hi"), chunk(b"Hi") + chunk(b"you"), 2),
        (chunk(b"Hi"), chunk(b"Hi") + chunk(b"you")[:-1], 0),
        (chunk(b"Hi"), chunk(b"Hi") + b": x\n\n" + chunk(b"Hi"), 0),
        (chunk(b"Hi"), chunk(b"Hi") + b"data: [DONE]\n\n", 0),
        (chunk(b"Hi"), chunk(b"Hi")[:-1], 0),
        (chunk(b"Hi"), chunk(b"Hi") + b"\n", 0),
        (chunk(b"Hi"), b": x\n\n", 0),
        (chunk(b"Hi"), b"", 0),
        (chunk(b"Hi"), b"data: [DONE]\n\n", 0),
        (padded(b"Hi", b"aX"), padded(b"Hello", b"b"), 1),
        (padded(b"Hi", b"aX"), padded(b"Hello", b""), 1),
        (padded(b"Hi", b"aX"), padded(b"Hello", b"") + padded(b"you", b"cc") + padded(b"", b"d"), 3),
        (padded(b"Hi", b"aX"), padded(b"Hi", b'","usage":"x'), 0),
        (padded(b"Hi", b"aX"), padded(b"Hi", b"b", after=b',"error":1}'), 0),
        (padded(b"Hi", b"aX"), padded(b"Hi", b"b\ndata: x"), 0),
        (padded(b"Hi", b"aX"), chunk(b"Hi"), 0),
        (chunk(b"Hi"), padded(b"Hi", b"aX"), 0),
        (b'data: {"role":"assistant"}\n\n', b'data: {"role":"assistant"}\n\n', 0),
    ],
)
def test_a_template_fits_what_differs_in_its_text_alone(learned: bytes, frame: bytes, frames: int) -> None:
    template = Template(PADDING)
    assert not template.count(frame)
    template.learn(learned, TEXT)
    assert template.count(frame) == frames
    template.forget()
    assert not template.count(frame)


def test_without_a_padding_none_is_looked_for() -> None:
    template = Template()
    template.learn(padded(b"Hi", b"aX"), TEXT)
    assert template.count(padded(b"Hello", b"aX"))
    assert not template.count(padded(b"Hi", b"bX"))
