"""Running commands as a person does: a process, its words, what it printed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import support
from trivium.testing import FakeUpstream


def trivium(
    home: Path, *words: str, stdin: str | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """One command in a home of its own; `stdin` is a pipe, or nothing at all."""
    return subprocess.run(
        command(*words),
        env=support.environment(home) | dict(env or {}),
        cwd=home,
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "trivium.cli.main", *words]


def configured(home: Path, upstream: FakeUpstream | str, *routes: Mapping[str, Any], **row: Any) -> str:
    """A trusted configuration whose provider `primary` is a fake upstream; returns its path."""
    home.mkdir(parents=True, exist_ok=True)
    file = home / "test.toml"
    file.write_text(support.config([support.provider(upstream, **row)], routes))
    return str(file)


def said_error(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The error of a command with `--json`."""
    return json.loads(done.stderr.splitlines()[-1])["error"]
