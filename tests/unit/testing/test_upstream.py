"""The fake upstream answers correctly: strictly by the vendors' types, and to their own clients."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from typing import Any

import anthropic
import openai
import pytest
from anthropic.types import Message, MessageTokensCount, ModelInfo, RawMessageStreamEvent
from openai.types import Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import TypeAdapter

from support import DIALECTS, PATHS, Dialect, ask_raw, body, free_port, read_raw, request_bytes
from trivium.testing import FakeUpstream, answers
from trivium.testing.problems import PROBLEMS
from trivium.testing.upstream import main

MESSAGES: Any = [{"role": "user", "content": "Where is the Louvre?"}]
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}, "unit": {"enum": ["C", "F"]}},
    "required": ["city"],
}
OPENAI_TOOLS: Any = [{"type": "function", "function": {"name": name, "parameters": SCHEMA}} for name in ("now", "then")]
ANTHROPIC_TOOLS: Any = [{"name": name, "input_schema": SCHEMA} for name in ("now", "then")]
SCENES: list[tuple[str, dict[str, Any]]] = [
    ("ok", {}),
    ("echo", {}),
    ("cached", {}),
    ("reasoning", {}),
    ("tool", {"tools": True}),
    ("tools2-reasoning", {"tools": True}),
    ("ok", {"max_tokens": 2}),
]


@pytest.fixture(scope="module")
def server():
    with FakeUpstream(time_scale=1000) as up:
        yield up


@pytest.fixture
def up(server: FakeUpstream):
    server.reset()
    return server


def options(scene: dict[str, Any], dialect: Dialect) -> dict[str, Any]:
    tools = OPENAI_TOOLS if dialect == "openai_chat" else ANTHROPIC_TOOLS
    return scene | ({"tools": tools} if "tools" in scene else {})


@pytest.mark.parametrize(("model", "scene"), SCENES)
def test_openai_answers_fit_the_vendors_types(up: FakeUpstream, model: str, scene: dict[str, Any]) -> None:
    more = options(scene, "openai_chat")
    whole = ChatCompletion.model_validate_json(ask_raw(up.port, "openai_chat", model, **more).payload, strict=True)
    assert whole.model == model
    asked = more | {"stream_options": {"include_usage": True}}
    events = data_lines(ask_raw(up.port, "openai_chat", model, stream=True, **asked).payload)
    assert events.pop() == "[DONE]"
    chunks = [ChatCompletionChunk.model_validate_json(event, strict=True) for event in events]
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]) == (
        whole.choices[0].message.content or ""
    )
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason


@pytest.mark.parametrize(("model", "scene"), SCENES)
def test_anthropic_answers_fit_the_vendors_types(up: FakeUpstream, model: str, scene: dict[str, Any]) -> None:
    more = options(scene, "anthropic_messages")
    answer = ask_raw(up.port, "anthropic_messages", model, **more)
    whole = Message.model_validate_json(answer.payload, strict=True)
    stream = ask_raw(up.port, "anthropic_messages", model, stream=True, **more)
    adapter: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
    # The vendor's union has no `ping`, though its documentation does; its client drops it by name.
    events = [adapter.validate_json(data) for data in data_lines(stream.payload) if data != '{"type":"ping"}']
    assert (events[0].type, events[-1].type) == ("message_start", "message_stop")
    assert events[-2].delta.stop_reason == whole.stop_reason
    assert events[-2].usage.output_tokens == whole.usage.output_tokens
    assert events[-2].usage.input_tokens == events[0].message.usage.input_tokens == whole.usage.input_tokens


def data_lines(stream: bytes) -> list[str]:
    return [line.removeprefix("data: ") for line in stream.decode().split("\n") if line.startswith("data: ")]


@pytest.mark.parametrize(("model", "scene"), SCENES)
def test_openais_client_folds_the_stream_to_the_whole(up: FakeUpstream, model: str, scene: dict[str, Any]) -> None:
    more = options(scene, "openai_chat")
    with openai.OpenAI(base_url=up.base_url, api_key="k", max_retries=0) as client:
        whole = client.chat.completions.create(model=model, messages=MESSAGES, **more)
        asked: Any = {"include_usage": True}
        stream = client.chat.completions.create(
            model=model, messages=MESSAGES, stream=True, stream_options=asked, **more
        )
        text, calls, usage = "", dict[int, tuple[str, str]](), None
        for part in stream:
            usage = part.usage or usage
            for choice in part.choices:
                text += choice.delta.content or ""
                for call in choice.delta.tool_calls or ():
                    name, arguments = calls.get(call.index, ("", ""))
                    assert call.function
                    calls[call.index] = name + (call.function.name or ""), arguments + (call.function.arguments or "")
    message = whole.choices[0].message
    assert text == (message.content or "")
    assert list(calls.values()) == [
        (call.function.name, call.function.arguments) for call in message.tool_calls or () if call.type == "function"
    ]
    assert usage == whole.usage


@pytest.mark.parametrize(("model", "scene"), SCENES)
def test_anthropics_client_folds_the_stream_to_the_whole(up: FakeUpstream, model: str, scene: dict[str, Any]) -> None:
    more = {"max_tokens": 1000} | options(scene, "anthropic_messages")
    with anthropic.Anthropic(base_url=up.origin, api_key="k", max_retries=0) as client:
        whole = client.messages.create(model=model, messages=MESSAGES, **more)
        with client.messages.stream(model=model, messages=MESSAGES, **more) as stream:
            folded = stream.get_final_message()
    assert [shape(block) for block in folded.content] == [shape(block) for block in whole.content]
    assert folded.stop_reason == whole.stop_reason
    assert folded.usage.output_tokens == whole.usage.output_tokens
    assert folded.usage.input_tokens == whole.usage.input_tokens
    assert folded.usage.cache_read_input_tokens == whole.usage.cache_read_input_tokens


def shape(block: Any) -> dict[str, Any]:
    kept = ("type", "text", "thinking", "signature", "name", "input")
    return {name: getattr(block, name) for name in kept if hasattr(block, name)}


def test_the_asynchronous_clients_are_served_too(up: FakeUpstream) -> None:
    async def run() -> tuple[str, str]:
        async with openai.AsyncOpenAI(base_url=up.base_url, api_key="k") as client:
            stream = await client.chat.completions.create(model="ok", messages=MESSAGES, stream=True)
            one = "".join([part.choices[0].delta.content or "" async for part in stream])
        async with (
            anthropic.AsyncAnthropic(base_url=up.origin, api_key="k") as other,
            other.messages.stream(model="ok", messages=MESSAGES, max_tokens=99) as events,
        ):
            two = await events.get_final_text()
        return one, two

    assert asyncio.run(run()) == (answers.TEXT, answers.TEXT)


def test_usage_comes_in_an_openai_stream_only_if_it_was_asked_for(up: FakeUpstream) -> None:
    assert b'"usage"' not in ask_raw(up.port, "openai_chat", "ok", stream=True).payload


def test_the_answer_follows_the_request(up: FakeUpstream) -> None:
    def text(model: str, dialect: Dialect = "openai_chat", **more: Any) -> str:
        value = json.loads(ask_raw(up.port, dialect, model, **more).payload)
        return value["choices"][0]["message"]["content"] if dialect == "openai_chat" else value["content"][0]["text"]

    assert text("echo", text="  two  blanks \n kept ") == "  two  blanks \n kept "
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    assert text("ok", messages=[{"role": "user", "content": [image, image]}]).startswith("I see 2 images.")
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}
    assert text("ok", "anthropic_messages", messages=[{"role": "user", "content": [picture]}]).startswith(
        "I see 1 image."
    )
    form = {"type": "json_schema", "json_schema": {"name": "w", "schema": SCHEMA}}
    assert json.loads(text("ok", response_format=form)) == {"city": "Paris", "days": 2, "unit": "C"}
    output = {"format": {"type": "json_schema", "schema": SCHEMA}}
    assert json.loads(text("ok", "anthropic_messages", output_config=output))["city"] == "Paris"
    done = [*MESSAGES, {"role": "tool", "tool_call_id": "1", "content": "12 degrees"}]
    assert text("tool", messages=done, tools=OPENAI_TOOLS) == "The tool says: 12 degrees"
    result = {"type": "tool_result", "tool_use_id": "1", "content": "12 degrees"}
    assert (
        text("tool", "anthropic_messages", messages=[{"role": "user", "content": [result]}], tools=ANTHROPIC_TOOLS)
        == "The tool says: 12 degrees"
    )


def test_several_choices(up: FakeUpstream) -> None:
    with openai.OpenAI(base_url=up.base_url, api_key="k") as client:
        whole = client.chat.completions.create(model="ok", messages=MESSAGES, n=3)
        stream = list(client.chat.completions.create(model="ok", messages=MESSAGES, n=3, stream=True))
    assert [choice.index for choice in whole.choices] == [0, 1, 2]
    finished = [choice.index for part in stream for choice in part.choices if choice.finish_reason]
    assert finished == [0, 1, 2]


def test_both_model_lists_fit_the_vendors_types(up: FakeUpstream) -> None:
    with openai.OpenAI(base_url=up.base_url, api_key="k") as client:
        rows = client.models.list().data
        assert [Model.model_validate(row.model_dump(), strict=True) for row in rows] == rows
    with anthropic.Anthropic(base_url=up.origin, api_key="k") as other:
        infos = list(other.models.list())
        assert [ModelInfo.model_validate(info.model_dump(), strict=True) for info in infos] == infos
        assert {info.id for info in infos} == {row.id for row in rows} >= {"ok", "silent", "stall-after-3"}
        assert isinstance(other.messages.count_tokens(model="ok", messages=MESSAGES), MessageTokensCount)


ERRORS: list[tuple[str, type[openai.APIStatusError], type[anthropic.APIStatusError]]] = [
    ("400-context", openai.BadRequestError, anthropic.BadRequestError),
    ("401", openai.AuthenticationError, anthropic.AuthenticationError),
    ("403", openai.PermissionDeniedError, anthropic.PermissionDeniedError),
    ("404", openai.NotFoundError, anthropic.NotFoundError),
    ("429-forever", openai.RateLimitError, anthropic.RateLimitError),
    ("500", openai.InternalServerError, anthropic.InternalServerError),
    ("529", openai.InternalServerError, anthropic.InternalServerError),
]


@pytest.mark.parametrize(("model", "ours", "theirs"), ERRORS)
def test_errors_are_the_vendors_own(
    up: FakeUpstream, model: str, ours: type[openai.APIStatusError], theirs: type[anthropic.APIStatusError]
) -> None:
    with openai.OpenAI(base_url=up.base_url, api_key="k", max_retries=0) as client, pytest.raises(ours) as caught:
        client.chat.completions.create(model=model, messages=MESSAGES)
    problem = PROBLEMS[model.removesuffix("-forever")]
    assert (caught.value.code, caught.value.status_code) == (problem.openai_code, problem.status)
    with anthropic.Anthropic(base_url=up.origin, api_key="k", max_retries=0) as other, pytest.raises(theirs) as failed:
        other.messages.create(model=model, messages=MESSAGES, max_tokens=9)
    assert failed.value.type == problem.anthropic_type


def test_a_key_is_checked_if_one_is_set() -> None:
    with FakeUpstream(key="right") as up:
        for dialect in DIALECTS:
            assert ask_raw(up.port, dialect, "ok").status == 401
            assert ask_raw(up.port, dialect, "ok", headers={"authorization": "Bearer wrong"}).status == 401
            assert ask_raw(up.port, dialect, "ok", headers={"authorization": "Bearer right"}).status == 200
            assert ask_raw(up.port, dialect, "ok", headers={"x-api-key": "right"}).status == 200


BAD: list[tuple[str, str, bytes, int]] = [
    ("POST", "/v1/chat/completions", b'{"model": "ok"}', 400),
    ("POST", "/v1/chat/completions", b'{"model": "ok", "messages": []}', 400),
    ("POST", "/v1/chat/completions", b'{"model": "ok", "messages": "hi"}', 400),
    ("POST", "/v1/chat/completions", b'{"model": "ok", "messages": [1]}', 400),
    ("POST", "/v1/chat/completions", b'{"messages": [{"role": "user", "content": "x"}]}', 400),
    ("POST", "/v1/chat/completions", b"not JSON", 400),
    ("POST", "/v1/chat/completions", b"[]", 400),
    ("GET", "/v1/chat/completions", b"", 405),
    ("POST", "/v1/elsewhere", b"{}", 404),
    ("POST", "/v1/messages", b'{"model": "ok", "messages": [{"role": "user", "content": "x"}]}', 400),
]


@pytest.mark.parametrize(("method", "path", "payload", "status"), BAD)
def test_bad_requests_are_refused(up: FakeUpstream, method: str, path: str, payload: bytes, status: int) -> None:
    with socket.create_connection(("127.0.0.1", up.port), 10) as sock:
        sock.sendall(request_bytes(path, payload, method=method))
        raw = read_raw(sock)
    assert raw.status == status
    error = json.loads(raw.payload)["error"]
    assert error["message"]
    assert ("param" in error) == (not path.startswith("/v1/messages"))


def test_anthropics_version_header_is_required(up: FakeUpstream) -> None:
    payload = json.dumps(body("ok")).encode()
    request = request_bytes(PATHS["anthropic_messages"], payload).replace(b"anthropic-version", b"x-other")
    with socket.create_connection(("127.0.0.1", up.port), 10) as sock:
        sock.sendall(request)
        assert read_raw(sock).status == 400


def test_no_header_field_may_come_twice(up: FakeUpstream) -> None:
    payload = json.dumps(body("ok")).encode()
    field = b"anthropic-version: 2023-06-01\r\n"
    request = request_bytes(PATHS["anthropic_messages"], payload).replace(field, field + field.title())
    with socket.create_connection(("127.0.0.1", up.port), 10) as sock:
        sock.sendall(request)
        assert read_raw(sock).status == 400


def test_what_arrived_is_kept(up: FakeUpstream) -> None:
    ask_raw(up.port, "openai_chat", "ok", headers={"X-Odd-Case": "1"})
    ask_raw(up.port, "anthropic_messages", "echo")
    first, second = up.requests
    assert (first.method, first.path, first.model) == ("POST", "/v1/chat/completions", "ok")
    assert first.headers["x-odd-case"] == "1"
    assert b"X-Odd-Case: 1\r\n" in first.head
    assert first.json == json.loads(first.body) == body("ok")
    assert second.connection == first.connection + 1
    assert first.time <= first.answered_at < second.time  # type: ignore[operator]
    assert (up.count(), up.count(model="ok"), up.count(model="other"), up.count(path="/v1/messages")) == (2, 1, 0, 1)
    up.reset()
    assert up.requests == []


def test_it_notices_that_a_client_left(up: FakeUpstream) -> None:
    with socket.create_connection(("127.0.0.1", up.port), 10) as sock:
        sock.sendall(request_bytes("/v1/chat/completions", json.dumps(body("gap-1000000", stream=True)).encode()))
        sock.recv(100)
        up.wait_until(lambda: up.busy == 1)
        left = time.monotonic()
    up.wait_until(lambda: up.requests[0].client_gone_at is not None)
    gone = up.requests[0].client_gone_at
    assert gone is not None
    assert gone >= left
    assert up.requests[0].answered_at is None
    up.wait_until(lambda: (up.busy, up.open_connections) == (0, 0))


def test_a_client_that_leaves_after_the_answer_is_not_gone(up: FakeUpstream) -> None:
    ask_raw(up.port, "openai_chat", "ok", stream=True)
    up.wait_until(lambda: up.open_connections == 0)
    assert up.requests[0].client_gone_at is None


def test_connections_are_kept_alive(up: FakeUpstream) -> None:
    request = request_bytes("/v1/chat/completions", json.dumps(body("ok")).encode())
    with socket.create_connection(("127.0.0.1", up.port), 10) as sock:
        for _ in range(3):
            sock.sendall(request)
            assert read_raw(sock).status == 200
        assert up.open_connections == 1
    assert len({seen.connection for seen in up.requests}) == 1


def test_it_can_go_down_and_come_back_on_its_port() -> None:
    up = FakeUpstream()
    up.start()
    port = up.port
    with socket.create_connection(("127.0.0.1", port), 2) as sock:
        sock.sendall(request_bytes("/v1/chat/completions", json.dumps(body("silent")).encode()))
        up.wait_until(lambda: up.busy == 1)
        up.stop()
        assert sock.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 2)
    up.start()
    try:
        assert up.port == port
        assert ask_raw(port, "openai_chat", "ok").status == 200
    finally:
        up.stop()


def test_its_own_failure_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise ZeroDivisionError

    up = FakeUpstream()
    monkeypatch.setattr("trivium.testing.faults.answer", broken)
    up.start()
    assert ask_raw(up.port, "openai_chat", "ok").head == b""
    with pytest.raises(RuntimeError, match="itself failed"):
        up.stop()


def test_the_command_lists_the_faults() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "trivium.testing.upstream", "--list"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert " 11  stall-after-{n} " in done.stdout
    assert "tool+cut-after-2" in done.stdout


def test_nobody_need_read_the_whole_list() -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    words = [sys.executable, "-W", "error", "-m", "trivium.testing.upstream", "--list"]
    done = subprocess.run(words, check=False, stdout=theirs, stderr=subprocess.PIPE, text=True)
    os.close(theirs)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("words", [("--port", "99999"), ("--time-scale", "0"), ("--time-scale", "nan")])
def test_the_command_refuses_what_it_cannot_do(words: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(list(words))
    assert stopped.value.code == 2
    assert "--time-scale more than 0" in capsys.readouterr().err


def test_the_command_serves_until_it_is_interrupted() -> None:
    port = free_port()
    command = [sys.executable, "-W", "error", "-m", "trivium.testing.upstream", "--port", str(port), "--key", "k"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stderr
        assert f"http://127.0.0.1:{port}/v1" in process.stdout.readline()
        assert ask_raw(port, "openai_chat", "ok", headers={"authorization": "Bearer k"}).status == 200
        taken = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (taken.returncode, "another --port" in taken.stderr) == (1, True)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        assert process.stderr.read() == ""
