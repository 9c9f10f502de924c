"""Trivium in a program: the same pipeline as the server's, without a server and without a hop.

`AsyncTrivium` runs on the caller's loop, whichever it is; `Trivium` is a facade over one loop on a thread of
its own. Both start anew after `fork`, close with `with`, and never hold up the end of a program.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
import weakref
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from trivium.config.load import load
from trivium.config.schema import Config
from trivium.dialects import get as dialect_named
from trivium.errors import InvalidRequest, TriviumError
from trivium.gateway import pipeline
from trivium.gateway.exchange import Exchange, Wish
from trivium.gateway.explain import PlanView, view
from trivium.gateway.gateway import Gateway
from trivium.routing.names import AUTO
from trivium.transport.platform import new_event_loop
from trivium.types.data import DataClass
from trivium.types.event import End, Event, Failure
from trivium.types.request import Request
from trivium.types.response import Response

Messages = str | Sequence[Mapping[str, Any]]
T = TypeVar("T")

STREAM_EVENTS_MAX = 256
"""Events that may wait for their reader; then the upstream is read no further."""
CLOSE_S = 20.0


def request_of(messages: Messages, model: str, parameters: Mapping[str, Any], *, stream: bool) -> Request:
    """A request from Python values in OpenAI's shapes. Raises InvalidRequest naming the field.

    A plain string stands for one user message; `parameters` are those of a chat completion.
    """
    said = [{"role": "user", "content": messages}] if isinstance(messages, str) else list(messages)
    try:
        body = msgspec.json.encode({"model": model, "messages": said, **parameters, "stream": stream})
    except TypeError as error:
        raise InvalidRequest(f"A parameter cannot be written as JSON: {error}.") from error
    return dialect_named("openai_chat").parse_request(body)


class AsyncTrivium:
    """The three roads, awaited.

    `config` is a Config, the path of a `trivium.toml`, or None for what the server would find. Methods raise
    TriviumError and its kin.
    """

    def __init__(self, config: Config | str | Path | None = None, *, offline: bool = False) -> None:
        if not isinstance(config, Config):
            config = load(file=config, offline=offline, env=os.environ, cwd=Path.cwd())
        self.config = config
        self._gateway: Gateway | None = None
        self._pid = 0

    def _open(self) -> Gateway:
        if self._gateway is None or self._pid != os.getpid():
            # After a fork the parent's gateway is the parent's: its sockets are left alone, not closed.
            self._gateway = Gateway(self.config)
            self._pid = os.getpid()
        self._gateway.look_at_store()
        return self._gateway

    async def chat(
        self,
        messages: Messages,
        model: str = AUTO,
        *,
        data_class: str | None = None,
        strict: bool = False,
        timeout_s: float | None = None,
        **parameters: Any,
    ) -> Response:
        """Ask and wait for the whole answer."""
        request = request_of(messages, model, parameters, stream=False)
        waiting = _Waiting(asyncio.get_running_loop())
        exchange = pipeline.begin_request(self._open().runtime, waiting, request, _wish(data_class, strict, timeout_s))
        try:
            return await waiting.answer
        except asyncio.CancelledError:
            pipeline.caller_gone(exchange)
            raise

    async def stream(
        self,
        messages: Messages,
        model: str = AUTO,
        *,
        data_class: str | None = None,
        strict: bool = False,
        timeout_s: float | None = None,
        finished: Callable[[Response], object] | None = None,
        **parameters: Any,
    ) -> AsyncGenerator[Event]:
        """Ask and yield the answer's events as they come; closing the iterator stops the upstream.

        `finished` is called before the last event, with what Trivium knows about the answer: who gave it, after how
        many attempts, and what it cost. It has no choices: those were the events.
        """
        request = request_of(messages, model, parameters, stream=True)
        flow = _Flow()
        exchange = pipeline.begin_request(self._open().runtime, flow, request, _wish(data_class, strict, timeout_s))
        try:
            while True:
                event = await flow.next()
                if finished is not None and isinstance(event, End):
                    finished(completed(exchange, Response()))
                yield event
                if isinstance(event, End):
                    return
        finally:
            pipeline.caller_gone(exchange)

    async def plan(
        self, messages: Messages, model: str = AUTO, *, data_class: str | None = None, **parameters: Any
    ) -> PlanView:
        """Which endpoints would serve, in which order, and why the others would not; nothing is sent."""
        request = request_of(messages, model, parameters, stream=False)
        return view(self._open().runtime.snapshot, request, _wish(data_class, strict=False, timeout_s=None))

    async def aclose(self) -> None:
        gateway, self._gateway = self._gateway, None
        if gateway is not None and self._pid == os.getpid():
            await gateway.close()

    async def __aenter__(self) -> AsyncTrivium:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


def _wish(data_class: str | None, strict: bool, timeout_s: float | None) -> Wish:
    wanted = DataClass.ANY if data_class is None else pipeline.data_class_of(data_class)
    return Wish(data_class=wanted, strict=strict, timeout_s=timeout_s)


class _Sink:
    """What a caller in the same process never gets: bytes."""

    def whole(self, exchange: Exchange, body: bytes) -> None: ...
    def begin(self, exchange: Exchange, first: bytes) -> None: ...
    def chunk(self, data: bytes) -> None: ...
    def end(self, last: bytes) -> None: ...
    def response(self, exchange: Exchange, response: Response) -> None: ...
    def events(self, exchange: Exchange, events: list[Event]) -> None: ...
    def fail(self, exchange: Exchange, error: TriviumError) -> None: ...
    def cut(self, exchange: Exchange, last: bytes, error: TriviumError) -> None: ...


class _Waiting(_Sink):
    """Waits for a whole answer."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.answer: asyncio.Future[Response] = loop.create_future()

    def response(self, exchange: Exchange, response: Response) -> None:
        if not self.answer.done():
            self.answer.set_result(completed(exchange, response))

    def fail(self, exchange: Exchange, error: TriviumError) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


