"""The configuration, read once: file, environment, credentials and catalog, into a frozen Config.

Found in this order: `--config`, `$TRIVIUM_CONFIG`, `trivium.toml` in the working directory, the same in the user's
configuration folder. Nothing of it is needed: without a file, providers are bound to the keys found in the environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from trivium.config import shipped
from trivium.config.home import config_folder, home_of, user_path
from trivium.config.providers import bind
from trivium.config.schema import DEFAULT_BUDGET_NANOS, Config, Defaults
from trivium.config.trust import is_trusted
from trivium.errors import ConfigError

FILE_NAME = "trivium.toml"
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
    # What reads a file is not needed without one, and takes a while to import.
    from trivium.config import env as references
    from trivium.config import resolve, toml, untrusted

    document = toml.read(found.data, str(found.path))
    if not found.trusted:
        return untrusted.untrusted(found.path, document, env, home, offline=offline)
    document = references.expand(document, env, found.path.parent)
    return resolve.trusted(found.path, document, env, home, offline=offline)


def find(*, file: Path | str | None, env: Mapping[str, str], cwd: Path, home: Path) -> Found | None:
    """The file that counts, read; None if there is none. Raises ConfigError for a named file that cannot be read."""
    named = file or env.get("TRIVIUM_CONFIG")
    if named:
        path = cwd / user_path(named)
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
        raise ConfigError(f"the configuration cannot be read: {error.strerror}.", file=str(path)) from error
    if len(data) > _LONGEST:
        raise ConfigError(f"the configuration is longer than {_LONGEST} bytes.", file=str(path))
    return data
