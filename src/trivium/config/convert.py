"""Plain TOML values into the raw structs, with errors that people can act on."""

from __future__ import annotations

import re
from typing import Any, TypeVar, cast

import msgspec

from trivium.config.raw import File
from trivium.config.toml import Document, Path, dotted
from trivium.errors import ConfigError

S = TypeVar("S", bound=msgspec.Struct)

_PLACE = re.compile(r" - at `\$([^`]*)`$")
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+)\]|\[\.\.\.\]")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`$", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`$")
_WORD = re.compile(r"Invalid enum value '(.*)'$", re.DOTALL)
_TYPES = re.compile(r"`([a-z| ]+)`")
_TYPE_WORDS = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
    "null": "nothing",
}


def convert(document: Document) -> File:
    """The document as raw structs. Raises ConfigError with file, line, key and the nearest valid word."""
    try:
        return msgspec.convert(document.data, File)
    except msgspec.ValidationError as error:
        raise _explain(document, str(error)) from error


def resolved(kind: type[S], given: msgspec.Struct, **changes: Any) -> S:
    """A raw struct as the resolved one of its kind: fields of the same name as they are, but for `changes`."""
    same = {name: getattr(given, name) for name in given.__struct_fields__ if name in kind.__struct_fields__}
    return kind(**same | changes)


def _explain(document: Document, text: str) -> ConfigError:
    place = _PLACE.search(text)
    path = _path(place[1]) if place else ()
    words = _PLACE.sub("", text)
    if unknown := _UNKNOWN.match(words):
        where = f"in `{dotted(path)}`" if path else "at the top level"
        message = f"unknown key `{unknown[1]}` {where}"
        return document.error((*path, unknown[1]), message, wrong=unknown[1], valid=_valid(path))
    if missing := _MISSING.match(words):
        return document.error(path, f"`{dotted(path)}` needs the key `{missing[1]}`")
    if word := _WORD.match(words):
        message = f"`{dotted(path)}` cannot be {word[1]!r}"
        return document.error(path, message, wrong=word[1], valid=_valid(path, words=True))
    return document.error(path, f"`{dotted(path)}`: {_plain(words)}")


def _plain(words: str) -> str:
    """msgspec's sentence with the type names of people: expected text, got a whole number."""

    def plain(match: re.Match[str]) -> str:
        return " or ".join(_TYPE_WORDS.get(name, name) for name in match[1].split(" | "))

    words = _TYPES.sub(plain, words)
    return words[:1].lower() + words[1:]


def _path(text: str) -> Path:
    steps = (int(m[2]) if m[2] else m[1] for m in _STEP.finditer(text))
    return tuple(step for step in steps if step is not None)


def _valid(path: Path, *, words: bool = False) -> list[str]:
    """What may stand at a place: the keys of a table, or the words of a choice; where both may, `words` on demand."""
    from msgspec import inspect

    def plain(kind: inspect.Type) -> inspect.Type:
        """Of an optional type, the one that has something inside."""
        if isinstance(kind, inspect.Metadata):
            return plain(kind.type)
        if isinstance(kind, inspect.UnionType):
            some = [plain(t) for t in kind.types if not isinstance(t, inspect.NoneType)]
            return min(some, key=lambda t: isinstance(t, inspect.LiteralType) is not words)
        return kind

    kind = plain(inspect.type_info(File))
    for step in path:
        if isinstance(kind, inspect.StructType):
            kind = plain(next((field.type for field in kind.fields if field.encode_name == step), inspect.AnyType()))
        elif isinstance(kind, inspect.VarTupleType):
            kind = plain(kind.item_type)
    if isinstance(kind, inspect.StructType):
        return [field.encode_name for field in kind.fields]
    return [str(cast("Any", value)) for value in kind.values] if isinstance(kind, inspect.LiteralType) else []
