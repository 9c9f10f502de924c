"""Faults of section 5 of the engine's guide with the real wheel and the real demo model. Structure is asserted, never
prose: the model is small and often wrong."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from engines_help import ROWS
from trivium.config.schema import Engine
from trivium.engines.store import Store
from trivium.engines.supervisor import Pace, Running, Supervisor
from trivium.errors import EngineUnavailable

MODEL = "smollm2-135m"
PACE = Pace(look_s=0.1, stall_s=60.0)


def supervisor(home: Path, *specs: Engine, pace: Pace = PACE) -> Supervisor:
    return Supervisor({spec.id: spec for spec in specs}, Store(home / "models"), home, known=ROWS, pace=pace)


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 100))


def ask(running: Running, path: str, body: object = None, key: str | None = None) -> tuple[int, bytes]:
    """One request to the engine, with its key unless another is given."""
    parts = urlsplit(running.base_url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    headers = {"authorization": f"Bearer {running.api_key.reveal() if key is None else key}"}
    try:
        if body is None:
            connection.request("GET", path, headers=headers)
        else:
            connection.request("POST", path, json.dumps(body), headers | {"content-type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def chat(**more: object) -> dict[str, object]:
    return {
        "messages": [{"role": "user", "content": "Say hello, XYZZYCANARY"}],
        "max_tokens": 4,
        "temperature": 0,
        **more,
    }


async def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


def gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has waited for yet counts as ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_completion_from_the_real_engine(model_home: Path) -> None:
    async def work() -> None:
        made = supervisor(model_home)
        try:
            running = await made.ensure(MODEL)
            status, body = await asyncio.to_thread(ask, running, "/v1/chat/completions", chat())
            answer = json.loads(body)
            assert status == 200
            assert answer["model"] == MODEL
            assert answer["choices"][0]["finish_reason"] in {"length", "stop"}
            assert answer["choices"][0]["message"]["role"] == "assistant"
            assert answer["usage"]["completion_tokens"] <= 4
            assert answer["usage"]["prompt_tokens"] > 0
            assert (running.context, running.slots) == (8192, 1)
            await until(lambda: made.status()[0].state == "ready")
            assert (made.status()[0].rss or 0) > 50 << 20
        finally:
            await made.close()
        assert gone(running.pid)

    run(work())


def test_every_door_but_health_wants_the_key_and_the_other_doors_are_shut(model_home: Path) -> None:
    async def work() -> None:
        made = supervisor(model_home)
        try:
            running = await made.ensure(MODEL)

            def status(path: str, key: str | None, body: object = None) -> int:
                return ask(running, path, body, key)[0]

            assert await asyncio.to_thread(status, "/health", "") == 200
            for path in ("/v1/models", "/metrics", "/props", "/slots", "/"):
                assert await asyncio.to_thread(status, path, "wrong") in {401, 404, 501}, path
            assert await asyncio.to_thread(status, "/v1/chat/completions", "wrong", chat()) == 401
            assert await asyncio.to_thread(status, "/slots", None) == 501
            assert await asyncio.to_thread(status, "/props", None, {"x": 1}) in {404, 501}
            assert await asyncio.to_thread(status, "/", None) == 404
        finally:
            await made.close()

    run(work())


def test_no_prompt_and_no_key_reach_the_log(model_home: Path) -> None:
    async def work() -> None:
        made = supervisor(model_home)
        try:
            running = await made.ensure(MODEL)
            await asyncio.to_thread(ask, running, "/v1/chat/completions", chat())
        finally:
            await made.close()
        log = (model_home / "logs" / f"engine-{MODEL}.log").read_text()
        assert "model loaded" in log
        assert "XYZZYCANARY" not in log
        assert running.api_key.reveal() not in log

    run(work())


def test_a_killed_engine_is_back(model_home: Path) -> None:
    async def work() -> None:
        made = supervisor(model_home)
        try:
            first = await made.ensure(MODEL)
            os.kill(first.pid, signal.SIGKILL)
            await until(lambda: made.running(MODEL) is not first)
            began = time.monotonic()
            second = await made.ensure(MODEL)
            took = time.monotonic() - began
            assert second.pid != first.pid
            assert second.api_key.reveal() != first.api_key.reveal()
            assert (await asyncio.to_thread(ask, second, "/v1/chat/completions", chat()))[0] == 200
            assert took < 10, f"{took:.1f} s; the goal is 2 s, five times that fails"
            assert made.status()[0].restarts == 1
        finally:
            await made.close()

    run(work())


def test_a_hostile_schema_kills_the_engine_and_nothing_else(model_home: Path) -> None:
    text = '{"messages":[{"role":"user","content":"a"}],"max_tokens":4,"response_format":{"type":"json_schema",'
    text += '"json_schema":{"schema":' + '{"type":"array","items":' * 20_000 + '{"type":"string"}' + "}" * 20_003

    async def work() -> None:
        made = supervisor(model_home)
        try:
            first = await made.ensure(MODEL)
            await asyncio.to_thread(_post_raw, first, text.encode())
            await until(lambda: made.running(MODEL) is not first)
            second = await made.ensure(MODEL)
            assert (await asyncio.to_thread(ask, second, "/v1/chat/completions", chat()))[0] == 200
        finally:
            await made.close()

    run(work())


def _post_raw(running: Running, body: bytes) -> None:
    parts = urlsplit(running.base_url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    headers = {"authorization": f"Bearer {running.api_key.reveal()}", "content-type": "application/json"}
    try:
        connection.request("POST", "/v1/chat/completions", body, headers)
        connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        pass  # the engine died over it
    finally:
        connection.close()


def test_a_stopped_engine_is_found_and_a_long_prompt_is_not_taken_for_it(model_home: Path) -> None:
    # Small batches, so that a step takes far less than the limit on a busy machine too.
    spec = Engine(id=MODEL, model=MODEL, options={"n_batch": 64, "n_ubatch": 64})

    async def work() -> None:
        made = supervisor(model_home, spec, pace=Pace(look_s=0.1, hung_s=6.0))
        try:
            first = await made.ensure(MODEL)
            long = chat(messages=[{"role": "user", "content": "word " * 300}], max_tokens=1)
            status, _ = await asyncio.to_thread(ask, first, "/v1/chat/completions", long)
            assert status == 200
            assert made.running(MODEL) is first
            os.kill(first.pid, signal.SIGSTOP)
            await until(lambda: made.running(MODEL) is not first)
            assert (await made.ensure(MODEL)).pid != first.pid
        finally:
            await made.close()

    run(work())


def test_a_file_cut_in_half_is_refused_by_its_byte_counts(model_blob: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.gguf"
    with model_blob.open("rb") as whole:
        cut.write_bytes(whole.read(model_blob.stat().st_size // 2))

    async def work() -> None:
        made = supervisor(tmp_path / "home", Engine(id="cut", model=str(cut)))
        try:
            with pytest.raises(EngineUnavailable, match=rf"cut: .*98362432.*{cut.stat().st_size}") as caught:
                await made.ensure("cut")
            assert caught.value.remedy
            assert made.status()[0].pid is None
        finally:
            await made.close()

    run(work())


def test_a_header_that_lies_ends_in_an_error_with_the_engines_own_words(
    model_blob: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Past our own check: the engine refuses the file each time, and there is no loop."""
    file = tmp_path / "odd.gguf"
    data = bytearray(model_blob.read_bytes())
    at = data.index(b"general.architecture") + len(b"general.architecture") + 12
    data[at : at + 5] = b"lxxma"
    file.write_bytes(data)
    monkeypatch.setattr("trivium.engines.state.delay_s", lambda *_: 0.0)

    async def work() -> None:
        made = supervisor(tmp_path / "home", Engine(id="odd", model=str(file)))
        try:
            with pytest.raises(EngineUnavailable, match="lxxma"):
                await made.ensure("odd")
            assert (made.status()[0].state, made.status()[0].restarts) == ("failed", 5)
        finally:
            await made.close()

    run(work())


