"""A virtual key: a caller's credential and what it may do."""

from __future__ import annotations

import hashlib
import hmac

import msgspec

from trivium.types.data import DataClass


class Key(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, cache_hash=True):
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


def digest_of(secret: bytes, token: str) -> str:
    """What is kept of a key, and looked up for a caller's: `hmac-sha256:<kid>:<hex>`.

    `secret` is the key derived for this purpose from the root secret (`config.secret`); the kid identifies it, so
    that digests made with another one can be told apart.
    """
    digest = hmac.new(secret, token.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
    return f"hmac-sha256:{kid_of(secret)}:{digest}"


def kid_of(secret: bytes) -> str:
    """Eight hex digits that identify a derived key without telling anything about it."""
    return hmac.new(secret, b"trivium key id", hashlib.sha256).hexdigest()[:8]
