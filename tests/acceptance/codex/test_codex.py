"""The unmodified Codex against `trivium serve`: whole sessions, over its own dialect, two others and a local model.

It is connected as its users connect it, by `trivium connect codex --write`.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import openai
import pytest

import support
from acceptance.clients import READ_ME, Client, client, environment
from acceptance.world import LOCAL, TEXT, World
from trivium.testing import FakeUpstream

PATHS = {"res": "/v1/responses", "oai": "/v1/chat/completions", "ant": "/v1/messages"}
everywhere = pytest.mark.parametrize("at", PATHS)
WISH = f"Read my notes: call exec_command {json.dumps({'cmd': 'cat notes.txt'})}"
"""What makes the fake upstream call the tool that reads a file."""
BODY = 33_000
"""What it opens a session with is larger than this."""


@pytest.fixture
def codex(tmp_path: Path) -> Client:
    return client("codex", tmp_path)


def events(codex: Client, *words: str) -> list[dict[str, Any]]:
    """What a session of one prompt reports, line by line."""
    done = codex("exec", "--skip-git-repo-check", "--json", *words)
    assert done.stdout, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def messages(said: list[dict[str, Any]]) -> list[str]:
    items = [event["item"] for event in said if event["type"] == "item.completed"]
    return [item["text"] for item in items if item["type"] == "agent_message"]


def failure(said: list[dict[str, Any]]) -> str:
    (text,) = [event["error"]["message"] for event in said if event["type"] == "turn.failed"]
    return text


@everywhere
def test_a_session_with_a_tool(trivium: World, codex: Client, at: str) -> None:
    codex.connect("codex", trivium, "--model", f"{at}/tool")
    before = trivium.upstream.count()
    said = events(codex, WISH)
    (text,) = messages(said)
    assert READ_ME in text
    assert said[-1]["type"] == "turn.completed"
    assert said[-1]["usage"]["input_tokens"] > BODY / 4
    assert said[-1]["usage"]["output_tokens"] > 0
    first, second = trivium.upstream.requests[before:]
    assert {first.path, second.path} == {PATHS[at]}
    assert len(first.body) > BODY
    assert READ_ME in second.body.decode()
    assert READ_ME not in first.body.decode()


def test_what_it_says_reaches_its_own_dialect_whole(trivium: World, codex: Client) -> None:
    """The same session straight to an upstream and through us: bodies with the same fields and the same tools."""
    with FakeUpstream() as up:
        row = f'{{ name = "x", base_url = "{up.base_url}", wire_api = "responses" }}'
        events(codex, "-c", f"model_providers.x={row}", "-c", 'model_provider="x"', "-m", "echo", "hello")
        (straight,) = [seen for seen in up.requests if seen.model == "echo"]
    codex.connect("codex", trivium, "--model", "res/echo")
    events(codex, "hello")
    ours = trivium.last("echo")
    assert ours.json.keys() == straight.json.keys()
    assert {"client_metadata", "prompt_cache_key", "include"} <= ours.json.keys()
    assert ours.json["tools"] == straight.json["tools"]
    assert ours.json.get("instructions") == straight.json.get("instructions")


def test_one_session_goes_on_in_the_next(trivium: World, codex: Client) -> None:
    codex.connect("codex", trivium, "--model", "res/ok")
    assert messages(events(codex, "first question")) == [TEXT]
    assert messages(events(codex, "resume", "--last", "second question")) == [TEXT]
    said = json.dumps(trivium.last("ok").json["input"])
    assert said.index("first question") < said.index(TEXT) < said.index("second question")


@everywhere
def test_a_conversation_that_is_too_long_is_known_as_that(trivium: World, codex: Client, at: str) -> None:
    codex.connect("codex", trivium, "--model", f"{at}/400-context")
    assert "ran out of room in the model's context window" in failure(events(codex, "hello"))


@pytest.mark.parametrize(
    ("model", "says"), [("res/400", "invalid_request_error"), ("oai/error-midstream-2", "Overloaded")]
)
def test_an_error_in_its_own_words(trivium: World, codex: Client, model: str, says: str) -> None:
    codex.connect("codex", trivium, "--model", model)
    retries = (
        "-c",
        "model_providers.trivium.stream_max_retries=0",
        "-c",
        "model_providers.trivium.request_max_retries=0",
    )
    assert says in failure(events(codex, *retries, "hello"))


@pytest.mark.parametrize("model", ["oai/error-midstream-2", "oai/cut-after-2", "res/cut-after-2"])
def test_a_failure_is_the_stream_s_own_end(trivium: World, model: str) -> None:
    """It reads a body to its end before it believes an event, so the body has one."""
    asked = json.dumps({"model": model, "input": "hello", "stream": True}).encode()
    with socket.create_connection(("127.0.0.1", trivium.served.port), timeout=10) as sock:
        sock.sendall(support.request_bytes("/v1/responses", asked))
        raw = support.read_raw(sock)
    assert (raw.status, raw.end) == (200, "open")
    assert raw.body.endswith(b"0\r\n\r\n")
    assert raw.payload.rsplit(b"event: ", 1)[1].startswith(b"response.failed\n")
    assert b"response.completed" not in raw.payload


def test_leaving_it_stops_the_upstream(trivium: World, codex: Client) -> None:
    codex.connect("codex", trivium, "--model", "res/gap-310")
    words = [*codex.command, "exec", "--skip-git-repo-check", "--json", "hello"]
    pipes: Any = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(words, env=environment(codex.home), cwd=codex.work, **pipes) as process:
        trivium.upstream.wait_until(lambda: any(seen.model == "gap-310" for seen in trivium.upstream.requests), 30)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    trivium.await_cancelled("gap-310")


# ---- the embedded model


def test_the_embedded_model_cannot_take_its_tools(trivium: World, codex: Client) -> None:
    codex.connect("codex", trivium, "--model", LOCAL)
    assert "needs tools" in failure(events(codex, "hello"))


ASKED: Any = {"model": LOCAL, "max_output_tokens": 16}
"""What its bodies are too large for."""


def test_the_embedded_model_answers_what_fits(trivium: World) -> None:
    create: Any = trivium.openai().responses.create
    done = create(**ASKED, input="What is the capital of France? " * 5)
    assert done.output_text
    assert done.status in ("completed", "incomplete")


def test_the_embedded_model_says_when_it_is_too_much(trivium: World) -> None:
    with pytest.raises(openai.BadRequestError, match="8192") as caught:
        trivium.openai().responses.create(**ASKED, input="word " * 10_000)
    assert caught.value.code == "context_length_exceeded"