def test_a_taken_port_does_not_matter(model_home: Path) -> None:
    async def work() -> None:
        made = supervisor(model_home)
        try:
            first = await made.ensure(MODEL)
            port = urlsplit(first.base_url).port or 0
            await made.stop(MODEL)
            with socket.socket() as taken:
                taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                taken.bind(("127.0.0.1", port))
                taken.listen()
                second = await made.ensure(MODEL)
                assert urlsplit(second.base_url).port != port
        finally:
            await made.close()

    run(work())


OWNER = """
import asyncio, sys
from pathlib import Path
from trivium.engines.store import Store
from trivium.engines.supervisor import Supervisor

async def main():
    home = Path(sys.argv[1])
    made = Supervisor({}, Store(home / "models"), home)
    if sys.argv[2] == "starting":
        task = asyncio.create_task(made.ensure("smollm2-135m"))
        while not made.status() or made.status()[0].pid is None:
            await asyncio.sleep(0.005)
        print(made.status()[0].pid, flush=True)
    else:
        print((await made.ensure("smollm2-135m")).pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.parametrize("moment", ["starting", "ready"])
@pytest.mark.parametrize("portable", ["0", "1"])
def test_no_engine_outlives_a_killed_supervisor(model_home: Path, moment: str, portable: str) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(model_home), moment],
        stdout=subprocess.PIPE,
        env={**os.environ, "TRIVIUM_PORTABLE": portable},
    )
    with owner:
        assert owner.stdout is not None
        engine = int(owner.stdout.readline())
        owner.kill()
    end = time.monotonic() + 10  # the goal is 2 s
    while not gone(engine) and time.monotonic() < end:
        time.sleep(0.02)
    assert gone(engine)
