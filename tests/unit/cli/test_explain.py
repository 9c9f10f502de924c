"""`trivium explain` and `trivium routes`: the plan of a name, a file, a pipe; nobody is asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import support
from cli_help import configured, trivium
from engines_help import gguf_bytes
from trivium.cli.explain import request_of
from trivium.errors import InvalidRequest, UsageError
from trivium.testing import FakeUpstream

ROUTE = {"name": "both", "targets": ["primary/x", "local/smollm2-135m"]}


def plan(home: Path, file: str, *words: str, stdin: str | None = None) -> dict[str, Any]:
    done = trivium(home, "explain", *words, "--json", "--config", file, stdin=stdin)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_plan_has_its_order_and_its_reasons_and_sends_nothing(tmp_path: Path) -> None:
    with FakeUpstream() as up:
        file = configured(tmp_path, up, ROUTE)
        said = plan(tmp_path, file, "both")
        private = plan(tmp_path, file, "both", "--data-class", "premises")
        shown = trivium(tmp_path, "explain", "both", "--config", file).stdout
        listed = trivium(tmp_path, "routes", "--config", file).stdout
        assert up.connections == 0
    assert [row["endpoint"] for row in said["endpoints"]] == ["primary/x"]
    assert [(row["endpoint"], row["reason"]) for row in said["rejected"]] == [("local/smollm2-135m", "not_pulled")]
    assert private["endpoints"] == []
    assert {row["reason"] for row in private["rejected"]} == {"data_class", "not_pulled"}
    assert [line.split()[:2] for line in shown.splitlines() if line.split()[:1] == ["1"]] == [["1", "primary/x"]]
    assert "primary/x, local/smollm2-135m" in listed


def test_a_file_named_by_path_does_not_change_what_auto_asks(tmp_path: Path) -> None:
    (tmp_path / "kept.gguf").write_bytes(gguf_bytes())
    assert trivium(tmp_path, "models", "pull", "kept.gguf", "--yes").returncode == 0
    (tmp_path / "a.gguf").write_bytes(gguf_bytes(rows=32))
    trivium(tmp_path, "ask", "-m", "./a.gguf", "hi")
    (tmp_path / "empty.toml").write_text("")
    said = plan(tmp_path, "empty.toml", "auto")
    assert [row["endpoint"] for row in said["endpoints"]] == ["local/kept"]
    assert plan(tmp_path, "empty.toml", "local/a")["endpoints"]


def test_offline_a_provider_elsewhere_is_not_asked(tmp_path: Path) -> None:
    said = plan(tmp_path, configured(tmp_path, "https://provider.example/v1"), "primary/x", "--offline")
    assert said["endpoints"] == []
    assert "Trivium works offline" in said["rejected"][0]["detail"]


def test_a_body_comes_from_a_file_or_a_pipe(tmp_path: Path) -> None:
    body = json.dumps(support.body("primary/x"))
    (tmp_path / "body.json").write_text(body)
    with FakeUpstream() as up:
        file = configured(tmp_path, up)
        assert plan(tmp_path, file, "body.json") == plan(tmp_path, file, "-", stdin=body)
        assert up.connections == 0


def test_what_is_no_request_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(InvalidRequest):
        request_of(str(tmp_path / "bad.json"))
    with pytest.raises(UsageError):
        request_of(str(tmp_path / "missing.json"))


def test_a_body_has_a_bound(tmp_path: Path) -> None:
    with (tmp_path / "huge.json").open("wb") as file:
        file.truncate((32 << 20) + 1)
    with pytest.raises(UsageError, match="at most"):
        request_of(str(tmp_path / "huge.json"))


def test_a_past_request_is_told_with_its_attempts_and_planned_anew(tmp_path: Path) -> None:
    with FakeUpstream() as up:
        file = configured(tmp_path, up, {"name": "both", "targets": ["primary/529", "primary/ok"]})
        asked = trivium(tmp_path, "ask", "-m", "both", "Hello", "--json", "--config", file)
        id_ = json.loads(asked.stdout)["id"]
        said = json.loads(trivium(tmp_path, "explain", id_, "--json", "--config", file).stdout)
        shown = trivium(tmp_path, "explain", id_, "--config", file).stdout
        nobody = trivium(tmp_path, "explain", "gen-nobody", "--config", file)
    assert [one["endpoint"] for one in said["request"]["attempts"]] == ["primary/529", "primary/ok"]
    assert [one["endpoint"] for one in said["plan"]["endpoints"]] == ["primary/529", "primary/ok"]
    answered = said["plan"]["endpoints"][1]
    assert answered["expected_ttft_ms"] is None or answered["expected_ttft_ms"] > 0
    assert answered["expected_ms"] > 0
    assert "primary/ok answered" in shown
    assert "planned so:" in shown
    assert nobody.returncode == 1
    assert "trivium log" in nobody.stderr
