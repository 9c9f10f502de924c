from __future__ import annotations

import json
import sys
import time
from io import StringIO
from pathlib import Path

import msgspec
import pytest

from engines_help import METADATA, gguf_bytes
from trivium.catalog.rows import Price
from trivium.cli.main import main
from trivium.cli.models import price_words
from trivium.config import private, shipped
from trivium.config.home import Paths
from trivium.routing.statistics import fresh


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRIVIUM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    monkeypatch.delenv("TRIVIUM_CONFIG", raising=False)
    return tmp_path / "home"


def code_of(*words: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(list(words))
    return int(stopped.value.code or 0)


def rows_of(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, object]]:
    capsys.readouterr()
    assert code_of(*words, "--json") == 0
    return json.loads(capsys.readouterr().out)["rows"]


def test_a_file_is_pulled_listed_and_removed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "Own.gguf"
    file.write_bytes(gguf_bytes())
    assert code_of("models", "pull", str(file), "--yes") == 0
    said = capsys.readouterr().err
    assert "Licence  unknown" in said
    assert "own" in said
    assert "local/own" in [row["model"] for row in rows_of(capsys, "models")]
    assert code_of("models", "rm", "own") == 0
    assert "`own` is removed; its file has another name or place, so no room is freed.\n" in capsys.readouterr().out
    assert "local/own" not in [row["model"] for row in rows_of(capsys, "models")]
    assert file.exists()


def test_what_a_model_is_for_is_said_when_it_came(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, pooling, words in (
        ("talks", 0, "trivium ask"),
        ("near", 1, "/v1/embeddings"),
        ("ranks", 4, "/v1/rerank"),
    ):
        (tmp_path / f"{name}.gguf").write_bytes(gguf_bytes(METADATA | {"llama.pooling_type": pooling}))
        assert code_of("models", "pull", str(tmp_path / f"{name}.gguf"), "--yes") == 0
        said = capsys.readouterr().out
        assert f"local/{name}" in said
        assert words in said
    assert code_of("explain", "local/near") == 0
    assert "it does not chat" in capsys.readouterr().out


def test_nothing_is_fetched_unasked_where_nobody_can_be_asked(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", StringIO())
    assert code_of("models", "pull", "smollm2-135m") == 2
    said = capsys.readouterr().err
    assert "Apache-2.0" in said
    assert "demo model" in said
    assert "--yes" in said
    assert not (home / "models" / "blobs").exists()


def test_what_could_be_pulled_says_that_it_is_a_demo_model(capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = [row for row in rows_of(capsys, "models") if row["model"] == "local/smollm2-135m"]
    assert "demo model" in str(row["note"])
    assert row["where"] == "can be pulled"


def test_a_price_that_is_unknown_is_not_free() -> None:
    assert price_words(None) == "unknown"
    assert price_words(Price(input=0, output=0)) == "$0 / $0"


@pytest.mark.parametrize("data", [b"", b"only text", gguf_bytes()[:-10]])
def test_a_file_that_is_no_whole_model_is_a_usage_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], data: bytes
) -> None:
    (tmp_path / "text.gguf").write_bytes(data)
    assert code_of("models", "pull", "./text.gguf", "--yes") == 2
    said = capsys.readouterr().err
    assert "`./text.gguf` cannot be used: " in said
    assert "Name a whole .gguf file." in said
    assert code_of("models", "pull", "./text.gguf", "--yes", "--json") == 2
    assert json.loads(capsys.readouterr().err.splitlines()[-1])["error"]["kind"] == "usage"


def test_what_the_configuration_says_of_a_model_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "own.toml").write_text(
        '[[providers]]\nid = "lab"\nbase_url = "http://127.0.0.1:9/v1"\n'
        '[[models]]\nid = "lab/new"\ncontext = 7777\nprice = {input = 2, output = 4}\n'
        '[[models]]\nid = "openai/gpt-5-mini"\ncontext = 8888\nprice = {input = 3, output = 5}\n'
    )
    own = ("--config", "own.toml")
    (row,) = rows_of(capsys, "models", "--provider", "lab", *own)
    assert (row["model"], row["context"]) == ("lab/new", 7777)
    assert row["price"] == {"input": 2_000_000_000, "output": 4_000_000_000, "version": str(tmp_path / "own.toml")}
    assert str(row["price_unit"]).startswith("nano-USD per 1M tokens")
    for model, context, price in (("lab/new", 7777, "$2 / $4"), ("openai/gpt-5-mini", 8888, "$3 / $5")):
        assert code_of("models", "show", model, *own) == 0
        said = capsys.readouterr().out
        assert str(context) in said
        assert price in said


def test_price_and_performance_of_a_models_endpoints_stand_side_by_side(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = next(row for row in shipped.catalog().models.values() if len({*row.spellings} - {"local"}) > 1)
    provider, spelling = next(pair for pair in model.spellings.items() if pair[0] != "local")
    known, now = fresh(time.time(), local=False), time.time()
    for _ in range(20):
        known.send(now)
        known.answer(now, 0, 0.5, 0.01)
    private.write(Paths(home).statistics, msgspec.json.encode({f"{provider}/{spelling}": known}))
    assert code_of("models", "show", model.id, "--json") == 0
    places = {row["provider"]: row for row in json.loads(capsys.readouterr().out)["providers"]}
    measured = places[provider]["performance"]
    assert measured["latency_s"]["50"] == pytest.approx(0.5, rel=0.1)
    assert measured["throughput"]["50"] == pytest.approx(100, rel=0.1)
    assert (measured["attempts"], measured["success"], measured["uptime_1d"]) == (20, 1.0, 1.0)
    assert all(row["performance"] is None for name, row in places.items() if name != provider)
    assert code_of("models", "show", model.id) == 0
    shown = capsys.readouterr().out
    assert "100.0%" in shown
    assert "not measured" in shown
