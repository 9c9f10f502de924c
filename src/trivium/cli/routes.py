"""`trivium routes`: the names that callers use, and what they stand for."""

from __future__ import annotations

from trivium.cli.terminal import OPTIONS, Options, print_json, print_table
from trivium.gateway.gateway import snapshot_of
from trivium.routing.names import AUTO


def routes(*, options: Options = OPTIONS) -> None:
    """List the routes, `auto` among them, and the aliases."""
    config = options.load()
    found = {AUTO: snapshot_of(config).route(AUTO)} | config.routes
    if options.json:
        print_json({"rows": list(found.values()), "aliases": config.aliases})
        return
    print_table(
        ("route", "strategy", "targets", "fallback", "data class"),
        [(name, r.strategy, ", ".join(r.targets), r.fallback, r.data_class.word) for name, r in found.items()],
    )
    if config.aliases:
        print_table(("alias", "stands for"), list(config.aliases.items()))
