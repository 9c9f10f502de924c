"""`Trivium` and `AsyncTrivium`: any loop, any thread, after a fork, beside others, and to the end of the program."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import config, environment, provider, serve
from trivium import AsyncTrivium, Trivium
from trivium.config.load import load
from trivium.config.schema import Config
from trivium.errors import (
    Draining,
    InvalidRequest,
    NoEndpoint,
    NotFound,
    TriviumError,
    UpstreamAuthError,
    UpstreamTimeout,
)
from trivium.testing import FakeUpstream
from trivium.testing.retrieval import score, vector
from trivium.transport.platform import new_event_loop
from trivium.types.event import End, TextDelta

LOCAL = "local/smollm2-135m"
TEXT = "The capital of France is Paris."


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream() as up:
        yield up


@pytest.fixture
def settings(upstream: FakeUpstream, tmp_path: Path) -> Config:
    file = tmp_path / "trivium.toml"
    routes = [{"name": "two", "targets": ["primary/503", "primary/ok"], "retries": 0}]
    file.write_text(config([provider(upstream)], routes, scale=1))
    return load(file=file, env={}, cwd=tmp_path, home=tmp_path / "home")


def said(events: Any) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


# ---- what is answered


def test_an_answer_with_what_trivium_knows(settings: Config) -> None:
    with Trivium(settings) as trivium:
        done = trivium.chat("What is the capital of France?", "primary/ok", max_tokens=50)
        assert (done.text, done.finish_reason, done.access, done.endpoint) == (TEXT, "stop", "direct", "primary/ok")
        assert (done.attempts, done.cost_usd, done.fallback) == (1, None, None)
        assert done.usage is not None
        assert done.usage.output_tokens == 6
        second = trivium.chat([{"role": "user", "content": "And now?"}], "two")
        assert (second.endpoint, second.attempts) == ("primary/ok", 2)
        assert second.fallback


def test_a_stream_of_events(settings: Config) -> None:
    with Trivium(settings) as trivium:
        events = list(trivium.stream("Hello", "primary/ok"))
        assert said(events) == TEXT
        assert isinstance(events[-1], End)


def test_tools_come_as_calls(settings: Config) -> None:
    tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}]
    with Trivium(settings) as trivium:
        assert [call.name for call in trivium.chat("Look.", "primary/tool", tools=tools).tool_calls] == ["look"]


def test_vectors_and_rankings(settings: Config, upstream: FakeUpstream) -> None:
    texts = ["The cat sits.", "The dog sits."]
    with Trivium(settings) as trivium:
        done = trivium.embed(texts, "primary/ok", dimensions=4)
        assert [pytest.approx(vector(text, 4)) for text in texts] == list(done.embeddings)
        assert (done.endpoint, done.access, done.attempts, done.losses) == ("primary/ok", "direct", 1, ())
        assert done.usage is not None
        assert (done.usage.input_tokens, done.usage.output_tokens) == (8, 0)
        assert len(trivium.embed("one", "primary/ok").embeddings) == 1
        assert trivium.embed("one", "primary/ok", purpose="query").losses == ("purpose",)
        ranked = trivium.rerank("a cat", texts, "primary/ok", top_n=1)
        assert [(rank.index, rank.score) for rank in ranked.ranking] == [(0, score("a cat", texts[0]))]
        seen = upstream.requests[-1]
        assert (seen.path, seen.json["documents"], seen.json["top_n"]) == ("/v1/rerank", texts, 1)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda t: t.embed([], "primary/ok"), InvalidRequest, "`input`"),
        (lambda t: t.embed(["a", 3], "primary/ok"), InvalidRequest, "`input`"),
        (lambda t: t.embed([object()], "primary/ok"), InvalidRequest, "JSON"),
        (lambda t: t.embed("a", "primary/ok", dimensions=0), InvalidRequest, "`dimensions`"),
        (lambda t: t.embed("a", "primary/ok", purpose="fun"), InvalidRequest, "`purpose`"),
        (lambda t: t.embed("a", "primary/ok", truncate="all"), InvalidRequest, "`truncate`"),
        (lambda t: t.embed("a", "primary/ok", purpose="query", strict=True), InvalidRequest, "`purpose`"),
        (lambda t: t.embed("a", "auto"), InvalidRequest, "`auto`"),
        (lambda t: t.embed("a", "nobody/x"), NotFound, "nobody"),
        (lambda t: t.embed("a", "primary/ok", data_class="premises"), NoEndpoint, "premises"),
        (lambda t: t.rerank("", ["a"], "primary/ok"), InvalidRequest, "`query`"),
        (lambda t: t.rerank("q", [], "primary/ok"), InvalidRequest, "`documents`"),
        (lambda t: t.rerank("q", ["a"], "auto"), InvalidRequest, "`auto`"),
    ],
)
def test_what_is_refused_of_them(settings: Config, call: Any, error: type[TriviumError], words: str) -> None:
    with Trivium(settings) as trivium, pytest.raises(error, match=words):
        call(trivium)


def test_a_plan_sends_nothing(settings: Config, upstream: FakeUpstream) -> None:
    with Trivium(settings) as trivium:
        assert [row.endpoint for row in trivium.plan("Hello", "two").endpoints] == ["primary/503", "primary/ok"]
        refused = trivium.plan("Hello", "two", data_class="premises")
        assert not refused.endpoints
        assert {row.reason for row in refused.rejected} == {"data_class"}
    assert upstream.count() == 0


@pytest.mark.parametrize(
    ("model", "parameters", "error"),
    [
        ("gpt-nope", {}, NotFound),
        ("primary/401", {}, UpstreamAuthError),
        ("primary/silent", {"timeout_s": 0.2}, UpstreamTimeout),
        ("primary/ok", {"data_class": "premises"}, TriviumError),
        ("primary/ok", {"data_class": "cellar"}, InvalidRequest),
        ("primary/ok", {"data_class": 5}, InvalidRequest),
        ("primary/ok", {"timeout_s": "x"}, InvalidRequest),
        ("primary/ok", {"timeout_s": 0}, InvalidRequest),
        ("primary/ok", {"timeout_s": float("nan")}, InvalidRequest),
        ("primary/ok", {"tools": 7}, InvalidRequest),
        ("primary/ok", {"seed": object()}, InvalidRequest),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_errors_are_ours(
    settings: Config, model: str, parameters: Any, error: type[TriviumError], stream: bool
) -> None:
    with Trivium(settings) as trivium:
        ask = trivium.stream if stream else trivium.chat
        with pytest.raises(error) as caught:
            list(ask("Hello", model, **parameters))  # type: ignore[arg-type]
    assert caught.value.kind


def test_no_messages(settings: Config) -> None:
    with Trivium(settings) as trivium, pytest.raises(InvalidRequest):
        trivium.chat([], "primary/ok")
    assert issubclass(NoEndpoint, TriviumError)


# ---- leaving


def test_closing_a_stream_stops_the_upstream(settings: Config, upstream: FakeUpstream) -> None:
    with Trivium(settings) as trivium:
        events = trivium.stream("Hello", "primary/gap-200")
        next(events)
        events.close()  # type: ignore[attr-defined]
        upstream.wait_until(lambda: upstream.requests[-1].client_gone_at is not None, 5)


def test_cancelling_stops_the_upstream(settings: Config, upstream: FakeUpstream) -> None:
    async def leave() -> None:
        async with AsyncTrivium(settings) as trivium:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(trivium.chat("Hello", "primary/late-20000"), 0.3)
            await asyncio.to_thread(upstream.wait_until, lambda: upstream.requests[-1].client_gone_at is not None, 5)

    asyncio.run(leave())


@pytest.mark.parametrize("stream", [False, True])
def test_closing_the_client_ends_the_calls_of_other_threads(
    settings: Config, upstream: FakeUpstream, stream: bool
) -> None:
    trivium = Trivium(settings)
    ended: list[BaseException] = []

    def ask() -> None:
        try:
            if stream:
                list(trivium.stream("Hello", "primary/stall-after-1"))
            else:
                trivium.chat("Hello", "primary/silent")
        except TriviumError as error:
            ended.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    upstream.wait_until(lambda: upstream.count() == 1)
    trivium.close()
    thread.join(10)
    assert [type(error) for error in ended] == [Draining]


def test_what_the_end_of_the_loop_cancels_or_refuses_is_told_so(settings: Config) -> None:
    trivium = Trivium(settings)
    running = trivium._running()  # pyright: ignore[reportPrivateUsage]

    async def outlast() -> None:
        running.stop()
        await asyncio.Event().wait()

    for _ in range(2):
        with pytest.raises(Draining):
            running.run(outlast())
    trivium.close()


def test_a_closed_client_starts_anew_but_its_streams_are_over(settings: Config) -> None:
    trivium = Trivium(settings)
    events = trivium.stream("Hello", "primary/gap-200")
    next(events)
    trivium.close()
    trivium.close()
    with pytest.raises(Draining):
        list(events)
    with trivium:
        assert trivium.chat("Hello", "primary/ok").text == TEXT


# ---- loops and threads


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, new_event_loop], ids=["asyncio", "platform"])
def test_on_the_callers_loop(settings: Config, factory: Any) -> None:
    async def ask() -> tuple[str, str]:
        async with AsyncTrivium(settings) as trivium:
            done = await trivium.chat("Hello", "primary/ok")
            return done.text, said([event async for event in trivium.stream("Hello", "primary/ok")])

    with asyncio.Runner(loop_factory=factory) as runner:
        assert runner.run(ask()) == (TEXT, TEXT)


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # a loop that ends takes its open connections with it
def test_one_client_on_one_loop_after_another(settings: Config) -> None:
    trivium = AsyncTrivium(settings)

    async def ask() -> str:
        return (await trivium.chat("Hello", "primary/ok")).text

    assert [asyncio.run(ask()) for _ in range(3)] == [TEXT] * 3
    asyncio.run(trivium.aclose())
    gc.collect()


@pytest.mark.parametrize("form", ["sync", "async"])
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # a loop that ends takes its open connections with it
def test_a_client_that_nobody_closed_is_collected_with_its_threads(settings: Config, form: str) -> None:
    async def ask() -> str:
        return (await AsyncTrivium(settings).chat("Hello", "primary/ok")).text

    text = Trivium(settings).chat("Hello", "primary/ok").text if form == "sync" else asyncio.run(ask())
    assert text == TEXT
    gc.collect()
    for thread in threading.enumerate():
        if thread.name in {"trivium", "trivium-owner"}:
            thread.join(10)
            assert not thread.is_alive(), thread.name


def test_inside_a_running_loop(settings: Config) -> None:
    async def cell() -> tuple[str, str]:
        with Trivium(settings) as trivium:
            return trivium.chat("Hello", "primary/ok").text, said(trivium.stream("Hello", "primary/ok"))

    assert asyncio.run(cell()) == (TEXT, TEXT)


def test_many_at_once(settings: Config) -> None:
    async def ask() -> list[str]:
        async with AsyncTrivium(settings) as trivium:
            answers = await asyncio.gather(*(trivium.chat(f"{n}", "primary/echo") for n in range(50)))
            return [answer.text for answer in answers]

    assert asyncio.run(ask()) == [str(n) for n in range(50)]


def test_from_many_threads(settings: Config) -> None:
    texts: dict[int, str] = {}
    with Trivium(settings) as trivium:

        def ask(number: int) -> None:
            texts[number] = trivium.chat(str(number), "primary/echo").text

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert texts == {number: str(number) for number in range(12)}


# ---- programs

START = f"""
import asyncio, atexit, os, sys, threading, time
LOOPS = {{'trivium', 'trivium-owner', 'trivium-ledger'}}
atexit.register(lambda: [print('still runs:', t, file=sys.stderr) for t in threading.enumerate() if t.name in LOOPS])
from trivium import AsyncTrivium, Trivium
LOCAL = {LOCAL!r}
"""
"""Registered before Trivium's own: looks last. A loop that outlives the interpreter may crash, but seldom does."""


