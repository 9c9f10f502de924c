"""The grammar of model ids: `provider/model`, `provider:model`, and the suffixes that are ours.

`:direct`, `:routed` and `:local` ask for a road, `:floor` and `:nitro` for the cheapest and the fastest endpoint.
"""

from __future__ import annotations

from collections.abc import Container

import msgspec

from trivium.routing.route import Strategy

AUTO = "auto"
"""One primary, then the local model."""
LOCAL = "local"
"""The provider of our own engines."""
ROADS = frozenset(("direct", "routed", "local"))
SORTS: dict[str, Strategy] = {"floor": "cheapest", "nitro": "fastest"}


class Named(msgspec.Struct, frozen=True):
    """A model id taken apart."""

    provider: str
    model: str


class Suffixed(msgspec.Struct, frozen=True):
    """A name without the suffixes of ours, which may stand behind any name that is not itself one."""

    name: str
    road: str | None = None
    sort: Strategy | None = None


def suffixed(name: str) -> Suffixed:
    """Take our suffixes off the end of a name; any other `:word` is part of it (`llama3:8b`)."""
    road: str | None = None
    sort: Strategy | None = None
    while True:
        base, colon, word = name.rpartition(":")
        if not colon or not base:
            break
        if word in ROADS and road is None:
            name, road = base, word
        elif word in SORTS and sort is None:
            name, sort = base, SORTS[word]
        else:
            break
    return Suffixed(name, road, sort)


def parse(name: str, providers: Container[str]) -> Named | None:
    """Take a model id without suffixes apart; None where its prefix is no provider.

    The first `/` splits; a `:` splits only if what stands before it is a provider.
    """
    provider, slash, model = name.partition("/")
    if slash and model and provider in providers:
        return Named(provider, model)
    provider, colon, model = name.partition(":")
    if colon and model and provider in providers:
        return Named(provider, model)
    return None
