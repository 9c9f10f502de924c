"""No connection, look-up or process goes unrecorded."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from connects import LOG_VARIABLE, Act, environment, read_log, record_connects, unexpected
from trivium.testing import FakeUpstream
from trivium.transport.platform import PORTABLE, new_event_loop

LOOPS = [asyncio.new_event_loop, *([] if PORTABLE else [new_event_loop])]
pytest_plugins = ["pytester"]
TESTS = Path(__file__).parents[1]


def targets(acts: list[Act]) -> list[tuple[str, str]]:
    return [(act.kind, act.target) for act in acts]


def test_sockets_and_look_ups() -> None:
    with FakeUpstream() as up, record_connects() as acts:
        socket.create_connection(("127.0.0.1", up.port)).close()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"x", ("127.0.0.1", 9))
    assert ("connect", f"127.0.0.1:{up.port}") in targets(acts)
    assert ("connect", "127.0.0.1:9") in targets(acts)
    assert ("resolve", "127.0.0.1") in targets(acts)
    assert "test_connects.py" in acts[0].where
    assert acts[0].pid == os.getpid()
    before = list(acts)
    with contextlib.suppress(OSError):
        socket.create_connection(("127.0.0.1", up.port), 1)
    assert acts == before


@pytest.mark.parametrize("loop", LOOPS)
def test_loops(loop: object, tmp_path: Path) -> None:
    async def run(port: int) -> None:
        running = asyncio.get_running_loop()
        transport, _ = await running.create_connection(asyncio.Protocol, "127.0.0.1", port)
        transport.close()
        with contextlib.suppress(OSError):
            await running.create_unix_connection(asyncio.Protocol, str(tmp_path / "sock"))
        with socket.socket() as sock:
            sock.setblocking(False)
            await running.sock_connect(sock, ("127.0.0.1", port))
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", "pass")
        await process.wait()

    with FakeUpstream() as up, record_connects() as acts, asyncio.Runner(loop_factory=loop) as runner:  # type: ignore[arg-type]
        runner.run(run(up.port))
    seen = targets(acts)
    assert seen.count(("connect", f"127.0.0.1:{up.port}")) == 2
    assert ("connect", f"unix:{tmp_path / 'sock'}") in seen
    assert ("spawn", f"{sys.executable} -c pass") in seen


def test_processes() -> None:
    with record_connects() as acts:
        subprocess.run([sys.executable, "-c", "pass"], check=True)
        subprocess.run("true", shell=True, check=True)  # noqa: S602
        os.waitpid(os.posix_spawn(sys.executable, [sys.executable, "-c", "1"], os.environ), 0)
    commands = [act.target for act in acts if act.kind == "spawn"]
    assert commands == [f"{sys.executable} -c pass", "/bin/sh -c true", f"{sys.executable} -c 1"]


def test_what_is_unexpected() -> None:
    def act(kind: str, target: str) -> Act:
        return Act(kind, target, 1, "")

    local = [act("connect", target) for target in ("127.0.0.1:80", "127.9.9.9:1", "::1:80", "unix:/x", "localhost:1")]
    away = [act("connect", "192.0.2.1:443"), act("connect", "hub.test:443"), act("resolve", "hub.test")]
    assert unexpected([*local, act("resolve", "localhost"), act("spawn", "curl 192.0.2.1")]) == []
    assert unexpected(away) == away
    assert unexpected(away, ["hub.test:443"]) == away[:1]


def test_children_and_their_children_write_to_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    inner = "import socket; s = socket.socket(); s.connect_ex(('127.0.0.1', 1))"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}], check=True)"
    subprocess.run([sys.executable, "-c", outer], env=os.environ | environment(log), check=True)
    acts = read_log(log)
    assert [act.kind for act in acts] == ["spawn", "connect"]
    assert acts[0].pid != acts[1].pid
    assert acts[1].target == "127.0.0.1:1"


def test_recording_begins_before_trivium_is_imported(tmp_path: Path) -> None:
    code = "import sys; assert '_tests_connects' in sys.modules and 'trivium' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], env=os.environ | environment(tmp_path / "log"), check=True)


def test_a_log_that_was_never_written_is_empty(tmp_path: Path) -> None:
    assert read_log(tmp_path / "none") == []


def test_the_plugin_fails_a_test_that_connects_away(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(LOG_VARIABLE, raising=False)  # what happens here on purpose is not this suite's doing
    pytester.makepyfile(
        """
        import socket, subprocess, sys

        # A datagram socket is connected without sending anything.
        AWAY = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('192.0.2.1', 9))"

        def test_local():
            socket.socket().connect_ex(("127.0.0.1", 1))

        def test_away():
            exec(AWAY)

        def test_child_away():
            subprocess.run([sys.executable, "-c", AWAY], check=True)
        """
    )
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    result = pytester.runpytest_subprocess("-p", "pytest_connects", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(["something off this machine was contacted:", "connect 192.0.2.1:9 from *"])


@pytest.mark.parametrize("workers", ["0", "1"])
def test_the_whole_suite_is_watched(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, workers: str) -> None:
    """By the project's own settings, in the processes of pytest-xdist too, and every process started there."""
    assert LOG_VARIABLE in os.environ
    monkeypatch.delenv(LOG_VARIABLE)
    project, away = TESTS.parent / "pyproject.toml", TESTS / "unit/reaches_away.py"
    result = pytester.runpytest_subprocess("-c", project, "-n", workers, "-p", "no:cacheprovider", away)
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["something off this machine was contacted:", "connect 192.0.2.1:9 from *"] * 2)


def test_a_file_is_appended_to(tmp_path: Path) -> None:
    code = (
        "import sys, socket; from connects import record_to_file; record_to_file(sys.argv[1]);"
        "socket.socket().connect_ex(('127.0.0.1', 1))"
    )
    log = tmp_path / "log"
    for _ in range(2):
        subprocess.run([sys.executable, "-c", code, str(log)], env=os.environ | {"PYTHONPATH": str(TESTS)}, check=True)
    assert len(read_log(log)) == 2
    assert log.stat().st_mode & 0o777 == 0o600
