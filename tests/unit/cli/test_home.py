"""A home that cannot be written is said to be so, at once and in one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("command", ["serve", "log", "usage --json", "ask hi"])
def test_a_home_that_cannot_be(command: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = subprocess.run(
        [sys.executable, "-m", "trivium.cli.main", *command.split()],
        env={name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
        | {"TRIVIUM_HOME": str(tmp_path / "file" / "home")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 78, (done.returncode, done.stderr)
    assert "Traceback" not in done.stderr
    assert "Not a directory" in done.stderr
