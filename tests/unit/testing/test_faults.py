"""Each fault does on the wire what it says, in both dialects, streamed and not."""

from __future__ import annotations

import email.utils
import errno
import gzip
import json
import re
import socket
import ssl
import time
import zlib
from typing import Any

import pytest

from support import DIALECTS, PATHS, Dialect, Raw, ask_raw, body, read_raw, request_bytes
from trivium.testing import FakeUpstream, answers, faults
from trivium.testing.faults.statuses import FORMS

DONE: dict[Dialect, bytes] = {"openai_chat": b"data: [DONE]", "anthropic_messages": b'"type":"message_stop"'}
FINISH: dict[Dialect, bytes] = {
    "openai_chat": b'"finish_reason":"stop"',
    "anthropic_messages": b'"stop_reason":"end_turn"',
}
DELTA: dict[Dialect, bytes] = {
    "openai_chat": b'"delta":{"content":"',
    "anthropic_messages": b'"delta":{"type":"text_delta"',
}
both = pytest.mark.parametrize("dialect", DIALECTS)
modes = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])


@pytest.fixture(scope="module")
def server():
    with FakeUpstream(time_scale=1000) as up:
        yield up


@pytest.fixture
def up(server: FakeUpstream):
    server.reset()
    return server


def complete(raw: Raw, dialect: Dialect, *, stream: bool) -> bool:
    """The answer arrived as a whole by the rules of HTTP and of its dialect."""
    if not stream:
        return raw.end == "open" and len(raw.body) == int(raw.header("content-length") or -1) and b"Paris" in raw.body
    return raw.body.endswith(b"0\r\n\r\n") and FINISH[dialect] in raw.payload and DONE[dialect] in raw.payload


@both
@modes
@pytest.mark.parametrize("fault", faults.FAULTS, ids=lambda fault: fault.name)
def test_every_fault_is_survived(server: FakeUpstream, fault: faults.Fault, dialect: Dialect, *, stream: bool) -> None:
    model = fault.name.replace("{n}", "2")
    with socket.create_connection(("127.0.0.1", server.port), 5) as sock:
        sock.sendall(request_bytes(PATHS[dialect], json.dumps(body(model, stream=stream)).encode()))
        try:
            sock.recv(1000)
        except ConnectionResetError:
            assert "rst" in model
    assert ask_raw(server.port, dialect, "ok").status == 200


def test_no_name_is_taken_by_another_fault() -> None:
    for row in faults.FAULTS:
        found = faults.find(row.name.replace("{n}", "7"))
        assert found is not None
        assert found[0] is row
    assert faults.find("some-model") is None
    found = faults.find("openai/tool+cut-after-12")
    assert found is not None
    assert (found[0].name, found[1]) == ("cut-after-{n}", [12])


@both
@modes
@pytest.mark.parametrize("model", ["silent", "late-800"])
def test_silence_then_the_answer(dialect: Dialect, model: str, *, stream: bool) -> None:
    with FakeUpstream(time_scale=400 if model == "silent" else 2) as up:
        raw = ask_raw(up.port, dialect, model, stream=stream)
    assert raw.reads[0] >= 0.25
    assert complete(raw, dialect, stream=stream)


@both
@modes
def test_a_slow_head(up: FakeUpstream, dialect: Dialect, *, stream: bool) -> None:
    raw = ask_raw(up.port, dialect, "slow-headers", stream=stream)
    assert len(raw.reads) > 50
    assert complete(raw, dialect, stream=stream)


@both
@modes
def test_a_slow_body(up: FakeUpstream, dialect: Dialect, *, stream: bool) -> None:
    with socket.create_connection(("127.0.0.1", up.port), 5) as sock:
        sock.sendall(request_bytes(PATHS[dialect], json.dumps(body("loris-body", stream=stream)).encode()))
        sizes = [len(sock.recv(1 << 20)) for _ in range(20)]
    assert max(sizes[1:]) < 20 < sizes[0]


