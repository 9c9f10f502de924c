"""`trivium engines`: what could run, what runs, and stopping it under a running server with the real demo model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import support
from cli_help import said_error, trivium
from processes_help import MANY, engines

MODEL = "smollm2-135m"


def row_of(home: Path, *words: str) -> dict[str, Any]:
    done = trivium(home, "engines", "list", "--json", *words)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["rows"]
    return row


def test_what_could_run_is_listed_as_stopped(tmp_path: Path) -> None:
    (tmp_path / "test.toml").write_text('[[engines]]\nid = "tiny"\nmodel = "own"\n')
    row = row_of(tmp_path, "--config", "test.toml")
    assert (row["id"], row["model"], row["state"], "pid" in row) == ("tiny", "own", "stopped", False)
    shown = trivium(tmp_path, "engines", "--config", "test.toml").stdout.strip().splitlines()
    assert shown[-1].split() == ["tiny", "own", "stopped", "-", "-", "-"]


def test_where_nobody_owns_the_home_there_is_nothing_to_stop(tmp_path: Path) -> None:
    done = trivium(tmp_path, "engines", "stop", "tiny", "--json")
    assert (done.returncode, said_error(done)["kind"]) == (69, "engine_unavailable")


@MANY
def test_an_engine_is_stopped_and_started_again_by_the_next_request(own_model_home: Path) -> None:
    with support.serve("", home=own_model_home) as served:
        assert support.ask_raw(served.port, "openai_chat", f"local/{MODEL}", max_tokens=2, quiet_s=60).status == 200
        running = row_of(own_model_home)
        assert {running["pid"]} == engines(served)
        unknown = trivium(own_model_home, "engines", "stop", "nobody", "--json")
        assert (unknown.returncode, said_error(unknown)["kind"]) == (1, "not_found")
        done = trivium(own_model_home, "engines", "stop", MODEL, "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == {"engine": MODEL, "stopped": True}
        assert engines(served) == set()
        assert row_of(own_model_home)["state"] == "stopped"
        assert support.ask_raw(served.port, "openai_chat", f"local/{MODEL}", max_tokens=2, quiet_s=60).status == 200
        assert row_of(own_model_home)["pid"] != running["pid"]
        assert trivium(own_model_home, "engines", "stop", MODEL).stdout == f"`{MODEL}` is stopped.\n"
