"""Exit codes, errors for people and programs, and the `.env` that was merely found."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import support
from cli_help import configured, said_error, trivium
from trivium.cli.app import COMMANDS
from trivium.cli.main import main
from trivium.config.trust import trust
from trivium.testing import FakeUpstream


def exit_code(*words: str) -> int | str | None:
    with pytest.raises(SystemExit) as raised:
        main(list(words))
    return raised.value.code


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRIVIUM_HOME", str(tmp_path / "home"))


def test_help_names_every_command_and_imports_none(tmp_path: Path) -> None:
    loud = "import sys; from trivium.cli.main import main\ntry: main(['--help'])\nfinally: print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", loud], capture_output=True, text=True, check=True)
    assert all(f" {name} " in done.stdout for name in COMMANDS)
    loaded = {name.rpartition(".")[2] for name in done.stdout.split() if name.startswith("trivium.")}
    assert loaded == {"cli", "app", "main", "errors", "version"}


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["ask", "--nonsense", "hi"],
        ["completion", "tcsh"],
        ["ask"],
        ["ask", "caf\udce9"],
        ["ask", "--data-class", "secret", "hi"],
        ["explain", "--data-class", "secret"],
        ["log", "-n", "-1"],
        ["log", "-n", "99999999999999999999"],
    ],
)
def test_usage_errors_exit_2_without_a_traceback(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(*words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("trivium: ")
    assert "Traceback" not in said.err


def test_stray_words_are_named_in_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("routes", "5", "six") == 2
    assert capsys.readouterr().err.startswith("trivium: This command takes no `5`, `six`.\n")


def test_each_command_of_a_group_has_its_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert not exit_code("models", "--help")
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "│ refresh " in line]
    assert "Read the models that providers list now." in line


def test_a_bad_configuration_exits_78_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "bad.toml"
    file.write_text("[server]\nlisten_on = 1\n")
    done = trivium(tmp_path, "ask", "--json", "--config", str(file), "hi")
    assert done.returncode == 78
    error = said_error(done)
    assert error["kind"] == "configuration"
    assert (error["file"], error["line"]) == (str(file), 2)
    assert done.stdout == ""


def test_a_defect_is_one_line_unless_debugging(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("two\nlines")

    monkeypatch.setattr("trivium.cli.app.parse", broken)
    assert exit_code("ask") == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert exit_code("ask", "--json") == 1
    assert "RuntimeError: two lines" in json.loads(capsys.readouterr().err)["error"]["message"]
    monkeypatch.setenv("TRIVIUM_DEBUG", "1")
    with pytest.raises(RuntimeError):
        main(["ask"])


def test_an_interruption_exits_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("trivium.cli.app.parse", interrupted)
    assert exit_code("ask") == 130


def test_a_reader_that_has_gone_is_no_error(tmp_path: Path) -> None:
    line = f"{sys.executable} -m trivium.cli.main completion bash | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert (done.stdout.strip(), done.stderr) == ("0", "")


def test_a_found_env_file_counts_only_when_trusted(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("TRIVIUM_CONFIG=missing.toml\n")
    before = trivium(tmp_path, "ask")
    assert before.returncode == 2
    assert "not trusted" in before.stderr
    trust(tmp_path, file)
    after = trivium(tmp_path, "ask", "hi")
    assert after.returncode == 78
    assert "missing.toml" in after.stderr
    own = trivium(tmp_path, "ask", "hi", env={"TRIVIUM_CONFIG": "other.toml"})
    assert "other.toml" in own.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="closes streams as a POSIX shell does")
@pytest.mark.parametrize(
    ("words", "closed", "code", "said"),
    [
        ("ask -m primary/echo hi", "<&-", 0, "direct · primary/echo"),
        ("usage", ">&-", 0, ""),
        ("usage", "2>&-", 0, ""),
        ("explain -", "<&-", 1, "not valid JSON"),
        ("login primary", "<&-", 2, "that is not a key"),
        ("chat", "<&-", 0, ""),
    ],
)
def test_a_closed_standard_stream_is_an_empty_one(
    words: str, closed: str, code: int, said: str, tmp_path: Path
) -> None:
    with FakeUpstream() as up:
        env = support.environment(tmp_path) | {"TRIVIUM_CONFIG": configured(tmp_path, up)}
        line = f"{sys.executable} -m trivium.cli.main {words} {closed}"
        done = subprocess.run(["bash", "-c", line], env=env, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "defect" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_an_error_that_nobody_can_read_keeps_its_exit_code(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123
        words = [sys.executable, "-m", "trivium.cli.main", "nonsense"]
        assert subprocess.run(words, stderr=full, check=False, timeout=60).returncode == 2
