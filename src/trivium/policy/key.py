"""A virtual key: a caller's credential and what it may do."""

from __future__ import annotations

import msgspec

from trivium.types.data import DataClass


class Key(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """`digest` is `hmac-sha256:<kid>:<hex>`; the key itself is kept nowhere."""

    name: str
    digest: str
    data_class: DataClass = DataClass.ANY
    models: tuple[str, ...] = ()
    """Model ids and routes that it may name; empty: all."""
    roads: tuple[str, ...] = ()
    """Roads that it may take; empty: all."""
    expires_s: float | None = None
    """Unix seconds."""
    tags: tuple[str, ...] = ()
    team: str | None = None
