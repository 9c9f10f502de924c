"""Vendors' own clients over the pipeline of the same process: no socket, nothing of the environment, all they can."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest

from connects import record_connects
from support import config, environment, provider
from trivium import AsyncTrivium, Trivium, sdk
from trivium.config.load import load
from trivium.config.schema import Config
from trivium.errors import Draining
from trivium.gateway import surface
from trivium.testing import FakeUpstream
from trivium.transport.platform import PORTABLE
from trivium.transport.server import WRITE_HIGH
from vendors import ANTHROPIC, GEMINI, OPENAI, VENDORS, Vendor, close, each, got

TEXT = "The capital of France is Paris."
UPSTREAMS = {"oai": "openai_chat", "ant": "anthropic_messages"}
READ_MAX = 1 << 20
"""More than one read of an upstream brings."""
PRICED = '[[models]]\nid = "oai/priced"\nprice = { input = 1.0, output = 10.0 }\n'
LEAKS = {
    "OPENAI_BASE_URL": "http://192.0.2.1/elsewhere",
    "OPENAI_API_KEY": "leak",
    "OPENAI_ORG_ID": "leak",
    "OPENAI_PROJECT_ID": "leak",
    "OPENAI_CUSTOM_HEADERS": "x-trivium-data-class: leak\nopenai-project: leak\nauthorization: any",
    "ANTHROPIC_BASE_URL": "http://192.0.2.1/elsewhere",
    "ANTHROPIC_API_KEY": "leak",
    "ANTHROPIC_AUTH_TOKEN": "leak",
    "ANTHROPIC_CUSTOM_HEADERS": "anthropic-beta: leak\nx-trivium-strict: leak\nAuthorization: any\nx-api-key: leak",
    "CO_API_URL": "http://192.0.2.1/elsewhere",
    "CO_API_KEY": "leak",
    "GOOGLE_API_KEY": "leak",
    "GOOGLE_GEMINI_BASE_URL": "http://192.0.2.1/elsewhere",
    "GOOGLE_GENAI_API_VERSION": "leak",
    "GOOGLE_GENAI_USE_VERTEXAI": "true",
    "GOOGLE_GENAI_CLIENT_MODE": "record",
    "OLLAMA_HOST": "http://192.0.2.1/elsewhere",
    "OLLAMA_API_KEY": "leak",
    "HTTP_PROXY": "http://192.0.2.1:1",
    "HTTPS_PROXY": "http://192.0.2.1:1",
    "ALL_PROXY": "http://192.0.2.1:1",
}


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream() as up:
        yield up


@pytest.fixture
def file(upstream: FakeUpstream, tmp_path: Path) -> Path:
    path = tmp_path / "trivium.toml"
    rows = [provider(upstream, name, dialect=dialect) for name, dialect in UPSTREAMS.items()]  # type: ignore[arg-type]
    path.write_text(config(rows, [{"name": "main", "targets": ["oai/ok"]}], scale=1))
    return path


@pytest.fixture
def settings(file: Path, tmp_path: Path) -> Config:
    return load(file=file, env={}, cwd=tmp_path, home=tmp_path / "home")


@pytest.fixture(params=["sync", "async"])
def form(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=VENDORS, ids=lambda vendor: vendor.name)
def vendor(request: pytest.FixtureRequest) -> Vendor:
    return request.param


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What the surface is asked."""
    asked: list[tuple[Any, ...]] = []
    answer = surface.answer
    monkeypatch.setattr(surface, "answer", lambda *given: (asked.append(given), answer(*given)))
    return asked


@asynccontextmanager
async def opened(form: str, settings: Config) -> AsyncIterator[Any]:
    """A `Trivium` inside this running loop, or an `AsyncTrivium` on it."""
    made = Trivium(settings) if form == "sync" else AsyncTrivium(settings)
    try:
        yield made
    finally:
        await close(made)


# ---- what is answered


@pytest.mark.parametrize("at", UPSTREAMS)
def test_a_plain_answer_and_a_stream(settings: Config, vendor: Vendor, form: str, at: str) -> None:
    async def ask() -> None:
        async with opened(form, settings) as trivium:
            client = getattr(trivium, vendor.method)()
            assert vendor.text(await got(vendor.ask(client, f"{at}/ok"))) == TEXT
            stream = await got(vendor.stream(client, f"{at}/ok"))
            assert "".join([vendor.delta(chunk) async for chunk in each(stream)]) == TEXT
            assert vendor.text(await got(vendor.ask(client, "main"))) == TEXT

    asyncio.run(ask())


