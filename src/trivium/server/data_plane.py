"""The data plane's entry: from a parsed HTTP request to the pipeline, in its path's dialect."""

from __future__ import annotations

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
    PayloadTooLarge,
    TriviumError,
    UploadTimeout,
)
from trivium.gateway import paths, surface
from trivium.gateway.gateway import Gateway
from trivium.gateway.sink import callers_id, refuse
from trivium.gateway.wish import Wish, wish_of
from trivium.policy.key import digest_of
from trivium.server.guard import LOOPBACK, Guard, check_host, cors_of
from trivium.transport.server import CallerConnection, Head

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
            surface.generate(self._runtime, connection, known.dialect, body, known.wish, known.cors)
            return
        path, _, query = head.target.partition(b"?")
        dialect, extra = dialect_named(paths.dialect_of(path)), b""
        try:
            place = paths.find(path, query)
            dialect = place.dialect if place else dialect
            if self._hosts is not None:
                check_host(head.fields, self._hosts)
            extra = cors_of(head.fields, self._origins)
            if head.method != b"OPTIONS":
                extra += callers_id(head.fields)
                if place is not None and head.method not in place.methods:
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
        if place is not None and place.kind in ("health", "ready", "home"):
            surface.serve(self._runtime, connection, place, head.fields, body)
            return
        key = self._guard.key_of(head.fields, paths.key_query(place, head.target))
        place = paths.checked(place, path, head.method)
        if place.kind != "generate":
            surface.serve(self._runtime, connection, place, head.fields, body, key, cors, head.method)
            return
        expires_s, wish = key.expires_s if key else None, wish_of(head.fields, place, key)
        head.note = Admission(self._guard, place.dialect, wish, expires_s, cors)
        self.handle(connection, head, body)

    def refuse(self, connection: CallerConnection, target: bytes, status: int, message: str) -> None:
        error = _REFUSALS.get(status, InvalidRequest)(message)
        surface.turn_away(connection, target, error, self._runtime.new_id())

    def _preflight(self, connection: CallerConnection, cors: bytes) -> None:
        allow = b"access-control-allow-methods: GET, POST\r\naccess-control-allow-headers: *, authorization\r\n"
        connection.whole(204, cors + allow if cors else b"", b"")
