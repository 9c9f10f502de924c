from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from engines_help import gguf_bytes, write
from trivium.config.schema import Engine
from trivium.engines import llamacpp, state, supervisor
from trivium.engines.child import Child
from trivium.engines.store import Store
from trivium.engines.supervisor import EngineStatus, Pace, Running, Supervisor
from trivium.errors import ConfigError, EngineUnavailable, NotFound
from trivium.transport.platform import new_event_loop

FAKE = Path(__file__).parents[2] / "fake_engine.py"
QUICK = Pace(look_s=0.05, stall_s=3.0, hung_s=1.0)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    Store(tmp_path / "models").add_file(write(tmp_path / "tiny.gguf", gguf_bytes()))
    return tmp_path


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts the fake engine, in a mode, in the place of the worker."""

    def set_mode(mode: str) -> None:
        monkeypatch.setattr(llamacpp, "argv", lambda _label: [sys.executable, str(FAKE), mode])

    return set_mode


@asynccontextmanager
async def supervise(
    home: Path, *specs: Engine, pace: Pace = QUICK, known: tuple[str, ...] = ()
) -> AsyncGenerator[Supervisor]:
    named = {spec.id: spec for spec in (Engine(id="tiny", model="tiny"), *specs)}
    made = Supervisor(named, Store(home / "models"), home, known=known, pace=pace)
    try:
        yield made
    finally:
        await made.close()


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 60))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.02)


def only(made: Supervisor) -> EngineStatus:
    (found,) = [found for found in made.status() if found.id == "tiny"]
    return found


def test_concurrent_calls_share_one_start(home: Path, fake: Callable[[str], None]) -> None:
    fake("good")

    async def work() -> None:
        async with supervise(home) as made:
            found = await asyncio.gather(*(made.ensure("tiny") for _ in range(5)))
            assert len({running.pid for running in found}) == 1
            assert made.running("tiny") is found[0]
            assert (only(made).state, only(made).restarts) == ("ready", 0)
            pid = found[0].pid
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)

    run(work())


def test_an_engine_of_any_name_has_its_log_among_the_others(home: Path) -> None:
    async def named() -> None:
        async with supervise(home, Engine(id="../../x", model="absent.gguf")) as engines:
            with pytest.raises(EngineUnavailable):
                await engines.ensure("../../x")
            logs = [engine.log.path.parent for engine in engines._engines.values()]
            assert logs == [home / "logs"]

    run(named())


def test_a_cancelled_call_does_not_stop_the_start(home: Path, fake: Callable[[str], None]) -> None:
    fake("good")

    async def work() -> None:
        async with supervise(home) as made:
            first = asyncio.create_task(made.ensure("tiny"))
            await asyncio.sleep(0.05)
            first.cancel()
            assert await made.ensure("tiny")

    run(work())


def test_a_crash_loop_fails_with_reason_log_and_remedy(
    home: Path, fake: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake("exit")
    monkeypatch.setattr(state, "delay_s", lambda *_: 0.0)  # the exact delays are tested on a virtual clock

    async def work() -> None:
        async with supervise(home) as made:
            with pytest.raises(EngineUnavailable) as caught:
                await made.ensure("tiny")
            text = str(caught.value)
            assert "crashed 5 times" in text
            assert "exit code 7" in text
            assert "fake engine exit with the key …" in text
            assert str(home / "logs" / "engine-tiny.log") in text
            assert (only(made).state, only(made).restarts) == ("failed", 5)
            with pytest.raises(EngineUnavailable, match="crashed 5 times"):
                await made.ensure("tiny")
            await made.stop("tiny")
            fake("good")
            assert await made.ensure("tiny")

    run(work())


def test_a_segfault_while_loading_is_answered_with_safe_arguments(home: Path, fake: Callable[[str], None]) -> None:
    fake("segv-unless-safe")

    async def work() -> None:
        async with supervise(home) as made:
            assert await made.ensure("tiny")
            assert only(made).restarts == 1

    run(work())


@pytest.mark.parametrize("mode", ["silent", "sick"])
def test_an_engine_that_is_up_but_not_ready_is_ended_and_tried_again(
    home: Path, fake: Callable[[str], None], mode: str
) -> None:
    fake(mode)

    async def work() -> None:
        async with supervise(home) as made:
            waiting = asyncio.create_task(made.ensure("tiny"))
            await until(lambda: only(made).restarts == 1)
            fake("good")
            assert await waiting
            log = (home / "logs" / "engine-tiny.log").read_text()
            assert "did not get ready" in log

    run(work())


def test_a_hung_engine_is_killed_and_restarted(home: Path, fake: Callable[[str], None]) -> None:
    fake("hung")

    async def work() -> None:
        async with supervise(home) as made:
            first = await made.ensure("tiny")
            await until(lambda: only(made).state == "busy" or only(made).restarts > 0)
            fake("good")
            await until(lambda: only(made).restarts == 1)
            assert (await made.ensure("tiny")).pid != first.pid
            assert "no decode step" in (home / "logs" / "engine-tiny.log").read_text()

    run(work())


def test_an_idle_engine_is_unloaded_unless_pinned_and_comes_back(home: Path, fake: Callable[[str], None]) -> None:
    fake("good")
    idle = Engine(id="idle", model="tiny", idle_unload_s=0.1)
    pinned = Engine(id="pinned", model="tiny", idle_unload_s=0.1, pinned=True)

    async def work() -> None:
        async with supervise(home, idle, pinned) as made:
            await made.ensure("idle")
            kept = await made.ensure("pinned")
            states = lambda: {found.id: found.state for found in made.status()}  # noqa: E731
            await until(lambda: states()["idle"] == "stopped")
            assert made.running("idle") is None
            assert made.running("pinned") is kept
            assert await made.ensure("idle")

    run(work())


def test_an_engine_that_ignores_sigterm_is_killed(
    home: Path, fake: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake("stubborn")
    monkeypatch.setattr(supervisor, "_TERM_S", 0.2)

    async def work() -> None:
        async with supervise(home) as made:
            await made.ensure("tiny")
            await made.stop("tiny")
            assert only(made).state == "stopped"

    run(work())


def test_stopping_while_it_starts(home: Path, fake: Callable[[str], None]) -> None:
    fake("silent")

    async def work() -> None:
        async with supervise(home, pace=Pace()) as made:
            waiting = asyncio.create_task(made.ensure("tiny"))
            await until(lambda: only(made).pid is not None)
            await made.stop("tiny")
            with pytest.raises(EngineUnavailable, match="was stopped"):
                await waiting

    run(work())


linux_only = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="reads /proc")


@linux_only
def test_the_key_is_in_no_log_and_no_argument(home: Path, fake: Callable[[str], None]) -> None:
    fake("good")

    async def work() -> None:
        async with supervise(home) as made:
            running = await made.ensure("tiny")
            key = running.api_key.reveal()
            assert len(key) == 64
            assert key not in repr(running)
            assert key not in Path(f"/proc/{running.pid}/cmdline").read_text()
            assert key not in Path(f"/proc/{running.pid}/environ").read_text()
            await until((home / "logs" / "engine-tiny.log").exists)
            assert key not in (home / "logs" / "engine-tiny.log").read_text()

    run(work())


@linux_only
def test_an_engine_sees_no_key_of_ours(
    home: Path, fake: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake("good")
    monkeypatch.setenv("OPENAI_API_KEY", "canary")

    async def work() -> None:
        async with supervise(home) as made:
            running = await made.ensure("tiny")
            assert "canary" not in Path(f"/proc/{running.pid}/environ").read_text()

    run(work())


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, new_event_loop], ids=["asyncio", "ours"])
def test_it_runs_on_any_loop_in_any_thread(
    home: Path, fake: Callable[[str], None], loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    fake("good")
    found: list[Running] = []

    async def work() -> None:
        async with supervise(home) as made:
            found.append(await made.ensure("tiny"))
            os.kill(found[0].pid, 9)
            await until(lambda: only(made).restarts == 1)
            found.append(await made.ensure("tiny"))

    def in_thread() -> None:
        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(asyncio.wait_for(work(), 60))

    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join()
    assert len(found) == 2


def test_a_model_that_is_absent_says_how_to_fetch_it_and_works_after(home: Path, fake: Callable[[str], None]) -> None:
    fake("good")

    async def work() -> None:
        async with supervise(home, known=("smollm2-135m",)) as made:
            with pytest.raises(EngineUnavailable) as caught:
                await made.ensure("smollm2-135m")
            assert "trivium models pull smollm2-135m" in caught.value.remedy
            assert [found.state for found in made.status() if found.id == "smollm2-135m"] == ["absent"]
            with pytest.raises(NotFound):
                await made.ensure("nonsense")
            Store(home / "models").add_file(home / "tiny.gguf", name="smollm2-135m")
            assert await made.ensure("smollm2-135m")

    run(work())


def test_a_damaged_file_is_refused_before_a_process_is_started(home: Path, fake: Callable[[str], None]) -> None:
    fake("good")
    whole = gguf_bytes()

    async def work() -> None:
        async with supervise(home) as made:
            write(home / "tiny.gguf", whole[: len(whole) // 2])  # linked: the store sees what its other owner did
            with pytest.raises(EngineUnavailable, match="changed since it was added"):
                await made.ensure("tiny")
            assert (only(made).state, only(made).pid) == ("stopped", None)

    run(work())


def test_a_path_and_an_option_of_the_configuration(home: Path, fake: Callable[[str], None]) -> None:
    fake("good")
    by_path = Engine(id="mine", model=str(home / "tiny.gguf"), context=512, slots=2, options={"n_batch": 64})
    wrong = Engine(id="wrong", model="tiny", options={"path_prompts_log_dir": "/tmp"})
    foreign = Engine(id="foreign", model="tiny", kind="vllm")

    async def work() -> None:
        async with supervise(home, by_path, wrong, foreign) as made:
            running = await made.ensure("mine")
            assert (running.context, running.slots, running.model) == (512, 2, "tiny")
            with pytest.raises(ConfigError, match="path_prompts_log_dir"):
                await made.ensure("wrong")
            with pytest.raises(EngineUnavailable, match="only the embedded"):
                await made.ensure("foreign")

    run(work())


def test_a_model_too_large_for_the_machine_is_refused_with_the_figures(
    home: Path, fake: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake("good")
    monkeypatch.setattr("trivium.engines.hardware.memory_available", lambda: 8 << 20)

    async def work() -> None:
        async with supervise(home) as made:
            with pytest.raises(EngineUnavailable, match="8 MiB are available"):
                await made.ensure("tiny")

    run(work())


def test_an_engine_learned_later_counts(home: Path, fake: Callable[[str], None]) -> None:
    fake("good")

    async def work() -> None:
        async with supervise(home) as made:
            made.learn(Engine(id="late", model="tiny", slots=3))
            assert (await made.ensure("late")).slots == 3
            made.learn(Engine(id="late", model="tiny", slots=2))
            assert (await made.ensure("late")).slots == 3
            await made.stop("late")
            assert (await made.ensure("late")).slots == 2

    run(work())


def test_a_process_that_cannot_be_had_is_told_and_tried_again(
    home: Path, fake: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(llamacpp, "argv", lambda _label: [str(home / "no such program")])

    async def work() -> None:
        async with supervise(home) as made:
            for _ in range(2):
                with pytest.raises(EngineUnavailable, match="cannot be started"):
                    await made.ensure("tiny")
            assert only(made).state == "stopped"
            await made.stop("tiny")
            fake("good")
            assert await made.ensure("tiny")

    run(work())


def test_a_process_that_nobody_could_watch_is_ended(
    home: Path, fake: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake("good")
    begun: list[int] = []

    def no_more(watcher: Child, _target: object) -> threading.Thread:
        begun.append(watcher.pid)
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(Child, "_thread", no_more)

    async def work() -> None:
        async with supervise(home) as made:
            with pytest.raises(EngineUnavailable, match="can't start new thread"):
                await made.ensure("tiny")
        with pytest.raises(ProcessLookupError):
            os.kill(begun[0], 0)

    run(work())


def test_a_closed_supervisor_says_so(home: Path) -> None:
    async def work() -> None:
        async with supervise(home) as made:
            pass
        with pytest.raises(EngineUnavailable, match="closed"):
            await made.ensure("tiny")

    run(work())
