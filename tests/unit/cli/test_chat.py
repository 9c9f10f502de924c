"""`trivium chat` line by line, its private file, and once the real demo model."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import support
from cli_help import command, configured, trivium
from trivium.cli.chat import Turn, append, delete, models, recalled, spent
from trivium.config.schema import Config, Engine
from trivium.testing import FakeUpstream

MODEL = "smollm2-135m"


def test_a_talk_is_remembered_switched_and_kept_privately(tmp_path: Path) -> None:
    with FakeUpstream() as up:
        lines = "one\n/model primary/other\n\ntwo\n/cost\n/clear\nthree\n"
        done = trivium(tmp_path, "chat", "-m", "primary/echo", "--config", configured(tmp_path, up), stdin=lines)
    assert (done.returncode, done.stdout) == (0, f"one\n{up.text}\n{up.text}\n")
    first, second, third = (seen.json for seen in up.requests)
    assert [message["role"] for message in second["messages"]] == ["user", "assistant", "user"]
    assert [len(first["messages"]), len(third["messages"])] == [1, 1]
    assert second["model"] == "other"
    assert sum(line.startswith("direct · primary/") for line in done.stderr.splitlines()) == 3
    file = tmp_path / "chat" / "history"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert recalled(file) == ["one", "two", "three"]


def test_a_talk_can_be_forgotten_or_never_kept(tmp_path: Path) -> None:
    file = tmp_path / "chat" / "history"
    with FakeUpstream() as up:
        words = ("chat", "-m", "primary/echo", "--config", configured(tmp_path, up))
        trivium(tmp_path, *words, "--no-history", stdin="secret\n")
        assert not file.exists()
        done = trivium(tmp_path, *words, stdin="secret\n/forget\nnext\n")
        assert done.returncode == 0
        assert recalled(file) == ["next"]
        assert len(up.requests[-1].json["messages"]) == 1
    assert trivium(tmp_path, "chat", "--forget").returncode == 0
    assert not file.exists()


def test_json_is_an_object_a_line(tmp_path: Path) -> None:
    with FakeUpstream() as up:
        words = ("chat", "--json", "-m", "primary/echo", "--config", configured(tmp_path, up))
        done = trivium(tmp_path, *words, stdin="one\ntwo\n")
    assert [json.loads(line)["text"] for line in done.stdout.splitlines()] == ["one", "two"]
    assert done.stderr == ""


def test_without_a_person_the_first_error_ends_it(tmp_path: Path) -> None:
    with FakeUpstream() as up:
        words = ("chat", "-m", "primary/echo", "--config", configured(tmp_path, up))
        done = trivium(tmp_path, *words, stdin="/model nonsense\nnever sent\n")
    assert done.returncode == 1
    assert up.requests == []


def test_a_line_that_is_no_text_is_said_and_the_talk_goes_on(tmp_path: Path) -> None:
    with FakeUpstream() as up:
        words = command("chat", "-m", "primary/echo", "--config", configured(tmp_path, up))
        lines, env = b"hi \xff\nnext\n", support.environment(tmp_path)
        done = subprocess.run(words, env=env, input=lines, capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (0, b"next\n")
    assert done.stderr.startswith(b"trivium: Standard input is not utf-8 text.")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_question_with_a_nul_does_not_shut_the_next_talk(tmp_path: Path) -> None:
    append(tmp_path / "chat" / "history", Turn(1, "m", "one\0two", "three"))
    leader, follower = pty.openpty()
    os.write(leader, b"/quit\n")
    words, env = command("chat"), support.environment(tmp_path) | {"TERM": "dumb"}
    done = subprocess.run(words, env=env, stdin=follower, capture_output=True, text=True, check=False, timeout=60)
    os.close(leader)
    os.close(follower)
    assert done.returncode == 0, done.stderr


def test_a_history_that_cannot_be_written_does_not_end_the_talk(tmp_path: Path) -> None:
    (tmp_path / "chat" / "history").mkdir(parents=True)
    with FakeUpstream() as up:
        words = ("chat", "-m", "primary/echo", "--config", configured(tmp_path, up))
        done = trivium(tmp_path, *words, stdin="one\ntwo\n")
    assert (done.returncode, done.stdout) == (0, "one\ntwo\n")
    assert done.stderr.count("This is not kept") == 2


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_an_interruption_stops_the_answer_and_a_second_one_the_talk(tmp_path: Path) -> None:
    with FakeUpstream() as up:
        words = command("chat", "-m", "primary/stall-after-3", "--config", configured(tmp_path, up))
        leader, follower = pty.openpty()
        env = support.environment(tmp_path) | {"TERM": "dumb"}
        process = subprocess.Popen(words, env=env, stdin=follower, stdout=-1, stderr=-1, text=True)
        os.close(follower)
        os.write(leader, b"hello\n")
        up.wait_until(lambda: up.count() == 1)
        assert process.stdout is not None
        shown = b""
        while b"capital" not in shown:
            more = os.read(process.stdout.fileno(), 4096)
            assert more, "it ended before it answered"
            shown += more
        process.send_signal(signal.SIGINT)
        up.wait_until(lambda: up.requests[0].client_gone_at is not None)
        assert process.poll() is None
        os.write(leader, b"/quit\n")
        _, said = process.communicate(timeout=20)
        os.close(leader)
    assert process.returncode == 0
    assert "Stopped." in said
    assert "Traceback" not in said


def test_the_real_model_talks(model_home: Path) -> None:
    done = trivium(model_home, "chat", "-m", f"local/{MODEL}", "--no-history", stdin="Say yes.\n/cost\n")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert done.stderr.splitlines()[0].startswith(f"local · local/{MODEL} · ")


def test_the_file_survives_what_is_not_ours(tmp_path: Path) -> None:
    file = tmp_path / "chat" / "history"
    append(file, Turn(1, "m", "q\nwith a line", "a"))
    with file.open("ab") as stream:
        stream.write(b"broken\n\xff\n")
    append(file, Turn(2, "m", "r", "b"))
    assert recalled(file) == ["q\nwith a line", "r"]
    assert delete(file)
    assert not delete(file)
    assert recalled(file) == []


def test_what_can_be_named_and_what_was_spent(tmp_path: Path) -> None:
    config = Config(home=tmp_path, engines={"tiny": Engine(id="tiny", model=MODEL)}, aliases={"a": "x/y"})
    assert models(config) == ["auto", "a", "local/tiny"]
    assert spent([]) == "0 answers, $0"
    assert "1 whose cost is unknown" in spent([1_000_000, None])
