"""The metadata services of clouds: they hand out credentials to whoever reaches them, so nobody may."""

from __future__ import annotations

import ipaddress
from ipaddress import IPv4Address, IPv6Address

# All of 169.254.0.0/16 is closed: they keep adding to it.
_NETWORKS = [
    ipaddress.ip_network(text)
    for text in (
        "169.254.0.0/16",  # AWS, Google, Azure, Oracle, DigitalOcean, Tencent, Scaleway, container and pod credentials
        "100.100.100.200/32",  # Alibaba
        "168.63.129.16/32",  # Azure's wire server: a global address
        "192.0.0.192/32",  # Oracle, first generation
        "fd00:ec2::/32",  # AWS: fd00:ec2::254, ::253, ::23
        "fd20:ce::254/128",  # Google
        "fd00:42::42/128",  # Scaleway
        "fe80::a9fe:a9fe/128",  # OpenStack
    )
]
_NAMES = {
    "metadata",
    "metadata.google.internal",
    "metadata.goog",
    "metadata.tencentyun.com",
    "instance-data",
    "instance-data.ec2.internal",
}


def is_metadata_name(name: str) -> bool:
    """`name` in lower case, without a final dot."""
    return name in _NAMES


def is_metadata_address(ip: IPv4Address | IPv6Address) -> bool:
    return any(ip in network for network in _NETWORKS)
