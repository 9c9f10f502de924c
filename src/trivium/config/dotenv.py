"""A `.env` file: lines of `NAME=value`, for the command line only; the library never reads one."""

from __future__ import annotations

import re
from pathlib import Path

from trivium.config.trust import is_trusted
from trivium.errors import ConfigError

_LINE = re.compile(
    r"""[ \t]*(?:export[ \t]+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*
    (?:'(?P<single>[^']*)'|"(?P<double>(?:[^"\\]|\\.)*)"|(?P<bare>[^#\n]*?(?:[^\s#]\#[^\n]*?)*?))
    [ \t]*(?:\#.*)?""",
    re.VERBOSE | re.ASCII,
)
_ESCAPE = re.compile(r"\\(.)")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}
_LONGEST = 1 << 20


def read_dotenv(file: Path, home: Path) -> tuple[dict[str, str], str]:
    """The values of a `.env` and a note for people; nothing at all until the user trusts the file.

    No value refers to another one. Raises ConfigError with the line of what cannot be read.
    """
    try:
        with file.open("rb") as stream:
            data = stream.read(_LONGEST)
    except OSError:
        return {}, ""
    if not is_trusted(home, file, data):
        return {}, f"{file} was found but is not trusted, and not read: `trivium config trust {file}` allows it"
    return parse(data, str(file)), ""


def parse(data: bytes, file: str = ".env") -> dict[str, str]:
    """Names and values; later ones win. Raises ConfigError."""
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ConfigError("this is not UTF-8 text", file=file) from error
    values: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if not match:
            raise ConfigError("this line is not NAME=value", remedy="Quote values with spaces.", file=file, line=number)
        values[match["name"]] = _value(match)
    return values


def _value(match: re.Match[str]) -> str:
    if match["double"] is not None:
        return _ESCAPE.sub(lambda m: _ESCAPES.get(m[1], m[1]), match["double"])
    return match["single"] if match["single"] is not None else match["bare"].strip()
