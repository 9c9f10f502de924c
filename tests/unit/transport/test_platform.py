"""Both twins keep the same promises; what only one can do is tested on that one."""

import asyncio
import importlib
import inspect
import os
import select
import signal
import socket
import stat
import subprocess
import sys
import textwrap
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from connects import SITE
from trivium.transport import _portable, platform

TWINS = ["_portable"] if sys.platform == "win32" else ["_posix", "_portable"]
NAMES = (
    "FileLock",
    "connect_local",
    "die_with_parent",
    "ignore_newcomers",
    "listen",
    "new_event_loop",
    "on_signals",
    "peer_is_same_user",
    "serve_local",
    "signals_held",
    "spawn_kwargs",
)


@pytest.fixture(params=TWINS)
def twin(request: pytest.FixtureRequest) -> ModuleType:
    return importlib.import_module(f"trivium.transport.{request.param}")


def child(code: str, *args: object, **kwargs: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, args)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **kwargs,
    )


def test_twins_have_the_same_shape(twin: ModuleType):
    for name in NAMES:
        theirs, ours = (inspect.signature(getattr(module, name)) for module in (twin, platform))
        assert list(theirs.parameters) == list(ours.parameters), name


def test_portable_is_forced_by_the_environment():
    code = "from trivium.transport import platform as p; print(p.PORTABLE, p.serve_local.__module__)"
    env = {**os.environ, "TRIVIUM_PORTABLE": "1"}
    out = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout
    assert out.split() == ["True", "trivium.transport._portable"]


def test_where_the_twin_is_tried_uvloop_cannot_be_had():
    env = {**os.environ, "TRIVIUM_PORTABLE": "1", "PYTHONPATH": str(SITE)}
    done = subprocess.run([sys.executable, "-c", "import uvloop"], env=env, capture_output=True, text=True, check=False)
    assert "ModuleNotFoundError" in done.stderr


def test_run_takes_a_fitting_loop_and_leaves_the_policy():
    policy = asyncio.get_event_loop_policy()

    async def kind() -> str:
        return type(asyncio.get_running_loop()).__module__

    module = platform.run(kind())
    assert module.startswith("asyncio") if platform.PORTABLE else module.startswith("uvloop")
    assert asyncio.get_event_loop_policy() is policy


@pytest.mark.skipif("_posix" not in TWINS, reason="uvloop is for POSIX systems")
def test_without_uvloop_asyncio_serves(monkeypatch: pytest.MonkeyPatch):
    from trivium.transport import _posix

    monkeypatch.setitem(sys.modules, "uvloop", None)
    loop = _posix.new_event_loop()
    assert isinstance(loop, asyncio.SelectorEventLoop)
    loop.close()


@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)])
def test_listen(twin: ModuleType, host: str, family: socket.AddressFamily):
    with twin.listen(host, 0) as sock, socket.create_connection(sock.getsockname()[:2], timeout=5):
        assert sock.family == family
        assert sock.getblocking() is False
        with pytest.raises(OSError, match=r"in use"):
            twin.listen(host, sock.getsockname()[1])


def test_listen_on_every_address_takes_both_families(twin: ModuleType):
    with twin.listen("::", 0) as sock:
        for host in ("127.0.0.1", "::1"):
            socket.create_connection((host, sock.getsockname()[1]), timeout=5).close()


def test_only_one_twin_shares_ports(twin: ModuleType):
    if twin is _portable:
        with pytest.raises(OSError, match="one process"):
            twin.listen("127.0.0.1", 0, reuse_port=True)
    else:
        with (
            twin.listen("127.0.0.1", 0, reuse_port=True) as first,
            twin.listen("127.0.0.1", first.getsockname()[1], reuse_port=True) as second,
        ):
            assert first.getsockname() == second.getsockname()


@pytest.mark.skipif(platform.PORTABLE or sys.platform != "linux", reason="Linux only: what a socket takes is filtered")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_socket_that_ignores_newcomers_keeps_whom_it_has(host: str):
    with platform.listen(host, 0) as sock:
        address = sock.getsockname()[:2]
        with socket.create_connection(address, timeout=5) as early:
            platform.ignore_newcomers(sock)
            with pytest.raises(TimeoutError):
                socket.create_connection(address, timeout=0.2)
            accepted, _ = sock.accept()
            with accepted:
                early.sendall(b"a")
                assert accepted.recv(1) == b"a"
            with pytest.raises(BlockingIOError):
                sock.accept()


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    async for line in reader:
        writer.write(line.upper())


async def _exchange(twin: ModuleType, path: Path) -> bytes:
    reader, writer = await twin.connect_local(path)
    writer.write(b"hello\n")
    answer = await reader.readline()
    writer.close()
    await writer.wait_closed()
    return answer


