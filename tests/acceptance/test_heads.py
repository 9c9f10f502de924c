"""Heads of answers: an upstream's limits reach every caller, an id goes both ways, and a refused key stays ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from acceptance.world import World, world
from support import DIALECTS, Dialect, ask_raw
from trivium.testing import anthropic_messages, openai_chat

LIMITS = {"oai": openai_chat.LIMITS, "ant": anthropic_messages.LIMITS}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    home: Path = tmp_path_factory.mktemp("home")
    with world(home, routes=[{"name": "both", "targets": ["oai/503", "ant/ok"], "retries": 0}]) as made:
        yield made


def names(head: bytes) -> list[str]:
    return [line.partition(":")[0].lower() for line in head.decode("latin-1").split("\r\n")[1:]]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("provider", LIMITS)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_limits_come_through_passed_and_translated(
    running: World, dialect: Dialect, provider: str, stream: bool
) -> None:
    raw = ask_raw(running.served.port, dialect, f"{provider}/ok", stream=stream)
    assert raw.status == 200
    for name, value in LIMITS[provider].items():
        assert raw.header(name) == value
    assert "openai-version" not in names(raw.head)
    assert len(names(raw.head)) == len(set(names(raw.head)))


@pytest.mark.parametrize("provider", LIMITS)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_error_says_the_limits_too_and_once_when_to_try_again(
    running: World, dialect: Dialect, provider: str
) -> None:
    wait_s = 60 + 10 * list(LIMITS).index(provider) + DIALECTS.index(dialect)  # each name is limited once
    raw = ask_raw(running.served.port, dialect, f"{provider}/429-retry-after-{wait_s}")
    assert raw.status == 429
    for name, value in LIMITS[provider].items():
        assert raw.header(name) == value
    assert (raw.header("retry-after"), raw.header("retry-after-ms")) == (str(wait_s), str(wait_s * 1000))
    assert len(names(raw.head)) == len(set(names(raw.head)))


def test_who_answers_says_its_own_limits(running: World) -> None:
    raw = ask_raw(running.served.port, "openai_chat", "both")
    assert raw.header("x-trivium-endpoint") == "ant/ok"
    assert raw.header("anthropic-ratelimit-requests-limit") == "4000"
    assert not [name for name in names(raw.head) if name.startswith("x-ratelimit")]


@pytest.mark.parametrize("model", ["oai/ok", "oai/404", "no-such/model"])
def test_a_callers_id_comes_back_and_ours_stays_ours(running: World, model: str) -> None:
    port = running.served.port
    raw = ask_raw(port, "openai_chat", model, headers={"x-client-request-id": "mine-1"})
    assert raw.header("x-client-request-id") == "mine-1"
    assert raw.header("x-request-id") == raw.header("request-id") != "mine-1"
    assert ask_raw(port, "openai_chat", model, headers={"x-request-id": "p-1"}).header("x-client-request-id") == "p-1"
    for bad in ("a b", "x" * 513):
        assert ask_raw(port, "openai_chat", model, headers={"x-request-id": bad}).header("x-client-request-id") is None
    assert ask_raw(port, "openai_chat", model).header("x-client-request-id") is None


def test_an_id_that_the_dialect_knows_goes_on(running: World) -> None:
    ask_raw(running.served.port, "openai_chat", "oai/echo", headers={"x-client-request-id": "mine-2"})
    assert running.last("echo").headers["x-client-request-id"] == "mine-2"
    assert "x-request-id" not in running.last("echo").headers


@pytest.mark.parametrize("model", ["oai/401", "oai/403", "ant/401", "ant/403"])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_key_of_ours_that_is_refused_never_looks_like_the_callers(
    running: World, dialect: Dialect, model: str
) -> None:
    raw = ask_raw(running.served.port, dialect, model)
    assert raw.status == 502
    assert raw.header("x-trivium-endpoint") == model
    for word in (b"authentication_error", b"permission_error", b"invalid_api_key", b"invalid x-api-key", b"Incorrect"):
        assert word not in raw.payload
    assert b"our credential" in raw.payload
