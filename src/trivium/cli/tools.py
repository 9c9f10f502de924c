"""Programs that can be pointed at a server: the rows of `tools.toml`, and what one says for a server, key and model."""

from __future__ import annotations

import datetime as dt
import functools
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import msgspec

from trivium.cli.terminal import no_such
from trivium.config.home import user_path

_PLACE = re.compile(r"\{(\w+)\}")
_VARIABLE = re.compile(r"\$(\w+)")


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    folders: tuple[str, ...]
    name: str
    merge: Any = None
    lines: str = ""
    folders_darwin: tuple[str, ...] = ()
    folders_win32: tuple[str, ...] = ()

    @property
    def content(self) -> Any:
        """JSON to merge, or lines."""
        return self.merge or self.lines

    @property
    def path(self) -> Path:
        """Where it is on this machine: in the first folder whose variables are set."""
        folders = getattr(self, f"folders_{sys.platform}", ()) or self.folders
        usable = (f for f in folders if all(os.environ.get(name) for name in _VARIABLE.findall(f)))
        return user_path(_VARIABLE.sub(lambda found: os.environ[found[1]], next(usable))) / self.name


class Tool(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: str
    name: str
    start: tuple[str, ...]
    install: str
    source: str
    checked: dt.date
    env: dict[str, str] = {}
    files: tuple[File, ...] = ()
    unset: tuple[str, ...] = ()
    reads_files: bool = False
    own_words: tuple[str, ...] = ()
    note: str = ""

    def filled(self, value: Any, origin: str, key: str, model: str) -> Any:
        """`value`, a text or anything made of texts, with what its places stand for."""
        words = {"origin": origin, "key": key, "model": f"./{model}" if model in self.own_words else model}

        def fill(value: Any) -> Any:
            match value:
                case "{env}":
                    return fill(self.env)
                case "{env lines}":
                    return "".join(f"{name}={fill(item)}\n" for name, item in self.env.items())
                case "{json}":
                    return json.dumps(fill(self.files[0].merge), separators=(",", ":"))
                case "{file}":
                    return str(self.files[0].path)
                case str():
                    return _PLACE.sub(lambda found: words[found[1]], value)
                case dict():
                    return {fill(name): fill(item) for name, item in value.items()}  # pyright: ignore[reportUnknownVariableType]
                case list() | tuple():
                    return [fill(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
                case _:
                    return value

        return fill(value)


@functools.cache
def tools() -> dict[str, Tool]:
    """All rows, by their ids."""
    data = Path(__file__).with_name("tools.toml").read_bytes()
    rows = msgspec.toml.decode(data, type=dict[str, tuple[Tool, ...]])["tools"]
    return {row.id: row for row in rows}


def tool_named(name: str) -> Tool:
    """A tool by its id. Raises UsageError with the nearest ids."""
    found = tools().get(name.lower())
    if found is None:
        raise no_such("tool", name, tools(), f"There are {', '.join(tools())}.")
    return found
