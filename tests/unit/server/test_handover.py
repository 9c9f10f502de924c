"""The handover: what was checked arrives whole, or what was there before stays."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

from trivium.config.load import load
from trivium.config.schema import Config
from trivium.errors import ConfigError
from trivium.server.handover import get, nameless, put
from trivium.transport.platform import PORTABLE

pytestmark = pytest.mark.skipif(PORTABLE, reason="POSIX only: several worker processes")

FILE = """
[server]
workers = 2
hosts = ["gateway.test"]
drain = "1.5s"
[[providers]]
id = "own"
base_url = "http://127.0.0.1:9/v1"
api_key = "${OWN_KEY}"
headers = { x-team = "a" }
data = { trains = false, retains_days = 0 }
timeouts = { connect = "2s" }
[[engines]]
id = "small"
model = "tiny"
idle_unload = "never"
options = { n = 1, f = 1.0, b = true, s = "x" }
[[routes]]
name = "fast"
targets = ["own/m", "local/tiny"]
data_class = "zero_retention"
breaker = { failures = 2 }
[[keys]]
name = "anna"
key = "tv-0123456789abcdef"
expires = 2030-01-01
tags = ["t"]
[[models]]
id = "own/m"
price = { input = 1.0, output = 2.5 }
capabilities = ["tools"]
[aliases]
quick = "own/m"
[policy]
data_class = "no_training"
[defaults]
budget = "2 USD / day"
[local]
watts = 40
"""


def shown(config: Config) -> Any:
    """All of it, credentials and kinds of values included."""
    kinds = {float: "float", int: "int", bool: "bool", str: "str"}
    options = {id_: [kinds[type(value)] for value in one.options.values()] for id_, one in config.engines.items()}
    credentials = {id_: one.credential and one.credential.reveal() for id_, one in config.providers.items()}
    return msgspec.to_builtins(config, enc_hook=str), options, credentials


def written(folder: Path) -> Config:
    file = folder / "trivium.toml"
    file.write_text(FILE)
    env = {"OWN_KEY": "sk-own", "OPENAI_API_KEY": "sk-of-the-environment"}
    home = folder / os.fsdecode(b"h\xf6me")  # no UTF-8
    return load(file=str(file), env=env, cwd=folder, home=home)


def test_all_of_a_configuration_arrives(tmp_path: Path) -> None:
    config, fd = written(tmp_path), nameless()
    put(fd, config)
    found = get(fd)
    assert shown(found) == shown(config)
    assert shown(found)[2]["own"] == "sk-own"
    assert (found.home, found.file, type(found.keys[0])) == (config.home, config.file, type(config.keys[0]))


def test_the_newest_counts_whatever_its_length() -> None:
    fd = nameless()
    for length in (0, 9, 5, 1000, 3, 2000, 2000, 1):
        put(fd, Config(home=Path("/h"), notes=("x" * length,)))
        assert get(fd).notes == ("x" * length,)
    assert os.fstat(fd).st_size < 3 * 2200


@pytest.mark.parametrize("bad", [{"notes": ("\udc80",)}, {"defaults": {"budget_nanos_day": 1 << 70}}])
def test_what_cannot_be_handed_over_is_refused_and_the_old_one_stays(bad: dict[str, Any]) -> None:
    fd = nameless()
    put(fd, Config(home=Path("/old")))
    with pytest.raises(ConfigError, match="cannot be handed"):
        put(fd, Config(home=Path("/new"), **bad))
    assert get(fd).home == Path("/old")


def test_a_full_memory_leaves_the_old_one(monkeypatch: pytest.MonkeyPatch) -> None:
    fd = nameless()
    put(fd, Config(home=Path("/old")))
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda to, data, at: write(to, data[:20], at))  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
    with pytest.raises(ConfigError, match="no space left"):
        put(fd, Config(home=Path("/new")))
    monkeypatch.undo()
    assert get(fd).home == Path("/old")
    put(fd, Config(home=Path("/newer")))
    assert get(fd).home == Path("/newer")


def test_nobody_reads_half_a_configuration() -> None:
    """While one is put in place of another, again and again, readers find one of them."""
    fd, stopping = nameless(), threading.Event()
    both = [Config(home=Path(f"/{n}"), notes=(str(n) * 20_000 * n,)) for n in (1, 2)]
    put(fd, both[0])

    def write() -> None:
        while not stopping.is_set():
            for one in both:
                put(fd, one)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(300):
            found = get(fd)
            assert found in both
    finally:
        stopping.set()
        thread.join()
