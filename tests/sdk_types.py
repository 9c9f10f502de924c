"""The types of a vendor's Python library as judges: what they do not know is refused, and nothing is left unread."""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic import TypeAdapter
from pydantic_core import SchemaValidator


@cache
def judge(kind: Any) -> SchemaValidator:
    """A validator of the type that forbids unknown members at every depth; its `validate_json` raises ValueError."""
    adapter = TypeAdapter(kind)
    adapter.rebuild(force=True)  # the libraries put that off until the first use
    return SchemaValidator(_forbidding(adapter.core_schema))


def _forbidding(schema: Any) -> Any:
    """The libraries allow unknown members in what they read, ignore them in what they write, and put iterables off."""
    if isinstance(schema, list | tuple):
        return type(schema)(_forbidding(item) for item in schema)
    if not isinstance(schema, dict):
        return schema
    changed = {name: _forbidding(value) for name, value in schema.items()}
    match schema.get("type"):
        case "typed-dict" | "model-fields":
            changed["extra_behavior"] = "forbid"
        case "generator":
            changed["type"] = "list"
        case _:
            pass
    if isinstance(config := changed.get("config"), dict) and "extra_fields_behavior" in config:
        changed["config"] = {**config, "extra_fields_behavior": "forbid"}
    return changed
