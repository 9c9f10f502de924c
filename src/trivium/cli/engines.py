"""`trivium engines`: local servers that Trivium starts, as their owner sees them."""

from __future__ import annotations

from typing import Any

import msgspec
from cyclopts import App

from trivium.cli.data import ask_owner, owned
from trivium.cli.terminal import OPTIONS, Options, print_rows, size, tell
from trivium.config.home import Paths
from trivium.config.schema import Config
from trivium.engines.store import Store
from trivium.engines.supervisor import EngineStatus
from trivium.errors import EngineUnavailable, NotFound

app = App(name="engines", help="Local engines: which there are, and how they are.")


@app.default
def list_engines(*, options: Options = OPTIONS) -> None:
    """List engines: those that run, those that are configured, and every model of the store."""
    rows = status(options.load())
    print_rows(rows, ("engine", "model", "state", "pid", "context", "memory"), _cells, json=options.json)


app.command(list_engines, name="list")


@app.command
def stop(name: str, *, options: Options = OPTIONS) -> None:
    """Stop an engine; the next request for it starts it again."""
    config = options.load()
    if not owned(config):
        raise EngineUnavailable("No engine runs: nobody owns this home.", remedy="Nothing needs to be stopped.")
    if name not in {engine.id for engine in status(config)}:
        raise NotFound(f"There is no engine `{name[:80]}`.", remedy="`trivium engines` lists them.")
    ask_owner(config, "stop_engine", engine=name)
    tell({"engine": name, "stopped": True}, f"`{name}` is stopped.", json=options.json)


def status(config: Config) -> list[EngineStatus]:
    """Every engine by name: as the owner says, else as it could be started."""
    told: Any = ask_owner(config, "engines") if owned(config) else []
    running = {engine.id: engine for engine in msgspec.convert(told, list[EngineStatus])}
    could = {engine.id: engine.model for engine in config.engines.values()}
    could |= {manifest.name: manifest.name for manifest in Store(Paths(config.home).models).list()}
    idle = {id_: EngineStatus(id=id_, model=model, state="stopped") for id_, model in could.items()}
    return list((idle | running).values())


def _cells(row: EngineStatus) -> list[object]:
    figures = (row.pid, row.context, size(row.rss) if row.rss else None)
    return [row.id, row.model, row.state, *(figure or "-" for figure in figures)]
