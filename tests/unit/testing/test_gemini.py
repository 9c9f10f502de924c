"""The fake upstream's Gemini: true to the vendor's types, its client and every fault in it."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from google import genai
from google.genai import errors, types

from gemini_help import check_answer, check_request
from support import Raw, read_raw, request_bytes
from trivium.dialects import get
from trivium.errors import (
    TriviumError,
    UpstreamAuthError,
    UpstreamContextLength,
    UpstreamOverloaded,
    UpstreamProtocolError,
    UpstreamQuotaExhausted,
    UpstreamRefused,
    UpstreamServerError,
)
from trivium.testing import FakeUpstream, answers, faults
from trivium.types.event import End, Event, Failure
from trivium.types.message import Text
from trivium.types.response import fold
from trivium.wire.sse import SSEParser

DIALECT = get("gemini")
ASK = [{"role": "user", "parts": [{"text": "Where?"}]}]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOLS = [{"functionDeclarations": [{"name": name, "parametersJsonSchema": SCHEMA} for name in ("now", "then")]}]
KINDS = ["ok", "echo", "tool", "tools2", "reasoning", "cached", "cached+reasoning+tools2"]


@pytest.fixture(scope="module")
def up() -> Iterator[FakeUpstream]:
    with FakeUpstream(time_scale=1000) as server:
        yield server


def ask(up: FakeUpstream, model: str, *, stream: bool = False, quiet_s: float = 5, **more: Any) -> Raw:
    path = f"/v1beta/models/{model}:{'streamGenerateContent?alt=sse' if stream else 'generateContent'}"
    body = json.dumps({"contents": ASK} | more).encode()
    check_request(body)
    with socket.create_connection(("127.0.0.1", up.port), 10) as sock:
        sock.sendall(request_bytes(path, body))
        return read_raw(sock, quiet_s)


def heard(payload: bytes) -> list[Event]:
    decoder = DIALECT.decoder()
    return decoder.feed(payload) + decoder.close()


@pytest.mark.parametrize("model", KINDS)
@pytest.mark.parametrize("n", [1, 2])
def test_answers_are_of_the_vendors_types(up: FakeUpstream, model: str, n: int) -> None:
    config = {"candidateCount": n}
    check_answer(ask(up, model, tools=TOOLS, generationConfig=config).body)
    raw = ask(up, model, tools=TOOLS, stream=True, generationConfig=config)
    chunks = [check_answer(frame.data) for frame in SSEParser().feed(raw.payload)]
    assert raw.header("content-type") == "text/event-stream; charset=utf-8"
    assert [bool(chunk.candidates and chunk.candidates[0].finish_reason) for chunk in chunks] == [
        *[False] * (len(chunks) - 1),
        True,
    ]


@pytest.mark.parametrize("model", KINDS)
def test_a_stream_says_what_the_whole_answer_says(up: FakeUpstream, model: str) -> None:
    whole = fold(DIALECT.decode_answer(ask(up, model, tools=TOOLS).body))
    stream = fold(heard(ask(up, model, tools=TOOLS, stream=True).payload))
    assert (whole.usage, whole.finish_reason, whole.text) == (stream.usage, stream.finish_reason, stream.text)
    assert [(call.name, call.arguments, call.signature) for call in whole.tool_calls] == [
        (call.name, call.arguments, call.signature) for call in stream.tool_calls
    ]
    assert ("tool" in model) == bool(whole.tool_calls)


def test_what_is_asked_is_understood(up: FakeUpstream) -> None:
    def said(**more: Any) -> str:
        return fold(DIALECT.decode_answer(ask(up, "ok", **more).body)).text

    url = {"fileData": {"fileUri": "https://a.test/a.png", "mimeType": "image/png"}}
    result = {"functionResponse": {"name": "now", "response": {"output": "18 degrees"}}}
    upper = {"type": "OBJECT", "properties": {"city": {"type": "STRING"}}}
    assert said() == answers.TEXT
    assert said(contents=[{"role": "user", "parts": [url, {"text": "?"}]}]).startswith("I see 1 image")
    assert said(contents=[{"role": "user", "parts": [result]}]) == "The tool says: 18 degrees"
    for schema in ({"responseJsonSchema": SCHEMA}, {"responseSchema": upper}):
        assert said(generationConfig={"responseMimeType": "application/json", **schema}) == '{"city":"Paris"}'
    assert said(generationConfig={"responseMimeType": "application/json"}) == "{}"
    snake = [{"inline_data": {"mime_type": "image/png", "data": "AAAA"}}, {"text": "?"}]
    assert said(contents=[{"role": "user", "parts": snake}]).startswith("I see 1 image")
    cut = check_answer(ask(up, "ok", generationConfig={"maxOutputTokens": 2}).body)
    assert (cut.text, cut.candidates and cut.candidates[0].finish_reason) == ("The capital ", "MAX_TOKENS")
    none = {"functionCallingConfig": {"mode": "NONE"}}
    assert not check_answer(ask(up, "tool", tools=TOOLS, toolConfig=none).body).function_calls


def test_model_and_stream_come_from_the_path(up: FakeUpstream) -> None:
    up.reset()
    ask(up, "google/a:b", stream=True)
    assert up.count(model="google/a:b") == 1
    path, body = "/v1beta/models/ok:streamGenerateContent", json.dumps({"contents": ASK, "model": "models/x"}).encode()
    with socket.create_connection(("127.0.0.1", up.port), 10) as sock:
        sock.sendall(request_bytes(path, body))
        assert read_raw(sock, 5).status == 404  # without `alt=sse` it would be another wire
    assert up.requests[-1].model == "ok"


@pytest.mark.parametrize(
    ("model", "status", "word", "leaf"),
    [
        ("400-context", 400, "INVALID_ARGUMENT", UpstreamContextLength),
        ("401", 400, "INVALID_ARGUMENT", UpstreamAuthError),
        ("quota", 429, "RESOURCE_EXHAUSTED", UpstreamQuotaExhausted),
        ("529", 503, "UNAVAILABLE", UpstreamOverloaded),
        ("504", 504, "DEADLINE_EXCEEDED", UpstreamServerError),
        ("503", 503, "UNAVAILABLE", UpstreamOverloaded),
    ],
)
def test_errors_in_its_words(up: FakeUpstream, model: str, status: int, word: str, leaf: type[TriviumError]) -> None:
    raw = ask(up, model)
    error = json.loads(raw.body)["error"]
    assert (raw.status, error["code"], error["status"]) == (status, status, word)
    assert type(DIALECT.decode_error(raw.status, raw.body)) is leaf


def test_a_filtered_prompt_is_no_error(up: FakeUpstream) -> None:
    raw = ask(up, "400-filter", stream=True)
    assert raw.status == 200
    assert check_answer(raw.body).prompt_feedback
    with pytest.raises(UpstreamRefused):
        DIALECT.read_answer(raw.body)


def test_the_vendors_client_understands_it(up: FakeUpstream) -> None:
    options = types.HttpOptions(base_url=up.origin, api_version="v1beta")
    client = genai.Client(api_key="any", http_options=options)
    assert client.models.generate_content(model="ok", contents="Where?").text == answers.TEXT
    stream = client.models.generate_content_stream(model="ok", contents="Where?")
    assert "".join(chunk.text or "" for chunk in stream) == answers.TEXT
    with pytest.raises(errors.ClientError, match="does not exist"):
        client.models.generate_content(model="404", contents="Where?")
    got: list[str] = []
    with pytest.raises(errors.ServerError):
        got.extend(
            chunk.text or "" for chunk in client.models.generate_content_stream(model="error-midstream-2", contents="?")
        )
    assert "models/ok" in [model.name for model in client.models.list()]
    client.close()


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("fault", faults.FAULTS, ids=lambda fault: fault.name)
def test_every_fault_is_survived(up: FakeUpstream, fault: faults.Fault, *, stream: bool) -> None:
    path = f"/v1beta/models/{fault.name.replace('{n}', '2')}:{'streamGenerateContent?alt=sse' * stream}"
    with socket.create_connection(("127.0.0.1", up.port), 5) as sock:
        sock.sendall(
            request_bytes(path if stream else path + "generateContent", json.dumps({"contents": ASK}).encode())
        )
        try:
            sock.recv(1000)
        except ConnectionResetError:
            assert "rst" in path
    assert ask(up, "ok").status == 200


WHOLE = ["no-done", "comments", "crlf", "cr", "mixed-newlines", "bom", "utf8-split", "unknown-event", "malformed-chunk"]
CUT = ["cut-after-2", "clean-cut-after-2", "close-cut-after-2", "no-finish", "cut-before-content", "zero-choices"]


@pytest.mark.parametrize("model", WHOLE)
def test_an_answer_with_something_odd_beside_it_is_whole(up: FakeUpstream, model: str) -> None:
    events = heard(ask(up, model, stream=True).payload)
    assert events[-1] == End()
    said = Text(answers.UNICODE if model == "utf8-split" else answers.TEXT)
    assert fold(events).choices[0].message.parts == (said,)


@pytest.mark.parametrize("model", CUT)
def test_a_cut_answer_has_no_end(up: FakeUpstream, model: str) -> None:
    assert not any(isinstance(event, End | Failure) for event in heard(ask(up, model, stream=True).payload))


@pytest.mark.parametrize("model", ["error-first-event", "error-midstream-2"])
def test_an_error_in_a_stream_ends_it(up: FakeUpstream, model: str) -> None:
    failure = heard(ask(up, model, stream=True).payload)[-1]
    assert isinstance(failure, Failure)
    assert type(failure.error) is UpstreamOverloaded


@pytest.mark.parametrize("model", ["zero-choices", "empty", "html-as-json"])
def test_a_whole_answer_that_is_none_is_an_error(up: FakeUpstream, model: str) -> None:
    with pytest.raises(UpstreamProtocolError):
        DIALECT.read_answer(ask(up, model).body)
