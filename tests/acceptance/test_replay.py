"""Traffic that was really served, replayed: through its own configuration, and through others."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import openai
import pytest

from cli_help import said_error, trivium
from support import config, provider, serve
from trivium.testing import FakeUpstream

REQUESTS = 12
TOOLS: Any = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}]
ROUTES = [
    {"name": "failing", "targets": ["first/503", "second/ok"], "breaker": {"failures": 2}},
    {"name": "cheapest", "targets": ["first/ok", "second/ok"], "strategy": "cheapest"},
    {"name": "drawn", "targets": ["first/late-60", "second/late-120"], "strategy": "balanced"},
    {"name": "weighed", "targets": ["first/ok", "second/ok"], "weight": {'"first/ok"': 2, '"second/ok"': 1}},
]
DEAR_FIRST = [ROUTES[0], {"name": "cheapest", "targets": ["first/ok"]}, *ROUTES[2:]]
UNSEEN = [*ROUTES[:1], {"name": "cheapest", "targets": ["third/ok", "second/ok"]}, *ROUTES[2:]]
PRICED = {"first/ok": 2, "second/ok": 1, "first/late-60": 1, "second/late-120": 1}
PRICES = "".join(
    f'[[models]]\nid = "{name}"\nprice = {{ input = {usd}.0, output = {usd}0.0 }}\ncapabilities = ["tools"]\n'
    for name, usd in PRICED.items()
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Generator[Path]:
    folder = tmp_path_factory.mktemp("replay")
    with FakeUpstream() as up:
        texts = {
            name: config([provider(up, one) for one in ("first", "second", "third")], routes) + PRICES
            for name, routes in {"was": ROUTES, "dear": DEAR_FIRST, "unseen": UNSEEN}.items()
        }
        for name, text in texts.items():
            (folder / f"{name}.toml").write_text(text)
        with serve(texts["was"], home=folder) as served, _client(served.base_url) as client:
            for number in range(REQUESTS):
                for route in ROUTES:
                    _ask(client, str(route["name"]), number)
            with contextlib.suppress(openai.NotFoundError):
                _ask(client, "nowhere", 0)
        yield folder


def _client(base_url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=base_url, api_key="any", max_retries=0, timeout=30)


def _ask(client: openai.OpenAI, model: str, number: int) -> None:
    message: Any = {"role": "user", "content": "What is the capital of France? " * (number + 1)}
    more: dict[str, Any] = {"tools": TOOLS} if number % 3 == 0 else {}
    if number % 2:
        with client.chat.completions.create(model=model, messages=[message], stream=True, **more) as stream:
            list(stream)
    else:
        client.chat.completions.create(model=model, messages=[message], max_tokens=50 + number, **more)


def replayed(home: Path, *words: str) -> dict[str, Any]:
    done = trivium(home, "replay", "--was", "was.toml", "--json", *words)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def figure(said: dict[str, Any], name: str, kind: str) -> dict[str, Any]:
    (found,) = [row for row in said["rows"] if (row["figure"], row["kind"]) == (name, kind)]
    return found


def test_the_same_configuration_makes_the_same_choices(home: Path) -> None:
    said = replayed(home)
    count = REQUESTS * len(ROUTES) + 1
    assert said["self_test"] == {"requests": count, "reproduced": count, "differing": []}
    assert (said["requests"], said["partly_known"], said["left_out"], said["moves"]) == (count, 0, 0, [])
    assert all(row["before"] == row["after"] for row in said["rows"])
    assert {row["kind"] for row in said["rows"]} == {"exact"}


def test_a_dearer_first_choice_costs_what_its_price_says(home: Path) -> None:
    said = replayed(home, "--config", "dear.toml")
    assert said["self_test"]["reproduced"] == said["self_test"]["requests"]
    assert said["moves"] == [{"before": "second/ok", "after": "first/ok", "requests": REQUESTS}]
    log = json.loads(trivium(home, "log", "-n", "1000", "--json").stdout)["rows"]
    moved = sum(row["cost_nanos"] for row in log if row["requested_model"] == "cheapest")
    cost = figure(said, "cost USD", "exact")
    assert cost["after"] - cost["before"] == pytest.approx(moved / 1e9)  # twice the price for the same tokens
    assert figure(said, "duration ms p50", "modelled")["requests"] == REQUESTS
    assert figure(said, "errors", "modelled") == {
        "figure": "errors", "kind": "modelled", "requests": REQUESTS, "before": 0, "after": 0
    }  # fmt: skip


def test_of_whom_nobody_asked_nothing_is_known(home: Path) -> None:
    said = replayed(home, "--config", "unseen.toml")
    moves = {(move["before"], move["after"]): move["requests"] for move in said["moves"]}
    assert moves == {("second/ok", "third/ok"): REQUESTS}
    assert figure(said, "errors and times", "unknown")["requests"] == REQUESTS
    assert figure(said, "cost USD", "unknown")["after"] is None  # it has no price
    assert not [row for row in said["rows"] if row["kind"] == "modelled"]


def test_people_read_the_self_test_and_what_moves(home: Path) -> None:
    shown = trivium(home, "replay", "--was", "was.toml", "--config", "dear.toml").stdout
    count = REQUESTS * len(ROUTES) + 1
    assert shown.startswith(f"self-test: {count} of {count} requests ask the same endpoints again")
    assert "second/ok" in shown.partition("first asked before")[2]


def test_another_ledger_is_read_and_a_missing_one_is_told(home: Path, tmp_path: Path) -> None:
    said = replayed(home)
    words = ("replay", "--json", "--from", str(home / "ledger.db"), "--was", str(home / "was.toml"))
    assert json.loads(trivium(tmp_path, *words).stdout) == said
    missing = trivium(tmp_path, "replay", "--json", "--from", "nowhere.db")
    assert (missing.returncode, said_error(missing)["kind"]) == (2, "usage")
    assert not (tmp_path / "nowhere.db").exists()
