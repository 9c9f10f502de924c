"""The vendors' own clients over the pipeline of this process: their HTTP library gets a transport without a socket.

A vendor's package is loaded when its client is asked for, and learns nothing from the environment: neither addresses
nor keys, headers or proxies that are meant for the vendor. It tries nothing again, since we have tried already.
"""

from __future__ import annotations

import asyncio
import os
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Coroutine, Generator, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from trivium.errors import Draining, InvalidRequest, TriviumError
from trivium.gateway import surface
from trivium.gateway.call import Call

if TYPE_CHECKING:
    import anthropic
    import cohere
    import ollama
    import openai
    from google import genai
    from google.genai.client import AsyncClient as AsyncGemini

    from trivium.gateway.runtime import Runtime

T = TypeVar("T")

ORIGIN = "http://trivium.invalid"
"""Where the clients believe to be; no name of that kind exists (RFC 2606), should one ever look it up."""
KEY = "trivium"
"""They want one; nobody looks at it."""
PACKAGES = {
    "openai": "openai>=3",
    "anthropic": "anthropic>=2",
    "cohere": "cohere>=7",
    "google.genai": "google-genai>=3",
    "ollama": "ollama>=0.6",
}
"""Module → what to install. Those of older versions have another HTTP library."""


class Carrier(Protocol):
    """The loop that a gateway is on, for callers on another thread (`run`) or on a loop (`wait`)."""

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T: ...
    async def wait(self, coroutine: Coroutine[Any, Any, T]) -> T: ...


class OwnLoop:
    """The carrier of callers who are on that loop themselves."""

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        coroutine.close()
        raise InvalidRequest("An `AsyncTrivium` has to be awaited.", remedy="Use `Trivium`.")

    async def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return await coroutine


class Transport:
    """Carries the requests of one HTTP library, sync or async, to the pipeline of its maker."""

    def __init__(self, maker: Maker, http: Any) -> None:
        self._maker = maker
        self.http = http
        self._closings = maker._closings

    def handle_request(self, request: Any) -> Any:
        request.read()
        try:
            carrier = self._carrier()
            call = carrier.run(self._ask(request))
        except TriviumError as error:
            carrier, call = OwnLoop(), self._refused(request, error)
        return self._response(request, call, carrier)

    async def handle_async_request(self, request: Any) -> Any:
        await request.aread()
        try:
            carrier = self._carrier()
            call = await carrier.wait(self._ask(request))
        except TriviumError as error:
            carrier, call = OwnLoop(), self._refused(request, error)
        return self._response(request, call, carrier)

    def _carrier(self) -> Carrier:
        if self._closings != self._maker._closings:
            raise Draining("The `Trivium` of this client was closed.", remedy="Ask it for a new client.")
        return self._maker._carrier()

    async def _ask(self, request: Any) -> Call:
        """On the gateway's loop: a call that has the head of its answer."""
        coding, call = request.headers.encoding, Call()
        fields = {name.encode(coding): value.encode(coding) for name, value in request.headers.items()}
        method, target = request.method.encode(), request.url.raw_path
        surface.answer(self._maker._runtime(), call, method, target, fields, request.content)
        try:
            await self.within(request, call.answered())
        except BaseException:
            call.close()
            raise
        return call

    async def within(self, request: Any, waiting: Coroutine[Any, Any, T]) -> T:
        """What is waited for, or the library's own error if it does not come in the request's time."""
        try:
            async with asyncio.timeout(request.extensions.get("timeout", {}).get("read")):
                return await waiting
        except TimeoutError as error:
            raise self.http.ReadTimeout("The answer took too long.", request=request) from error
        except ConnectionError as error:
            raise self.http.RemoteProtocolError(str(error), request=request) from error

    def _refused(self, request: Any, error: TriviumError) -> Call:
        call = Call()
        surface.turn_away(call, request.url.raw_path, error, extra=b"x-should-retry: false\r\n")
        return call

    def _response(self, request: Any, call: Call, carrier: Carrier) -> Any:
        lines = (line.partition(b": ") for line in call.head.split(b"\r\n") if line)
        fields = [(name, value) for name, _, value in lines]
        if call.body is not None:
            return self.http.Response(call.status, headers=fields, content=call.body)
        stream = _kin(Body, self.http.SyncByteStream, self.http.AsyncByteStream)(self, request, call, carrier)
        return self.http.Response(call.status, headers=fields, stream=stream)


class Body:
    """The rest of an answer as it comes. One that is collected half-read stops its upstream, as a socket would."""

    def __init__(self, transport: Transport, request: Any, call: Call, carrier: Carrier) -> None:
        self._transport = transport
        self._request = request
        self._call = call
        self._carrier = carrier

    def __iter__(self) -> Iterator[bytes]:
        with self._closing():
            while data := self._carrier.run(self._read()):
                yield data

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with self._closing():
            while data := await self._carrier.wait(self._read()):
                yield data

    async def _read(self) -> bytes:
        return await self._transport.within(self._request, self._call.read())

    @contextmanager
    def _closing(self) -> Generator[None]:
        """Where the gateway's loop is over, the answer is cut."""
        try:
            yield
        except Draining as error:
            raise self._transport.http.ReadError(str(error), request=self._request) from error

    def close(self) -> None:
        self._call.close()

    async def aclose(self) -> None:
        self._call.close()

    __del__ = close


