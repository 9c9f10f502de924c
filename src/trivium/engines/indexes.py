"""Which package indexes this machine is configured with, as pip and uv would read it.

A data wheel has to come from where the machine's packages come from, or a fetch fails wherever the public index is
mirrored or closed. Its hash is pinned, so no index need be trusted and their order is harmless. Files of the working
directory are not read: they may be anybody's.
"""

from __future__ import annotations

import base64
import configparser
import netrc
import os
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast
from urllib.parse import SplitResult, quote, unquote, urlsplit

import msgspec

from trivium.errors import UsageError
from trivium.types.secret import Secret

PUBLIC_INDEX = "https://pypi.org/simple/"
"""Where packages come from when neither pip nor uv was told otherwise."""

_TRUE = {"1", "true", "yes", "on", "y", "t"}


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A place that may have the wheel: an index (a page a project), or a page or folder of links."""

    location: str
    """A URL without credentials (`file:` too), or a path."""
    index: bool
    authorization: Secret | None = None


class Configured(msgspec.Struct, frozen=True, kw_only=True):
    sources: tuple[Source, ...]
    offline: bool
    """`UV_OFFLINE` or `PIP_NO_INDEX` (or their settings in a file): only what is on this machine."""


def configured(env: Mapping[str, str], *, prefix: Path = Path(sys.prefix), root: Path = Path("/")) -> Configured:
    """Read the environment and the configuration files of pip and uv; files that cannot be read are left out.

    `prefix` is the environment's folder, `root` the file system's (tests have another). Raises UsageError for an
    address that is no URL.
    """
    uv, pip = _uv(env, root), _pip(env, prefix, root)
    no_index = uv.no_index or pip.no_index
    indexes = [*(uv.default + pip.default or [PUBLIC_INDEX]), *uv.extra, *pip.extra]
    named = [(place, False) for place in uv.links + pip.links] + [(url, True) for url in indexes if not no_index]
    sources = [_source(place, env, index=index) for place, index in dict.fromkeys(named)]
    return Configured(sources=tuple(sources), offline=no_index or uv.offline)


class _Settings(msgspec.Struct):
    """What pip or uv is told."""

    default: list[str] = []
    extra: list[str] = []
    links: list[str] = []
    no_index: bool = False
    offline: bool = False


def _uv(env: Mapping[str, str], root: Path) -> _Settings:
    found = _Settings()
    if env.get("UV_NO_CONFIG", "").lower() not in _TRUE:
        for file in _uv_files(env, root):
            _read_uv_file(file, found)
    if default := (env.get("UV_DEFAULT_INDEX") or env.get("UV_INDEX_URL", "")).strip():
        found.default = [_uv_index(default, env)]
    extra = [*env.get("UV_INDEX", "").split(), *env.get("UV_EXTRA_INDEX_URL", "").split()]
    found.extra = [_uv_index(text, env) for text in extra] + found.extra
    found.links = env.get("UV_FIND_LINKS", "").replace(",", " ").split() + found.links
    found.no_index |= env.get("UV_NO_INDEX", "").lower() in _TRUE
    found.offline |= env.get("UV_OFFLINE", "").lower() in _TRUE
    return found


def _uv_files(env: Mapping[str, str], root: Path) -> Iterator[Path]:
    if env.get("UV_CONFIG_FILE"):
        yield Path(env["UV_CONFIG_FILE"])
        return
    yield _config_home(env) / "uv/uv.toml"
    for folder in _config_dirs(env, root):
        yield folder / "uv/uv.toml"
    yield root / "etc/uv/uv.toml"


def _read_uv_file(file: Path, found: _Settings) -> None:
    try:
        top: dict[str, Any] = tomllib.loads(file.read_text("utf-8"))
    except (OSError, ValueError):
        return
    pip: dict[str, Any] = top["pip"] if isinstance(top.get("pip"), dict) else {}
    for table in (top, pip):
        indexes: list[Any] = cast("list[Any]", table["index"]) if isinstance(table.get("index"), list) else []
        for row in indexes:
            if isinstance(row, dict):
                entry = cast("dict[str, Any]", row)
                urls = found.default if entry.get("default") is True else found.extra
                urls += _texts(entry.get("url"))
        found.default += _texts(table.get("index-url"))
        found.extra += _texts(table.get("extra-index-url"))
        found.links += _texts(table.get("find-links"))
        found.no_index |= table.get("no-index") is True
        found.offline |= table.get("offline") is True


def _texts(value: object) -> list[str]:
    values: list[object] = cast("list[object]", value) if isinstance(value, list) else [value]
    return [text for text in values if isinstance(text, str)]


def _uv_index(text: str, env: Mapping[str, str]) -> str:
    """`[name=]url`, with the credentials that the environment has for that name put in."""
    name, equals, url = text.partition("=")
    if not equals or "/" in name:
        return text
    key = "".join(letter if letter.isalnum() else "_" for letter in name.upper())
    user, password = env.get(f"UV_INDEX_{key}_USERNAME", ""), env.get(f"UV_INDEX_{key}_PASSWORD", "")
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{quote(user, safe='')}:{quote(password, safe='')}@{rest}" if user or password else url


def _pip(env: Mapping[str, str], prefix: Path, root: Path) -> _Settings:
    values: dict[str, str] = {}
    for file in _pip_files(env, prefix, root):
        parser = configparser.RawConfigParser(strict=False)
        try:
            parser.read_string(file.read_text("utf-8"))
        except (OSError, ValueError, configparser.Error):
            continue
        for section in ("global", "install", "download"):
            if parser.has_section(section):
                values.update({key.replace("_", "-"): value or "" for key, value in parser.items(section)})
    for key in ("index-url", "extra-index-url", "find-links", "no-index"):
        value = env.get("PIP_" + key.upper().replace("-", "_"))
        if value is not None:
            values[key] = value
    return _Settings(
        default=values.get("index-url", "").split()[:1],
        extra=values.get("extra-index-url", "").split(),
        links=values.get("find-links", "").split(),
        no_index=values.get("no-index", "").strip().lower() in _TRUE,
    )


def _pip_files(env: Mapping[str, str], prefix: Path, root: Path) -> Iterator[Path]:
    """pip's configuration files, those that win last."""
    named = env.get("PIP_CONFIG_FILE")
    if named == os.devnull:
        return
    home = _home(env)
    if sys.platform == "win32":
        yield Path(env.get("PROGRAMDATA", "C:/ProgramData")) / "pip/pip.ini"
        yield home / "pip/pip.ini"
        yield Path(env.get("APPDATA", str(home))) / "pip/pip.ini"
        yield prefix / "pip.ini"
    else:
        for folder in reversed(_config_dirs(env, root)):
            yield folder / "pip/pip.conf"
        yield root / "etc/pip.conf"
        yield home / ".pip/pip.conf"
        if sys.platform == "darwin":
            yield home / "Library/Application Support/pip/pip.conf"
        yield _config_home(env) / "pip/pip.conf"
        yield prefix / "pip.conf"
    if named:
        yield Path(named)


