"""Trivium in a program: the same pipeline as the server's, without a server and without a hop.

`AsyncTrivium` runs on the caller's loop, whichever it is; `Trivium` is a facade over one loop on a thread of
its own. Both start anew after `fork`, close with `with`, and never hold up the end of a program.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import math
import os
import threading
import weakref
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import msgspec

from trivium.config.load import load
from trivium.config.schema import Config
from trivium.dialects import get as dialect_named
from trivium.errors import Draining, InvalidRequest, TriviumError
from trivium.gateway import pipeline
from trivium.gateway.exchange import Exchange, ObjectSink
from trivium.gateway.explain import PlanView, view
from trivium.gateway.gateway import Gateway
from trivium.gateway.owner import Owner
from trivium.gateway.runtime import Runtime
from trivium.gateway.wish import Wish, data_class_of
from trivium.routing.names import AUTO
from trivium.sdk import AsyncClients, Carrier, Clients
from trivium.transport.platform import new_event_loop
from trivium.types.data import DataClass
from trivium.types.event import End, Event, Failure
from trivium.types.request import Request
from trivium.types.response import Response
from trivium.types.retrieval import AnyRequest, Purpose, Truncate

Messages = str | Sequence[Mapping[str, Any]]
T = TypeVar("T")

STREAM_EVENTS_MAX = 256
"""Events that may wait for their reader; then the upstream is read no further."""
CLOSE_S = 20.0
CLOSE_TURNS = 10
CLOSED, ASK_BEFORE = "This client was closed.", "Ask before you close it."


def request_of(messages: Messages, model: str, parameters: Mapping[str, Any], *, stream: bool) -> Request:
    """A request from Python values in OpenAI's shapes. Raises InvalidRequest naming the field.

    A plain string stands for one user message; `parameters` are those of a chat completion.
    """
    said = [{"role": "user", "content": messages}] if isinstance(messages, str) else list(messages)
    return _parsed("openai_chat", {"model": model, "messages": said, **parameters, "stream": stream})


def _parsed(dialect: str, body: Mapping[str, Any]) -> Any:
    try:
        return dialect_named(dialect).parse_request(msgspec.json.encode(body))
    except TypeError as error:
        raise InvalidRequest(f"A parameter cannot be written as JSON: {error}.") from error


class AsyncTrivium(AsyncClients):
    """The three roads, awaited.

    `config` is a Config, the path of a `trivium.toml`, or None for what the server would find. Methods raise
    TriviumError and its kin.
    """

    def __init__(self, config: Config | str | Path | None = None, *, offline: bool = False) -> None:
        if not isinstance(config, Config):
            config = load(file=config, offline=offline, env=os.environ, cwd=Path.cwd())
        self.config = config
        self._gateway: Gateway | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = 0
        _open_clients.add(self)

    def _open(self) -> Gateway:
        loop = asyncio.get_running_loop()
        if self._gateway is None or self._pid != os.getpid() or self._loop is not loop:
            self._leave()
            self._gateway, self._loop, self._pid = Gateway(self.config), loop, os.getpid()
            _open_clients.add(self)
        self._gateway.look_at_store()
        return self._gateway

    def _leave(self) -> None:
        """Let go of a gateway without its loop: that has ended, or is a parent's."""
        gateway, self._gateway = self._gateway, None
        if gateway is None:
            return
        if self._pid != os.getpid():
            _inherited.append(gateway)
            return
        gateway.journal.close()
        if gateway.owner is not None:
            gateway.owner.close()

    @contextlib.contextmanager
    def _calling(self, sink: ObjectSink, request: AnyRequest, wish: Wish) -> Generator[Exchange]:
        """A request in flight; whoever leaves before its end stops the upstream."""
        exchange = pipeline.begin_request(self._open().runtime, sink, request, wish)
        try:
            yield exchange
        finally:
            pipeline.caller_gone(exchange)

    def _runtime(self) -> Runtime:
        return self._open().runtime

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
        return await self._whole(request, _wish(data_class, strict, timeout_s))

    async def _whole(self, request: AnyRequest, wish: Wish) -> Response:
        waiting = _Waiting(asyncio.get_running_loop())
        with self._calling(waiting, request, wish):
            return await waiting.answer

    async def embed(
        self,
        texts: str | Sequence[str],
        model: str,
        *,
        dimensions: int | None = None,
        purpose: Purpose | None = None,
        truncate: Truncate | None = None,
        data_class: str | None = None,
        strict: bool = False,
        timeout_s: float | None = None,
    ) -> Response:
        """One vector a text, in `embeddings`. Those of two models cannot be compared, so nothing is chosen here."""
        _check_word("purpose", purpose, Purpose)
        _check_word("truncate", truncate, Truncate)
        request = _parsed("openai_embeddings", {"model": model, "input": texts, "dimensions": dimensions})
        request = msgspec.structs.replace(request, purpose=purpose, truncate=truncate)
        return await self._whole(request, _wish(data_class, strict, timeout_s))

    async def rerank(
        self,
        query: str,
        documents: Sequence[str],
        model: str,
        *,
        top_n: int | None = None,
        max_tokens_per_doc: int | None = None,
        data_class: str | None = None,
        strict: bool = False,
        timeout_s: float | None = None,
    ) -> Response:
        """How well each document answers the query, in `ranking`: the best first, by its place in `documents`."""
        few = {"top_n": top_n, "max_tokens_per_doc": max_tokens_per_doc}
        request = _parsed("rerank", {"model": model, "query": query, "documents": documents, **few})
        return await self._whole(request, _wish(data_class, strict, timeout_s))

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
        with self._calling(flow, request, _wish(data_class, strict, timeout_s)) as exchange:
            while True:
                event = await flow.next()
                if finished is not None and isinstance(event, End):
                    finished(completed(exchange, Response()))
                yield event
                if isinstance(event, End):
                    return

    async def plan(
        self, messages: Messages, model: str = AUTO, *, data_class: str | None = None, **parameters: Any
    ) -> PlanView:
        """Which endpoints would serve, in which order, and why the others would not; nothing is sent."""
        request = request_of(messages, model, parameters, stream=False)
        runtime, wish = self._open().runtime, _wish(data_class, strict=False, timeout_s=None)
        return view(runtime.snapshot, runtime.conditions, request, wish, id_=runtime.new_id())

    async def aclose(self) -> None:
        """Stop what this client started; calls in flight raise Draining. Safe to call twice."""
        self._closings += 1
        owner = await self._close_loop()
        if owner is not None:
            await asyncio.get_running_loop().run_in_executor(None, owner.close)

    async def _close_loop(self) -> Owner | None:
        """Close everything but the owner, whose end may take a while and needs no loop."""
        _open_clients.discard(self)
        gateway = self._gateway
        if gateway is None or self._pid != os.getpid() or self._loop is not asyncio.get_running_loop():
            self._leave()
            return None
        self._gateway = None
        gateway.runtime.cut_all(Draining(CLOSED, remedy=ASK_BEFORE))
        for _ in range(CLOSE_TURNS):  # in which the journal is written, and the callers' tasks end
            await asyncio.sleep(0)
        owner, gateway.owner = gateway.owner, None
        await gateway.close()
        return owner

    async def __aenter__(self) -> AsyncTrivium:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


