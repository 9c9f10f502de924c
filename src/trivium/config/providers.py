"""Providers as configured: catalog rows, changed and joined by `[[providers]]`, each with its credential."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

import msgspec

from trivium.catalog.catalog import Catalog
from trivium.catalog.rows import Capability, Provider
from trivium.config import credentials
from trivium.config.origin import check_base_url, moved, origin_of, placed
from trivium.config.schema import TOKEN_TTL_S, BoundProvider, TokenCommand
from trivium.errors import ConfigError
from trivium.types.data import DataPolicy
from trivium.types.secret import Secret

if TYPE_CHECKING:
    from trivium.config import raw
    from trivium.config.toml import Document, Path

_ID = re.compile(r"[a-z0-9][a-z0-9_.-]*", re.ASCII)
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*", re.ASCII)
_OURS = {"host", "content-length", "transfer-encoding"}
"""Header fields that each request has already: a second one would make two requests of it."""
# What a model on an unknown server may be tried with; the server's own refusal is passed on.
_USUAL: tuple[Capability, ...] = ("tools", "json_schema", "json_object", "logprobs", "n")
_PLAIN = ("name", "access", "dialect", "dialects", "auth", "default_model", "region", "jurisdiction", "capabilities",
          "headers", "quirks", "models_path", "key_check", "stream_usage", "upstream_stream", "chooses")  # fmt: skip


def bind(
    document: Document | None, rows: tuple[raw.Provider, ...], catalog: Catalog, env: Mapping[str, str], home: FilePath
) -> dict[str, BoundProvider]:
    """Every provider that can be named, catalog rows first and in their order. Raises ConfigError."""
    bound = {row.id: _shipped(row, env) for row in catalog.providers.values()}
    homes = {id_: provider.row.base_url for id_, provider in bound.items()}
    explicit: dict[str, tuple[Secret, ...]] = {}
    if document is not None:
        for index, row in enumerate(rows):
            bound[row.id] = _configured(document, index, row, bound.get(row.id))
            if row.api_key is not None:
                explicit[row.id] = tuple(Secret(credentials.normalise(key)) for key in _keys(row))
        _refuse_twins(document, rows)
    kept = credentials.kept(home)
    return {
        id_: _with_credential(provider, homes.get(id_, ""), env, home if id_ in kept else None, explicit.get(id_, ()))
        for id_, provider in bound.items()
    }


def _shipped(row: Provider, env: Mapping[str, str]) -> BoundProvider:
    """A catalog row. That of a server on this machine names loopback itself, or the environment moves it; another may
    have places in its address, for the environment to say."""
    if row.host_env and (host := env.get(row.host_env, "").strip()):
        try:
            row = msgspec.structs.replace(row, base_url=_bare(moved(row.base_url, host), row.dialect))
        except ValueError as error:
            message = f"${row.host_env} {error}."
            raise ConfigError(message, remedy="Write host:port or a URL.", key=row.host_env) from error
    if row.places:
        row = msgspec.structs.replace(row, base_url=placed(row.base_url, env))
    return BoundProvider(row=row, trusted_origin=row.access == "local")


def _bare(base_url: str, dialect: str) -> str:
    """A base URL without the segment under which such a server speaks OpenAI's dialect beside its own."""
    return base_url.removesuffix("/v1") if dialect == "ollama" else base_url


def _configured(document: Document, index: int, given: raw.Provider, known: BoundProvider | None) -> BoundProvider:
    from trivium.config.times import timeouts

    path: Path = ("providers", index)
    if known is not None and not known.row.base_url:
        remedy = "Engines that Trivium starts stand under [[engines]]."
        raise document.error((*path, "id"), f"`{given.id}` is the name of this machine's own engines", remedy=remedy)
    if known is None:
        known = BoundProvider(row=_new_row(document, path, given))
    changes = {name: value for name in _PLAIN if (value := getattr(given, name)) is not None}
    if given.base_url is not None:
        try:
            changes["base_url"] = _bare(check_base_url(given.base_url), changes.get("dialect", known.row.dialect))
        except ValueError as error:
            raise document.error((*path, "base_url"), f"the `base_url` {error}") from error
    if given.timeouts is not None:
        changes["timeouts"] = timeouts(document, (*path, "timeouts"), given.timeouts)
    changes["data"] = _data(given, known.row, changes)
    if given.data is not None:
        changes["data_for"] = None
    if (given.api_key or given.token_command) is not None and changes.get("auth", known.row.auth) == "none":
        changes["auth"] = "bearer"
    _check_key_and_headers(document, path, given)
    row = msgspec.structs.replace(known.row, **changes)
    if row.places:
        remedy = f'Write base_url = "{row.base_url}" with yours, or set {" and ".join(row.places)}.'
        raise document.error((*path, "id"), f"`{row.id}` is served at an address of your own", remedy=remedy)
    trusted = known.trusted_origin or given.base_url is not None
    return BoundProvider(row=row, token=_token(document, path, given), trusted_origin=trusted)