@pytest.mark.parametrize("at", UPSTREAMS)
def test_tools(settings: Config, vendor: Vendor, form: str, at: str) -> None:
    async def ask() -> None:
        async with opened(form, settings) as trivium:
            client = getattr(trivium, vendor.method)()
            done = await got(vendor.ask(client, f"{at}/tool", **vendor.tool))
            assert vendor.calls(done) == ["look"]

    asyncio.run(ask())


def test_models(settings: Config, vendor: Vendor, form: str) -> None:
    async def ask() -> None:
        async with opened(form, settings) as trivium:
            client = getattr(trivium, vendor.method)()
            assert {"auto", "main"} <= set(vendor.ids(await got(vendor.models(client))))

    asyncio.run(ask())


def test_the_first_word_comes_before_the_last_is_said(
    settings: Config, upstream: FakeUpstream, vendor: Vendor, form: str
) -> None:
    async def read() -> None:
        async with opened(form, settings) as trivium:
            client = getattr(trivium, vendor.method)()
            stream = await got(vendor.stream(client, "oai/stall-after-1"))
            said = ""
            async for chunk in each(stream):
                said += vendor.delta(chunk)
                if said:
                    break
            assert TEXT.startswith(said)
            assert upstream.requests[-1].answered_at is None
            await close(stream)

    asyncio.run(read())


# ---- what goes wrong


@pytest.mark.parametrize(
    ("model", "status"), [("oai/400", 400), ("oai/401", 502), ("nobody/x", 404), ("oai/429-forever", 429)]
)
def test_an_error_is_the_vendors_own(
    settings: Config, upstream: FakeUpstream, vendor: Vendor, form: str, model: str, status: int
) -> None:
    async def ask() -> None:
        async with opened(form, settings) as trivium:
            client = getattr(trivium, vendor.method)()
            with pytest.raises(vendor.errors()[0]) as caught:
                await got(vendor.ask(client, model))
            assert vendor.status(caught.value) == status

    asyncio.run(ask())
    assert upstream.count() <= 2  # ours, and nothing that the client tried again


def test_an_error_in_the_middle_is_the_vendors_own(settings: Config, vendor: Vendor, form: str) -> None:
    async def ask() -> None:
        async with opened(form, settings) as trivium:
            client = getattr(trivium, vendor.method)()
            with pytest.raises(vendor.errors()):
                _ = [chunk async for chunk in each(await got(vendor.stream(client, "oai/error-midstream-2")))]

    asyncio.run(ask())


def test_closing_a_stream_stops_the_upstream(
    settings: Config, upstream: FakeUpstream, vendor: Vendor, form: str
) -> None:
    def gone() -> bool:
        if vendor is GEMINI:
            gc.collect()  # its async client ties what it reads to itself, and lets go at a collection only
        return upstream.requests[-1].client_gone_at is not None

    async def leave() -> None:
        async with opened(form, settings) as trivium:
            client = getattr(trivium, vendor.method)()
            stream = await got(vendor.stream(client, "oai/gap-200"))
            async for _ in each(stream):
                break
            await close(stream)
            await asyncio.to_thread(upstream.wait_until, gone, 5)

    asyncio.run(leave())


def test_a_stream_that_is_dropped_stops_the_upstream(settings: Config, upstream: FakeUpstream, form: str) -> None:
    async def leave() -> None:
        async with opened(form, settings) as trivium:
            client = trivium.openai_client()
            for _ in range(2):  # of two, one is not even looked into
                await got(OPENAI.stream(client, "oai/stall-after-1"))
            gc.collect()
            gone = lambda: all(seen.client_gone_at for seen in upstream.requests)  # noqa: E731
            await asyncio.to_thread(upstream.wait_until, gone, 5)

    asyncio.run(leave())


