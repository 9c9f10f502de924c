"""Asks the cells of the fault table and judges what came back, what the ledger says and what was left open.

A bench is one gateway, as a server or as a library, over a fake primary in each dialect and a fake fallback; every
cell of the table is a route of its own there. Cells run one after the other, so that what is new in the journal and
at the fake upstreams after a cell is that cell's.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

import fake_names as names
import support
from faults.cases import CASES, DIALECTS, FALLBACK_TEXT, Case, Cell, Outcome, cells
from ledger_help import apart_all
from support import SCALE, Address, Dialect, Served, ask_raw, config, primary_at, provider
from trivium.client import AsyncTrivium
from trivium.errors import TriviumError
from trivium.ledger import segment
from trivium.ledger.record import Closed, Record, Reserved, Settled
from trivium.testing import FakeUpstream
from trivium.types.event import TextDelta
from trivium.wire.sse import SSEParser

SLACK = 5.0
"""A test fails at this many times a limit only; the figures themselves belong to the table."""
AT_ONCE_S = 0.1
"""No limit is scaled below this: the machine that runs the tests has other work."""
CLEAN_S = 2.0
WAITS = 22
"""The case whose waits stand in headers and are not scaled."""
SLOW_CASES = (6, 7, 11)
TIMED_FIXTURES = ("black-hole", "tls-stall", "name-slow")
"""Where the deadline is what ends the attempt; elsewhere a busy machine must not turn a refusal into a timeout."""
PATIENT = {"connect": 60.0, "tls": 60.0, "first_content": 120.0, "idle": 120.0}
"""Before scaling, where no deadline is what is tried: a busy machine is no fault."""
UNTOUCHED = ("cut-before-headers", "rst-before-headers")
"""On a reused connection these look like an idle one that was closed: the attempt is sent once more (case 30)."""
BROKEN_TEXT = 17
"""The case whose texts may be unreadable, so that no exact text is promised."""
PRICE = {"input": 1.0, "output": 2.0}


@dataclass
class Seen:
    """What the caller of one request saw."""

    outcome: Outcome
    text: str = ""
    kind: str = ""
    request_id: str = ""
    elapsed_s: float = 0.0
    note: str = ""
    """What was wrong with it, if a caller could be misled."""


@dataclass
class Money:
    """What the journal says about requests."""

    reserved: list[Reserved] = field(default_factory=list[Reserved])
    settled: list[Settled] = field(default_factory=list[Settled])
    closed: list[Closed] = field(default_factory=list[Closed])

    def at(self, provider_prefix: str) -> list[Settled]:
        own = {(r.id, r.attempt) for r in self.reserved if r.place.provider.startswith(provider_prefix)}
        return [s for s in self.settled if (s.id, s.attempt) in own]


class JournalReader:
    """What was appended to the journals of a home since the last look."""

    def __init__(self, home: Path) -> None:
        self._directory = home / "journal"
        self._read: dict[Path, int] = {}

    def new(self) -> Money:
        money = Money()
        for path in sorted(self._directory.glob("*.journal")):
            start = self._read.get(path, len(segment.HEADER))
            stretch = segment.parse(path.read_bytes()[start:])
            assert not stretch.damaged
            self._read[path] = start + stretch.size
            for record in apart_all(stretch.records):
                _file(money, record)
        return money


def _file(money: Money, record: Record) -> None:
    match record:
        case Reserved():
            money.reserved.append(record)
        case Settled():
            money.settled.append(record)
        case Closed():
            money.closed.append(record)


def all_cells(surface: str, table: Iterable[Case] = CASES, actions: Sequence[str] = ("ask",)) -> list[Cell]:
    return [c for case in table if case.action in actions for c in cells(case) if c.surface == surface]


def params(chosen: Sequence[Cell]) -> list[Any]:
    """Cells as pytest wants them. Of the forms of a 429, which wait for real seconds, each is asked in one cell,
    another one from form to form, and in all others in the long run."""
    found: list[Any] = []
    turn = 0
    for case, group in itertools.groupby(chosen, key=lambda cell: cell.case):
        own = list(group)
        turn += case.number == WAITS
        for index, cell in enumerate(own):
            later = case.number == WAITS and index != turn % len(own)
            found.append(pytest.param(cell, id=cell.id, marks=pytest.mark.long if later else ()))
    return found


def route_name(cell: Cell) -> str:
    mode = "stream" if cell.stream else "whole"
    return f"{cell.case.id}-{cell.dialect}-{mode}-{'fallback' if cell.fallback else 'alone'}"


def _always(cell: Cell) -> bool:
    return not cell.stream and cell.case.upstream_stream == "always"


def _primary_id(cell: Cell) -> str:
    """A provider a fixture and dialect; a name that is looked up slowly is new to every cell, or it would be known."""
    own = f"-{'s' if cell.stream else 'w'}{'f' if cell.fallback else 'a'}" if cell.case.fixture == "name-slow" else ""
    return f"primary-{cell.case.fixture or 'up'}-{cell.dialect}{own}".replace("_", "-")


def _deadlines(scale: float, *names_: str) -> dict[str, str]:
    return {name: f"{support.TIMEOUTS[name] / scale * 1000:.3f}ms" for name in names_}


def _routes(chosen: Iterable[Cell], scale: float) -> list[dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    for cell in chosen:
        case = cell.case
        name = route_name(cell)
        targets = [f"{_primary_id(cell)}/{case.model}"]
        targets += [f"fallback-{cell.dialect.replace('_', '-')}/ok"] if cell.fallback else []
        # Cells share an endpoint, and each is to meet it as if it were the first: the breaker has tests of its own.
        row: dict[str, Any] = {"name": name, "targets": targets, "breaker": {"failures": 1_000_000}}
        if _always(cell):
            row["upstream_stream"] = "always"
        if case.number in SLOW_CASES:
            row["timeouts"] = _deadlines(scale, "first_content", "idle")
        rows[name] = row
    return list(rows.values())


def _prices(chosen: Iterable[Cell]) -> list[dict[str, Any]]:
    ids = {f"{_primary_id(c)}/{c.case.model}" for c in chosen}
    ids |= {f"fallback-{dialect.replace('_', '-')}/ok" for dialect in DIALECTS}
    return [{"id": name, "price": PRICE} for name in sorted(ids)]


@dataclass
class Setting:
    """The upstreams of a bench, and what a process needs to reach them."""

    up: FakeUpstream
    fallback: FakeUpstream
    text: str
    """Of the configuration."""
    env: dict[str, str]
    names: dict[str, names.Name]


@contextlib.contextmanager
def setting(chosen: Sequence[Cell], scale: float = SCALE, **tables: Any) -> Generator[Setting]:
    """Upstreams and a configuration with a route for each of these cells."""
    with contextlib.ExitStack() as stack:
        up = stack.enter_context(FakeUpstream(time_scale=scale))
        fallback = stack.enter_context(FakeUpstream(time_scale=scale, text=FALLBACK_TEXT))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        at: dict[str, Address] = {
            fixture: stack.enter_context(primary_at(fixture, up, scale)) for fixture in {c.case.fixture for c in chosen}
        }
        faked = dict[str, names.Name]()
        primaries = dict[str, dict[str, Any]]()
        for cell in chosen:
            name = _primary_id(cell)
            url = _url_of(at[cell.case.fixture], name, faked)
            waits = {"timeouts": _deadlines(scale, "connect", "tls")} if cell.case.fixture in TIMED_FIXTURES else {}
            primaries[name] = provider(url, name, dialect=cast("Dialect", cell.dialect), **waits)
        rows = list(primaries.values())
        rows += [provider(fallback, f"fallback-{d.replace('_', '-')}", dialect=d) for d in DIALECTS]
        bundle = folder / "ca.pem"
        bundle.write_bytes(b"".join(a.ca_file.read_bytes() for a in at.values() if a.ca_file))
        env = names.environment(faked) if faked else {}
        env |= {"SSL_CERT_FILE": str(bundle)} if bundle.stat().st_size else {}
        text = config(
            rows, _routes(chosen, scale), scale=scale, timeouts=None if scale == 1 else PATIENT, **tables
        ) + _models(_prices(chosen))
        yield Setting(up, fallback, text, env, faked)


def _url_of(address: Address, name: str, faked: dict[str, names.Name]) -> str:
    """Under a host name of its own if it has one that is faked, so that no cell finds what another looked up."""
    url = address.base_url
    for host, row in address.names.items():
        faked[f"{name}.{host}"] = row
        url = url.replace(host, f"{name}.{host}")
    return url


def _models(rows: Iterable[dict[str, Any]]) -> str:
    return "".join(
        f'\n[[models]]\nid = "{row["id"]}"\nprice = {{ input = {row["price"]["input"]}, '
        f"output = {row['price']['output']} }}\n"
        for row in rows
    )


class Bench(ABC):
    """One gateway under test. `ask` is how a cell is asked."""

    def __init__(self, on: Setting, home: Path, scale: float = SCALE) -> None:
        self.on = on
        self.scale = scale
        self.journal = JournalReader(home)

    @abstractmethod
    def ask(self, cell: Cell) -> Seen: ...

    @abstractmethod
    def idle(self) -> bool:
        """Whether no request is in flight."""

    @abstractmethod
    def probe(self) -> Seen:
        """A request to the fallback, that nothing but a dead gateway fails."""


class GatewayBench(Bench):
    def __init__(self, on: Setting, served: Served, scale: float = SCALE) -> None:
        super().__init__(on, served.home, scale)
        self.served = served

    def dialect_of(self, cell: Cell) -> Dialect:
        """What the caller speaks; the cell's dialect is the upstream's."""
        return cast("Dialect", cell.dialect)

    def ask(self, cell: Cell) -> Seen:
        start = time.monotonic()
        dialect = self.dialect_of(cell)
        quiet_s = 40.0 / self.scale + 5.0
        raw = ask_raw(self.served.port, dialect, route_name(cell), stream=cell.stream, quiet_s=quiet_s)
        seen = read_stream(raw, dialect) if cell.stream and raw.status == 200 else read_whole(raw, dialect)
        seen.elapsed_s = time.monotonic() - start
        return seen

    def probe(self) -> Seen:
        start = time.monotonic()
        raw = ask_raw(self.served.port, "openai_chat", "fallback-openai-chat/ok")
        text = msgspec.json.decode(raw.payload)["choices"][0]["message"]["content"] if raw.status == 200 else ""
        return Seen("answer" if raw.status == 200 else "error", text, elapsed_s=time.monotonic() - start)

    def idle(self) -> bool:
        return not self.on.up.busy and not self.on.fallback.busy


class CrossedBench(GatewayBench):
    """Callers speak the other dialect, so that every answer is translated."""

    def dialect_of(self, cell: Cell) -> Dialect:
        return next(dialect for dialect in support.DIALECTS if dialect != cell.dialect)


class LibraryBench(Bench):
    def __init__(self, on: Setting, client: AsyncTrivium, loop: asyncio.AbstractEventLoop, home: Path) -> None:
        super().__init__(on, home)
        self.client = client
        self.loop = loop

    def ask(self, cell: Cell) -> Seen:
        return self.loop.run_until_complete(self._ask(route_name(cell), stream=cell.stream))

    async def _ask(self, model: str, *, stream: bool) -> Seen:
        start = time.monotonic()
        pieces: list[str] = []
        try:
            if stream:
                async for event in self.client.stream("Where is the Louvre?", model, max_output_tokens=10_000):
                    pieces += [event.text] if isinstance(event, TextDelta) else []
            else:
                pieces.append((await self.client.chat("Where is the Louvre?", model, max_output_tokens=10_000)).text)
        except TriviumError as error:
            seen = Seen("cut" if any(pieces) else "error", "".join(pieces), error.kind)
        else:
            seen = Seen("answer", "".join(pieces))
        seen.elapsed_s = time.monotonic() - start
        return seen

    def probe(self) -> Seen:
        return self.loop.run_until_complete(self._ask("fallback-openai-chat/ok", stream=False))

    def idle(self) -> bool:
        self.loop.run_until_complete(asyncio.sleep(0.01))
        gateway = self.client._gateway  # pyright: ignore[reportPrivateUsage]  # what a caller cannot see is the point
        return not self.on.up.busy and not self.on.fallback.busy and not (gateway and gateway.runtime.exchanges)


@contextlib.contextmanager
def gateway_bench(
    chosen: Sequence[Cell], scale: float = SCALE, kind: type[GatewayBench] = GatewayBench
) -> Generator[GatewayBench]:
    with setting(chosen, scale) as on, support.serve(on.text, env=on.env) as served:
        yield kind(on, served, scale)


@contextlib.contextmanager
def library_bench(chosen: Sequence[Cell]) -> Generator[LibraryBench]:
    with contextlib.ExitStack() as stack:
        on = stack.enter_context(setting(chosen))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="trivium-test-")))
        (folder / "trivium.toml").write_text(on.text)
        stack.enter_context(_environment({"TRIVIUM_HOME": str(folder / "home"), **on.env}))
        stack.enter_context(names.fake_names(on.names))
        loop = asyncio.new_event_loop()
        stack.callback(loop.close)
        client = AsyncTrivium(folder / "trivium.toml")
        try:
            yield LibraryBench(on, client, loop, folder / "home")
        finally:
            loop.run_until_complete(client.aclose())


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Generator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


# ---- what a caller over HTTP saw


def read_whole(raw: support.Raw, dialect: Dialect) -> Seen:
    """An answer with a length: right, or an error in the caller's dialect."""
    data: Any = msgspec.json.decode(raw.payload)
    request_id = raw.header("x-request-id") or ""
    if raw.status == 200:
        return Seen("answer", _whole_text(data, dialect), request_id=request_id)
    return Seen("error", kind=_kind_of(data), request_id=request_id, note=_untyped(data, request_id))


