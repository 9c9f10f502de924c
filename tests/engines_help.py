"""For tests of engines: shipped rows, small GGUF files made by hand, a hub and an index that misbehave on demand."""

from __future__ import annotations

import hashlib
import json
import math
import struct
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from trivium.config.shipped import catalog

ROWS = catalog().local_models


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def pair(key: str, value: object) -> bytes:
    """One entry of a GGUF header; a list becomes an array of its first element's kind."""
    return text(key) + _typed(value)


def _typed(value: object) -> bytes:
    match value:
        case bool():
            return struct.pack("<I?", 7, value)
        case int():
            return struct.pack("<IQ", 10, value)
        case float():
            return struct.pack("<If", 6, value)
        case str():
            return struct.pack("<I", 8) + text(value)
        case [str(), *_]:
            return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(text(item) for item in value)
        case [int(), *_]:
            return struct.pack("<IIQ", 9, 5, len(value)) + struct.pack(f"<{len(value)}i", *value)
        case _:
            raise TypeError(value)


METADATA: dict[str, object] = {
    "general.architecture": "llama",
    "general.name": "Tiny",
    "general.license": "apache-2.0",
    "llama.context_length": 2048,
    "llama.block_count": 2,
    "llama.embedding_length": 64,
    "llama.attention.head_count": 4,
    "llama.attention.head_count_kv": 2,
    "tokenizer.ggml.tokens": ["a", "b", "ä"],
    "tokenizer.chat_template": "{{ messages }}",
}


def gguf_bytes(metadata: dict[str, object] | None = None, *, rows: int = 64, version: int = 3) -> bytes:
    """A whole GGUF file with one f32 tensor of `rows` x 32."""
    entries = METADATA if metadata is None else metadata
    head = b"GGUF" + struct.pack("<IQQ", version, 1, len(entries))
    head += b"".join(pair(key, value) for key, value in entries.items())
    head += text("blk.0.w") + struct.pack("<IQQIQ", 2, 32, rows, 0, 0)
    head += b"\0" * (-len(head) % 32)
    return head + bytes(range(256)) * (rows * 32 * 4 // 256)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Site:
    """Files on a loopback HTTP server, with faults: `cut_after` bytes ends a body early (once a number in the list)."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.headers: dict[str, dict[str, str]] = {}
        self.redirects: dict[str, str] = {}
        self.status: dict[str, int] = {}
        self.cut_after: list[int] = []
        self.ranges = True
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.gate: threading.Event | None = None
        """When set, a body stops in its middle until the event is set."""
        self.url = ""

    def seen(self, method: str, path: str) -> list[dict[str, str]]:
        """The headers of every request of that kind."""
        return [headers for m, p, headers in self.requests if (m, p) == (method, path)]


@contextmanager
def serve(site: Site | None = None) -> Generator[Site]:
    site = site or Site()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, *, body: bool) -> None:
            path = self.path
            site.requests.append((self.command, path, {k.lower(): v for k, v in self.headers.items()}))
            extra = site.headers.get(path, {})
            if path in site.redirects:
                self._head(302, {"location": site.redirects[path], "content-length": "0", **extra})
                return
            data = site.files.get(path)
            if path in site.status or data is None:
                self._head(site.status.get(path, 404), {"content-length": "0", **extra})
                return
            start = self._start(data, extra.get("etag", ""))
            headers = {"content-length": str(len(data) - start), **extra}
            if start:
                headers["content-range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            self._head(206 if start else 200, headers)
            if body:
                self._body(data[start:])

        def _start(self, data: bytes, etag: str) -> int:
            asked = self.headers.get("range", "")
            if not site.ranges or not asked or self.headers.get("if-range", etag) != etag:
                return 0
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            return start if start < len(data) else 0

        def _body(self, data: bytes) -> None:
            if site.cut_after and not self.path.startswith("/api/"):
                self.wfile.write(data[: site.cut_after.pop(0)])
                self.wfile.flush()
                self.close_connection = True
                return
            if site.gate is not None:
                self.wfile.write(data[: len(data) // 2])
                self.wfile.flush()
                site.gate.wait(30)
                data = data[len(data) // 2 :]
            self.wfile.write(data)

        def _head(self, status: int, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # a client that leaves is what some tests are about

    server = Quiet(("127.0.0.1", 0), Handler)
    site.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()


def nothing(_done: int, _total: int | None) -> None:
    """Progress that nobody looks at."""


def write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


Tensor = tuple[str, tuple[int, ...], bytes]
"""Its type, shape and bytes, as safetensors have them."""


def safetensors(tensors: dict[str, Tensor]) -> bytes:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, (kind, shape, data) in tensors.items():
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    head = json.dumps(header).encode()
    return struct.pack("<Q", len(head)) + head + b"".join(data for _, _, data in tensors.values())


def bert_words() -> bytes:
    return b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ncat\n##s\ndog\n"


def bert_config() -> bytes:
    return b'{"num_attention_heads":4,"layer_norm_eps":1e-12,"hidden_size":32}'


def tiny_bert(changes: Mapping[str, Tensor | None] = {}, *, backwards: bool = False) -> bytes:
    """The weights of a BERT of two layers, each tensor counting in quarters; None takes one out."""
    width, inner = 32, 64
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.position_ids": (1, 16),
        "embeddings.word_embeddings.weight": (8, width),
        "embeddings.position_embeddings.weight": (16, width),
        "embeddings.token_type_embeddings.weight": (2, width),
        "pooler.dense.weight": (width, width),
    }
    for layer in (0, 1):
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            shapes[f"encoder.layer.{layer}.attention.{part}.weight"] = (width, width)
            shapes[f"encoder.layer.{layer}.attention.{part}.bias"] = (width,)
        shapes[f"encoder.layer.{layer}.intermediate.dense.weight"] = (inner, width)
        shapes[f"encoder.layer.{layer}.intermediate.dense.bias"] = (inner,)
        shapes[f"encoder.layer.{layer}.output.dense.weight"] = (width, inner)
        shapes[f"encoder.layer.{layer}.output.dense.bias"] = (width,)
    norms = ["embeddings", *(f"encoder.layer.{n}{part}" for n in (0, 1) for part in (".attention.output", ".output"))]
    shapes |= {f"{norm}.LayerNorm.{kind}": (width,) for norm in norms for kind in ("weight", "bias")}
    tensors: dict[str, Tensor] = {name: ("F32", shape, _quarters(math.prod(shape))) for name, shape in shapes.items()}
    tensors |= {name: tensor for name, tensor in changes.items() if tensor is not None}
    kept = [name for name in tensors if changes.get(name, ()) is not None]
    return safetensors({name: tensors[name] for name in (reversed(kept) if backwards else kept)})


def _quarters(count: int) -> bytes:
    return struct.pack(f"<{count}f", *(index % 256 / 4 for index in range(count)))
