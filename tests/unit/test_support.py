"""The helpers themselves: a configuration that is TOML, and a process that is started, watched and stopped."""

from __future__ import annotations

import os
import textwrap
import time
import tomllib
from pathlib import Path

import pytest

from support import config, free_port, provider, serve

STAND_IN = """
import http.server, signal, sys, threading, tomllib
with open(sys.argv[sys.argv.index("--config") + 1], "rb") as file:
    host, _, port = tomllib.load(file)["server"]["listen"].rpartition(":")

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

server = http.server.ThreadingHTTPServer((host, int(port)), Handler)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
print("x" * 100_000)  # more than a pipe holds
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Write a module that stands in for the command line, with further lines at its end."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)

    def write(*lines: str) -> str:
        (tmp_path / "stand_in.py").write_text(textwrap.dedent(STAND_IN) + "\n".join(lines))
        return "stand_in"

    return write


def test_a_configuration_is_toml() -> None:
    rows = [provider("http://127.0.0.1:1/v1", data={"premises": True}), provider("http://127.0.0.1:2/v1", "backup")]
    text = config(rows, [{"name": "r", "targets": ["primary/a"], "retries": 0}], ledger={"durability": "process"})
    value = tomllib.loads(text)
    assert value["policy"]["timeouts"]["first_content"] == "600.000ms"
    assert value["providers"][0]["data"] == {"premises": True}
    assert value["providers"][1]["id"] == "backup"
    assert value["routes"] == [{"name": "r", "targets": ["primary/a"], "retries": 0}]
    assert value["ledger"] == {"durability": "process"}


def test_it_serves_until_the_end(module) -> None:
    with serve("", module=module("server.serve_forever()", "server.server_close()"), env={"SEEN": "1"}) as served:
        assert served.process.poll() is None
        assert served.base_url == f"http://127.0.0.1:{served.port}/v1"
        assert "listen" in served.config_file.read_text()
    assert served.process.returncode == 0
    assert served.stdout == ["x" * 100_000 + "\n"]


def test_a_stubborn_process_is_killed(module) -> None:
    lines = ("signal.signal(signal.SIGTERM, signal.SIG_IGN)", "server.serve_forever()")
    start = time.monotonic()
    with serve("", module=module(*lines), stop_s=0.2) as served:
        pass
    assert served.process.returncode == -9
    assert time.monotonic() - start < 60


def test_one_that_ends_at_once_says_why(module) -> None:
    with pytest.raises(AssertionError, match="no such thing"), serve("", module=module("sys.exit('no such thing')")):
        pass


def test_one_that_never_answers_is_given_up(module) -> None:
    lines = ("server.server_close()", "threading.Event().wait()")
    with pytest.raises(AssertionError, match="did not answer"), serve("", module=module(*lines), start_s=1, stop_s=0.1):
        pass


def test_a_traceback_fails_the_test(module) -> None:
    lines = ("import logging", "try:\n    1 / 0\nexcept ZeroDivisionError:\n    logging.exception('odd')")
    name = module(*lines, "server.serve_forever()", "server.server_close()")
    with pytest.raises(AssertionError, match="ZeroDivisionError"), serve("", module=name):
        pass


def test_keys_of_the_machine_stay_out(module, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "real")
    lines = ("import os", "print(os.environ.get('OPENAI_API_KEY'), os.environ['HOME'])")
    with serve("", module=module(*lines, "server.serve_forever()", "server.server_close()")) as served:
        pass
    assert served.stdout[-1] == f"None {served.home}\n"


def test_a_free_port_is_free() -> None:
    assert 1024 <= free_port() <= 65535
