"""Tests that must fail: `test_connects.py` runs them under the suite's own settings; nothing collects this file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from support import environment

# A datagram socket is connected without sending anything.
AWAY = """
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    sock.connect(("192.0.2.1", 9))
"""


def test_away() -> None:
    exec(AWAY)  # noqa: S102


def test_child_away(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", AWAY], env=environment(tmp_path), check=True)
