"""A routing service as an upstream: what it is told, what it bills, and what it says of why nobody served."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from support import Served, serve

ASK: Any = [{"role": "user", "content": "Hello"}]
CONFIGURATION = """
[[providers]]
id = "svc"
access = "routed"
dialects = ["anthropic_messages"]
base_url = "{origin}/v1"
api_key = "k"
data = {{ trains = false, retains_days = 0 }}
[[providers]]
id = "plain"
access = "routed"
chooses = false
base_url = "{origin}/v1"
api_key = "k"
data = {{ trains = false }}
[[keys]]
name = "open"
key = "open"
[[keys]]
name = "strict"
key = "strict"
data_class = "no_training"
"""
USAGE = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
GONE = {
    "code": "region_restricted",
    "retryable": False,
    "requested_models": ["theirs"],
    "docs_url": "theirs",
    "excluded_by": ["geo"],
}


def usage_of(model: str) -> dict[str, Any]:
    if model == "byok":
        return USAGE | {"cost": 0.001, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.02}}
    return USAGE | {"cost": 0.003, "cost_details": {"upstream_inference_cost": 0.003}}


class Listening(ThreadingHTTPServer):
    """Remembers every body and its headers."""

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.seen: list[tuple[dict[str, Any], dict[str, str]]] = []


class Service(BaseHTTPRequestHandler):
    """Answers as OpenRouter does; a model's name is the script."""

    protocol_version = "HTTP/1.1"
    server: Listening

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.seen.append((body, {k.lower(): v for k, v in self.headers.items()}))
        if body["model"] == "gone":
            self._answer(403, {"error": {"code": 403, "message": "not here", "availability": GONE}})
            return
        message = {"role": "assistant", "content": "hi"}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        answer = {"id": "body-id", "object": "chat.completion", "created": 1, "model": body["model"]}
        if self.path.endswith("/messages"):
            text = [{"type": "text", "text": "hi"}]
            used = {"input_tokens": 9, "output_tokens": 2}
            self._answer(200, {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": text,
                               "stop_reason": "end_turn", "usage": used})  # fmt: skip
            return
        self._answer(200, answer | {"choices": [choice], "usage": usage_of(body["model"])})

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.send_header("x-generation-id", "gen-theirs")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


class World:
    def __init__(self, served: Served, service: Listening) -> None:
        self.served = served
        self.service = service

    def post(self, path: str = "/api/v1/chat/completions", key: str = "open", **fields: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {key}"}
        return httpx.post(self.served.origin + path, json={"messages": ASK} | fields, headers=headers, timeout=30)

    def told(self) -> dict[str, Any]:
        return self.service.seen[-1][0]


@pytest.fixture(scope="module")
def at(model_home: Path) -> Iterator[World]:
    service = Listening(Service)
    thread = threading.Thread(target=service.serve_forever, daemon=True)
    thread.start()
    text = CONFIGURATION.format(origin=f"http://127.0.0.1:{service.server_port}")
    try:
        with serve(text, home=model_home) as served:
            yield World(served, service)
    finally:
        service.shutdown()
        service.server_close()
        thread.join()


PATHS = ("/api/v1/chat/completions", "/v1/chat/completions", "/v1/messages", "/v1/responses")


def ask(at: World, path: str, **fields: Any) -> httpx.Response:
    if path.endswith("messages"):
        fields.setdefault("max_tokens", 9)
    if path.endswith("responses"):
        fields |= {"input": "Hello", "messages": None}
    return at.post(path, **fields)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("said", "key", "told"),
    [
        (None, "open", None),
        ({"order": ["x"], "sort": "price", "new": 1}, "open", {"order": ["x"], "sort": "price", "new": 1}),
        ({"only": ["svc", "x"]}, "open", {"only": ["x"]}),
        ({"only": ["svc"]}, "open", None),
        ({"zdr": True}, "open", {"zdr": True, "data_collection": "deny"}),
        ({"data_collection": "allow", "zdr": False}, "strict", {"data_collection": "deny", "zdr": False}),
        (None, "strict", {"data_collection": "deny"}),
        ({"max_price": {"prompt": "0"}}, "open", {"max_price": {"prompt": "0"}}),
    ],
)
def test_what_it_is_told_is_as_strict_as_we_are(at: World, path: str, said: Any, key: str, told: Any) -> None:
    more = {} if said is None else {"provider": said}
    done = ask(at, path, model="svc/m", key=key, **more)
    assert done.status_code == 200, done.text
    assert at.told().get("provider") == told


def test_a_service_that_does_not_heed_it_is_told_nothing_and_judged_here(at: World) -> None:
    assert at.post(model="plain/m", provider={"order": ["x"]}).status_code == 200
    assert "provider" not in at.told()
    assert at.post(model="plain/m", provider={"only": ["x"]}).status_code == 404


@pytest.mark.parametrize("path", PATHS[:2])
def test_further_models_and_what_is_its_own_go_on(at: World, path: str) -> None:
    own = {"session_id": "s", "reasoning": {"max_tokens": 2000}, "plugins": [{"id": "web"}]}
    assert at.post(path, model="svc/a", models=["svc/b", "svc/c", "plain/d"], **own).status_code == 200
    assert at.told()["models"] == ["b", "c"]
    assert {name: at.told()[name] for name in own} == own
    assert at.post(path, model="plain/a", models=["plain/b"]).status_code == 200
    assert "models" not in at.told()


def test_nobodys_address_is_told(at: World) -> None:
    headers = {"authorization": "Bearer open", "http-referer": "https://app.example", "x-title": "App"}
    body = {"model": "svc/m", "messages": ASK}
    httpx.post(f"{at.served.origin}/api/v1/chat/completions", json=body, headers=headers, timeout=30)
    assert not {"http-referer", "x-title", "x-openrouter-title"} & at.service.seen[-1][1].keys()


@pytest.mark.parametrize(("model", "usd"), [("m", 0.003), ("byok", 0.021)])
@pytest.mark.parametrize("path", PATHS[:2])
def test_its_word_is_its_bill_and_its_id_is_kept(at: World, path: str, model: str, usd: float) -> None:
    done = at.post(path, model=f"svc/{model}")
    headers = {"authorization": "Bearer open"}
    told = httpx.get(
        f"{at.served.origin}/api/v1/generation",
        params={"id": done.headers["x-request-id"]},
        headers=headers,
        timeout=30,
    ).json()["data"]
    assert told["total_cost"] == pytest.approx(usd)
    assert told["upstream_id"] == "gen-theirs"


@pytest.mark.parametrize("path", ["/api/v1/chat/completions", "/v1/messages"])
def test_why_nobody_serves_there_is_told_on(at: World, path: str) -> None:
    refused = ask(at, path, model="svc/gone").json()["error"]["availability"]
    assert (refused["code"], refused["excluded_by"]) == ("region_restricted", ["geo"])
    assert refused["requested_models"] == ["svc/gone"]
    if path.startswith("/api"):
        assert ask(at, path, model="svc/gone").status_code == 403
