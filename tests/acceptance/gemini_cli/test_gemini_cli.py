"""The unmodified Gemini CLI against `trivium serve`: whole sessions, over its own dialect, two others, a local model.

It is connected as its users connect it, by `trivium connect gemini-cli --write`. It takes seconds to start.
"""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from acceptance.clients import READ_ME, Client, client, environment
from acceptance.world import LOCAL, TEXT, World
from trivium.testing import FakeUpstream

GENERATE = "/v1beta/models/{}:streamGenerateContent?alt=sse"
PATHS = {"gem": GENERATE, "oai": "/v1/chat/completions", "ant": "/v1/messages"}
BODY = 33_000
"""What it opens a session with is larger than this."""


@pytest.fixture
def gemini(tmp_path: Path) -> Client:
    return client("gemini-cli", tmp_path, node=True)


def answered(gemini: Client, prompt: str, *words: str, **more: Any) -> dict[str, Any]:
    done = gemini("--skip-trust", "--output-format", "json", *words, "--prompt", prompt, **more)
    said = done.stdout or done.stderr[done.stderr.find("\n{") :]  # an error's document goes there, after the log
    return json.loads(said)


def error(said: dict[str, Any]) -> dict[str, Any]:
    """The envelope that it was sent, which it shows as it came."""
    return json.loads(said["error"]["message"])["error"]


