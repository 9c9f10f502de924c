"""The callers who are remembered: whoever is taken without a second look is taken as a first look would have it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trivium.config.load import load
from trivium.gateway import pipeline
from trivium.gateway.gateway import Gateway
from trivium.gateway.wish import Wish
from trivium.server import data_plane, guard
from trivium.server.data_plane import DataPlane
from trivium.transport.server import CallerConnection, Head
from trivium.types.data import DataClass
from unit.gateway.world import World

SERVER = '[server]\nhosts = ["gate.test"]\ncors_origins = ["https://app.test"]\n'
KEYS = """
[[keys]]
name = "one"
key = "tv-one-0000"
[[keys]]
name = "two"
key = "tv-two-0000"
data_class = "premises"
[[keys]]
name = "brief"
key = "tv-brief-0000"
expires = 2030-01-01T00:00:00Z
"""
EXPIRES_S = 1_893_456_000.0
CHAT, MESSAGES = b"/v1/chat/completions", b"/v1/messages"
GEMINI = b"/v1beta/models/nobody/x:generateContent"
BODY = b"""{"model":"nobody/x","max_tokens":1,"messages":[{"role":"user","content":"Hello"}],"contents":[{}]}"""
JSON = b"application/json"


class Caller:
    """A connection that remembers how it was answered."""

    def __init__(self) -> None:
        self.stream: Any = None
        self.status = 0
        self.head = b""

    def whole(self, status: int, head: bytes, body: bytes) -> None:
        assert not self.status
        self.status, self.head = status, re.sub(rb"request-id: [^\r]*", b"request-id", head)

    def chunk(self, data: bytes) -> None:
        raise AssertionError


class Plane:
    """A data plane over a runtime of its own; its only model is nobody's, so that a request that gets in has a 404."""

    def __init__(self, folder: Path, text: str) -> None:
        folder.mkdir()
        self.world = World(folder, text)
        self.wishes: list[Wish] = []
        opened = self.world.runtime.opened
        self.world.runtime.opened = lambda exchange: (self.wishes.append(exchange.wish), opened(exchange))[1]
        self.inner = DataPlane(cast("Gateway", SimpleNamespace(runtime=self.world.runtime)), {})
        self.heads: dict[tuple[bytes, ...], Head] = {}
        """As connections keep them, whose callers send the same again."""

    def reload(self, text: str) -> None:
        file = self.world.config.file
        assert file is not None
        file.write_text(text)
        self.inner.configure(load(file=str(file), env={}, cwd=file.parent, home=self.world.config.home))

    def ask(self, method: bytes = b"POST", target: bytes = CHAT, **fields: bytes | None) -> tuple[int, bytes, Any]:
        """Status, head and wish of a request; `fields` beside those of every request, None leaves one out."""
        usual: dict[str, bytes | None] = {"host": b"127.0.0.1:3333", "content_type": JSON}
        given_fields = {n.replace("_", "-").encode(): v for n, v in (usual | fields).items() if v is not None}
        self.wishes.clear()
        caller = Caller()
        head = self.heads.setdefault(
            (method, target, *itertools.chain(*given_fields.items())), Head(method, target, given_fields)
        )
        self.inner.handle(cast("CallerConnection", caller), head, BODY)
        for _ in range(10):
            if caller.status:
                break
            self.world.turn()
        wish = self.wishes[0] if self.wishes else None
        return caller.status, caller.head, wish

    @property
    def remembered(self) -> int:
        return sum(head.note is not None for head in self.heads.values())


Make = Callable[[str], Plane]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[Plane] = []

    def one(text: str) -> Plane:
        made.append(Plane(tmp_path / str(len(made)), text))
        return made[-1]

    yield one
    for plane in made:
        plane.world.close()


TOKENS = [None, b"tv-one-0000", b"tv-two-0000", b"tv-wrong", b""]
FIELDS: dict[str, list[bytes | None]] = {
    "host": [b"127.0.0.1:3333", b"localhost", b"gate.test", b"evil.test", None],
    "content_type": [JSON, b"application/json; charset=utf-8", b"text/plain", b"", None],
    "authorization": [*(t if t is None else b"Bearer " + t for t in TOKENS), b"Basic tv-one-0000", b"tv-one-0000"],
    "x_api_key": TOKENS,
    "x_goog_api_key": [None, None, *TOKENS],
    "origin": [None, None, b"https://app.test", b"https://evil.test"],
    "x_trivium_data_class": [None, None, b"any", b"premises", b"nonsense"],
    "x_trivium_strict": [None, None, b"1", b"maybe"],
    "x_trivium_timeout": [None, None, b"5s", b"never"],
    "anthropic_beta": [None, None, b"one", b"two"],
    "anthropic_version": [None, b"2023-06-01", b"2023-01-01", b""],
}
FORMS: dict[str, list[bytes | None]] = FIELDS | {
    "method": [b"POST", b"POST", b"GET"],
    "target": [
        CHAT,
        CHAT + b"?a=1",
        b"/openai" + CHAT,
        MESSAGES,
        b"/v1/plan",
        b"/v1/x",
        GEMINI,
        GEMINI + b"?key=tv-one-0000",
    ],
}
USUAL: dict[str, Any] = {"method": b"POST", "target": CHAT, "authorization": b"Bearer tv-one-0000"}


