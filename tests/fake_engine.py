"""A worker that speaks the embedded engine's surface and misbehaves on demand: `python fake_engine.py MODE`.

Modes: `good`; `exit` and `segv` end before ready; `segv-unless-safe`; `silent` never tells its address; `hung` is busy
without a decode step; `stubborn` ignores SIGTERM; `sick` fails its first completion.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODE = sys.argv[1]
LAUNCH = json.loads(sys.stdin.readline())
METRICS = "llamacpp:requests_processing {busy}\nllamacpp:requests_deferred 0\nllamacpp:n_decode_total {steps}\n"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        hung = MODE == "hung"
        self._send(200, METRICS.format(busy=int(hung), steps=7) if self.path == "/metrics" else "{}")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        allowed = self.headers["authorization"] == f"Bearer {LAUNCH['key']}"
        self._send(500 if MODE == "sick" else 200 if allowed else 401, "{}")

    def _send(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())


def main() -> None:
    print(f"fake engine {MODE} with the key {LAUNCH['key']}", file=sys.stderr, flush=True)
    if MODE == "exit":
        sys.exit(7)
    if MODE == "segv" or (MODE == "segv-unless-safe" and not LAUNCH["safe"]):
        os.kill(os.getpid(), signal.SIGSEGV)
    if MODE == "silent":
        time.sleep(60)
    if MODE == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(json.dumps({"address": f"http://127.0.0.1:{server.server_address[1]}"}), flush=True)
    server.serve_forever()


main()
