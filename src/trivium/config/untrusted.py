"""What a file that was merely found may say: routes over the shipped providers, and defaults. The rest is ignored."""

from __future__ import annotations

from collections.abc import Collection

from trivium.config import raw
from trivium.config.convert import convert
from trivium.config.later import refuse_route
from trivium.config.routes import Names, resolve_route
from trivium.config.toml import Document
from trivium.errors import ConfigError
from trivium.routing.route import Route

_ALLOWED = ("routes", "defaults")


def routes_and_defaults(
    document: Document, providers: Collection[str]
) -> tuple[dict[str, Route], raw.Defaults, tuple[str, ...]]:
    """Its routes and defaults, and notes for people on all that was ignored.

    A route that needs what was ignored is ignored too. None may take the place of `auto` or of a model id: a stranger's
    file must not decide where a prompt goes that was addressed to something else. Raises ConfigError for routes and
    defaults that are no valid ones.
    """
    given = convert(Document(document.file, {k: v for k, v in document.data.items() if k in _ALLOWED}, document.lines))
    trust = f"`trivium config trust {document.file}` allows the rest"
    notes = [f"{document.file} is not trusted, so only its routes and defaults count: {trust}"]
    if ignored := [name for name in document.data if name not in _ALLOWED]:
        notes.append(f"ignored in it: {', '.join(ignored)}")
    names = Names(providers, {}, {route.name for route in given.routes if _may_name(route.name)})
    routes: dict[str, Route] = {}
    for index, route in enumerate(given.routes):
        try:
            if not _may_name(route.name) or route.name in routes:
                raise document.error(("routes", index, "name"), f"it may not define the route `{route.name}`")
            if route.when is not None:
                raise document.error(("routes", index, "when"), "conditions could take requests from other routes")
            refuse_route(document, index, route)
            routes[route.name] = resolve_route(document, index, route, names)
        except ConfigError as error:
            notes.append(f"ignored the route `{route.name}`: {error}")
    return routes, _defaults(document, given.defaults, names, notes), tuple(notes)


def _may_name(route: str) -> bool:
    return route != "auto" and "/" not in route and ":" not in route


def _defaults(document: Document, given: raw.Defaults, names: Names, notes: list[str]) -> raw.Defaults:
    try:
        if given.model is not None:
            names.target(document, ("defaults", "model"), given.model)
    except ConfigError as error:
        notes.append(f"ignored `defaults.model`: {error}")
        return raw.Defaults(budget=given.budget)
    return given
