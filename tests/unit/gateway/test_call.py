"""A call stands for a connection: what it holds is bounded, what it tells is the whole truth, and leaving is heard."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import config, provider
from trivium.gateway import paths, surface
from trivium.gateway.call import Call
from trivium.testing import FakeUpstream
from trivium.transport.server import WRITE_HIGH
from unit.gateway.world import World


class Caller:
    """What a call tells whoever fills it."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def on_caller_gone(self) -> None:
        self.told.append("gone")

    def on_caller_writable(self, *, writable: bool) -> None:
        self.told.append("on" if writable else "hold")


def call() -> tuple[Call, Caller]:
    made, caller = Call(), Caller()
    made.stream = caller
    return made, caller


def test_a_whole_answer_needs_no_reader() -> None:
    made, _ = call()
    made.whole(404, b"a: b\r\n", b"{}")
    asyncio.run(made.answered())
    assert (made.status, made.head, made.body) == (404, b"a: b\r\n", b"{}")


def test_what_came_is_read_at_once_and_its_end_is_nothing() -> None:
    async def read() -> list[bytes]:
        made, _ = call()
        made.begin(200, b"", b"one ")
        made.chunk(b"two")
        first = await made.read()
        loop = asyncio.get_running_loop()
        loop.call_soon(made.chunk, b"three")
        second = await made.read()
        made.end(b"")
        assert made.body is None
        return [first, second, await made.read(), await made.read()]

    assert asyncio.run(read()) == [b"one two", b"three", b"", b""]


def test_a_cut_is_no_end() -> None:
    async def read() -> None:
        made, _ = call()
        made.begin(200, b"", b"one")
        made.cut(b" error")
        assert await made.read() == b"one error"
        with pytest.raises(ConnectionError):
            await made.read()

    asyncio.run(read())


def test_who_does_not_read_is_not_sent_more() -> None:
    async def read() -> None:
        made, caller = call()
        made.begin(200, b"", b"x" * WRITE_HIGH)
        assert caller.told == []
        made.chunk(b"x")
        made.chunk(b"x")
        assert caller.told == ["hold"]
        await made.read()
        assert caller.told == ["hold", "on"]
        made.chunk(b"x")
        await made.read()
        assert caller.told == ["hold", "on"]

    asyncio.run(read())


def test_leaving_is_told_once_there_is_something_to_stop() -> None:
    async def leave() -> list[str]:
        made, caller = call()
        made.begin(200, b"", b"one")
        await made.answered()
        await asyncio.to_thread(made.close)
        await asyncio.sleep(0)
        made.end(b"")
        made.close()
        await asyncio.sleep(0)
        return caller.told

    assert asyncio.run(leave()) == ["gone"]


def test_a_call_outlives_its_loop() -> None:
    made, caller = call()

    async def begin() -> None:
        made.begin(200, b"", b"one")
        await made.answered()

    asyncio.run(begin())
    made.close()
    assert caller.told == []


# ---- at the surface


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with FakeUpstream() as up:
        made = World(tmp_path, config([provider(up, "oai")], scale=1))
        yield made
        made.close()


def ask(world: World, method: bytes, target: bytes, body: bytes = b"", **fields: bytes) -> Call:
    made = Call()
    given = {b"content-type": b"application/json"} | {name.replace("_", "-").encode(): v for name, v in fields.items()}
    surface.answer(world.runtime, made, method, target, given, body)
    world.until(lambda: made.status)  # type: ignore[arg-type, return-value]
    return made


BODY: dict[str, Any] = {"model": "oai/ok", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]}


def test_the_surface_answers_as_a_server_does(world: World) -> None:
    done = ask(world, b"POST", b"/v1/chat/completions", json.dumps(BODY).encode())
    assert done.status == 200
    assert b"x-trivium-endpoint: oai/ok\r\n" in done.head
    assert json.loads(done.body or b"")["choices"]
    plan = ask(world, b"POST", b"/v1/plan", json.dumps(BODY).encode())
    assert [row["endpoint"] for row in json.loads(plan.body or b"")["endpoints"]] == ["oai/ok"]
    assert ask(world, b"GET", b"/health").body == b'{"status":"ok"}'
    assert b"has_more" in (ask(world, b"GET", b"/v1/models", anthropic_version=b"2023-06-01").body or b"")


@pytest.mark.parametrize(
    ("method", "target", "fields", "status"),
    [
        (b"POST", b"/v1/nothing", {}, 404),
        (b"POST", b"/v1/messages/nothing", {}, 404),
        (b"GET", b"/v1/messages", {}, 405),
        (b"POST", b"/v1/messages", {}, 400),
        (b"POST", b"/v1/messages", {"content_type": b"text/plain"}, 415),
        (b"POST", b"/v1/messages", {"x_trivium_strict": b"perhaps"}, 400),
    ],
)
def test_a_refusal_is_in_the_dialect_of_its_path(
    world: World, method: bytes, target: bytes, fields: dict[str, bytes], status: int
) -> None:
    refused = ask(world, method, target, b"{", **fields)
    assert refused.status == status
    said = json.loads(refused.body or b"")
    assert said["error"]["message"]
    assert ("type" in said) == target.startswith(b"/v1/messages")


def test_a_defect_of_ours_is_an_answer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    defects: list[BaseException] = []
    world.runtime.report = defects.append

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(paths, "find", broken)
    assert ask(world, b"GET", b"/v1/models").status == 500
    assert len(defects) == 1


def test_a_look_up_ends_with_the_gateway(world: World) -> None:
    async def never(*_: object, **__: object) -> None:
        await asyncio.get_running_loop().create_future()

    world.owner.call = never  # type: ignore[attr-defined, method-assign]
    made = Call()
    surface.answer(world.runtime, made, b"GET", b"/api/v1/generation?id=gen-1", {}, b"")
    world.settle()
    assert not made.status
    world.runtime.cut_all()
    world.runtime.close()
    world.settle()
    assert made.status == 503
