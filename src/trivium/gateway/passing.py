"""What is no chat and passes as it is: images, audio, moderations, files and batches, to a provider of its dialect.

A request for a model goes to that model's endpoint; one that names none (a file, a batch) to the first direct provider
of its dialect that has a credential. Every byte goes by, whatever it means; the attempt is in the ledger like any
other, at a price that is unknown unless nothing was asked to be made.
"""

from __future__ import annotations

import re
from functools import partial

import msgspec

from trivium.dialects.base import Dialect, Twin
from trivium.dialects.common import check_twin, invalid
from trivium.errors import InvalidRequest, NoEndpoint
from trivium.gateway import limits
from trivium.gateway.attempt import Attempt
from trivium.gateway.exchange import Exchange, opened
from trivium.gateway.form import field
from trivium.gateway.paths import Place
from trivium.gateway.pipeline import heed, recover, succeed, take
from trivium.gateway.reasons import no_endpoint
from trivium.gateway.relay import Outlet, Relay
from trivium.gateway.runtime import Runtime
from trivium.gateway.sink import Connection, HttpSink
from trivium.gateway.snapshot import facts_of
from trivium.gateway.wish import wish_of
from trivium.policy.key import Key
from trivium.routing.plan import Plan
from trivium.routing.route import Route
from trivium.transport.server import Fields
from trivium.types.usage import Usage
from trivium.wire.json import BROKEN, join, members, raw

_JSON = b"application/json"
_TWIN = re.compile(rb'"trivium"\s*:')
_TOLD = (b"content-type", b"content-disposition")
"""What an answer says of its own form."""


class Call(msgspec.Struct, frozen=True):
    """A request as it came, and the path under a provider's base URL."""

    method: bytes
    path: bytes
    kind: bytes
    """The body's media type."""
    body: bytes

    @property
    def form(self) -> bool:
        return self.kind.lower().startswith(b"multipart/")

    @property
    def json(self) -> bool:
        return bool(self.body) and self.kind.partition(b";")[0].strip().lower() == _JSON


def begin(
    runtime: Runtime, connection: Connection, place: Place, call: Call, fields: Fields, key: Key | None, extra: bytes
) -> None:
    """Take a request; its answer goes to the connection. Raises InvalidRequest for headers of ours that are wrong."""
    asked = wish_of({**fields, b"content-type": _JSON}, place, key)
    sink = _Sink(connection, extra)
    exchange = opened(runtime, sink, place.dialect, call.body, asked, place.dialect.operation)
    take(exchange, partial(_enter, call=call))
    sink.follow(exchange)


def _enter(exchange: Exchange, call: Call) -> None:
    runtime, dialect = exchange.runtime, exchange.dialect
    runtime.admit()
    if dialect is None:
        raise InvalidRequest("The request has no dialect.")
    call = _without_twin(exchange, call)
    exchange.model = _model(call) or _provider(exchange, dialect, call)
    found = exchange.snapshot.plan(facts_of(exchange.model, exchange.data_class, frozenset(), exchange.wish.key))
    fitting = tuple(endpoint for endpoint in found.endpoints if dialect.name in endpoint.dialects)
    if not fitting:
        if found.endpoints:
            raise NoEndpoint(
                f"`{exchange.model}` is at no provider that speaks `{dialect.name}`.",
                remedy="What is no chat is passed, not translated: choose a provider of this dialect.",
            )
        raise no_endpoint(found)
    endpoint = fitting[0]
    route = Route(name=exchange.model, targets=(endpoint.id,), attempts=1)
    exchange.data_class = found.data_class
    exchange.plan = Plan(requested=exchange.model, route=route, endpoints=(endpoint,), data_class=found.data_class)
    leg = exchange.leg = exchange.snapshot.leg(exchange.plan, 0, dialect)
    if leg.binding is None:
        raise NoEndpoint(f"`{endpoint.id}` cannot be passed what is no chat.", remedy="Choose a provider with a key.")
    exchange.deadline = exchange.started + min(leg.limits.total_s, exchange.timeout_s or leg.limits.total_s)
    made = _Attempt(
        exchange,
        leg,
        endpoint,
        leg.binding,
        1,
        0,
        stream=False,
        succeeded=succeed,
        failed=recover,
        call=call,
    )
    made.reserve()
    exchange.attempt = made
    exchange.tries = exchange.attempts = 1
    runtime.conditions.sent(made)


def _model(call: Call) -> str:
    """The model that a body names; empty: none. Raises InvalidRequest for JSON that is broken."""
    if call.json:
        try:
            value = members(call.body).get("model")
            return "" if value is None else msgspec.json.decode(value, type=str)
        except BROKEN:
            raise InvalidRequest("The body is no JSON object whose `model` is a text.", param="model") from None
    found = field(call.kind, call.body, b"model") if call.form else None
    return call.body[slice(*found)].decode("utf-8", "replace") if found else ""


