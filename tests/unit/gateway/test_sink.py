"""Values of response headers: whatever they are made of, each stays in its line."""

from __future__ import annotations

from urllib.parse import unquote

from hypothesis import given
from hypothesis import strategies as st

from trivium.gateway.sink import field


@given(st.text())
def test_no_text_leaves_its_line(text: str) -> None:
    value = field(text)
    assert all(0x20 <= byte <= 0x7E for byte in value)
    if not (text.isascii() and text.isprintable()):
        assert unquote(value.decode()) == text.encode("utf-8", "replace").decode()
