"""Trust in files that were merely found: the ones that the user allowed, by path and sha256."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from trivium.config.home import Paths
from trivium.config.private import read, write


def is_trusted(home: Path, file: Path, data: bytes) -> bool:
    """Whether the user allowed this file with exactly this content."""
    return _load(home).get(_name(file)) == _digest(data)


def trust(home: Path, file: Path) -> str:
    """Allow a file as it is now; returns its sha256. Any change of it ends the permission. Raises OSError."""
    digest = _digest(file.read_bytes())
    _save(home, _load(home) | {_name(file): digest})
    return digest


def distrust(home: Path, file: Path) -> bool:
    """Take the permission back; False if there was none."""
    allowed = _load(home)
    if allowed.pop(_name(file), None) is None:
        return False
    _save(home, allowed)
    return True


def _name(file: Path) -> str:
    return str(file.resolve())


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _load(home: Path) -> dict[str, str]:
    return read(Paths(home).trusted, dict[str, str]) or {}  # nothing readable allows nothing


def _save(home: Path, allowed: dict[str, str]) -> None:
    write(Paths(home).trusted, msgspec.json.format(msgspec.json.encode(allowed), indent=2))
