"""Who may come in: keys, and the browser on the same machine.

A key is looked up by its digest, never compared; a bounded table of tokens already seen spares the hash.
On loopback `Host` must be a name of this machine, or a web page could reach the server by rebinding its
own name (T12 of the threat model).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from urllib.parse import parse_qs

from trivium.config.schema import Config
from trivium.errors import AuthenticationFailed, PermissionDenied
from trivium.policy.key import Key
from trivium.transport.server import Fields

TOKENS_MAX = 10_000
"""Tokens remembered; unknown ones are not, so that guessing fills nothing."""
_HOST = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([^:\[\]@]+))(?::\d{1,5})?")
_NAMES = (b"x-api-key", b"x-goog-api-key")
LOOPBACK = frozenset(("localhost", "127.0.0.1", "::1"))


class Guard:
    """The keys of one configuration."""

    def __init__(self, config: Config, digest_of: Callable[[str], str]) -> None:
        self._digest_of = digest_of
        self._by_digest = {key.digest: key for key in config.keys}
        self._by_token: dict[bytes, Key] = {}
        self.open = not config.keys
        """No keys are configured: on loopback everybody is welcome, whatever they send as a key."""

    def key_of(self, fields: Fields, query: bytes = b"") -> Key | None:
        """The caller's key, which may stand in `query` too; None where none is needed. Raises AuthenticationFailed."""
        if self.open:
            return None
        token = _token(fields, query)
        key = self._by_token.get(token)
        if key is None:
            key = self._look_up(token)
        if key.expires_s is not None and time.time() >= key.expires_s:
            raise _refused()
        return key

    def _look_up(self, token: bytes) -> Key:
        try:
            key = self._by_digest.get(self._digest_of(token.decode("ascii"))) if token else None
        except UnicodeDecodeError:
            key = None
        if key is None:
            raise _refused()
        if len(self._by_token) >= TOKENS_MAX:
            self._by_token.clear()
        self._by_token[token] = key
        return key


def _refused() -> AuthenticationFailed:
    return AuthenticationFailed(
        "No valid key came with the request.",
        remedy="Send `Authorization: Bearer KEY`, `x-api-key: KEY` or `x-goog-api-key: KEY` with a key of this server.",
    )


def _token(fields: Fields, query: bytes) -> bytes:
    """The token of `Authorization: Bearer` or of a vendor's place for it; if two come and differ, neither counts."""
    scheme, _, token = fields.get(b"authorization", b"").partition(b" ")
    sent = {token.strip() if scheme.lower() == b"bearer" else b"", *(fields.get(name, b"").strip() for name in _NAMES)}
    sent.update(key.encode() for key in parse_qs(query.decode("latin-1")).get("key", ()))
    sent.discard(b"")
    return sent.pop() if len(sent) == 1 else b""


def check_host(fields: Fields, allowed: frozenset[str]) -> None:
    """Raises PermissionDenied for a `Host` that is no name of this machine."""
    given = fields.get(b"host")
    if given is None:
        raise PermissionDenied("The request has no `Host`.", remedy="Send one; HTTP/1.1 requires it.")
    host = _host(given.decode("latin-1"))
    if host not in allowed:
        raise PermissionDenied(
            f"`{host[:80]}` is not a name of this server.", remedy="Add it to `[server] hosts` to allow it."
        )


def _host(value: str) -> str:
    """The name in a `Host`; empty for what is no host with an optional port (RFC 9110, 7.2)."""
    found = _HOST.fullmatch(value)
    return (found[1] or found[2]).lower() if found else ""


def cors_of(fields: Fields, allowed: tuple[str, ...]) -> bytes:
    """Header lines for an allowed `Origin`, nothing without one. Raises PermissionDenied for a foreign one."""
    given = fields.get(b"origin")
    if given is None:
        return b""
    if given.decode("latin-1") not in allowed:
        raise PermissionDenied(
            "Web pages of this origin may not use this server.", remedy="Add it to `[server] cors_origins`."
        )
    return b"access-control-allow-origin: %b\r\nvary: origin\r\n" % given