def asked(world: World, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """One request as its library makes it."""
    connection = http.client.HTTPConnection("127.0.0.1", world.served.port, timeout=60)
    connection.request("POST", path, json.dumps(body), {"x-goog-api-key": "any", "content-type": "application/json"})
    answer = connection.getresponse()
    said = json.loads(answer.read())
    connection.close()
    return answer.status, said


@pytest.mark.long
@pytest.mark.parametrize("at", PATHS)
def test_a_session_with_a_tool(trivium: World, gemini: Client, at: str) -> None:
    gemini.connect("gemini-cli", trivium, "--model", f"{at}/tool")
    before = trivium.upstream.count()
    wish = f"Read my notes: call read_file {json.dumps({'file_path': str(gemini.work / 'notes.txt')})}"
    said = answered(gemini, wish)
    assert READ_ME in said["response"]
    assert said["stats"]["tools"]["byName"]["read_file"]["success"] == 1
    assert sum(model["tokens"]["prompt"] for model in said["stats"]["models"].values()) > BODY / 4
    first, second = trivium.upstream.requests[before:]
    assert {first.path, second.path} == {PATHS[at].format("tool")}
    assert len(first.body) > BODY
    assert READ_ME in second.body.decode()
    assert READ_ME not in first.body.decode()


@pytest.mark.long
def test_what_it_says_reaches_its_own_dialect_whole(trivium: World, gemini: Client) -> None:
    """The same session straight to an upstream and through us: bodies with the same fields and the same tools."""
    gemini.connect("gemini-cli", trivium, "--model", "gem/echo")
    answered(gemini, "hello")
    ours = trivium.last("echo")
    with FakeUpstream() as up:
        answered(gemini, "hello", "--model", "echo", env={"GOOGLE_GEMINI_BASE_URL": up.origin, "GEMINI_API_KEY": "any"})
        (straight,) = [seen for seen in up.requests if seen.model == "echo"]
    assert ours.json.keys() == straight.json.keys()
    assert ours.json["tools"] == straight.json["tools"]
    assert ours.json["generationConfig"] == straight.json["generationConfig"]
    assert "any" not in (ours.headers.get("x-goog-api-key"), ours.headers["authorization"])


@pytest.mark.long
@pytest.mark.parametrize("at", ["gem", "oai"])
def test_a_conversation_that_is_too_long_is_known_as_that(trivium: World, gemini: Client, at: str) -> None:
    gemini.connect("gemini-cli", trivium, "--model", f"{at}/400-context")
    said = error(answered(gemini, "hello"))
    assert (said["code"], said["status"]) == (400, "INVALID_ARGUMENT")
    assert said["details"][0]["reason"] == "CONTEXT_LENGTH_EXCEEDED"
    assert "8192" in said["message"]


@pytest.mark.long
def test_a_model_that_is_not_there(trivium: World, gemini: Client) -> None:
    gemini.connect("gemini-cli", trivium, "--model", "nobody/x")
    assert "There is no model, route or alias `nobody/x`" in answered(gemini, "hello")["error"]["message"]


@pytest.mark.long
def test_a_stream_that_breaks_is_no_answer(trivium: World, gemini: Client) -> None:
    gemini.connect("gemini-cli", trivium, "--model", "gem/cut-after-2")
    assert "response" not in answered(gemini, "hello")


@pytest.mark.long
def test_the_model_auto_is_ours_and_not_its_own(trivium: World, gemini: Client) -> None:
    """It takes `auto` for a choice among models of its vendor's, so `connect` spells it otherwise."""
    gemini.connect("gemini-cli", trivium)
    assert "No endpoint can serve `auto`" in error(answered(gemini, "hello"))["message"]


@pytest.mark.long
def test_leaving_it_stops_the_upstream(trivium: World, gemini: Client) -> None:
    gemini.connect("gemini-cli", trivium, "--model", "gem/gap-320")
    words = [*gemini.command, "--skip-trust", "--prompt", "hello"]
    pipes: Any = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(words, env=environment(gemini.home), cwd=gemini.work, **pipes) as process:
        trivium.upstream.wait_until(lambda: any(seen.model == "gap-320" for seen in trivium.upstream.requests), 60)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    trivium.await_cancelled("gap-320")


# ---- the embedded model, and what it asks beside answers


@pytest.mark.long
def test_the_embedded_model_cannot_take_its_tools(trivium: World, gemini: Client) -> None:
    gemini.connect("gemini-cli", trivium, "--model", LOCAL)
    assert "needs tools" in error(answered(gemini, "hello"))["message"]


def contents(text: str) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": [{"text": text}]}], "generationConfig": {"maxOutputTokens": 16}}


def test_the_embedded_model_answers_what_fits(trivium: World) -> None:
    path = f"/v1beta/models/{LOCAL}:generateContent"
    status, said = asked(trivium, path, contents("What is the capital of France? " * 5))
    assert status == 200
    assert said["candidates"][0]["content"]["parts"][0]["text"]
    assert said["usageMetadata"]["promptTokenCount"] > 30


def test_the_embedded_model_says_when_it_is_too_much(trivium: World) -> None:
    status, said = asked(trivium, f"/v1beta/models/{LOCAL}:generateContent", contents("word " * 10_000))
    assert (status, said["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert said["error"]["details"][0]["reason"] == "CONTEXT_LENGTH_EXCEEDED"
    assert "8192" in said["error"]["message"]


@pytest.mark.parametrize("at", ["gem", "oai"])
def test_a_model_with_a_slash_is_found_in_the_path(trivium: World, at: str) -> None:
    status, said = asked(trivium, f"/v1beta/models/{at}/ok:generateContent", contents("hello"))
    assert status == 200
    assert "".join(part["text"] for part in said["candidates"][0]["content"]["parts"]) == TEXT


@pytest.mark.parametrize(("at", "calls"), [("gem", 1), ("oai", 0)])
def test_tokens_are_counted(trivium: World, at: str, calls: int) -> None:
    """By its provider's word where the provider speaks its dialect, else by an estimate that nobody is asked for."""
    before = trivium.upstream.count()
    body = {"contents": contents("hello " * 50)["contents"]}
    status, said = asked(trivium, f"/v1beta/models/{at}/ok:countTokens", body)
    assert status == 200
    assert 50 < said["totalTokens"] < 150
    assert [seen.path for seen in trivium.upstream.requests[before:]] == ["/v1beta/models/ok:countTokens"] * calls
