"""A connection to an origin: name, vetted address, TCP, tunnel, TLS, in this order and no other.

No name is connected to, only addresses that `address.refused` has let pass, at each connection anew: an answer of
the name system that changes between check and use has nothing to change.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import TypeVar

from trivium.errors import ConfigError, UpstreamTimeout, UpstreamTLSError, UpstreamUnreachable
from trivium.transport.address import refused, refused_name
from trivium.transport.proxy import Proxies, Proxy, connect_request, tunnel_stands
from trivium.transport.resolve import Resolves, in_thread
from trivium.transport.tls import explain
from trivium.types.origin import Origin

_STAGGER_S = 0.25  # RFC 8305 section 5: the recommended Connection Attempt Delay

_P = TypeVar("_P", bound=asyncio.BaseProtocol)


async def dial(
    origin: Origin,
    protocol_factory: Callable[[], _P],
    *,
    proxies: Proxies | None,
    tls: Callable[[], ssl.SSLContext],
    trusted_origin: bool,
    offline: bool,
    resolver: Resolves,
    connect_timeout_s: float = 3.0,
    tls_timeout_s: float = 5.0,
) -> tuple[asyncio.Transport, _P]:
    """Connect to `origin`, through a proxy where `proxies` says so, with TLS where its scheme says so.

    `tls` is called in a thread, because the first context takes 0.1 s to load. `connect_timeout_s` bounds look-up,
    TCP and tunnel together, `tls_timeout_s` the handshake. Raises UpstreamUnreachable, UpstreamTimeout,
    UpstreamTLSError, UpstreamProtocolError (a proxy's), and nothing else: a proxy or CA bundle of the environment
    that cannot be used closes the roads that need it, not the program.
    """
    vet_origin(origin, trusted_origin=trusted_origin, offline=offline)
    try:
        proxy = proxies.for_origin(origin) if proxies else None
        context = await in_thread(tls) if origin.scheme == "https" else None
    except ConfigError as error:
        raise UpstreamUnreachable(error.message, remedy=error.remedy) from error
    try:
        async with asyncio.timeout(connect_timeout_s):
            if proxy is None:
                sock = await _connected(origin.host, origin.port, resolver, trusted=trusted_origin, offline=offline)
            else:
                sock = await _connected(proxy.host, proxy.port, resolver, trusted=True, offline=offline)
                await _tunnel(sock, origin, proxy)
    except TimeoutError:
        by = f" by the proxy `{proxy}`" if proxy else ""
        raise UpstreamTimeout(f"`{origin.host}`{by}: connect timed out after {connect_timeout_s:g} s.") from None
    return await _transport(sock, origin, protocol_factory, context, tls_timeout_s)


async def _transport(
    sock: socket.socket,
    origin: Origin,
    protocol_factory: Callable[[], _P],
    context: ssl.SSLContext | None,
    tls_timeout_s: float,
) -> tuple[asyncio.Transport, _P]:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(tls_timeout_s if context else None):
            return await loop.create_connection(
                protocol_factory, sock=sock, ssl=context, server_hostname=origin.host if context else None
            )
    except BaseException as error:
        sock.close()
        if isinstance(error, TimeoutError):
            raise UpstreamTLSError(f"`{origin.host}`: TLS handshake timed out after {tls_timeout_s:g} s.") from None
        if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
            raise explain(error, origin.host) from error
        if isinstance(error, OSError):
            raise UpstreamUnreachable(
                f"`{origin.host}` closed the connection in the TLS handshake ({said(error)})."
            ) from error
        raise


async def _connected(host: str, port: int, resolver: Resolves, *, trusted: bool, offline: bool) -> socket.socket:
    try:
        found = await resolver.resolve(host)
    except OSError as error:
        raise UpstreamUnreachable(f"`{host}` has no address: {said(error)}.") from error
    addresses = vetted(host, found, trusted_origin=trusted, offline=offline)
    try:
        return await _race([(address, port) for address in addresses])
    except TimeoutError:
        raise
    except OSError as error:
        raise UpstreamUnreachable(f"`{host}` port {port}: {said(error)}.") from error


def vet_origin(origin: Origin, *, trusted_origin: bool, offline: bool) -> None:
    """Raise UpstreamUnreachable for an origin whose text alone closes it (`address.refused_name`)."""
    if reason := refused_name(origin, trusted_origin=trusted_origin, offline=offline):
        raise _closed(origin.host, reason)


def vetted(host: str, found: Sequence[str], *, trusted_origin: bool, offline: bool) -> list[str]:
    """Those addresses of `host` that may be dialled, families taking turns; raises UpstreamUnreachable for none."""
    reasons = {address: refused(address, trusted_origin=trusted_origin, offline=offline) for address in found}
    addresses = [address for address, reason in reasons.items() if reason is None]
    if not addresses:
        address, reason = next(iter(reasons.items()), (host, "it has no address"))
        raise _closed(host if address == host else f"{host} ({address})", reason or "")
    return _alternating(addresses)


def _closed(what: str, reason: str) -> UpstreamUnreachable:
    return UpstreamUnreachable(
        f"`{what}` is not contacted: {reason}.",
        remedy="A `base_url` in a trusted `trivium.toml` opens private and unencrypted origins.",
    )


def said(error: OSError) -> str:
    """The system's words for an error; a failed look-up has numbers of its own and its words beside them."""
    known = error.errno in errno.errorcode and not isinstance(error, socket.gaierror)
    return os.strerror(error.errno) if known and error.errno else error.strerror or str(error)


def _alternating(addresses: Sequence[str]) -> list[str]:
    """Take turns between the families, beginning with that of the first address (RFC 8305 section 4)."""
    first = [a for a in addresses if (":" in a) == (":" in addresses[0])]
    second = [a for a in addresses if (":" in a) != (":" in addresses[0])]
    return [a for pair in zip_longest(first, second) for a in pair if a is not None]


async def _race(addresses: Sequence[tuple[str, int]]) -> socket.socket:
    """The first socket that connects; the next address starts after 250 ms, or when one before it failed. Of one
    address there is no race.

    Raises the OSError of the first address. Losers and, on cancellation, all are closed.
    """
    if len(addresses) == 1:
        return await _connect(addresses[0])
    waiting = list(addresses)
    attempts: list[asyncio.Task[socket.socket]] = []
    running: set[asyncio.Task[socket.socket]] = set()
    winner: asyncio.Task[socket.socket] | None = None
    try:
        while waiting or running:
            if waiting:
                attempts.append(asyncio.create_task(_connect(waiting.pop(0))))
                running.add(attempts[-1])
            done, running = await asyncio.wait(
                running, timeout=_STAGGER_S if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            winner = next((attempt for attempt in done if attempt.exception() is None), None)
            if winner is not None:
                return winner.result()
        raise attempts[0].exception() or AssertionError("an attempt without a socket has an error")
    finally:
        for attempt in attempts:
            if attempt is not winner:
                attempt.cancel()
                attempt.add_done_callback(_close_result)


def _close_result(attempt: asyncio.Task[socket.socket]) -> None:
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().close()


async def _connect(address: tuple[str, int]) -> socket.socket:
    host, port = address
    family, kind, proto, _, sockaddr = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    )[0]
    sock = socket.socket(family, kind, proto)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(sock, sockaddr)
    except BaseException:
        sock.close()
        raise
    return sock


async def _tunnel(sock: socket.socket, origin: Origin, proxy: Proxy) -> None:
    """Turn a connection to `proxy` into one to `origin`; closes it on failure."""
    loop = asyncio.get_running_loop()
    received = b""
    try:
        await loop.sock_sendall(sock, connect_request(origin, proxy))
        while not tunnel_stands(received, origin, proxy):
            data = await loop.sock_recv(sock, 4096)
            if not data:
                raise UpstreamUnreachable(f"The proxy `{proxy}` closed the connection instead of an answer.")
            received += data
    except TimeoutError:
        sock.close()
        raise
    except OSError as error:
        sock.close()
        raise UpstreamUnreachable(f"The proxy `{proxy}`: {said(error)}.") from error
    except BaseException:
        sock.close()
        raise