@pytest.mark.parametrize("stream", [False, True])
def test_the_clients_own_time_limit(settings: Config, upstream: FakeUpstream, form: str, stream: bool) -> None:
    import openai

    async def wait() -> None:
        async with opened(form, settings) as trivium:
            client = trivium.openai_client().with_options(timeout=0.3)
            ask = OPENAI.stream if stream else OPENAI.ask
            with pytest.raises(openai.APITimeoutError):
                _ = [chunk async for chunk in each(await got(ask(client, "oai/stall-after-1")))]
            await asyncio.to_thread(upstream.wait_until, lambda: upstream.requests[-1].client_gone_at is not None, 5)

    asyncio.run(wait())
    assert upstream.count() == 1  # it is not tried again


def test_a_cancelled_call_stops_the_upstream(settings: Config, upstream: FakeUpstream, vendor: Vendor) -> None:
    async def leave() -> None:
        async with AsyncTrivium(settings) as trivium:
            client = getattr(trivium, vendor.method)()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(vendor.ask(client, "oai/late-20000"), 0.3)
            await asyncio.to_thread(upstream.wait_until, lambda: upstream.requests[-1].client_gone_at is not None, 5)

    asyncio.run(leave())


def test_an_upstream_waits_for_a_slow_reader(
    settings: Config, calls: list[tuple[Any, ...]], upstream: FakeUpstream, form: str
) -> None:
    async def read() -> None:
        async with opened(form, settings) as trivium:
            stream = await got(OPENAI.stream(trivium.openai_client(), "oai/flood-16"))
            chunks = each(stream)
            said = len(OPENAI.delta(await anext(chunks)))
            await asyncio.sleep(0.3)
            held = calls[0][1]._size
            assert WRITE_HIGH <= held <= WRITE_HIGH + READ_MAX
            assert upstream.busy
            async for chunk in chunks:
                said += len(OPENAI.delta(chunk))
            assert said >= 15 << 20

    asyncio.run(read())


# ---- nothing else