@both
def test_a_stall_in_a_stream(dialect: Dialect) -> None:
    with FakeUpstream() as up:
        for count in (0, 3, 12):
            raw = ask_raw(up.port, dialect, f"stall-after-{count}", stream=True, quiet_s=0.5)
            assert raw.end == "open"
            assert raw.payload.count(DELTA[dialect]) == count
            assert FINISH[dialect] not in raw.payload


@both
def test_a_stall_in_a_whole_answer(dialect: Dialect) -> None:
    with FakeUpstream() as up:
        raw = ask_raw(up.port, dialect, "stall-after-3", quiet_s=0.5)
        assert raw.end == "open"
        assert 0 < len(raw.body) < int(raw.header("content-length") or 0)
        opened = ask_raw(up.port, dialect, "stall-before-content", quiet_s=0.5)
        assert (opened.status, opened.body, opened.end) == (200, b"", "open")


@both
def test_comments_go_on_without_content(up: FakeUpstream, dialect: Dialect) -> None:
    raw = ask_raw(up.port, dialect, "comments-after-2", stream=True)
    assert raw.payload.count(DELTA[dialect]) == 2
    assert raw.payload.endswith(b": still here\n\n" * 120)
    assert raw.end == "fin"


@both
@pytest.mark.parametrize("kind", ["cut-after", "rst-after", "clean-cut-after", "close-cut-after"])
def test_a_stream_is_cut_after_n_pieces(up: FakeUpstream, dialect: Dialect, kind: str) -> None:
    for count in (0, 1, 6, 64):
        raw = ask_raw(up.port, dialect, f"{kind}-{count}", stream=True)
        assert raw.payload.count(DELTA[dialect]) == count
        assert FINISH[dialect] not in raw.payload
        assert DONE[dialect] not in raw.payload
        assert raw.end == {"rst-after": "rst", "clean-cut-after": "open"}.get(kind, "fin")
        assert raw.body.endswith(b"0\r\n\r\n") == (kind == "clean-cut-after")
        assert (raw.header("transfer-encoding") is None) == (kind == "close-cut-after")


@both
@pytest.mark.parametrize("kind", ["cut-after", "rst-after", "clean-cut-after", "close-cut-after"])
def test_a_whole_answer_is_cut(up: FakeUpstream, dialect: Dialect, kind: str) -> None:
    raw = ask_raw(up.port, dialect, f"{kind}-3")
    assert raw.status == 200
    with pytest.raises(json.JSONDecodeError):
        json.loads(raw.body)
    assert raw.end == {"rst-after": "rst", "clean-cut-after": "open"}.get(kind, "fin")
    length = raw.header("content-length")
    if kind in ("cut-after", "rst-after"):
        assert int(length or 0) > len(raw.body)


@both
@modes
def test_a_cut_after_any_byte(up: FakeUpstream, dialect: Dialect, *, stream: bool) -> None:
    for count in (0, 1, 100):
        raw = ask_raw(up.port, dialect, f"cut-at-{count}", stream=stream)
        assert (raw.status, len(raw.body), raw.end) == (200, count, "fin")


@both
@modes
def test_cuts_before_anything_was_said(up: FakeUpstream, dialect: Dialect, *, stream: bool) -> None:
    opened = ask_raw(up.port, dialect, "cut-before-content", stream=stream)
    assert opened.status == 200
    assert DELTA[dialect] not in opened.body
    assert opened.end == "fin"
    headless = ask_raw(up.port, dialect, "cut-before-headers", stream=stream)
    assert (headless.head, headless.end) == (b"", "fin")
    reset = ask_raw(up.port, dialect, "rst-before-headers", stream=stream)
    assert (reset.head, reset.end) == (b"", "rst")
    half = ask_raw(up.port, dialect, "cut-in-headers", stream=stream)
    assert half.head.startswith(b"HTTP/1.1 200")
    assert (half.body, half.end) == (b"", "fin")


def test_a_tool_call_can_be_cut(up: FakeUpstream) -> None:
    tool = {"type": "function", "function": {"name": "now", "parameters": {"properties": {"city": {"type": "string"}}}}}
    raw = ask_raw(up.port, "openai_chat", "tool+cut-after-1", stream=True, tools=[tool])
    assert b'"name":"now"' in raw.payload
    assert b"city" not in raw.payload
    assert raw.end == "fin"


