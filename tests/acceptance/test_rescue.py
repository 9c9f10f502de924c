"""Rescue as unmodified clients meet it: one whole answer from `trivium serve`, for every cut point."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import anthropic
import openai
import pytest

import cli_help
import support
from support import config, provider, serve
from trivium.testing import FakeUpstream
from trivium.testing.answers import words

POINTS = range(65)
TEXT = words(70)
ASK: list[Any] = [{"role": "user", "content": "Hello"}]
RESCUE_S = 0.05
"""What a rescue may take more than its target takes to its first token; a test fails at five times that."""


class World(NamedTuple):
    served: support.Served
    up: FakeUpstream


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with FakeUpstream(time_scale=20, text=TEXT) as up:
        rows = [
            provider(up, "oai"),
            provider(up, "ant", dialect="anthropic_messages"),
            provider(up, "next", capabilities=["prefill"]),
        ]
        routes: list[dict[str, Any]] = []
        for point in POINTS:
            for name in ("oai", "ant"):
                targets = [f"{name}/cut-after-{point}", "next/ok"]
                route = {"name": f"{name}-{point}", "targets": targets, "rescue_other_model": True}
                routes.append({**route, "rescue": "continue", "breaker": {"failures": 1_000_000}})
        held = {"rescue": "hold", "hold": "complete"}
        routes.append({"name": "held", "targets": ["oai/cut-after-20", "next/ok"], **held})
        with serve(config(rows, routes, timeouts=dict.fromkeys(support.TIMEOUTS, 600.0))) as served:
            yield World(served, up)


@pytest.mark.parametrize("name", ["oai", "ant"], ids=["passed", "translated"])
def test_openais_client_sees_one_whole_answer(world: World, name: str) -> None:
    with openai.OpenAI(base_url=world.served.base_url, api_key="any", max_retries=0, timeout=30) as client:
        for point in POINTS:
            chunks = list(
                client.chat.completions.create(
                    model=f"{name}-{point}", messages=ASK, stream=True, stream_options={"include_usage": True}
                )
            )
            said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
            assert said == TEXT, point
            assert [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason] == ["stop"]
            assert len({chunk.id for chunk in chunks}) == 1
            assert chunks[-1].usage is not None
            told: Any = getattr(chunks[-1], "trivium", None)
            assert (told is None) == (point == 0)


@pytest.mark.parametrize("name", ["ant", "oai"], ids=["passed", "translated"])
def test_anthropics_client_sees_one_whole_answer(world: World, name: str) -> None:
    with anthropic.Anthropic(base_url=world.served.origin, api_key="any", max_retries=0, timeout=30) as client:
        for point in POINTS:
            with client.messages.stream(model=f"{name}-{point}", messages=ASK, max_tokens=1000) as stream:
                said = "".join(stream.text_stream)
                message = stream.get_final_message()
            assert said == TEXT, point
            assert [block.text for block in message.content if block.type == "text"] == [TEXT]
            assert message.stop_reason == "end_turn"


def test_a_held_answer_names_who_gave_it_in_its_head(world: World) -> None:
    with openai.OpenAI(base_url=world.served.base_url, api_key="any", max_retries=0, timeout=30) as client:
        raw = client.chat.completions.with_raw_response.create(model="held", messages=ASK, stream=True)
        said = "".join(chunk.choices[0].delta.content or "" for chunk in raw.parse())
    assert said == TEXT
    assert raw.headers["x-trivium-fallback"] == "oai broke off"
    assert raw.headers["x-trivium-endpoint"] == "next/ok"


def test_the_log_shows_both_attempts_and_the_seam(world: World) -> None:
    with openai.OpenAI(base_url=world.served.base_url, api_key="any", max_retries=0, timeout=30) as client:
        list(client.chat.completions.create(model="oai-7", messages=ASK, stream=True))
    done = cli_help.trivium(
        world.served.home, "log", "--json", "--limit", "1", "--config", str(world.served.config_file)
    )
    (row,) = json.loads(done.stdout)["rows"]
    assert [attempt["outcome"] for attempt in row["attempts"]] == ["error_midstream", "ok"]
    assert all(attempt["output_tokens"] for attempt in row["attempts"])
    assert "next/ok went on (continue) behind character" in row["fallback"]


def _took(client: openai.OpenAI, model: str) -> float:
    start = time.perf_counter()
    list(client.chat.completions.create(model=model, messages=ASK, stream=True))
    return time.perf_counter() - start


def test_a_rescue_takes_hardly_longer_than_who_goes_on(world: World, record_property: Any) -> None:
    with openai.OpenAI(base_url=world.served.base_url, api_key="any", max_retries=0, timeout=30) as client:
        alone, rescued = (statistics.median(_took(client, model) for _ in range(11)) for model in ("next/ok", "oai-30"))
    record_property("rescue_ms", (rescued - alone) * 1000)
    print(f"a rescue took {(rescued - alone) * 1000:.1f} ms more")
    assert rescued - alone < 5 * RESCUE_S
