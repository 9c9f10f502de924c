"""The types that a user of the library sees."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

USER_VIEW = Path(__file__).parent / "typing"


def pyright(project: Path) -> subprocess.CompletedProcess[str]:
    """Without a look for a newer version, which would be a connection."""
    command = [sys.executable, "-m", "pyright", "--project", project, "--pythonpath", sys.executable]
    environment = os.environ | {"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_users_view_is_typed() -> None:
    done = pyright(USER_VIEW)
    assert done.returncode == 0, done.stdout + done.stderr


def test_checker_reads_the_installed_package(tmp_path: Path) -> None:
    """A checker that does not find `trivium` would be content with anything."""
    shutil.copy(USER_VIEW / "pyrightconfig.json", tmp_path)
    (tmp_path / "user_view.py").write_text("from trivium import Trivium\n\nTrivium().chat('hello').text.nonsense\n")
    done = pyright(tmp_path)
    assert done.returncode == 1
    assert "reportAttributeAccessIssue" in done.stdout
