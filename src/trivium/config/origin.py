"""Origins: what a `base_url` may look like, and which server it names."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Mapping
from urllib.parse import urlsplit

from trivium.catalog.rows import PLACE
from trivium.errors import ConfigError
from trivium.policy.metadata import is_metadata_address, is_metadata_name
from trivium.types.origin import parse_origin

_PORTS = {"http": 80, "https": 443}
_PLACED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}", re.ASCII)


def check_base_url(text: str) -> str:
    """The URL without a trailing slash, as `parse_origin` reads it.

    Raises ValueError that says what is wrong, without repeating credentials.
    """
    try:
        url = urlsplit(text.strip())
        port = url.port
    except ValueError as error:
        raise ValueError("is not a URL") from error
    if url.scheme not in _PORTS:
        raise ValueError("must begin with http:// or https://")
    if url.username is not None or url.password is not None:
        raise ValueError("must not hold a user name or password: use `api_key` or `headers`")
    if "?" in text or "#" in text:
        raise ValueError("must not have a query or fragment")
    if not url.hostname or port == 0 or any(c.isspace() or not c.isprintable() or c == "\\" for c in text.strip()):
        raise ValueError("names no server")
    if is_metadata(url.hostname):
        raise ValueError("names a cloud metadata service, which is never a model's server")
    clean = text.strip().rstrip("/")
    try:
        parse_origin(clean)
    except ConfigError as error:
        raise ValueError(f"{error.message.removeprefix('`base_url` ').rstrip('.')}: {error.remedy}") from error
    return clean


def placed(base_url: str, env: Mapping[str, str]) -> str:
    """`base_url` with what the environment says for its places: a name, a host, or the `https://` URL of a host.

    As it is where one is missing or makes no address: such a variable may be meant for other programs.
    """

    def said(match: re.Match[str]) -> str:
        given = env.get(match[1], "").strip()
        value = urlsplit(given).netloc if given.startswith("https://") else given
        return value if _PLACED.fullmatch(value) else match[0]

    try:
        url = PLACE.sub(said, base_url)
        return url if PLACE.search(url) else check_base_url(url)
    except ValueError:
        return base_url


def origin_of(url: str) -> str:
    """`https://host:port`, with the port always written."""
    scheme, host, port = place_of(url)
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def place_of(url: str) -> tuple[str, str, int]:
    """Scheme, host and port: what a credential is bound to."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0)


def moved(base_url: str, host: str) -> str:
    """`base_url` at another server: a host, `host:port` or URL. Raises ValueError.

    An address that only makes sense to listen on (0.0.0.0, ::) becomes loopback.
    """
    parts, given = urlsplit(base_url), urlsplit(host if "://" in host else f"http://{host}")
    if "@" in given.netloc:
        raise ValueError("must not hold a user name or password")
    name = given.hostname or parts.hostname or ""
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(name, name)
    port = given.port or (_PORTS[given.scheme] if "://" in host and given.scheme in _PORTS else parts.port)
    prefix = given.path.rstrip("/").removesuffix(parts.path)
    return check_base_url(f"{given.scheme}://{f'[{name}]' if ':' in name else name}:{port}{prefix}{parts.path}")


def is_metadata(host: str) -> bool:
    """Whether a host is a metadata service, in any spelling of its address."""
    name = host.rstrip(".").lower().partition("%")[0]
    address = address_of(name)
    if address is None:
        return is_metadata_name(name)
    return is_metadata_address(getattr(address, "ipv4_mapped", None) or address)


def address_of(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """A literal address, also in the old spellings that resolvers accept (`0xa9fea9fe`, `2852039166`); else None."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except (OSError, UnicodeError):
        return None


def is_loopback(host: str) -> bool:
    address = address_of(host)
    return host.lower() == "localhost" if address is None else address.is_loopback
