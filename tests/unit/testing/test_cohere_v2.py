"""The fake upstream's Chat API of Cohere: true to the vendor's types, and every fault in it."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import cohere
import pytest
from cohere.v2.types.v2chat_response import V2ChatResponse

from cohere_help import check_strictly, stream_event
from support import Raw, read_raw, request_bytes
from trivium.dialects import get
from trivium.errors import TriviumError, UpstreamContextLength, UpstreamOverloaded, UpstreamQuotaExhausted
from trivium.testing import FakeUpstream, answers, faults
from trivium.types.event import End, Event, Failure
from trivium.types.message import Text
from trivium.types.response import fold
from trivium.wire.sse import SSEParser

DIALECT = get("cohere_v2")
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOLS = [{"type": "function", "function": {"name": name, "parameters": SCHEMA}} for name in ("now", "then")]
KINDS = ["ok", "echo", "tool", "tools2", "reasoning", "cached", "cached+reasoning+tools2"]


@pytest.fixture(scope="module")
def up() -> Iterator[FakeUpstream]:
    with FakeUpstream(time_scale=1000) as server:
        yield server


def ask(up: FakeUpstream, model: str, *, stream: bool = False, quiet_s: float = 5, **more: Any) -> Raw:
    body = {"model": model, "messages": [{"role": "user", "content": "Where?"}], "stream": stream, **more}
    with socket.create_connection(("127.0.0.1", up.port), 10) as sock:
        sock.sendall(request_bytes("/v2/chat", json.dumps(body).encode()))
        return read_raw(sock, quiet_s)


def events_of(payload: bytes) -> list[Any]:
    data = [frame.data for frame in SSEParser().feed(payload)]
    assert data.pop() == b"[DONE]"
    return [stream_event(said) for said in data]


@pytest.mark.parametrize("model", KINDS)
def test_answers_are_of_the_vendors_types(up: FakeUpstream, model: str) -> None:
    check_strictly(V2ChatResponse, json.loads(ask(up, model, tools=TOOLS).body), beyond=())
    raw = ask(up, model, tools=TOOLS, stream=True)
    events = events_of(raw.payload)
    assert raw.header("content-type") == "text/event-stream; charset=utf-8"
    assert (events[0].type, events[-1].type) == ("message-start", "message-end")


@pytest.mark.parametrize("model", KINDS)
def test_a_stream_says_what_the_whole_answer_says(up: FakeUpstream, model: str) -> None:
    whole = fold(DIALECT.decode_answer(ask(up, model, tools=TOOLS).body))
    stream = fold(DIALECT.decoder().feed(ask(up, model, tools=TOOLS, stream=True).payload))
    assert whole.usage == stream.usage
    assert whole.finish_reason == stream.finish_reason
    assert whole.text == stream.text
    assert [(call.name, call.arguments) for call in whole.tool_calls] == [
        (call.name, call.arguments) for call in stream.tool_calls
    ]
    assert ("tool" in model) == bool(whole.tool_calls)


def test_what_is_asked_is_understood(up: FakeUpstream) -> None:
    def said(**more: Any) -> str:
        return fold(DIALECT.decode_answer(ask(up, "ok", **more).body)).text

    url = {"type": "image_url", "image_url": {"url": "https://a.test/a.png"}}
    result = {"type": "document", "document": {"data": {"snippet": "18 degrees"}}}
    assert said() == answers.TEXT
    assert said(messages=[{"role": "user", "content": [url, {"type": "text", "text": "?"}]}]).startswith(
        "I see 1 image"
    )
    assert said(messages=[{"role": "tool", "tool_call_id": "c", "content": [result]}]) == "The tool says: 18 degrees"
    assert said(response_format={"type": "json_object", "json_schema": SCHEMA}) == '{"city":"Paris"}'
    cut = json.loads(ask(up, "ok", max_tokens=2).body)
    assert (cut["finish_reason"], cut["message"]["content"][0]["text"]) == ("MAX_TOKENS", "The capital ")
    none = json.loads(ask(up, "tool", tools=TOOLS, tool_choice="NONE").body)
    assert none["finish_reason"] == "COMPLETE"


@pytest.mark.parametrize(
    ("model", "status", "words", "leaf"),
    [
        ("400-context", 400, "too many tokens", UpstreamContextLength),
        ("quota", 402, "payment", UpstreamQuotaExhausted),
        ("503", 503, "overloaded", UpstreamOverloaded),
    ],
)
def test_errors_in_its_words(up: FakeUpstream, model: str, status: int, words: str, leaf: type[TriviumError]) -> None:
    raw = ask(up, model)
    body = json.loads(raw.body)
    assert (raw.status, body.keys()) == (status, {"id", "message"})
    assert words in body["message"]
    assert type(DIALECT.decode_error(raw.status, raw.body)) is leaf


def test_the_vendors_client_understands_it(up: FakeUpstream) -> None:
    with cohere.ClientV2("any", base_url=up.origin, max_retries=0) as client:
        messages: Any = [{"role": "user", "content": "Where?"}]
        done: Any = client.chat(model="ok", messages=messages)
        assert done.message.content[0].text == answers.TEXT
        stream: Any = client.chat_stream(model="ok", messages=messages)
        said = [event.delta.message.content.text for event in stream if event.type == "content-delta"]
        assert "".join(said) == answers.TEXT
        with pytest.raises(cohere.errors.NotFoundError, match="not found"):
            client.chat(model="404", messages=messages)
        listed: Any = client.models.list(page_size=100)
        assert "ok" in [model.name for model in listed.models]


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("fault", faults.FAULTS, ids=lambda fault: fault.name)
def test_every_fault_is_survived(up: FakeUpstream, fault: faults.Fault, *, stream: bool) -> None:
    model = fault.name.replace("{n}", "2")
    body = {"model": model, "messages": [{"role": "user", "content": "Where?"}], "stream": stream}
    with socket.create_connection(("127.0.0.1", up.port), 5) as sock:
        sock.sendall(request_bytes("/v2/chat", json.dumps(body).encode()))
        try:
            sock.recv(1000)
        except ConnectionResetError:
            assert "rst" in model
    assert ask(up, "ok").status == 200


def heard(raw: Raw) -> list[Event]:
    decoder = DIALECT.decoder()
    return decoder.feed(raw.payload) + decoder.close()


WHOLE = ["no-done", "comments", "crlf", "cr", "mixed-newlines", "bom", "utf8-split", "unknown-event", "malformed-chunk"]
CUT = ["cut-after-2", "clean-cut-after-2", "close-cut-after-2", "no-finish", "cut-before-content", "zero-choices"]


@pytest.mark.parametrize("model", WHOLE)
def test_an_answer_with_something_odd_beside_it_is_whole(up: FakeUpstream, model: str) -> None:
    events = heard(ask(up, model, stream=True))
    assert events[-1] == End()
    said = Text(answers.UNICODE if model == "utf8-split" else answers.TEXT)
    assert fold(events).choices[0].message.parts == (said,)


@pytest.mark.parametrize("model", CUT)
def test_a_cut_answer_has_no_end(up: FakeUpstream, model: str) -> None:
    assert not any(isinstance(event, End | Failure) for event in heard(ask(up, model, stream=True)))


@pytest.mark.parametrize("model", ["error-first-event", "error-midstream-2"])
def test_an_error_in_a_stream_ends_it(up: FakeUpstream, model: str) -> None:
    failure = heard(ask(up, model, stream=True))[-1]
    assert isinstance(failure, Failure)
    assert type(failure.error) is UpstreamOverloaded


@pytest.mark.parametrize("model", ["error-200", "error-midstream-2", "zero-choices", "empty", "html-as-json"])
def test_a_whole_answer_that_is_none_is_an_error(up: FakeUpstream, model: str) -> None:
    with pytest.raises(TriviumError):
        DIALECT.read_answer(ask(up, model).body)
