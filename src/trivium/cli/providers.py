"""`trivium providers`: who can be named, and every fact of one, with its source and date."""

from __future__ import annotations

from typing import Any

import msgspec
from cyclopts import App

from trivium.catalog.rows import Provider
from trivium.cli.call import provider_named
from trivium.cli.reach import is_usable
from trivium.cli.terminal import OPTIONS, Options, print_json, print_rows, print_table

app = App(name="providers", help="Who can be named as `provider/model`.")
app.command("trivium.cli.conform:conform", name="test", help="Put the conformance suite to a provider.")


@app.default
def list_providers(*, options: Options = OPTIONS) -> None:
    """List every provider: its road and dialects, where its key was found, and how far data may travel there."""
    config = options.load()
    rows = [
        {
            "provider": id_,
            "name": bound.row.name,
            "road": bound.row.access,
            "key": bound.credential_from or ("not needed" if bound.row.auth == "none" else "not set"),
            "needs": bound.row.places,
            "dialects": [bound.row.dialect, *bound.row.dialects],
            "data_class": bound.row.data.ceiling.word,
            "default_model": bound.row.default_model,
            "usable": is_usable(config, bound),
        }
        for id_, bound in config.providers.items()
    ]

    def shown(row: dict[str, Any]) -> tuple[object, ...]:
        key = f"{row['key']}; needs {' and '.join(row['needs'])}" if row["needs"] else row["key"]
        return row["provider"], row["road"], key, ", ".join(row["dialects"]), row["data_class"], row["default_model"]

    columns = ("provider", "road", "key", "dialects", "data class up to", "default model")
    print_rows(rows, columns, shown, json=options.json)


app.command(list_providers, name="list")


@app.command
def show(provider: str, *, options: Options = OPTIONS) -> None:
    """Every fact of a provider; what nobody states is unknown."""
    bound = provider_named(options.load(), provider)
    facts = facts_of(bound.row) | {"key_from": bound.credential_from or None, "trusted_origin": bound.trusted_origin}
    if options.json:
        print_json(facts)
    else:
        print_table(("fact", "value"), [(name, words(value)) for name, value in facts.items()])


def facts_of(row: Provider) -> dict[str, Any]:
    """All fields of a row. The values of its headers may be secrets and are not among them."""
    hidden = {"headers": dict.fromkeys(row.headers, "hidden"), "data": msgspec.structs.asdict(row.data)}
    return msgspec.to_builtins(msgspec.structs.asdict(row) | hidden)


def words(value: Any) -> str | None:
    """A fact for people; None where nobody states it."""
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str | int | float):
        return str(value)
    pairs = value.items() if hasattr(value, "items") else ()
    said = [f"{name}: {'unknown' if item is None else item}" for name, item in pairs] or [str(item) for item in value]
    return ", ".join(said) or "none"
