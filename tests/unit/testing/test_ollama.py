"""The fake upstream speaks Ollama's API: strictly by the client's types, and with faults that suit lines."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import ollama
import pytest
from ollama import ChatResponse, GenerateResponse

from support import Raw, read_raw, request_bytes
from trivium.testing import FakeUpstream, answers, faults

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOLS = [{"type": "function", "function": {"name": name, "parameters": SCHEMA}} for name in ("now", "then")]
ASKED: dict[str, dict[str, Any]] = {
    "/api/chat": {"messages": [{"role": "user", "content": "Where is the Louvre?"}]},
    "/api/generate": {"prompt": "Where is the Louvre?"},
}
TYPES: dict[str, Any] = {"/api/chat": ChatResponse, "/api/generate": GenerateResponse}
both = pytest.mark.parametrize("path", ASKED)
modes = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])


@pytest.fixture(scope="module")
def up() -> Iterator[FakeUpstream]:
    with FakeUpstream(time_scale=1000) as server:
        yield server


def ask(up: FakeUpstream, path: str, model: str, quiet_s: float = 10, **more: Any) -> Raw:
    payload = json.dumps({"model": model, **ASKED[path], **more}).encode()
    with socket.create_connection(("127.0.0.1", up.port), 5) as sock:
        sock.sendall(request_bytes(path, payload))
        return read_raw(sock, quiet_s)


def text_of(path: str, line: Any) -> str:
    return (line.message.content if path == "/api/chat" else line.response) or ""


@both
@pytest.mark.parametrize("model", ["ok", "echo", "cached", "reasoning", "tool", "tools2-reasoning", "ok-3"])
def test_answers_fit_the_clients_types(up: FakeUpstream, path: str, model: str) -> None:
    more: dict[str, Any] = {"tools": TOOLS} if path == "/api/chat" else {}
    whole = TYPES[path].model_validate_json(ask(up, path, model, stream=False, **more).payload, strict=True)
    raw = ask(up, path, model, **more)
    assert raw.header("content-type") == "application/x-ndjson"
    lines = [TYPES[path].model_validate_json(line, strict=True) for line in raw.payload.splitlines()]
    assert [line.done for line in lines] == [*[False] * (len(lines) - 1), True]
    assert "".join(text_of(path, line) for line in lines) == text_of(path, whole)
    last = lines[-1]
    assert (last.done_reason, last.eval_count) == ("stop", whole.eval_count)
    assert last.eval_duration > 0
    assert len({line.created_at for line in lines}) == len(lines)
    if path == "/api/chat" and "tool" in model:
        calls = [call for line in lines for call in line.message.tool_calls or ()]
        assert calls == list(whole.message.tool_calls)
        assert [call.function.name for call in calls] == ["now", "then"][: len(calls)]


def test_the_clients_own_words(up: FakeUpstream) -> None:
    client = ollama.Client(host=up.origin)
    chat = ASKED["/api/chat"]["messages"]
    assert client.chat(model="ok", messages=chat).message.content == answers.TEXT
    assert client.generate(model="echo", prompt="again").response == "again"
    cut = client.chat(model="ok", messages=chat, options={"num_predict": 2})
    assert (cut.done_reason, cut.eval_count) == ("length", 2)
    formed = client.chat(model="ok", messages=chat, format=SCHEMA)
    assert json.loads(formed.message.content or "") == {"city": "Paris"}
    shown = client.chat(model="ok", messages=[{"role": "user", "content": "x", "images": [b"png"]}])
    assert (shown.message.content or "").startswith("I see 1 image.")
    told = [*chat, {"role": "tool", "content": "18 degrees", "tool_name": "now"}]
    assert client.chat(model="ok", messages=told).message.content == "The tool says: 18 degrees"
    with pytest.raises(ollama.ResponseError, match="does not exist") as caught:
        client.chat(model="404", messages=chat)
    assert caught.value.status_code == 404
    client.close()


@both
@modes
@pytest.mark.parametrize("fault", faults.FAULTS, ids=lambda fault: fault.name)
def test_every_fault_is_survived(up: FakeUpstream, fault: faults.Fault, path: str, *, stream: bool) -> None:
    model = fault.name.replace("{n}", "2")
    payload = json.dumps({"model": model, **ASKED[path], "stream": stream}).encode()
    with socket.create_connection(("127.0.0.1", up.port), 5) as sock:
        sock.sendall(request_bytes(path, payload))
        try:
            sock.recv(1000)
        except ConnectionResetError:
            assert "rst" in model
    assert ask(up, path, "ok").status == 200


DONE = b'"done":true'


@pytest.mark.parametrize(
    ("model", "holds", "done"),
    [
        ("no-done", b"", True),
        ("no-finish", b"", False),
        ("clean-cut-after-2", b"", False),
        ("zero-choices", b"", False),
        ("unknown-event", b'{"type": "weather", "sky": "blue"}\n', True),
        ("event-without-data", b"\n{}\n", True),
        ("malformed-chunk", b'\n{"message": {"content": \n', True),
        ("comments", b"\n\n", True),
        ("comments-after-2", b"\n" * 120, False),
        ("crlf", b"}\r\n", True),
        ("cr", b"}\r\n", True),
        ("mixed-newlines", b"}\r\n{", True),
        ("error-midstream-2", b'\n{"error":"Overloaded"}\n', False),
        ("error-first-event", b'{"error":"Overloaded"}\n', False),
    ],
)
def test_faults_are_made_of_lines(up: FakeUpstream, model: str, holds: bytes, done: bool) -> None:
    payload = ask(up, "/api/chat", model).payload
    assert holds in payload
    assert (DONE in payload) == done
    assert b"data:" not in payload
