"""`trivium serve`: the endpoint."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import msgspec

from trivium.config.listen import refusal
from trivium.config.load import load
from trivium.config.schema import Config
from trivium.errors import ConfigError, UsageError
from trivium.transport.platform import run


def serve(
    *, config: Path | None = None, listen: str | None = None, workers: int | None = None, offline: bool = False
) -> None:
    """Serve all dialects on one address until SIGTERM or Ctrl-C; SIGHUP reads the configuration anew.

    Parameters
    ----------
    config
        The configuration file; by default `trivium.toml` here or in the user's configuration folder.
    listen
        Address of the data plane, `host:port`.
    workers
        Processes that serve; the master owns engines, ledger and admin plane.
    offline
        Open no connection off this machine.
    """
    from trivium.server.serve import serve as run_server

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")

    def read() -> Config:
        found = load(file=config, offline=offline, env=os.environ, cwd=Path.cwd())
        return _overridden(found, listen, workers)

    run(run_server(read(), read, _started))


def _overridden(config: Config, listen: str | None, workers: int | None) -> Config:
    server = config.server
    if listen is not None:
        try:
            why = refusal(listen, guarded=bool(config.keys))
        except ValueError as error:
            raise UsageError(f"`--listen`: {error}") from error
        if why:
            raise ConfigError(why, remedy="Configure `[[keys]]`, or listen on 127.0.0.1.", key="listen")
        server = msgspec.structs.replace(server, listen=listen)
    if workers is not None:
        server = msgspec.structs.replace(server, workers=workers)
    return msgspec.structs.replace(config, server=server)


def _started(config: Config) -> None:
    print(f"Trivium listens on http://{config.server.listen}/v1", file=sys.stderr, flush=True)
