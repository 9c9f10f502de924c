"""The workers of a master."""

from __future__ import annotations

import subprocess
import sys

import pytest

from trivium.transport.platform import PORTABLE

FAILING = """
import os, socket
from trivium.server.fleet import Fleet, Orders
def work(sock, life_fd):
    raise LookupError("the reason")
with socket.create_server(("127.0.0.1", 0)) as sock:
    Fleet(Orders(config=None, listen=None, workers=None, offline=True), work).fork(sock)
    print(os.waitstatus_to_exitcode(os.wait()[1]))
"""


@pytest.mark.skipif(PORTABLE, reason="POSIX only: fork")
def test_a_forked_worker_that_fails_says_why() -> None:
    done = subprocess.run([sys.executable, "-c", FAILING], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "1\n"
    assert "LookupError: the reason" in done.stderr
