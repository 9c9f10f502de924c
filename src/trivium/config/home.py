"""The home: the one folder with the state of Trivium, and the user's folder for configuration."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from trivium.errors import ConfigError


class Paths(msgspec.Struct, frozen=True, kw_only=True):
    """Where each kind of state lives under a home."""

    journal: Path
    run: Path
    models: Path
    ledger: Path
    logs: Path
    secret: Path
    credentials: Path
    trusted: Path


def home_of(env: Mapping[str, str]) -> Path:
    """`$TRIVIUM_HOME`, else `$XDG_DATA_HOME/trivium`, else `~/.local/share/trivium`."""
    if own := env.get("TRIVIUM_HOME"):
        return Path(own).expanduser().absolute()
    return _xdg(env, "XDG_DATA_HOME", ".local/share")


def config_folder(env: Mapping[str, str]) -> Path:
    """The user's own configuration: `$XDG_CONFIG_HOME/trivium`, else `~/.config/trivium`."""
    return _xdg(env, "XDG_CONFIG_HOME", ".config")


def paths(home: Path) -> Paths:
    return Paths(
        journal=home / "journal",
        run=home / "run",
        models=home / "models",
        ledger=home / "ledger.db",
        logs=home / "logs",
        secret=home / "secret",
        credentials=home / "credentials.json",
        trusted=home / "trusted.json",
    )


def make_private(folder: Path) -> Path:
    """The folder, made if it is missing, for its owner only (0700)."""
    if not folder.is_dir():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
    return folder


def check_home(home: Path) -> None:
    """Raises ConfigError for a home that cannot be written."""
    trial = paths(home).run / f".{os.getpid()}"
    try:
        make_private(paths(home).journal)
        make_private(trial.parent)
        trial.touch()
        trial.unlink()
    except OSError as error:
        raise ConfigError(
            f"the home `{home}` cannot be written: {error.strerror or error}.",
            remedy="Make it writable, or name another in $TRIVIUM_HOME.",
        ) from error


def _xdg(env: Mapping[str, str], name: str, default: str) -> Path:
    # The XDG specification says that a relative path is invalid and to be ignored.
    given = Path(env.get(name) or "")
    if given.is_absolute():
        return given / "trivium"
    user = Path(env["HOME"]) if env.get("HOME") else Path.home()
    return user / default / "trivium"
