"""Case 34: `kill -9` of the server, and of its workers, under load, again and again, over one home."""

from __future__ import annotations

import http.client
import json
import os
import signal
import sqlite3
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from faults.driver import SLACK, JournalReader, wait_for
from processes_help import MANY, workers
from support import Served, body, config, provider, serve
from trivium.testing import FakeUpstream

CALLERS = 8
LOAD_S = 0.8
RESTART_S = 2.0


class Load:
    """Callers who ask without a pause, about 200 times a second together, until they are told to stop."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.done: list[str] = []
        """Generation ids of answers that arrived whole."""
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(CALLERS)]
        for thread in self._threads:
            thread.start()

    def _ask(self) -> None:
        payload = json.dumps(body("primary/ok"))
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        while not self._stopped.wait(CALLERS / 200):
            try:
                connection.request("POST", "/v1/chat/completions", payload, {"content-type": "application/json"})
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException):
                connection.close()  # whoever was asked is dead; the next one to be asked may live
                continue
            assert answer.status == 200
            self.done.append(str(answer.getheader("x-request-id")))
        connection.close()

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()


def rows(home: Path) -> list[tuple[str, int, str | None, int | None]]:
    with sqlite3.connect(f"file:{home / 'ledger.db'}?mode=ro", uri=True) as database:
        return database.execute("SELECT id, attempt, outcome, cost_nanos FROM attempt").fetchall()


KILLS = pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.long)])
PRICE = '\n[[models]]\nid = "primary/ok"\nprice = { input = 1.0, output = 2.0 }\n'


@KILLS
def test_nothing_is_lost_or_charged_twice(tmp_path: Path, kills: int) -> None:
    done: list[str] = []
    with FakeUpstream() as up:
        text = config([provider(up)], timeouts={"connect": 60.0, "first_content": 400.0}) + PRICE
        for _ in range(kills):
            start = time.monotonic()
            with serve(text, home=tmp_path) as served:
                assert time.monotonic() - start < RESTART_S * SLACK
                load = Load(served.port)
                time.sleep(LOAD_S)
                served.process.kill()
                served.process.wait()
                load.stop()
                done += load.done
        with serve(text, home=tmp_path) as served:
            _settle(served, done, up.count())
    _check(tmp_path, done, up.count())


@MANY
@KILLS
def test_a_killed_worker_loses_nothing_either(tmp_path: Path, kills: int) -> None:
    with FakeUpstream() as up:
        text = config([provider(up)], timeouts={"connect": 60.0, "first_content": 400.0}) + PRICE
        with serve(text, "--workers", "2", home=tmp_path) as served:
            load = Load(served.port)
            for _ in range(kills):
                time.sleep(LOAD_S)
                victim = workers(served).pop()
                os.kill(victim, signal.SIGKILL)
                wait_for(lambda victim=victim: len(workers(served) - {victim}) == 2, 20.0, "it is not replaced")
            time.sleep(LOAD_S)
            load.stop()
            assert len(load.done) > kills * CALLERS
            _settle(served, load.done, up.count())
        _check(tmp_path, load.done, up.count())


def _settle(served: Served, done: list[str], dispatched: int) -> None:
    """Wait until the owner has loaded what the killed processes left."""
    database = served.home / "ledger.db"

    def loaded() -> bool:
        if not database.exists():
            return False
        found = rows(served.home)
        return len(found) >= dispatched and all(outcome for _, _, outcome, _ in found)

    assert done
    wait_for(loaded, 20.0, "the journals of the killed processes were not loaded")


def _check(home: Path, done: list[str], dispatched: int) -> None:
    found = rows(home)
    times = Counter((id_, attempt) for id_, attempt, _, _ in found)
    assert max(times.values()) == 1
    outcome_of = {id_: outcome for id_, _, outcome, _ in found}
    assert all(outcome_of[id_] == "ok" for id_ in done)
    assert len(found) >= dispatched  # a reservation may have been written for a request that never left
    assert {outcome for _, _, outcome, _ in found} <= {"ok", "unknown"}
    assert all(cost is None for _, _, outcome, cost in found if outcome == "unknown")
    with sqlite3.connect(home / "ledger.db") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert not any(record for record in JournalReader(home).new().reserved if record.id not in outcome_of)
