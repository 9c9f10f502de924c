"""The JSON Schema of trivium.toml, for editors that complete and check while people write."""

from __future__ import annotations

from typing import Any

import msgspec

from trivium.config import raw


def schema() -> dict[str, Any]:
    """JSON Schema 2020-12. Values with `${…}` are texts, and pass only where a text is expected, as in the program."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "trivium.toml",
        **msgspec.json.schema(raw.File),
    }
