"""Servers that run on this machine count for `auto` if they say who they are."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from acceptance.world import LOCAL
from trivium import Trivium
from trivium.config.load import load
from trivium.gateway.found import look

OLLAMA: dict[str, Any] = {
    "/api/version": {"version": "0.12.1"},
    "/v1/models": {"object": "list", "data": [{"id": "nomic-embed-text"}, {"id": "qwen3:4b"}]},
    "/api/chat": {
        "model": "qwen3:4b",
        "created_at": "2026-12-01T10:00:00.5Z",
        "message": {"role": "assistant", "content": "From here."},
        "done": True,
        "done_reason": "stop",
        "prompt_eval_count": 3,
        "eval_count": 2,
    },
    "/v1/chat/completions": {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "From here."}}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    },
}


@contextmanager
def server(answers: dict[str, Any]) -> Generator[str]:
    """A server on loopback with these answers, by path; yields its base URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            body = json.dumps(answers.get(self.path, {})).encode()
            self.send_response(200 if self.path in answers else 404)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as served:
        served.daemon_threads = True
        thread = threading.Thread(target=served.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{served.server_address[1]}/v1"
        finally:
            served.shutdown()
            thread.join()


def ollama_at(url: str, folder: Path) -> Path:
    """A configuration in which Ollama's usual place is this one, and the other servers' are nobody's."""
    file = folder / "trivium.toml"
    nobody = "http://127.0.0.1:9/v1"
    places = {"ollama": url, "llamacpp": nobody, "vllm": nobody}
    file.write_text("".join(f'[[providers]]\nid = "{id_}"\nbase_url = "{at}"\n' for id_, at in places.items()))
    return file


def states(file: Path) -> dict[str, tuple[str, str, str]]:
    config = load(file=str(file), env={}, cwd=file.parent, home=file.parent / "home")
    return {one.provider: (one.state, one.version, one.model) for one in asyncio.run(look(config))}


def test_a_server_is_known_by_what_it_says(tmp_path: Path) -> None:
    with server(OLLAMA) as url:
        assert states(ollama_at(url, tmp_path)) == {
            "ollama": ("ready", "0.12.1", "qwen3:4b"),
            "llamacpp": ("absent", "", ""),
            "vllm": ("absent", "", ""),
        }
    with server({"/v1/models": OLLAMA["/v1/models"]}) as url:
        assert states(ollama_at(url, tmp_path))["ollama"] == ("other", "", "")


def test_auto_asks_a_server_that_runs_and_then_our_engine(
    own_model_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIVIUM_HOME", str(own_model_home))
    with server(OLLAMA) as url, Trivium(ollama_at(url, tmp_path)) as trivium:
        answer = trivium.chat("Hello")
        assert (answer.text, answer.endpoint, answer.access) == ("From here.", "ollama/qwen3:4b", "local")
        private = trivium.chat("Hello", data_class="premises", max_tokens=2)
        assert private.endpoint == LOCAL
    with Trivium(ollama_at(url, tmp_path)) as trivium:
        assert trivium.chat("Hello", max_tokens=2).endpoint == LOCAL
