"""`trivium doctor`: what it finds, and what a probe of the keys says."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path

import msgspec
import pytest

import support
from cli_help import configured, trivium
from engines_help import gguf_bytes, write
from trivium.cli.doctor import examine, remedies, words
from trivium.cli.reach import destinations
from trivium.config.load import load
from trivium.engines.store import Store
from trivium.testing import FakeUpstream


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


def test_offline_and_without_the_engine_nobody_is_promised(tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path), "TRIVIUM_HOME": str(tmp_path / "home"), "OPENAI_API_KEY": "sk-hush"}
    Store(tmp_path / "home" / "models").add_file(write(tmp_path / "own.gguf", gguf_bytes()))
    report = examine(load(env=env, cwd=tmp_path, offline=True))
    assert [row.endpoint for row in report["auto"].endpoints] == ["local/own"]
    assert any("Trivium works offline" in row.detail for row in report["auto"].rejected)
    report["engine"]["xllamacpp"] = False
    report["remedies"] = remedies(report)
    assert "`auto` asks    local/own, which needs the local engine" in words(report)


@pytest.mark.parametrize(
    ("key", "said"), [("right", "accepted"), ("wrong", "refused: primary refuses this key (status 401).")]
)
def test_a_probe_tries_each_key_by_a_free_call(tmp_path: Path, key: str, said: str) -> None:
    with FakeUpstream(key="right") as up:
        words = ("doctor", "--json", "--config", configured(tmp_path, up, key=key, key_check="/models"))
        without = json.loads(trivium(tmp_path, *words).stdout)
        assert up.connections == 0
        done = trivium(tmp_path, *words, "--probe")
        assert [(seen.method, seen.path) for seen in up.requests] == [("GET", "/v1/models")]
    report = json.loads(done.stdout)
    assert "probe" not in without["keys"][0]
    assert (done.returncode, report["keys"][0]["probe"]) == (0, said)
    login = [text for text in report["remedies"] if "trivium login primary" in text]
    assert login == (["Give another key: trivium login primary"] if key == "wrong" else [])


def test_a_probe_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    with support.refused_port() as port:
        row = support.provider(f"http://127.0.0.1:{port}/v1", key_check="/models")
        (tmp_path / "test.toml").write_text(support.config([row, support.provider("http://127.0.0.1:9/v1", "second")]))
        done = trivium(tmp_path, "doctor", "--probe", "--config", "test.toml")
    assert done.returncode == 0, done.stderr
    (first,) = [line for line in done.stdout.splitlines() if line.startswith("  primary: from ")]
    assert f"not tried: http://127.0.0.1:{port} could not be reached" in first
    assert "  Find out what is between here and primary" in done.stdout
    assert "and second" not in done.stdout
    assert "  second: from trivium.toml: not tried: no free call that tells is known." in done.stdout.splitlines()


def test_a_ledger_of_a_newer_version_is_a_trouble_and_not_the_end(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "ledger.db")) as database:
        database.execute("PRAGMA user_version=99")
    report = examine(load(env={"HOME": str(tmp_path), "TRIVIUM_HOME": str(tmp_path)}, cwd=tmp_path))
    assert "newer Trivium" in report["ledger"]["trouble"]
