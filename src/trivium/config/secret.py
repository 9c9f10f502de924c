"""The root secret of a home, and the keys that are derived from it, one a purpose.

Purposes keep uses apart: who learns the key of one learns nothing about another (HKDF's expand step, RFC 5869, with one
block). Machines that share a ledger share the secret through `$TRIVIUM_SECRET`.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from trivium.config.home import Paths
from trivium.config.private import write_once
from trivium.errors import ConfigError

Purpose = Literal["virtual-keys", "engine", "control"]

_SHORTEST = 16


def root_secret(home: Path, env: Mapping[str, str]) -> bytes:
    """`$TRIVIUM_SECRET`, else the content of `secret` in the home, which is made at first use.

    Raises ConfigError if the secret is shorter than 16 bytes or cannot be read.
    """
    if given := env.get("TRIVIUM_SECRET", "").strip():
        return _long_enough(given.encode(), "$TRIVIUM_SECRET")
    path = Paths(home).secret
    try:
        data = path.read_bytes() if path.exists() else write_once(path, secrets.token_hex(32).encode())
    except OSError as error:
        raise ConfigError(f"the root secret {path} cannot be used: {error.strerror}.") from error
    return _long_enough(data.strip(), str(path))


def derive(root: bytes, purpose: Purpose) -> bytes:
    """The 32 bytes for one purpose."""
    return hmac.new(root, b"trivium " + purpose.encode() + b"\x01", hashlib.sha256).digest()


def _long_enough(secret: bytes, where: str) -> bytes:
    if len(secret) < _SHORTEST:
        remedy = "Make one with: python -c 'import secrets; print(secrets.token_hex(32))'"
        raise ConfigError(f"the root secret in {where} is shorter than {_SHORTEST} characters.", remedy=remedy)
    return secret
