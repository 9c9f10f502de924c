"""The grammar of model ids: `provider/model`, `provider:model`, and the suffixes that are ours."""

from __future__ import annotations

from collections.abc import Container

import msgspec

AUTO = "auto"
"""One primary, then the local model."""
LOCAL = "local"
"""The provider of our own engines."""
ROADS = {"direct": "direct", "routed": "routed", "local": "local"}


class Named(msgspec.Struct, frozen=True):
    """A model id taken apart. `road` is the suffix `:direct`, `:routed` or `:local`, if it has one."""

    provider: str
    model: str
    road: str | None = None


def parse(name: str, providers: Container[str]) -> Named | None:
    """Take a model id apart; None where its prefix is no provider.

    The first `/` splits; a `:` splits only if what stands before it is a provider. A trailing `:word` is a
    suffix only if it is one of ours, else part of the id (`llama3:8b`).
    """
    road = None
    base, colon, suffix = name.rpartition(":")
    if colon and suffix in ROADS and base:
        name, road = base, ROADS[suffix]
    provider, slash, model = name.partition("/")
    if slash and model and provider in providers:
        return Named(provider, model, road)
    provider, colon, model = name.partition(":")
    if colon and model and provider in providers:
        return Named(provider, model, road)
    return None
