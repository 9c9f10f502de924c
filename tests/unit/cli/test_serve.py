"""The start of `trivium serve`: its words are read aside, and what is refused there is refused as anywhere."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import support
from cli_help import command, said_error, trivium
from trivium.transport.platform import PORTABLE


def test_one_line_of_json_says_where_it_listens(tmp_path: Path) -> None:
    listen, admin = (f"127.0.0.1:{support.free_port()}" for _ in range(2))
    (tmp_path / "test.toml").write_text(f'[server]\nadmin = "{admin}"\n')
    words = command("serve", "--config", "test.toml", "--listen", listen, "--json")
    env = support.environment(tmp_path)
    process = subprocess.Popen(words, env=env, cwd=tmp_path, stdout=-1, stderr=-1, text=True)
    assert process.stdout is not None
    said = json.loads(process.stdout.readline())
    assert support._status(int(listen.rpartition(":")[2]), "/health") == 200
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=20) == ("", "")
    assert process.returncode == 0
    assert (said["listen"], said["admin"]) == (listen, admin)
    assert "provider" in said["destinations"][0]


def test_what_does_not_count_is_said(tmp_path: Path) -> None:
    """A file that was found here and not allowed: whoever wrote keys into it must know that they guard nobody."""
    (tmp_path / "trivium.toml").write_text('[[keys]]\nname = "a"\nkey = "sk-1"\n')
    words = command("serve", "--listen", f"127.0.0.1:{support.free_port()}")
    env = support.environment(tmp_path)
    process = subprocess.Popen(words, env=env, cwd=tmp_path, stdout=-1, stderr=-1, text=True)
    assert process.stderr is not None
    said = [process.stderr.readline() for _ in range(2)]
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert "is not trusted" in said[0]
    assert "keys" in said[1]


def test_nobody_who_listens_to_what_it_says_is_needed(tmp_path: Path) -> None:
    listen = f"127.0.0.1:{support.free_port()}"
    (tmp_path / "test.toml").write_text(f'[server]\nadmin = "127.0.0.1:{support.free_port()}"\n')
    words = command("serve", "--config", "test.toml", "--listen", listen, "--json")
    reading, writing = os.pipe()
    os.close(reading)
    env = support.environment(tmp_path)
    with subprocess.Popen(words, env=env, cwd=tmp_path, stdout=writing, stderr=subprocess.DEVNULL) as process:
        os.close(writing)
        end = time.monotonic() + 20
        while support._status(int(listen.rpartition(":")[2]), "/health") != 200 and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(0.5)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


@pytest.mark.parametrize(
    ("words", "code", "kind"),
    [
        (("--nonsense",), 2, "usage"),
        (("--workers", "0"), 2, "usage"),
        (("--workers", "many"), 2, "usage"),
        (("--config", "missing.toml"), 78, "configuration"),
        (("--listen", "0.0.0.0:0"), 78, "configuration"),
    ],
)
def test_what_is_refused_keeps_its_exit_code(tmp_path: Path, words: tuple[str, ...], code: int, kind: str) -> None:
    done = trivium(tmp_path, "serve", *words, "--json")
    assert (done.returncode, said_error(done)["kind"], done.stdout) == (code, kind, "")
    assert len(done.stderr.splitlines()) == 1


def test_help_is_help(tmp_path: Path) -> None:
    done = trivium(tmp_path, "serve", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "--workers" in done.stdout


@pytest.mark.skipif(PORTABLE, reason="needs fork")
def test_the_reader_of_the_words_stays_in_no_process_that_serves(tmp_path: Path) -> None:
    loud = (
        "import sys, trivium.server.master as master\n"
        "master.serve = lambda read, started: print(read.args[2], read.args[0], *sys.modules, sep='\\n')\n"
        "from trivium.cli.main import main\n"
        "main()"
    )
    words = [sys.executable, "-c", loud, "serve", "--workers", "2", "--config", "x y.toml"]
    env = support.environment(tmp_path)
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=60)
    assert done.returncode == 0, done.stderr
    workers, file, *modules = done.stdout.splitlines()
    assert (workers, file) == ("2", str(tmp_path / "x y.toml"))
    assert "trivium.server.master" in modules
    assert not {"cyclopts", "rich", "attrs", "starlette", "uvicorn", "httpx2"} & set(modules)
