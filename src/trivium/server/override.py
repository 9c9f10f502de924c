"""What the command line says over the configuration file."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from trivium.config.listen import refusal
from trivium.config.load import load
from trivium.config.schema import Config
from trivium.errors import ConfigError, UsageError

WORKERS_MAX = 64


def read_config(file: Path | None, listen: str | None, workers: int | None, *, offline: bool) -> Config:
    """The configuration as it is now, checked, with `--listen` and `--workers`. Raises UsageError, ConfigError."""
    config = load(file=file, offline=offline, env=os.environ, cwd=Path.cwd())
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
        if not 1 <= workers <= WORKERS_MAX:
            raise UsageError(f"`--workers` must be between 1 and {WORKERS_MAX}.")
        server = msgspec.structs.replace(server, workers=workers)
    return msgspec.structs.replace(config, server=server)
