from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivium.config.dotenv import parse, read_dotenv
from trivium.config.trust import trust
from trivium.errors import ConfigError


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=b", "b"),
        ("export A = b ", "b"),
        ("A=", ""),
        ("A='b # c' # d", "b # c"),
        ('A="b\\n\\"c\\"" # d', 'b\n"c"'),
        ("A=b # c", "b"),
        ("A=b#c", "b#c"),
        ("A=$B and ${C}", "$B and ${C}"),
        ("A=x=y", "x=y"),
        ("\tA=1\r", "1"),
    ],
)
def test_lines_as_people_write_them(line: str, value: str):
    assert parse(f"# c\n\n{line}\n".encode()) == {"A": value}


@pytest.mark.parametrize("line", ["A", "A b=c", "1A=b", "A='b", "A='b' c", "=x"])
def test_what_is_no_assignment_is_named_with_its_line(line: str):
    with pytest.raises(ConfigError, match=r"^\.env:2: this line is not NAME=value"):
        parse(f"OK=1\n{line}\n".encode())


@given(st.text(st.characters(exclude_categories=["C", "Zl", "Zp"], exclude_characters="'"), max_size=40))
def test_anything_between_single_quotes_comes_back(value: str):
    assert parse(f"A='{value}'".encode()) == {"A": value}


def test_a_found_file_counts_only_when_it_is_trusted(tmp_path: Path):
    file, home = tmp_path / ".env", tmp_path / "home"
    assert read_dotenv(file, home) == ({}, "")
    file.write_text("A=1\n")
    values, note = read_dotenv(file, home)
    assert values == {}
    assert "trivium config trust" in note
    trust(home, file)
    assert read_dotenv(file, home) == ({"A": "1"}, "")
