"""The media in messages are found in their real shapes, and in nothing that only speaks of them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivium.dialects import get
from trivium.dialects.media import media

DATA = "aGVsbG8gd29ybGQ="
URL = f"data:image/png;base64,{DATA}"
BASE64 = {"type": "base64", "media_type": "image/png", "data": DATA}
IMAGE = {"type": "image", "source": BASE64}
DOCUMENT = {"type": "document", "source": BASE64 | {"media_type": "application/pdf"}, "title": "a"}
TEXT = {"type": "text", "text": f'a file, an image: {{"type":"image_url","image_url":{{"url":"{URL}"}}}}'}


def result(*parts: Any, kind: str = "tool_result") -> dict[str, Any]:
    return {"type": kind, "tool_use_id": "t", "content": [TEXT, *parts]}


def document(content: Any) -> dict[str, Any]:
    return {"type": "document", "source": {"type": "content", "content": content}}


def found(*contents: Any) -> tuple[set[str], int]:
    messages = [{"role": "user", "content": content} for content in contents]
    seen = get("openai_chat").media(msgspec.Raw(msgspec.json.encode(messages)))
    return set(seen.kinds), seen.payload_bytes


@pytest.mark.parametrize(
    ("part", "kind", "payload"),
    [
        ({"type": "image_url", "image_url": {"url": URL, "detail": "low"}}, "images", URL),
        ({"type": "image_url", "image_url": {"url": "DATA:,a"}}, "images", "DATA:,a"),
        ({"type": "image_url", "image_url": {"url": "https://a.test/data:.png"}}, "images", ""),
        ({"type": "input_audio", "input_audio": {"data": DATA, "format": "wav"}}, "audio", DATA),
        ({"type": "file", "file": {"file_data": URL, "filename": "a.pdf"}}, "files", URL),
        ({"type": "file", "file": {"file_id": "file-1"}}, "files", ""),
        (IMAGE, "images", DATA),
        ({"type": "image", "source": {"type": "url", "url": "https://a.test/a.png"}}, "images", ""),
        ({"type": "image", "source": {"type": "file", "file_id": "file_1"}}, "images", ""),
        (DOCUMENT, "files", DATA),
        ({"type": "document", "source": {"type": "url", "url": "https://a.test/a.pdf"}}, "files", ""),
        ({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "words"}}, "files", ""),
        (document("words"), "files", ""),
        (result(IMAGE), "images", DATA),
        (result(DOCUMENT), "files", DATA),
        (result(kind="web_fetch_tool_result") | {"content": {"type": "r", "content": DOCUMENT}}, "files", DATA),
    ],
)
def test_each_shape(part: dict[str, Any], kind: str, payload: str) -> None:
    assert found([TEXT, part]) == ({kind}, len(payload))


def test_a_document_that_is_its_own_text_is_no_file() -> None:
    assert found([{"type": "document", "document": {"data": {"text": "words"}, "id": "d"}}]) == (set(), 0)


def test_all_that_is_nested_is_summed() -> None:
    kinds, size = found("text", [IMAGE, TEXT], None, [result(IMAGE, document([TEXT, IMAGE])), result(DOCUMENT)])
    assert (kinds, size) == ({"images", "files"}, 4 * len(DATA))


def test_a_payload_counts_as_it_was_written() -> None:
    url = rb"data:image\/png;base64,\/\/8="
    messages = b'[ { "content" : [ {"type":"image_url","image_url":{"url":"%b"}} ] , "role":"user"}]' % url
    assert get("anthropic_messages").media(msgspec.Raw(messages)).payload_bytes == len(url)


def test_odd_neighbours_are_no_hindrance() -> None:
    search = {"type": "search_result", "source": "https://a.test", "title": "a", "content": [TEXT]}
    assert found([search, {"type": 5, "file": 5}, IMAGE]) == ({"images"}, len(DATA))
    message = {"role": "user", "type": None, "source": "chat", "file": 5, "content": [IMAGE]}
    assert media(msgspec.Raw(msgspec.json.encode([message]))).kinds == {"images"}


@pytest.mark.parametrize(
    "content",
    [
        "an image, a file, a document and audio",
        [TEXT],
        [{"type": "tool_use", "id": "t", "name": "n", "input": {"content": [IMAGE], "source": 5, "file": [1]}}],
        [{"type": 5}],
        [IMAGE, 5],
        5,
        {},
    ],
)
def test_what_speaks_of_media_or_cannot_be_read_is_nothing(content: Any) -> None:
    assert found(content) == (set(), 0)


@pytest.mark.parametrize(
    "messages",
    [
        b"", b"5", b"null", b"{}", b'"image"', b"[5]", b"[1,", b'[{"content":[{"type":"\xff"}]}]',
        b'[{"content":' * 3000 + b"1" + b"}]" * 3000, b"[" * 3000 + b"]" * 3000,
    ],
)  # fmt: skip
def test_nothing_raises(messages: bytes) -> None:
    assert media(msgspec.Raw(messages)).kinds == frozenset()


NAMES = st.sampled_from(["type", "content", "source", "data", "url", "file", "image_url", "file_data", "input_audio"])
VALUES = st.recursive(
    st.none()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.sampled_from(["image", "document", "file", "text", URL]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
)


@given(VALUES, st.integers(0, 200))
def test_no_value_raises_whole_or_cut(value: Any, cut: int) -> None:
    text = msgspec.json.encode(value)
    size = media(msgspec.Raw(text)).payload_bytes
    assert 0 <= size <= len(text)
    media(msgspec.Raw(text[:cut]))
