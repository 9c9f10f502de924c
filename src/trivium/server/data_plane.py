"""The data plane's entry: from a parsed HTTP request to the pipeline, in its path's dialect."""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping
from time import time

import msgspec

from trivium.config.schema import Config
from trivium.config.secret import derive, root_secret
from trivium.dialects import get as dialect_named
from trivium.dialects.base import Dialect
from trivium.errors import (
    HeadTooLarge,
    InternalError,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    TriviumError,
    UnsupportedMediaType,
    UploadTimeout,
)
from trivium.gateway import pipeline
from trivium.gateway.explain import view
from trivium.gateway.gateway import Gateway
from trivium.gateway.wish import Wish, data_class_of, strict_of, timeout_of
from trivium.policy.key import Key, digest_of
from trivium.server import paths
from trivium.server.guard import LOOPBACK, Guard, check_host, cors_of
from trivium.server.models import model_rows
from trivium.server.sink import JSON, HttpSink, refuse
from trivium.transport.server import CallerConnection, Fields, Head
from trivium.types.data import DataClass

_SPECIAL = frozenset((b"x-trivium-data-class", b"x-trivium-strict", b"x-trivium-timeout"))
_REFUSALS: dict[int, type[TriviumError]] = {408: UploadTimeout, 413: PayloadTooLarge, 431: HeadTooLarge}
"""What else this server cannot read (other versions, codings, methods of proxies) is an invalid request."""


class Admission(msgspec.Struct, frozen=True):
    """How requests with a head that was looked at are taken."""

    guard: Guard
    """Of the configuration that it was looked at under."""
    dialect: Dialect
    wish: Wish
    expires_s: float | None
    """When its key does, in Unix seconds."""
    cors: bytes