@both
def test_the_marker_is_missing(up: FakeUpstream, dialect: Dialect) -> None:
    raw = ask_raw(up.port, dialect, "no-done", stream=True)
    assert FINISH[dialect] in raw.payload
    assert DONE[dialect] not in raw.payload
    assert raw.body.endswith(b"0\r\n\r\n")
    never = ask_raw(up.port, dialect, "no-finish", stream=True)
    assert FINISH[dialect] not in never.payload
    assert DONE[dialect] in never.payload


EXTRAS = {
    "malformed-chunk": b'"content": \n\n',
    "unknown-event": b"event: weather\n",
    "event-without-data": b"event: ping\n\n",
}


@both
@pytest.mark.parametrize("model", EXTRAS)
def test_a_foreign_event_stands_in_the_middle(up: FakeUpstream, dialect: Dialect, model: str) -> None:
    raw = ask_raw(up.port, dialect, model, stream=True)
    assert complete(raw, dialect, stream=True)
    before, found, after = raw.payload.partition(EXTRAS[model])
    assert found
    assert before.count(DELTA[dialect]) == after.count(DELTA[dialect]) == 3


@both
def test_a_whole_answer_is_broken_json(up: FakeUpstream, dialect: Dialect) -> None:
    with pytest.raises(json.JSONDecodeError):
        json.loads(ask_raw(up.port, dialect, "malformed-chunk").payload)


@both
@pytest.mark.parametrize("model", ["crlf", "cr", "mixed-newlines", "bom", "comments", "one-byte-writes"])
def test_other_spellings_of_the_same_stream(up: FakeUpstream, dialect: Dialect, model: str) -> None:
    raw = ask_raw(up.port, dialect, model, stream=True)
    same = ask_raw(up.port, dialect, "ok", stream=True).payload
    text = raw.payload.removeprefix(b"\xef\xbb\xbf")
    lines = re.split(rb"\r\n|\r|\n", text.replace(b'"model":"%s"' % model.encode(), b'"model":"ok"'))
    spelled = b"\n".join(line for line in lines if not line.startswith(b":"))
    assert lines_of(spelled) == lines_of(same)
    ends = {"crlf": (b"\r\n", b"\n\n"), "cr": (b"\r\r", b"\n"), "mixed-newlines": (b"\r\n", b"\r\r\n")}
    if model in ends:
        has, has_not = ends[model]
        assert has in text
        assert model == "mixed-newlines" or has_not not in text
    assert raw.payload.startswith(b"\xef\xbb\xbf") == (model == "bom")
    assert (b"\n: two\n" in raw.payload) == (model == "comments")
    if model == "one-byte-writes":
        assert raw.body.count(b"1\r\n") >= len(same)


def lines_of(data: bytes) -> list[str]:
    """The lines that mean something, without what differs from call to call."""
    return [re.sub(r"[0-9a-f]{24}", "", line) for line in data.decode().split("\n") if line]


@both
@modes
def test_utf8_is_split_inside_characters(up: FakeUpstream, dialect: Dialect, *, stream: bool) -> None:
    raw = ask_raw(up.port, dialect, "utf8-split", stream=stream)
    assert_says(raw.payload, dialect, answers.UNICODE, stream=stream)
    chunks = re.split(rb"\r\n[0-9a-f]+\r\n", raw.body)
    assert sum(broken(chunk) for chunk in chunks) > 20


