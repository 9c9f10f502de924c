"""The unmodified `openai` client beside chats: pictures, speech, moderation, files and batches pass as they are."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import openai
import pytest

from acceptance.world import PROVIDERS, World, world
from support import config, provider, serve
from transport_help import Server
from trivium.testing.media import CONTENT, PICTURE, SPEECH


@pytest.fixture(scope="module")
def trivium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """With one provider of the dialect, so that it is the first."""
    with world(tmp_path_factory.mktemp("passing")) as made:
        yield made


def test_a_picture(trivium: World) -> None:
    done = trivium.openai().images.generate(model="oai/image-1", prompt="A cat", size="1024x1024")
    assert done.data
    assert (done.data[0].b64_json, done.data[0].revised_prompt) == (PICTURE, "A cat")
    seen = trivium.last("image-1")
    assert (seen.path, seen.json) == (
        "/v1/images/generations",
        {"model": "image-1", "prompt": "A cat", "size": "1024x1024"},
    )
    assert seen.headers["authorization"] == "Bearer test-key"


def test_speech_is_bytes_as_they_come(trivium: World) -> None:
    with trivium.openai().audio.speech.with_streaming_response.create(
        model="oai/tts-1", voice="alloy", input="Hello"
    ) as said:
        assert said.headers["content-type"] == "application/octet-stream"
        assert said.headers["x-trivium-endpoint"] == "oai/tts-1"
        assert b"".join(said.iter_bytes()) == SPEECH


def test_a_form_names_its_model(trivium: World) -> None:
    sound = bytes(range(256)) * 4
    heard = trivium.openai().audio.transcriptions.create(model="oai/whisper-1", file=("a.wav", sound))
    assert heard.text.startswith("whisper-1 heard")
    body = trivium.upstream.requests[-1].body
    assert b"oai/" not in body
    assert sound in body


def test_moderation(trivium: World) -> None:
    done = trivium.openai().moderations.create(model="oai/omni-moderation", input="Hello")
    assert (done.model, done.results[0].flagged) == ("omni-moderation", False)


def test_files_and_batches_go_to_the_first_provider(trivium: World) -> None:
    client = trivium.openai()
    file = client.files.create(file=("a.jsonl", CONTENT), purpose="batch")
    assert (file.id, file.purpose) == ("file-1", "batch")
    assert [each.purpose for each in client.files.list(purpose="vision")] == ["vision"]
    assert client.files.retrieve("file-1").bytes == 1
    assert client.files.content("file-1").read() == CONTENT
    batch = client.batches.create(input_file_id="file-1", endpoint="/v1/chat/completions", completion_window="24h")
    assert client.batches.retrieve(batch.id).input_file_id == "file-1"
    assert client.batches.cancel(batch.id).id == "batch-1"
    assert client.files.delete("file-1").deleted
    assert trivium.upstream.requests[-1].method == "DELETE"


def test_what_it_costs_is_unknown_unless_nothing_was_made(trivium: World) -> None:
    client = trivium.openai()
    made = client.images.with_raw_response.generate(model="oai/image-1", prompt="x").headers["x-request-id"]
    looked = client.files.with_raw_response.retrieve("file-1").headers["x-request-id"]
    for id_, cost in ((made, None), (looked, 0)):
        told = httpx.get(f"{trivium.served.origin}/api/v1/generation?id={id_}", timeout=30).json()["data"]
        assert told["total_cost"] == cost
        assert told["provider_name"] == "oai"


@pytest.mark.parametrize("name", PROVIDERS[1:])
def test_it_is_not_translated(trivium: World, name: str) -> None:
    with pytest.raises(openai.NotFoundError, match="passed, not translated"):
        trivium.openai().images.generate(model=f"{name}/x", prompt="x")


def test_errors_are_ours(trivium: World) -> None:
    with pytest.raises(openai.NotFoundError, match="There is no"):
        trivium.openai().images.generate(model="nobody/x", prompt="x")
    with pytest.raises(openai.NotFoundError) as caught:
        trivium.openai().files.retrieve("file-unknown")
    assert caught.value.code == "upstream_not_found"
    for path in ("/v1/files/%2e%2e/models", "/v1/files/a b"):
        assert httpx.get(trivium.served.origin + path, timeout=30).status_code in (400, 404)
    broken = httpx.post(
        f"{trivium.served.origin}/v1/images/generations",
        content=b"{",
        headers={"content-type": "application/json"},
        timeout=30,
    )
    assert (broken.status_code, broken.json()["error"]["param"]) == (400, "model")


def test_a_wish_in_the_body_holds_and_stays(trivium: World) -> None:
    origin, seen = trivium.served.origin, len(trivium.upstream.requests)
    body = {"model": "oai/image-1", "prompt": "x", "trivium": {"data_class": "premises"}}
    assert httpx.post(f"{origin}/v1/images/generations", json=body, timeout=30).status_code == 404
    inside = {"requests": [{"custom_id": "1", "params": {"model": "m", "trivium": {"data_class": "premises"}}}]}
    refused = httpx.post(f"{origin}/v1/messages/batches", json=inside, timeout=30)
    assert (refused.status_code, "x-trivium-data-class" in refused.text) == (400, True)
    assert len(trivium.upstream.requests) == seen
    body["trivium"] = {"data_class": "any"}
    assert httpx.post(f"{origin}/v1/images/generations", json=body, timeout=30).status_code == 200
    assert trivium.upstream.requests[-1].json == {"model": "image-1", "prompt": "x"}


def test_bytes_that_look_like_a_form_go_by(trivium: World) -> None:
    body = b'--X\r\ncontent-disposition: form-data; name="model"\r\n\r\noai/zzz\r\n--X--'
    kind = {"content-type": "application/octet-stream"}
    httpx.post(f"{trivium.served.origin}/v1/uploads/u/parts?key=secret&x=1", content=body, headers=kind, timeout=30)
    seen = trivium.upstream.requests[-1]
    assert (seen.body, seen.path) == (body, "/v1/uploads/u/parts?x=1")


def test_a_caller_who_waits_is_told_nothing_until_there_is_something(tmp_path: Path) -> None:
    def slowly(sock: socket.socket) -> None:
        status = b"429 X\r\nretry-after: 7" if b"refused" in sock.recv(65536) else b"200 OK"
        time.sleep(5.6)  # the first comment of a stream would come after five
        sock.sendall(b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}" % status)

    server = Server(slowly, "127.0.0.1")
    try:
        row = provider(f"http://127.0.0.1:{server.port}/v1", "slow")
        with serve(config([row]), home=tmp_path) as served, ThreadPoolExecutor() as pool:
            url = f"{served.origin}/v1/images/generations"
            bodies = [{"model": "slow/x", "prompt": prompt} for prompt in ("made", "refused")]
            made, refused = pool.map(lambda body: httpx.post(url, json=body, timeout=30), bodies)
    finally:
        server.close()
    assert (made.content, made.headers["content-type"]) == (b"{}", "application/json")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "7")


def test_what_must_stay_does_not_leave(trivium: World) -> None:
    seen = len(trivium.upstream.requests)
    for method, path in (("POST", "/v1/images/generations"), ("GET", "/v1/files")):
        answer = httpx.request(
            method,
            trivium.served.origin + path,
            json={"model": "oai/image-1"} if method == "POST" else None,
            headers={"x-trivium-data-class": "premises"},
            timeout=30,
        )
        assert 400 <= answer.status_code < 500
    assert len(trivium.upstream.requests) == seen
