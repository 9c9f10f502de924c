"""`trivium providers`: where keys were found, what is unknown, and nothing secret."""

from __future__ import annotations

import json
from pathlib import Path

from cli_help import said_error, trivium
from trivium.cli.providers import words

KEYED = {"OPENAI_API_KEY": "sk-hush-0123456789"}


def test_a_key_is_named_by_where_it_was_found(tmp_path: Path) -> None:
    done = trivium(tmp_path, "providers", "--json", env=KEYED)
    rows = {row["provider"]: row for row in json.loads(done.stdout)["rows"]}
    assert (rows["openai"]["key"], rows["openai"]["usable"]) == ("OPENAI_API_KEY", True)
    assert (rows["anthropic"]["key"], rows["anthropic"]["usable"]) == ("not set", False)
    assert rows["ollama"]["key"] == "not needed"
    shown = trivium(tmp_path, "providers", env=KEYED).stdout
    (line,) = [line for line in shown.splitlines() if line.split()[:1] == ["openai"]]
    assert line.split()[:3] == ["openai", "direct", "OPENAI_API_KEY"]
    assert "hush" not in done.stdout + shown


def test_every_fact_is_shown_and_what_nobody_states_is_unknown(tmp_path: Path) -> None:
    facts = json.loads(trivium(tmp_path, "providers", "show", "openai", "--json", env=KEYED).stdout)
    assert (facts["key_from"], facts["trusted_origin"]) == ("OPENAI_API_KEY", False)
    assert facts["source"]
    assert "hush" not in json.dumps(facts)
    shown = trivium(tmp_path, "providers", "show", "vllm").stdout
    (line,) = [line for line in shown.splitlines() if line.split()[:1] == ["key_from"]]
    assert line.split()[1] == "unknown"


def test_an_unknown_provider_gets_the_nearest(tmp_path: Path) -> None:
    done = trivium(tmp_path, "providers", "show", "opnai", "--json")
    assert done.returncode == 2
    assert "openai" in said_error(done)["remedy"]


def test_facts_for_people() -> None:
    assert (words(None), words(""), words(True), words(0.5), words([])) == (None, None, "yes", "0.5", "none")
    assert words({"trains": None, "region": "eu"}) == "trains: unknown, region: eu"