def completed(exchange: Exchange, response: Response) -> Response:
    """The answer with what Trivium knows about it."""
    endpoint = exchange.plan.endpoints[exchange.position] if exchange.plan else None
    return msgspec.structs.replace(
        response,
        id=exchange.id,
        usage=exchange.usage,
        endpoint=endpoint.id if endpoint else "",
        access=endpoint.access if endpoint else "",
        attempts=exchange.attempts,
        cost_nanos=exchange.total_cost_nanos,
        fallback=exchange.fallback or None,
        losses=exchange.losses,
    )


class _Flow(_Sink):
    """Waits for the events of a stream, a bounded number ahead of its reader."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._arrived = asyncio.Event()
        self._error: TriviumError | None = None
        self._exchange: Exchange | None = None
        self._paused = False

    def events(self, exchange: Exchange, events: list[Event]) -> None:
        self._exchange = exchange
        self._events += events
        self._arrived.set()
        if len(self._events) > STREAM_EVENTS_MAX and not self._paused:
            self._paused = True
            exchange.on_caller_writable(writable=False)

    def fail(self, exchange: Exchange, error: TriviumError) -> None:
        self._error = error
        self._arrived.set()

    async def next(self) -> Event:
        while not self._events:
            if self._error is not None:
                raise self._error
            self._arrived.clear()
            await self._arrived.wait()
        event = self._events.popleft()
        if self._paused and len(self._events) < STREAM_EVENTS_MAX // 2 and self._exchange is not None:
            self._paused = False
            self._exchange.on_caller_writable(writable=True)
        return event


class _LoopThread:
    """An event loop on a daemon thread."""

    def __init__(self) -> None:
        self.loop = new_event_loop()
        self._thread = threading.Thread(target=self._run, name="trivium", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        self.loop.close()

    def run(self, coroutine: Coroutine[Any, Any, T], timeout_s: float | None = None) -> T:
        future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        try:
            return future.result(timeout_s)
        except BaseException:
            future.cancel()
            raise

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(CLOSE_S)


class Trivium:
    """The three roads, for programs without a loop of their own, and inside a running one (a notebook)."""

    def __init__(self, config: Config | str | Path | None = None, *, offline: bool = False) -> None:
        self._inner = AsyncTrivium(config, offline=offline)
        self.config = self._inner.config
        self._thread: _LoopThread | None = None
        self._pid = 0
        _open_clients.add(self)

    def _running(self) -> _LoopThread:
        if self._thread is None or self._pid != os.getpid():
            self._thread, self._pid = _LoopThread(), os.getpid()
        return self._thread

    def chat(self, messages: Messages, model: str = AUTO, **parameters: Any) -> Response:
        """Ask and wait for the whole answer; parameters as `AsyncTrivium.chat`."""
        return self._running().run(self._inner.chat(messages, model, **parameters))

    def stream(self, messages: Messages, model: str = AUTO, **parameters: Any) -> Iterator[Event]:
        """Ask and yield the answer's events as they come; closing the iterator stops the upstream."""
        running = self._running()
        events = self._inner.stream(messages, model, **parameters)
        try:
            while True:
                try:
                    yield running.run(anext(events))
                except StopAsyncIteration:
                    return
        finally:
            running.run(events.aclose())

    def plan(self, messages: Messages, model: str = AUTO, **parameters: Any) -> PlanView:
        """Which endpoints would serve, in which order, and why the others would not; nothing is sent."""
        return self._running().run(self._inner.plan(messages, model, **parameters))

    def close(self) -> None:
        """Stop what this client started; bounded in time, and safe to call twice."""
        _open_clients.discard(self)
        thread, self._thread = self._thread, None
        if thread is not None and self._pid == os.getpid():
            try:
                thread.run(self._inner.aclose(), CLOSE_S)
            except TimeoutError:
                return
            thread.stop()

    def __enter__(self) -> Trivium:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


_open_clients: weakref.WeakSet[Trivium] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for client in list(_open_clients):
        client.close()


__all__ = ["AsyncTrivium", "Failure", "Trivium", "TriviumError"]