def _home(env: Mapping[str, str]) -> Path:
    return Path(env.get("HOME") or env.get("USERPROFILE") or Path.home())


def _config_home(env: Mapping[str, str]) -> Path:
    if sys.platform == "win32":
        return Path(env.get("APPDATA", str(_home(env))))
    return Path(env.get("XDG_CONFIG_HOME") or _home(env) / ".config")


def _config_dirs(env: Mapping[str, str], root: Path) -> list[Path]:
    if sys.platform == "darwin":
        return [root / "Library/Application Support"]
    return [Path(text) for text in (env.get("XDG_CONFIG_DIRS") or str(root / "etc/xdg")).split(":") if text]


def _source(place: str, env: Mapping[str, str], *, index: bool) -> Source:
    try:
        parts = urlsplit(place)
        _ = parts.port
    except ValueError:  # not repeated: it may hold a password
        remedy = "Look at PIP_INDEX_URL, PIP_EXTRA_INDEX_URL, UV_INDEX, pip.conf and uv.toml."
        raise UsageError("The address of a package index is no URL.", remedy=remedy) from None
    if parts.scheme not in ("http", "https"):
        return Source(location=place, index=index)
    clean = SplitResult(parts.scheme, parts.netloc.rpartition("@")[2], parts.path, parts.query, "").geturl()
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if not (user or password):
        user, password = _from_netrc(parts.hostname or "", env)
    basic = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    return Source(location=clean, index=index, authorization=Secret(basic) if user or password else None)


def _from_netrc(host: str, env: Mapping[str, str]) -> tuple[str, str]:
    names = [Path(env["NETRC"])] if env.get("NETRC") else [_home(env) / ".netrc", _home(env) / "_netrc"]
    for file in names:
        try:
            found = netrc.netrc(str(file)).authenticators(host)
        except (OSError, ValueError, netrc.NetrcParseError):
            continue
        if found:
            return found[0] or "", found[2] or ""
    return "", ""
