"""The fake upstream's Responses API: true to the vendor's types, and every fault in it."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai.types.responses import Response, ResponseStreamEvent

from sdk_types import judge
from support import Raw, read_raw, request_bytes
from trivium.dialects import get
from trivium.errors import TriviumError, UpstreamContextLength, UpstreamOverloaded, UpstreamQuotaExhausted
from trivium.testing import FakeUpstream, answers, faults
from trivium.testing.openai_responses import HELD
from trivium.types.event import End, Event, Failure
from trivium.types.message import Text
from trivium.types.response import fold
from trivium.wire.sse import SSEParser

DIALECT = get("openai_responses")
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOLS = [{"type": "function", "name": name, "parameters": SCHEMA, "strict": False} for name in ("now", "then")]
KINDS = ["ok", "echo", "tool", "tools2", "reasoning", "cached", "cached+reasoning+tools2"]


@pytest.fixture(scope="module")
def up() -> Iterator[FakeUpstream]:
    with FakeUpstream(time_scale=1000) as server:
        yield server


def ask(up: FakeUpstream, model: str, *, stream: bool = False, quiet_s: float = 5, **more: Any) -> Raw:
    body = {"model": model, "input": "Where?", "stream": stream, **more}
    with socket.create_connection(("127.0.0.1", up.port), 10) as sock:
        sock.sendall(request_bytes("/v1/responses", json.dumps(body).encode()))
        return read_raw(sock, quiet_s)


@pytest.mark.parametrize("model", KINDS)
@pytest.mark.parametrize("more", [{}, {"max_output_tokens": 2}])
def test_answers_are_of_the_vendors_types(up: FakeUpstream, model: str, more: dict[str, Any]) -> None:
    judge(Response).validate_json(ask(up, model, tools=TOOLS, **more).body, strict=True)
    raw = ask(up, model, tools=TOOLS, stream=True, **more)
    assert raw.header("content-type") == "text/event-stream; charset=utf-8"
    for number, frame in enumerate(SSEParser().feed(raw.payload)):
        event = json.loads(frame.data)
        event.pop("obfuscation", None)  # it is documented, and of no type
        judge(ResponseStreamEvent).validate_json(json.dumps(event), strict=True)
        assert (event["type"], event["sequence_number"]) == (frame.event, number)


@pytest.mark.parametrize("model", KINDS)
def test_a_stream_says_what_the_whole_answer_says(up: FakeUpstream, model: str) -> None:
    whole = fold(DIALECT.decode_answer(ask(up, model, tools=TOOLS).body))
    stream = fold(DIALECT.decoder().feed(ask(up, model, tools=TOOLS, stream=True).payload))
    assert (whole.usage, whole.finish_reason, whole.text) == (stream.usage, stream.finish_reason, stream.text)
    assert [(call.name, call.arguments) for call in whole.tool_calls] == [
        (call.name, call.arguments) for call in stream.tool_calls
    ]
    assert ("tool" in model) == bool(whole.tool_calls)


def test_what_is_asked_is_understood(up: FakeUpstream) -> None:
    def said(**more: Any) -> str:
        return fold(DIALECT.decode_answer(ask(up, "ok", **more).body)).text

    image = {"type": "input_image", "image_url": "https://a.test/a.png", "detail": "auto"}
    result = {"type": "function_call_output", "call_id": "c", "output": "18 degrees"}
    assert said() == answers.TEXT
    assert said(input=[{"role": "user", "content": [image, {"type": "input_text", "text": "?"}]}]).startswith("I see 1")
    assert said(input=[result]) == "The tool says: 18 degrees"
    form = {"type": "json_schema", "name": "w", "schema": SCHEMA}
    assert said(text={"format": form}) == '{"city":"Paris"}'
    assert said(previous_response_id=HELD) == answers.TEXT
    cut = json.loads(ask(up, "ok", max_output_tokens=2).body)
    assert (cut["status"], cut["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert json.loads(ask(up, "tool", tools=TOOLS, tool_choice="none").body)["output"][0]["type"] == "message"


@pytest.mark.parametrize("more", [{"input": []}, {"input": None}, {"input": 3}, {"previous_response_id": "resp_x"}])
def test_what_cannot_be_answered_is_refused(up: FakeUpstream, more: dict[str, Any]) -> None:
    raw = ask(up, "ok", **more)
    assert raw.status == 400
    assert json.loads(raw.body)["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("model", "status", "leaf"),
    [("400-context", 400, UpstreamContextLength), ("quota", 429, UpstreamQuotaExhausted), ("529", 529, None)],
)
def test_errors_in_its_words(up: FakeUpstream, model: str, status: int, leaf: type[TriviumError] | None) -> None:
    raw = ask(up, model)
    assert raw.status == status
    assert type(DIALECT.decode_error(raw.status, raw.body)) is (leaf or UpstreamOverloaded)


def test_the_vendors_client_understands_it(up: FakeUpstream) -> None:
    with openai.OpenAI(base_url=up.base_url, api_key="any", max_retries=0) as client:
        assert client.responses.create(model="ok", input="Where?").output_text == answers.TEXT
        with client.responses.stream(model="reasoning", input="Where?") as events:
            assert events.get_final_response().output_text == answers.TEXT
        with pytest.raises(openai.NotFoundError):
            client.responses.create(model="404", input="Where?")


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("fault", faults.FAULTS, ids=lambda fault: fault.name)
def test_every_fault_is_survived(up: FakeUpstream, fault: faults.Fault, *, stream: bool) -> None:
    model = fault.name.replace("{n}", "2")
    body = {"model": model, "input": "Where?", "stream": stream}
    with socket.create_connection(("127.0.0.1", up.port), 30) as sock:
        sock.sendall(request_bytes("/v1/responses", json.dumps(body).encode()))
        try:
            sock.recv(1000)
        except ConnectionResetError:
            assert "rst" in model
    assert ask(up, "ok").status == 200


def heard(raw: Raw) -> list[Event]:
    decoder = DIALECT.decoder()
    return decoder.feed(raw.payload) + decoder.close()


WHOLE = ["comments", "crlf", "cr", "mixed-newlines", "bom", "utf8-split", "unknown-event", "malformed-chunk"]
CUT = ["cut-after-2", "clean-cut-after-2", "close-cut-after-2", "no-done", "cut-before-content"]


@pytest.mark.parametrize("model", WHOLE)
def test_an_answer_with_something_odd_beside_it_is_whole(up: FakeUpstream, model: str) -> None:
    raw = ask(up, model, stream=True)
    events = heard(raw)
    assert events[-1] == End()
    said = Text(answers.UNICODE if model == "utf8-split" else answers.TEXT)
    assert fold(events).choices[0].message.parts == (said,)
    meter = DIALECT.meter(True)
    passed = meter.feed(raw.payload)
    assert (meter.complete, meter.malformed) == (True, int(model == "malformed-chunk"))
    assert raw.payload.startswith(passed) == (model != "malformed-chunk")


@pytest.mark.parametrize("model", CUT)
def test_a_cut_answer_has_no_end(up: FakeUpstream, model: str) -> None:
    raw = ask(up, model, stream=True)
    assert not any(isinstance(event, End | Failure) for event in heard(raw))
    meter = DIALECT.meter(True)
    meter.feed(raw.payload)
    assert (meter.close(), meter.complete, meter.error) == (b"", False, None)


@pytest.mark.parametrize("model", ["error-first-event", "error-midstream-2", "no-finish", "zero-choices"])
def test_an_error_in_a_stream_ends_it(up: FakeUpstream, model: str) -> None:
    raw = ask(up, model, stream=True)
    failure = heard(raw)[-1]
    assert isinstance(failure, Failure)
    assert failure.error.kind == ("upstream_overloaded" if "error" in model else "upstream_protocol_error")
    meter = DIALECT.meter(True)
    passed = meter.feed(raw.payload)
    assert (type(meter.error), meter.complete) == (type(failure.error), False)
    assert b"event: error" not in passed
    assert b"response.completed" not in passed


@pytest.mark.parametrize("model", ["error-200", "error-midstream-2", "zero-choices", "empty", "html-as-json"])
def test_a_whole_answer_that_is_none_is_an_error(up: FakeUpstream, model: str) -> None:
    for read in (DIALECT.read_answer, DIALECT.decode_answer):
        with pytest.raises(TriviumError):
            read(ask(up, model).body)
