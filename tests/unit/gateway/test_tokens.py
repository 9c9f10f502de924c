"""Tokens in time: fetched once for all who wait, renewed while the old one serves, and asked for again when refused."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trivium import errors
from trivium.access import token
from trivium.config.schema import TokenCommand
from trivium.gateway import tokens as tokens_module
from trivium.gateway.tokens import PAUSE_S, Tokens
from trivium.ledger.record import Settled
from trivium.testing import FakeUpstream
from trivium.types.secret import Secret
from unit.gateway.world import CHAT, World

COMMAND = TokenCommand(("say", "it"))


class Commands:
    """Stands for the program: says one token after the other, or fails, when it is let."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.runs = 0
        self.fails = False
        self.good_s = 100.0
        self.may_go = threading.Event()
        self.may_go.set()
        monkeypatch.setattr(token, "fetch", self)

    def __call__(self, provider: str, command: TokenCommand, folder: Path, started: Any) -> token.Token:
        self.runs += 1
        assert self.may_go.wait(10)
        if self.fails:
            raise errors.UpstreamTokenError(f"There is no token for `{provider}`.", remedy="Log in.")
        return token.Token(Secret(f"tok-{self.runs}"), self.good_s)


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> Commands:
    return Commands(monkeypatch)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_all_who_wait_are_served_by_one_run(commands: Commands, tmp_path: Path) -> None:
    async def main() -> None:
        clock = Clock()
        tokens = Tokens(asyncio.get_running_loop(), clock, tmp_path)
        assert tokens.current("acme", COMMAND) is None
        await asyncio.gather(*(tokens.fetch("acme", COMMAND) for _ in range(50)))
        assert commands.runs == 1
        held = tokens.current("acme", COMMAND)
        assert held is not None
        assert held.reveal() == "tok-1"
        assert tokens.current("acme", COMMAND) is held
        assert tokens.current("other", COMMAND) is None

    asyncio.run(main())


def test_one_who_leaves_takes_nobody_s_token_away(commands: Commands, tmp_path: Path) -> None:
    async def main() -> None:
        tokens = Tokens(asyncio.get_running_loop(), Clock(), tmp_path)
        commands.may_go.clear()
        leaves, stays = (asyncio.ensure_future(tokens.fetch("acme", COMMAND)) for _ in range(2))
        await asyncio.sleep(0.01)
        leaves.cancel()
        await asyncio.sleep(0)
        commands.may_go.set()
        await stays
        assert commands.runs == 1

    asyncio.run(main())


def test_it_is_renewed_before_it_ends_while_the_old_one_serves(commands: Commands, tmp_path: Path) -> None:
    async def main() -> None:
        clock = Clock()
        tokens = Tokens(asyncio.get_running_loop(), clock, tmp_path)
        await tokens.fetch("acme", COMMAND)
        clock.now += 79
        old = tokens.current("acme", COMMAND)
        await asyncio.sleep(0.05)
        assert commands.runs == 1
        clock.now += 2
        commands.may_go.clear()
        for _ in range(10):
            assert tokens.current("acme", COMMAND) is old
            await asyncio.sleep(0)
        commands.may_go.set()
        while tokens.current("acme", COMMAND) is old:
            await asyncio.sleep(0.005)
        assert commands.runs == 2
        clock.now += 101
        assert tokens.current("acme", COMMAND) is None

    asyncio.run(main())


def test_a_failed_renewal_is_tried_again_and_a_failed_command_not_at_once(commands: Commands, tmp_path: Path) -> None:
    async def main() -> None:
        clock = Clock()
        tokens = Tokens(asyncio.get_running_loop(), clock, tmp_path)
        commands.fails = True
        for _ in range(3):
            with pytest.raises(errors.UpstreamTokenError, match="There is no token for `acme`"):
                await tokens.fetch("acme", COMMAND)
        assert commands.runs == 1
        clock.now += PAUSE_S
        with pytest.raises(errors.UpstreamTokenError):
            await tokens.fetch("acme", COMMAND)
        assert commands.runs == 2
        clock.now += PAUSE_S
        commands.fails = False
        await tokens.fetch("acme", COMMAND)
        clock.now += 90
        commands.fails = True
        assert tokens.current("acme", COMMAND) is not None
        await asyncio.sleep(0.05)
        assert tokens.current("acme", COMMAND) is not None  # it is still good
        assert commands.runs == 4
        clock.now += 20
        with pytest.raises(errors.UpstreamTokenError):
            await tokens.fetch("acme", COMMAND)

    asyncio.run(main())


def test_a_refused_token_is_dropped_unless_it_is_brand_new(commands: Commands, tmp_path: Path) -> None:
    async def main() -> None:
        clock = Clock()
        tokens = Tokens(asyncio.get_running_loop(), clock, tmp_path)
        await tokens.fetch("acme", COMMAND)
        first = tokens.current("acme", COMMAND)
        assert not tokens.refused("acme", COMMAND, first)  # it was made for this request
        clock.now += PAUSE_S
        assert tokens.refused("acme", COMMAND, first)
        assert tokens.current("acme", COMMAND) is None
        await tokens.fetch("acme", COMMAND)
        assert tokens.refused("acme", COMMAND, first)  # by somebody late: there is another already
        assert tokens.current("acme", COMMAND) is not None
        assert commands.runs == 2

    asyncio.run(main())


