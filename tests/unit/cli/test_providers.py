"""`trivium providers`: where keys were found, what is unknown, and nothing secret."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import support
from cli_help import configured, said_error, trivium
from trivium.cli.providers import words
from trivium.testing import FakeUpstream
from trivium.testing.conformance import LONG_ANSWER, QUESTIONS

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


def test_roads_dialects_and_what_an_address_waits_for(tmp_path: Path) -> None:
    done = trivium(tmp_path, "providers", "--json", env={"AWS_REGION": "eu-west-1", "AZURE_OPENAI_API_KEY": "k"})
    rows = {row["provider"]: row for row in json.loads(done.stdout)["rows"]}
    assert len(rows) > 60
    assert rows["anthropic"]["dialects"][0] == "anthropic_messages"
    assert (rows["azure"]["key"], rows["azure"]["needs"]) == ("AZURE_OPENAI_API_KEY", ["AZURE_OPENAI_ENDPOINT"])
    assert not rows["azure"]["usable"]
    assert rows["bedrock"]["needs"] == []
    shown = trivium(tmp_path, "providers").stdout
    (line,) = [line for line in shown.splitlines() if line.split()[:1] == ["azure"]]
    assert "not set; needs AZURE_OPENAI_ENDPOINT" in line
    asked = trivium(tmp_path, "ask", "-m", "azure/gpt-5", "hi")
    assert "no address: set AZURE_OPENAI_ENDPOINT, or its `base_url` in trivium.toml" in asked.stderr
    for words_ in (("login", "azure"), ("providers", "test", "azure", "--live")):
        done = trivium(tmp_path, *words_, "--json", stdin="some-key\n")
        assert done.returncode == 2
        assert "AZURE_OPENAI_ENDPOINT" in said_error(done)["remedy"]


def test_a_row_is_tested_without_a_key_a_cost_or_a_trace(tmp_path: Path) -> None:
    done = trivium(tmp_path, "providers", "test", "anthropic", "--json")
    assert done.returncode == 0, done.stderr
    verdicts = {row["case"]: row["verdict"] for row in json.loads(done.stdout)["rows"]}
    assert verdicts["plain"] == verdicts["tool call"] == "pass"
    assert verdicts["structured output"] == "not offered"
    assert "--live asks Anthropic itself" in done.stderr
    assert json.loads(trivium(tmp_path, "log", "--json").stdout)["rows"] == []
    shown = trivium(tmp_path, "providers", "test", "azure").stdout
    assert [line.split()[:2] for line in shown.splitlines() if line.split()[:1] == ["plain"]] == [["plain", "pass"]]


def test_nothing_is_spent_unasked(tmp_path: Path) -> None:
    done = trivium(tmp_path, "providers", "test", "openai", "--live", "--json")
    assert (done.returncode, said_error(done)["message"]) == (2, "OpenAI has no key.")
    done = trivium(tmp_path, "providers", "test", "openai", "--live", "--json", env=KEYED)
    assert done.returncode == 2
    assert "12 questions to `openai/gpt-5-nano`; the most that they can cost: $0.00" in said_error(done)["message"]
    assert said_error(done)["remedy"] == "Add --yes to spend it without a question."
    assert "--model" in said_error(trivium(tmp_path, "providers", "test", "vllm", "--live", "--json"))["remedy"]
    assert trivium(tmp_path, "providers", "test", "local").returncode == 2


def test_a_live_test_asks_the_provider_and_is_in_the_ledger(tmp_path: Path) -> None:
    with FakeUpstream(text=LONG_ANSWER, key="test-key") as up:
        file = configured(tmp_path, up)
        words_ = ("providers", "test", "primary", "--config", file, "--live", "--yes", "--model", "tools2")
        done = trivium(tmp_path, *words_, "--json")
        rows = {row["case"]: row for row in json.loads(done.stdout)["rows"]}
        assert {name for name, row in rows.items() if row["verdict"] == "fail"} == {"unknown model"}
        assert done.returncode == 1
        asked = up.count()
        assert asked == QUESTIONS
    log = json.loads(trivium(tmp_path, "log", "--config", file, "--json").stdout)["rows"]
    assert len(log) == asked
    assert "test-key" not in done.stdout + done.stderr


def test_a_token_command_is_a_key_that_shows_no_more_than_its_program(tmp_path: Path) -> None:
    with FakeUpstream(text=LONG_ANSWER, key="tok-0123456789") as up:
        script = tmp_path / "say.py"
        script.write_text("print('tok-0123456789')")
        file = tmp_path / "test.toml"
        command = [sys.executable, str(script), "--hush"]
        row = {"id": "cloud", "base_url": up.base_url, "token_command": command}
        file.write_text(support.config([row]))
        asked = trivium(tmp_path, "ask", "-m", "cloud/ok", "hi", "--config", str(file))
        assert asked.returncode == 0, asked.stderr
        rows = json.loads(trivium(tmp_path, "providers", "--config", str(file), "--json").stdout)["rows"]
        (cloud,) = [row for row in rows if row["provider"] == "cloud"]
        assert (cloud["key"], cloud["usable"]) == ("token_command", True)
        assert "cloud/ok" in trivium(tmp_path, "models", "refresh", "cloud", "--config", str(file)).stdout
        shown = trivium(tmp_path, "config", "--config", str(file)).stdout
    assert json.loads(shown)["providers"]["cloud"]["token"]["argv"] == [sys.executable, "hidden", "hidden"]
    assert "tok-0123456789" not in asked.stdout + asked.stderr + shown
    assert "hush" not in shown
