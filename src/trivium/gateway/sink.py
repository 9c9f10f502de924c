"""Answers over HTTP: the heads, and the end that a caller of a broken stream sees."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Protocol

from trivium.dialects.base import Dialect
from trivium.errors import ClientGone, TriviumError, UpstreamError
from trivium.gateway import pipeline
from trivium.gateway.exchange import Exchange
from trivium.gateway.metadata import annotated
from trivium.transport.server import Fields, Stream

JSON = b"content-type: application/json\r\n"
_HEAD = b"%bx-request-id: %b\r\nrequest-id: %b\r\n%bx-trivium-attempts: %d\r\n"
_CALLERS_ID = re.compile(rb"[\x21-\x7e]{1,512}")
"""As long as OpenAI takes one; what is none is left out of the answer."""
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]|%")


class Connection(Protocol):
    """Where an answer goes: a caller's connection, or what stands for one in the same process."""

    stream: Stream | None

    def whole(self, status: int, head: bytes, body: bytes) -> None: ...
    def begin(self, status: int, head: bytes, first: bytes) -> None: ...
    def chunk(self, data: bytes) -> None: ...
    def end(self, last: bytes) -> None: ...
    def cut(self, last: bytes) -> None: ...


def field(text: str) -> bytes:
    """Text as a header value: what is not printable ASCII is percent-encoded, so that nothing can be injected."""
    if text.isascii() and text.isprintable():
        return text.encode()
    return _UNPRINTABLE.sub(
        lambda found: "".join(f"%{b:02X}" for b in found[0].encode("utf-8", "replace")), text
    ).encode()


def callers_id(fields: Fields) -> bytes:
    """The caller's own id of its request, as a line of the answer's head, where `x-request-id` is ours."""
    given = fields.get(b"x-client-request-id") or fields.get(b"x-request-id", b"")
    return b"x-client-request-id: %b\r\n" % given if _CALLERS_ID.fullmatch(given) else b""


@lru_cache(maxsize=4096)
def _told(access: str, endpoint: str) -> bytes:
    return b"x-trivium-access: %b\r\nx-trivium-endpoint: %b\r\n" % (access.encode(), field(endpoint))


class HttpSink:
    """One request's answer on a caller's connection."""

    __slots__ = ("_connection", "_cors", "_exchange", "chunk")

    def __init__(self, connection: Connection, cors: bytes) -> None:
        self._connection = connection
        self.chunk = connection.chunk
        self._cors = cors
        self._exchange: Exchange | None = None

    # ---- transport.server.Stream

    def on_caller_gone(self) -> None:
        if self._exchange is not None:
            pipeline.caller_gone(self._exchange)

    def on_caller_writable(self, *, writable: bool) -> None:
        if self._exchange is not None:
            self._exchange.on_caller_writable(writable=writable)

    def follow(self, exchange: Exchange) -> None:
        """Tell the exchange when its caller leaves, as long as it runs."""
        if not exchange.closed:
            self._exchange = exchange
            self._connection.stream = self

    # ---- gateway.exchange.WireSink

    def whole(self, exchange: Exchange, body: bytes) -> None:
        cost = exchange.total_cost_nanos
        head = b"%b%bx-trivium-cost-usd: %b\r\n" % (
            JSON,
            self._head(exchange),
            b"unknown" if cost is None else b"%.9f" % (cost / 1e9),
        )
        self._connection.whole(200, head, body)

    def begin(self, exchange: Exchange, first: bytes) -> None:
        kind = exchange.dialect.stream_type if exchange.dialect else b""
        head = b"content-type: %b\r\ncache-control: no-cache\r\n%b" % (kind, self._head(exchange))
        self._connection.begin(200, head, first)

    def end(self, last: bytes) -> None:
        self._connection.end(last)

    def fail(self, exchange: Exchange, error: TriviumError) -> None:
        if isinstance(error, ClientGone) or exchange.dialect is None:
            return
        extra = b"x-trivium-attempts: %d\r\n" % exchange.attempts
        if exchange.attempts > 1 or (exchange.attempts and not error.retryable):
            extra += b"x-should-retry: false\r\n"  # we have already tried; both big SDKs obey this
        extra += self._cors + exchange.limits + self._service(exchange)
        refuse(self._connection, exchange.dialect, error, exchange.id, extra, exchange)

    def cut(self, last: bytes) -> None:
        self._connection.cut(last)

    def done(self) -> None:
        self._exchange = None

    @staticmethod
    def _service(exchange: Exchange) -> bytes:
        return b"x-generation-id: %b\r\n" % exchange.id.encode() if exchange.wish.service else b""

    def _head(self, exchange: Exchange) -> bytes:
        identity = exchange.id.encode()
        leg = exchange.leg
        if leg is None or (not exchange.released and exchange.stream and exchange.attempt is None):
            head = b"%bx-request-id: %b\r\nrequest-id: %b\r\n" % (self._cors, identity, identity)
            return head + self._service(exchange)
        head = _HEAD % (self._cors, identity, identity, _told(leg.place.access, leg.place.endpoint), exchange.attempts)
        if exchange.wish.service:
            head += self._service(exchange)
        if exchange.limits:
            head += exchange.limits
        if exchange.losses:
            head += b"x-trivium-dropped: %b\r\n" % field(", ".join(exchange.losses))
        if exchange.fallback:
            head += b"x-trivium-fallback: %b\r\n" % field(exchange.fallback)
        return head


def refuse(
    connection: Connection,
    dialect: Dialect,
    error: TriviumError,
    request_id: str,
    extra: bytes = b"",
    exchange: Exchange | None = None,
) -> None:
    """Answer with an error in a dialect's envelope and under its status; an exchange that wishes for it says how it was
    routed."""
    identity = request_id.encode()
    head = b"%b%bx-request-id: %b\r\nrequest-id: %b\r\n" % (JSON, extra, identity, identity)
    if error.retry_after_s is not None:
        wait_s = error.retry_after_s
        head += b"retry-after: %d\r\nretry-after-ms: %d\r\n" % (max(1, round(wait_s)), round(wait_s * 1000) or 1000)
    if isinstance(error, UpstreamError) and error.endpoint:
        head += b"x-trivium-endpoint: %b\r\n" % field(error.endpoint)
    body = dialect.encode_error(error, request_id)
    if exchange is not None and exchange.wish.metadata:
        body = annotated(body, exchange, error)
    connection.whole(error.status, head, body)
