"""`trivium models refresh`: a provider's own list of its models, read only when a person asks for it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from trivium.cli.call import ANSWER_BYTES_MAX, call, key_of
from trivium.cli.reach import is_usable
from trivium.cli.terminal import OPTIONS, Options, note, print_rows
from trivium.config.private import read, write
from trivium.config.schema import BoundProvider, Config
from trivium.errors import NotFound, TriviumError, UpstreamProtocolError, UpstreamUnreachable


def refresh(provider: str | None = None, *, options: Options = OPTIONS) -> None:
    """Read the lists of models of a provider, or of all whose key is set, and keep them in the home.

    Args:
        provider: The one provider to ask; by default every one with a key.
    """
    config = options.load()
    rows: list[dict[str, str]] = []
    failed: list[str] = []
    asked = _asked(config, provider)
    for bound in asked:
        try:
            models = read_list(config, bound)
        except TriviumError as error:
            if provider is not None:
                raise
            failed.append(f"{bound.row.id}: {error}")
            continue
        write(_kept_at(config, bound), msgspec.json.encode(models))
        rows += [{"model": f"{bound.row.id}/{model}"} for model in models]
    if failed and len(failed) == len(asked):
        raise UpstreamUnreachable(f"No list could be read. {' '.join(failed)}")
    for said in failed:
        note(said)
    if not asked and not options.json:
        note("No provider has a key; `trivium login PROVIDER` keeps one.")
    print_rows(rows, ("model",), lambda row: row.values(), json=options.json)


def read_list(config: Config, bound: BoundProvider) -> list[str]:
    """The ids that a provider lists: `{"data": [{"id": …}]}`, as most have it, or `{"models": [{"name": …}]}`.

    Raises UpstreamUnreachable and other UpstreamErrors; the credential goes to the configured origin only.
    """
    row = bound.row
    status, body = call(config, bound, row.models_path or "", key_of(config, bound))
    if status != 200:
        raise UpstreamProtocolError(
            f"`{row.id}` answered with status {status} instead of its list of models.",
            remedy=f"Look at its key: `trivium login {row.id}`.",
            upstream_status=status,
        )
    if len(body) > ANSWER_BYTES_MAX:
        raise UpstreamProtocolError(f"The list of models of `{row.id}` is longer than {ANSWER_BYTES_MAX} bytes.")
    return _ids(row.id, body)


def kept(config: Config, bound: BoundProvider) -> list[str]:
    """The ids that were read at last; nothing where none were."""
    return read(_kept_at(config, bound), list[str]) or []


def _kept_at(config: Config, bound: BoundProvider) -> Path:
    return config.home / "models-lists" / f"{bound.row.id}.json"


class _Item(msgspec.Struct, frozen=True):
    id: str


class _Named(msgspec.Struct, frozen=True):
    name: str


class _List(msgspec.Struct, frozen=True):
    data: list[_Item] | None = None
    models: list[_Named] | None = None


def _ids(provider: str, body: bytes) -> list[str]:
    try:
        said = msgspec.json.decode(body, type=_List | list[_Item])
    except msgspec.DecodeError as error:
        raise _unknown(provider) from error
    if isinstance(said, _List) and said.models is not None:
        return sorted(item.name.removeprefix("models/") for item in said.models)
    items = said.data if isinstance(said, _List) else said
    if items is None:
        raise _unknown(provider)
    return sorted(item.id for item in items)


def _unknown(provider: str) -> UpstreamProtocolError:
    return UpstreamProtocolError(f"The list of models of `{provider}` has a form that is not known.")


def _asked(config: Config, provider: str | None) -> list[BoundProvider]:
    if provider is None:
        return [b for b in config.providers.values() if b.has_key and b.row.models_path and not b.row.places]
    bound = config.providers.get(provider)
    if bound is None or not bound.row.base_url or not bound.row.models_path or not is_usable(config, bound):
        raise NotFound(
            f"`{provider[:80]}` is no provider with a key whose list can be read.",
            remedy=f"`trivium providers` lists them; `trivium login {provider[:80]}` keeps a key.",
        )
    return [bound]
