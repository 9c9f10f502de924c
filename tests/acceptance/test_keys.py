"""`[[keys]]` guards every path but the two health checks, and what a key may do holds."""

from __future__ import annotations

import http.client
import json

import anthropic
import openai
import pytest

from acceptance.world import World
from support import body

PATHS = ["/v1/models", "/v1/plan", "/v1/chat/completions", "/v1/messages", "/openai/v1/models", "/v1/nothing", "/x"]
PLAIN = "tv-plain-0000"


def status(world: World, path: str, method: str, headers: dict[str, str]) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", world.served.port, timeout=10)
    try:
        payload = json.dumps(body("oai/ok")) if method == "POST" else None
        connection.request(method, path, payload, {"content-type": "application/json"} | headers)
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": f"Basic {PLAIN}"},
        {"authorization": f"Bearer {PLAIN}x"},
        {"authorization": "Bearer tv-late-0000"},
        {"authorization": f"Bearer {PLAIN}", "x-api-key": "wrong"},
        {"x-api-key": ""},
        {"cookie": f"key={PLAIN}"},
    ],
    ids=["none", "wrong", "basic", "longer", "expired", "two", "empty", "cookie"],
)
def test_no_way_in_without_a_key(guarded: World, path: str, method: str, headers: dict[str, str]) -> None:
    before = guarded.upstream.count()
    assert status(guarded, path, method, headers) == 401
    assert guarded.upstream.count() == before


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_health_needs_no_key(guarded: World, path: str) -> None:
    assert status(guarded, path, "GET", {}) == 200


def test_the_clients_are_told(guarded: World) -> None:
    with pytest.raises(openai.AuthenticationError, match="Bearer KEY"):
        guarded.openai("wrong").models.list()
    with pytest.raises(anthropic.AuthenticationError, match="x-api-key: KEY"):
        guarded.anthropic("wrong").models.list()


def test_a_key_opens(guarded: World) -> None:
    ask = body("oai/ok")
    assert guarded.openai(PLAIN).chat.completions.create(**ask).choices
    assert guarded.anthropic(PLAIN).messages.create(**ask).content
    assert {"auto", "oai/priced"} <= {model.id for model in guarded.openai(PLAIN).models.list()}
    sent = guarded.last("ok")
    assert PLAIN.encode() not in sent.head + sent.body  # the caller's key stays here


@pytest.mark.parametrize(
    ("key", "model", "said"),
    [
        ("tv-homely-0000", "oai/ok", "premises"),
        ("tv-narrow-0000", "oai/echo", "key"),
        ("tv-narrow-0000", "ant/ok", "key"),
        ("tv-inside-0000", "oai/ok", "local"),
    ],
)
def test_what_a_key_may_not_do(guarded: World, key: str, model: str, said: str) -> None:
    before = guarded.upstream.count()
    with pytest.raises(openai.APIStatusError, match=said) as caught:
        guarded.openai(key).chat.completions.create(**body(model))
    with pytest.raises(anthropic.APIStatusError, match=said) as other:
        guarded.anthropic(key).messages.create(**body(model))
    assert 400 <= caught.value.status_code < 500
    assert other.value.status_code == caught.value.status_code
    plan = guarded.openai(key).post("/plan", cast_to=object, body=body(model))
    assert plan["endpoints"] == []  # type: ignore[index]
    assert plan["rejected"]  # type: ignore[index]
    assert guarded.upstream.count() == before


def test_a_caller_cannot_lower_the_class_of_its_key(guarded: World) -> None:
    before = guarded.upstream.count()
    with pytest.raises(openai.APIStatusError, match="premises"):
        guarded.openai("tv-homely-0000").chat.completions.create(
            **body("oai/ok"),
            extra_body={"trivium": {"data_class": "any"}},
            extra_headers={"x-trivium-data-class": "any"},
        )
    assert guarded.upstream.count() == before


def test_a_narrow_key_does_what_it_may_and_sees_no_more(guarded: World) -> None:
    client = guarded.openai("tv-narrow-0000")
    assert client.chat.completions.create(**body("oai/ok")).choices
    assert {model.id for model in client.models.list()} <= {"oai/ok"}


def test_no_key_is_ever_logged(guarded: World) -> None:
    said = guarded.served.log() + "".join(guarded.served.stdout)
    assert "tv-plain" not in said
    assert "tv-late" not in said


@pytest.mark.parametrize(
    ("differs", "expected"),
    [
        ({"authorization": "Bearer tv-narrow-0000"}, 403),
        ({"authorization": "Bearer tv-late-0000"}, 401),
        ({"x-api-key": "tv-narrow-0000"}, 401),
        ({"host": "evil.test"}, 403),
        ({"origin": "https://evil.test"}, 403),
        ({"content-type": "text/plain"}, 415),
        ({"x-trivium-data-class": "premises"}, 404),
        ({"x-trivium-strict": "maybe"}, 400),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else "",
)
def test_who_comes_after_a_welcome_caller_is_looked_at_too(
    guarded: World, differs: dict[str, str], expected: int
) -> None:
    """On one connection, so that nothing but the fields tells the two apart."""
    welcome = {"authorization": f"Bearer {PLAIN}", "content-type": "application/json"}
    connection = http.client.HTTPConnection("127.0.0.1", guarded.served.port, timeout=10)
    payload = json.dumps(body("ant/ok"))
    seen: list[int] = []
    try:
        for headers in (welcome, welcome, welcome | differs, welcome):
            connection.request("POST", "/v1/chat/completions", payload, headers)
            answer = connection.getresponse()
            answer.read()
            seen.append(answer.status)
    finally:
        connection.close()
    assert seen == [200, 200, expected, 200]
