"""`continue` between two real engines with the same weights: one is killed in mid-answer, the other ends it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

import support
from cli_help import trivium
from trivium.client import AsyncTrivium
from trivium.types import event as ev
from trivium.types.event import Event
from trivium.types.response import fold

CONFIG = """
[[engines]]
id = "one"
model = "smollm2-135m"
context = 2048
[[engines]]
id = "two"
model = "smollm2-135m"
context = 2048
[[routes]]
name = "pair"
targets = ["local/one", "local/two"]
breaker = { failures = 1000 }
"""
ASK: list[Any] = [{"role": "user", "content": "Tell me about the sea in ten sentences."}]
SCHEMA = {
    "type": "object",
    "properties": {name: {"type": "string", "maxLength": 40} for name in ("city", "country", "river", "food")},
    "required": ["city", "country", "river", "food"],
    "additionalProperties": False,
}
FORM: Any = {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA, "strict": True}}
LIMIT = 160

pytestmark = pytest.mark.long


def pids(home: Path) -> dict[str, int]:
    done = trivium(home, "engines", "list", "--json")
    return {row["id"]: row["pid"] for row in json.loads(done.stdout)["rows"] if row.get("pid")}


def last_row(served: support.Served) -> dict[str, Any]:
    """The last request of the ledger, with its attempts."""
    done = trivium(served.home, "log", "--json", "--limit", "1", "--config", str(served.config_file))
    return json.loads(done.stdout)["rows"][0]


def killed_after(pieces: Iterator[str], count: int, kill: Callable[[], object]) -> tuple[str, str]:
    """All that is said, and how much of it before the kill."""
    said = ""
    before = ""
    for number, piece in enumerate(pieces, 1):
        said += piece
        if number == count:
            before = said
            kill()
    return said, before


@pytest.fixture(scope="module")
def served(model_home: Path) -> Iterator[support.Served]:
    with support.serve(CONFIG, home=model_home) as found:
        yield found


def engine_killer(served: support.Served) -> Callable[[], None]:
    """Both engines run before; the first is killed. Its pid is found out beforehand: an answer does not wait."""
    client = openai.OpenAI(base_url=served.base_url, api_key="any", max_retries=0, timeout=60)
    with client:
        for name in ("local/one", "local/two"):
            client.chat.completions.create(model=name, messages=ASK, max_tokens=1)
    pid = pids(served.home)["one"]
    return lambda: os.kill(pid, signal.SIGKILL)


def test_an_openai_client_sees_one_whole_answer(served: support.Served) -> None:
    kill = engine_killer(served)
    chunks: list[Any] = []

    def pieces() -> Iterator[str]:
        with openai.OpenAI(base_url=served.base_url, api_key="any", max_retries=0, timeout=60) as client:
            stream = client.chat.completions.create(
                model="pair",
                messages=ASK,
                max_tokens=LIMIT,
                temperature=0,
                stream=True,
                stream_options={"include_usage": True},
            )
            for chunk in stream:
                chunks.append(chunk)
                if chunk.choices and chunk.choices[0].delta.content:
                    yield chunk.choices[0].delta.content

    said, before = killed_after(pieces(), 8, kill)
    finishes = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices]
    (reason,) = [word for word in finishes if word]
    last = chunks[-1]
    (seam,) = last.trivium["rescue"]
    assert (seam["mode"], seam["before"], seam["after"]) == ("continue", "local/one", "local/two")
    assert len(before) <= seam["offset"] < len(said)
    assert len({chunk.id for chunk in chunks}) == 1
    row = last_row(served)
    first, second = row["attempts"]
    assert (first["outcome"], second["outcome"]) == ("error_midstream", "ok")
    assert last.usage.completion_tokens == first["output_tokens"] + second["output_tokens"]
    assert reason == "stop" or last.usage.completion_tokens == LIMIT
    assert "local/two went on (continue)" in row["fallback"]


def test_an_anthropic_client_sees_one_whole_answer(served: support.Served) -> None:
    kill = engine_killer(served)
    asked: Any = {"model": "pair", "messages": ASK, "max_tokens": LIMIT, "extra_body": {"temperature": 0}}
    with (
        anthropic.Anthropic(base_url=served.origin, api_key="any", max_retries=0, timeout=60) as client,
        client.messages.stream(**asked) as stream,
    ):
        said, before = killed_after(iter(stream.text_stream), 8, kill)
        message = stream.get_final_message()
    assert message.stop_reason in ("end_turn", "max_tokens")
    assert [block.type for block in message.content] == ["text"]
    assert message.content[0].text == said  # type: ignore[union-attr]
    assert len(said) > len(before)
    assert last_row(served)["attempts"][0]["outcome"] == "error_midstream"


@pytest.mark.parametrize("count", [2, 5, 9, 14, 20])
def test_json_under_a_grammar_stays_one_document(served: support.Served, count: int) -> None:
    kill = engine_killer(served)
    reasons: list[str] = []

    def pieces() -> Iterator[str]:
        with openai.OpenAI(base_url=served.base_url, api_key="any", max_retries=0, timeout=60) as client:
            asked: Any = [{"role": "user", "content": "Describe Paris as JSON."}]
            stream = client.chat.completions.create(
                model="pair", messages=asked, max_tokens=400, temperature=0, stream=True, response_format=FORM
            )
            for chunk in stream:
                if chunk.choices[0].finish_reason:
                    reasons.append(chunk.choices[0].finish_reason)
                if chunk.choices[0].delta.content:
                    yield chunk.choices[0].delta.content

    said, _ = killed_after(pieces(), count, kill)
    assert reasons == ["stop"], said
    assert set(json.loads(said)) == set(SCHEMA["required"])
    assert "(continue)" in last_row(served)["fallback"]


def test_the_library_sees_one_whole_answer(
    own_model_home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TRIVIUM_HOME", str(own_model_home))
    file = tmp_path / "trivium.toml"
    file.write_text(CONFIG)

    async def work() -> list[Event]:
        async with AsyncTrivium(file) as client:
            for name in ("local/one", "local/two"):
                await client.chat("Hello", name, max_tokens=1)
            pid = (await asyncio.to_thread(pids, own_model_home))["one"]
            events: list[Event] = []
            async for event in client.stream(ASK, "pair", max_tokens=LIMIT, temperature=0):
                events.append(event)
                if sum(isinstance(e, ev.TextDelta) for e in events) == 8:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            return events

    events = asyncio.run(asyncio.wait_for(work(), 100))
    (seam,) = [event for event in events if isinstance(event, ev.Seam)]
    assert (seam.mode, seam.before, seam.after) == ("continue", "local/one", "local/two")
    answer = fold(events)
    assert isinstance(events[-1], ev.End)
    assert len(answer.text) > seam.offset > 0
    assert answer.finish_reason in ("stop", "length")
