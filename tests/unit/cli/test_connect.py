"""`trivium connect`: exact lines for each tool, and files of the user's that keep every byte of theirs."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shlex
import stat
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, cast
from unittest import mock

import pytest
import yaml

import support
from cli_help import said_error, trivium
from trivium.cli.main import main
from trivium.cli.patch import BEGIN, Patch, merged, taken
from trivium.cli.tools import tools
from trivium.errors import TriviumError

SERVER = "http://127.0.0.1:3333"
TOOLS = tuple(tools())
BYTES: dict[str, tuple[str, str]] = {
    "claude-code": (
        ".claude/settings.json",
        '{\n    "model": "opus",\n    "env": {"A": "ü", "ANTHROPIC_MODEL": "x"}\n}',
    ),
    "codex": (".codex/config.toml", '# mine\nmodel = "gpt-5" # dear\n\n[model_providers.lab]\nname = "lab"'),
    "gemini-cli": (".gemini/.env", "# mine\nexport GEMINI_API_KEY=old\nOTHER=1\n\n"),
    "opencode": (".config/opencode/opencode.json", '{"provider": {"lab": {}}, "model": "lab/x", "theme": null}\n'),
    "aider": (".aider.conf.yml", "---\n# mine\nmodel: sonnet\nread:\n- A.md\n- B.md\ndark-mode: true"),
    "continue": (".continue/models/trivium.yaml", "# empty but for this\n"),
    "open-webui": (".config/trivium/open-webui.env", "WEBUI_AUTH=false\n"),
    "vscode": (
        ".config/Code/User/chatLanguageModels.json",
        '[{"vendor": "ollama", "name": "Trivium", "x": 1}, {"b": 2}]',
    ),
    "jupyter": (
        ".local/share/jupyter/jupyter_ai/config.json",
        '{"custom_models": [{"id": "a", "params": {}}], "b": {}}',
    ),
}
"""A file of each tool, relative to the home, as a user might have it, awkward in its own way."""


def asked(home: Path, *words: str, env: Mapping[str, str] = {}, stdin: str = "") -> CompletedProcess[str]:
    """`trivium connect` in this process, which is much faster, as a person in that home would call it."""
    with (
        mock.patch.dict(os.environ, support.environment(home) | dict(env), clear=True),
        mock.patch.object(sys, "stdin", io.StringIO(stdin)),
        contextlib.chdir(home),
        contextlib.redirect_stdout(io.StringIO()) as out,
        contextlib.redirect_stderr(io.StringIO()) as err,
        pytest.raises(SystemExit) as ended,
    ):
        main(["connect", *words])
    return CompletedProcess(words, cast("int", ended.value.code or 0), out.getvalue(), err.getvalue())


def connected(home: Path, *words: str, **more: Any) -> dict[str, Any]:
    done = asked(home, *words, "--json", **more)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def users_file(home: Path, tool: str) -> Path:
    name, text = BYTES[tool]
    file = home / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(0o640)
    return file


def tree(home: Path) -> dict[str, bytes]:
    """All files but our own state."""
    return {
        str(p.relative_to(home)): p.read_bytes() for p in home.rglob("*") if p.is_file() and p.name != "connected.json"
    }


# ---- what is printed


def test_each_tool_is_told_of_the_server_and_the_model(tmp_path: Path) -> None:
    for tool in TOOLS:
        said = connected(tmp_path, tool, "--model", "lab/x:free", "--server", "http://127.0.0.5:8080/v1/")
        assert said["server"] == "http://127.0.0.5:8080"
        assert not said["answers"]
        assert said["files"], tool
        text = json.dumps([said["environment"], said["files"], said["start"]])
        assert "http://127.0.0.5:8080" in text
        assert "lab/x:free" in text
        assert "127.0.0.1" not in text
        assert "{" not in "".join(said["environment"].values()).replace('{"', "").replace(":{", "")
        assert all(path.startswith(str(tmp_path)) for path in said["files"])


def test_lines_for_people_are_lines_for_a_shell(tmp_path: Path) -> None:
    done = asked(tmp_path, "claude-code", "--key", "tv-1", "--model", "auto")
    assert done.returncode == 0
    assert f"Nothing answers at {SERVER} now: start `trivium serve`." in done.stderr
    shell = [shlex.split(line) for line in done.stdout.splitlines() if line.startswith(("export ", "unset "))]
    assert ["export", f"ANTHROPIC_BASE_URL={SERVER}"] in shell
    assert ["export", "ANTHROPIC_AUTH_TOKEN=tv-1"] in shell
    assert ["unset", "ANTHROPIC_API_KEY"] in shell
    assert str(tmp_path / ".claude" / "settings.json") in done.stdout
    assert str(tmp_path / ".config/Code/User/chatLanguageModels.json") in asked(tmp_path, "vscode").stdout


def test_the_tools_are_listed(tmp_path: Path) -> None:
    assert [row["tool"] for row in connected(tmp_path)["rows"]] == list(TOOLS)
    assert "claude-code" in asked(tmp_path).stdout


@pytest.mark.parametrize(
    ("env", "file"),
    [
        ({"CLAUDE_CONFIG_DIR": "/there"}, "/there/settings.json"),
        ({"CLAUDE_CONFIG_DIR": ""}, "{}/.claude/settings.json"),
    ],
)
def test_a_tool_may_have_its_folder_elsewhere(tmp_path: Path, env: dict[str, str], file: str) -> None:
    assert list(connected(tmp_path, "claude-code", env=env)["files"]) == [file.format(tmp_path)]


def test_a_name_that_the_tool_takes_for_its_own_is_spelt_so_that_it_reaches_us(tmp_path: Path) -> None:
    assert connected(tmp_path, "gemini-cli")["environment"]["GEMINI_MODEL"] == "./auto"
    assert connected(tmp_path, "gemini-cli", "--model", "a/b")["environment"]["GEMINI_MODEL"] == "a/b"


def test_a_running_server_says_whether_it_asks_for_a_key(tmp_path: Path) -> None:
    keys = '[[keys]]\nname = "me"\nkey = "tv-right-0000"\n'
    with support.serve(support.config([]) + keys) as served:
        bare = connected(tmp_path, "aider", "--server", served.origin)
        assert (bare["answers"], bare["guarded"]) == (True, True)
        assert bare["environment"]["AIDER_OPENAI_API_KEY"] == "YOUR_TRIVIUM_KEY"
        assert any("asks for a key" in line for line in bare["notes"])
        wrong = connected(tmp_path, "aider", "--server", served.origin, "--key", "tv-wrong-0000")
        assert any("refuses this key" in line for line in wrong["notes"])
        right = connected(tmp_path, "aider", "--server", served.origin, "--key", "-", stdin="tv-right-0000\n")
        assert right["environment"]["AIDER_OPENAI_API_KEY"] == "tv-right-0000"
        assert (right["guarded"], right["notes"]) == (False, [])


def test_the_configured_server_and_its_keys_count(tmp_path: Path) -> None:
    file = tmp_path / "test.toml"
    file.write_text('[server]\nlisten = "0.0.0.0:4444"\n[[keys]]\nname = "me"\nkey = "tv-0000"\n')
    said = connected(tmp_path, "codex", "--config", str(file))
    assert (said["server"], said["environment"]) == ("http://127.0.0.1:4444", {"TRIVIUM_API_KEY": "YOUR_TRIVIUM_KEY"})
    for words in (["--write"], ["--run"]):
        done = asked(tmp_path, "codex", "--config", str(file), *words, "--json")
        assert (done.returncode, said_error(done)["kind"]) == (2, "usage")
        assert "--key" in said_error(done)["remedy"]
    assert not (tmp_path / ".codex").exists()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["claud-code"], "claude-code"),
        (["emacs-with-a-name-that-is-like-nothing"], "opencode"),
        (["codex", "--key", "two words"], "--key"),
        (["codex", "--key", 'x"y'], "--key"),
        (["codex", "--model", "a\nb"], "--model"),
        (["codex", "--model", "$HOME"], "--model"),
        (["codex", "--server", "ftp://x"], "--server"),
        (["codex", "--server", "http://u:p@x"], "--server"),
        (["codex", "--restore", "--write"], "--restore"),
        (["codex", "--", "exec"], "--run"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, words: list[str], named: str) -> None:
    done = asked(tmp_path, *words)
    assert done.returncode == 2
    assert named in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


# ---- files


@pytest.mark.parametrize("tool", TOOLS)
def test_what_is_written_can_be_taken_out_to_the_byte(tmp_path: Path, tool: str) -> None:
    file = users_file(tmp_path, tool)
    before = tree(tmp_path)
    said = connected(tmp_path, tool, "--write", "--model", "lab/x")
    assert said["files"][str(file)] == "written"
    backup = file.with_name(f"{file.name}.trivium-backup")
    assert backup.read_text() == BYTES[tool][1]
    assert {stat.S_IMODE(p.stat().st_mode) for p in (file, backup)} == {0o640}
    assert "lab/x" in file.read_text()

    assert set(connected(tmp_path, tool, "--write", "--model", "lab/x")["files"].values()) == {"unchanged"}
    connected(tmp_path, tool, "--write", "--model", "lab/y", "--server", "http://127.0.0.5:1")
    assert "lab/x" not in file.read_text()
    assert backup.read_text() == BYTES[tool][1]

    assert connected(tmp_path, tool, "--restore")["files"][str(file)] == "restored"
    assert tree(tmp_path) == before
    assert set(connected(tmp_path, tool, "--restore")["files"].values()) == {"nothing"}
    assert tree(tmp_path) == before


@pytest.mark.parametrize("tool", TOOLS)
def test_files_that_were_not_there_are_gone_again(tmp_path: Path, tool: str) -> None:
    said = connected(tmp_path, tool, "--write", "--key", "tv-1")
    assert set(said["files"].values()) == {"written"}
    assert {stat.S_IMODE(Path(name).stat().st_mode) for name in said["files"]} == {0o600}
    assert set(connected(tmp_path, tool, "--restore")["files"].values()) == {"removed"}
    assert tree(tmp_path) == {}


def test_what_others_changed_meanwhile_stays(tmp_path: Path) -> None:
    file = users_file(tmp_path, "claude-code")
    connected(tmp_path, "claude-code", "--write")
    text = file.read_text()
    assert text.startswith('{\n    "model": "opus",\n    "env": {\n        "A": "ü",\n')
    assert not text.endswith("\n")
    said = json.loads(text)
    said["env"] |= {"ANTHROPIC_BASE_URL": "http://another", "B": {}}
    said["new"] = [{}]
    file.write_text(json.dumps(said))
    assert connected(tmp_path, "claude-code", "--restore")["files"] == {str(file): "taken out"}
    left = json.loads(file.read_text())
    theirs: Any = {"A": "ü", "ANTHROPIC_MODEL": "x", "ANTHROPIC_BASE_URL": "http://another", "B": {}}
    assert left == {"model": "opus", "env": theirs, "new": [{}]}
    assert file.with_name("settings.json.trivium-backup").exists()


def test_lines_that_were_added_meanwhile_stay(tmp_path: Path) -> None:
    file = users_file(tmp_path, "codex")
    connected(tmp_path, "codex", "--write")
    file.write_text(file.read_text() + '\n[projects."/w"]\ntrust_level = "trusted"\n')
    assert connected(tmp_path, "codex", "--restore")["files"][str(file)] == "taken out"
    assert file.read_text() == BYTES["codex"][1] + '\n[projects."/w"]\ntrust_level = "trusted"\n'


def test_each_format_says_what_was_meant(tmp_path: Path) -> None:
    for tool in TOOLS:
        users_file(tmp_path, tool)
        connected(tmp_path, tool, "--write")
    codex = tomllib.loads((tmp_path / ".codex/config.toml").read_text())
    assert (codex["model"], codex["model_provider"]) == ("auto", "trivium")
    assert codex["model_providers"]["lab"] == {"name": "lab"}
    assert codex["model_providers"]["trivium"]["base_url"] == f"{SERVER}/v1"
    aider = yaml.safe_load((tmp_path / ".aider.conf.yml").read_text())
    assert aider == {
        "read": ["A.md", "B.md"],
        "dark-mode": True,
        "openai-api-base": f"{SERVER}/v1",
        "openai-api-key": "trivium",
        "model": "openai/auto",
    }
    (model,) = yaml.safe_load((tmp_path / ".continue/models/trivium.yaml").read_text())["models"]
    assert (model["provider"], model["apiBase"], model["model"]) == ("openai", f"{SERVER}/v1", "auto")
    first, second = json.loads((tmp_path / ".config/Code/User/chatLanguageModels.json").read_text())
    assert (first["vendor"], second) == ("customendpoint", {"b": 2})
    lines = (tmp_path / ".gemini/.env").read_text().splitlines()
    assert [line for line in lines if "GEMINI_API_KEY" in line and not line.startswith("#")] == [
        "GEMINI_API_KEY=trivium"
    ]


UNREADABLE: list[tuple[str, bytes]] = [
    ("claude-code", b'{"a": 1, // mine\n}'),
    ("claude-code", b"[]"),
    ("claude-code", b'{"a": "\xff"}'),
    ("claude-code", b"[" * 100_000),
    ("vscode", b"{}"),
    ("codex", b'model = "x'),
    ("codex", b'[model_providers.trivium]\nname = "mine"\n'),
    ("codex", b'text = """\nmodel = 1\n"""\n'),
    ("codex", b"# >>> trivium connect >>>\n"),
    ("aider", b"{model: x}"),
    ("aider", b"read: x\n---\nmodel: y\n"),
    ("aider", b"model:\n  - x\n"),
    ("aider", b"model: x\n  y\n"),
    ("continue", b"models:\n- name: mine\n"),
    ("open-webui", b"A=1\nwhat is this\n"),
]


@pytest.mark.parametrize(("tool", "data"), UNREADABLE)
def test_a_file_that_is_not_understood_is_left_alone(tmp_path: Path, tool: str, data: bytes) -> None:
    file = users_file(tmp_path, tool)
    file.write_bytes(data)
    before = tree(tmp_path)
    done = asked(tmp_path, tool, "--write", "--json")
    error = said_error(done)
    assert (done.returncode, error["kind"], bool(error["remedy"])) == (1, "error", True)
    assert str(file) in error["message"] or BEGIN in error["remedy"]
    assert tree(tmp_path) == before


def test_of_several_files_all_are_written_or_none(tmp_path: Path) -> None:
    users_file(tmp_path, "gemini-cli").write_text("no assignment\n")
    assert asked(tmp_path, "gemini-cli", "--write").returncode == 1
    assert not (tmp_path / ".gemini/settings.json").exists()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    file = users_file(tmp_path, "claude-code")
    file.rename(tmp_path / "dotfile")
    file.symlink_to(tmp_path / "dotfile")
    done = asked(tmp_path, "claude-code", "--write")
    assert done.returncode == 1
    assert "link" in done.stderr
    assert "yourself" in done.stderr
    assert (tmp_path / "dotfile").read_text() == BYTES["claude-code"][1]


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="only /proc refuses everybody, root included")
def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    done = asked(tmp_path, "claude-code", "--write", env={"CLAUDE_CONFIG_DIR": "/proc/nowhere"})
    assert done.returncode == 1
    assert "`/proc/nowhere/settings.json` cannot be written" in done.stderr
    assert "yourself" in done.stderr


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    (tmp_path / ".claude").write_text("")
    done = asked(tmp_path, "claude-code", "--write")
    assert done.returncode == 1
    assert str(tmp_path / ".claude") in done.stderr
    assert "yourself" in done.stderr


def test_no_key_is_written_where_others_can_read_it(tmp_path: Path) -> None:
    file = users_file(tmp_path, "claude-code")
    before = tree(tmp_path)
    done = asked(tmp_path, "claude-code", "--write", "--key", "tv-secret-0000")
    assert done.returncode == 1
    assert f"chmod 600 {file}" in done.stderr
    assert tree(tmp_path) == before
    file.chmod(0o600)
    connected(tmp_path, "claude-code", "--write", "--key", "tv-secret-0000")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "tv-secret" not in (tmp_path / "connected.json").read_text()


def test_a_key_that_changed_is_taken_out_too(tmp_path: Path) -> None:
    connected(tmp_path, "opencode", "--write", "--key", "tv-1")
    assert connected(tmp_path, "opencode", "--restore", "--key", "tv-2")["files"].popitem()[1] == "removed"


# ---- start


def fake_program(home: Path, name: str) -> dict[str, str]:
    """A program that says how it was started; returns the environment in which it is found."""
    file = home / "bin" / name
    file.parent.mkdir(exist_ok=True)
    file.write_text('#!/bin/sh\nfor word in "$@"; do echo "word $word"; done\nenv\nexit 7\n')
    file.chmod(0o755)
    return {"PATH": f"{file.parent}:/usr/bin:/bin"}


def test_a_tool_is_started_with_its_environment_and_its_words(tmp_path: Path) -> None:
    env = fake_program(tmp_path, "claude") | {"ANTHROPIC_API_KEY": "theirs"}
    done = trivium(tmp_path, "connect", "claude-code", "--run", "--key", "tv-1", "--", "-p", "a  b", env=env)
    lines = done.stdout.splitlines()
    assert done.returncode == 7
    assert lines[:2] == ["word -p", "word a  b"]
    assert {"ANTHROPIC_AUTH_TOKEN=tv-1", f"ANTHROPIC_BASE_URL={SERVER}"} <= set(lines)
    assert not any(line.startswith("ANTHROPIC_API_KEY") for line in lines)
    assert not (tmp_path / ".claude").exists()


def test_a_tool_that_reads_files_only_is_started_once_they_are_there(tmp_path: Path) -> None:
    env = fake_program(tmp_path, "cn")
    done = trivium(tmp_path, "connect", "continue", "--run", env=env)
    assert done.returncode == 2
    assert "--write" in done.stderr
    done = trivium(tmp_path, "connect", "continue", "--write", "--run", "--model", "a/b", env=env)
    assert done.returncode == 7, done.stderr
    assert f"word {tmp_path}/.continue/models/trivium.yaml" in done.stdout
    assert trivium(tmp_path, "connect", "continue", "--run", "--model", "a/b", env=env).returncode == 7


def test_a_tool_that_is_missing_is_named_with_what_installs_it(tmp_path: Path) -> None:
    done = trivium(tmp_path, "connect", "opencode", "--run", "--json", env={"PATH": str(tmp_path)})
    assert done.returncode == 1
    assert "`opencode`" in said_error(done)["message"]
    assert "opencode-ai" in said_error(done)["remedy"]


# ---- the pure part


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ({}, {"a": {"b": 1}}),
        ({"a": {}}, {"a": {"b": 1}}),
        ({"a": None, "z": 0}, {"a": {"b": 1}}),
        ({"a": {"b": 2, "c": [1]}}, {"a": {"b": 1}}),
        ({"l": []}, {"l": [{"id": 1}]}),
        ({"l": [{"id": 1, "x": 2}, {"id": 3}]}, {"l": [{"id": 1}]}),
        ([{"name": "n"}, 5], [{"name": "n", "v": 2}]),
    ],
)
def test_taking_out_undoes_putting_in(theirs: Any, ours: Any) -> None:
    assert taken(merged(theirs, ours), ours, theirs) == theirs


def test_what_was_taken_away_meanwhile_does_not_come_back() -> None:
    assert taken({"a": {"b": 1}}, {"a": {"b": 1}}, {"a": {"c": 2}}) == {"a": {}}


def test_a_patch_can_be_asked_without_being_made(tmp_path: Path) -> None:
    patch = Patch(path=tmp_path / "x.json", ours={"a": 1})
    assert patch.put(secret=False, dry=True)
    assert not patch.path.exists()
    assert patch.put(secret=False)
    assert not patch.put(secret=False, dry=True)
    patch.path.chmod(0o644)
    with pytest.raises(TriviumError, match="Others can read"):
        patch.put(secret=True, dry=True)
