from __future__ import annotations

from pathlib import Path

import pytest

from engines_help import METADATA, gguf_bytes, sha256, write
from trivium.config.schema import Engine
from trivium.engines.prepare import model_of, prepare
from trivium.engines.store import Store
from trivium.errors import EngineUnavailable

DATA = gguf_bytes()
SOURCE = f"hf:o/r@{'c' * 40}/d/m.gguf"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "models")
    made.add("m", f"sha256:{sha256(DATA)}", source=SOURCE, link=write(tmp_path / "m.gguf", DATA))
    return made


@pytest.mark.parametrize("model", ["m", SOURCE, "hf:o/r/d/m.gguf"])
def test_a_model_is_found_by_its_name_and_by_what_it_was_fetched_by(store: Store, model: str) -> None:
    found = model_of(store, Engine(id="e", model=model))
    assert found is not None
    assert found.name == "m"


@pytest.mark.parametrize("model", ["n", "hf:o/r/m.gguf", f"hf:o/r@{'d' * 40}/d/m.gguf", "../m", "/nowhere.gguf"])
def test_another_model_is_not(store: Store, model: str) -> None:
    assert model_of(store, Engine(id="e", model=model)) is None


def test_threads_of_other_engines_count(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trivium.engines.hardware.cores", lambda: 8)

    def threads(spec: Engine, in_use: int, *, safe: bool = False) -> int:
        plan = prepare(store, spec, threads_in_use=in_use, safe=safe)
        assert plan is not None
        return plan.threads

    automatic, fixed = Engine(id="e", model="m"), Engine(id="e", model="m", threads=3)
    assert [threads(automatic, 0), threads(automatic, 5), threads(automatic, 9)] == [7, 2, 1]
    assert threads(fixed, 9) == 3
    assert threads(Engine(id="e", model="m", threads="all"), 9) == 8
    assert threads(automatic, 0, safe=True) == 1


def test_without_the_wheel_it_says_how_to_install_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(EngineUnavailable) as caught:
        prepare(store, Engine(id="e", model="m"), threads_in_use=0, safe=False)
    assert "pip install 'trivium[local]'" in caught.value.remedy


def test_what_a_model_is_for_is_in_its_file(store: Store, tmp_path: Path) -> None:
    for name, pooling, operation in (("talks", 0, "chat"), ("near", 3, "embed"), ("ranks", 4, "rerank")):
        data = gguf_bytes(METADATA | {"llama.pooling_type": pooling})
        store.add(name, f"sha256:{sha256(data)}", link=write(tmp_path / f"{name}.gguf", data))
        plan = prepare(store, Engine(id="e", model=name), threads_in_use=0, safe=False)
        assert plan is not None
        assert plan.operation == operation
