"""The shipped catalog, read from the package once a process."""

from __future__ import annotations

import functools
from pathlib import Path

from trivium.catalog.catalog import Catalog, parse


@functools.cache
def catalog() -> Catalog:
    folder = Path(__file__).parent.parent / "catalog"
    return parse(*((folder / name).read_bytes() for name in ("providers.toml", "models.toml", "prices.json")))
