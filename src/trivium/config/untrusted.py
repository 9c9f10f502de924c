"""What a file that was merely found may say: routes over the shipped providers, and defaults. The rest is ignored."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from trivium.config import raw, shipped
from trivium.config.convert import convert
from trivium.config.later import refuse_route
from trivium.config.providers import bind
from trivium.config.resolve import defaults
from trivium.config.routes import Names, resolve_route
from trivium.config.schema import DEFAULT_BUDGET_NANOS, Config
from trivium.config.toml import Document
from trivium.errors import ConfigError
from trivium.routing.route import Route

_ALLOWED = ("routes", "defaults")


def untrusted(path: Path, document: Document, env: Mapping[str, str], home: Path, *, offline: bool) -> Config:
    """Its routes and defaults, with notes for people on all that was ignored.

    A route that needs what was ignored is ignored too. None may take the place of `auto` or of a model id: a stranger's
    file must not decide where a prompt goes that was addressed to something else. `auto` may be given less to spend,
    not more. Raises ConfigError for routes and defaults that are no valid ones.
    """
    given = convert(Document(document.file, {k: v for k, v in document.data.items() if k in _ALLOWED}, document.lines))
    trust = f"`trivium config trust {document.file}` allows the rest"
    notes = [f"{document.file} is not trusted, so only its routes and defaults count: {trust}"]
    if ignored := [name for name in document.data if name not in _ALLOWED]:
        notes.append(f"ignored in it: {', '.join(ignored)}")
    providers = bind(None, (), shipped.catalog(), env, home)
    names = Names(providers.keys(), {}, {route.name for route in given.routes if _may_name(route.name)})
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
    names = Names(providers.keys(), {}, routes.keys())
    try:
        own = defaults(document, given.defaults, names)
    except ConfigError as error:
        own = defaults(document, raw.Defaults(budget=given.defaults.budget), names)
        notes.append(f"ignored `defaults.model`: {error}")
    budget = DEFAULT_BUDGET_NANOS if own.budget_nanos_day is None else min(own.budget_nanos_day, DEFAULT_BUDGET_NANOS)
    return Config(
        home=home,
        file=path,
        trusted=False,
        offline=offline,
        providers=providers,
        routes=routes,
        defaults=msgspec.structs.replace(own, budget_nanos_day=budget),
        notes=tuple(notes),
    )


def _may_name(route: str) -> bool:
    return route != "auto" and "/" not in route and ":" not in route
