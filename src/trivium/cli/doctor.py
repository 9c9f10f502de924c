"""`trivium doctor`: what is reachable, which keys are set, what would answer, and what to do about the rest."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import platform
import shutil
from pathlib import Path
from typing import Any

from trivium.cli import reach
from trivium.cli.call import check_key, key_of
from trivium.cli.data import owned
from trivium.cli.explain import plan_of, request_of
from trivium.cli.terminal import OPTIONS, Options, print_json, size
from trivium.config.home import Paths
from trivium.config.schema import Config
from trivium.engines.store import Store
from trivium.errors import TriviumError
from trivium.gateway.explain import PlanView
from trivium.gateway.found import Found, look
from trivium.gateway.gateway import snapshot_of
from trivium.gateway.wish import Wish
from trivium.ledger import store as ledger
from trivium.routing.names import AUTO
from trivium.version import __version__

_PROBED = {"refused:": "Give another key: trivium login", "could not be reached": "Find out what is between here and"}
_ROOM_BYTES = 1_000_000_000
_PROXY_NAMES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_CA_NAMES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def doctor(*, probe: bool = False, options: Options = OPTIONS) -> None:
    """Look at everything that an answer needs. Without --probe, no connection leaves this machine.

    Args:
        probe: Try the key of each provider with a call that is free.
    """
    config = options.load()
    report = examine(config)
    if probe:
        report["keys"] = [key | {"probe": _probe(config, key["provider"])} for key in report["keys"]]
    report["remedies"] = remedies(report)
    if options.json:
        print_json(report)
    else:
        for line in words(report):
            print(line)


def examine(config: Config) -> dict[str, Any]:
    """The facts, as they are printed with `--json`. Opens connections to this machine only; never names a key."""
    servers = asyncio.run(look(config))
    plan = _plan(config, servers)
    return {
        "version": __version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",  # starts no process
        "home": {"path": str(config.home), "free_bytes": _free(config.home), "owned": owned(config)},
        "config": {"file": str(config.file) if config.file else None, "trusted": config.trusted, "notes": config.notes},
        "offline": config.offline,
        "keys": [
            {"provider": id_, "from": bound.credential_from} for id_, bound in config.providers.items() if bound.has_key
        ],
        # Their values may hold a password.
        "environment": [n for n in (*_PROXY_NAMES, *_CA_NAMES) if os.environ.get(n) or os.environ.get(n.upper())],
        "engine": {
            "xllamacpp": importlib.util.find_spec("xllamacpp") is not None,
            "models": [manifest.name for manifest in Store(Paths(config.home).models).list()],
        },
        "servers": servers,
        "destinations": reach.destinations(config),
        "auto": plan,
        "ledger": _ledger(config),
    }


def remedies(report: dict[str, Any]) -> list[str]:
    """What to do, the most useful first; nothing where all is well."""
    checks: list[tuple[bool, str]] = [
        (not report["engine"]["xllamacpp"], "Install the local engine: pip install 'trivium[local]'"),
        (
            not report["engine"]["models"],
            "Fetch a model, so that the last road is open: trivium models pull smollm2-135m",
        ),
        (
            report["auto"] is None or not report["auto"].endpoints,
            "Nothing would answer `auto`: set a provider's key (`trivium login PROVIDER`) or fetch a model.",
        ),
        (
            not report["config"]["trusted"],
            f"Read {report['config']['file']}; then: trivium config trust {report['config']['file']}",
        ),
        *(
            (sign in key.get("probe", ""), f"{remedy} {key['provider']}")
            for key in report["keys"]
            for sign, remedy in _PROBED.items()
        ),
        (report["home"]["free_bytes"] < _ROOM_BYTES, f"Make room on the disk of {report['home']['path']}."),
        (report["ledger"]["trouble"] != "", f"Mend the ledger: {report['ledger']['trouble']}"),
    ]
    return [text for wrong, text in checks if wrong]


def words(report: dict[str, Any]) -> list[str]:
    """The report for people."""
    home, config, engine, plan = report["home"], report["config"], report["engine"], report["auto"]
    trusted = "" if config["trusted"] else " (not trusted: routes and defaults only)"
    ready = "ready" if engine["xllamacpp"] else "not installed"
    first = plan.endpoints[0].endpoint if plan and plan.endpoints else "nothing"
    if first.startswith("local/") and not engine["xllamacpp"]:
        first += ", which needs the local engine"
    lines = [
        f"Trivium {report['version']}, Python {report['python']}, {report['platform']}",
        f"Home           {home['path']}, {size(home['free_bytes'])} free",
        f"Configuration  {config['file'] or 'none, which is fine'}{trusted}",
        f"Environment    {', '.join(report['environment']) or 'no proxy, no CA of its own'}",
        f"Local engine   {ready}; models: {', '.join(engine['models']) or 'none'}",
        f"Ledger         {report['ledger']['trouble'] or report['ledger']['path']}",
        f"`auto` asks    {first}",
    ]
    sections: list[tuple[str, list[str]]] = [
        (
            "Keys",
            [
                ": ".join((key["provider"], f"from {key['from']}", *([key["probe"]] if "probe" in key else [])))
                for key in report["keys"]
            ],
        ),
        (
            "Servers on this machine",
            [f"{s.provider}: {s.origin} {s.state} {s.version}".rstrip() for s in report["servers"]],
        ),
        ("Where a prompt may go", [reach.line(place) for place in report["destinations"]]),
        ("Then `auto` asks", [planned.endpoint for planned in (plan.endpoints[1:] if plan else ())]),
        ("Not for `auto`", [f"{r.endpoint}: {r.detail}" for r in (plan.rejected if plan else ())]),
        ("To do", report["remedies"]),
    ]
    for title, items in sections:
        lines += ["", title, *(f"  {item}" for item in items or ["nothing"])]
    return lines


def _plan(config: Config, servers: list[Found]) -> PlanView | None:
    try:
        return plan_of(config, snapshot_of(config, servers), request_of(AUTO), Wish())
    except TriviumError:
        return None


def _free(home: Path) -> int:
    there = next(folder for folder in (home, *home.parents) if folder.exists())
    return shutil.disk_usage(there).free


def _ledger(config: Config) -> dict[str, str]:
    where = config.ledger.url or str(Paths(config.home).ledger)
    trouble = ""
    if config.ledger.url or Paths(config.home).ledger.exists():
        try:
            ledger.Store.open(where).close()
        except TriviumError as error:
            trouble = str(error)
    return {"path": where, "trouble": trouble}


def _probe(config: Config, provider: str) -> str:
    """What the provider says to its key, by a call that is free."""
    bound = config.providers[provider]
    try:
        key = key_of(config, bound)
    except TriviumError as error:
        return f"not tried: {error.message}"
    works, why = check_key(config, bound, key)
    return "accepted" if works else f"refused: {why}" if works is False else f"not tried: {why}"
