"""What may reach a terminal, and how figures are said."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivium.cli.terminal import clean, duration, out, print_json, print_rows, print_table, size, tell
from trivium.types.money import dollars


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\ttext\n", "plain\ttext\n"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]52;c;ZXZpbA==\x1b\\after", "after"),
        ("\x9b2Jgone", "gone"),
        ("a\rb\x08\x00\x7f", "ab"),
        ("abc\u202edef\u2066", "abcdef"),
        ("\x1b", ""),
        ("日本 👩‍👩‍👧", "日本 👩‍👩‍👧"),
    ],
)
def test_control_characters_do_not_pass(text: str, shown: str) -> None:
    assert clean(text) == shown


@given(st.lists(st.text(alphabet="\x1b\x9b\x9d[]0;mJ\x07\\a\n\r", max_size=8)))
def test_no_slicing_lets_an_escape_through(pieces: list[str]) -> None:
    shown = "".join(map(clean, pieces))
    assert not {char for char in shown if (char < " " and char not in "\n\t") or "\x7f" <= char <= "\x9f"}


def test_json_stays_json_and_lets_no_control_character_through(capsys: pytest.CaptureFixture[str]) -> None:
    text = "\x1b[2J\x9b2J\x7f\u202e\n東京"
    print_json({"text": text})
    said = capsys.readouterr().out
    assert json.loads(said) == {"text": text}
    assert clean(said) == said


def test_figures_keep_what_is_unknown() -> None:
    assert (dollars(None), dollars(0)) == ("unknown", "$0")
    assert (duration(None), duration(0.0124), duration(3.42), duration(300), duration(9000)) == (
        "unknown", "12 ms", "3.4 s", "5 min", "2.5 h",
    )  # fmt: skip
    assert (size(None), size(999), size(1000), size(144_811_456)) == ("unknown size", "999 B", "1 kB", "145 MB")


def test_a_table_shows_cells_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("name", "cost"), [("[bold]x[/bold]\x1b[2J", None)], right=("cost",))
    said = capsys.readouterr().out
    assert "[bold]x[/bold]" in said
    assert "unknown" in said
    assert "\x1b[2J" not in said


def test_a_pipe_has_no_width(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    out.cache_clear()
    print_table(("name", "what"), [("x" * 90, "a sentence that is long " * 20)])
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "xxx" in line]
    assert line.split()[0] == "x" * 90
    assert line.count("a sentence that is long") == 20


def test_rows_are_json_or_a_table_and_a_deed_json_or_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows([{"id": "a"}], ("name",), lambda row: row.values(), json=True)
    assert json.loads(capsys.readouterr().out) == {"rows": [{"id": "a"}]}
    print_rows([{"id": "a"}], ("name",), lambda row: row.values(), json=False)
    assert capsys.readouterr().out.split()[-1] == "a"
    tell({"done": True}, "Done\x1b[2J.", json=True)
    assert json.loads(capsys.readouterr().out) == {"done": True}
    tell({"done": True}, "Done\x1b[2J.", json=False)
    assert capsys.readouterr().out == "Done.\n"
