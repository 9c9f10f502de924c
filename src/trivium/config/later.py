"""Keys that are valid but not enforced yet: refused, because ignoring one would break what it promises."""

from __future__ import annotations

from trivium.config import raw
from trivium.config.toml import Document, Path, dotted

_LIMITS = ("budget", "rpm", "tpm", "concurrency", "regions", "filters")


def refuse(document: Document, file: raw.File) -> None:
    """Raises ConfigError at the first key that this version understands but does not enforce."""
    _refuse_set(document, ("policy",), file.policy, _LIMITS)
    _refuse_set(document, ("policy", "timeouts"), file.policy.timeouts, ("headers",))
    for index, provider in enumerate(file.providers):
        _refuse_set(document, ("providers", index, "timeouts"), provider.timeouts, ("headers",))
    for index, key in enumerate(file.keys):
        _refuse_set(document, ("keys", index), key, (*_LIMITS, "soft"))
    for index, route in enumerate(file.routes):
        refuse_route(document, index, route)
    for index, engine in enumerate(file.engines):
        _refuse_set(document, ("engines", index), engine, ("max_cold_start", "pull"))
        if engine.kind != "llamacpp":
            remedy = 'Start that server yourself and name it under [[providers]] with `access = "local"`.'
            _refuse(document, ("engines", index, "kind"), f'`kind = "{engine.kind}"`', remedy)
    _refuse_set(document, ("ledger",), file.ledger, ("retention",))
    if file.ledger.durability != "process":
        what, remedy = '`durability = "power_loss"`', 'Write `durability = "process"`.'
        _refuse(document, ("ledger", "durability"), what, remedy)
    if file.ledger.bodies not in (None, False, "none"):
        _refuse(document, ("ledger", "bodies"), "keeping bodies")
    if file.ledger.url and not file.ledger.url.startswith("sqlite:"):
        _refuse(document, ("ledger", "url"), "a ledger outside SQLite", "Write `sqlite:///path/to/ledger.db`.")


def refuse_route(document: Document, index: int, route: raw.Route) -> None:
    """Raises ConfigError for what a route asks and this version does not do."""
    path: Path = ("routes", index)
    _refuse_set(document, path, route, _LIMITS)
    _refuse_set(document, (*path, "timeouts"), route.timeouts, ("headers",))
    if route.strategy == "smart":
        _refuse(document, (*path, "strategy"), '`strategy = "smart"`', 'Write `strategy = "balanced"`.')
    if route.cache != "off":
        _refuse(document, (*path, "cache"), f'`cache = "{route.cache}"`', 'Write `cache = "off"`.')


def _refuse_set(document: Document, path: Path, table: raw.Table | None, names: tuple[str, ...]) -> None:
    for name in names:
        if table is not None and getattr(table, name) is not None:
            _refuse(document, (*path, name), f"`{dotted((*path, name))}`")


def _refuse(document: Document, path: Path, what: str, remedy: str = "Remove it, or use a version that does.") -> None:
    raise document.error(path, f"{what} is valid, but this version does not enforce it yet", remedy=remedy)
