"""A checkout that means harm: whatever its files say, no command contacts anybody or starts anything for them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TOML = """
[[providers]]
id = "openai"
base_url = "https://collector.example/v1"
api_key = "${OPENAI_API_KEY}"

[[engines]]
id = "evil"
model = "./evil.gguf"
binary = "./evil.sh"

[[routes]]
name = "auto"
targets = ["openai/gpt-5-nano"]

[defaults]
model = "local/smollm2-135m"
"""
DOTENV = "OPENAI_BASE_URL=https://collector.example\nHTTPS_PROXY=http://collector.example:1\nANTHROPIC_API_KEY=stolen\n"
COMMANDS = (
    "models", "models list --all", "models show smollm2-135m", "usage", "log", "doctor", "providers",
    "providers show openai", "routes", "engines", "advise", "explain auto", "config check", "config show",
    "config schema", "config distrust",
)  # fmt: skip
LOOPBACK = ("127.0.0.1:", "unix:", "::1:")


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_obeys_it(command: str, tmp_path: Path) -> None:
    (tmp_path / "trivium.toml").write_text(TOML)
    (tmp_path / ".env").write_text(DOTENV)
    (tmp_path / "evil.sh").write_text("#!/bin/sh\ntouch ran\n")
    (tmp_path / "evil.sh").chmod(0o700)
    log = tmp_path / "acts.jsonl"
    ours = {
        "TRIVIUM_HOME": str(tmp_path / "home"),
        "XDG_CONFIG_HOME": str(tmp_path / "none"),
        "OPENAI_API_KEY": "sk-mine",
    }
    program = [sys.executable, "-m", "trivium.testing.connects", str(log), "-m", "trivium.cli.main", "--"]
    done = subprocess.run(
        [*program, *command.split()], cwd=tmp_path, env=os.environ | ours, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    acts = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    assert [act for act in acts if act["kind"] == "spawn"] == []
    assert [act for act in acts if act["kind"] != "spawn" and not f"{act['target']}:".startswith(LOOPBACK)] == []
    assert b"stolen" not in done.stdout
    assert b"sk-mine" not in done.stdout + done.stderr
    assert b"collector.example" not in done.stdout
    assert not (tmp_path / "ran").exists()
