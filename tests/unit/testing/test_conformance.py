"""Every provider's row passes the conformance suite, in its own dialect; and the suite fails what it is there for."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from trivium import dialects
from trivium.catalog.rows import Model, Price, Provider
from trivium.config.load import load
from trivium.config.schema import Config
from trivium.config.shipped import catalog
from trivium.testing import FakeUpstream, conformance
from trivium.testing.conformance import CASES, KEY, LONG_ANSWER, Asked, Result, fake, run
from trivium.types.event import FinishReason
from trivium.types.message import Message, Part, Text, ToolCall
from trivium.types.response import Choice, Response
from trivium.types.usage import Usage


def is_spoken(dialect: str) -> bool:
    try:
        return bool(dialects.get(dialect))
    except ValueError:
        return False


ROWS = [row for row in catalog().providers.values() if row.base_url and is_spoken(row.dialect)]
"""All but our own engines, and those whose dialect is still to come."""
SURE = {"plain", "stream", "unknown model", "usage", "max_tokens", "disconnect"}
"""What no row may fail to offer."""


@pytest.fixture(scope="module")
def up() -> Iterator[FakeUpstream]:
    with FakeUpstream(text=LONG_ANSWER, key=KEY) as server:
        yield server


def config(tmp_path: Path) -> Config:
    return load(env={"HOME": str(tmp_path)}, cwd=tmp_path, home=tmp_path / "home")


def results(made: Config, provider: str, model: str, instead: dict[str, str]) -> dict[str, Result]:
    return {result.case: result for result in asyncio.run(run(made, provider, model, instead=instead))}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_a_row_conforms(row: Provider, up: FakeUpstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    up.reset()
    if row.auth == "none":
        monkeypatch.setattr(up, "key", None)
    found = results(*fake_of(tmp_path, row.id, up))
    assert {name: result.detail for name, result in found.items() if result.verdict == "fail"} == {}
    assert list(found) == [case.name for case in CASES]
    assert {name for name in SURE if found[name].verdict != "pass"} == set()
    for case in CASES:
        assert (found[case.name].verdict == "pass") == (not case.needs or case.needs in row.capabilities)
    if row.auth not in ("none", "bearer"):
        assert {seen.headers.get(row.auth) for seen in up.requests} == {KEY}
    (left,) = [seen for seen in up.requests if seen.model == "stall-after-2"]
    up.wait_until(lambda: left.client_gone_at is not None)


def fake_of(tmp_path: Path, provider: str, up: FakeUpstream) -> tuple[Config, str, str, dict[str, str]]:
    made, model, instead = fake(config(tmp_path), provider, up)
    return made, provider, model, instead


@pytest.mark.parametrize(
    ("model", "case", "says"),
    [
        ("empty", "plain", "upstream_protocol_error"),
        ("cut-after-2", "stream", "upstream_cut"),
        ("ok", "tool call", "it made 0 calls"),
        ("429-forever", "plain", "upstream_rate_limited"),
        ("503", "unknown model", "upstream_overloaded"),
        ("ok", "unknown model", "it answered under a name that means nothing"),
        ("tool", "tool call", ""),
    ],
)
def test_what_does_not_conform_is_told_with_its_reason(
    model: str, case: str, says: str, up: FakeUpstream, tmp_path: Path
) -> None:
    made, provider, _, instead = fake_of(tmp_path, "openai", up)
    found = results(made, provider, model, instead | {"unknown model": model})
    assert (found[case].verdict, says in found[case].detail) == ("fail" if says else "pass", True)


def test_a_call_at_a_time_is_no_fault(up: FakeUpstream, tmp_path: Path) -> None:
    made, provider, _, instead = fake_of(tmp_path, "openai", up)
    found = results(made, provider, "tool", instead)
    assert (found["parallel tools"].verdict, found["parallel tools"].detail) == (
        "not offered",
        "it makes one call at a time",
    )


def test_a_bound_that_is_not_kept_is_noticed(up: FakeUpstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, provider, model, instead = fake_of(tmp_path, "openai", up)
    monkeypatch.setattr(up, "text", "short")
    assert results(made, provider, model, instead)["max_tokens"].detail == "it finished with `stop`"


def test_a_key_that_is_refused_fails_every_case(
    up: FakeUpstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, provider, model, instead = fake_of(tmp_path, "openai", up)
    monkeypatch.setattr(up, "key", "another")
    found = results(made, provider, model, instead)
    assert {result.verdict for result in found.values()} == {"fail"}
    assert all("upstream_auth_error" in result.detail for result in found.values())
    assert KEY not in str(found)


def test_what_it_costs_is_added_up(up: FakeUpstream, tmp_path: Path) -> None:
    made, provider, model, instead = fake_of(tmp_path, "openai", up)
    priced = Model(id="openai/tools2", price=Price(input=10**9, output=10**10, version="test"))
    found = results(msgspec.structs.replace(made, models={priced.id: priced}), provider, model, instead)
    assert (found["usage"].cost_usd or 0) > (found["plain"].cost_usd or 0) > 0
    assert found["unknown model"].cost_usd is None
    assert conformance.QUESTIONS == 12


class Says:
    """A client that gives one answer."""

    def __init__(
        self, text: str = "", *calls: ToolCall, finish: FinishReason = "stop", usage: Usage | None = None
    ) -> None:
        parts: tuple[Part, ...] = (*((Text(text),) if text else ()), *calls)
        choice = Choice(message=Message("assistant", parts), finish_reason=finish)
        self.response = Response(choices=(choice,), usage=usage)

    async def chat(self, *_: object, **__: object) -> Response:
        return self.response


CALL = ToolCall(id="1", name="get_weather", arguments='{"city": "Paris"}')


@pytest.mark.parametrize(
    ("case", "client", "why"),
    [
        (conformance.plain, Says(), "no text"),
        (conformance.plain, Says("Paris.", finish="length"), "finished with `length`"),
        (conformance.tool_call, Says("", CALL, finish="stop"), "finished with `stop`"),
        (conformance.tool_call, Says("", replace(CALL, name="weather"), finish="tool_calls"), "it called `weather`"),
        (conformance.tool_call, Says("", replace(CALL, arguments='{"city"'), finish="tool_calls"), "arguments are"),
        (conformance.tool_call, Says("", replace(CALL, arguments='{"city": 1}'), finish="tool_calls"), "arguments are"),
        (conformance.parallel_tools, Says("", CALL, CALL, finish="tool_calls"), "two calls have one id"),
        (conformance.parallel_tools, Says("It is sunny."), "made 0 calls: It is sunny."),
        (conformance.tool_result, Says("It is warm."), "does not use the result: It is warm."),
        (conformance.structured, Says("Paris has 2 million people."), "not of the schema"),
        (conformance.structured, Says('{"city": "Paris", "population": "2"}'), "not of the schema"),
        (conformance.structured, Says('{"city": "Paris"}'), "not of the schema"),
        (conformance.usage, Says("x"), "reports no usage"),
        (
            conformance.usage,
            Says("x", usage=Usage(input_tokens=9, output_tokens=9, estimated=True)),
            "reports no usage",
        ),
        (
            conformance.max_tokens,
            Says("x", finish="length", usage=Usage(input_tokens=9, output_tokens=17)),
            "17 tokens came where 16 were allowed",
        ),
    ],
)
def test_an_answer_that_is_not_what_was_asked_for(
    case: Callable[[Asked], Awaitable[str]], client: Any, why: str
) -> None:
    with pytest.raises(conformance._Failed, match=re.escape(why)):
        asyncio.run(case(Asked(client, "acme", "m")))  # type: ignore[arg-type]
