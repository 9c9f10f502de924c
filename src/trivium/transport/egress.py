"""The one factory of HTTP clients for everything but attempts: downloads, key checks, lists of models.

What `dial` promises for attempts holds here too, with the same decisions: vetted addresses at each connection,
proxies and CA bundles from the environment, nothing off this machine when offline, no redirect followed.
"""

from __future__ import annotations

import functools
import ssl
import time
from collections.abc import Callable, Collection, Iterable, Mapping

import httpcore2
import httpx2

from trivium.errors import UpstreamUnreachable
from trivium.transport import tls
from trivium.transport.dial import said, vet_origin, vetted
from trivium.transport.proxy import Proxies, connect_request, tunnel_stands
from trivium.transport.resolve import look_up, without_asking
from trivium.types.origin import Origin
from trivium.version import __version__

_FIRST_TRIES_S = 1.0  # for each address while there is another one to try
_TIMEOUT = httpx2.Timeout(30.0, connect=5.0)


def client(
    *,
    env: Mapping[str, str],
    offline: bool,
    trusted: Collection[Origin] = (),
    timeout: httpx2.Timeout = _TIMEOUT,
    total_s: float | None = None,
    lookup: Callable[[str], list[str]] = look_up,
) -> httpx2.Client:
    """A client that contacts public addresses, and whatever else the `trusted` origins name.

    Redirects are not followed unless a request asks for it; then each hop is judged as a request of its own, and
    httpx2 drops `Authorization` when the origin changes. A refused origin raises UpstreamUnreachable before a
    socket is opened, a certificate UpstreamTLSError; everything else is an `httpx2.HTTPError`. After `total_s` from
    now nothing is read any more: `timeout` alone lets a server dribble for ever.
    """
    context = tls.context(tls.bundles_from_env(env))
    end = None if total_s is None else time.monotonic() + total_s
    door = functools.partial(_Door, offline, Proxies.from_env(env), frozenset(map(_key, trusted)), lookup, end)
    return httpx2.Client(
        headers={"user-agent": f"trivium/{__version__}"},
        transport=_Transport(context, door("https")),
        mounts={"http://": _Transport(context, door("http"))},
        timeout=timeout,
        trust_env=False,
        follow_redirects=False,
    )


def _key(origin: Origin) -> tuple[str, str, int]:
    return origin.scheme, origin.host, origin.port


class _Transport(httpx2.HTTPTransport):
    """httpx2's transport over our door, with its TLS errors explained."""

    def __init__(self, context: ssl.SSLContext, door: _Door) -> None:
        super().__init__(verify=context, trust_env=False)
        self._pool = httpcore2.ConnectionPool(ssl_context=context, network_backend=door, max_connections=10)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        try:
            return super().handle_request(request)
        except httpx2.ConnectError as error:
            cause: BaseException | None = error
            while cause is not None:
                if isinstance(cause, ssl.SSLError):
                    raise tls.explain(cause, request.url.host) from error
                cause = cause.__cause__ or cause.__context__
            raise


class _Door(httpcore2.NetworkBackend):
    """Opens connections for one scheme: judges the origin, then its addresses, then connects to one of those."""

    def __init__(
        self,
        offline: bool,
        proxies: Proxies,
        trusted: frozenset[tuple[str, str, int]],
        lookup: Callable[[str], list[str]],
        end: float | None,
        scheme: str,
    ) -> None:
        self._offline = offline
        self._proxies = proxies
        self._trusted = trusted
        self._lookup = lookup
        self._end = end
        self._scheme = scheme
        self._tcp = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        origin = Origin(self._scheme, host.strip("[]").lower(), port)
        trusted = _key(origin) in self._trusted
        vet_origin(origin, trusted_origin=trusted, offline=self._offline)
        proxy = self._proxies.for_origin(origin)
        if proxy is None:
            return self._connect(origin.host, port, timeout, trusted=trusted)
        stream = self._connect(proxy.host, proxy.port, timeout, trusted=True)
        try:
            received = b""
            stream.write(connect_request(origin, proxy), timeout)
            while not tunnel_stands(received, origin, proxy):
                data = stream.read(4096, timeout)
                if not data:
                    raise UpstreamUnreachable(f"The proxy `{proxy}` closed the connection instead of an answer.")
                received += data
        except BaseException:
            stream.close()
            raise
        return stream

    def _connect(self, host: str, port: int, timeout: float | None, *, trusted: bool) -> httpcore2.NetworkStream:
        try:
            found = without_asking(host) or self._lookup(host)
        except OSError as error:
            raise UpstreamUnreachable(f"`{host}` has no address: {said(error)}.") from error
        *others, last = vetted(host, found, trusted_origin=trusted, offline=self._offline)
        for address in others:
            try:
                return self._open(address, port, min(timeout or _FIRST_TRIES_S, _FIRST_TRIES_S))
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                pass  # the next one may answer
        return self._open(last, port, timeout)

    def _open(self, address: str, port: int, timeout: float | None) -> httpcore2.NetworkStream:
        stream = self._tcp.connect_tcp(address, port, timeout)
        return stream if self._end is None else _Timed(stream, self._end)


class _Timed(httpcore2.NetworkStream):
    """A connection that is of no use after its `end`, a time of the monotonic clock."""

    def __init__(self, stream: httpcore2.NetworkStream, end: float) -> None:
        self._stream = stream
        self._end = end
        self.close = stream.close
        self.get_extra_info = stream.get_extra_info

    def _left(self, timeout: float | None) -> float:
        left = self._end - time.monotonic()
        if left <= 0:
            raise httpcore2.ReadTimeout
        return left if timeout is None else min(left, timeout)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._left(timeout))

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> _Timed:
        return _Timed(self._stream.start_tls(ssl_context, server_hostname, self._left(timeout)), self._end)
