from pathlib import Path

import pytest

from trivium.config.env import expand
from trivium.config.toml import read
from trivium.errors import ConfigError


def expanded(value: str, folder: Path, **env: str) -> object:
    return expand(read(f"[a]\nx = [{{ y = '{value}' }}, 3]\n".encode(), "f.toml"), env, folder).data["a"]["x"]


@pytest.mark.parametrize(
    ("value", "result"),
    [
        ("${NAME}", "value"),
        ("pre-${NAME}-post-${NAME}", "pre-value-post-value"),
        ("${NOPE:-default}", "default"),
        ("${EMPTY:-default}", "default"),
        ("${NAME:-default}", "value"),
        ("${NOPE:-}", ""),
        ("${EMPTY}", ""),
        ("$NAME and $${NAME}", "$NAME and ${NAME}"),
    ],
)
def test_references_are_replaced(value: str, result: str, tmp_path: Path):
    assert expanded(value, tmp_path, NAME="value", EMPTY="") == [{"y": result}, 3]


def test_what_a_variable_holds_is_not_expanded_again(tmp_path: Path):
    assert expanded("${A}", tmp_path, A="${B}", B="secret") == [{"y": "${B}"}, 3]


def test_files_are_relative_to_the_configuration_and_lose_their_last_newline(tmp_path: Path):
    (tmp_path / "key.txt").write_text("sk-abc\n")
    assert expanded("${file:key.txt}", tmp_path) == [{"y": "sk-abc"}, 3]
    assert expanded("${file:" + str(tmp_path / "key.txt") + "}", Path("/")) == [{"y": "sk-abc"}, 3]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("${NOPE}", r"f.toml:2: `a.x\[0\].y` needs the environment variable NOPE, which is not set"),
        ("${A B}", "is no reference"),
        ("${file:nope}", "nope, which cannot be read: No such file"),
        ("${file:.}", "which cannot be read: Is a directory"),
        ("${file:binary}", "is not UTF-8 text"),
        ("${file:long}", "is longer than 65536 bytes"),
    ],
)
def test_what_is_missing_is_named(value: str, words: str, tmp_path: Path):
    (tmp_path / "binary").write_bytes(b"\xff")
    (tmp_path / "long").write_bytes(b"x" * 70_000)
    with pytest.raises(ConfigError, match=words):
        expanded(value, tmp_path)


def test_a_file_that_cannot_have_such_a_name_is_one_that_cannot_be_read(tmp_path: Path):
    document = read(b'[defaults]\nmodel = "${file:a\\u0000b}"\n', "c.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        expand(document, {}, tmp_path)
