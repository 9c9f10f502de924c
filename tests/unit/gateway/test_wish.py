"""Wishes in words: what is read, and that nothing else is guessed at."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from trivium.errors import InvalidRequest
from trivium.gateway.wish import data_class_of, strict_of, timeout_of
from trivium.types.data import DATA_CLASSES


def test_every_class_has_its_word() -> None:
    assert {word: data_class_of(f" {word.upper()} ") for word in DATA_CLASSES} == DATA_CLASSES


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30", 30.0), ("0.5", 0.5), (" 2s ", 2.0), ("250ms", 0.25), ("1.5m", 90.0), ("999999", 999_999.0), ("30.0", 30.0)],
)
def test_timeouts(text: str, seconds: float) -> None:
    assert timeout_of(text) == pytest.approx(seconds)


@pytest.mark.parametrize(("text", "yes"), [("1", True), (" True ", True), ("YES", True), ("0", False), ("no", False)])
def test_strict(text: str, yes: bool) -> None:
    assert strict_of(text) is yes


@pytest.mark.parametrize(
    ("read", "text", "param"),
    [
        *((data_class_of, text, "data_class") for text in ("", "public", "any,premises", "x" * 1000)),
        *((strict_of, text, "strict") for text in ("", "2", "on", "1,0", "y" * 1000)),
        *(
            (timeout_of, text, "timeout")
            for text in ("", "0", "0.000s", "-1", "+1", "1e3", "inf", "nan", "1h", "1 s", "1s2", "٣", "1" * 7, ".5")
        ),
    ],
)
def test_anything_else_is_refused_by_name(read: Callable[[str], object], text: str, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(text)
    assert caught.value.param == param
    assert caught.value.remedy
    assert len(caught.value.message) < 120  # a caller's text is not echoed at any length
