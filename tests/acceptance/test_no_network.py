"""No network at all: `auto` answers with the local model, at once. In a network namespace with nothing but loopback."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from acceptance.world import LOCAL
from connects import LOG_VARIABLE
from support import environment

ALONE = ("unshare", "--user", "--map-root-user", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")
ASK = f"""
import json, time
from trivium import Trivium

with Trivium() as trivium:
    trivium.chat("Hello", {LOCAL!r}, max_tokens=2)
    began = time.monotonic()
    for event in trivium.stream("Hello", "auto", max_tokens=8):
        if getattr(event, "text", ""):
            break
    first_s = time.monotonic() - began
    answer = trivium.chat("Hello", "auto", max_tokens=2)
    print(json.dumps([answer.endpoint, answer.fallback, answer.attempts, first_s]))
"""


def _has_namespaces() -> bool:
    if not (shutil.which("unshare") and shutil.which("ip")):
        return False
    return subprocess.run([*ALONE, "true"], capture_output=True, check=False, timeout=20).returncode == 0


def test_auto_answers_locally(own_model_home: Path) -> None:
    if not _has_namespaces():
        pytest.skip("needs unshare and ip, and the right to make a network namespace")
    # Here a public name is asked for, where nobody can answer; so the watch over connections is off.
    env = {name: value for name, value in environment(own_model_home).items() if name != LOG_VARIABLE}
    env["OPENAI_API_KEY"] = "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGH"
    done = subprocess.run(
        [*ALONE, sys.executable, "-c", ASK],
        env=env,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    endpoint, fallback, attempts, first_s = json.loads(done.stdout)
    assert endpoint == LOCAL
    assert fallback.startswith("openai ")
    assert attempts >= 2
    assert first_s < 5 * 1.0  # the limit is a second
