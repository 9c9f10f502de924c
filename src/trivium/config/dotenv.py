"""A `.env` file: lines of `NAME=value`, for the command line only; the library never reads one."""

from __future__ import annotations

import re
from pathlib import Path

from trivium.config.trust import is_trusted
from trivium.errors import ConfigError

_LINE = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*(.*)", re.ASCII)
_QUOTED = re.compile(r"""(?:'([^']*)'|"((?:[^"\\]|\\.)*)")[ \t]*(?:#.*)?""")
_COMMENT = re.compile(r"(?:^|[ \t])#.*")
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
        raise ConfigError("this is not UTF-8 text.", file=file) from error
    values: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        value = _value(match[2]) if match else None
        if match is None or value is None:
            raise ConfigError("this line is not NAME=value.", remedy="Close its quotes.", file=file, line=number)
        values[match[1]] = value
    return values


def _value(text: str) -> str | None:
    """What a right-hand side stands for; None where its quotes are not closed."""
    if text[:1] not in ("'", '"'):
        return _COMMENT.sub("", text).strip()
    match = _QUOTED.fullmatch(text)
    if match is None:
        return None
    return match[1] if match[1] is not None else _ESCAPE.sub(lambda m: _ESCAPES.get(m[1], m[1]), match[2])