def _whole_text(data: Any, dialect: str) -> str:
    if dialect == "openai_chat":
        return data["choices"][0]["message"]["content"]
    return "".join(block.get("text", "") for block in data["content"])


def _kind_of(data: Any) -> str:
    return data["error"]["metadata"]["kind"]


def _untyped(data: Any, request_id: str) -> str:
    within = data.get("request_id") or data["error"].get("request_id")
    return "" if within == request_id != "" else f"request ids differ: {within!r} in the body, {request_id!r} above"


def read_stream(raw: support.Raw, dialect: Dialect) -> Seen:
    """A stream, and whether it ended as its outcome must end."""
    text, kind, ended = "", "", False
    parser = SSEParser()
    for frame in [*parser.feed(raw.payload), *parser.close()]:
        ended = ended or frame.data.strip() == b"[DONE]" or b'"message_stop"' in frame.data
        try:
            data: Any = msgspec.json.decode(frame.data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue  # the marker, or what the fault broke
        if "error" in data:
            kind = _kind_of(data)
        else:
            text += _delta_text(data, dialect)
    whole = raw.body.endswith(b"0\r\n\r\n")
    note = ""
    if kind and (ended or whole):
        note = "an error that is followed by the end of a complete answer"
    elif not kind and not (ended and whole):
        note = "neither an error nor an end"
    outcome: Outcome = "answer" if not kind else "cut" if text else "error"
    return Seen(outcome, text, kind, raw.header("x-request-id") or "", note=note)


def _delta_text(data: dict[str, Any], dialect: str) -> str:
    if dialect == "openai_chat":
        return "".join(choice.get("delta", {}).get("content") or "" for choice in data.get("choices") or ())
    return data["delta"].get("text", "") if data.get("type") == "content_block_delta" else ""


# ---- judgement


def run(bench: Bench, cell: Cell) -> Seen:
    """Ask a cell as often as it says, and check everything that must hold. Raises AssertionError."""
    bench.journal.new()
    bench.on.up.reset()
    bench.on.fallback.reset()
    seen = bench.ask(cell)
    for _ in range(cell.case.repeat - 1):
        judge(cell, seen, bench.scale)
        seen = bench.ask(cell)
    judge(cell, seen, bench.scale)
    clean(bench)
    money = bench.journal.new()
    balanced(bench, cell, money)
    assert money.closed[-1].error == seen.kind, (money.closed[-1], seen)
    alive(bench)
    return seen


def judge(cell: Cell, seen: Seen, scale: float = SCALE) -> None:
    """I4, and the time that the case allows."""
    case, expect = cell.case, cell.expect
    assert not seen.note, (seen.note, seen)
    assert seen.outcome in expect.outcome or _better(cell, seen), seen
    if seen.outcome == "answer":
        allowed = {"fallback": {FALLBACK_TEXT}, "primary": {case.text}, "": {FALLBACK_TEXT, case.text}}[expect.by]
        assert seen.text in allowed or (case.number == BROKEN_TEXT and not expect.by), seen
    elif seen.outcome == "cut":
        assert FALLBACK_TEXT not in seen.text, seen
    if seen.outcome in ("error", "cut"):
        assert not expect.kinds or seen.kind in expect.kinds, seen
        assert cell.surface == "library" or seen.request_id.startswith("gen-"), seen
    if case.within_s is not None:
        assert seen.elapsed_s <= max(case.within_s / scale, AT_ONCE_S) * SLACK, seen


def _better(cell: Cell, seen: Seen) -> bool:
    """Content that came in one piece with its failure was not released: then the fallback answers, or nothing false
    was said."""
    return "cut" in cell.expect.outcome and seen.outcome == ("answer" if cell.fallback else "error")


def balanced(bench: Bench, cell: Cell, money: Money) -> None:
    """I2: an attempt a request that arrived, each settled once, and the sum exact."""
    case, expect = cell.case, cell.expect
    assert len(money.closed) == case.repeat, money.closed
    pairs = [(s.id, s.attempt) for s in money.settled]
    assert len(set(pairs)) == len(pairs)
    assert sorted(pairs) == sorted((r.id, r.attempt) for r in money.reserved)
    primary, fallback = money.at("primary"), money.at("fallback")
    low, high = expect.attempts
    assert low * case.repeat <= len(primary) <= high * case.repeat, primary
    arrived = bench.on.up.count(model=case.model)
    if case.model in UNTOUCHED:
        assert len(primary) <= arrived <= 2 * len(primary), bench.on.up.requests
    else:
        assert arrived == (0 if case.fixture else len(primary)), bench.on.up.requests
    assert bench.on.fallback.count() == len(fallback)
    for request in money.closed:
        costs = [s.cost_nanos for s in money.settled if s.id == request.id]
        total = None if None in costs else sum(cost for cost in costs if cost is not None)
        assert request.cost_nanos == total, (request, costs)
    if case.gap_s is not None:
        times = [r.time for r in bench.on.up.requests]
        gap = times[1] - times[0]
        assert case.gap_s[0] - 0.05 <= gap <= case.gap_s[1] + 1.0, gap


def clean(bench: Bench) -> None:
    """I3: nothing of the case is open any more."""
    wait_for(bench.idle, CLEAN_S, "a request is still open")


def alive(bench: Bench) -> None:
    """I1."""
    probe = bench.probe()
    bench.journal.new()
    assert probe.outcome == "answer"
    assert probe.text == FALLBACK_TEXT
    assert probe.elapsed_s < 0.1 * SLACK, probe


def wait_for(true: Callable[[], bool], limit_s: float, what: str) -> None:
    end = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.005)
