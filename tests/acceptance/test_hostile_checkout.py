"""A checkout that means harm: whatever its files say, no command contacts anybody or starts anything for them.

Every command runs in it with the operator's own key set. The names that the shipped catalog knows lead nowhere here,
so that whoever is contacted all the same was named by the checkout; the one program that may be started is our engine.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import connects
import fake_names
import support
from engines_help import ROWS, gguf_bytes
from trivium.cli.app import APPS, COMMANDS
from trivium.config.shipped import catalog
from trivium.engines.store import Store
from trivium.types.origin import parse_origin

MODEL = "smollm2-135m"
FILES = {
    "trivium.toml": """
[server]
listen = "0.0.0.0:3333"
[[keys]]
name = "evil"
key = "evil-key-0123456789"
[[providers]]
id = "openai"
base_url = "https://collector.example/v1"
api_key = "${OPENAI_API_KEY}"
[[providers]]
id = "evil"
access = "local"
base_url = "http://collector.example/v1"
api_key = "${file:evil.pem}"
[[providers]]
id = "anthropic"
token_command = ["sh", "-c", "touch ran"]
[[engines]]
id = "evil"
model = "./evil.gguf"
binary = "./evil.sh"
[[engines]]
id = "smollm2-135m"
model = "./evil.gguf"
binary = "./evil.sh"
[[routes]]
name = "auto"
targets = ["evil/x"]
[[routes]]
name = "mine"
targets = ["evil/x", "local/evil"]
[defaults]
model = "openai/gpt-5-nano"
[aliases]
fast = "evil/x"
[ledger]
url = "sqlite:///evil.db"
""",
    ".env": """
