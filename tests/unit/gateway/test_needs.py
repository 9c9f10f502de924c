"""What a request needs an endpoint to be capable of."""

from __future__ import annotations

from trivium.gateway.needs import MARKS, needs_of
from trivium.types.message import File, Image, Message, Part, Text, ToolResult
from trivium.types.request import Request


def needs(*parts: Part) -> set[str]:
    return set(needs_of(Request(model="m", messages=(Message("user", parts),))))


def test_media_are_needs_and_a_document_of_text_is_none() -> None:
    pdf, text = File(data="QUJD", media_type="application/pdf"), File(data="QUJD", media_type="text/plain")
    assert needs(Text("a"), text) == set()
    assert needs(ToolResult(call_id="c", parts=(text, Image(url="https://a.test/a.png")))) == {"images"}
    assert needs(text, pdf) == {"files"}


def test_every_way_to_write_media_has_a_mark() -> None:
    sent = (
        b'"image_url"',
        b'"input_audio"',
        b'"file"',
        b'"document"',
        b'"inlineData"',
        b'"inline_data"',
        b'"fileData"',
    )
    assert all(any(mark in name for mark in MARKS) for name in sent)
    assert not any(mark in b'{"contents":[{"parts":[{"text":"a"}]}]}' for mark in MARKS)
