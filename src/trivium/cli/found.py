"""Servers found running on this machine: asked on loopback alone who they are, all at once, for half a second."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import msgspec

from trivium.config.schema import BoundProvider, Config
from trivium.transport.address import Origin, parse_origin, refused_name

TIMEOUT_S = 0.5

_SIGNS = {
    "llamacpp": ("/props", "default_generation_settings"),
    "vllm": ("/version", "version"),
    "ollama": ("/api/version", "version"),
}
"""By kind of server: a path below its root, and a member of the object that it answers there."""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    provider: str
    origin: str
    state: str
    """`ready`, `absent`, or `other`: something listens that does not say that it is this."""
    version: str = ""


def look(config: Config) -> list[Found]:
    """Look for every server of the catalog that runs on this machine; takes a second at most."""
    places = {id_: origin for id_, bound in config.providers.items() if (origin := _on_loopback(bound)) is not None}
    if not places:
        return []
    with ThreadPoolExecutor(len(places)) as pool:
        return list(pool.map(_look_at, places.keys(), places.values()))


def _on_loopback(bound: BoundProvider) -> Origin | None:
    if bound.row.access != "local" or not bound.row.base_url:
        return None
    origin = parse_origin(bound.row.base_url)
    return origin if refused_name(origin, trusted_origin=True, offline=True) is None else None


def _look_at(provider: str, origin: Origin) -> Found:
    where = str(origin)
    path, sign = _SIGNS.get(provider, (f"{origin.path}/models", "data"))
    url = f"{origin.scheme}://{origin.authority}{path}"
    try:
        answer = httpx2.get(url, timeout=TIMEOUT_S, trust_env=False, follow_redirects=False)
    except httpx2.HTTPError:
        return Found(provider=provider, origin=where, state="absent")
    said = _object(answer)
    if answer.status_code != 200 or sign not in said:
        return Found(provider=provider, origin=where, state="other")
    version = said.get("version") or said.get("build_info") or ""
    return Found(provider=provider, origin=where, state="ready", version=str(version)[:80])


def _object(answer: httpx2.Response) -> dict[str, Any]:
    try:
        return msgspec.json.decode(answer.content, type=dict[str, Any])
    except msgspec.DecodeError:
        return {}
