"""What a configuration file means: a parsed document into a Config, or a ConfigError that says where it is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from trivium.catalog.rows import Figures, Model, Override, Price
from trivium.config import listen, raw, shipped
from trivium.config.convert import convert, resolved
from trivium.config.keys import hash_keys
from trivium.config.later import refuse
from trivium.config.providers import bind
from trivium.config.quantity import money, size
from trivium.config.routes import Names, data_class, resolve_aliases, resolve_routes
from trivium.config.schema import Config, Defaults, Engine, Ledger, Policy, Server
from trivium.config.times import duration, quantity, timeouts
from trivium.config.toml import Document, dotted
from trivium.types.money import nanos


def trusted(path: Path, document: Document, env: Mapping[str, str], home: Path, *, offline: bool) -> Config:
    """A file that may say everything. Raises ConfigError."""
    file = convert(document)
    refuse(document, file)
    providers = bind(document, file.providers, shipped.catalog(), env, home)
    names = Names(providers.keys(), file.aliases, {route.name for route in file.routes})
    keys, notes = hash_keys(document, file.keys, home, env)
    routes = resolve_routes(document, file.routes, names)
    return Config(
        home=home,
        file=path,
        offline=offline,
        server=_server(document, file.server, guarded=bool(keys)),
        providers=providers,
        configured=frozenset(row.id for row in file.providers),
        engines=_engines(document, file.engines),
        routes=routes.usual,
        conditional=routes.conditional,
        aliases=resolve_aliases(document, names),
        models=_models(document, file.models, names),
        keys=keys,
        policy=Policy(
            data_class=data_class(file.policy),
            timeouts=timeouts(document, ("policy", "timeouts"), file.policy.timeouts),
        ),
        ledger=_ledger(document, file.ledger),
        defaults=defaults(document, file.defaults, names),
        local=file.local,
        notes=notes,
    )


def _server(document: Document, given: raw.Server, *, guarded: bool) -> Server:
    add_keys = "Add a [[keys]] table, or listen on 127.0.0.1."
    for name, address, keys, remedy in (
        ("listen", given.listen, guarded, add_keys),
        ("admin", given.admin, False, "The admin plane asks for no key: let it listen on 127.0.0.1."),
    ):
        refusal = quantity(
            document, ("server", name), address, lambda text, keys=keys: listen.refusal(text, guarded=keys)
        )
        if refusal:
            raise document.error(("server", name), f"`server.{name}`: {refusal}", remedy=remedy)
    return resolved(Server, given, drain_s=duration(document, ("server", "drain"), given.drain))


def _engines(document: Document, given: tuple[raw.Engine, ...]) -> dict[str, Engine]:
    engines: dict[str, Engine] = {}
    for index, engine in enumerate(given):
        path = ("engines", index)
        if engine.id in engines:
            raise document.error((*path, "id"), f"there is an engine `{engine.id}` already")
        idle = engine.idle_unload
        engines[engine.id] = resolved(
            Engine,
            engine,
            idle_unload_s=None if idle == "never" else duration(document, (*path, "idle_unload"), idle),
        )
    return engines


def _models(document: Document, given: tuple[raw.Model, ...], names: Names) -> dict[str, Model]:
    models: dict[str, Model] = {}
    for index, model in enumerate(given):
        path = ("models", index, "id")
        id_ = names.model_id(document, path, model.id)
        if id_ in models:
            raise document.error(path, f"the model `{id_}` is described already")
        price = None if model.price is None else _price(model.price, document.file)
        models[id_] = resolved(Model, model, id=id_, name=model.name or "", price=price)
    return models


def _price(given: raw.ModelPrice, file: str) -> Price:
    """USD as written into nano-dollars; the version names the file, for the ledger."""
    overrides = tuple(resolved(Override, one, **_nanos(one)) for one in given.overrides)
    return Price(**_nanos(given), version=file, discount_ppm=round(given.discount * 1_000_000), overrides=overrides)


def _nanos(given: msgspec.Struct) -> dict[str, int]:
    """Those figures of a price that a struct has."""
    values = {name: getattr(given, name) for name in Figures.__struct_fields__}
    return {name: nanos(value) for name, value in values.items() if value is not None}


def _ledger(document: Document, given: raw.Ledger) -> Ledger:
    journal_max = quantity(document, ("ledger", "journal_max"), given.journal_max, size)
    return Ledger(url=given.url, durability=given.durability, journal_max_bytes=journal_max)


def defaults(document: Document, given: raw.Defaults, names: Names) -> Defaults:
    model = None if given.model is None else names.target(document, ("defaults", "model"), given.model)
    if given.budget is None:
        return Defaults(model=model)
    path = ("defaults", "budget")
    amount = quantity(document, path, given.budget, money)
    if amount.period not in (None, "day"):
        remedy = 'Write it as "1 USD / day".'
        raise document.error(
            path, f"`{dotted(path)}` is what `auto` may spend a day, not a {amount.period}", remedy=remedy
        )
    return Defaults(model=model, budget_nanos_day=amount.nanos)
