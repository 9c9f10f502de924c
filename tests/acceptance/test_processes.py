"""A master and its workers, as their operator sees them: reloaded, killed, drained, while callers are served."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from subprocess import CompletedProcess

import pytest

import cli_help
from acceptance.world import LOCAL
from processes_help import MANY, children, engines, heeds, running, workers
from support import PATHS, Raw, Served, ask_raw, body, config, free_port, provider, read_raw, request_bytes, serve
from trivium.testing import FakeUpstream, answers

MODEL = "primary/ok"
SLOW = "primary/gap-300"
"""64 words, 300 ms apart before `time_scale` divides them."""
PATIENCE_S = 20.0


@pytest.fixture
def up() -> Generator[FakeUpstream]:
    with FakeUpstream(time_scale=6) as upstream:
        yield upstream


def settings(up: FakeUpstream, *routes: str, **server: object) -> str:
    """No deadline is what is tried here, so none is short."""
    rows = [{"name": name, "targets": [MODEL]} for name in routes]
    return config([provider(up)], rows, scale=1, server={"drain": "20s", **server})


def until(true: Callable[[], object], what: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def ask(served: Served, model: str = MODEL) -> Raw:
    """Over a connection of its own, so that it may come to any worker."""
    return ask_raw(served.port, "openai_chat", model, quiet_s=PATIENCE_S)


class Streams:
    """Callers who read slow streams, each on a connection of its own; under way once this is made."""

    def __init__(self, served: Served, up: FakeUpstream, count: int = 4) -> None:
        self.found: list[Raw] = []
        self._threads = [threading.Thread(target=self._read, args=(served.port,)) for _ in range(count)]
        for thread in self._threads:
            thread.start()
        up.wait_until(lambda: up.busy == count)
        time.sleep(0.1)

    def _read(self, port: int) -> None:
        self.found.append(ask_raw(port, "openai_chat", SLOW, stream=True))

    def whole(self) -> set[str]:
        """The ids of all, which must have come to their proper end, and not have been over before this was asked."""
        assert not self.found, "the streams were over before anything was tried"
        for thread in self._threads:
            thread.join()
        for raw in self.found:
            deltas = [json.loads(line[6:]) for line in raw.payload.split(b"\n\n") if line.startswith(b"data: {")]
            said = "".join(choice["delta"].get("content") or "" for delta in deltas for choice in delta["choices"])
            assert (raw.status, said) == (200, answers.words(64))
            assert raw.payload.endswith(b"data: [DONE]\n\n")
        assert len(self.found) == len(self._threads)
        return set(ids(self.found))


@contextmanager
def asking(served: Served, stopped: Iterable[int], count: int = 24) -> Generator[list[Raw]]:
    """So many callers, of whom those of stopped workers wait to be accepted until the end; then all are answered."""
    payload = request_bytes(PATHS["openai_chat"], json.dumps(body(MODEL)).encode())
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    callers = [socket.create_connection(("127.0.0.1", served.port), PATIENCE_S) for _ in range(count)]
    found: list[Raw] = []
    try:
        for caller in callers:
            caller.sendall(payload)
        yield found
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
        found += [read_raw(caller, PATIENCE_S) for caller in callers]
        assert [raw.status if raw.head else raw.end for raw in found] == [200] * count
    finally:
        for caller in callers:
            caller.close()


def ids(found: Iterable[Raw]) -> list[str]:
    return [str(raw.header("x-request-id")) for raw in found]


def rewrite(served: Served, text: str) -> None:
    """The configuration anew; its addresses stay."""
    addresses = served.config_file.read_text().partition("[server]\n")[2].splitlines()[:2]
    served.config_file.write_text(text.replace("[server]\n", "\n".join(["[server]", *addresses, ""]), 1))


def by_command(served: Served) -> CompletedProcess[str]:
    return cli_help.trivium(served.home, "config", "reload", "--config", str(served.config_file))


def reload_by_command(served: Served) -> None:
    done = by_command(served)
    assert done.returncode == 0, done.stderr


def reload_by_signal(served: Served) -> None:
    served.process.send_signal(signal.SIGHUP)


def logged(served: Served) -> Counter[str]:
    """How often each request stands in the log, by its id; all of them must have gone well."""
    done = cli_help.trivium(served.home, "log", "--json", "--limit", "1000", "--config", str(served.config_file))
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    with closing(sqlite3.connect(served.home / "ledger.db")) as database:
        assert database.execute("SELECT count(*) FROM attempt").fetchone() == (sum(len(r["attempts"]) for r in rows),)
    assert all(len(row["attempts"]) == 1 for row in rows)
    return Counter(row["id"] for row in rows)


# ---- reload

RELOADS = [
    pytest.param(reload_by_command, id="command"),
    pytest.param(
        reload_by_signal,
        id="SIGHUP",
        marks=pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="POSIX only: SIGHUP"),
    ),
]
Reload = Callable[[Served], None]


@pytest.mark.parametrize("reload", RELOADS)
def test_a_new_route_appears_while_streams_go_on(up: FakeUpstream, reload: Reload) -> None:
    with serve(settings(up, "old")) as served:
        assert ask(served, "old").status == 200
        assert ask(served, "new").status == 404
        streams = Streams(served, up)
        rewrite(served, settings(up, "new"))
        reload(served)
        until(lambda: ask(served, "new").status == 200, "the new route does not appear")
        assert ask(served, "old").status == 404
        streams.whole()


@pytest.mark.parametrize("bad", ["workerz = 3", 'listen = "nowhere"', "workers = "])
def test_a_bad_configuration_is_refused_and_the_old_one_stays(up: FakeUpstream, bad: str) -> None:
    with serve(settings(up, "old")) as served:
        rewrite(served, settings(up, "new").replace("[server]\n", f"[server]\n{bad}\n"))
        line = served.config_file.read_text().splitlines().index(bad) + 1
        done = by_command(served)
        assert done.returncode == 78
        assert f"trivium.toml:{line}" in done.stderr
        if hasattr(signal, "SIGHUP"):
            reload_by_signal(served)
            until(lambda: "The configuration was not changed" in served.log(), "nothing is said")
        assert ask(served, "old").status == 200
        assert ask(served, "new").status == 404
        rewrite(served, settings(up, "new"))
        reload_by_command(served)
        until(lambda: ask(served, "new").status == 200, "a good configuration after a bad one is not taken")


@pytest.mark.parametrize(
    ("portable", "old", "new"),
    [("1", "workers = 1", "workers = 2"), ("1", "listen = ", "#"), ("0", "admin = ", "#")],
    ids=["one process: workers", "one process: listen", "admin"],
)
def test_what_needs_a_new_start_is_said(up: FakeUpstream, portable: str, old: str, new: str) -> None:
    env = {"TRIVIUM_PORTABLE": portable}
    with serve(settings(up, "old", workers=1), env=env) as served:
        name = old.partition(" ")[0]
        served.config_file.write_text(
            served.config_file.read_text().replace(old, new).replace('name = "old"', 'name = "new"')
        )
        done = cli_help.trivium(served.home, "config", "reload", "--config", str(served.config_file), env=env)
        assert done.returncode == 78
        assert f"`[server] {name}` cannot change" in done.stderr
        assert "Restart `trivium serve`" in done.stderr
        reload_by_signal(served)
        until(lambda: f"`[server] {name}` cannot change" in served.log(), "nothing is said")
        assert ask(served, "old").status == 200


def test_the_master_alone_judges_a_configuration(up: FakeUpstream) -> None:
    """The command line may be older than the server, or the file may change between: the owner checks for itself."""
    with serve(settings(up, "old")) as served:
        good = served.home / "good.toml"
        good.write_text("")
        rewrite(served, "[server]\nworkerz = 3\n")
        done = cli_help.trivium(served.home, "config", "reload", "--config", str(good))
        assert done.returncode != 0
        assert "workerz" in done.stderr
        assert ask(served, "old").status == 200


@MANY
def test_a_taken_address_is_refused_and_a_free_one_is_moved_to(up: FakeUpstream) -> None:
    with serve(settings(up)) as served, socket.create_server(("127.0.0.1", 0)) as taken:
        here = served.config_file.read_text()

        def move(port: int) -> CompletedProcess[str]:
            served.config_file.write_text(here.replace(f":{served.port}", f":{port}"))
            return by_command(served)

        for _ in range(2):
            done = move(taken.getsockname()[1])
            assert done.returncode != 0
            assert "in use" in done.stderr
            assert ask(served).status == 200
        streams = Streams(served, up)
        there = free_port()
        assert move(there).returncode == 0
        until(lambda: refused(served.port), "the old address still accepts")
        until(lambda: not refused(there), "nobody listens at the new address")
        assert ask_raw(there, "openai_chat", MODEL).status == 200
        streams.whole()


@MANY
@pytest.mark.parametrize("reload", RELOADS)
def test_the_fleet_grows_and_shrinks_while_streams_go_on(up: FakeUpstream, reload: Reload) -> None:
    with serve(settings(up, workers=1)) as served:
        first = workers(served)
        streams = Streams(served, up)
        rewrite(served, settings(up, workers=3))
        reload(served)
        until(lambda: len(workers(served)) == 3, "the fleet does not grow")
        assert first < workers(served)
        streams.whole()
        streams = Streams(served, up, count=12)
        rewrite(served, settings(up, workers=1))
        reload(served)
        assert all(ask(served).status == 200 for _ in range(10))
        streams.whole()
        until(lambda: workers(served) == first, "the fleet does not shrink")
        assert ask(served).status == 200
        assert served.log().count("is replaced") == 0


@MANY
def test_whoever_waits_for_a_worker_that_retires_is_served(up: FakeUpstream) -> None:
    with serve(settings(up, workers=1)) as served:
        first = workers(served)
        rewrite(served, settings(up, workers=2))
        reload_by_command(served)
        until(lambda: len(workers(served)) == 2, "the fleet does not grow")
        with asking(served, workers(served) - first):
            rewrite(served, settings(up, workers=1))
            reload_by_command(served)
        until(lambda: workers(served) == first, "the fleet does not shrink")


@contextmanager
def hanging_up() -> Generator[None]:
    """SIGHUP, again and again, to the server that is started here and its workers, from when they first do anything."""
    done = threading.Event()

    def hang_up() -> None:
        while not done.wait(0.01):
            for pid, line in children(os.getpid()).items():
                below = children(pid) if " serve " in line else {}
                for one in [*below, pid] if below else ():
                    with suppress(ProcessLookupError):
                        os.kill(one, signal.SIGHUP)

    thread = threading.Thread(target=hang_up)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@MANY
def test_no_hangup_comes_too_early(up: FakeUpstream) -> None:
    with hanging_up(), serve(settings(up, workers=1)) as served:
        first = workers(served)
        rewrite(served, settings(up, workers=3))
        until(lambda: len(workers(served)) == 3 and all(map(heeds, workers(served))), "the fleet does not grow")
        assert first < workers(served)
        assert served.log().count("is replaced") == 0
        assert ask(served).status == 200


# ---- death


@contextmanager
def none_left(pids: set[int]) -> Generator[None]:
    """These processes have ended at the end; a failed test leaves none behind either."""
    try:
        yield
        until(lambda: not any(map(running, pids)), "a process outlives its master")
    finally:
        for pid in filter(running, pids):
            os.kill(pid, signal.SIGKILL)


@MANY
def test_two_workers_answer_and_a_killed_one_is_replaced(up: FakeUpstream) -> None:
    with serve(settings(up), "--workers", "2") as served:
        before = workers(served)
        assert len(before) == 2
        found: list[Raw] = []

        def journals() -> set[int]:
            found.append(ask(served))
            return {int(path.name.split("-")[1].partition(".")[0]) for path in (served.home / "journal").iterdir()}

        until(lambda: journals() >= before, "one worker never serves")
        victim = min(before)
        os.kill(victim, signal.SIGKILL)
        found += [ask(served) for _ in range(30)]
        assert {raw.status for raw in found} == {200}
        until(lambda: len(workers(served)) == 2, "the killed worker is not replaced")
        assert workers(served) & before == before - {victim}
        found += [ask(served) for _ in range(10)]
        assert {raw.status for raw in found} == {200}
        assert logged(served) == dict.fromkeys(ids(found), 1)


@MANY
@pytest.mark.parametrize("saved", ["broken", "valid"])
def test_what_is_saved_without_a_reload_counts_for_no_replacement(up: FakeUpstream, saved: str) -> None:
    with serve(settings(up, "old")) as served:
        rewrite(served, settings(up, "new"))
        good = served.config_file.read_text()
        if saved == "broken":
            served.config_file.write_text(f"workerz = 3\n{good}")
        before = workers(served)
        os.kill(min(before), signal.SIGKILL)
        assert ask(served, "old").status == 200
        assert ask(served, "new").status == 404
        assert not workers(served) & before
        assert served.log().count("is replaced") == 1
        served.config_file.write_text(good)
        reload_by_command(served)
        until(lambda: ask(served, "new").status == 200, "a replacement does not take a new configuration")


@MANY
def test_workers_without_a_master_finish_and_end(up: FakeUpstream) -> None:
    with serve(settings(up), "--workers", "2") as served:
        with none_left(workers(served)):
            done = ids(ask(served) for _ in range(10))
            streams = Streams(served, up, count=8)
            served.process.kill()
            served.process.wait()
            until(lambda: refused(served.port), "somebody still accepts")
            done += streams.whole()
        assert logged(served) == dict.fromkeys(done, 1)


@MANY
def test_whoever_waits_for_a_worker_without_a_master_is_served(up: FakeUpstream) -> None:
    with serve(settings(up), "--workers", "2") as served:
        with none_left(workers(served)), asking(served, workers(served)) as found:
            served.process.kill()
            served.process.wait()
        assert logged(served) == dict.fromkeys(ids(found), 1)


@MANY
def test_the_engine_dies_with_its_master(own_model_home: Path, up: FakeUpstream) -> None:
    with serve(settings(up), home=own_model_home) as served:
        raw = ask_raw(served.port, "openai_chat", LOCAL, quiet_s=60, max_tokens=4)
        assert raw.status == 200, raw.body
        assert len(engines(served)) == 1
        with none_left(engines(served)):
            served.process.kill()
            served.process.wait()


def refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), PATIENCE_S).close()
    except ConnectionRefusedError:
        return True
    return False


# ---- drain


@pytest.mark.parametrize("count", [pytest.param(1), pytest.param(2, marks=MANY)])
def test_it_drains_and_refuses_newcomers_at_once(up: FakeUpstream, count: int) -> None:
    with serve(settings(up), "--workers", str(count)) as served:
        done = ids(ask(served) for _ in range(4))
        with socket.create_connection(("127.0.0.1", served.port), PATIENCE_S) as idle:
            streams = Streams(served, up)
            served.process.send_signal(signal.SIGTERM)
            assert idle.recv(1) == b""  # so it drains
        until(lambda: refused(served.port), "a connection is not refused")
        done += streams.whole()
        assert served.process.wait(PATIENCE_S) == 0
        assert logged(served) == dict.fromkeys(done, 1)
        assert up.busy == 0


@MANY
def test_a_signal_to_all_processes_at_once_is_one_to_the_master(up: FakeUpstream) -> None:
    """As systemd stops a service."""
    with serve(settings(up), "--workers", "2") as served:
        streams = Streams(served, up)
        for pid in [*workers(served), served.process.pid]:
            os.kill(pid, signal.SIGTERM)
        done = streams.whole()
        assert served.process.wait(PATIENCE_S) == 0
        assert logged(served) == dict.fromkeys(done, 1)
