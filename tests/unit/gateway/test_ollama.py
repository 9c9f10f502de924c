"""What a key may load, unload and see of the engines, by the rules of a plan."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from trivium.config import shipped
from trivium.config.load import load
from trivium.dialects import get
from trivium.errors import InvalidRequest
from trivium.gateway import ollama
from trivium.gateway.snapshot import Snapshot
from trivium.policy.key import Key

TEXT = '[[engines]]\nid = "tiny"\nmodel = "smollm2-135m"\n[aliases]\nsmall = "local/tiny"\n'
BARRED = Key(name="n", digest="d", roads=("direct",))
NARROW = Key(name="n", digest="d", models=("oai/ok",))


class Owner:
    """Writes down what it is asked; what it knows of the engine is `state`."""

    def __init__(self, state: str = "ready") -> None:
        self.state = state
        self.asked: list[str] = []
        self.meanwhile: Any = lambda: None

    async def ensure(self, engine: str, spec: object) -> None:
        self.asked.append(f"ensure {engine}")

    async def call(self, what: str, **more: Any) -> Any:
        self.asked.append(what)
        self.meanwhile()
        return [{"id": "tiny", "state": self.state}, {"id": "gone", "state": "ready"}] if what == "engines" else None


def runtime(tmp_path: Path, owner: Owner) -> Any:
    file = tmp_path / "trivium.toml"
    file.write_text(TEXT)
    config = load(file=str(file), env={}, cwd=tmp_path, home=tmp_path / "home")
    return SimpleNamespace(snapshot=Snapshot(config, shipped.catalog()), owner=owner, exchanges=list[Any]())


def asked(model: str, **more: Any) -> ollama.Loading:
    return ollama.Loading(model=model, messages=[], **more)


@pytest.mark.parametrize("model", ["local/tiny", "small"])
@pytest.mark.parametrize("keep_alive", [None, 0, ""])
def test_a_key_barred_from_the_local_road_loads_and_unloads_nothing(
    tmp_path: Path, model: str, keep_alive: float | str | None
) -> None:
    owner = Owner()
    world = runtime(tmp_path, owner)
    with pytest.raises(InvalidRequest):
        asyncio.run(ollama.load(world, BARRED, get("ollama"), asked(model, keep_alive=keep_alive)))
    assert owner.asked == []
    asyncio.run(ollama.load(world, None, get("ollama"), asked(model, keep_alive=keep_alive)))
    assert owner.asked == (["ensure tiny"] if keep_alive is None else ["engines", "stop_engine"])


@pytest.mark.parametrize(
    ("key", "names"),
    [
        (None, ["local/tiny", "local/gone"]),
        (BARRED, []),
        (NARROW, []),
        (Key(name="n", digest="d", models=("local/tiny",)), ["local/tiny"]),
        (Key(name="n", digest="d"), ["local/tiny"]),
    ],
)
def test_a_key_sees_the_engines_that_it_may_ask(tmp_path: Path, key: Key | None, names: list[str]) -> None:
    told = asyncio.run(ollama.running(runtime(tmp_path, Owner()), key))
    assert [model["name"] for model in told["models"]] == names


@pytest.mark.parametrize("state", ["ready", "busy"])
def test_an_engine_that_is_asked_meanwhile_is_not_unloaded(tmp_path: Path, state: str) -> None:
    owner = Owner(state)
    world = runtime(tmp_path, owner)
    leg = SimpleNamespace(endpoint=SimpleNamespace(engine="tiny"))
    owner.meanwhile = lambda: world.exchanges.append(SimpleNamespace(leg=leg)) if state == "ready" else None
    asyncio.run(ollama.load(world, None, get("ollama"), asked("local/tiny", keep_alive=0)))
    assert owner.asked == ["engines"]
