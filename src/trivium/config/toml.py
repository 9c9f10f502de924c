"""A TOML document that knows on which line each key stands (tomllib does not tell)."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable
from typing import Any, cast

import msgspec

from trivium.errors import ConfigError

Path = tuple[str | int, ...]

_STRING = r'"""(?:[^\\]|\\.)*?"{3,5}|' + r"'''.*?'{3,5}|" + r'"(?:[^"\\\n]|\\.)*"|' + r"'[^'\n]*'"
_KEY_PART = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
_KEY = rf"{_KEY_PART}(?:[ \t]*\.[ \t]*{_KEY_PART})*"
_BLANK = re.compile(r"(?:[\s]+|#[^\n]*)*")
_HEADER = re.compile(rf"(\[\[?)[ \t]*({_KEY})[ \t]*\]\]?")
_ASSIGNMENT = re.compile(rf"({_KEY})[ \t]*=")
_TOKEN = re.compile(rf"(?:{_STRING})|#[^\n]*|[\[{{]|[\]}}]|\n", re.DOTALL)
_PARTS = re.compile(_KEY_PART)
_PLACE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")
_DEEPEST = 64


class Document(msgspec.Struct, frozen=True):
    """A parsed file. `lines` has the line of every table and key outside inline tables, from 1."""

    file: str
    data: dict[str, Any]
    lines: dict[Path, int]

    def line(self, path: Path) -> int:
        """The line of a key, or of the nearest table around it; 0 for the whole document."""
        return next((self.lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in self.lines), 0)

    def error(
        self, path: Path, message: str, *, wrong: str | None = None, valid: Iterable[str] = (), remedy: str = ""
    ) -> ConfigError:
        """What is wrong at a place, naming the valid word nearest to the `wrong` one, and all if there are few."""
        words = sorted(valid)
        near = difflib.get_close_matches(wrong, words, 1, 0.5) if wrong is not None else []
        if near:
            remedy = f"Did you mean `{near[0]}`? {remedy}".rstrip()
        elif words and len(words) <= 12:
            remedy = f"Valid here: {', '.join(f'`{word}`' for word in words)}. {remedy}".rstrip()
        return ConfigError(f"{message}.", remedy=remedy, file=self.file, line=self.line(path), key=dotted(path))


def dotted(path: Path) -> str:
    """A path as people write it: `routes[0].targets`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def read(data: bytes, file: str) -> Document:
    """Parse a file's bytes. Raises ConfigError with the line where the syntax breaks."""
    try:
        text = data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError("this is not UTF-8 text.", remedy="Save the file as UTF-8.", file=file, line=line) from error
    try:
        parsed = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(str(error), text, file) from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            "this is no usable TOML: a number is too large or the nesting too deep.", file=file
        ) from error
    if _too_deep(parsed):
        raise ConfigError(f"values are nested deeper than {_DEEPEST} levels.", file=file)
    return Document(file, parsed, _locate(text))


def _syntax_error(message: str, text: str, file: str) -> ConfigError:
    place = _PLACE.search(message)
    last = text.rstrip().count("\n") + 1
    line = int(place[1]) if place and place[1] else last
    words = _PLACE.sub("", message)
    return ConfigError(
        f"this is not TOML: {words}.", remedy="See https://toml.io for the format.", file=file, line=line
    )


def _too_deep(value: object, left: int = _DEEPEST) -> bool:
    if isinstance(value, dict):
        value = list(cast("dict[str, object]", value).values())
    if not isinstance(value, list):
        return False
    return left == 0 or any(_too_deep(item, left - 1) for item in cast("list[object]", value))


def _locate(text: str) -> dict[Path, int]:
    """Walk statement by statement; the text is known to be valid TOML."""
    lines: dict[Path, int] = {}
    counts: dict[Path, int] = {}
    table: Path = ()
    line, seen, at = 1, 0, _end(_BLANK.match(text))
    while at < len(text):
        line += text.count("\n", seen, at)
        seen = at
        if header := _HEADER.match(text, at):
            table = _table(header, counts)
            lines[table] = line
            for depth in range(1, len(table)):
                lines.setdefault(table[:depth], line)
            at = header.end()
        elif assignment := _ASSIGNMENT.match(text, at):
            path = table + _parts(assignment[1])
            for depth in range(len(table) + 1, len(path) + 1):
                lines.setdefault(path[:depth], line)
            at = _after_value(text, assignment.end())
        else:
            break
        at = _end(_BLANK.match(text, at))
    return lines


def _table(header: re.Match[str], counts: dict[Path, int]) -> Path:
    """The path of a header, with the index of the current element for each array of tables on the way."""
    parts = _parts(header[2])
    path: Path = ()
    for part in parts[:-1]:
        path += (part,)
        if path in counts:
            path += (counts[path],)
    path += (parts[-1],)
    if header[1] == "[[":
        counts[path] = counts.get(path, -1) + 1
        path += (counts[path],)
    return path


def _parts(key: str) -> tuple[str, ...]:
    return tuple(next(iter(tomllib.loads(f"{part}=0"))) if part[0] in "\"'" else part for part in _PARTS.findall(key))


def _after_value(text: str, at: int) -> int:
    """Where the value that starts at `at` ends: the first newline outside strings and brackets."""
    depth = 0
    for token in _TOKEN.finditer(text, at):
        first = token[0][0]
        if first in "[{":
            depth += 1
        elif first in "]}":
            depth -= 1
        elif first == "\n" and depth == 0:
            return token.start()
    return len(text)


def _end(match: re.Match[str] | None) -> int:
    return match.end() if match else 0
