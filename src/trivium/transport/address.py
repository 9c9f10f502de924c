"""Which addresses may be dialled: the rules for an origin and for what its name resolves to. Pure.

`refused_name` and `refused` judge the origin and each resolved address. An address is refused
unless it is known to be good: only globally reachable unicast passes without the operator's word, an IPv4 address
hidden in an IPv6 one is judged as itself, and the metadata services of clouds are closed to everybody.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network

from trivium.policy.metadata import is_metadata_address, is_metadata_name
from trivium.types.origin import Origin

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
