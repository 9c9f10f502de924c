"""Which proxy leads to an origin, read from the environment as other programs read it, and the words to ask it.

Proxies serve remote roads and downloads; the local road never asks. Every origin is reached through a tunnel
(CONNECT, RFC 9110 section 9.3.6), so the proxy sees no request.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Callable, Mapping
from urllib.parse import unquote

import msgspec

from trivium.errors import ConfigError, UpstreamError, UpstreamProtocolError, UpstreamUnreachable
from trivium.transport.address import is_local
from trivium.types.origin import Origin
from trivium.types.secret import Secret

HEAD_MAX_BYTES = 16 * 1024
"""What a proxy may answer before the tunnel stands."""

_URL = re.compile(
    r"(?:(?P<scheme>[a-z0-9+.-]+)://)?(?:(?P<user>[^@/]*)@)?(?P<host>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(?P<port>\d{1,5}))?/?",
    re.ASCII | re.IGNORECASE,
)
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3})(?: |$)")


class Proxy(msgspec.Struct, frozen=True):
    host: str
    port: int
    authorization: Secret
    """The value of `Proxy-Authorization`; empty: none."""

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Proxies:
    """The environment's decisions about proxies."""

    def __init__(self, urls: Mapping[str, tuple[str, str]], no_proxy: str) -> None:
        self._urls = urls
        self._direct = [_rule(entry.lower()) for entry in re.split(r"[,\s]+", no_proxy) if entry]

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Proxies:
        """Read `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`; lower case wins, also when it is empty.

        Under CGI (`REQUEST_METHOD`) a caller's `Proxy:` header arrives as `HTTP_PROXY`, which then does not count.
        """
        urls: dict[str, tuple[str, str]] = {}
        for scheme, names in {"https": ("https_proxy", "all_proxy"), "http": ("http_proxy", "all_proxy")}.items():
            for lower in names:
                upper = "" if lower == "http_proxy" and "REQUEST_METHOD" in env else lower.upper()
                name = lower if lower in env else upper
                if name in env:
                    urls[scheme] = name, env[name]
                    break
        return cls(urls, env.get("no_proxy", env.get("NO_PROXY", "")))

    def for_origin(self, origin: Origin) -> Proxy | None:
        """The proxy to ask for `origin`; None: connect directly. Raises ConfigError for one that cannot be used."""
        name, url = self._urls.get(origin.scheme, ("", ""))
        if not url or is_local(origin.host) or any(rule(origin) for rule in self._direct):
            return None
        return _parse(name, url)


def _parse(name: str, url: str) -> Proxy:
    found = _URL.fullmatch(url.strip())
    if found is None or (found["scheme"] or "http").lower() != "http":
        # The URL is not shown: it may hold a password.
        raise ConfigError(
            f"`{name}` names a proxy that cannot be used.",
            remedy="Trivium speaks to HTTP proxies: `http://[user:password@]host:port`; `NO_PROXY` lists exceptions.",
            key=name,
        )
    user, _, password = (found["user"] or "").partition(":")
    pair = f"{unquote(user)}:{unquote(password)}".encode()
    return Proxy(
        found["host"].strip("[]").lower(),
        int(found["port"] or 80),
        Secret("Basic " + base64.b64encode(pair).decode() if found["user"] else ""),
    )


def _rule(entry: str) -> Callable[[Origin], bool]:
    """One entry of `NO_PROXY`: `*`, an address, a network, or a domain with its subdomains; maybe with a port."""
    if entry == "*":
        return lambda origin: True  # noqa: ARG005
    host, port = entry, ""
    if entry.startswith("["):
        host, _, port = entry[1:].partition("]")
    elif entry.count(":") == 1:
        host, port = entry.split(":")
    port = port.lstrip(":")
    try:
        network = ipaddress.ip_network(host, strict=False)
    except ValueError:
        domain = host.removeprefix("*").strip(".")
        matches: Callable[[str], bool] = lambda name: name == domain or name.endswith("." + domain)  # noqa: E731
    else:
        matches = lambda name: _is_within(name, network)  # noqa: E731
    return lambda origin: matches(origin.host) and port in ("", str(origin.port))


def _is_within(host: str, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    try:
        return ipaddress.ip_address(host) in network
    except ValueError:
        return False


def connect_request(origin: Origin, proxy: Proxy) -> bytes:
    """The bytes that ask `proxy` for a tunnel to `origin`."""
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    authorization = f"Proxy-Authorization: {proxy.authorization.reveal()}\r\n" if proxy.authorization else ""
    target = f"{host}:{origin.port}"
    return f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{authorization}\r\n".encode("latin-1")


def tunnel_stands(received: bytes, origin: Origin, proxy: Proxy) -> bool:
    """Whether the answer to `connect_request` is complete and grants the tunnel; False: read on.

    Raises UpstreamError when the proxy refuses, or answers with something else than a bounded head and no more.
    """
    head, end, rest = received.partition(b"\r\n\r\n")
    if not end:
        if len(received) > HEAD_MAX_BYTES:
            raise UpstreamProtocolError(f"The proxy `{proxy}` answers with an endless head.")
        return False
    status = _STATUS_LINE.match(head)
    if status is None:
        raise UpstreamProtocolError(f"The proxy `{proxy}` does not speak HTTP.")
    if not status[1].startswith(b"2"):
        raise _refusal(int(status[1]), head, origin, proxy)
    if rest:
        # The first word in a tunnel is ours: this is the proxy's, and would be taken for the upstream's.
        raise UpstreamProtocolError(f"The proxy `{proxy}` sends bytes of its own into the tunnel.")
    return True


def _refusal(status: int, head: bytes, origin: Origin, proxy: Proxy) -> UpstreamError:
    if status != 407:
        return UpstreamUnreachable(
            f"The proxy `{proxy}` does not lead to `{origin.host}` (status {status}).",
            remedy="Ask its operator, or put the host into `NO_PROXY`.",
        )
    schemes = re.findall(rb"(?im)^proxy-authenticate: *([a-z0-9-]+)", head)
    wanted = ", ".join(f"`{scheme.decode()}`" for scheme in schemes) or "an unknown scheme"
    given = "does not accept the user and password" if proxy.authorization else "wants a user and password"
    return UpstreamUnreachable(
        f"The proxy `{proxy}` {given} (status 407, it takes {wanted}).",
        remedy="Set `HTTPS_PROXY` to `http://user:password@host:port`; Trivium can do `Basic`.",
    )
