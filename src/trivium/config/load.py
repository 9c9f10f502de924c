"""The configuration, read once: file, environment, credentials and catalog, into a frozen Config.

Found in this order: `--config`, `$TRIVIUM_CONFIG`, `trivium.toml` in the working directory, the same in the user's
configuration folder. Nothing of it is needed: without a file, providers are bound to the keys found in the environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from trivium.catalog.rows import Model, Price
from trivium.config import listen, raw, shipped
from trivium.config.convert import convert
from trivium.config.env import expand
from trivium.config.home import config_folder, home_of
from trivium.config.keys import hash_keys
from trivium.config.later import refuse
from trivium.config.providers import bind
from trivium.config.quantity import money, seconds, size
from trivium.config.routes import Names, data_class, resolve_aliases, resolve_routes
from trivium.config.schema import Config, Defaults, Engine, Ledger, Local, Policy, Server
from trivium.config.times import duration, timeouts
from trivium.config.toml import Document, dotted, read
from trivium.config.trust import is_trusted
from trivium.config.untrusted import routes_and_defaults
from trivium.errors import ConfigError
from trivium.types.money import nanos

FILE_NAME = "trivium.toml"
DEFAULT_BUDGET_NANOS = nanos(1)
"""What `auto` may spend a day where no trusted file says otherwise: 1 USD."""
_LONGEST = 4 << 20


class Found(msgspec.Struct, frozen=True):
    """A configuration file, and whether it may say everything."""

    path: Path
    data: bytes
    trusted: bool


def load(
    *,
    file: Path | str | None = None,
    offline: bool = False,
    env: Mapping[str, str],
    cwd: Path,
    home: Path | None = None,
) -> Config:
    """Read the configuration. Raises ConfigError with file, line, key, the nearest valid word and a remedy."""
    home = home or home_of(env)
    found = find(file=file, env=env, cwd=cwd, home=home)
    offline = offline or env.get("TRIVIUM_OFFLINE", "").strip().lower() not in ("", "0", "false", "no")
    if found is None:
        budget = Defaults(budget_nanos_day=DEFAULT_BUDGET_NANOS)
        providers = bind(None, (), shipped.catalog(), env, home)
        return Config(home=home, offline=offline, providers=providers, defaults=budget)
    document = read(found.data, str(found.path))
    if not found.trusted:
        return _untrusted(found.path, document, env, home, offline=offline)
    return _trusted(found.path, expand(document, env, found.path.parent), env, home, offline=offline)


def find(*, file: Path | str | None, env: Mapping[str, str], cwd: Path, home: Path) -> Found | None:
    """The file that counts, read; None if there is none. Raises ConfigError for a named file that cannot be read."""
    named = file or env.get("TRIVIUM_CONFIG")
    if named:
        path = cwd / Path(named).expanduser()
        return Found(path, _bytes(path), trusted=True)
    own = config_folder(env) / FILE_NAME
    here = cwd / FILE_NAME
    if here.is_file() and not (own.is_file() and here.samefile(own)):
        data = _bytes(here)
        return Found(here, data, trusted=is_trusted(home, here, data))
    return Found(own, _bytes(own), trusted=True) if own.is_file() else None


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            data = stream.read(_LONGEST + 1)
    except OSError as error:
        raise ConfigError(f"the configuration cannot be read: {error.strerror}", file=str(path)) from error
    if len(data) > _LONGEST:
        raise ConfigError(f"the configuration is longer than {_LONGEST} bytes", file=str(path))
    return data


def _trusted(path: Path, document: Document, env: Mapping[str, str], home: Path, *, offline: bool) -> Config:
    file = convert(document)
    refuse(document, file)
    providers = bind(document, file.providers, shipped.catalog(), env, home)
    names = Names(providers.keys(), file.aliases, {route.name for route in file.routes})
    keys, key_secret, notes = hash_keys(document, file.keys, home, env)
    return Config(
        home=home,
        file=path,
        offline=offline,
        server=_server(document, file.server, guarded=bool(keys)),
        providers=providers,
        configured=frozenset(row.id for row in file.providers),
        engines=_engines(document, file.engines),
        routes=resolve_routes(document, file.routes, names),
        aliases=resolve_aliases(document, names),
        models=_models(document, file.models, names),
        keys=keys,
        key_secret=key_secret,
        policy=Policy(
            data_class=data_class(file.policy),
            timeouts=timeouts(document, ("policy", "timeouts"), file.policy.timeouts),
        ),
        ledger=_ledger(document, file.ledger),
        defaults=_defaults(document, file.defaults, names),
        local=Local(**msgspec.structs.asdict(file.local)),
        notes=notes,
    )


def _untrusted(path: Path, document: Document, env: Mapping[str, str], home: Path, *, offline: bool) -> Config:
    """Routes and defaults only; and `auto` can be given less to spend by a stranger, not more."""
    providers = bind(None, (), shipped.catalog(), env, home)
    routes, defaults, notes = routes_and_defaults(document, providers.keys())
    names = Names(providers.keys(), {}, routes.keys())
    own = _defaults(document, defaults, names)
    budget = DEFAULT_BUDGET_NANOS if own.budget_nanos_day is None else min(own.budget_nanos_day, DEFAULT_BUDGET_NANOS)
    return Config(
        home=home,
        file=path,
        trusted=False,
        offline=offline,
        providers=providers,
        routes=routes,
        defaults=msgspec.structs.replace(own, budget_nanos_day=budget),
        notes=notes,
    )


def _server(document: Document, given: raw.Server, *, guarded: bool) -> Server:
    for name, address in (("listen", given.listen), ("admin", given.admin)):
        try:
            refusal = listen.refusal(address, guarded=guarded)
        except ValueError as error:
            raise document.error(("server", name), f"`server.{name}`: {error}") from error
        if refusal:
            remedy = "Add a [[keys]] table, or listen on 127.0.0.1."
            raise document.error(("server", name), f"`server.{name}`: {refusal}", remedy=remedy)
    return Server(
        listen=given.listen,
        admin=given.admin,
        workers=given.workers,
        hosts=given.hosts,
        cors_origins=given.cors_origins,
        drain_s=duration(document, ("server", "drain"), given.drain),
    )


def _engines(document: Document, given: tuple[raw.Engine, ...]) -> dict[str, Engine]:
    engines: dict[str, Engine] = {}
    for index, engine in enumerate(given):
        path = ("engines", index)
        if engine.id in engines:
            raise document.error((*path, "id"), f"there is an engine `{engine.id}` already")
        idle = engine.idle_unload
        engines[engine.id] = Engine(
            id=engine.id,
            kind=engine.kind,
            model=engine.model,
            binary=engine.binary,
            context=engine.context,
            slots=engine.slots,
            threads=engine.threads,
            idle_unload_s=None if idle == "never" else duration(document, (*path, "idle_unload"), idle),
            pinned=engine.pinned,
            max_cold_start_s=duration(document, (*path, "max_cold_start"), engine.max_cold_start),
            pull=engine.pull,
            options=engine.options,
        )
    return engines


def _models(document: Document, given: tuple[raw.Model, ...], names: Names) -> dict[str, Model]:
    models: dict[str, Model] = {}
    for index, model in enumerate(given):
        path = ("models", index, "id")
        id_ = names.model_id(document, path, model.id)
        if id_ in models:
            raise document.error(path, f"the model `{id_}` is described already")
        models[id_] = Model(
            id=id_,
            name=model.name or "",
            family=model.family,
            weights=model.weights,
            context=model.context,
            max_output=model.max_output,
            capabilities=model.capabilities,
            price=None if model.price is None else _price(model.price, document.file),
        )
    return models


def _price(given: raw.ModelPrice, file: str) -> Price:
    """USD as written into nano-dollars; the version names the file, for the ledger."""
    amounts = {name: nanos(value) for name, value in msgspec.structs.asdict(given).items() if value is not None}
    return Price(**amounts, version=file)


def _ledger(document: Document, given: raw.Ledger) -> Ledger:
    try:
        journal_max = size(given.journal_max)
    except ValueError as error:
        raise document.error(("ledger", "journal_max"), f"`ledger.journal_max`: {error}") from error
    days = None
    if given.retention is not None:
        days = int(duration(document, ("ledger", "retention"), given.retention) // seconds("1d"))
        if days < 1:
            raise document.error(("ledger", "retention"), "`ledger.retention` must be at least 1d")
    return Ledger(url=given.url, durability=given.durability, journal_max_bytes=journal_max, retention_days=days)


def _defaults(document: Document, given: raw.Defaults, names: Names) -> Defaults:
    model = None if given.model is None else names.target(document, ("defaults", "model"), given.model)
    if given.budget is None:
        return Defaults(model=model)
    path = ("defaults", "budget")
    try:
        amount = money(given.budget)
    except ValueError as error:
        raise document.error(path, f"`{dotted(path)}`: {error}") from error
    if amount.period not in (None, "day"):
        remedy = 'Write it as "1 USD / day".'
        raise document.error(
            path, f"`{dotted(path)}` is what `auto` may spend a day, not a {amount.period}", remedy=remedy
        )
    return Defaults(model=model, budget_nanos_day=amount.nanos)