TEXT = """
[[providers]]
id = "cloud"
base_url = "{url}"
token_command = ["say", "it"]
[[providers]]
id = "keyed"
base_url = "{other}"
api_key = "k"
[[routes]]
name = "both"
targets = ["cloud/m", "keyed/m"]
"""


@pytest.fixture
def ups() -> Iterator[tuple[FakeUpstream, FakeUpstream]]:
    with FakeUpstream() as cloud, FakeUpstream() as keyed:
        yield cloud, keyed


@pytest.fixture
def world(ups: tuple[FakeUpstream, FakeUpstream], tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path, TEXT.format(url=ups[0].base_url, other=ups[1].base_url))
    made.runtime.tokens._now = lambda: made.clock
    yield made
    made.close()


def sent(up: FakeUpstream) -> list[str]:
    return [seen.headers["authorization"] for seen in up.requests]


def test_a_request_waits_for_the_first_token_and_the_next_ones_for_nothing(
    world: World, ups: tuple[FakeUpstream, FakeUpstream], commands: Commands
) -> None:
    for _ in range(3):
        _, sink = world.ask("cloud/m")
        assert sink.error is None
    assert sent(ups[0]) == ["Bearer tok-1"] * 3
    assert commands.runs == 1


def test_what_was_sent_changes_with_the_token_and_nothing_is_made_anew_for_a_key(
    world: World, ups: tuple[FakeUpstream, FakeUpstream], commands: Commands
) -> None:
    world.ask("cloud/m")
    bindings = world.runtime.snapshot._bindings
    first = dict(bindings)
    world.ask("cloud/m")
    assert dict(bindings) == first
    world.clock += 101
    world.ask("cloud/m")
    assert sent(ups[0]) == ["Bearer tok-1", "Bearer tok-1", "Bearer tok-2"]
    assert len(bindings) == 1
    snapshot = world.runtime.snapshot
    leg = snapshot.leg(snapshot.usual_plan("keyed/m", (), 0, frozenset(), None), 0, CHAT)  # type: ignore[arg-type]
    assert leg.binding is not None  # a key stands in it for good: its requests never look for a token


def test_a_failure_takes_the_next_endpoint_and_without_one_is_an_error_of_ours(
    world: World, ups: tuple[FakeUpstream, FakeUpstream], commands: Commands
) -> None:
    commands.fails = True
    exchange, sink = world.ask("both")
    assert sink.error is None
    assert exchange.fallback == "cloud has no token"
    assert (len(sent(ups[0])), len(sent(ups[1])), commands.runs) == (0, 1, 1)
    _, sink = world.ask("cloud/m")
    assert isinstance(sink.error, errors.UpstreamTokenError)
    assert sink.error.status == 502
    assert sink.error.remedy == "Log in."
    assert b"authentication" not in CHAT.encode_error(sink.error, "r")


def test_a_token_that_an_upstream_refuses_is_renewed_once(
    world: World, ups: tuple[FakeUpstream, FakeUpstream], commands: Commands
) -> None:
    cloud, _ = ups
    world.ask("cloud/m")
    world.clock += PAUSE_S
    cloud.key = "tok-2"
    exchange, sink = world.ask("cloud/m")
    assert sink.error is None
    assert exchange.attempts == 2
    assert sent(cloud) == ["Bearer tok-1", "Bearer tok-1", "Bearer tok-2"]
    world.clock += PAUSE_S
    cloud.key = "none-of-them"
    exchange, sink = world.ask("cloud/m")
    assert isinstance(sink.error, errors.UpstreamAuthError)
    assert (exchange.attempts, commands.runs) == (2, 3)
    exchange, sink = world.ask("both")
    assert sink.error is None
    assert exchange.plan is not None
    assert exchange.plan.endpoints[exchange.position].id == "keyed/m"
    assert commands.runs == 3  # it has just said the one that was refused
    assert exchange.fallback == "cloud refused its key"  # and is benched for that: not even asked
    assert [r.upstream_status for r in world.records() if isinstance(r, Settled)].count(401) == 3


def test_no_refusal_is_answered_twice_however_fast_the_command_is(
    world: World, ups: tuple[FakeUpstream, FakeUpstream], commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens_module, "PAUSE_S", 0.0)
    ups[0].key = "none-of-them"
    exchange, sink = world.ask("cloud/m")
    assert isinstance(sink.error, errors.UpstreamAuthError)
    assert (exchange.attempts, commands.runs) == (2, 2)


def test_a_caller_who_leaves_while_the_command_runs_is_no_attempt(
    world: World, ups: tuple[FakeUpstream, FakeUpstream], commands: Commands
) -> None:
    from trivium.gateway import pipeline

    commands.may_go.clear()
    exchange, _ = world.begin("cloud/m")
    world.until(lambda: commands.runs == 1)
    pipeline.caller_gone(exchange)
    commands.may_go.set()
    world.settle()
    assert exchange.closed
    assert exchange.attempts == 0
    assert sent(ups[0]) == []
