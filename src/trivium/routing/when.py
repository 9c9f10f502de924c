"""When a route is for a request: conditions on what its caller named, who it is, and what the request holds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from trivium.routing.route import Route, When


class Occasion(msgspec.Struct, frozen=True):
    """As much of a request as conditions are about."""

    model: str
    key: str = ""
    metadata: Mapping[str, str] = {}
    tokens: int = 0
    tools: bool = False
    images: bool = False


def chosen(routes: Iterable[Route], occasion: Occasion) -> int | None:
    """The place of the first route that is for a request; None where none is."""
    for place, route in enumerate(routes):
        when = route.when
        if when is not None and _named(route, when, occasion.model) and holds(when, occasion):
            return place
    return None


def _named(route: Route, when: When, model: str) -> bool:
    return model == route.name or _like(when.models, model)


def holds(when: When, occasion: Occasion) -> bool:
    """Whether all conditions but that on the model's name hold."""
    return (
        (not when.keys or _like(when.keys, occasion.key))
        and all(occasion.metadata.get(name) == value for name, value in when.metadata.items())
        and (when.tokens_min is None or occasion.tokens >= when.tokens_min)
        and (when.tokens_max is None or occasion.tokens <= when.tokens_max)
        and when.tools in (None, occasion.tools)
        and when.images in (None, occasion.images)
    )


def _like(patterns: tuple[str, ...], name: str) -> bool:
    return any(name.startswith(one[:-1]) if one.endswith("*") else name == one for one in patterns)
