"""Quantities of the configuration where they stand: durations and deadlines, in seconds, and others."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

from trivium.catalog.rows import Timeouts
from trivium.config import raw
from trivium.config.quantity import seconds
from trivium.config.toml import Document, Path, dotted

T = TypeVar("T")


def quantity(document: Document, path: Path, text: str, read: Callable[[str], T]) -> T:
    """What `read` makes of a text. Raises ConfigError at the place."""
    try:
        return read(text)
    except ValueError as error:
        raise document.error(path, f"`{dotted(path)}`: {error}") from error


def duration(document: Document, path: Path, text: str) -> float:
    """Seconds. Raises ConfigError at the place."""
    return quantity(document, path, text, seconds)


def timeouts(document: Document, path: Path, given: raw.Timeouts | None) -> Timeouts:
    """Deadlines of one scope; those that are not given stay open. Raises ConfigError, also for one of 0 seconds."""
    stated: dict[str, float] = {}
    for name, text in msgspec.structs.asdict(given or raw.Timeouts()).items():
        if text is None:
            continue
        value = duration(document, (*path, name), text)
        if value <= 0:
            raise document.error((*path, name), f"`{dotted((*path, name))}` must be longer than 0")
        stated[f"{name}_s"] = value
    return Timeouts(**stated)
