"""`trivium serve`: the endpoint."""

from __future__ import annotations

import functools
import importlib
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trivium.config.schema import Config


def serve(
    *,
    config: Path | None = None,
    listen: str | None = None,
    workers: int | None = None,
    offline: bool = False,
    json: bool = False,
) -> None:
    """Serve all dialects on one address until SIGTERM or Ctrl-C; SIGHUP reads the configuration anew.

    Args:
        config: The configuration file; by default `trivium.toml` here or in the user's configuration folder.
        listen: Address of the data plane, `host:port`.
        workers: Processes that serve; the master owns engines, ledger and admin plane.
        offline: Open no connection off this machine.
        json: Print one line of JSON with the addresses, once it listens.
    """
    from trivium.server.master import serve as run_server
    from trivium.server.override import read_config

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    file = Path(config).absolute() if config is not None else None
    read = functools.partial(read_config, file, listen, workers, offline=offline)
    run_server(read, _started_json if json else _started)


def _started(config: Config) -> None:
    from trivium.cli.reach import destinations, line

    print(
        *config.notes,
        f"Trivium listens on http://{config.server.listen}/v1",
        "A prompt may go to:",
        *(f"  {line(place)}" for place in destinations(config)),
        sep="\n",
        file=sys.stderr,
        flush=True,
    )


def _started_json(config: Config) -> None:
    import msgspec

    from trivium.cli.reach import destinations

    said = {
        "listen": config.server.listen,
        "admin": config.server.admin,
        "destinations": destinations(config),
        "notes": config.notes,
    }
    print(msgspec.json.encode(said).decode(), flush=True)


def load() -> None:
    """Load what a server needs, before it can be told how to serve."""
    for name in ("server.master", "config.resolve", "config.toml"):
        importlib.import_module(f"trivium.{name}")
    importlib.import_module("trivium.gateway.paths").table()
    importlib.import_module("trivium.config.shipped").catalog()
