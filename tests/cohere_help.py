"""Cohere's own types in their strict form: its library parses leniently, keeping what is wrong, missing or unknown."""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Collection, Iterator
from typing import Any

from cohere.v2.client import V2Client
from cohere.v2.types.v2chat_stream_response import V2ChatStreamResponse
from pydantic import BaseModel, ConfigDict, TypeAdapter, create_model

_KINDS = tuple(typing.get_args(typing.get_args(V2ChatStreamResponse)[0]))
_EVENTS: dict[str, type[BaseModel]] = {kind.model_fields["type"].default: kind for kind in _KINDS}
OURS = ("cost", "error_type", "param")
"""What Trivium says beyond the API."""
_BEGUN = ("content", "tool_plan", "tool_calls", "citations")
"""Empty members of a message that begins, which the API's guides show and its types leave out."""


def _request() -> type[BaseModel]:
    """What `ClientV2.chat` takes, as a model; the library itself has none."""
    hints = typing.get_type_hints(V2Client.chat, include_extras=True)
    fields: dict[str, Any] = {
        name: (hints[name], ... if parameter.default is inspect.Parameter.empty else None)
        for name, parameter in inspect.signature(V2Client.chat).parameters.items()
        if name not in {"self", "request_options"}
    }
    return create_model("Request", __config__=ConfigDict(extra="allow"), **fields, stream=(bool | None, None))


_REQUEST = _request()


def check_request(body: bytes) -> None:
    """Raises for a body that the library could not have sent."""
    check_strictly(_REQUEST, json.loads(body))


def check_strictly(kind: type[BaseModel], value: Any, beyond: Collection[str] = OURS) -> BaseModel:
    """The value as the library's type. Raises for any wrong, missing or unknown part."""
    made = TypeAdapter(kind).validate_json(json.dumps(value), strict=True)
    assert list(_complaints(made, kind.__name__, beyond)) == []
    return made


def stream_event(data: bytes) -> Any:
    """One event of a stream, checked like that."""
    value = json.loads(data)
    shown = _BEGUN if value["type"] == "message-start" else ()
    return check_strictly(_EVENTS[value["type"]], value, (*OURS, *shown))


def _complaints(value: Any, path: str, beyond: Collection[str]) -> Iterator[str]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _complaints(item, f"{path}[{index}]", beyond)
    if not isinstance(value, BaseModel):
        return
    yield from (f"{path}.{name} is unknown" for name in value.model_extra or () if name not in beyond)
    for name, field in type(value).model_fields.items():
        item, words = getattr(value, name), set(_words(field.annotation))
        if words and item is not None and item not in words:
            yield f"{path}.{name} is {item!r}"
        yield from _complaints(item, f"{path}.{name}", beyond)


def _words(annotation: Any) -> Iterator[Any]:
    """The words of an enumeration, which the library's types leave open: `Union[Literal[…], Any]`."""
    if typing.get_origin(annotation) is typing.Literal:
        yield from typing.get_args(annotation)
    elif typing.get_origin(annotation) is typing.Union:
        for inner in typing.get_args(annotation):
            yield from _words(inner)
