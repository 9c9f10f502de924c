"""Gemini's form of a schema as JSON Schema: upper-case types, `nullable`, keywords in either spelling.

https://ai.google.dev/api/caching#Schema
"""

from __future__ import annotations

import re
from typing import Any

from trivium.dialects.common import Json
from trivium.dialects.gemini.wire import camel

_COUNTS = frozenset(("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"))
_INT64 = re.compile(r"[0-9]{1,19}")
"""Counts are 64 bits wide there, which its JSON writes as text."""
_NAMES = {"defs": "$defs", "ref": "$ref"}


def json_schema(schema: Json) -> Json:
    """The same as JSON Schema; what was that already stays as it is, and what is neither stays too.

    Raises RecursionError for one that is nested too deeply.
    """
    done: Json = {}
    for spelling, value in schema.items():
        name = camel(spelling)
        name = _NAMES.get(name, name)
        match name, value:
            case ("type", "TYPE_UNSPECIFIED") | ("format", "enum") | ("nullable" | "propertyOrdering", _):
                pass
            case "type", str():
                done[name] = value.lower()
            case (("properties" | "$defs"), dict()):
                done[name] = {key: _inner(inner) for key, inner in value.items()}  # pyright: ignore[reportUnknownVariableType]
            case (("anyOf" | "oneOf" | "allOf" | "prefixItems"), list()):
                done[name] = [_inner(inner) for inner in value]  # pyright: ignore[reportUnknownVariableType]
            case (("items" | "additionalProperties" | "not"), _):
                done[name] = _inner(value)
            case "example", _:
                done["examples"] = [value]
            case _, str() if name in _COUNTS and _INT64.fullmatch(value):
                done[name] = int(value)
            case _:
                done[name] = value
    _order(done, schema.get("propertyOrdering", schema.get("property_ordering")))
    if schema.get("nullable") is True:
        _allow_null(done)
    return done


def _inner(value: Any) -> Any:
    return json_schema(value) if isinstance(value, dict) else value  # pyright: ignore[reportUnknownArgumentType]


def _order(schema: Json, names: Any) -> None:
    """The order in which properties shall be written is that in which they stand."""
    properties = schema.get("properties")
    if isinstance(names, list) and isinstance(properties, dict):
        known: Json = properties  # pyright: ignore[reportUnknownVariableType]
        first: list[Any] = [name for name in names if isinstance(name, str) and name in known]  # pyright: ignore[reportUnknownVariableType]
        schema["properties"] = {name: known[name] for name in first} | known


def _allow_null(schema: Json) -> None:
    if isinstance(schema.get("type"), str):
        schema["type"] = [schema["type"], "null"]
    elif isinstance(schema.get("anyOf"), list):
        schema["anyOf"] = [*schema["anyOf"], {"type": "null"}]
    if isinstance(schema.get("enum"), list) and None not in schema["enum"]:
        schema["enum"] = [*schema["enum"], None]
