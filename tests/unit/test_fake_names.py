"""Names that cannot be resolved, for the socket module, asyncio and uvloop alike."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import connects
import fake_names as names
from fake_names import NXDOMAIN, SERVFAIL, Name, fake_names
from trivium.transport.platform import PORTABLE, new_event_loop

LOOPS = [asyncio.new_event_loop, *([] if PORTABLE else [new_event_loop])]
ROWS = {"gone.test": NXDOMAIN, "sick.test": SERVFAIL, "slow.test": Name(delay_s=0.2), "six.test": Name(("::1",))}


def look_up(loop_factory: object, name: str) -> list[str]:
    async def run() -> list[str]:
        found = await asyncio.get_running_loop().getaddrinfo(name, 80, type=socket.SOCK_STREAM)
        return [str(address[0]) for *_, address in found]

    with asyncio.Runner(loop_factory=loop_factory) as runner:  # type: ignore[arg-type]
        return runner.run(run())


@pytest.mark.parametrize("loop", LOOPS)
def test_every_loop_sees_the_same_names(loop: object) -> None:
    with fake_names(ROWS):
        for name, code in (("gone.test", socket.EAI_NONAME), ("sick.test", socket.EAI_AGAIN)):
            with pytest.raises(socket.gaierror) as caught:
                look_up(loop, name)
            assert caught.value.errno == code
        start = time.monotonic()
        assert look_up(loop, "slow.test") == ["127.0.0.1"]
        assert time.monotonic() - start >= 0.2
        assert look_up(loop, "SIX.test.") == ["::1"]
        assert look_up(loop, "127.0.0.1") == ["127.0.0.1"]


def test_families_are_respected() -> None:
    with fake_names(ROWS), pytest.raises(socket.gaierror):
        socket.getaddrinfo("six.test", 80, socket.AF_INET)


def test_a_child_sees_them_too(tmp_path: Path) -> None:
    code = "import socket; print(socket.getaddrinfo('six.test', 80)[0][4][0]); socket.getaddrinfo('gone.test', 80)"
    env = os.environ | connects.environment(tmp_path / "log") | names.environment(ROWS)
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.stdout == "::1\n"
    assert "gaierror" in done.stderr
