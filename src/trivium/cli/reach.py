"""Where a prompt may go: every destination that this configuration could hand a request to."""

from __future__ import annotations

import os
from collections.abc import Iterable

import msgspec

from trivium.config.home import Paths
from trivium.config.schema import BoundProvider, Config
from trivium.transport.address import refused_name
from trivium.transport.proxy import Proxies
from trivium.types.data import DataClass
from trivium.types.origin import parse_origin

THIS_MACHINE = "this machine"


class Destination(msgspec.Struct, frozen=True, kw_only=True):
    """An origin that requests may be sent to, and how far a request that goes there may travel at most."""

    provider: str
    origin: str
    """`https://host:port`, or that it stays here."""
    road: str
    ceiling: str
    """A data class: that of the provider's statement. `any`: nothing is known."""
    region: str | None
    proxy: str | None = None


def destinations(config: Config) -> list[Destination]:
    """Every place that a request may be sent to, this machine last. Offline, only what is on this machine."""
    proxies = Proxies.from_env(os.environ)
    usable = (bound for bound in config.providers.values() if is_usable(config, bound))
    return [_destination(bound, proxies) for bound in usable if _reached(config, bound)]


def is_usable(config: Config, bound: BoundProvider) -> bool:
    """Whether a request could be sent there: it has an address, and has a key, needs none, or is configured."""
    row = bound.row
    return not row.places and (bound.has_key or row.auth == "none" or row.id in config.configured)


def line(place: Destination) -> str:
    """One destination for people."""
    return f"{place.provider}: {place.origin} ({', '.join(_facts(place))})"


def _facts(place: Destination) -> Iterable[str]:
    yield place.road
    unknown = place.ceiling == DataClass.ANY.word
    yield "what it keeps is unknown" if unknown else f"data class up to {place.ceiling}"
    if place.region:
        yield place.region
    if place.proxy:
        yield f"through the proxy {place.proxy}"


def _reached(config: Config, bound: BoundProvider) -> bool:
    if not bound.row.base_url:
        return bool(config.engines) or any((Paths(config.home).models / "manifests").glob("*.json"))
    return refusal(config, bound) is None


def refusal(config: Config, bound: BoundProvider) -> str | None:
    """Why no connection to a provider would be opened, as far as its origin says so; None: nothing against it."""
    if not bound.row.base_url:
        return None
    origin = parse_origin(bound.row.base_url)
    return refused_name(origin, trusted_origin=bound.trusted_origin, offline=config.offline)


def _destination(bound: BoundProvider, proxies: Proxies) -> Destination:
    row = bound.row
    origin = parse_origin(row.base_url) if row.base_url else None
    proxy = proxies.for_origin(origin) if origin is not None and row.access != "local" else None
    return Destination(
        provider=row.id,
        origin=str(origin) if origin is not None else THIS_MACHINE,
        road=row.access,
        ceiling=row.data.ceiling.word,
        region=row.region,
        proxy=str(proxy) if proxy else None,
    )
