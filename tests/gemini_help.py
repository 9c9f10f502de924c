"""Google's own types in their strict form: unknown members, missing ones and unknown words are errors here."""

from __future__ import annotations

import json
import warnings
from typing import Any

from google.genai import types
from pydantic import BaseModel, TypeAdapter

OURS = ("cost",)
"""What Trivium says beyond the API."""
_REQUIRED = {
    types.FunctionCall: ("name",),
    types.FunctionResponse: ("name", "response"),
    types.FunctionDeclaration: ("name",),
    types.Blob: ("data", "mime_type"),
    types.FunctionResponseBlob: ("data", "mime_type"),
    types.FileData: ("file_uri",),
    types.Content: ("parts",),
    types.Candidate: ("content",),
    types.Model: ("name", "display_name", "supported_actions"),
}
"""What Google's reference calls required although the library's types, which also hold less, do not."""
_BESIDE = {
    "contents": list[types.Content],
    "systemInstruction": types.Content,
    "tools": list[types.Tool],
    "toolConfig": types.ToolConfig,
    "safetySettings": list[types.SafetySetting],
    "cachedContent": str,
    "serviceTier": types.ServiceTier,
    "generationConfig": types.GenerationConfig,
    "labels": dict[str, str],
    "store": bool,
}
"""The members of a request's body."""


def check_request(body: bytes) -> None:
    """Raises for a body that the API does not know so."""
    fields: dict[str, Any] = json.loads(body)
    assert fields.get("contents"), "`contents` is missing"
    for name, value in fields.items():
        assert name in _BESIDE, f"`{name}` is unknown"
        kind: Any = _BESIDE[name]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            made = TypeAdapter(kind).validate_json(json.dumps(value))
        for one in made if isinstance(made, list) else [made]:
            assert name != "contents" or one.role in ("user", "model")
            _complain(one)


def check_answer(data: bytes) -> types.GenerateContentResponse:
    """An answer or a chunk, checked like that."""
    fields: dict[str, Any] = json.loads(data)
    for name in OURS:
        fields.get("usageMetadata", {}).pop(name, None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = types.GenerateContentResponse.model_validate_json(json.dumps(fields))
    _complain(made)
    return made


def _complain(value: Any) -> None:
    if not isinstance(value, BaseModel):
        return
    for name in _REQUIRED.get(type(value), ()):  # type: ignore[call-overload]
        assert getattr(value, name) is not None, f"{type(value).__name__}.{name} is missing"
    if isinstance(value, types.Part):
        datums = value.model_dump(exclude_none=True).keys() - {"thought", "thought_signature"}
        assert len(datums) == 1, f"a part holds {datums}"
    for name in type(value).model_fields:
        item = getattr(value, name)
        for one in item if isinstance(item, list) else [item]:
            _complain(one)
