"""Values that come from outside the file: `${NAME}`, `${NAME:-default}` and `${file:path}`.

Only in files that the user trusts. `$${` stands for a plain `${`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any, cast

from trivium.config.home import user_path
from trivium.config.toml import Document, Path, dotted
from trivium.errors import ConfigError

_REFERENCE = re.compile(r"\$\$\{|\$\{([^}]*)\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_LONGEST = 64 * 1024


def expand(document: Document, env: Mapping[str, str], folder: FilePath) -> Document:
    """The same document with every reference in its texts replaced; `file:` paths are relative to `folder`.

    Raises ConfigError naming the variable or file that is missing. Values never appear in messages.
    """

    def walk(value: object, path: Path) -> Any:
        if isinstance(value, str):
            return text(value, path) if "${" in value else value
        if isinstance(value, dict):
            return {key: walk(item, (*path, key)) for key, item in cast("dict[str, Any]", value).items()}
        if isinstance(value, list):
            return [walk(item, (*path, index)) for index, item in enumerate(cast("list[Any]", value))]
        return value

    def text(value: str, path: Path) -> str:
        return _REFERENCE.sub(lambda match: "${" if match[1] is None else resolve(match[1], path), value)

    def resolve(reference: str, path: Path) -> str:
        if reference.startswith("file:"):
            return _content(document, path, folder / user_path(reference[5:]))
        name, has_default, default = reference.partition(":-")
        if not _NAME.fullmatch(name):
            message = f"`{dotted(path)}`: `${{{reference}}}` is no reference"
            raise document.error(path, message, remedy="Write ${NAME}, ${NAME:-default} or ${file:path}.")
        found = env.get(name)
        if found or (found is not None and not has_default):
            return found
        if has_default:
            return default
        remedy = f"Set it, or write ${{{name}:-default}}."
        raise document.error(
            path, f"`{dotted(path)}` needs the environment variable {name}, which is not set", remedy=remedy
        )

    return Document(document.file, walk(document.data, ()), document.lines)


def _content(document: Document, path: Path, file: FilePath) -> str:
    try:
        with file.open("rb") as stream:
            data = stream.read(_LONGEST + 1)
        if len(data) > _LONGEST:
            raise _unreadable(document, path, file, f"is longer than {_LONGEST} bytes")
        return data.decode().rstrip("\r\n")
    except OSError as error:
        raise _unreadable(document, path, file, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise _unreadable(document, path, file, "is not UTF-8 text") from error
    except ValueError as error:  # a NUL in its name
        raise _unreadable(document, path, file, "cannot be read") from error


def _unreadable(document: Document, path: Path, file: FilePath, why: str) -> ConfigError:
    return document.error(path, f"`{dotted(path)}` needs the file {file}, which {why}")
