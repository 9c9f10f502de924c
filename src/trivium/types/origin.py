"""An origin: the one strict grammar of base URLs, read once, so that no two parsers see two hosts in one.

What `inet_aton` and other lenient readers accept beside it (octal, hexadecimal and short IPv4 forms, userinfo,
backslashes, Unicode digits) is refused.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address

import msgspec

from trivium.errors import ConfigError

_DEFAULT_PORTS = {"http": 80, "https": 443}

_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>(?:/[a-z0-9._~!$&'()*+,;=:@%-]*)*)",
    re.ASCII | re.IGNORECASE,
)
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
"""A last label of this form makes a host an IPv4 address (WHATWG URL, "ends in a number")."""
_DOT_SEGMENT = re.compile(r"/(?:\.|%2e){1,2}(?:/|$)|%2f|%5c|%00", re.ASCII | re.IGNORECASE)


class Origin(msgspec.Struct, frozen=True, cache_hash=True):
    """Where a credential belongs and a connection goes."""

    scheme: str
    """`http` or `https`."""
    host: str
    """Lower case; an IPv6 address without its brackets."""
    port: int
    path: str = ""
    """The base path, without a final slash: `/v1`."""

    @property
    def authority(self) -> str:
        """The value of `Host`: the port stands only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"


def parse_origin(base_url: str) -> Origin:
    """Read a base URL strictly; raises ConfigError, which never repeats a URL that may hold a credential."""
    found = _URL.fullmatch(base_url)
    if found is None:
        raise _unusable("has a form that is not allowed")
    host = _host(found["host"].lower())
    scheme = found["scheme"].lower()
    port = int(found["port"]) if found["port"] else _DEFAULT_PORTS[scheme]
    if not 1 <= port <= 65535:
        raise _unusable(f"names port {port}, which does not exist")
    path = found["path"].rstrip("/")
    if _DOT_SEGMENT.search(path) or "//" in path:
        raise _unusable(f"has a path with dot or empty segments: `{path}`")
    return Origin(scheme, host, port, path)


def _unusable(why: str) -> ConfigError:
    return ConfigError(
        f"`base_url` {why}.",
        remedy="Write `https://host[:port][/path]` in ASCII (`xn--…` for other scripts), without user name, "
        "query or fragment; an IPv4 address as four decimal numbers.",
        key="base_url",
    )


def _host(host: str) -> str:
    if host.startswith("["):
        try:
            return str(IPv6Address(host[1:-1]))
        except ValueError:
            raise _unusable(f"names `{host}`, which is no IPv6 address") from None
    labels = host.split(".")
    if _NUMBER.fullmatch(labels[-1]) or host.endswith("."):
        try:
            return str(IPv4Address(host))
        except ValueError:
            raise _unusable(f"names `{host}`, which is neither a name nor an IPv4 address") from None
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise _unusable(f"names `{host}`, which is no host name")
    return host
