"""`trivium config`: check, trust, show and reload the configuration."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
from cyclopts import App

from trivium.cli.data import ask_owner, owned
from trivium.cli.terminal import OPTIONS, Options, print_json, tell
from trivium.config import trust as trusted
from trivium.config.home import Paths, home_of, user_path
from trivium.config.load import FILE_NAME, load
from trivium.config.schema import Config
from trivium.config.toml import read
from trivium.engines.store import Store
from trivium.errors import ConfigError, Unavailable, UsageError
from trivium.gateway.control import OwnerError
from trivium.types.secret import Secret

HIDDEN = "hidden"

app = App(name="config", help="The configuration: check, trust, show, reload.")


@app.command
def check(file: Path | None = None, *, options: Options = OPTIONS) -> None:
    """Read a configuration as a trusted one, and say what is wrong: file, line, key, the nearest valid word."""
    named = file or options.config
    config = load(file=named, offline=options.offline, env=os.environ, cwd=Path.cwd())
    whole = config if config.trusted else load(file=config.file, env=os.environ, cwd=Path.cwd())
    for index, engine in enumerate(whole.engines.values()):
        path = engine.model.removeprefix("file:")
        is_file = path.endswith(".gguf") and ":" not in path and Store(Paths(whole.home).models).find(path) is None
        if is_file and not user_path(path).is_file():
            file = whole.file or Path(FILE_NAME)
            message = f"the engine `{engine.id}` has no model: there is no file `{path}`"
            raise read(file.read_bytes(), str(file)).error(("engines", index, "model"), message)
    said = {"file": str(config.file) if config.file else None, "trusted": config.trusted, "notes": config.notes}
    tell(said, "\n".join([*config.notes, f"{said['file'] or 'No file'}: nothing is wrong."]), json=options.json)


@app.command
def trust(path: Path = Path(FILE_NAME), *, options: Options = OPTIONS) -> None:
    """Allow a file that was found in a working directory to say everything, as it is now; a change ends it."""
    try:
        digest = trusted.trust(home_of(os.environ), path)
    except OSError as error:
        raise UsageError(f"`{path}` cannot be read: {error.strerror}.", remedy="Name the file to trust.") from error
    said = {"file": str(path.resolve()), "trusted": True, "sha256": digest}
    tell(said, f"{said['file']} is trusted as it is now (sha256 {digest[:16]}…).", json=options.json)


@app.command
def distrust(path: Path = Path(FILE_NAME), *, options: Options = OPTIONS) -> None:
    """Take the permission of a file back."""
    had = trusted.distrust(home_of(os.environ), path)
    said = {"file": str(path.resolve()), "trusted": False, "was_trusted": had}
    tell(said, f"{said['file']} is {'no longer' if had else 'not'} trusted.", json=options.json)


@app.default
def show(*, options: Options = OPTIONS) -> None:
    """Print the configuration as it was understood, as JSON; secrets are hidden."""
    print_json(redacted(options.load()))


app.command(show, name="show")


@app.command
def schema(*, options: Options = OPTIONS) -> None:  # noqa: ARG001  # `--json` says what it does anyway
    """Print the JSON Schema of trivium.toml, for editors."""
    from trivium.config.raw import schema as made

    print_json(made())


@app.command
def reload(*, options: Options = OPTIONS) -> None:
    """Have the running `trivium serve` read its configuration anew; no request is dropped."""
    config = options.load()
    if not owned(config):
        raise Unavailable("Nobody serves this home.", remedy="Start `trivium serve`.")
    try:
        ask_owner(config, "reload")
    except OwnerError as error:  # its configuration is all that it can refuse here
        raise ConfigError(error.message, remedy=error.remedy) from error
    tell({"reloaded": True}, "The configuration was read anew.", json=options.json)


def redacted(config: Config) -> dict[str, Any]:
    """What was configured, without secrets: keys, hashes, and the values of headers."""
    said: dict[str, Any] = msgspec.to_builtins(config, enc_hook=_plain)
    for provider in said["providers"].values():
        row = provider["row"]
        row["headers"] = dict.fromkeys(row.get("headers", {}), HIDDEN)
        if provider["token"]:
            program, *arguments = provider["token"]["argv"]
            provider["token"]["argv"] = [program, *(HIDDEN for _ in arguments)]
    for key in said["keys"]:
        key |= {name: HIDDEN for name in key if "hash" in name or "digest" in name}
    said["ledger"]["url"] = HIDDEN if "@" in said["ledger"]["url"] else said["ledger"]["url"]
    return said


def _plain(value: Any) -> Any:
    return HIDDEN if isinstance(value, Secret) else str(value)
