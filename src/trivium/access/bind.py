"""A binding: everything about a request to one endpoint that is the same each time, made once."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

import msgspec

from trivium.access.quirks import PREFILLS, QUIRKS, Prefill, Quirk
from trivium.catalog.rows import Endpoint, Timeouts
from trivium.dialects.base import Dialect
from trivium.errors import InvalidRequest
from trivium.transport.upstream import Upstream
from trivium.types.origin import Origin, parse_origin
from trivium.types.secret import Secret

CONNECT_S_REMOTE, TLS_S_REMOTE = 3.0, 5.0
CONNECT_S_LOCAL, TLS_S_LOCAL = 1.0, 5.0

_AUTH = {
    "bearer": "authorization: Bearer {}\r\n",
    "x-api-key": "x-api-key: {}\r\n",
    "api-key": "api-key: {}\r\n",
    "x-goog-api-key": "x-goog-api-key: {}\r\n",
    "none": "",
}
_SLASH = re.compile(r"[/\\]")
_CONSTANT = {"content-type": "application/json", "accept-encoding": "identity"}


class Binding(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach an endpoint in one dialect. `head` is the request's head up to the value of `content-length`, and
    `stream_head` that of a request for a stream; `replaceable` are the starts of further header lines and the lines,
    each sent unless the caller's own line begins like it."""

    endpoint: Endpoint
    dialect: Dialect
    upstream: Upstream
    head: bytes
    stream_head: bytes
    replaceable: tuple[tuple[bytes, bytes], ...]
    quirks: tuple[Quirk, ...]
    prefills: tuple[Prefill, ...] = ()
    credential: Secret | None = None

    def censored(self, text: str) -> str:
        """An upstream's words without our credential, should it quote it, or what a cut has left of that."""
        if not self.credential:
            return text
        key = self.credential.reveal()
        text = text.replace(key, "[our key]")
        cut = next((size for size in range(len(key) - 1, 3, -1) if text.endswith(key[:size])), 0)
        return f"{text[:-cut]}[our key]" if cut else text

    def payload(self, body: bytes, extra: bytes = b"", *, stream: bool = False) -> bytes:
        """A request, of a `stream` or not. `extra` holds the caller's header lines, complete, by lower-case names."""
        for quirk in self.quirks:
            body = quirk(body)
        for start, line in self.replaceable:
            if start not in b"\n" + extra:
                extra += line
        return b"%b%d\r\n%b\r\n%b" % (self.stream_head if stream else self.head, len(body), extra, body)


def bind(
    endpoint: Endpoint, credential: Secret | None, timeouts: Timeouts, dialect: Dialect, *, base_url: str = ""
) -> Binding:
    """Bind an endpoint to its origin and credential, and to one of the dialects that it speaks.

    `base_url` is given for endpoints whose address is only known at run time (engines). Raises ConfigError
    for a URL that `parse_origin` refuses, InvalidRequest for a model whose name would lead to another path.
    """
    row = endpoint.provider
    base = base_url or row.base_url
    origin = parse_origin(base)
    local = endpoint.access == "local"
    auth = "bearer" if base_url else row.auth  # an engine that we start wants the key that we made for it
    constant = {**_CONSTANT, **dialect.headers, **{name.lower(): value for name, value in row.headers.items()}}
    lines = {name.encode(): f"{name}: {value}\r\n".encode("latin-1") for name, value in constant.items()}
    replaceable = tuple((b"\n%b:" % name, lines.pop(name)) for name in dialect.forwarded if name in lines)
    headers = b"".join(lines.values())
    quirks = row.quirks if dialect.name == row.dialect else ()
    return Binding(
        endpoint=endpoint,
        dialect=dialect,
        upstream=Upstream(
            origin=origin,
            endpoint=endpoint.id,
            ceiling=endpoint.ceiling,
            trusted_origin=endpoint.trusted_origin or bool(base_url),
            local=local,
            connect_s=timeouts.connect_s or (CONNECT_S_LOCAL if local else CONNECT_S_REMOTE),
            tls_s=timeouts.tls_s or (TLS_S_LOCAL if local else TLS_S_REMOTE),
        ),
        head=_head(origin, dialect.path, endpoint.model, auth, credential, headers),
        stream_head=_head(origin, dialect.stream_path or dialect.path, endpoint.model, auth, credential, headers),
        replaceable=replaceable,
        quirks=tuple(QUIRKS[name] for name in quirks if name not in PREFILLS),
        prefills=tuple(PREFILLS[name] for name in quirks if name in PREFILLS),
        credential=credential,
    )


def free_call(binding: Binding) -> bytes | None:
    """A GET that its provider answers for nothing, complete; None where none is known."""
    endpoint, origin = binding.endpoint, binding.upstream.origin
    path = endpoint.provider.models_path
    if path is None or "/.." in path:
        return None
    auth = "bearer" if endpoint.engine is not None else endpoint.provider.auth
    start = f"GET {origin.path}{path} HTTP/1.1\r\nhost: {origin.authority}\r\naccept-encoding: identity\r\n"
    if binding.credential:
        start += _AUTH[auth].format(binding.credential.reveal())
    return f"{start}\r\n".encode("latin-1")


def _head(origin: Origin, path: str, model: str, auth: str, credential: Secret | None, headers: bytes) -> bytes:
    place = path.replace("{model}", quote(model, safe="/:@"))
    if "{model}" in path and {"", ".", ".."} & set(_SLASH.split(unquote(model))):
        raise InvalidRequest(
            f"`{model}` cannot stand in a path: it has an empty or a dot segment.",
            remedy="Name a model as its provider lists it.",
            param="model",
        )
    start = f"POST {origin.path}{place} HTTP/1.1\r\nhost: {origin.authority}\r\n"
    if credential is not None and credential:
        start += _AUTH[auth].format(credential.reveal())
    return b"%b%bcontent-length: " % (start.encode("latin-1"), headers)
