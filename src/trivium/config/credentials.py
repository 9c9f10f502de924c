"""Keys kept by `trivium login`: in the OS keyring where one works, else in a 0600 file of the home.

Each entry names the origin that its key belongs to, and is used for no other.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from trivium.catalog.catalog import Catalog
from trivium.config.home import Paths
from trivium.config.private import read, write
from trivium.errors import UsageError
from trivium.types.secret import Secret

Place = Literal["keyring", "file"]

_SERVICE = "trivium"

T = TypeVar("T")


class _Entry(msgspec.Struct, omit_defaults=True):
    origin: str
    key: str | None = None
    """None: the keyring has it."""


def normalise(text: str) -> str:
    """A key as it was pasted, without what a terminal or mail adds around it."""
    return text.strip().strip("\"'\u200b\ufeff").strip()


def is_sendable(key: str) -> bool:
    """Whether a text can be a credential in a header."""
    return key.isascii() and key.isprintable() and " " not in key and key != ""


def check_form(provider_id: str, key: str, catalog: Catalog) -> None:
    """Refuse what cannot be a key of that provider. Raises UsageError naming whose key it looks like."""
    if not is_sendable(key):
        raise UsageError("that is not a key: it is empty or has spaces or unprintable characters.")
    own = catalog.providers.get(provider_id)
    if own is not None and own.key_form and re.fullmatch(own.key_form, key):
        return
    for row in catalog.providers.values():
        if row.key_form and re.fullmatch(row.key_form, key):
            remedy = f"Use `trivium login {row.id}` for it."
            wanted = own.name if own else provider_id
            raise UsageError(f"that looks like a key of {row.name}, not of {wanted}.", remedy=remedy)


def save(home: Path, provider_id: str, key: str, origin: str) -> Place:
    """Keep a key for an origin; returns where it went. Raises UsageError rather than lose those of others."""
    entries = _to_change(home)
    place: Place = "keyring" if _keyring_set(_account(home, provider_id), key) else "file"
    entries[provider_id] = _Entry(origin, None if place == "keyring" else key)
    write(Paths(home).credentials, msgspec.json.encode(entries))
    return place


def load(home: Path, provider_id: str, origin: str) -> Secret | None:
    """The key kept for a provider at an origin; None if there is none, or if it was kept for another origin."""
    entry = _load(home).get(provider_id)
    if entry is None or entry.origin != origin:
        return None
    account = _account(home, provider_id)
    key = entry.key if entry.key is not None else _keyring(lambda ring: ring.get_password(_SERVICE, account))
    return Secret(key) if key else None


def remove(home: Path, provider_id: str) -> bool:
    """Forget a key; False if none was kept. Raises UsageError where the keyring does not let it go."""
    entries = _to_change(home)
    entry = entries.pop(provider_id, None)
    if entry is None:
        return False
    account = _account(home, provider_id)

    def forget(ring: Any) -> bool:
        if ring.get_password(_SERVICE, account) is not None:
            ring.delete_password(_SERVICE, account)
        return True

    if entry.key is None and not _keyring(forget):
        remedy = f"Unlock it, or delete `{account}` of `{_SERVICE}` with its own program."
        raise UsageError("the system's keyring does not answer, so the key is still in it.", remedy=remedy)
    write(Paths(home).credentials, msgspec.json.encode(entries))
    return True


def kept(home: Path) -> tuple[str, ...]:
    """Ids of the providers that have a kept key. Opens no keyring."""
    return tuple(_load(home))


def _account(home: Path, provider_id: str) -> str:
    return f"{provider_id}@{home}"


def _load(home: Path) -> dict[str, _Entry]:
    return read(Paths(home).credentials, dict[str, _Entry]) or {}


def _to_change(home: Path) -> dict[str, _Entry]:
    path = Paths(home).credentials
    entries = read(path, dict[str, _Entry])
    if entries is None and path.exists():
        raise UsageError(f"`{path}` cannot be read, and its keys would be lost.", remedy="Mend it, or move it away.")
    return entries or {}


def _keyring_set(account: str, key: str) -> bool:
    """Whether the keyring took the key and gives it back: some back ends silently forget."""

    def kept(ring: Any) -> bool:
        ring.set_password(_SERVICE, account, key)
        return ring.get_password(_SERVICE, account) == key

    return _keyring(kept) is True


def _keyring(use: Callable[[Any], T]) -> T | None:
    """What the OS keyring answers; None where there is none, or none that works."""
    try:
        import keyring
        from keyring.errors import KeyringError
    except ImportError:
        return None
    try:
        return use(keyring)
    except (KeyringError, RuntimeError, OSError):
        return None
