"""What dialects share when they read and write requests: raw members, losses, sampling, data URLs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from trivium.dialects.common import invalid
from trivium.errors import InvalidRequest
from trivium.types.request import Sampling
from trivium.wire.json import is_null, members

Json = dict[str, Any]
B = TypeVar("B", bound=msgspec.Struct)

DEFAULT_MEDIA = "application/octet-stream"

_DATA_URL = re.compile(r"data:(?P<type>[^;,]*)(?:;[^;,]*)*;base64,(?P<data>.*)", re.DOTALL)
_GATEWAYS_OWN = frozenset({"models", "trivium"})
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


class Losses(list[str]):
    """Names of what could not be said, each once."""

    def add(self, name: str, *, when: object = True) -> None:
        if when and name not in self:
            self.append(name)


def given(**fields: Any) -> Json:
    """The members that have a value: None stands for what was left out."""
    return {name: value for name, value in fields.items() if value is not None}


def read_body(body: bytes, decoder: msgspec.json.Decoder[B]) -> tuple[B, Json]:
    """A body, and its members without a home in the struct, null ones aside. Raises InvalidRequest."""
    try:
        wire = decoder.decode(body)
        known = wire.__struct_fields__
        extra = {
            name: msgspec.json.decode(value)
            for name, value in members(body).items()
            if name not in known and name not in _GATEWAYS_OWN and not is_null(value)
        }
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise invalid(error) from None
    return wire, extra


def missing(path: str, remedy: str) -> InvalidRequest:
    return InvalidRequest(f"`{path}` is missing.", remedy=remedy, param=path)


def sampling_members(sampling: Sampling, places: Mapping[str, str], losses: Losses) -> Json:
    """Sampling parameters by this wire's names (`places`: ours → its); one without a place that asks for something
    is a loss."""
    wire: Json = {}
    for name, value in msgspec.structs.asdict(sampling).items():
        if value is None:
            continue
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
