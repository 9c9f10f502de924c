"""Virtual keys as configured: hashed when they are read, kept nowhere else."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path as FilePath

from trivium.config import raw
from trivium.config.convert import resolved
from trivium.config.credentials import is_sendable
from trivium.config.quantity import moment
from trivium.config.routes import data_class
from trivium.config.secret import derive, root_secret
from trivium.config.toml import Document, Path
from trivium.policy.key import Key, digest_of, kid_of

_DIGEST = re.compile(r"hmac-sha256:([0-9a-f]{8}):[0-9a-f]{64}", re.ASCII)


def hash_keys(
    document: Document, given: tuple[raw.Key, ...], home: FilePath, env: Mapping[str, str]
) -> tuple[tuple[Key, ...], tuple[str, ...]]:
    """The keys, and notes for people. Raises ConfigError."""
    if not given:
        return (), ()
    secret = derive(root_secret(home, env), "virtual-keys")
    notes: list[str] = []
    seen: dict[str, int] = {}
    keys: list[Key] = []
    for index, key in enumerate(given):
        digest = _digest(document, ("keys", index), key, secret)
        if not digest.startswith(f"hmac-sha256:{kid_of(secret)}:"):
            notes.append(f"the key `{key.name}` was hashed with another root secret, and matches nothing here")
        for what, word in ((f"name {key.name}", "name"), (f"key {digest}", "hash" if key.hash else "key")):
            if what in seen:
                message = f"this {word} is also that of the key in line {document.line(('keys', seen[what]))}"
                raise document.error(("keys", index, word), message)
            seen[what] = index
        expires_s = _expires(document, ("keys", index), key.expires)
        keys.append(resolved(Key, key, digest=digest, data_class=data_class(key), expires_s=expires_s))
    return tuple(keys), tuple(notes)


def _digest(document: Document, path: Path, key: raw.Key, secret: bytes) -> str:
    if (key.hash is None) == (key.key is None):
        message = f"the key `{key.name}` needs either `key` or `hash`" + (", not both" if key.hash else "")
        raise document.error(path, message, remedy='Write key = "${NAME}", and set NAME in the environment.')
    if key.hash is not None:
        if not _DIGEST.fullmatch(key.hash):
            remedy = "It is hmac-sha256:<8 hex digits>:<64 hex digits>; the secret itself is a `key`."
            raise document.error((*path, "hash"), f"the `hash` of the key `{key.name}` is no digest", remedy=remedy)
        return key.hash
    token = (key.key or "").strip()
    if not is_sendable(token):
        message = f"the key `{key.name}` is empty, or has spaces or characters that no header can carry"
        raise document.error((*path, "key"), message)
    return digest_of(secret, token)


def _expires(document: Document, path: Path, value: object) -> float | None:
    """Unix seconds of a TOML date, time or ISO text; a plain date ends when that day begins, zones default to UTC."""
    if value is None:
        return None
    text = value.isoformat() if isinstance(value, dt.date) else value
    with suppress(ValueError):
        if isinstance(text, str):
            return moment(text)
    raise document.error((*path, "expires"), "`expires` is no date", remedy="Write expires = 2027-01-31T12:00:00Z.")
