"""Bad input over HTTP: a 4xx in the caller's dialect with what is wrong and what to do; never a 500."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest

from acceptance.world import World
from support import DIALECTS, PATHS, Dialect, Raw, body, read_raw, request_bytes

GOOD = body("oai/ok")


def send(world: World, path: str, payload: bytes, headers: dict[str, str] | None = None, method: str = "POST") -> Raw:
    with socket.create_connection(("127.0.0.1", world.served.port), timeout=10) as sock:
        sock.sendall(request_bytes(path, payload, headers, method))
        return read_raw(sock)


def told(raw: Raw, dialect: Dialect) -> str:
    """The message of an error, after its envelope was checked."""
    answer: Any = json.loads(raw.payload)
    error = answer["error"]
    assert isinstance(error["message"], str)
    assert isinstance(error["type"], str)
    if dialect == "anthropic_messages":
        assert answer["type"] == "error"
        assert answer["request_id"]
    else:
        assert {"message", "type", "param", "code"} <= error.keys()
    assert raw.header("content-type") == "application/json"
    assert raw.header("x-request-id")
    assert "Traceback" not in error["message"]
    return error["message"]


def with_(**more: Any) -> bytes:
    return json.dumps(GOOD | more).encode()


def without(name: str) -> bytes:
    return json.dumps({key: value for key, value in GOOD.items() if key != name}).encode()


DEEP = 100_000
PAYLOADS: dict[str, tuple[bytes, int]] = {
    "empty": (b"", 400),
    "not-json": (b"hello", 400),
    "cut-json": (json.dumps(GOOD).encode()[:-5], 400),
    "trailing": (json.dumps(GOOD).encode() + b"}", 400),
    "array": (b"[]", 400),
    "null": (b"null", 400),
    "no-model": (without("model"), 400),
    "model-number": (with_(model=7), 400),
    "model-null": (with_(model=None), 400),
    "model-empty": (with_(model=""), 400),
    "model-bare": (with_(model="gpt-nope"), 404),
    "model-prefix": (with_(model="nobody/gpt"), 404),
    "model-control": (with_(model="a\r\nx: y\u0000"), 404),
    "no-messages": (without("messages"), 400),
    "messages-empty": (with_(messages=[]), 400),
    "messages-text": (with_(messages="hi"), 400),
    "messages-null": (with_(messages=None), 400),
    "message-number": (with_(messages=[7]), 400),
    "content-number": (with_(messages=[{"role": "user", "content": 7}]), 400),
    "stream-text": (with_(stream="yes"), 400),
    "max-tokens-text": (with_(max_tokens="many"), 400),
    "deep": (b'{"model":"oai/ok","messages":' + b"[" * DEEP + b"]" * DEEP + b"}", 400),
    "deep-extra": (with_()[:-1] + b',"x":' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"}", 400),
    "invalid-utf8": (with_().replace(b"Louvre", b"Lou\xff\xfe"), 400),
    "invalid-utf8-model": (with_().replace(b"oai/ok", b"oai/\xff"), 400),
    "data-class": (with_(trivium={"data_class": "secret"}), 400),
    "trivium-text": (with_(trivium="strict"), 400),
}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", PAYLOADS)
def test_a_bad_body(trivium: World, dialect: Dialect, name: str) -> None:
    payload, status = PAYLOADS[name]
    raw = send(trivium, PATHS[dialect], payload)
    message = told(raw, dialect)
    assert raw.status == status, message
    assert len(message) > 10
    if name.startswith("model-bare"):
        assert "gpt-nope" in message
        assert "provider/model" in message


ACROSS = {
    "messages-text": with_(messages="hi"),
    "messages-empty": with_(messages=[]),
    "role-unknown": with_(messages=[{"role": "wizard", "content": "hi"}]),
    "content-number": with_(messages=[{"role": "user", "content": 7}]),
    "tools-text": with_(tools="hammer"),
    "tools-numbers": with_(tools=[1, 2]),
    "temperature-text": with_(temperature="hot"),
    "stop-object": with_(stop={"a": 1}, stop_sequences={"a": 1}),
    "huge-number": with_()[:-1] + b',"temperature":1e999}',
    "deep-schema": with_()[:-1] + b',"tools":' + b"[" * DEEP + b"]" * DEEP + b"}",
    "invalid-utf8": with_().replace(b"Louvre", b"Lou\xff\xfe"),
}
"""For a request that is translated, so that all of it is read."""


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", ACROSS)
def test_a_bad_body_that_is_translated(trivium: World, dialect: Dialect, name: str) -> None:
    other = b"ant/ok" if dialect == "openai_chat" else b"oai/ok"
    raw = send(trivium, PATHS[dialect], ACROSS[name].replace(b"oai/ok", other))
    assert (raw.status, len(told(raw, dialect)) > 10) == (400, True), raw.payload


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "payload",
    [
        with_()[:-1] + b',"model":"oai/echo","stream":false}',
        with_()[:-1] + b',"seed":123456789012345678901234567890,"x":1e308}',
        with_()[:-1] + b',"messages":[{"role":"user","content":"other"}]}',
        with_(max_tokens=10**30),
    ],
    ids=["duplicate-model", "huge-number", "duplicate-messages", "huge-limit"],
)
@pytest.mark.parametrize("at", [b"oai", b"ant"])
def test_odd_but_harmless(trivium: World, dialect: Dialect, payload: bytes, at: bytes) -> None:
    raw = send(trivium, PATHS[dialect], payload.replace(b"oai/", at + b"/"))
    assert raw.status in (200, 400), raw.payload
    if raw.status == 400:
        told(raw, dialect)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("headers", "status", "said"),
    [
        ({"content-type": "text/plain"}, 415, "application/json"),
        ({"content-type": ""}, 415, "application/json"),
        ({"content-type": "multipart/form-data; boundary=x"}, 415, "application/json"),
        ({"host": "evil.example"}, 403, "hosts"),
        ({"host": "127.0.0.1.evil.example:3333"}, 403, "hosts"),
        ({"host": "localhost:1@evil.example"}, 403, "hosts"),
        ({"host": "[::1]evil.example"}, 403, "hosts"),
        ({"host": "localhost:evil"}, 403, "hosts"),
        ({"origin": "https://evil.example"}, 403, "cors_origins"),
        ({"origin": "null"}, 403, "cors_origins"),
        ({"x-trivium-data-class": "cellar"}, 400, "premises"),
        ({"x-trivium-timeout": "soon"}, 400, "seconds"),
        ({"x-trivium-timeout": "0"}, 400, "seconds"),
        ({"x-trivium-strict": "perhaps"}, 400, "x-trivium-strict"),
    ],
)
def test_bad_headers(trivium: World, dialect: Dialect, headers: dict[str, str], status: int, said: str) -> None:
    before = trivium.upstream.count()
    raw = send(trivium, PATHS[dialect], with_(), headers)
    assert said in told(raw, dialect)
    assert raw.status == status
    assert raw.header("access-control-allow-origin") is None
    assert trivium.upstream.count() == before


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_body_or_head_that_is_too_large(trivium: World, dialect: Dialect) -> None:
    raw = send(trivium, PATHS[dialect], b"", {"content-length": str(10**10)})
    assert raw.status == 413
    assert "bytes" in told(raw, dialect)
    raw = send(trivium, PATHS[dialect], with_(), {"x-long": "a" * 70_000})
    assert raw.status == 431
    assert "head is longer" in told(raw, dialect)


@pytest.mark.parametrize(
    ("path", "method", "status", "dialect", "said"),
    [
        ("/v1/nothing", "POST", 404, "openai_chat", "/v1/nothing"),
        ("/v1/v1/chat/completions", "POST", 404, "openai_chat", "doubled"),
        ("/v1/messages/nothing", "POST", 404, "anthropic_messages", "/v1/messages/nothing"),
        ("/v1/v1/messages", "POST", 404, "anthropic_messages", "doubled"),
        ("/v1/chat/completions", "GET", 405, "openai_chat", "POST"),
        ("/v1/messages", "GET", 405, "anthropic_messages", "POST"),
        ("/v1/models", "POST", 405, "openai_chat", "GET"),
        ("/v1/plan", "GET", 405, "openai_chat", "POST"),
        ("/%00%ff/../../etc/passwd", "GET", 404, "openai_chat", "There is no"),
        ("/v1/chat/completions/", "POST", 404, "openai_chat", "There is no"),
    ],
)
def test_a_bad_path(trivium: World, path: str, method: str, status: int, dialect: Dialect, said: str) -> None:
    raw = send(trivium, path, with_() if method == "POST" else b"", method=method)
    assert said in told(raw, dialect)
    assert raw.status == status
    if status == 405:
        assert said in (raw.header("allow") or "")


@pytest.mark.parametrize("name", ["not-json", "deep", "messages-empty", "model-bare", "invalid-utf8"])
def test_a_bad_body_to_plan(trivium: World, name: str) -> None:
    payload, status = PAYLOADS[name]
    raw = send(trivium, "/v1/plan", payload)
    told(raw, "openai_chat")
    assert raw.status == status


def test_a_preflight_of_a_foreign_page_gets_nothing(trivium: World) -> None:
    raw = send(trivium, "/v1/models", b"", {"origin": "https://evil.example"}, method="OPTIONS")
    assert raw.status == 403
    assert raw.header("access-control-allow-origin") is None