CHANGES = st.sampled_from([{name: value} for name, values in FORMS.items() for value in values])


@given(st.sampled_from([CHAT, MESSAGES]), st.lists(CHANGES, max_size=3), st.lists(CHANGES, min_size=1, max_size=10))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_memory_changes_no_answer(
    pair: tuple[Plane, Plane], target: bytes, first: list[dict[str, Any]], others: list[dict[str, Any]]
) -> None:
    remembering, forgetful = pair
    base: dict[str, Any] = USUAL | {"target": target}
    for change in first:
        base |= change
    callers = [base, *(base | change for change in others)]
    for caller in [*callers, *callers]:
        forgetful.heads.clear()
        assert remembering.ask(**caller) == forgetful.ask(**caller)


@pytest.fixture
def pair(make: Make) -> tuple[Plane, Plane]:
    """Two planes of the same keys."""
    first, second = make(SERVER + KEYS), make(SERVER + KEYS)
    second.inner._guard = first.inner._guard  # a plane's home has digests of its own
    return first, second


@pytest.mark.parametrize(
    ("differs", "status", "remembered"),
    [
        ({}, 404, 1),
        ({"authorization": b"Bearer tv-wrong"}, 401, 1),
        ({"authorization": None}, 401, 1),
        ({"authorization": None, "x_api_key": b"tv-one-0000"}, 404, 2),
        ({"x_api_key": b"tv-two-0000"}, 401, 1),
        ({"authorization": b"Bearer tv-two-0000"}, 404, 2),
        ({"host": b"evil.test"}, 403, 1),
        ({"host": None}, 403, 1),
        ({"host": b"gate.test"}, 404, 2),
        ({"content_type": b"text/plain"}, 415, 1),
        ({"content_type": None}, 415, 1),
        ({"origin": b"https://evil.test"}, 403, 1),
        ({"origin": b"https://app.test"}, 404, 2),
        ({"x_trivium_data_class": b"premises"}, 404, 2),
        ({"x_trivium_data_class": b"nonsense"}, 400, 1),
        ({"x_trivium_strict": b"1"}, 404, 2),
        ({"x_trivium_timeout": b"never"}, 400, 1),
        ({"anthropic_beta": b"one"}, 404, 2),
        ({"anthropic_version": b"2023-06-01"}, 404, 2),
        ({"method": b"GET"}, 405, 1),
        ({"target": b"/v1/nothing"}, 404, 1),
        ({"target": MESSAGES}, 404, 2),
    ],
)
def test_who_differs_is_looked_at(make: Make, differs: dict[str, Any], status: int, remembered: int) -> None:
    plane = make(SERVER + KEYS)
    first = plane.ask(**USUAL)
    assert first[0] == 404
    assert first[2].key.name == "one"
    other = plane.ask(**(USUAL | differs))
    assert (other[0], plane.remembered) == (status, remembered)
    if status != 404 or differs.get("target") == b"/v1/nothing":
        assert other[2] is None  # it never became a request
    if "origin" in differs and status == 404:
        assert b"access-control-allow-origin: https://app.test" in other[1]
    assert plane.ask(**USUAL) == first


@pytest.mark.parametrize(
    ("target", "fields", "status"),
    [
        (GEMINI, {"x_goog_api_key": b"tv-one-0000"}, 404),
        (GEMINI, {"authorization": b"Bearer tv-one-0000"}, 404),
        (GEMINI, {"x_goog_api_key": b"tv-wrong"}, 401),
        (GEMINI, {"x_goog_api_key": b"tv-one-0000", "x_api_key": b"tv-two-0000"}, 401),
        (GEMINI + b"?key=tv-one-0000", {}, 404),
        (GEMINI + b"?key=tv-one-0000", {"x_goog_api_key": b"tv-one-0000"}, 404),
        (GEMINI + b"?key=tv-one-0000", {"x_goog_api_key": b"tv-two-0000"}, 401),
        (GEMINI + b"?key=tv-two-0000&key=tv-one-0000", {}, 401),
        (GEMINI + b"?key=", {}, 401),
        (GEMINI + b"?key=%FF", {}, 401),
        (CHAT + b"?key=tv-one-0000", {}, 401),
        (CHAT, {"x_goog_api_key": b"tv-one-0000"}, 404),
    ],
)
def test_a_key_in_googles_places(make: Make, target: bytes, fields: dict[str, bytes], status: int) -> None:
    plane = make(SERVER + KEYS)
    for _ in range(2):
        found, head, wish = plane.ask(target=target, **fields)
        assert found == status
        assert b"tv-one" not in head
        assert (wish is not None) == (status == 404)