class Program:
    """A Python program of a user with Trivium in it."""

    def __init__(self, code: str, home: Path, file: Path | None = None) -> None:
        named = {"TRIVIUM_CONFIG": str(file)} if file else {}
        self.process = subprocess.Popen(
            [sys.executable, "-X", "faulthandler", "-c", START + textwrap.dedent(code)],
            # A program that forgets to close is warned by asyncio itself.
            env=environment(home) | named | {"PYTHONWARNINGS": "error,ignore::ResourceWarning"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        line = self.process.stdout.readline()  # type: ignore[union-attr]
        assert line, self.process.communicate(timeout=20)[1]
        return line.strip()

    def tell(self) -> None:
        self.process.stdin.write("\n")  # type: ignore[union-attr]
        self.process.stdin.flush()  # type: ignore[union-attr]

    def end(self, timeout_s: float = 20) -> str:
        """What it still printed; it must end by itself, in silence and without a failure."""
        try:
            out, err = self.process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            out, err = self.process.communicate()
            raise AssertionError(f"the program hangs\n{out}{err}") from None
        assert (self.process.returncode, err) == (0, "")
        return out

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def file(upstream: FakeUpstream, tmp_path: Path) -> Path:
    path = tmp_path / "trivium.toml"
    path.write_text(config([provider(upstream)], scale=1))
    return path


@pytest.mark.parametrize(
    "code",
    [
        "print(Trivium().chat('Hello', 'primary/ok').text)",
        "t = Trivium(); events = t.stream('Hello', 'primary/gap-200'); next(events); print('read')",
        "async def main():\n    print((await AsyncTrivium().chat('Hello', 'primary/ok')).text)\nasyncio.run(main())",
        """
        t = AsyncTrivium()
        async def main():
            print((await t.chat('Hello', 'primary/ok')).text)
        asyncio.run(main())
        """,
        """
        t = AsyncTrivium()
        async def main():
            events = t.stream('Hello', 'primary/gap-200')
            await anext(events)
            print('read')
        asyncio.run(main())
        """,
        """
        import threading
        t = Trivium()
        def ask():
            try:
                t.chat('Hello', 'primary/silent')
            except Exception:
                pass
        threading.Thread(target=ask, daemon=True).start()
        time.sleep(0.3)
        print('left')
        """,
    ],
    ids=["forgotten", "half-read", "async", "async-kept", "async-half-read", "asking"],
)
def test_a_program_ends(code: str, file: Path, tmp_path: Path) -> None:
    program = Program(code, tmp_path / "home", file)
    program.line()
    start = time.monotonic()
    program.end()
    assert time.monotonic() - start < 10


def test_after_a_fork_both_go_on(file: Path, tmp_path: Path) -> None:
    code = """
    t = Trivium()
    assert t.chat('Hello', 'primary/ok').text
    pid = os.fork()
    for _ in range(3):
        assert t.chat('Hello', 'primary/ok').text
    if pid:
        assert os.waitpid(pid, 0)[1] == 0
        for _ in range(3):
            assert t.chat('Hello', 'primary/ok').text
        print('parent', flush=True)
    """
    assert Program(code, tmp_path / "home", file).end(30) == "parent\n"


ASK_AND_STAY = f"""
t = Trivium()
for _ in sys.stdin:
    print(t.chat('Hello', {LOCAL!r}, max_tokens=2).endpoint, flush=True)
"""


def engines(home: Path) -> list[int]:
    """The engine processes whose parents belong to this home."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                environ = (entry / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"trivium.engines.llamacpp_worker" in words and f"HOME={home}".encode() in environ:
                found.append(int(entry.name))
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_two_programs_share_an_engine_and_one_inherits(model_home: Path, tmp_path: Path) -> None:
    home = _home_like(model_home, tmp_path)
    programs = [Program(ASK_AND_STAY, home) for _ in range(2)]
    try:
        for program in programs:
            program.tell()
        assert [program.line() for program in programs] == [LOCAL, LOCAL]
        (engine,) = engines(home)
        owner = next(p for p in programs if str(p.process.pid) == _parent(engine))
        heir = programs[1 - programs.index(owner)]
        owner.kill()
        heir.tell()
        assert heir.line() == LOCAL
        assert engine not in engines(home)
        assert len(engines(home)) == 1
        heir.process.stdin.close()  # type: ignore[union-attr]
        heir.process.stdin = None
        heir.end()
        assert engines(home) == []
    finally:
        for program in programs:
            if program.process.poll() is None:
                program.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_program_beside_a_server_shares_its_engine(model_home: Path, tmp_path: Path) -> None:
    home = _home_like(model_home, tmp_path)
    with serve(config([]), home=home) as served:
        program = Program(f"print(Trivium().chat('Hello', {LOCAL!r}, max_tokens=2).endpoint, flush=True)", home)
        assert program.end(60) == f"{LOCAL}\n"
        import openai

        with openai.OpenAI(base_url=served.base_url, api_key="any", max_retries=0) as client:
            assert client.chat.completions.create(
                model=LOCAL, messages=[{"role": "user", "content": "Hi"}], max_tokens=2
            ).choices
        assert len(engines(home)) == 1
    assert engines(home) == []


def _home_like(model_home: Path, folder: Path) -> Path:
    """A home of its own with the same models."""
    home = folder / "home"
    home.mkdir()
    (home / "models").symlink_to(model_home / "models")
    return home


def _parent(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]


def test_the_policy_holds_here_as_in_the_plan(upstream: FakeUpstream, tmp_path: Path) -> None:
    file = tmp_path / "trivium.toml"
    text = config([provider(upstream)], scale=1)
    file.write_text(text.replace("[policy]\n", '[policy]\ndata_class = "premises"\n'))
    with Trivium(str(file)) as trivium:
        assert trivium.plan("Hello", "primary/ok").endpoints == ()
        with pytest.raises(NoEndpoint, match="premises"):
            trivium.chat("Hello", "primary/ok")
    assert upstream.count() == 0
