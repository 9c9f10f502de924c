"""The workers of a master."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from trivium.config.schema import Config
from trivium.server.fleet import Fleet
from trivium.transport.platform import PORTABLE, listen

pytestmark = pytest.mark.skipif(PORTABLE, reason="POSIX only: fork")

FAILING = """
import os, socket
from pathlib import Path
from trivium.config.schema import Config
from trivium.server.fleet import Fleet
def work(sock, life_fd):
    raise LookupError("the reason")
with socket.create_server(("127.0.0.1", 0)) as sock:
    Fleet(Config(home=Path()), work).fork(sock)
    print(os.waitstatus_to_exitcode(os.wait()[1]))
"""


def test_a_forked_worker_that_fails_says_why() -> None:
    done = subprocess.run([sys.executable, "-c", FAILING], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "1\n"
    assert "LookupError: the reason" in done.stderr


@pytest.fixture
def sock() -> Generator[socket.socket]:
    with contextlib.closing(listen("127.0.0.1", 0, reuse_port=True)) as sock:
        yield sock


def health(sock: socket.socket) -> int:
    connection = HTTPConnection(*sock.getsockname(), timeout=20)
    connection.request("GET", "/health")
    with contextlib.closing(connection):
        return connection.getresponse().status


def only(fleet: Fleet) -> int:
    (pid,) = fleet._running  # pyright: ignore[reportPrivateUsage]
    return pid


def test_a_worker_is_replaced_in_the_end_when_it_cannot_be_at_first(
    tmp_path: Path, sock: socket.socket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fleet = Fleet(Config(home=tmp_path), lambda _sock, _life_fd: 0)
    fleet.keep(sock)
    try:
        assert health(sock) == 200
        victim = only(fleet)
        popen: Callable[..., Any] = subprocess.Popen
        causes = [OSError(errno.ENOMEM, "no memory"), OSError(errno.EMFILE, "no descriptor")]

        def starts(*args: Any, **more: Any) -> Any:
            if causes:
                raise causes.pop()
            return popen(*args, **more)

        monkeypatch.setattr(subprocess, "Popen", starts)
        os.kill(victim, signal.SIGKILL)
        assert health(sock) == 200
        assert only(fleet) != victim
        assert not causes
        assert caplog.text.count("cannot be started, which is tried again") == 2
        assert f"Worker {victim} ended by signal 9 and is replaced." in caplog.text
    finally:
        fleet.retire(sock)
        fleet.close(10)


def test_a_spawned_worker_that_cannot_start_says_why_in_a_line_again_and_again(
    tmp_path: Path, sock: socket.socket, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    home = tmp_path / "home"
    home.write_text("no folder")
    fleet = Fleet(Config(home=home), lambda _sock, _life_fd: 0)
    fleet.keep(sock)
    try:
        end = time.monotonic() + 20
        while caplog.text.count("with exit code 78 and is replaced") < 2:
            assert time.monotonic() < end
            time.sleep(0.02)
    finally:
        fleet.retire(sock)
        fleet.close(10)
    said = capfd.readouterr().err
    assert f"the home `{home}` cannot be written" in said
    assert "Traceback" not in said


def test_a_worker_that_never_started_ends_with_its_socket(
    tmp_path: Path, sock: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[object] = []

    def starts(*args: object, **_more: object) -> None:
        tried.append(args)
        raise OSError(errno.EMFILE, "no descriptor")

    monkeypatch.setattr(subprocess, "Popen", starts)
    fleet = Fleet(Config(home=tmp_path), lambda _sock, _life_fd: 0)
    fleet.keep(sock)
    end = time.monotonic() + 10
    while not tried and time.monotonic() < end:
        time.sleep(0.01)
    fleet.retire(sock)
    fleet.close(10)
    count = len(tried)
    assert count
    time.sleep(0.5)
    assert len(tried) <= count + 1