def test_a_path_says_the_model(make: Make) -> None:
    plane = make(SERVER)
    for name in ("nobody/x", "nobody/y:1"):
        wish = plane.ask(target=b"/v1beta/models/%b:streamGenerateContent?alt=sse" % name.encode())[2]
        assert (wish.addressed.model, wish.addressed.stream) == (name, True)
    assert plane.ask(target=b"/v1beta/models/m:streamGenerateContent")[::2] == (400, None)


def test_what_is_asked_for_is_nobody_elses_wish(make: Make) -> None:
    plane = make(SERVER + KEYS)
    plane.ask(**USUAL)
    asked = plane.ask(**USUAL, x_trivium_data_class=b"premises", x_trivium_strict=b"1", x_trivium_timeout=b"5s")[2]
    assert (asked.data_class, asked.strict, asked.timeout_s) == (DataClass.PREMISES, True, 5.0)
    usual = plane.ask(**USUAL)[2]
    assert (usual.data_class, usual.strict, usual.timeout_s, usual.forwarded) == (DataClass.ANY, False, None, b"")
    beta = plane.ask(**(USUAL | {"target": MESSAGES, "anthropic_beta": b"b1"}))[2]
    assert beta.forwarded == b"anthropic-beta: b1\r\n"
    assert plane.ask(**(USUAL | {"target": MESSAGES}))[2].forwarded == b""
    other = plane.ask(**(USUAL | {"authorization": b"Bearer tv-two-0000"}))[2]
    assert (other.key.name, other.data_class) == ("two", DataClass.PREMISES)


def test_a_caller_of_anthropic_is_remembered_with_what_it_forwards(make: Make) -> None:
    plane = make(SERVER + KEYS)
    asked = USUAL | {"target": MESSAGES, "anthropic_version": b"2023-06-01"}
    for beta, remembered in ((None, 1), (b"one", 2), (None, 2), (b"two", 3), (b"one", 3), (b"", 4)):
        wish = plane.ask(**asked, anthropic_beta=beta)[2]
        said = {b"anthropic-version: 2023-06-01", *(() if beta is None else (b"anthropic-beta: " + beta,))}
        assert set(wish.forwarded.removesuffix(b"\r\n").split(b"\r\n")) == said
        assert plane.remembered == remembered


def test_a_key_that_expires_is_refused_although_it_was_let_in(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    now = EXPIRES_S - 1
    monkeypatch.setattr(data_plane, "time", lambda: now)
    monkeypatch.setattr(guard, "time", SimpleNamespace(time=lambda: now))
    plane = make(SERVER + KEYS)
    brief = USUAL | {"authorization": b"Bearer tv-brief-0000"}
    for _ in range(2):
        assert plane.ask(**brief)[0] == 404
        assert plane.ask(**USUAL)[0] == 404
    assert plane.remembered == 2
    now = EXPIRES_S
    assert plane.ask(**brief)[::2] == (401, None)
    assert plane.ask(**USUAL)[0] == 404


@pytest.mark.parametrize(
    ("text", "status", "data_class"),
    [
        (SERVER + KEYS.replace("tv-one-0000", "tv-new-0000"), 401, None),
        (SERVER + KEYS.replace('"tv-one-0000"', '"tv-one-0000"\ndata_class = "no_training"'), 404, 1),
        (SERVER.replace("gate.test", "other.test") + KEYS, 403, None),
        (SERVER, 404, 0),
    ],
    ids=["key-gone", "key-stricter", "host-gone", "no-keys"],
)
def test_nothing_of_the_old_keys_outlives_a_reload(make: Make, text: str, status: int, data_class: int | None) -> None:
    plane = make(SERVER + KEYS)
    asked = USUAL | {"host": b"gate.test"}
    for _ in range(2):
        assert plane.ask(**asked)[0] == 404
    plane.reload(text)
    for _ in range(2):
        found, _, wish = plane.ask(**asked)
        assert (found, None if wish is None else wish.data_class) == (status, data_class)


def test_a_server_that_gets_its_first_keys_shuts_its_doors(make: Make) -> None:
    plane = make(SERVER)
    assert plane.ask(**USUAL, x_api_key=b"anything")[0] == 404
    plane.reload(SERVER + KEYS)
    assert plane.ask(**USUAL, x_api_key=b"anything")[0] == 401
    assert plane.ask(**USUAL)[0] == 404


def test_an_error_of_ours_ends_one_request(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    plane = make(SERVER)
    defects: list[BaseException] = []
    plane.world.runtime.report = defects.append

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    for _ in range(2):  # at first sight, and once remembered
        with monkeypatch.context() as patch:
            patch.setattr(pipeline, "plan", broken)
            assert plane.ask(**USUAL)[0] == 500
        assert plane.ask(**USUAL)[0] == 404
    assert len(defects) == 2


def test_the_draining_are_asked_each_time(make: Make) -> None:
    plane = make(SERVER)
    assert plane.ask(**USUAL)[0] == 404
    plane.world.runtime.cut_all()
    assert plane.ask(**USUAL)[0] == 503
