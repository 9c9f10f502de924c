"""Completion scripts: bash's is run by bash, those of shells that may be missing are read."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from cli_help import trivium
from trivium.cli.app import COMMANDS, app


@pytest.fixture(scope="module")
def bash_script() -> str:
    return app.generate_completion(shell="bash")  # noqa: S604  # the shell's name, nothing is run


def completed(script: str, *words: str) -> set[str]:
    """What bash offers for the last of the words."""
    quoted = " ".join(f"'{word}'" for word in words)
    drive = f"COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _trivium; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    done = subprocess.run(
        ["bash", "--norc", "-c", f"{script}\n{drive}"], capture_output=True, text=True, check=True, timeout=20
    )
    assert done.stderr == ""
    return set(done.stdout.split())


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes_commands_and_options(bash_script: str) -> None:
    checked = subprocess.run(["bash", "-n"], input=bash_script, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert completed(bash_script, "trivium", "mo") == {"models"}
    assert completed(bash_script, "trivium", "") >= set(COMMANDS)
    assert completed(bash_script, "trivium", "ask", "--mo") == {"--model"}
    assert completed(bash_script, "trivium", "completion", "z") == {"zsh"}


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_know_every_command(shell: str) -> None:
    script = app.generate_completion(shell=shell)  # pyright: ignore[reportArgumentType]
    form = {"zsh": "'{}:", "fish": "-a '{}'"}[shell]
    assert all(form.format(name) in script for name in COMMANDS)
    if shutil.which(shell):
        checked = subprocess.run([shell, "-n"], input=script, capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stderr


def test_the_command_prints_or_installs_it(tmp_path: Path) -> None:
    printed = trivium(tmp_path, "completion", "bash")
    assert printed.returncode == 0
    assert "complete -F _trivium trivium" in printed.stdout
    done = trivium(tmp_path, "completion", "fish", "--install")
    assert done.returncode == 0
    (script,) = tmp_path.rglob("trivium.fish")
    assert str(script) in done.stderr
