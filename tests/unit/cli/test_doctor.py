from __future__ import annotations

from pathlib import Path

import msgspec

from trivium.cli.doctor import examine, remedies, words
from trivium.cli.reach import destinations
from trivium.config.load import load


def test_an_empty_home_gets_its_remedies(tmp_path: Path) -> None:
    config = load(env={"HOME": str(tmp_path), "TRIVIUM_HOME": str(tmp_path / "home")}, cwd=tmp_path)
    report = examine(config)
    report["remedies"] = remedies(report)
    assert any("models pull" in text for text in report["remedies"])
    assert "Where a prompt may go" in words(report)


def test_a_key_is_named_by_its_source_and_opens_one_destination(tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path), "TRIVIUM_HOME": str(tmp_path / "home"), "OPENAI_API_KEY": "sk-hush"}
    config = load(env=env, cwd=tmp_path)
    report = examine(config)
    assert report["keys"] == [{"provider": "openai", "from": "OPENAI_API_KEY"}]
    assert b"sk-hush" not in msgspec.json.encode(report)
    assert "openai" in [place.provider for place in destinations(config)]
    offline = load(env=env, cwd=tmp_path, offline=True)
    assert "openai" not in [place.provider for place in destinations(offline)]