def _wish(data_class: str | None, strict: bool, timeout_s: float | None) -> Wish:
    wanted = DataClass.ANY if data_class is None else data_class_of(str(data_class))
    if timeout_s is not None and not (isinstance(timeout_s, int | float) and 0 < timeout_s < math.inf):
        raise InvalidRequest(f"`{timeout_s}` is no timeout.", remedy="Give seconds, more than 0.", param="timeout_s")
    return Wish(data_class=wanted, strict=strict, timeout_s=timeout_s)


def _check_word(name: str, given: object, words: Any) -> None:
    if given is not None and given not in get_args(words):
        raise InvalidRequest(
            f"`{given}` is no `{name}`.", remedy=f"Use one of {', '.join(get_args(words))}.", param=name
        )


class _Waiting:
    """Waits for a whole answer."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.answer: asyncio.Future[Response] = loop.create_future()

    def give(self, exchange: Exchange, answer: Response | list[Event]) -> None:
        if isinstance(answer, Response) and not self.answer.done():
            self.answer.set_result(completed(exchange, answer))

    def done(self) -> None:
        pass

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


class _Flow:
    """Waits for the events of a stream, a bounded number ahead of its reader."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._arrived = asyncio.Event()
        self._error: TriviumError | None = None
        self._exchange: Exchange | None = None
        self._paused = False

    def give(self, exchange: Exchange, answer: Response | list[Event]) -> None:
        self._exchange = exchange
        self._events += [] if isinstance(answer, Response) else answer
        self._arrived.set()
        if len(self._events) > STREAM_EVENTS_MAX and not self._paused:
            self._paused = True
            exchange.on_caller_writable(writable=False)

    def done(self) -> None:
        pass

    def fail(self, exchange: Exchange, error: TriviumError) -> None:
        self._error = self._error or error
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
    """An event loop on a daemon thread: what a `Trivium` runs on, and ends with.

    `stop` begins the end and returns at once, so that it may be called anywhere, by a collection too; `join` waits.
    """

    def __init__(self, client: Trivium, inner: AsyncTrivium) -> None:
        self.loop = new_event_loop()
        self.pid = os.getpid()
        self.stop = weakref.finalize(client, self._stop)
        self._inner = inner
        self._calls: set[Coroutine[Any, Any, Any]] = set()
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="trivium", daemon=True)
        self._thread.start()
        _threads.add(self)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        self._ending = True
        owner = self.loop.run_until_complete(self._inner._close_loop())
        while (left := asyncio.all_tasks(self.loop)) or self._calls:
            for task in left:
                task.cancel()
            self.loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self.loop.close()
        if owner is not None:
            owner.close()
        _threads.discard(self)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        future = self.start(coroutine)
        try:
            return future.result()
        except concurrent.futures.CancelledError as error:
            raise Draining(CLOSED, remedy=ASK_BEFORE) from error
        except BaseException:
            future.cancel()
            raise

    async def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The same from another loop."""
        try:
            return await asyncio.wrap_future(self.start(coroutine))
        except asyncio.CancelledError as error:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            raise Draining(CLOSED, remedy=ASK_BEFORE) from error

    def start(self, coroutine: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Raises Draining once the loop ends, and in a forked child, where it does not run."""
        self._calls.add(coroutine)  # before the look: an ending loop waits for all that it did not refuse
        try:
            if self._ending or self.pid != os.getpid():
                coroutine.close()
                raise Draining(CLOSED, remedy=ASK_BEFORE)
            future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
            future.add_done_callback(lambda _: self._calls.discard(coroutine))
        except BaseException:  # an interruption, too: a call that nobody discards would hold up the end for ever
            self._calls.discard(coroutine)
            raise
        return future

    def _stop(self) -> None:
        if self.pid == os.getpid():
            self.loop.call_soon_threadsafe(self.loop.stop)

    def join(self) -> None:
        self._thread.join(CLOSE_S)


