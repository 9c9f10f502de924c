"""`trivium serve`: the endpoint."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from trivium.config.schema import Config


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
    from trivium.server.fleet import Orders
    from trivium.server.master import serve as run_server

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    file = str(config.absolute()) if config is not None else None
    run_server(Orders(config=file, listen=listen, workers=workers, offline=offline), _started)


def _started(config: Config) -> None:
    print(f"Trivium listens on http://{config.server.listen}/v1", file=sys.stderr, flush=True)
    from trivium.cli.reach import lines

    print("A prompt may go to:", *(f"  {line}" for line in lines(config)), sep="\n", file=sys.stderr, flush=True)