def broken(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return True
    return False


def assert_says(payload: bytes, dialect: Dialect, text: str, *, stream: bool) -> None:
    if not stream:
        value = json.loads(payload)
        said = value["choices"][0]["message"]["content"] if dialect == "openai_chat" else value["content"][0]["text"]
    else:
        events: list[Any] = [
            json.loads(line[6:]) for line in payload.decode().split("\n") if line.startswith("data: {")
        ]
        if dialect == "openai_chat":
            said = "".join(event["choices"][0]["delta"].get("content", "") for event in events if event["choices"])
        else:
            said = "".join(event["delta"].get("text", "") for event in events if event["type"] == "content_block_delta")
    assert said == text


@both
@modes
def test_characters_that_are_none(up: FakeUpstream, dialect: Dialect, *, stream: bool) -> None:
    invalid = ask_raw(up.port, dialect, "invalid-utf8", stream=stream)
    assert broken(invalid.payload)
    assert b"caf\xff\xc3" in invalid.payload
    lone = ask_raw(up.port, dialect, "lone-surrogate", stream=stream)
    assert rb"caf\ud83d" in lone.payload
    assert_says(lone.payload, dialect, "caf\ud83d au lait", stream=stream)


@both
@modes
def test_an_error_inside_a_200(up: FakeUpstream, dialect: Dialect, *, stream: bool) -> None:
    body_error = ask_raw(up.port, dialect, "error-200", stream=stream)
    assert body_error.status == 200
    assert json.loads(body_error.payload)["error"]["message"] == "Overloaded"
    first = ask_raw(up.port, dialect, "error-first-event", stream=stream)
    assert first.status == 200
    name = b"event: error\n" if dialect == "anthropic_messages" else b""
    start = name + b"data: {" if stream else b"{"
    assert first.payload.startswith(start)
    assert b"Overloaded" in first.payload
    assert DELTA[dialect] not in first.payload


@both
def test_an_error_in_the_middle(up: FakeUpstream, dialect: Dialect) -> None:
    raw = ask_raw(up.port, dialect, "error-midstream-3", stream=True)
    before, _, after = raw.payload.partition(b"Overloaded")
    assert before.count(DELTA[dialect]) == 3
    assert DELTA[dialect] not in after
    assert DONE[dialect] not in raw.payload
    assert raw.body.endswith(b"0\r\n\r\n")


@both
@modes
def test_nothing_useful_in_a_200(up: FakeUpstream, dialect: Dialect, *, stream: bool) -> None:
    page = ask_raw(up.port, dialect, "html", stream=stream)
    assert (page.status, page.header("content-type")) == (200, "text/html; charset=utf-8")
    assert page.body.startswith(b"<!DOCTYPE html>")
    disguised = ask_raw(up.port, dialect, "html-as-json", stream=stream)
    assert disguised.payload.startswith(b"<!DOCTYPE html>")
    assert (disguised.header("content-type") or "").startswith("text/event-stream" if stream else "application/json")
    empty = ask_raw(up.port, dialect, "empty", stream=stream)
    assert (empty.status, empty.payload) == (200, b"")
    hollow = ask_raw(up.port, dialect, "zero-choices", stream=stream)
    assert hollow.status == 200
    if not stream:
        value = json.loads(hollow.payload)
        assert value.get("choices", value.get("content")) == []
    else:
        assert DONE[dialect] in hollow.payload
        assert b"finish_reason" not in hollow.payload
        assert b"message_delta" not in hollow.payload


@both
@modes
def test_429_once_then_the_answer(up: FakeUpstream, dialect: Dialect, *, stream: bool) -> None:
    first = ask_raw(up.port, dialect, "429-retry-after-2", stream=stream)
    assert (first.status, first.header("retry-after")) == (429, "2")
    assert complete(ask_raw(up.port, dialect, "429-retry-after-2", stream=stream), dialect, stream=stream)
    up.reset()
    assert ask_raw(up.port, dialect, "429-retry-after-2", stream=stream).status == 429


def test_the_forms_of_a_429(up: FakeUpstream) -> None:
    assert len(FORMS) >= 30
    for name in FORMS:
        raw = ask_raw(up.port, "openai_chat", f"429-{name}")
        assert raw.status == 429
        assert ask_raw(up.port, "openai_chat", f"429-{name}").status == 200
    heads = {name: ask_again(up, name) for name in FORMS}
    assert b"retry-after-ms: 2000" in heads["retry-after-ms"].head
    assert heads["retry-after-twice"].head.count(b"retry-after:") == 2
    assert heads["retry-after-not-ascii"].head.count("\u0662".encode()) == 1
    for name, ahead in (("date", 2), ("date-past", -3600), ("date-rfc850", 2), ("date-asctime", 2)):
        date = heads[f"retry-after-{name}"].header("retry-after") or ""
        assert abs(email.utils.parsedate_to_datetime(date).timestamp() - time.time() - ahead) < 60
    assert abs(int(heads["reset-epoch"].header("x-ratelimit-reset") or 0) - time.time() - 2) < 60


def ask_again(up: FakeUpstream, form: str) -> Raw:
    up.reset()
    return ask_raw(up.port, "openai_chat", f"429-{form}")


@both
def test_statuses(up: FakeUpstream, dialect: Dialect) -> None:
    for model in ("429-forever", "500", "502", "503", "504", "529", "400", "400-param", "401", "403", "404"):
        status = int(model[:3])
        for _ in range(2):
            raw = ask_raw(up.port, dialect, model)
            assert raw.status == status
            assert json.loads(raw.payload)["error"]["message"]
    for model in ("500-once", "502-once", "529-once"):
        assert ask_raw(up.port, dialect, model).status == int(model[:3])
        assert ask_raw(up.port, dialect, model).status == 200
    assert ask_raw(up.port, dialect, "502-html").header("content-type") == "text/html"
    quota = ask_raw(up.port, dialect, "quota")
    assert quota.status == (429 if dialect == "openai_chat" else 402)


@both
def test_redirects_lead_to_another_name_of_this_server(up: FakeUpstream, dialect: Dialect) -> None:
    for model, status in (("redirect", 302), ("redirect-307", 307), ("redirect-308", 308)):
        raw = ask_raw(up.port, dialect, model)
        assert (raw.status, raw.header("location")) == (status, f"http://localhost:{up.port}/elsewhere")


@both
def test_too_much(up: FakeUpstream, dialect: Dialect) -> None:
    head, _, rest = some(up, dialect, "oversize", False, 1000).partition(b"\r\n\r\n")
    assert int(Raw(head, rest, "open", []).header("content-length") or 0) > 64 << 20
    event = some(up, dialect, "oversize-event", True, 5 << 20)
    assert max(map(len, event.split(b"\n"))) > 4 << 20
    for stream in (True, False):
        assert len(some(up, dialect, "endless", stream, 1 << 19)) >= 1 << 19


def some(up: FakeUpstream, dialect: Dialect, model: str, stream: bool, size: int) -> bytes:
    data = b""
    with socket.create_connection(("127.0.0.1", up.port), 5) as sock:
        sock.sendall(request_bytes(PATHS[dialect], json.dumps(body(model, stream=stream)).encode()))
        while len(data) < size:
            data += sock.recv(1 << 16)
    return data


@both
@modes
def test_compressed_answers(up: FakeUpstream, dialect: Dialect, *, stream: bool) -> None:
    once = ask_raw(up.port, dialect, "gzip", stream=stream)
    assert once.header("content-encoding") == "gzip"
    assert_says(gzip.decompress(once.payload), dialect, answers.TEXT, stream=stream)
    twice = ask_raw(up.port, dialect, "double-gzip", stream=stream)
    assert_says(gzip.decompress(gzip.decompress(twice.payload)), dialect, answers.TEXT, stream=stream)
    bomb = ask_raw(up.port, dialect, "gzip-bomb-20", stream=stream)
    assert len(zlib.decompress(bomb.payload, 31)) == 20 << 20
    assert len(bomb.payload) < 200_000


@both
@modes
def test_lies_about_the_length(up: FakeUpstream, dialect: Dialect, *, stream: bool) -> None:
    long = ask_raw(up.port, dialect, "wrong-length", stream=stream)
    assert int(long.header("content-length") or 0) == len(long.body) + 100
    assert long.end == "fin"
    short = ask_raw(up.port, dialect, "short-length", stream=stream)
    assert int(short.header("content-length") or 0) == len(short.body) - 10
    two = ask_raw(up.port, dialect, "two-lengths", stream=stream)
    assert two.head.count(b"content-length") == 2
    mixed = ask_raw(up.port, dialect, "length-and-chunked", stream=stream)
    assert {"transfer-encoding", "content-length"} <= {
        line.partition(":")[0] for line in mixed.head.decode().split("\r\n")
    }
    assert ask_raw(up.port, dialect, "bad-chunk", stream=stream, quiet_s=0.5).body.startswith(b"zz\r\n")
    assert not ask_raw(up.port, dialect, "garbage", stream=stream).head.startswith(b"HTTP")
    lf = some(up, dialect, "bare-lf", stream, 300)
    assert lf.startswith(b"HTTP/1.1 200 OK\n")
    assert len(ask_raw(up.port, dialect, "huge-head", stream=stream).head) > 1 << 20


@both
@modes
def test_legal_but_rare(up: FakeUpstream, dialect: Dialect, *, stream: bool) -> None:
    hints = ask_raw(up.port, dialect, "early-hints", stream=stream, quiet_s=0.5)
    assert hints.head.startswith(b"HTTP/1.1 103 Early Hints")
    assert hints.body.startswith(b"HTTP/1.1 200 OK")
    closing = ask_raw(up.port, dialect, "until-close", stream=stream)
    assert closing.end == "fin"
    assert closing.header("content-length") is closing.header("transfer-encoding") is None
    assert_says(closing.body, dialect, answers.TEXT, stream=stream)
    extra = ask_raw(up.port, dialect, "extra-response", stream=stream, quiet_s=0.5)
    assert extra.body.endswith(b"content-length: 2\r\n\r\n{}")


@both
@pytest.mark.parametrize(("model", "end"), [("keepalive-race", "fin"), ("keepalive-race-rst", "rst")])
def test_the_connection_closes_as_the_next_request_arrives(
    up: FakeUpstream, dialect: Dialect, model: str, end: str
) -> None:
    request = request_bytes(PATHS[dialect], json.dumps(body(model)).encode())
    with socket.create_connection(("127.0.0.1", up.port), 10) as sock:
        sock.sendall(request)
        assert complete(read_raw(sock), dialect, stream=False)
        sock.sendall(request)
        raced = read_raw(sock)
    assert (raced.head, raced.end) == (b"", end)
    assert up.count() == 1
    assert complete(ask_raw(up.port, dialect, model), dialect, stream=False)


@both
def test_an_idle_connection_is_closed(up: FakeUpstream, dialect: Dialect) -> None:
    with socket.create_connection(("127.0.0.1", up.port), 10) as sock:
        sock.sendall(request_bytes(PATHS[dialect], json.dumps(body("idle-close-50")).encode()))
        assert read_raw(sock).status == 200
        assert sock.recv(1) == b""


@both
def test_a_gap_between_pieces(dialect: Dialect) -> None:
    with FakeUpstream(time_scale=10) as up:
        raw = ask_raw(up.port, dialect, "gap-50", stream=True)
    assert complete(raw, dialect, stream=True)
    assert raw.reads[-1] - raw.reads[0] >= 0.3
    assert raw.payload.count(DELTA[dialect]) == 64


def test_a_flood_waits_for_its_reader(up: FakeUpstream) -> None:
    with socket.create_connection(("127.0.0.1", up.port), 5) as sock:
        sock.sendall(request_bytes("/v1/chat/completions", json.dumps(body("flood-64", stream=True)).encode()))
        sock.recv(1)
        time.sleep(0.2)
        assert up.busy == 1
        assert up.requests[0].answered_at is None


def test_faults_over_tls() -> None:
    import trustme

    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with FakeUpstream(tls=context) as up:
        assert up.base_url.startswith("https://")
        whole = over_tls(up, trusting, "ok")
        assert complete(whole, "openai_chat", stream=True)
        cut = over_tls(up, trusting, "cut-after-2")
        assert (cut.payload.count(DELTA["openai_chat"]), cut.end) == (2, "fin")
        assert over_tls(up, trusting, "rst-after-2").end == "rst"


def over_tls(up: FakeUpstream, context: ssl.SSLContext, model: str) -> Raw:
    request = request_bytes("/v1/chat/completions", json.dumps(body(model, stream=True)).encode())
    with (
        socket.create_connection(("127.0.0.1", up.port), 10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as sock,
    ):
        sock.sendall(request)
        if model.startswith("rst"):
            # The ssl module calls an RST the end of the file; the socket knows better.
            up.wait_until(lambda: sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNRESET)
            return Raw(b"", b"", "rst", [])
        return read_raw(sock)