def test_no_socket_but_the_upstreams(
    settings: Config,
    calls: list[tuple[Any, ...]],
    upstream: FakeUpstream,
    vendor: Vendor,
    form: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nor does anything of the environment that is meant for the vendor's own service have an effect."""
    for name, value in LEAKS.items():
        monkeypatch.setenv(name, value)
        monkeypatch.setenv(name.lower(), value)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    async def ask() -> None:
        async with opened(form, settings) as trivium:
            client = getattr(trivium, vendor.method)()
            assert vendor.text(await got(vendor.ask(client, "ant/ok"))) == TEXT
            if hasattr(client, "with_options"):  # which makes another one
                client = client.with_options(timeout=60)
            stream = await got(vendor.stream(client, "oai/ok"))
            assert "".join([vendor.delta(chunk) async for chunk in each(stream)]) == TEXT

    with record_connects() as acts:
        asyncio.run(ask())
    asked: list[dict[bytes, bytes]] = [call[4] for call in calls]
    assert not [(n, v) for fields in asked for n, v in fields.items() if b"leak" in v]
    assert not {b"openai-organization", b"openai-project"} & {name for fields in asked for name in fields}
    reached = {act.target for act in acts if act.kind == "connect"}
    own = {target for target in reached if target.endswith("/run/control.sock")}  # the home's owner, on this machine
    if PORTABLE:  # where that is a port of loopback
        assert all(target.startswith("127.0.0.1:") for target in reached)
    else:
        assert reached - own == {f"127.0.0.1:{upstream.port}"}
    assert {act.target for act in acts if act.kind == "resolve"} <= {"127.0.0.1"}
    assert not [seen for seen in upstream.requests if b"leak" in seen.head + seen.body]


def test_headers_of_ours_are_heard_and_sent(settings: Config) -> None:
    with Trivium(settings) as trivium:
        raw = trivium.openai_client().chat.completions.with_raw_response.create(
            model="oai/ok", messages=[{"role": "user", "content": "Hello"}]
        )
        assert raw.headers["x-request-id"] == raw.headers["request-id"] == raw.request_id
        assert (raw.headers["x-trivium-endpoint"], raw.headers["x-trivium-attempts"]) == ("oai/ok", "1")
        assert int(raw.headers["content-length"]) == len(raw.content)
        with pytest.raises(OPENAI.errors()[0], match="premises"):
            OPENAI.ask(trivium.openai_client(), "oai/ok", extra_headers={"x-trivium-data-class": "premises"})


def test_a_forwarded_header_is_forwarded(settings: Config, upstream: FakeUpstream) -> None:
    with Trivium(settings) as trivium:
        ANTHROPIC.ask(trivium.anthropic_client(), "ant/ok", extra_headers={"anthropic-beta": "one,two"})
    assert upstream.requests[-1].headers["anthropic-beta"] == "one,two"


@pytest.mark.parametrize("owner", [Trivium, AsyncTrivium])
def test_a_package_is_loaded_when_it_is_asked_for(owner: type, settings: Config, file: Path, tmp_path: Path) -> None:
    code = f"""
import sys
from trivium import {owner.__name__}
made = {owner.__name__}()
assert not {{"openai", "anthropic", "cohere", "google.genai", "ollama", "httpx"}} & set(sys.modules)
made.openai_client()
assert "openai" in sys.modules and "anthropic" not in sys.modules
sys.modules["anthropic"] = None
try:
    made.anthropic_client()
except ImportError as error:
    print(error)
"""
    env = environment(tmp_path / "home") | {"TRIVIUM_CONFIG": str(file)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert "pip install 'anthropic>=2'" in done.stdout


def test_every_package_has_its_remedy(settings: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, package in sdk.PACKAGES.items():
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(ImportError, match=f"pip install '{package}'"):
            getattr(Trivium(settings), f"{'gemini' if module == 'google.genai' else module}_client")()


# ---- threads, forks, ends


def test_geminis_other_half_works_on_any_loop(settings: Config) -> None:
    async def ask(client: Any) -> list[str]:
        done = await GEMINI.ask(client.aio, "oai/ok")
        stream = await GEMINI.stream(client.aio, "oai/ok")
        return [GEMINI.text(done), "".join([GEMINI.delta(chunk) async for chunk in stream])]

    with Trivium(settings) as trivium:
        client = trivium.gemini_client()
        for _ in range(2):
            assert asyncio.run(ask(client)) == [TEXT, TEXT]
    with pytest.raises(GEMINI.errors()[0], match="was closed"):
        asyncio.run(ask(client))


def test_what_ends_there_is_told_to_another_loop(settings: Config, upstream: FakeUpstream) -> None:
    trivium = Trivium(settings)
    running = trivium._running()

    async def outlast() -> None:
        running.stop()
        await asyncio.Event().wait()

    async def ask() -> None:
        with pytest.raises(TimeoutError):  # the caller's own end is no news to it
            await asyncio.wait_for(GEMINI.ask(trivium.gemini_client().aio, "oai/late-20000"), 0.3)
        await asyncio.to_thread(upstream.wait_until, lambda: upstream.requests[-1].client_gone_at is not None, 5)
        for _ in range(2):  # it is cancelled, then refused
            with pytest.raises(Draining):
                await running.wait(outlast())

    asyncio.run(ask())
    trivium.close()


def test_closing_ends_the_calls_of_other_loops(settings: Config, upstream: FakeUpstream) -> None:
    async def ask() -> None:
        trivium = Trivium(settings)
        task = asyncio.create_task(GEMINI.ask(trivium.gemini_client().aio, "oai/silent"))
        await asyncio.to_thread(upstream.wait_until, lambda: upstream.count() == 1)
        await asyncio.to_thread(trivium.close)
        with pytest.raises(GEMINI.errors()[0], match="closed"):
            await asyncio.wait_for(task, 10)

    asyncio.run(ask())


def test_from_many_threads(settings: Config) -> None:
    texts: list[str] = []
    with Trivium(settings) as trivium:
        client = trivium.openai_client()

        def ask() -> None:
            texts.append(OPENAI.text(OPENAI.ask(client, "oai/ok")))
            texts.append("".join(OPENAI.delta(chunk) for chunk in OPENAI.stream(client, "ant/ok")))

        threads = [threading.Thread(target=ask) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert texts == [TEXT] * 24


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # a loop that ends takes its open connections with it
def test_on_one_loop_after_another(settings: Config, vendor: Vendor) -> None:
    trivium = AsyncTrivium(settings)
    client = getattr(trivium, vendor.method)()

    async def ask() -> str:
        return vendor.text(await vendor.ask(client, "oai/ok"))

    assert [asyncio.run(ask()) for _ in range(3)] == [TEXT] * 3
    asyncio.run(trivium.aclose())
    gc.collect()


def test_a_client_is_over_when_its_maker_is_closed(
    settings: Config, upstream: FakeUpstream, vendor: Vendor, form: str
) -> None:
    async def ask() -> None:
        trivium: Any = Trivium(settings) if form == "sync" else AsyncTrivium(settings)
        client = getattr(trivium, vendor.method)()
        assert vendor.text(await got(vendor.ask(client, "oai/ok"))) == TEXT
        await close(trivium)
        for call in (vendor.ask, vendor.stream):
            with pytest.raises(vendor.errors()[0], match="was closed") as caught:
                _ = [chunk async for chunk in each(await got(call(client, "oai/ok")))]
            assert vendor.status(caught.value) == 503
        fresh = getattr(trivium, vendor.method)()
        assert vendor.text(await got(vendor.ask(fresh, "oai/ok"))) == TEXT
        await close(trivium)

    asyncio.run(ask())
    assert upstream.count() == 2


@pytest.mark.parametrize("stream", [False, True])
def test_closing_ends_the_calls_of_others(
    settings: Config, upstream: FakeUpstream, vendor: Vendor, stream: bool
) -> None:
    trivium = Trivium(settings)
    client = getattr(trivium, vendor.method)()
    ended: list[BaseException] = []

    def ask() -> None:
        try:
            if stream:
                list(vendor.stream(client, "oai/stall-after-1"))
            else:
                vendor.ask(client, "oai/silent")
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    upstream.wait_until(lambda: upstream.count() == 1)
    trivium.close()
    thread.join(10)
    assert [isinstance(error, (*vendor.errors(), httpx2.ReadError, httpx.ReadError)) for error in ended] == [True]
    assert re.search("closed|cut", f"{ended[0]} {ended[0].__cause__}")


@pytest.mark.parametrize("stream", [False, True])
def test_closing_ends_calls_on_the_same_loop(
    settings: Config, upstream: FakeUpstream, vendor: Vendor, stream: bool
) -> None:
    async def ask() -> None:
        trivium = AsyncTrivium(settings)
        client = getattr(trivium, vendor.method)()

        async def call() -> None:
            if stream:
                _ = [chunk async for chunk in each(await got(vendor.stream(client, "oai/stall-after-1")))]
            else:
                await vendor.ask(client, "oai/silent")

        task = asyncio.create_task(call())
        await asyncio.to_thread(upstream.wait_until, lambda: upstream.count() == 1)
        await trivium.aclose()
        with pytest.raises(vendor.errors(), match=r"closed|cut"):
            await asyncio.wait_for(task, 10)

    asyncio.run(ask())


def test_a_closed_client_closes_nothing_of_trivium(settings: Config, vendor: Vendor, form: str) -> None:
    async def ask() -> None:
        async with opened(form, settings) as trivium:
            for _ in range(2):
                client = getattr(trivium, vendor.method)()
                assert vendor.text(await got(vendor.ask(client, "oai/ok"))) == TEXT
                if hasattr(client, "close") or hasattr(client, "aclose"):
                    await close(client)

    asyncio.run(ask())


def test_the_readmes_lines_run(file: Path, tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "README.md").read_text()
    blocks = [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "with Trivium()" in block]
    assert len(blocks) == 2
    file.write_text(f'{file.read_text()}\n[defaults]\nmodel = "oai/priced"\n{PRICED}')
    env = environment(tmp_path / "home") | {"TRIVIUM_CONFIG": str(file)}
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks)], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{TEXT} direct oai/priced")


FORKED = """
import os
from trivium import Trivium
trivium = Trivium()
client = trivium.openai_client()
def ask():
    done = client.chat.completions.create(model="oai/ok", messages=[{"role": "user", "content": "Hello"}])
    return done.choices[0].message.content
half = client.chat.completions.create(model="oai/gap-50", messages=[{"role": "user", "content": "Hi"}], stream=True)
next(iter(half))
pid = os.fork()
assert ask() and ask()
if pid == 0:
    try:
        list(half)
    except Exception as error:
        assert "closed" in str(error.__cause__), error
    else:
        raise SystemExit("a stream of the parent's went on in its child")
else:
    assert os.waitpid(pid, 0)[1] == 0
    assert len(list(half)) > 1
    print(ask())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_after_a_fork_both_go_on(file: Path, tmp_path: Path) -> None:
    env = environment(tmp_path / "home") | {"TRIVIUM_CONFIG": str(file), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-c", FORKED], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr, done.stdout) == (0, "", f"{TEXT}\n")
