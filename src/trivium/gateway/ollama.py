"""What Ollama's clients ask beside answers: which models there are and run, what they can do, and to load one."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from trivium.catalog.rows import Endpoint
from trivium.dialects.base import Dialect
from trivium.dialects.common import invalid
from trivium.dialects.ollama.answer import beside, in_message, model_object, time_text
from trivium.errors import InvalidRequest, NotFound, PermissionDenied
from trivium.gateway.models import askable, model_row
from trivium.gateway.runtime import Runtime
from trivium.gateway.snapshot import Snapshot
from trivium.policy.key import Key
from trivium.routing.names import LOCAL
from trivium.wire.json import BROKEN

VERSION = {"version": "0.13.0"}
"""Of Ollama's API: clients refuse to speak with an older one than they know."""

_CAPABILITIES = {"tools": "tools", "images": "vision", "reasoning": "thinking"}
_ASKS = {
    "ollama": re.compile(rb'"messages"\s*:\s*\[\s*[^\]\s]').search,
    "ollama_generate": re.compile(rb'"prompt"\s*:\s*"[^"]').search,
}
"""By dialect, how a body looks in which something is asked."""
_FOREVER = timedelta(days=36_500)


class _Named(msgspec.Struct):
    model: str = ""
    name: str = ""


class Loading(msgspec.Struct):
    """A request that asks nothing: it loads a model, or unloads it at once."""

    model: str
    messages: list[msgspec.Raw] | None = None
    prompt: str | None = None
    keep_alive: float | str | None = None

    @property
    def unloads(self) -> bool:
        return not str(self.keep_alive).rstrip("numsh").strip("0.")  # `0`, `"0s"`


def loading(dialect: Dialect, body: bytes) -> Loading | None:
    """What a body loads; None where it asks for an answer, or is broken."""
    if _ASKS[dialect.name](body):
        return None
    try:
        asked = msgspec.json.decode(body, type=Loading)
    except BROKEN:
        return None
    return None if asked.messages or asked.prompt else asked


async def load(runtime: Runtime, key: Key | None, dialect: Dialect, asked: Loading) -> dict[str, Any]:
    """Load or unload an engine that is configured; one that answers others is left to them.

    Raises NotFound, InvalidRequest, EngineUnavailable.
    """
    snapshot, name = runtime.snapshot, asked.model
    found = _endpoint(snapshot, key, name)
    engine = found.engine if found is not None else None
    if engine is None or engine not in snapshot.config.engines:
        raise InvalidRequest(
            f"`{name[:200]}` is no engine that this server loads.",
            remedy="Ask it something: only engines under `[[engines]]` are loaded ahead.",
            param="messages" if dialect.name == "ollama" else "prompt",
        )
    if not asked.unloads:
        await runtime.owner.ensure(engine, snapshot.config.engines[engine])
    else:
        states = {one["id"]: one["state"] for one in await runtime.owner.call("engines")}
        asking = any(exchange.leg and exchange.leg.endpoint.engine == engine for exchange in runtime.exchanges)
        if states.get(engine) == "ready" and not asking:  # nobody of ours has come while its owner was asked
            await runtime.owner.call("stop_engine", engine=engine)
    said = in_message("", {}) if dialect.name == "ollama" else beside("", {})
    done = {"done": True, "done_reason": "unload" if asked.unloads else "load"}
    return {"model": name, "created_at": _time(datetime.now(UTC)), **said, **done}


async def running(runtime: Runtime, key: Key | None) -> dict[str, Any]:
    """Engines that are loaded, as their owner knows them."""
    now, engines = datetime.now(UTC), runtime.snapshot.config.engines
    rows: list[dict[str, Any]] = []
    for one in await runtime.owner.call("engines"):
        name = f"{LOCAL}/{one['id']}"
        if one["state"] not in ("ready", "busy") or not _may(runtime.snapshot, key, name):
            continue
        idle_s = engines[one["id"]].idle_unload_s if one["id"] in engines else None
        until = now + (_FOREVER if idle_s is None else timedelta(seconds=idle_s))
        figures = {"size": one.get("rss") or 0, "size_vram": 0, "context_length": one.get("context") or 0}
        rows.append(model_object(name) | figures | {"expires_at": _time(until)})
    return {"models": rows}


def show(snapshot: Snapshot, key: Key | None, body: bytes) -> dict[str, Any]:
    """What a model can do, as far as it is known. Raises InvalidRequest, NotFound."""
    try:
        asked = msgspec.json.decode(body, type=_Named)
    except BROKEN as error:
        raise invalid(error) from None
    name = asked.model or asked.name
    endpoint = _endpoint(snapshot, key, name)
    capabilities, family, context = frozenset[str](), name.partition("/")[0], None
    if endpoint is not None:
        capabilities, family, context = endpoint.capabilities, endpoint.family or family, endpoint.context
    info = {"general.architecture": family, "general.basename": name}
    return {
        "license": "",
        "modelfile": "",
        "parameters": "",
        "template": "",
        "details": model_object(name)["details"] | {"family": family},
        "model_info": info if context is None else info | {f"{family}.context_length": context},
        "capabilities": ["completion", *(word for ours, word in _CAPABILITIES.items() if ours in capabilities)],
        "modified_at": time_text(0),
    }


def _endpoint(snapshot: Snapshot, key: Key | None, name: str) -> Endpoint | None:
    """The first endpoint of a key's plan for a name; None where it has none. Raises NotFound for what is none."""
    model_row(snapshot, key, name)
    return next(iter(askable(snapshot, key, name)), None)


def _may(snapshot: Snapshot, key: Key | None, name: str) -> bool:
    """Whether a key may ask an engine; one that is configured no more is nobody's."""
    try:
        return key is None or bool(askable(snapshot, key, name))
    except NotFound:
        return False


def _time(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def told(runtime: Runtime, key: Key | None, what: str, body: bytes) -> dict[str, Any]:
    """The answer at `/api/{what}`. Raises PermissionDenied where a model would come, go or change by it."""
    match what:
        case "version":
            return VERSION
        case "show":
            return show(runtime.snapshot, key, body)
        case _:
            raise PermissionDenied(
                f"To {what} models is an administrator's right, and not served here.",
                remedy="On the server, `trivium models pull` fetches a model and `trivium models remove` drops one.",
            )
