"""Private files: written whole or not at all, readable by their owner only (0600) unless they were not before."""

from __future__ import annotations

import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import msgspec

from trivium.config.home import make_private

T = TypeVar("T")


def read(path: Path, kind: type[T]) -> T | None:
    """What a file says as JSON; None where it is missing or cannot be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError):
        return None


def write(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Put `data` in place of whatever is there."""
    with _draft(path, data) as draft:
        draft.chmod(mode)
        draft.replace(path)


def write_once(path: Path, data: bytes) -> bytes:
    """Put `data` there unless a file is there already; returns what is there then. Racing processes agree."""
    # Unlike a rename, a hard link fails where the name is taken, and never shows half a file.
    with _draft(path, data) as draft, suppress(FileExistsError):
        os.link(draft, path)
    return path.read_bytes()


@contextmanager
def _draft(path: Path, data: bytes) -> Generator[Path]:
    """The data in a file beside `path`, which is gone afterwards, whatever happens."""
    make_private(path.parent)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        yield draft
    finally:
        draft.unlink(missing_ok=True)
