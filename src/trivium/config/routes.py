"""Routes and aliases as configured, with every target checked against what can be named."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from trivium.config import raw
from trivium.config.convert import resolved
from trivium.config.times import duration, timeouts
from trivium.config.toml import Document, Path, dotted
from trivium.routing.names import suffixed
from trivium.routing.route import Breaker, Hold, Route, When
from trivium.types.data import DATA_CLASSES, DataClass


class Names(msgspec.Struct, frozen=True):
    """What a target can be: a model of one of the providers, or an alias of one."""

    providers: Collection[str]
    aliases: Mapping[str, str]
    routes: Collection[str]

    def target(self, document: Document, path: Path, text: str) -> str:
        """The model id that a target or alias stands for in the end. Raises ConfigError."""
        seen = [text]
        while text in self.aliases:
            text = self.aliases[text]
            if text in seen:
                message = f"the aliases go in a circle: {' → '.join([*seen, text])}"
                raise document.error(("aliases", seen[-1]), message)
            seen.append(text)
        if text in self.routes:
            return text
        return self.model_id(document, path, text)

    def model_id(self, document: Document, path: Path, text: str) -> str:
        """`provider/model`, also from `provider:model`. Raises ConfigError for an unknown provider."""
        prefix, slash, rest = text.partition("/")
        if slash and prefix in self.providers and rest:
            return text
        word, colon, after = text.partition(":")
        if colon and word in self.providers and after:
            return f"{word}/{after}"
        if slash:
            message = f"`{dotted(path)}`: there is no provider `{prefix}` for the model `{text}`"
            raise document.error(path, message, wrong=prefix, valid=self.providers)
        message = f"`{dotted(path)}`: `{text}` is neither provider/model nor an alias"
        remedy = "Write it as provider/model."
        valid = {*self.aliases, *self.routes}.difference(path[1:])
        raise document.error(path, message, wrong=text, valid=valid, remedy=remedy)


def resolve_aliases(document: Document, names: Names) -> dict[str, str]:
    """Every alias with what it stands for in the end: a model id or a route."""
    found: dict[str, str] = {}
    for alias in names.aliases:
        path: Path = ("aliases", alias)
        if alias in names.routes:
            raise document.error(path, f"`{alias}` is the name of a route as well")
        found[alias] = names.target(document, path, alias)
    return found


class Routes(msgspec.Struct, frozen=True):
    """`usual` by name, and those that are for some requests only, in the order in which they are looked at."""

    usual: dict[str, Route]
    conditional: tuple[Route, ...]


def resolve_routes(document: Document, routes: tuple[raw.Route, ...], names: Names) -> Routes:
    """The routes, of which several may have a name where all but one have conditions. Raises ConfigError."""
    found: dict[str, Route] = {}
    conditional: list[Route] = []
    for index, route in enumerate(routes):
        path: Path = ("routes", index)
        if not route.name.strip():
            raise document.error((*path, "name"), "a route needs a name")
        made = resolve_route(document, index, route, names)
        if made.when is not None:
            conditional.append(made)
            continue
        if route.name in found:
            first = found[route.name].line
            remedy = "Give one of them conditions: `when = { … }`."
            message = f"the route `{route.name}` stands in line {first} already"
            raise document.error((*path, "name"), message, remedy=remedy)
        found[route.name] = made
    return Routes(found, tuple(conditional))


def resolve_route(document: Document, index: int, route: raw.Route, names: Names) -> Route:
    path: Path = ("routes", index)
    targets = tuple(
        _target(document, (*path, "targets", at), route, text, names) for at, text in enumerate(route.targets)
    )
    return resolved(
        Route,
        route,
        targets=targets,
        weights=_weights(document, path, route, targets, names),
        when=None if route.when is None else resolved(When, route.when),
        data_class=data_class(route),
        timeouts=timeouts(document, (*path, "timeouts"), route.timeouts),
        breaker=Breaker(
            failures=route.breaker.failures,
            cooldown_s=duration(document, (*path, "breaker", "cooldown"), route.breaker.cooldown),
        ),
        hold=hold(document, path, route),
        max_wait_s=None if route.max_wait is None else duration(document, (*path, "max_wait"), route.max_wait),
        fallbacks={
            failure: _targets(document, (*path, "fallbacks", failure), route, more, names)
            for failure, more in route.fallbacks.items()
        },
        line=document.line((*path, "name")),
    )


def hold(document: Document, path: Path, route: raw.Route) -> Hold | None:
    """What a route holds back of a stream. Raises ConfigError for a rescue that it could not keep its word about."""
    how, given = route.rescue, route.hold
    if how in ("hold", "continue", "restart") and len(route.targets) == 1:
        remedy = 'Name a second target, or write `rescue = "terminate"`.'
        raise document.error((*path, "rescue"), f'`rescue = "{how}"` needs somebody who goes on', remedy=remedy)
    if route.rescue_other_model and how in ("hold", "terminate"):
        message = f'`rescue_other_model` means nothing beside `rescue = "{how}"`, which lets nobody go on'
        raise document.error((*path, "rescue_other_model"), message, remedy='Remove it, or write `rescue = "auto"`.')
    if given is not None and how not in ("hold", "auto"):
        message = f'`hold` is not possible with `rescue = "{how}"`'
        raise document.error((*path, "hold"), message, remedy='Remove it, or write `rescue = "hold"` or "auto".')
    if given == "complete":
        return Hold(complete=True)
    if given is not None:
        return Hold(tokens=given.tokens, ms=given.ms)
    return Hold() if how == "hold" else None


def _weights(
    document: Document, path: Path, route: raw.Route, targets: tuple[str, ...], names: Names
) -> dict[str, float]:
    """The weights by what the targets stand for. Raises ConfigError for what is no target of the route."""
    found: dict[str, float] = {}
    for text, weight in route.weight.items():
        place = (*path, "weight", text)
        target = _target(document, place, route, text, names)
        target = suffixed(target).name  # endpoints are weighed, and have no suffix
        if target not in {suffixed(one).name for one in targets}:
            raise document.error(place, f"`{text}` is no target of the route", wrong=text, valid=route.targets)
        found[target] = weight
    return found


def _targets(document: Document, path: Path, route: raw.Route, given: tuple[str, ...], names: Names) -> tuple[str, ...]:
    return tuple(_target(document, (*path, at), route, text, names) for at, text in enumerate(given))


def _target(document: Document, place: Path, route: raw.Route, text: str, names: Names) -> str:
    target = names.target(document, place, text)
    if target == route.name:
        raise document.error(place, f"the route `{target}` targets itself")
    if target in names.routes:
        remedy = "Name its targets here: a route's own deadlines and data class cannot be taken over."
        raise document.error(place, f"`{target}` is a route, and a route cannot target another one", remedy=remedy)
    return target


def data_class(given: raw.Limits) -> DataClass:
    return DATA_CLASSES[given.data_class or "any"]
