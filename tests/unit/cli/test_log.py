"""`trivium log` and `trivium usage` over requests that were really made: one that fell back, one that
failed, one whose price nobody knows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import support
from cli_help import said_error, trivium
from trivium.testing import FakeUpstream

PRICED = '[[models]]\nid = "second/ok"\nprice = { input = 1.0, output = 10.0 }\n'


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with three requests behind it; the upstream is gone, so that nothing can be asked again."""
    folder = tmp_path_factory.mktemp("ledger")
    with FakeUpstream() as up:
        route = {"name": "both", "targets": ["primary/503", "second/ok"], "retries": 0}
        rows = [support.provider(up), support.provider(up, "second")]
        (folder / "test.toml").write_text(support.config(rows, [route]) + PRICED)
        words = ("--config", "test.toml", "--json")
        assert trivium(folder, "ask", "-m", "both", "hush", "please", *words).returncode == 0
        assert trivium(folder, "ask", "-m", "primary/401", "hush", *words).returncode == 69
        assert trivium(folder, "ask", "-m", "primary/ok", "hush", *words).returncode == 0
    return folder


def rows(home: Path, *words: str) -> list[dict[str, Any]]:
    done = trivium(home, *words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["rows"]


def test_the_log_has_each_request_with_its_attempts_the_newest_first(home: Path) -> None:
    unpriced, failed, fell_back = rows(home, "log")
    assert (failed["requested_model"], failed["outcome"], failed["status"]) == ("primary/401", "error", 502)
    assert [(a["endpoint"], a["outcome"]) for a in fell_back["attempts"]] == [
        ("primary/503", "error"),
        ("second/ok", "ok"),
    ]
    assert fell_back["fallback"].startswith("primary")
    assert fell_back["cost_usd"] > 0
    assert unpriced["cost_usd"] is None
    assert [row["id"] for row in rows(home, "log", "-n", "1")] == [unpriced["id"]]
    assert rows(home, "log", "--since", "2100-01-01") == []


def test_people_read_one_line_a_request_and_the_attempts_of_one(home: Path) -> None:
    shown = trivium(home, "log").stdout.splitlines()
    assert shown[1].split()[:4] == ["time", "asked", "for", "answered"]
    (line,) = [line for line in shown if " both " in line]
    assert "(fallback: primary" in line
    id_ = next(row["id"] for row in rows(home, "log") if row["requested_model"] == "both")
    one = trivium(home, "log", "--id", id_)
    assert "second/ok" in one.stdout
    assert f"id {id_}, dialect python" in one.stderr
    missing = trivium(home, "log", "--id", "gen-none", "--json")
    assert (missing.returncode, said_error(missing)["kind"]) == (1, "not_found")


def test_usage_sums_by_what_is_asked_for_and_keeps_what_is_unknown(home: Path) -> None:
    assert sum(row["requests"] for row in rows(home, "usage")) == 3
    by = {row["provider"]: row for row in rows(home, "usage", "--by", "provider")}
    assert by["second"]["requests"] == 1
    assert by["second"]["cost_nanos"] > 0
    assert by["primary"]["errors"] == 1
    shown = trivium(home, "usage", "--by", "road")
    assert shown.stdout.strip().splitlines()[-1].split()[:3] == ["direct", "3", "1"]
    assert " + unknown" in shown.stdout
    assert "The cost of 1 attempts is unknown" in shown.stderr


def test_nothing_that_was_said_is_kept(home: Path) -> None:
    shown = trivium(home, "log", "--json").stdout + trivium(home, "usage").stdout
    assert "hush" not in shown
    assert not [path for path in home.rglob("*") if path.is_file() and b"hush" in path.read_bytes()]


def test_an_empty_ledger_is_said(tmp_path: Path) -> None:
    done = trivium(tmp_path, "log")
    assert (done.returncode, done.stderr) == (0, "No request has ended yet.\n")
    assert rows(tmp_path, "usage") == []
