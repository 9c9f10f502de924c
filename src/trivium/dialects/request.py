"""What dialects share when they read and write requests: raw members, losses, sampling, data URLs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import msgspec

from trivium.dialects.common import Json, invalid
from trivium.errors import InvalidRequest
from trivium.types.request import Sampling
from trivium.wire.json import BROKEN, is_null, members

B = TypeVar("B", bound=msgspec.Struct)

DEFAULT_MEDIA = "application/octet-stream"

_DATA_URL = re.compile(r"data:(?P<type>[^;,]*)(?:;[^;,]*)*;base64,(?P<data>.*)", re.DOTALL)
_NEUTRAL: dict[str, object] = {
    "min_p": 0,
    "frequency_penalty": 0,
    "presence_penalty": 0,
    "repetition_penalty": 1,
    "logit_bias": {},
    "logprobs": False,
    "top_logprobs": 0,
}
"""Sampling parameters that have a value which asks for nothing."""
_DEFAULTS = Sampling()


class Losses(list[str]):
    """Names of what could not be said, each once."""

    def add(self, name: str, *, when: object = True) -> None:
        if when and name not in self:
            self.append(name)


def given(**fields: Any) -> Json:
    """The members that have a value: None stands for what was left out."""
    return {name: value for name, value in fields.items() if value is not None}


class BodyReader(Generic[B]):
    """Decodes whole bodies; `__call__` gives the struct, and the members without a home in it, null ones aside."""

    def __init__(self, wire: type[B]) -> None:
        self._decode = msgspec.json.Decoder(wire).decode
        self._known = frozenset(wire.__struct_fields__) | {"models", "trivium"}  # those two are the gateway's own

    def __call__(self, body: bytes) -> tuple[B, Json]:
        """Raises InvalidRequest."""
        try:
            wire = self._decode(body)
            rest = [(name, value) for name, value in members(body).items() if name not in self._known]
            return wire, {name: msgspec.json.decode(value) for name, value in rest if not is_null(value)}
        except BROKEN as error:
            raise invalid(error) from None


def missing(path: str, remedy: str) -> InvalidRequest:
    return InvalidRequest(f"`{path}` is missing.", remedy=remedy, param=path)


def sampling_members(sampling: Sampling, places: Mapping[str, str], losses: Losses) -> Json:
    """Sampling parameters by this wire's names (`places`: ours → its); one without a place that asks for something
    is a loss."""
    wire: Json = {}
    if sampling == _DEFAULTS:
        return wire
    for name, value in given(**msgspec.structs.asdict(sampling)).items():
        if name in places:
            wire[places[name]] = value
        else:
            losses.add(name, when=value != _NEUTRAL.get(name))
    return wire


def data_url(data: str, media_type: str | None) -> str:
    """Base64 text as a `data:` URL (RFC 2397)."""
    return f"data:{media_type or DEFAULT_MEDIA};base64,{data}"


def split_data_url(url: str, where: str) -> tuple[str | None, str]:
    """Media type and base64 text of a `data:` URL. Raises InvalidRequest."""
    found = _DATA_URL.fullmatch(url)
    if found is None:
        raise InvalidRequest(
            f"`{where}` is not a base64 `data:` URL.", remedy="Write it as `data:image/png;base64,…`.", param=where
        )
    return found["type"] or None, found["data"]
