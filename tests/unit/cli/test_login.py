"""`trivium login` and `logout`: a key is tried, kept privately, and never shown."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

import support
from cli_help import command, configured, said_error, trivium
from trivium.config import credentials
from trivium.config.origin import origin_of
from trivium.testing import FakeUpstream

KEY = "test-key-0123456789"
PLAIN = {"PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}
"""No keyring, so that the file is used on every machine."""


def without_key(home: Path, base_url: str) -> str:
    """A provider `primary` that `login` is to give a key, with a free call."""
    file = home / "test.toml"
    row = support.provider(base_url, key_check="/models")
    del row["api_key"]
    file.write_text(support.config([row]))
    return str(file)


def test_a_key_that_works_is_kept_in_a_private_file(tmp_path: Path) -> None:
    with FakeUpstream(key=KEY) as up:
        words = ("--config", without_key(tmp_path, up.base_url))
        done = trivium(tmp_path, "login", "primary", *words, "--json", stdin=f'  "{KEY}" \n', env=PLAIN)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == {"provider": "primary", "kept_in": "file", "checked": True, "note": ""}
        asked = trivium(tmp_path, "ask", "-m", "primary/x", *words, "hi", env=PLAIN)
        assert asked.returncode == 0, asked.stderr
        kept = credentials.load(tmp_path, "primary", origin_of(up.base_url))
        assert kept is not None
        assert kept.reveal() == KEY
    assert (tmp_path / "credentials.json").stat().st_mode & 0o777 == 0o600
    assert KEY not in done.stdout + done.stderr
    assert trivium(tmp_path, "logout", "primary", *words, env=PLAIN).returncode == 0
    assert credentials.kept(tmp_path) == ()
    assert trivium(tmp_path, "logout", "primary", *words, env=PLAIN).returncode == 1


def test_a_key_that_is_refused_is_not_kept(tmp_path: Path) -> None:
    with FakeUpstream(key=KEY) as up:
        words = ("--json", "--config", without_key(tmp_path, up.base_url))
        done = trivium(tmp_path, "login", "primary", *words, stdin="another-key-9876543210\n", env=PLAIN)
    assert done.returncode == 1
    assert said_error(done)["kind"] == "authentication"
    assert "another-key" not in done.stdout + done.stderr
    assert credentials.kept(tmp_path) == ()


def test_a_key_that_cannot_be_tried_is_kept_with_a_note(tmp_path: Path) -> None:
    with support.refused_port() as port:
        words = ("--json", "--config", without_key(tmp_path, f"http://127.0.0.1:{port}/v1"))
        done = trivium(tmp_path, "login", "primary", *words, stdin=f"{KEY}\n", env=PLAIN)
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["checked"]) == (0, False)
    assert f"127.0.0.1:{port}" in answer["note"]
    assert credentials.kept(tmp_path) == ("primary",)


def test_offline_no_key_is_tried(tmp_path: Path) -> None:
    with FakeUpstream(key=KEY) as up:
        words = ("--offline", "--config", without_key(tmp_path, up.base_url))
        done = trivium(tmp_path, "login", "primary", *words, stdin=f"{KEY}\n", env=PLAIN)
        assert done.returncode == 0
        assert up.connections == 0


@pytest.mark.parametrize("words", [("sk-ant-0123456789",), ("--key", "sk-0123456789"), ("--key=sk-0123456789",)])
def test_a_key_on_the_command_line_is_refused_and_not_repeated(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = trivium(tmp_path, "login", "openai", *words, stdin=f"{KEY}\n", env=PLAIN)
    assert done.returncode == 2
    assert "0123456789" not in done.stdout + done.stderr
    assert credentials.kept(tmp_path) == ()


@pytest.mark.parametrize(
    ("provider", "key", "named"),
    [
        ("openai", "sk-ant-" + "a" * 24, "login anthropic"),
        ("openai", "", "not a key"),
        ("opnai", KEY, "openai"),
        ("local", KEY, "no key"),
    ],
)
def test_what_cannot_be_a_key_of_that_provider_is_refused(tmp_path: Path, provider: str, key: str, named: str) -> None:
    done = trivium(tmp_path, "login", provider, "--offline", stdin=f"{key}\n", env=PLAIN)
    assert done.returncode == 2
    assert named in done.stderr
    assert credentials.kept(tmp_path) == ()


def test_logout_says_where_another_key_comes_from(tmp_path: Path) -> None:
    with FakeUpstream() as up:
        done = trivium(tmp_path, "logout", "primary", "--config", configured(tmp_path, up))
    assert done.returncode == 1
    assert "trivium.toml" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize("typed", [b"\x04", b"k\xff\n"])
def test_a_terminal_that_gives_no_key_is_a_usage_error(typed: bytes, tmp_path: Path) -> None:
    leader, follower = pty.openpty()
    words = command("login", "primary", "--config", without_key(tmp_path, "http://127.0.0.1:9/v1"))
    env = support.environment(tmp_path) | PLAIN
    started = subprocess.Popen(words, env=env, stdin=follower, stdout=-1, stderr=-1, text=True, start_new_session=True)
    os.close(follower)
    assert started.stderr is not None
    asked = ""
    while not asked.endswith("(not shown): "):
        more = started.stderr.read(1)
        assert more, asked
        asked += more
    os.write(leader, typed)
    _, said = started.communicate(timeout=20)
    os.close(leader)
    assert started.returncode == 2
    assert "defect" not in said
