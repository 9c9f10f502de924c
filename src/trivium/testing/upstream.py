"""A fake upstream for tests: correct answers in each dialect, and any fault on demand, by the model's name.

    with FakeUpstream() as up:
        client = openai.OpenAI(base_url=up.base_url, api_key="any")
        client.chat.completions.create(model="stall-after-3", messages=[…], stream=True)
        assert up.count(model="stall-after-3") == 1

`python -m trivium.testing.upstream --port 9000` serves the same to any program; `--list` names the faults.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import ssl
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from msgspec.json import decode, encode

from trivium.testing import answers, faults
from trivium.testing.answers import JSON
from trivium.testing.call import JSON_TYPE, Call
from trivium.testing.front import VOICES, Reply, asked, receive
from trivium.testing.http import BadRequest, Connection, Request, response_head


@dataclass
class Seen:
    """One request as it arrived; times are seconds of the monotonic clock."""

    method: str
    path: str
    headers: dict[str, str]
    """By lower-case name."""
    head: bytes
    """The raw request line and header fields."""
    body: bytes
    model: str
    """Empty where the body names none."""
    connection: int
    """Connections are numbered from 1."""
    time: float = field(default_factory=time.monotonic)
    answered_at: float | None = None
    """When the answer was complete, also if it was a fault."""
    client_gone_at: float | None = None
    """When the client left before that."""

    @property
    def json(self) -> JSON:
        return decode(self.body)


@dataclass(eq=False, kw_only=True)
class FakeUpstream:
    """A server on loopback in a thread of its own, with a loop of its own, for synchronous and asynchronous tests.

    `key`: what callers must present (401 otherwise). `text`: what is said by default. `time_scale` divides every
    wait of a fault, so that 120 s of silence last 6 s at 20; it does not change what a header says.
    """

    host: str = "127.0.0.1"
    port: int = 0
    time_scale: float = 1.0
    key: str | None = None
    text: str = answers.TEXT
    tls: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        self.connections = 0
        """How many were ever accepted."""
        self.busy = 0
        """How many requests are being answered now."""
        self._lock = threading.Lock()
        self._seen: list[Seen] = []
        self._earlier: Counter[str] = Counter()
        self._open: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._crashes: list[BaseException] = []
        self._thread: threading.Thread | None = None

    @property
    def origin(self) -> str:
        return f"{'https' if self.tls else 'http'}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    @property
    def base_url(self) -> str:
        """With the version segment, as OpenAI's library wants it; Anthropic's wants `origin`."""
        return f"{self.origin}/v1"

    @property
    def requests(self) -> list[Seen]:
        """All requests so far, in the order of their arrival."""
        with self._lock:
            return list(self._seen)

    def count(self, *, model: str | None = None, path: str | None = None) -> int:
        return sum(model in (None, seen.model) and path in (None, seen.path) for seen in self.requests)

    @property
    def open_connections(self) -> int:
        return len(self._open)

    def reset(self) -> None:
        """Forget all requests, and with them which faults have already happened once."""
        with self._lock:
            self._seen.clear()
            self._earlier.clear()

    def wait_until(self, true: Callable[[], bool], timeout_s: float = 10.0) -> None:
        """Wait for something that this server shall see. Raises TimeoutError."""
        end = time.monotonic() + timeout_s
        while not true():
            if time.monotonic() > end:
                raise TimeoutError(f"it did not happen within {timeout_s} s; requests: {self.requests}")
            time.sleep(0.005)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def start(self) -> None:
        """Raises OSError if the port cannot be had."""
        self._loop = asyncio.SelectorEventLoop()
        try:
            server = self._loop.run_until_complete(
                self._loop.create_server(self._connection, self.host, self.port, ssl=self.tls)
            )
        except OSError:
            self._loop.close()
            raise
        self.port = server.sockets[0].getsockname()[1]
        self._thread = threading.Thread(target=self._run, args=(server,), name="fake-upstream", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close the port and cut every connection; the port can be taken again by `start`.

        Raises RuntimeError if this server itself failed, so that no test takes that for a fault.
        """
        if self._thread is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._thread = None
        if self._crashes:
            raise RuntimeError("the fake upstream itself failed") from self._crashes[0]

    def _run(self, server: asyncio.Server) -> None:
        self._loop.run_forever()
        self._loop.run_until_complete(self._close(server))
        self._loop.close()

    async def _close(self, server: asyncio.Server) -> None:
        # asyncio loses the socket of a connection that is accepted just before its server closes: first accept no
        # more, then let what was accepted become a connection.
        for listener in server.sockets:
            self._loop.remove_reader(listener.fileno())
        await _turns(3)
        server.close()
        while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        while self._open:
            for connection in list(self._open):
                connection.transport.abort()
            await _turns(1)
        await _turns(3)  # transports that never became connections (a failed handshake) close their sockets

    def _connection(self) -> Connection:
        self.connections += 1
        return Connection(self.connections, self._opened, self._lost)

    def _opened(self, connection: Connection) -> None:
        self._open.add(connection)
        task = self._loop.create_task(self._serve(connection))
        self._tasks.add(task)
        task.add_done_callback(lambda task: self._served(connection, task))

    def _served(self, connection: Connection, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (crash := task.exception()) is not None:
            self._crashes.append(crash)
            connection.transport.abort()

    def _lost(self, connection: Connection) -> None:
        self._open.discard(connection)

    async def _serve(self, connection: Connection) -> None:
        try:
            while (request := await connection.read_request()) is not None:
                await self._answer(connection, request)
                if connection.closing:
                    return
                if request.headers.get("connection", "").lower() == "close":
                    connection.fin()
                    return
        except BadRequest as problem:
            await connection.send(response_head(400, {"connection": "close"}) + str(problem).encode())
            connection.fin()

    async def _answer(self, connection: Connection, request: Request) -> None:
        body = asked(request)
        seen, number, earlier = self._record(connection, request, body)
        # The answer stops as soon as nobody reads it: that is what a test of cancellation looks for.
        work = asyncio.ensure_future(self._respond(connection, request, body, number, earlier))
        connection.on_gone = lambda: _mark_gone(seen, work)
        try:
            await work
            seen.answered_at = time.monotonic()
        except asyncio.CancelledError:
            work.cancel()
            if seen.client_gone_at is None:
                raise
        finally:
            connection.on_gone = None
            self.busy -= 1

    def _record(self, connection: Connection, request: Request, body: JSON | None) -> tuple[Seen, int, int]:
        """What was seen, its number, and how many requests for its model came earlier."""
        model = (body or {}).get("model")
        name = model if isinstance(model, str) else ""
        seen = Seen(request.method, request.path, request.headers, request.head, request.body, name, connection.number)
        with self._lock:
            self._seen.append(seen)
            self._earlier[name] += 1
            self.busy += 1
            return seen, len(self._seen), self._earlier[name] - 1

    async def _respond(
        self, connection: Connection, request: Request, body: JSON | None, number: int, earlier: int
    ) -> None:
        received = receive(request, body, self.key)
        if isinstance(received, Reply):
            is_bytes = isinstance(received.body, bytes)
            data = received.body if isinstance(received.body, bytes) else encode(received.body)
            kind = {"content-type": "application/octet-stream"} if is_bytes else JSON_TYPE
            fields = {"x-request-id": "req_trivium", "content-length": str(len(data))}
            head = response_head(received.status, kind | fields)
            await connection.send(head + data)
            return
        voice, question = received
        answer = answers.answer(question, number, self.text)
        call = Call(connection, voice, answer, question.stream, self.time_scale, earlier, self.port)
        await faults.answer(call, question.model)


async def _turns(count: int) -> None:
    """Let the loop turn."""
    for _ in range(count):
        await asyncio.sleep(0)


def _mark_gone(seen: Seen, work: asyncio.Future[None]) -> None:
    seen.client_gone_at = time.monotonic()
    work.cancel()


def listing() -> str:
    """The faults by their number, for people."""
    width = max(len(row.name) for row in faults.FAULTS)
    rows = sorted(faults.FAULTS, key=lambda row: row.case)
    return "\n".join(f"{row.case or '':>3}  {row.name:<{width}}  {row.about}" for row in rows)


EPILOGUE = """\
{n} in a name is a number of your choice. What precedes a `+` asks for more than text: `tool+cut-after-2`.
Any other model is answered correctly; `echo`, `tool`, `tools2`, `reasoning` and `cached` in its name say how."""


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m trivium.testing.upstream", description="A fake upstream with faults.")
    parser.add_argument("--host", default="127.0.0.1", help="loopback unless you say otherwise")
    parser.add_argument("--port", type=int, default=9000)
    parser.add_argument("--time-scale", type=float, default=1.0, help="divides every wait: 120 s last 6 s at 20")
    parser.add_argument("--key", help="the key that callers must present")
    parser.add_argument("--list", action="store_true", help="print the faults and exit")
    given = parser.parse_args(argv)
    if given.list:
        try:
            print(f"{listing()}\n\n{EPILOGUE}", flush=True)
        except BrokenPipeError:  # `| head` has read enough; nothing may be flushed into the closed pipe at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    if not (0 <= given.port < 1 << 16 and given.time_scale > 0):
        parser.error("--port is from 0 to 65535, --time-scale more than 0")
    upstream = FakeUpstream(host=given.host, port=given.port, time_scale=given.time_scale, key=given.key)
    try:
        upstream.start()
    except OSError as error:
        print(f"cannot listen on {given.host}:{given.port}: {error.strerror}; choose another --port", file=sys.stderr)
        return 1
    print(f"{upstream.base_url} speaks {', '.join(f'POST {path}' for path in VOICES)}, GET /v1/models")
    print("the model's name chooses the fault; --list prints them all; Ctrl-C ends", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()
    upstream.stop()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
