"""Which addresses may be dialled: the strict reading of a base URL, and the rules for what it resolves to.

Two gates, both pure. `parse_origin` reads a base URL by one grammar, so that no two parsers can see two hosts in
it (octal, hexadecimal and short IPv4 forms that `inet_aton` accepts, userinfo, backslashes, Unicode digits: all
refused). `refused_name` and `refused` then judge the origin and each resolved address. An address is refused
unless it is known to be good: only globally reachable unicast passes without the operator's word, an IPv4 address
hidden in an IPv6 one is judged as itself, and the metadata services of clouds are closed to everybody.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network

import msgspec

from trivium.errors import ConfigError
from trivium.policy.metadata import is_metadata_address, is_metadata_name

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


_LOCAL_SUFFIXES = (".localhost", ".local", ".internal", ".lan", ".home.arpa", ".localdomain")

# Blocks that `is_global` of some supported Python versions lets through.
_NOT_GLOBAL = [
    ipaddress.ip_network(text)
    for text in ("192.0.0.0/24", "192.88.99.0/24", "240.0.0.0/4", "2001:db8::/32", "3fff::/20")
]
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
_LOW_32_BITS = [
    IPv6Network(text)
    for text in (
        "::/96",  # IPv4-compatible, RFC 4291
        "::ffff:0:0/96",  # IPv4-mapped, RFC 4291
        "::ffff:0:0:0/96",  # IPv4-translated, RFC 2765
        "64:ff9b::/96",  # NAT64, RFC 6052
        "64:ff9b:1::/48",  # NAT64 of one network, RFC 8215
    )
]
_6TO4 = IPv6Network("2002::/16")
_JUDGED_MAX = 1024
"""Judgements remembered: nothing but the arguments decides them, and each new connection asks again."""
_ISATAP = 0x00005EFE  # RFC 5214: the middle of the interface identifier


def _embedded(ip: IPv6Address) -> Iterator[IPv4Address]:
    """The IPv4 addresses that a translator or tunnel may read out of `ip`."""
    number = int(ip)
    low = IPv4Address(number & 0xFFFFFFFF)
    if any(ip in network for network in _LOW_32_BITS) or (number >> 32) & 0xFDFFFFFF == _ISATAP:
        yield low
    if ip in _6TO4:
        yield IPv4Address((number >> 80) & 0xFFFFFFFF)
    if ip in IPv6Network("64:ff9b:1::/48"):
        # RFC 6052 puts the address around the zero octet of bits 64 to 71.
        yield IPv4Address(((number >> 64) & 0xFFFF) << 16 | (number >> 40) & 0xFFFF)
    if ip.teredo is not None:
        yield from ip.teredo


def _is_global(ip: IPv4Address | IPv6Address) -> bool:
    if isinstance(ip, IPv6Address) and ip in _NAT64:
        return True  # as good as the IPv4 address in it, which is judged too
    if not ip.is_global or ip.is_multicast or any(ip in network for network in _NOT_GLOBAL):
        return False
    return isinstance(ip, IPv4Address) or ip in _GLOBAL_UNICAST


@lru_cache(maxsize=_JUDGED_MAX)
def refused(address: str, *, trusted_origin: bool, offline: bool) -> str | None:
    """Why a resolved address (numeric text) must not be connected to; None: it may.

    `trusted_origin`: a configuration that the operator trusts names the origin, so that loopback and private
    addresses are meant. `offline`: nothing leaves this machine.
    """
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "it is no IP address"
    mapped = ip.ipv4_mapped if isinstance(ip, IPv6Address) else None
    ip = mapped or ip
    inner = [ip, *_embedded(ip)] if isinstance(ip, IPv6Address) else [ip]
    if any(is_metadata_address(each) for each in inner):
        return "it belongs to a cloud's metadata service, which is never contacted"
    if ip.is_multicast or ip == IPv4Address("255.255.255.255"):
        return "it is not the address of one machine"
    # An unspecified address means this machine; people copy `0.0.0.0` from the output of their servers.
    if offline and not (ip.is_loopback or ip.is_unspecified):
        return "it is not on this machine, and Trivium works offline"
    if not trusted_origin and not all(_is_global(each) for each in inner):
        return "it is not a public address, and no trusted configuration names this origin"
    return None


@lru_cache(maxsize=_JUDGED_MAX)
def refused_name(origin: Origin, *, trusted_origin: bool, offline: bool) -> str | None:
    """Why an origin must not be contacted, as far as its text says so; None: nothing against it.

    The addresses of a name are judged later, by `refused`. Behind a proxy, which resolves names itself, this
    is the whole judgement; there nothing counts as local.
    """
    try:
        ipaddress.ip_address(origin.host)
    except ValueError:
        reason = _refused_host_name(origin.host, trusted_origin=trusted_origin, offline=offline)
    else:
        reason = refused(origin.host, trusted_origin=trusted_origin, offline=offline)
    if reason is None and origin.scheme == "http" and not trusted_origin:
        return "it is not encrypted, and no trusted configuration names this origin"
    return reason


def _refused_host_name(host: str, *, trusted_origin: bool, offline: bool) -> str | None:
    if is_metadata_name(host):
        return "it names a cloud's metadata service, which is never contacted"
    if offline and not is_local(host):
        return "looking up its name would leave this machine, and Trivium works offline"
    if not trusted_origin and ("." not in host or host.endswith(_LOCAL_SUFFIXES)):
        return "it names a machine of a private network, and no trusted configuration names this origin"
    return None


def is_local(host: str) -> bool:
    """Whether a host is by its text on this machine or in a private network: no proxy is asked for it."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        ip: IPv4Address | IPv6Address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return not _is_global(ip)
