"""Texts that grow: quotes out of them, and their offsets in characters and in bytes."""

from __future__ import annotations

import pytest

from trivium.dialects.said import QUOTE_MAX, Said

TEXT = "aé東🛰" * QUOTE_MAX


def grown(size: int) -> Said:
    said = Said()
    for at in range(0, len(TEXT), size):
        said.add(TEXT[at : at + size])
    return said


@pytest.mark.parametrize("size", [7, QUOTE_MAX, len(TEXT)])
def test_offsets_are_those_of_the_whole_text(size: int) -> None:
    said = grown(size)
    assert said.length == len(TEXT)
    for character in (0, 1, 2, 3, 4, 999, 1000, 1001, 2345, len(TEXT)):
        byte = len(TEXT[:character].encode())
        assert (said.byte(character), said.character(byte)) == (byte, character)
        assert said.part(character, character + 9) == TEXT[character : character + 9]


def test_a_byte_within_a_character_is_the_next_one() -> None:
    assert [Said("aé東🛰").character(byte) for byte in range(11)] == [0, 1, 2, 2, 3, 3, 3, 4, 4, 4, 4]


def test_a_quote_has_a_bound() -> None:
    assert grown(7).part(-5, 10**9) == TEXT[:QUOTE_MAX]


def test_beyond_a_text_it_goes_on() -> None:
    said = Said("é")
    assert (said.byte(3), said.character(3), said.byte(-1), said.character(-1)) == (4, 2, 0, 0)


def test_what_is_escaped_counts_as_what_it_means() -> None:
    said = Said("a")
    said.add(b"\\n\xc3\xa9")
    assert (said.length, said.byte(3), said.part(0, 9)) == (3, 4, "a\né")