@cache
def _kin(kind: type[T], *bases: type) -> type[T]:
    """The same with a library's own bases, which it looks for."""
    made: Any = type(kind.__name__, (kind, *bases), {})
    return made


class Maker(ABC):
    """Whoever hands out clients."""

    _closings = 0
    """How often it was closed: what it handed out before then is over."""

    @abstractmethod
    def _carrier(self) -> Carrier: ...
    @abstractmethod
    def _runtime(self) -> Runtime:
        """What its requests share; asked for on the loop that serves them."""

    def _http(self, library: str, kind: str) -> Any:
        """`Client` or `AsyncClient` of an HTTP library. Trivium has deadlines of its own, so it has none."""
        http = import_module(library)
        return getattr(http, kind)(transport=self._transport(http), timeout=None, trust_env=False)

    def _transport(self, http: Any) -> Transport:
        return _kin(Transport, http.BaseTransport, http.AsyncBaseTransport)(self, http)

    def _generated(self, module: str, kind: str, http: str, base_url: str, *unset: str, **more: str) -> Any:
        """A client of `openai` or `anthropic`, which one generator makes, without `unset` headers."""
        vendor = _load(module)
        lines = [*os.environ.get(f"{module.upper()}_CUSTOM_HEADERS", "").split("\n"), *unset]
        names = {line.partition(":")[0].strip() for line in lines} - {""}
        return getattr(vendor, kind)(
            api_key=KEY,
            base_url=base_url,
            max_retries=0,
            default_headers={name: vendor.omit for name in names if name.lower() != "authorization"},
            http_client=self._http("httpx2", http),
            **more,
        )

    def _openai(self, kind: str, http: str) -> Any:
        unset, none = ("OpenAI-Organization", "OpenAI-Project"), {"organization": "", "project": ""}
        return self._generated("openai", kind, http, f"{ORIGIN}/v1", *unset, **none)

    def _cohere(self, kind: str, http: str) -> Any:
        made = getattr(_load("cohere"), kind)
        return made(api_key=KEY, base_url=ORIGIN, max_retries=0, httpx_client=self._http("httpx", http))

    def _gemini(self) -> genai.Client:
        vendor, sync, other = _load("google.genai"), self._http("httpx2", "Client"), self._http("httpx2", "AsyncClient")
        options = vendor.types.HttpOptions(
            base_url=ORIGIN, api_version="v1beta", httpx_client=sync, httpx_async_client=other
        )
        plain = vendor.client.DebugConfig(client_mode=None)
        return vendor.Client(vertexai=False, api_key=KEY, http_options=options, debug_config=plain)

    def _ollama(self, kind: str) -> Any:
        vendor, transport = _load("ollama"), self._transport(import_module("httpx"))
        headers = {"authorization": f"Bearer {KEY}"}
        return getattr(vendor, kind)(host=ORIGIN, headers=headers, transport=transport, trust_env=False)


def _load(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        package = PACKAGES[module]
        raise ImportError(f"`{module}` cannot be loaded: {error}. Install it: `pip install '{package}'`.") from error


class Clients(Maker):
    """The vendors' sync clients. Each method raises ImportError, with what to install, where the package is missing."""

    def openai_client(self) -> openai.OpenAI:
        """An `openai.OpenAI` over this pipeline, as long as it is open."""
        return self._openai("OpenAI", "Client")

    def anthropic_client(self) -> anthropic.Anthropic:
        """An `anthropic.Anthropic` over this pipeline, as long as it is open."""
        return self._generated("anthropic", "Anthropic", "Client", ORIGIN)

    def cohere_client(self) -> cohere.ClientV2:
        """A `cohere.ClientV2` over this pipeline, as long as it is open."""
        return self._cohere("ClientV2", "Client")

    def gemini_client(self) -> genai.Client:
        """A `google.genai.Client` over this pipeline, as long as it is open; its `aio` works on any loop."""
        return self._gemini()

    def ollama_client(self) -> ollama.Client:
        """An `ollama.Client` over this pipeline, as long as it is open."""
        return self._ollama("Client")


class AsyncClients(Maker):
    """The vendors' async clients; they raise ImportError as the sync ones do."""

    def _carrier(self) -> Carrier:
        return OwnLoop()

    def openai_client(self) -> openai.AsyncOpenAI:
        """An `openai.AsyncOpenAI` over this pipeline, as long as it is open."""
        return self._openai("AsyncOpenAI", "AsyncClient")

    def anthropic_client(self) -> anthropic.AsyncAnthropic:
        """An `anthropic.AsyncAnthropic` over this pipeline, as long as it is open."""
        return self._generated("anthropic", "AsyncAnthropic", "AsyncClient", ORIGIN)

    def cohere_client(self) -> cohere.AsyncClientV2:
        """A `cohere.AsyncClientV2` over this pipeline, as long as it is open."""
        return self._cohere("AsyncClientV2", "AsyncClient")

    def gemini_client(self) -> AsyncGemini:
        """The `aio` of a `google.genai.Client` over this pipeline, as long as it is open."""
        return self._gemini().aio

    def ollama_client(self) -> ollama.AsyncClient:
        """An `ollama.AsyncClient` over this pipeline, as long as it is open."""
        return self._ollama("AsyncClient")