class DataPlane:
    """The service behind every caller's connection."""

    def __init__(self, gateway: Gateway, env: Mapping[str, str]) -> None:
        self._gateway = gateway
        self._runtime = gateway.runtime
        self._env = env
        self.configure(gateway.runtime.snapshot.config)

    def configure(self, config: Config) -> None:
        """Take over a configuration; requests in flight have passed these checks already."""
        keys = derive(root_secret(config.home, self._env), "virtual-keys") if config.keys else b""
        self._guard = Guard(config, lambda token: digest_of(keys, token))
        host = config.server.listen.rpartition(":")[0].strip("[]").lower()
        loopback = host in LOOPBACK or host.startswith("127.")
        self._hosts = LOOPBACK | {host, *config.server.hosts} if loopback else None
        self._origins = config.server.cors_origins

    # ---- transport.server.Service

    def handle(self, connection: CallerConnection, head: Head, body: bytes) -> None:
        known = head.note
        if (
            isinstance(known, Admission)
            and known.guard is self._guard
            and (known.expires_s is None or time() < known.expires_s)
        ):
            sink, runtime = HttpSink(connection, known.cors), self._runtime
            gathers = not runtime.exchanges and runtime.gather()
            try:
                sink.follow(pipeline.begin(runtime, sink, known.dialect, body, known.wish))
            finally:
                if gathers:
                    runtime.gathered()
            return
        path, _, query = head.target.partition(b"?")
        dialect, extra = dialect_named(paths.dialect_of(path)), b""
        try:
            place = paths.find(path, query)
            dialect = place.dialect if place else dialect
            if self._hosts is not None:
                check_host(head.fields, self._hosts)
            extra = cors_of(head.fields, self._origins)
            if place is not None and head.method not in place.methods and head.method != b"OPTIONS":
                extra += b"allow: %b\r\n" % b", ".join(place.methods)  # RFC 9110, 15.5.6
            self._handle(connection, head, body, path, place, extra)
        except TriviumError as error:
            refuse(connection, dialect, error, self._runtime.new_id(), extra)
        except Exception as error:
            self._defect(connection, dialect, error)

    def _defect(self, connection: CallerConnection, dialect: Dialect, error: Exception) -> None:
        """The outermost boundary: a defect of ours must not cost other callers their server."""
        self._runtime.report(error)
        refuse(connection, dialect, InternalError("An internal error."), self._runtime.new_id())

    def _handle(
        self,
        connection: CallerConnection,
        head: Head,
        body: bytes,
        path: bytes,
        place: paths.Place | None,
        cors: bytes,
    ) -> None:
        if head.method == b"OPTIONS":
            self._preflight(connection, cors)
            return
        if place is not None and place.kind in ("health", "ready"):
            self._health(connection, place)
            return
        key = self._guard.key_of(head.fields)
        if place is None:
            raise _not_found(path)
        if head.method not in place.methods:
            allowed = b", ".join(place.methods).decode()
            raise MethodNotAllowed(f"`{path.decode('latin-1')}` takes {allowed}.", remedy=f"Use {allowed}.")
        if place.kind == "generate":
            self._generate(connection, head, body, place, key, cors)
        elif place.kind == "models":
            self._models(connection, head.fields, key, cors)
        else:
            self._plan(connection, head, body, place, key, cors)

    def refuse(self, connection: CallerConnection, target: bytes, status: int, message: str) -> None:
        path, _, _ = target.partition(b"?")
        error = _REFUSALS.get(status, InvalidRequest)(message)
        dialect = dialect_named(paths.dialect_of(path))
        refuse(connection, dialect, error, self._runtime.new_id())

    # ---- the kinds of request

    def _generate(
        self, connection: CallerConnection, head: Head, body: bytes, place: paths.Place, key: Key | None, cors: bytes
    ) -> None:
        expires_s, wish = key.expires_s if key else None, self._wish(head.fields, place, key)
        head.note = Admission(self._guard, place.dialect, wish, expires_s, cors)
        self.handle(connection, head, body)

    def _wish(self, fields: Fields, place: paths.Place, key: Key | None) -> Wish:
        """What headers and key ask for. Raises InvalidRequest, UnsupportedMediaType."""
        kind = fields.get(b"content-type", b"")
        if not kind.lower().startswith(b"application/json"):
            raise UnsupportedMediaType(
                f"The body is `{kind[:60].decode('latin-1') or 'of no stated type'}`, not JSON.",
                remedy="Send `content-type: application/json`.",
            )
        told = {name: fields[name].decode("latin-1") for name in _SPECIAL if name in fields}
        asked, timeout = told.get(b"x-trivium-data-class"), told.get(b"x-trivium-timeout")
        least = key.data_class if key else DataClass.ANY
        return Wish(
            key=key,
            data_class=least if asked is None else max(least, data_class_of(asked)),
            strict=strict_of(told.get(b"x-trivium-strict", "0")),
            timeout_s=None if timeout is None else timeout_of(timeout),
            forwarded=b"".join(
                b"%b: %b\r\n" % (name, fields[name]) for name in place.dialect.forwarded if name in fields
            ),
            addressed=place.addressed,
        )

    def _models(self, connection: CallerConnection, fields: Fields, key: Key | None, cors: bytes) -> None:
        anthropic = b"anthropic-version" in fields
        dialect = dialect_named("anthropic_messages" if anthropic else "openai_chat")
        connection.whole(200, JSON + cors, dialect.models_answer(model_rows(self._runtime.snapshot, key)))

    def _plan(
        self, connection: CallerConnection, head: Head, body: bytes, place: paths.Place, key: Key | None, cors: bytes
    ) -> None:
        wish, dialect = self._wish(head.fields, place, key), place.dialect
        more = dialect.peek(body).models
        parsed = dialect.parse_request(body)
        connection.whole(200, JSON + cors, msgspec.json.encode(view(self._runtime.snapshot, parsed, wish, more)))

    def _health(self, connection: CallerConnection, place: paths.Place) -> None:
        if place.kind == "ready" and self._runtime.draining:
            connection.whole(503, JSON, b'{"status":"draining"}')
        else:
            connection.whole(200, JSON, b'{"status":"ok"}')

    def _preflight(self, connection: CallerConnection, cors: bytes) -> None:
        allow = b"access-control-allow-methods: GET, POST\r\naccess-control-allow-headers: *, authorization\r\n"
        connection.whole(204, cors + allow if cors else b"", b"")


def _not_found(path: bytes) -> NotFound:
    shown = urllib.parse.quote(path[:200].decode("latin-1"), safe="/:")
    if path.startswith(paths.DOUBLED):
        return NotFound(
            f"There is no `{shown}`: the version segment is doubled.",
            remedy="A base URL that already ends in `/v1` must not be given where the client adds it.",
        )
    known = ", ".join(f"`{known.decode()}`" for known in paths.table())
    return NotFound(f"There is no `{shown}`.", remedy=f"There are {known}.")
