"""Names are asked for once, remembered, and their absence holds nobody up."""

import asyncio
import socket
import threading
from collections.abc import Callable

import pytest

from trivium.transport import platform, resolve
from trivium.transport.resolve import Resolver

NAME = "api.example.com"


class Names:
    """A name system: what it answers, how often it was asked, and a gate that holds its answers back."""

    def __init__(self) -> None:
        self.answer: list[str] | OSError = ["192.0.2.1"]
        self.asked = 0
        self.gate = threading.Event()
        self.gate.set()
        self.now_s = 1000.0
        self.resolver = Resolver(self.lookup, lambda: self.now_s)

    def lookup(self, host: str) -> list[str]:
        assert host == NAME
        self.asked += 1
        self.gate.wait(10)
        if isinstance(self.answer, OSError):
            raise self.answer
        return self.answer


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "a.localhost"])
def test_literals_and_localhost_are_not_asked_for(host: str):
    found = platform.run(Names().resolver.resolve(host))
    assert found == ([host] if "local" not in host else ["127.0.0.1", "::1"])


def test_an_answer_holds_for_a_minute():
    system = Names()

    async def main() -> None:
        for now_s, asked in ((1000.0, 1), (1059.0, 1), (1061.0, 2), (1120.0, 2)):
            system.now_s = now_s
            assert await system.resolver.resolve(NAME) == ["192.0.2.1"]
            assert system.asked == asked

    platform.run(main())


def test_many_ask_once():
    system = Names()
    system.gate.clear()

    async def main() -> None:
        callers = [asyncio.create_task(system.resolver.resolve(NAME)) for _ in range(50)]
        await asyncio.sleep(0)
        callers[0].cancel()  # the first one asked for all
        system.gate.set()
        answers = await asyncio.gather(*callers, return_exceptions=True)
        assert isinstance(answers[0], asyncio.CancelledError)
        assert answers[1:] == [["192.0.2.1"]] * 49

    platform.run(main())
    assert system.asked == 1


@pytest.mark.parametrize(("age_s", "known"), [(61.0, True), (3599.0, True), (3601.0, False)])
def test_when_asking_fails_an_answer_of_the_last_hour_serves(age_s: float, known: bool):
    system = Names()

    async def main() -> None:
        await system.resolver.resolve(NAME)
        system.now_s += age_s
        system.answer = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        if known:
            assert await system.resolver.resolve(NAME) == ["192.0.2.1"]
        else:
            with pytest.raises(socket.gaierror):
                await system.resolver.resolve(NAME)
        system.answer = ["192.0.2.2"]
        assert await system.resolver.resolve(NAME) == ["192.0.2.2"]

    platform.run(main())


def test_slowness_is_failure_when_there_is_a_stale_answer(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(resolve, "_STALE_PATIENCE_S", 0.01)
    system = Names()

    async def main() -> None:
        await system.resolver.resolve(NAME)
        system.now_s += 100
        system.gate.clear()
        system.answer = ["192.0.2.2"]
        assert await system.resolver.resolve(NAME) == ["192.0.2.1"]
        system.gate.set()
        while await system.resolver.resolve(NAME) != ["192.0.2.2"]:
            await asyncio.sleep(0.001)

    platform.run(main())
    assert system.asked == 2


def test_a_slow_name_system_holds_up_neither_the_loop_nor_the_exit():
    system = Names()
    system.gate.clear()

    async def main() -> None:
        waiting = asyncio.create_task(system.resolver.resolve(NAME))
        for _ in range(100):
            await asyncio.sleep(0)
        assert not waiting.done()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(waiting, 0.01)

    platform.run(main())  # ends, although the look-up has not
    assert all(thread.daemon for thread in threading.enumerate() if thread.name == "trivium-blocking")
    system.gate.set()


def test_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(resolve, "_NAMES_MAX", 3)
    asked: list[str] = []

    def lookup(host: str) -> list[str]:
        asked.append(host)
        return ["192.0.2.1"]

    async def main(ask: Callable[[str], object]) -> None:
        for host in ("a.x", "b.x", "c.x", "d.x", "d.x", "b.x", "a.x"):
            await ask(host)  # pyright: ignore[reportGeneralTypeIssues]

    platform.run(main(Resolver(lookup).resolve))
    assert asked == ["a.x", "b.x", "c.x", "d.x", "a.x"]


def test_the_system_is_asked_and_answers_addresses():
    assert set(resolve.look_up("localhost")) & {"127.0.0.1", "::1"}
    with pytest.raises(OSError):
        resolve.look_up("a" * 64 + ".example.com")
