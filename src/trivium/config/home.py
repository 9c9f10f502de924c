"""The home: the one folder with the state of Trivium, and the user's folder for configuration."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from trivium.errors import ConfigError


class Paths:
    """Where each kind of state lives under a home."""

    def __init__(self, home: Path) -> None:
        self.journal = home / "journal"
        self.run = home / "run"
        self.models = home / "models"
        self.ledger = home / "ledger.db"
        self.logs = home / "logs"
        self.statistics = home / "statistics.json"
        self.secret = home / "secret"
        self.credentials = home / "credentials.json"
        self.trusted = home / "trusted.json"
        self.connected = home / "connected.json"


def home_of(env: Mapping[str, str]) -> Path:
    """`$TRIVIUM_HOME`, else `$XDG_DATA_HOME/trivium`, else `~/.local/share/trivium`."""
    if own := env.get("TRIVIUM_HOME"):
        return user_path(own).absolute()
    return _xdg(env, "XDG_DATA_HOME", ".local/share")


def config_folder(env: Mapping[str, str]) -> Path:
    """The user's own configuration: `$XDG_CONFIG_HOME/trivium`, else `~/.config/trivium`."""
    return _xdg(env, "XDG_CONFIG_HOME", ".config")


def make_private(folder: Path) -> Path:
    """The folder, made if it is missing, for its owner only (0700)."""
    if not folder.is_dir():
        missing = [each for each in folder.parents if not each.exists()]
        for each in (*reversed(missing), folder):  # those around it too, as the XDG specification has it
            each.mkdir(mode=0o700, exist_ok=True)
            each.chmod(0o700)
    return folder


def user_path(text: str | Path) -> Path:
    """A path as people write it; a `~` of nobody stands for itself."""
    return Path(os.path.expanduser(text))  # noqa: PTH111  # which raises there


def check_home(home: Path) -> None:
    """Raises ConfigError for a home that cannot be written."""
    trial = Paths(home).run / f".{os.getpid()}"
    try:
        make_private(Paths(home).journal)
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
    user = Path(env["HOME"]) if env.get("HOME") else user_path("~")
    if not user.is_absolute():
        remedy = f"Set HOME, or TRIVIUM_HOME and {name}."
        raise ConfigError("this user has no home folder.", remedy=remedy)
    return user / default / "trivium"
