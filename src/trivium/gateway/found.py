"""Servers found running on this machine: asked on loopback alone who they are, all at once, for half a second."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from trivium.config.schema import Config
from trivium.transport.probe import get
from trivium.types.origin import Origin, parse_origin
from trivium.wire.json import BROKEN

TIMEOUT_S = 0.5
"""For each of the two questions."""

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
    model: str = ""
    """The first that it lists which is not made for embeddings."""


async def look(config: Config) -> list[Found]:
    """Look for every server of the catalog that runs on this machine; takes a second at most."""
    rows = [bound.row for bound in config.providers.values() if bound.row.access == "local" and bound.row.base_url]
    return list(await asyncio.gather(*(_look_at(row.id, parse_origin(row.base_url), row.models_path) for row in rows)))


async def _look_at(provider: str, origin: Origin, models_path: str | None) -> Found:
    where, models = str(origin), f"{origin.path}{models_path or ''}"
    path, sign = _SIGNS.get(provider, (models, "data"))
    status, body = await get(origin, path, timeout_s=TIMEOUT_S)
    said = _object(body)
    if status == 0:
        return Found(provider=provider, origin=where, state="absent")
    if status != 200 or sign not in said:
        return Found(provider=provider, origin=where, state="other")
    version = str(said.get("version") or said.get("build_info") or "")[:80]
    model = _model(_object((await get(origin, models, timeout_s=TIMEOUT_S))[1]))
    return Found(provider=provider, origin=where, state="ready", version=version, model=model)


def _object(body: bytes) -> dict[str, Any]:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except BROKEN:
        return {}


class _Model(msgspec.Struct):
    id: str


def _model(listed: dict[str, Any]) -> str:
    try:
        models = msgspec.convert(listed.get("data"), list[_Model])
    except msgspec.ValidationError:
        return ""
    return next((model.id for model in models if model.id and "embed" not in model.id.lower()), "")
