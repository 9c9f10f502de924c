"""Where a connection goes, and who waits for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from trivium.errors import UpstreamError
from trivium.types.data import DataClass
from trivium.types.origin import Origin

if TYPE_CHECKING:
    from trivium.transport.http1 import UpstreamConnection

Fields = dict[bytes, bytes]
"""Header fields by their names in lower case."""


class Upstream(msgspec.Struct, frozen=True, kw_only=True):
    """An origin, how far a request to it travels, and how long opening a connection may take."""

    origin: Origin
    endpoint: str
    """For messages."""
    ceiling: DataClass
    trusted_origin: bool
    local: bool
    connect_s: float
    tls_s: float


class Receiver(Protocol):
    """Who waits for an answer. Each method may send the next request, but not on the same connection."""

    def on_connected(self, connection: UpstreamConnection) -> None:
        """A connection was opened and the request written; not called for a pooled one."""
        ...

    def on_unreachable(self, error: UpstreamError) -> None:
        """No connection could be opened."""
        ...

    def on_head(self, status: int, fields: Fields) -> None: ...
    def on_body(self, data: bytes) -> None: ...
    def on_end(self) -> None:
        """The message is complete as HTTP sees it."""
        ...

    def on_lost(self, error: UpstreamError, *, untouched: bool) -> None:
        """The connection ended first. `untouched`: it was reused and not a byte came back, so that the server
        had closed it before it saw the request (RFC 9112, 9.3.1)."""
        ...