def on_both_loops(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    for factory in {asyncio.new_event_loop, platform.new_event_loop}:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(main())


@pytest.mark.parametrize("name", ["control.sock", "d" * 120 + "/control.sock"])
def test_local_socket(twin: ModuleType, tmp_path: Path, name: str):
    path = tmp_path / "run" / name
    same_user: list[bool] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        same_user.append(twin.peer_is_same_user(writer))
        await _echo(reader, writer)

    async def main() -> None:
        for _ in range(2):  # the second one finds what the first left behind
            server = await twin.serve_local(path, serve)
            assert await _exchange(twin, path) == b"HELLO\n"
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 or stat.S_IMODE(path.parent.stat().st_mode) == 0o700
            server.close()
            await server.wait_closed()
            with pytest.raises(OSError):
                await twin.connect_local(path)

    on_both_loops(main)
    assert same_user == [True] * 4


def test_nobody_serves(twin: ModuleType, tmp_path: Path):
    async def main() -> None:
        with pytest.raises(FileNotFoundError):
            await twin.connect_local(tmp_path / "none.sock")

    on_both_loops(main)


@pytest.mark.skipif("_posix" not in TWINS, reason="Unix sockets")
def test_unix_socket_is_private(tmp_path: Path):
    from trivium.transport import _posix

    run = tmp_path / "run"
    run.mkdir(mode=0o755)

    async def main() -> None:
        server = await _posix.serve_local(run / "control.sock", _echo)
        assert stat.S_IMODE(run.stat().st_mode) == 0o700
        assert stat.S_IMODE((run / "control.sock").stat().st_mode) == 0o600
        server.close()

    asyncio.run(main())


@pytest.mark.skipif("_posix" not in TWINS, reason="Unix sockets")
def test_a_socket_with_a_long_path_leaves_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from trivium.transport import _posix

    monkeypatch.setenv("XDG_RUNTIME_DIR", "/tmp")
    path = tmp_path / ("d" * 120) / "control.sock"

    async def main() -> None:
        pointers: list[Path] = []
        for _ in range(2):
            server = await _posix.serve_local(path, _echo)
            pointers.append(Path(path.read_text()))
            server.close()
        assert not pointers[0].parent.exists()
        _posix._remove_stale(path)
        assert not pointers[1].parent.exists()

    asyncio.run(main())


def test_portable_socket_wants_the_token(tmp_path: Path):
    path = tmp_path / "control"

    async def main() -> None:
        server = await _portable.serve_local(path, _echo)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        reader, writer = await asyncio.open_connection("127.0.0.1", int(path.read_text().split()[0]))
        writer.write(b"guess\nhello\n")
        assert await reader.read() == b""
        writer.close()
        server.close()

    asyncio.run(main())


def test_portable_client_unmasks_a_stranger(tmp_path: Path):
    path = tmp_path / "control"

    async def stranger(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"welcome\n")
        await writer.drain()
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(stranger, "127.0.0.1", 0)
        path.write_text(f"{server.sockets[0].getsockname()[1]} {'a' * 64} {'b' * 64}")
        with pytest.raises(ConnectionRefusedError, match="another program"):
            await _portable.connect_local(path)
        server.close()

    asyncio.run(main())


def test_a_portable_client_that_gives_up_lets_go(tmp_path: Path):
    async def main() -> bytes:
        heard = asyncio.get_running_loop().create_future()

        async def says_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heard.set_result(await reader.read())
            writer.close()

        server = await asyncio.start_server(says_nothing, "127.0.0.1", 0)
        path = tmp_path / "control.sock"
        path.write_text(f"{server.sockets[0].getsockname()[1]} ours theirs")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await _portable.connect_local(path)
        try:
            return await asyncio.wait_for(heard, 5)  # all that it said, and that it has gone
        finally:
            server.close()

    assert asyncio.run(main()) == b"ours\n"


def test_lock_excludes(twin: ModuleType, tmp_path: Path):
    path = tmp_path / "run" / "owner.lock"
    first, second = twin.FileLock(path), twin.FileLock(path)
    assert first.acquire()
    assert first.acquire()
    assert not second.acquire()
    assert (first.held, second.held) == (True, False)
    first.release()
    first.release()
    assert second.acquire(blocking=True)
    second.release()


def test_lock_falls_free_when_its_holder_is_killed(twin: ModuleType, tmp_path: Path):
    path = tmp_path / "owner.lock"
    holder = child(
        """
        import sys, importlib, pathlib
        lock = importlib.import_module(sys.argv[1]).FileLock(pathlib.Path(sys.argv[2]))
        print(lock.acquire(), flush=True)
        sys.stdin.read()
        """,
        twin.__name__,
        path,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        lock = twin.FileLock(path)
        assert not lock.acquire()
        holder.kill()
        assert lock.acquire(blocking=True)
        lock.release()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork is for POSIX systems")
def test_a_forked_child_neither_holds_nor_frees_the_lock(tmp_path: Path):
    parent = child(
        """
        import os, sys, pathlib, time
        from trivium.transport.platform import FileLock
        lock = FileLock(pathlib.Path(sys.argv[1]))
        lock.acquire()
        parent = os.getpid()
        if os.fork() == 0:
            held, other = lock.held, FileLock(lock.path)
            lock.release()
            print(held, other.acquire(), flush=True)
            while os.getppid() == parent:  # whose byte it must not take
                time.sleep(0.01)
            sys.stdin.read()
            os._exit(0)
        os.read(0, 1)  # one byte: die, while the child lives on
        os._exit(1)
        """,
        tmp_path / "owner.lock",
    )
    with parent:
        assert parent.stdout is not None
        assert parent.stdin is not None
        assert parent.stdout.readline() == "False False\n"
        parent.stdin.write("x")
        parent.stdin.flush()
        parent.wait(10)
        lock = platform.FileLock(tmp_path / "owner.lock")
        assert lock.acquire()
        lock.release()
        parent.stdin.close()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
def test_child_dies_with_its_parent():
    grandchild = (
        "import sys, time; from trivium.transport._posix import die_with_parent;"
        "print(die_with_parent(int(sys.argv[1])), flush=True); time.sleep(60)"
    )
    parent = child(
        """
        import os, subprocess, sys
        subprocess.Popen([sys.executable, "-c", sys.argv[1], str(os.getpid())], stdin=subprocess.DEVNULL)
        sys.stdin.read()
        """,
        grandchild,
    )
    with parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "True\n"
        parent.kill()
        # The pipe ends when the last of the two has gone.
        assert select.select([parent.stdout], [], [], 10)[0]
        assert parent.stdout.read() == ""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
def test_a_parent_that_died_before_is_noticed():
    orphan = child("from trivium.transport._posix import die_with_parent; die_with_parent(999999999); print('alive')")
    with orphan:
        assert orphan.wait(10) == -signal.SIGKILL


def test_end_of_standard_input_is_seen():
    watcher = child(
        """
        import threading
        from trivium.transport.platform import watch_stdin_eof
        ended = threading.Event()
        watch_stdin_eof(ended.set)
        print(ended.is_set(), flush=True)
        print(ended.wait(10))
        """
    )
    with watcher:
        assert watcher.stdout is not None
        assert watcher.stdin is not None
        assert watcher.stdout.readline() == "False\n"
        watcher.stdin.close()
        assert watcher.stdout.read() == "True\n"


@pytest.mark.skipif("_posix" not in TWINS, reason="POSIX only: signals that wait")
def test_a_signal_that_is_held_waits_for_its_handler():
    program = """
    import asyncio, os, signal, subprocess, sys
    from trivium.transport import _posix

    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # who started the suite may ignore it

    async def main():
        done = asyncio.Event()
        _posix.on_signals(asyncio.get_running_loop(), {"SIGHUP": done.set})
        await asyncio.wait_for(done.wait(), 10)

    if sys.argv[1:]:
        os.kill(os.getpid(), 1)
        asyncio.run(main())
    else:
        with _posix.signals_held(["SIGHUP"]):
            held = subprocess.Popen([sys.executable, "-c", sys.orig_argv[2], "held"])
        print(held.wait(10), flush=True)
        os.kill(os.getpid(), 1)
    """
    with child(program, **platform.spawn_kwargs()) as process:
        assert process.communicate(timeout=20)[0] == "0\n"
        assert process.returncode == -1  # no longer held here


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_signals_run_on_the_loop(twin: ModuleType, name: str):
    program = child(
        """
        import asyncio, importlib, os, signal, sys
        twin = importlib.import_module(sys.argv[1])

        async def main():
            done = asyncio.Event()
            twin.on_signals(asyncio.get_running_loop(), {sys.argv[2]: done.set, "SIGNONE": done.set})
            print("ready", flush=True)
            await asyncio.wait_for(done.wait(), 10)
            print("done", flush=True)

        with asyncio.Runner(loop_factory=twin.new_event_loop) as runner:
            runner.run(main())
        """,
        twin.__name__,
        name,
        **twin.spawn_kwargs(),
    )
    with program:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        program.send_signal(getattr(signal, name))
        assert program.stdout.readline() == "done\n"
        assert program.wait(10) == 0
