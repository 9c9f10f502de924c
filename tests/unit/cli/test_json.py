"""Every command takes `--json`, and prints one document then, whatever its tables say to people."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli_help import trivium
from engines_help import gguf_bytes
from trivium.cli.app import APPS, COMMANDS

WORDS = (
    "advise", "chat --forget", "config", "config check", "config distrust", "config schema", "config show",
    "connect", "connect codex", "connect vscode --restore", "doctor",
    "engines", "engines list", "explain", "log", "models", "models --all", "models list", "models show smollm2-135m",
    "models --provider openai", "models refresh", "providers", "providers list", "providers show openai", "routes",
    "replay", "usage", "usage --by key",
)  # fmt: skip
ELSEWHERE = {"ask", "login", "logout", "serve"}
"""Tried with `--json` by the tests of their own."""


def test_no_command_is_left_out() -> None:
    tried = {words.split()[0] for words in WORDS} | ELSEWHERE
    assert tried | {"completion"} == {*COMMANDS, *APPS}


@pytest.mark.parametrize("words", WORDS)
def test_it_prints_one_document(tmp_path: Path, words: str) -> None:
    done = trivium(tmp_path, *words.split(), "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert isinstance(json.loads(done.stdout), dict)


def test_a_model_is_pulled_and_removed(tmp_path: Path) -> None:
    (tmp_path / "own.gguf").write_bytes(gguf_bytes())
    done = trivium(tmp_path, "models", "pull", "own.gguf", "--yes", "--json")
    assert json.loads(done.stdout)["model"] == "local/own"
    assert json.loads(trivium(tmp_path, "models", "rm", "own", "--json").stdout)["model"] == "own"