def _without_twin(exchange: Exchange, call: Call) -> Call:
    """The call without our own member, whose wishes hold. Raises InvalidRequest for one that would leave."""
    if not call.json or not _TWIN.search(call.body):
        return call
    try:
        values = members(call.body)
    except BROKEN as error:
        raise invalid(error) from None
    if "trivium" in values:
        check_twin(call.body)
        try:
            twin = msgspec.json.decode(values.pop("trivium"), type=Twin)
        except BROKEN as error:
            raise invalid(error, "trivium") from None
        heed(exchange, twin)
        call = msgspec.structs.replace(call, body=join(values))
    if call.path.startswith(b"/messages/batches") and _TWIN.search(call.body):
        raise InvalidRequest(
            "`trivium` stands inside a batch, whose requests are not looked at.",
            remedy="Send `x-trivium-data-class` with the batch.",
            param="trivium",
        )
    return call


def _provider(exchange: Exchange, dialect: Dialect, call: Call) -> str:
    """`provider/files` and the like: who is asked for what belongs to no model. Raises NoEndpoint."""
    for name, bound in exchange.snapshot.config.providers.items():
        speaks = dialect.name in (bound.row.dialect, *bound.row.dialects)
        if speaks and bound.row.access == "direct" and bound.credential is not None:
            return f"{name}/{re.split(rb'[/?]', call.path)[1].decode('latin-1')}"
    raise NoEndpoint(
        f"No direct provider that speaks `{dialect.name}` has a key.",
        remedy="Set one, or run `trivium login PROVIDER`.",
    )


class _Attempt(Attempt):
    """An attempt whose request and answer are bytes."""

    call: Call = Call(b"", b"", b"", b"")

    def _build(self) -> bytes:
        call, endpoint = self.call, self.endpoint
        body = call.body
        if call.json:
            values = members(body)
            body = join(values | {"model": raw(endpoint.model)}) if "model" in values else body
        elif call.form and (found := field(call.kind, body, b"model")):
            body = b"%b%b%b" % (body[: found[0]], endpoint.model.encode(), body[found[1] :])
        path = self.binding.upstream.origin.path.encode() + call.path
        _, *lines = self.binding.head.split(b"\r\n")[:-1]
        kept = [line for line in lines if not line.startswith(b"content-type:")]
        extra = self.exchange.wish.forwarded
        for start, line in self.binding.replaceable:
            extra += b"" if start in b"\n" + extra else line
        kept += [line for line in extra.split(b"\r\n") if line]
        if call.kind:
            kept.append(b"content-type: %b" % call.kind)
        if body or call.method == b"POST":
            kept.append(b"content-length: %d" % len(body))
        return b"%b %b HTTP/1.1\r\n%b\r\n\r\n%b" % (call.method, path, b"\r\n".join(kept), body)

    def on_head(self, status: int, fields: Fields) -> None:
        """Any success is one; what is said of the body's form goes on."""
        self.status = status
        self._active = True
        if not 200 <= status < 300:
            self._error_body, self._error_fields = [], fields
            return
        told = b"".join(b"%b: %b\r\n" % (name, fields[name]) for name in _TOLD if name in fields)
        self.exchange.limits = limits.lines(status, fields) + told
        self.relay = _Bytes(self, self.exchange)

    def _callers_fault(self) -> None:
        """Nothing here can read the body."""

    def cost_of(self, usage: Usage) -> int | None:
        """Nobody knows what a picture or a minute of speech costs here; to look something up is free."""
        del usage
        return None if self.call.method == b"POST" else 0


class _Bytes(Relay):
    """Passes whatever comes."""

    usage = Usage()
    finish_reason = "stop"
    content = False

    def __init__(self, outlet: Outlet, exchange: Exchange) -> None:
        self._outlet = outlet
        self._exchange = exchange

    def feed(self, data: bytes) -> None:
        if self.content:
            self._outlet.chunk(data)
        else:
            # Only now is it a stream: before, a waiting caller is told nothing, for nobody knows in what words.
            self.content = self._exchange.stream = True
            self._outlet.release(data)

    def end(self) -> None:
        self._exchange.stream = True
        self._outlet.complete(b"")


class _Sink(HttpSink):
    """An answer of any form: its head is told by what the upstream said of it."""

    __slots__ = ()

    def begin(self, exchange: Exchange, first: bytes) -> None:
        self._connection.begin(200, b"x-content-type-options: nosniff\r\n" + self._head(exchange), first)

    def cut(self, last: bytes) -> None:
        """An error has no words in bytes of any form: they end where they end."""
        del last
        self._connection.cut(b"")
