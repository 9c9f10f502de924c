"""The unmodified Claude Code against `trivium serve`: whole sessions, over two upstream dialects and a local model.

It is connected as its users connect it, by `trivium connect claude-code --write`.
"""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from acceptance.clients import READ_ME, Client, client, environment
from acceptance.world import LOCAL, PROVIDERS, TEXT, World
from trivium.testing import FakeUpstream

everywhere = pytest.mark.parametrize("at", PROVIDERS)
BODY = 40_000
"""What it opens a session with is larger than this."""


@pytest.fixture
def claude(tmp_path: Path) -> Client:
    return client("claude-code", tmp_path)


def wish(claude: Client) -> str:
    """A prompt that makes the fake upstream call the tool that reads a file."""
    return f"Read my notes: call Read {json.dumps({'file_path': str(claude.work / 'notes.txt')})}"


def result(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


@everywhere
def test_a_session_with_a_tool(trivium: World, claude: Client, at: str) -> None:
    claude.connect("claude-code", trivium, "--model", f"{at}/tool")
    before = trivium.upstream.count()
    done = result(claude("-p", wish(claude), "--allowedTools", "Read", "--output-format", "json"))
    assert (done["is_error"], done["num_turns"], done["stop_reason"]) == (False, 2, "end_turn")
    assert READ_ME in done["result"]
    assert done["usage"]["input_tokens"] > BODY / 4
    first, second = trivium.upstream.requests[before:]
    assert {first.path, second.path} == {"/v1/messages" if at == "ant" else "/v1/chat/completions"}
    assert len(first.body) > BODY
    assert READ_ME in second.body.decode()
    assert READ_ME not in first.body.decode()


def test_what_it_says_reaches_its_own_dialect_to_the_byte(trivium: World, claude: Client) -> None:
    """The same session straight to an upstream and through us: the same headers, and bodies but for the model."""
    with FakeUpstream() as up:
        env = {"ANTHROPIC_BASE_URL": up.base_url.removesuffix("/v1"), "ANTHROPIC_AUTH_TOKEN": "any"}
        result(claude("-p", "hello", "--model", "echo", "--output-format", "json", env=env))
        (straight,) = [seen for seen in up.requests if seen.model == "echo"]
    claude.connect("claude-code", trivium, "--model", "ant/echo")
    result(claude("-p", "hello", "--output-format", "json"))
    ours = trivium.last("echo")
    for name in ("anthropic-beta", "anthropic-version"):
        assert ours.headers[name] == straight.headers[name]
    assert ours.headers["anthropic-beta"].count(",") > 3
    assert ours.json.keys() == straight.json.keys()
    assert {"context_management", "output_config"} <= ours.json.keys()
    assert ours.json["tools"] == straight.json["tools"]


def test_one_session_goes_on_in_the_next(trivium: World, claude: Client) -> None:
    claude.connect("claude-code", trivium, "--model", "ant/ok")
    assert result(claude("-p", "one", "--output-format", "json"))["result"] == TEXT
    assert result(claude("-p", "two", "--continue", "--output-format", "json"))["result"] == TEXT
    said = json.dumps(trivium.last("ok").json["messages"])
    assert said.index("one") < said.index(TEXT) < said.index("two")


@everywhere
def test_a_stream_event_by_event(trivium: World, claude: Client, at: str) -> None:
    claude.connect("claude-code", trivium, "--model", f"{at}/ok")
    words = ("--output-format", "stream-json", "--verbose", "--include-partial-messages")
    lines = [json.loads(line) for line in claude("-p", "hello", *words).stdout.splitlines()]
    events = [line["event"] for line in lines if line["type"] == "stream_event"]
    deltas = [event["delta"].get("text", "") for event in events if event["type"] == "content_block_delta"]
    assert "".join(deltas) == TEXT
    assert len(deltas) > 3
    assert events[-1]["type"] == "message_stop"


def test_it_discovers_the_models_that_it_can_list(trivium: World, claude: Client) -> None:
    claude.connect("claude-code", trivium, "--model", "ant/ok")
    result(claude("-p", "hello", "--output-format", "json"))
    found = json.loads((claude.home / ".claude/cache/gateway-models.json").read_text())
    assert [model["id"] for model in found["models"]] == ["claude-as-we-call-it"]


def test_it_counts_its_tokens(trivium: World, claude: Client) -> None:
    claude.connect("claude-code", trivium, "--model", "ant/counted")
    said = claude("-p", "/context").stdout
    assert "| System prompt |" in said
    counts = [seen for seen in trivium.upstream.requests if seen.path == "/v1/messages/count_tokens"]
    assert any(seen.model == "counted" for seen in counts)


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("nobody/x", "issue with the selected model"),
        ("oai/404", "issue with the selected model"),
        ("ant/400", "API Error"),
    ],
)
def test_an_error_in_its_own_words(trivium: World, claude: Client, model: str, says: str) -> None:
    claude.connect("claude-code", trivium, "--model", model)
    done = result(claude("-p", "hello", "--output-format", "json"))
    assert done["is_error"]
    assert says in done["result"]


def test_a_conversation_that_is_too_long_is_known_as_that(trivium: World, claude: Client) -> None:
    claude.connect("claude-code", trivium, "--model", "oai/400-context")
    done = result(claude("-p", "hello", "--output-format", "json"))
    assert done["result"].startswith("Prompt is too long")


@everywhere
def test_leaving_it_stops_the_upstream(trivium: World, claude: Client, at: str) -> None:
    model = f"gap-30{PROVIDERS.index(at)}"
    claude.connect("claude-code", trivium, "--model", f"{at}/{model}")
    words = [*claude.command, "-p", "hello", "--output-format", "stream-json", "--verbose"]
    process = subprocess.Popen(
        words, env=environment(claude.home), cwd=claude.work, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
    )
    with process:
        trivium.upstream.wait_until(lambda: any(seen.model == model for seen in trivium.upstream.requests), 30)
        process.send_signal(signal.SIGINT)
    trivium.await_cancelled(model)


# ---- the embedded model


def test_the_embedded_model_cannot_take_its_tools(trivium: World, claude: Client) -> None:
    claude.connect("claude-code", trivium, "--model", LOCAL)
    done = result(claude("-p", "hello", "--output-format", "json"))
    assert (done["api_error_status"], done["api_error_type"]) == (400, "invalid_request_error")
    assert "needs tools" in done["result"]


def test_the_embedded_model_says_when_it_is_too_much(trivium: World, claude: Client) -> None:
    claude.connect("claude-code", trivium, "--model", LOCAL)
    words = ("--tools", "", "--append-system-prompt", "word " * 10_000, "--output-format", "json")
    done = result(claude("-p", "hello", *words))
    assert done["api_error_status"] == 400
    assert done["result"].startswith("Prompt is too long")
    assert "8192" in done["result"]


@pytest.mark.long
def test_the_embedded_model_answers_one_turn(trivium: World, claude: Client) -> None:
    """Some 1,700 tokens, which take seconds to read; the model ends by itself or at this limit."""
    claude.connect("claude-code", trivium, "--model", LOCAL)
    words = ("--tools", "", "--system-prompt", "Be brief.", "--output-format", "json")
    done = result(claude("-p", "hello", *words, env={"CLAUDE_CODE_MAX_OUTPUT_TOKENS": "64"}))
    said = done["modelUsage"][LOCAL]
    assert said["outputTokens"] > 0
    assert said["inputTokens"] + said["cacheReadInputTokens"] > 500
