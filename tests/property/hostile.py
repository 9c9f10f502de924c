"""Hostile input, shared by the dialects: a good body with something in it replaced, and what must hold for it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from trivium.dialects.base import Dialect
from trivium.errors import UpstreamError

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def with_value(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = with_value(value[path[0]], path[1:], new)
    return copy


@st.composite
def mutated_values(draw: st.DrawFn, body: Any) -> bytes:
    """A body with any value somewhere replaced by any other."""
    for _ in range(draw(st.integers(1, 2))):
        body = with_value(body, draw(st.sampled_from(list(places(body)))), draw(json_values))
    return json.dumps(body).encode()


@st.composite
def mutated_bytes(draw: st.DrawFn, whole: bytes) -> bytes:
    """Bytes with a span replaced by any other bytes."""
    start = draw(st.integers(0, len(whole)))
    return whole[:start] + draw(st.binary(max_size=4)) + whole[start + draw(st.integers(0, 4)) :]


def mutated(body: Any) -> st.SearchStrategy[bytes]:
    """A body broken in its values or in its bytes."""
    return st.one_of(mutated_values(body), mutated_bytes(json.dumps(body, ensure_ascii=False).encode()))


def read_broken(dialect: Dialect, body: bytes) -> None:
    """A broken answer is read, or is an upstream's error; a broken error is one in any case."""
    for read in (dialect.decode_answer, dialect.read_answer):
        try:
            read(body)
        except UpstreamError:
            pass
    dialect.decode_error(500, body)