def _token(document: Document, path: Path, given: raw.Provider) -> TokenCommand | None:
    """The command of a row, which runs without a shell and not in the folder of whoever starts us."""
    if given.token_command is None:
        if given.token_ttl is not None:
            raise document.error((*path, "token_ttl"), "a `token_ttl` belongs to a `token_command`")
        return None
    program = given.token_command[0]
    if given.api_key is not None:
        raise document.error((*path, "token_command"), f"`{given.id}` has an `api_key` and a `token_command`")
    if not program or ("/" in program and not FilePath(program).is_absolute()):
        remedy = "Name one of $PATH, or write its whole path; each argument is a text of its own."
        raise document.error((*path, "token_command"), f"`{program}` is no program", remedy=remedy)
    from trivium.config.times import duration

    where = (*path, "token_ttl")
    ttl_s = TOKEN_TTL_S if given.token_ttl is None else duration(document, where, given.token_ttl)
    if ttl_s <= 0:
        raise document.error(where, "`token_ttl` must be longer than 0")
    return TokenCommand(given.token_command, ttl_s)


def _new_row(document: Document, path: Path, given: raw.Provider) -> Provider:
    if not _ID.fullmatch(given.id):
        message = f"`{given.id}` is no provider id"
        raise document.error((*path, "id"), message, remedy="Use lower-case letters, digits, `-`, `_` and `.`.")
    if given.base_url is None:
        remedy = "Add `base_url`, with the version segment, or use an id that `trivium providers` lists."
        raise document.error(
            (*path, "id"), f"the catalog has no provider `{given.id}`, so it needs a `base_url`", remedy=remedy
        )
    capabilities = _USUAL if given.access == "local" else ("images", *_USUAL)
    return Provider(id=given.id, name=given.id, capabilities=capabilities, source=document.file)


def _data(given: raw.Provider, known: Provider, changes: dict[str, Any]) -> DataPolicy:
    """What is stated about data. Statements of the catalog hold for the catalog's server only."""
    stays = "base_url" not in changes or origin_of(changes["base_url"]) == origin_of(known.base_url)
    base = known.data if stays else DataPolicy()
    if given.data is None:
        return base
    stated = {name: value for name, value in msgspec.structs.asdict(given.data).items() if value is not None}
    return msgspec.structs.replace(base, **stated)


def _keys(given: raw.Provider) -> tuple[str, ...]:
    """The keys that a row names: none, one, or several that share its requests."""
    return given.api_key if isinstance(given.api_key, tuple) else () if given.api_key is None else (given.api_key,)


def _check_key_and_headers(document: Document, path: Path, given: raw.Provider) -> None:
    keys = [credentials.normalise(key) for key in _keys(given)]
    if not all(key and _HEADER_VALUE.fullmatch(key) for key in keys):
        raise document.error((*path, "api_key"), "the `api_key` is empty or has unprintable characters")
    if len(set(keys)) < len(keys):
        raise document.error((*path, "api_key"), "the `api_key` has a key twice, which has no more to give than once")
    for name, value in (given.headers or {}).items():
        if not _HEADER_NAME.fullmatch(name) or name.lower() in _OURS or not _HEADER_VALUE.fullmatch(value):
            raise document.error((*path, "headers", name), f"`{name}` is no header that can be sent")


def _refuse_twins(document: Document, rows: tuple[raw.Provider, ...]) -> None:
    seen: dict[str, int] = {}
    for index, row in enumerate(rows):
        if row.id in seen:
            first = document.line(("providers", seen[row.id], "id"))
            raise document.error(("providers", index, "id"), f"the provider `{row.id}` stands in line {first} already")
        seen[row.id] = index


def _with_credential(
    provider: BoundProvider, shipped: str, env: Mapping[str, str], home: FilePath | None, explicit: tuple[Secret, ...]
) -> BoundProvider:
    """In this order: the file's `api_key` or `token_command`, the environment, `trivium login`; each only for the
    origin it belongs to.

    A key from the environment belongs to the catalog's origin (`shipped` is that base URL); elsewhere the file must
    name it (`api_key = "${…}"`). `home` is None where nothing was kept for the provider. Raises ConfigError.
    """
    row = provider.row
    if explicit:
        first, *more = explicit
        return msgspec.structs.replace(provider, credential=first, more=tuple(more), credential_from="trivium.toml")
    if provider.token is not None:
        return msgspec.structs.replace(provider, credential_from="token_command")
    if shipped and origin_of(shipped) == origin_of(row.base_url):
        for name in row.key_env:
            if key := credentials.normalise(env.get(name, "")):
                if not _HEADER_VALUE.fullmatch(key):
                    remedy = "Copy it again from the provider's site, or unset it."
                    raise ConfigError(f"${name} has characters that no header can carry.", remedy=remedy, key=name)
                return msgspec.structs.replace(provider, credential=Secret(key), credential_from=name)
    if home is not None and (kept := credentials.load(home, row.id, origin_of(row.base_url))):
        return msgspec.structs.replace(provider, credential=kept, credential_from="trivium login")
    return provider
