"""`trivium ask` against the fake upstream, and once against the real demo model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import support
from cli_help import command, configured, said_error, trivium
from trivium.cli.answer import DEMO_TOKENS, bound, cost, is_demo
from trivium.cli.ask import question_of
from trivium.config.schema import Config, Engine
from trivium.errors import UsageError
from trivium.testing import FakeUpstream
from trivium.types.response import Response

MODEL = "smollm2-135m"


def test_the_answer_is_stdout_and_the_rest_is_stderr(tmp_path: Path) -> None:
    with FakeUpstream() as up:
        done = trivium(tmp_path, "ask", "-m", "primary/x", "--config", configured(tmp_path, up), "Where", "is", "it?")
    assert (done.returncode, done.stdout) == (0, f"{up.text}\n")
    (line,) = done.stderr.splitlines()
    assert line.startswith("direct · primary/x · ")
    assert line.endswith(" · cost unknown")
    assert up.requests[0].json["stream"] is True


def test_json_is_one_object_and_what_is_unknown_is_null(tmp_path: Path) -> None:
    with FakeUpstream() as up:
        words = ("ask", "--json", "-m", "primary/x", "--system", "Be brief.", "--max-tokens", "3", "hi")
        done = trivium(tmp_path, *words, "--config", configured(tmp_path, up))
    answer = json.loads(done.stdout)
    assert (answer["endpoint"], answer["access"], answer["attempts"]) == ("primary/x", "direct", 1)
    assert answer["usage"]["output_tokens"] == 3
    assert (answer["cost_usd"], answer["fallback"]) == (None, None)
    assert answer["id"].startswith("gen-")
    assert answer["timings"]["duration_s"] > 0
    sent = up.requests[0].json
    assert [message["role"] for message in sent["messages"]] == ["system", "user"]


def test_what_is_piped_in_is_appended(tmp_path: Path) -> None:
    with FakeUpstream() as up:
        words = ("ask", "--no-stream", "-m", "primary/echo", "--config", configured(tmp_path, up))
        both = trivium(tmp_path, *words, "Sum this up:", stdin="a\nb\n")
        only = trivium(tmp_path, *words, "-", stdin="just this")
    assert both.stdout == "Sum this up:\n\na\nb\n"
    assert only.stdout == "just this\n"


def test_what_is_no_text_is_refused_and_what_cannot_be_shown_is_replaced(tmp_path: Path) -> None:
    with FakeUpstream(text="Zürich 東京") as up:
        words = command("ask", "-m", "primary/x", "--config", configured(tmp_path, up), "hi")
        env = support.environment(tmp_path) | {"PYTHONUTF8": "0", "PYTHONIOENCODING": "utf-8:strict"}
        bad = subprocess.run(words, env=env, input=b"\xff\xfe", capture_output=True, check=False, timeout=60)
        lenient = env | {"PYTHONUTF8": "1", "PYTHONIOENCODING": "utf-8:surrogateescape"}
        worse = subprocess.run(words, env=lenient, input=b"\xff\xfe", capture_output=True, check=False, timeout=60)
        env["PYTHONIOENCODING"] = "ascii"
        shown = subprocess.run(words, env=env, input=b"", capture_output=True, check=False, timeout=60)
    assert (bad.returncode, worse.returncode) == (2, 2)
    assert bad.stderr.startswith(b"trivium: Standard input is not utf-8 text.")
    assert worse.stderr == bad.stderr
    assert (shown.returncode, shown.stdout) == (0, b"Z?rich ??\n")


def test_no_question_is_a_usage_error() -> None:
    assert question_of(("a", "b"), "") == "a b"
    with pytest.raises(UsageError):
        question_of((), " \n")


def test_a_fallback_says_who_answered_and_why(tmp_path: Path) -> None:
    with FakeUpstream() as up, support.refused_port() as port:
        rows = [support.provider(f"http://127.0.0.1:{port}/v1"), support.provider(up, "second")]
        route = {"name": "both", "targets": ["primary/x", "second/x"]}
        (tmp_path / "test.toml").write_text(support.config(rows, [route]))
        done = trivium(tmp_path, "ask", "-m", "both", "--config", "test.toml", "hi")
    assert done.returncode == 0
    assert done.stderr.splitlines()[-1] == "answered by second/x because primary could not be reached"


def test_a_cut_answer_fails_after_its_part(tmp_path: Path) -> None:
    with FakeUpstream() as up:
        words = ("ask", "-m", "primary/cut-after-3", "--config", configured(tmp_path, up), "hi")
        done = trivium(tmp_path, *words)
    assert done.returncode == 69
    assert done.stdout == "The capital of \n"
    assert done.stderr.startswith("trivium: ")


@pytest.mark.parametrize(("fault", "code"), [("400", 1), ("400-context", 1), ("404", 1), ("503", 69), ("401", 69)])
def test_an_upstream_that_is_there_and_refuses_the_request_is_not_unavailable(
    tmp_path: Path, fault: str, code: int
) -> None:
    with FakeUpstream() as up:
        words = ("ask", "-m", f"primary/{fault}", "--config", configured(tmp_path, up), "hi")
        assert trivium(tmp_path, *words).returncode == code


def test_escape_sequences_of_a_model_do_not_reach_the_terminal(tmp_path: Path) -> None:
    with FakeUpstream(text="\x1b]0;owned\x07red \x1b[31malert") as up:
        done = trivium(tmp_path, "ask", "-m", "primary/x", "--config", configured(tmp_path, up), "hi")
    assert "\x1b" not in done.stdout
    assert "\x07" not in done.stdout


def test_an_interruption_stops_the_upstream(tmp_path: Path) -> None:
    with FakeUpstream() as up:
        words = command("ask", "-m", "primary/stall-after-3", "--config", configured(tmp_path, up), "hi")
        process = subprocess.Popen(
            words, env=support.environment(tmp_path), stdin=subprocess.DEVNULL, stdout=-1, stderr=-1, text=True
        )
        assert process.stdout is not None
        assert process.stdout.read(4) == "The "
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
        up.wait_until(lambda: up.requests[0].client_gone_at is not None)
    assert process.returncode == 130
    assert said == ""


def test_without_anything_that_answers_the_remedy_is_named(tmp_path: Path) -> None:
    done = trivium(tmp_path, "ask", "--json", "--offline", "hi")
    assert done.returncode == 69
    error = said_error(done)
    assert error["kind"] == "engine_unavailable"
    assert f"trivium models pull {MODEL}" in error["remedy"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_person_is_shown_what_would_come_and_may_say_no(tmp_path: Path) -> None:
    import pty

    leader, follower = pty.openpty()
    process = subprocess.Popen(
        command("ask", "--offline", "hi"),
        env=support.environment(tmp_path) | {"TERM": "dumb"},
        stdin=follower,
        stdout=subprocess.PIPE,
        stderr=follower,
    )
    os.close(follower)
    said = b""
    while b"[y/N]" not in said:
        said += os.read(leader, 4096)
    os.write(leader, b"n\n")
    assert process.stdout is not None
    assert process.stdout.read() == b""
    assert process.wait(20) == 69
    process.stdout.close()
    os.close(leader)
    assert all(word in said for word in (MODEL.encode(), b"Licence", b"Source", b"Size"))


@pytest.mark.parametrize("words", [("-m", "missing.gguf"), ("-m", "./notes.gguf")])
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "notes.gguf").write_text("not a model")
    done = trivium(tmp_path, "ask", *words, "hi")
    assert done.returncode == 2
    assert words[1].removeprefix("./") in done.stderr


def test_the_real_model_answers_from_a_file_and_is_called_a_demo(tmp_path: Path, model_blob: Path) -> None:
    file = tmp_path / f"{MODEL}.gguf"
    file.symlink_to(model_blob)
    done = trivium(tmp_path, "ask", "-m", str(file), "--max-tokens", "8", "Where is the Louvre?")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    line, cut = done.stderr.splitlines()[-2:]
    assert cut.startswith("cut at its bound")
    assert line.startswith("local · local/")
    assert "local; electricity not counted" in line
    assert "tokens/s" in line
    assert line.endswith("a demo model")


@pytest.mark.parametrize(
    ("endpoint", "wanted", "sent"),
    [
        (f"local/{MODEL}", None, {"max_tokens": DEMO_TOKENS}),
        (f"local/{MODEL}", 0, {}),
        (f"local/{MODEL}", 9, {"max_tokens": 9}),
        ("local/own", None, {}),
        ("primary/x", None, {}),
        ("primary/x", 9, {"max_tokens": 9}),
        ("", None, {}),
    ],
)
def test_only_a_demo_model_has_a_bound_that_nobody_named(
    tmp_path: Path, endpoint: str, wanted: int | None, sent: dict[str, int]
) -> None:
    assert bound(Config(home=tmp_path), endpoint, wanted) == sent


def test_a_bound_is_said_and_lifted(tmp_path: Path) -> None:
    with FakeUpstream() as up:
        words = ("ask", "-m", "primary/x", "--config", configured(tmp_path, up), "hi")
        for more in ((), ("--max-tokens", "0"), ("--max-tokens", "2")):
            assert trivium(tmp_path, *words, *more).returncode == 0
        assert trivium(tmp_path, *words, "--max-tokens", "-1").returncode == 2
    bounds = [{**seen.json}.get("max_tokens", seen.json.get("max_completion_tokens")) for seen in up.requests]
    assert bounds == [None, None, 2]
    said = " ".join(trivium(tmp_path, "ask", "--help").stdout.replace("│", " ").split())
    assert f"0 for no bound. By default {DEMO_TOKENS} of a demo model" in said


def test_a_demo_answer_that_was_cut_says_how_to_go_on(model_home: Path) -> None:
    done = trivium(model_home, "ask", "-m", f"local/{MODEL}", "--max-tokens", "2", "Count to a hundred.")
    assert done.stderr.splitlines()[-1] == "cut at its bound; `--max-tokens 0` lifts it"


def test_costs_are_said_as_they_are_known() -> None:
    assert cost(Response(access="direct")) == "cost unknown"
    assert cost(Response(access="direct", cost_nanos=0)) == "cost $0"
    assert cost(Response(access="local", cost_nanos=1_500_000, attempts=1)).startswith("cost $0.0015")
    assert cost(Response(access="local", attempts=1)) == "local; electricity not counted"
    assert "unknown" in cost(Response(access="local", attempts=2))


def test_the_demo_model_is_known_by_its_weights(tmp_path: Path) -> None:
    config = Config(home=tmp_path, engines={"tiny": Engine(id="tiny", model=MODEL)})
    assert is_demo(config, "local/tiny")
    assert is_demo(config, f"local/{MODEL}")
    assert not is_demo(config, f"openai/{MODEL}")
    assert not is_demo(config, "local/other")