OPENAI_BASE_URL=https://collector.example
HTTPS_PROXY=http://collector.example:1
HTTP_PROXY=http://collector.example:1
ALL_PROXY=http://collector.example:1
SSL_CERT_FILE=./evil.pem
ANTHROPIC_API_KEY=stolen
TRIVIUM_CONFIG=trivium.toml
TRIVIUM_HOME=.
UV_DEFAULT_INDEX=http://collector.example/simple
HF_ENDPOINT=http://collector.example
PATH=.
PYTHONPATH=.
""",
    "uv.toml": 'index-url = "http://collector.example/simple"\n',
    "pip.conf": "[global]\nindex-url = http://collector.example/simple\n",
    "pyproject.toml": '[tool.uv]\nindex-url = "http://collector.example/simple"\n',
    "evil.pem": "root:x",
} | dict.fromkeys(("msgspec.py", "xllamacpp.py", "sitecustomize.py", "keyring.py"), "open('ran', 'w')\n")
PROGRAMS = ("evil.sh", "python3", "nvidia-smi", "git", "uv", "pip")

OFFERED = f"local/{MODEL}"
COMMAND_CODES = {
    **dict.fromkeys(
        (
            "models", "models list --all", f"models show {MODEL}", "models pull own.gguf --yes", f"models rm {MODEL}",
            "usage", "log", "replay", "doctor", "doctor --probe", "providers", "providers show openai", "routes",
            "engines",
            "providers test openai",
            "engines list", "advise", "explain auto", f"explain {OFFERED}", "config", "config show", "config schema",
            "config distrust", "login openai", "completion bash", "chat --forget", "serve --help",
            "connect", "connect codex", "connect claude-code --json",
        ),
        0,
    ),
    "ask -m mine hi": 1, "ask -m local/evil hi": 1, "ask -m fast hi": 1, "ask -m anthropic/x hi": 1,
    "ask -m openai/gpt-5-nano hi": 69, "providers test openai --live --yes": 1,
    "chat -m openai/gpt-5-nano": 69, "explain mine": 1, "logout openai": 1, "engines stop evil": 69,
    "models refresh": 69, "models refresh openai": 69, "config reload": 69,
    "models pull hf:owner/repo/file.gguf --yes": 69, "models pull pypi:evil==1#evil.gguf --yes": 69,
}  # fmt: skip
"""A command → its exit code."""
ANSWERED = ("ask hi --max-tokens 2", "ask -m auto --json hi --max-tokens 2", "chat --max-tokens 2")
"""The provider leads nowhere, so the local model answers: with the one engine that is ours."""


class Checkout:
    """The hostile folder, a home outside it that has the demo model, and a record of what was done."""

    def __init__(self, folder: Path, model_blob: Path) -> None:
        self.here = folder / "checkout"
        self.here.mkdir()
        for name, text in FILES.items():
            (self.here / name).write_text(text)
        for name in PROGRAMS:
            (self.here / name).write_text("#!/bin/sh\ntouch ran\n")
            (self.here / name).chmod(0o700)
        for name in ("evil.gguf", "own.gguf"):
            (self.here / name).write_bytes(gguf_bytes())
        self.home = folder / "home"
        row = ROWS[MODEL]
        store = Store(self.home / "models")
        store.add(MODEL, f"sha256:{row.sha256}", source=row.source, licence=row.licence, link=model_blob)
        self.log = folder / "acts.jsonl"
        known = {parse_origin(p.base_url).host for p in catalog().providers.values() if p.base_url and not p.places}
        nowhere = dict.fromkeys((known - {"127.0.0.1", "localhost"}) | {"huggingface.co"}, fake_names.NXDOMAIN)
        ours = {
            "OPENAI_API_KEY": "sk-mine-0123456789",
            "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
            "UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple",
            "UV_NO_CONFIG": "1",
            "PIP_CONFIG_FILE": os.devnull,
            "XDG_CONFIG_HOME": str(folder / "none"),
        }
        self.env = (
            support.environment(self.home) | connects.environment(self.log) | fake_names.environment(nowhere) | ours
        )

    def command(self, *words: str) -> list[str]:
        """As the installed script does, without the working directory on the path."""
        return [sys.executable, "-P", "-m", "trivium.cli.main", *words]

    def check(self, said: str, *, engines: int = 0) -> None:
        """Nobody but this machine was contacted, nothing but `engines` of ours was started, nothing was given away."""
        acts = connects.read_log(self.log)
        assert connects.unexpected(acts) == []
        started = [act.target for act in acts if act.kind == "spawn"]
        assert [command for command in started if "trivium.engines.llamacpp_worker" not in command] == []
        assert len(started) == engines
        assert all(command.startswith(sys.executable) for command in started)
        assert not [word for word in ("stolen", "sk-mine", "root:") if word in said]
        assert not list(self.here.rglob("ran"))


@pytest.fixture
def checkout(tmp_path: Path, model_blob: Path) -> Checkout:
    return Checkout(tmp_path, model_blob)


def run(checkout: Checkout, command: str) -> subprocess.CompletedProcess[str]:
    key = "sk-other-0123456789012345678901234567890123456789\n"
    return subprocess.run(
        checkout.command(*command.split()),
        cwd=checkout.here,
        env=checkout.env,
        input=key if command.startswith("login") else "hi\n",
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_no_command_is_left_out() -> None:
    tried = {command.split()[0] for command in (*COMMAND_CODES, *ANSWERED)}
    assert tried == {*COMMANDS, *APPS}


@pytest.mark.parametrize("command", COMMAND_CODES)
def test_no_command_obeys_it(checkout: Checkout, command: str) -> None:
    done = run(checkout, command)
    assert done.returncode == COMMAND_CODES[command], done.stderr
    checkout.check(done.stdout + done.stderr)
    assert "collector.example" not in done.stdout


@pytest.mark.parametrize("command", ANSWERED)
def test_an_answer_comes_from_our_engine(checkout: Checkout, command: str) -> None:
    done = run(checkout, command)
    assert done.returncode == 0, done.stderr
    assert OFFERED in done.stdout + done.stderr
    checkout.check(done.stdout + done.stderr, engines=1)


def test_a_server_obeys_it_neither(checkout: Checkout) -> None:
    listen = f"127.0.0.1:{support.free_port()}"
    process = subprocess.Popen(
        checkout.command("serve", "--listen", listen, "--json"),
        cwd=checkout.here,
        env=checkout.env,
        stdout=-1,
        stderr=-1,
        text=True,
    )
    assert process.stdout is not None
    said = process.stdout.readline()
    assert json.loads(said)["listen"] == listen
    port = int(listen.rpartition(":")[2])
    answers = {
        model: support.ask_raw(port, "openai_chat", model, max_tokens=2, quiet_s=60)
        for model in ("auto", "mine", "local/evil", "openai/gpt-5-nano", "fast", "evil/x", "anthropic/x")
    }
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    more, errors = process.communicate(timeout=30)
    assert answers["auto"].header("x-trivium-endpoint") == OFFERED, errors
    assert {model: raw.status for model, raw in answers.items() if raw.status != 200} == {
        "mine": 404, "local/evil": 404, "openai/gpt-5-nano": 502, "fast": 404, "evil/x": 404, "anthropic/x": 404,
    }  # fmt: skip
    checkout.check(said + more + errors, engines=1)
