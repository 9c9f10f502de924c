"""`trivium advise`: the roads that are open here, and what this home has measured."""

from __future__ import annotations

import json
from pathlib import Path

from cli_help import trivium
from trivium.cli.advise import endpoints, measured
from trivium.config.load import load
from trivium.ledger.query import Throughput


def throughput(road: str, ttft_ms: float, tokens_per_s: float | None) -> Throughput:
    return Throughput(endpoint=f"{road}/m", road=road, samples=2, ttft_ms=ttft_ms, tokens_per_s=tokens_per_s)


def test_a_key_opens_a_road_with_its_default_model(tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path), "TRIVIUM_HOME": str(tmp_path), "OPENAI_API_KEY": "sk-hush"}
    open_ = endpoints(load(env=env, cwd=tmp_path))
    assert [endpoint.id.partition("/")[0] for endpoint in open_["direct"]] == ["openai"]
    assert (open_["routed"], open_["local"]) == ((), ())


def test_a_road_is_measured_over_all_its_endpoints() -> None:
    found = measured([throughput("direct", 100, None), throughput("direct", 300, 40), throughput("local", 9, None)])
    assert (found["direct"].requests, found["direct"].ttft_ms_p50, found["direct"].tokens_per_s) == (4, 200, 40)
    assert found["local"].tokens_per_s is None
    assert found["routed"].requests == 0


def test_people_see_a_table_and_how_it_was_made(tmp_path: Path) -> None:
    done = trivium(tmp_path, "advise", env={"OPENAI_API_KEY": "sk-hush"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[:4] == ["factor", "direct", "routed", "local"]
    assert "no local model yet" in done.stdout
    assert "three tokens in for one out" in done.stderr
    said = trivium(tmp_path, "advise", "--json", env={"OPENAI_API_KEY": "sk-hush"})
    assert json.loads(said.stdout)["rows"][0]["direct"]["kind"] == "modelled"
    assert said.stderr == ""