class Trivium(Clients):
    """The three roads, for programs without a loop of their own, and inside a running one (a notebook)."""

    def __init__(self, config: Config | str | Path | None = None, *, offline: bool = False) -> None:
        self._inner = AsyncTrivium(config, offline=offline)
        self.config = self._inner.config
        self._thread: _LoopThread | None = None
        self._locks: dict[int, threading.Lock] = {}

    def _running(self) -> _LoopThread:
        pid = os.getpid()
        with self._locks.setdefault(pid, threading.Lock()):  # a lock that was held during a fork stays held
            if self._thread is None or self._thread.pid != pid:
                self._thread = _LoopThread(self, self._inner)
            return self._thread

    def _carrier(self) -> Carrier:
        return self._running()

    def _runtime(self) -> Runtime:
        return self._inner._open().runtime

    def chat(self, messages: Messages, model: str = AUTO, **parameters: Any) -> Response:
        """Ask and wait for the whole answer; parameters as `AsyncTrivium.chat`."""
        return self._running().run(self._inner.chat(messages, model, **parameters))

    def embed(self, texts: str | Sequence[str], model: str, **parameters: Any) -> Response:
        """One vector a text, in `embeddings`; parameters as `AsyncTrivium.embed`."""
        return self._running().run(self._inner.embed(texts, model, **parameters))

    def rerank(self, query: str, documents: Sequence[str], model: str, **parameters: Any) -> Response:
        """How well each document answers the query, in `ranking`; parameters as `AsyncTrivium.rerank`."""
        return self._running().run(self._inner.rerank(query, documents, model, **parameters))

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
            # Not awaited: an iterator may be collected anywhere, also on the loop's own thread.
            with contextlib.suppress(Draining):
                running.start(events.aclose())

    def plan(self, messages: Messages, model: str = AUTO, **parameters: Any) -> PlanView:
        """Which endpoints would serve, in which order, and why the others would not; nothing is sent."""
        return self._running().run(self._inner.plan(messages, model, **parameters))

    def close(self) -> None:
        """Stop what this client started; calls of other threads raise Draining. Bounded in time; safe to call twice."""
        self._closings += 1
        thread, self._thread = self._thread, None
        if thread is not None and thread.pid == os.getpid():
            thread.stop()
            thread.join()

    def __enter__(self) -> Trivium:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


_open_clients: weakref.WeakSet[AsyncTrivium] = weakref.WeakSet()
_threads: set[_LoopThread] = set()
"""Those that run, whether or not their clients are still there; in a forked child also its parent's, as below."""
_inherited: list[Gateway] = []
"""A parent's gateways. Kept, because to collect one is to close sockets that are still the parent's."""


@atexit.register
def _close_all() -> None:
    """A program that ends without closing its clients still stops its engines and loses no record."""
    threads = [thread for thread in list(_threads) if thread.pid == os.getpid()]
    for thread in threads:
        thread.stop()
    for thread in threads:
        thread.join()
    for client in list(_open_clients):
        client._leave()  # its loop has ended


__all__ = ["AsyncTrivium", "Failure", "Trivium", "TriviumError"]
