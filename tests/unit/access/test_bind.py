"""Bindings: a request's head says each thing once, and the caller's own word goes before a constant."""

from __future__ import annotations

import pytest

from trivium.access.bind import Binding, bind
from trivium.catalog.catalog import Catalog, PriceBook
from trivium.catalog.resolve import endpoint
from trivium.catalog.rows import DialectName, Provider, Timeouts
from trivium.dialects import get
from trivium.errors import InvalidRequest
from trivium.types.secret import Secret

CATALOG = Catalog(providers={}, models={}, local_models={}, prices=PriceBook("v", "", {}, {}), spellings={})


def bound(
    headers: dict[str, str] | None = None, dialect: DialectName = "anthropic_messages", model: str = "m"
) -> Binding:
    row = Provider(id="maker", base_url="https://maker.test/v1", dialect=dialect, headers=headers or {})
    return bind(endpoint(CATALOG, row, model), Secret("key"), Timeouts(), get(dialect))


def sent(binding: Binding, extra: bytes = b"") -> dict[str, str]:
    """Header fields of a request; each came once."""
    head, _, body = binding.payload(b"{}", extra).partition(b"\r\n\r\n")
    lines = [line.partition(": ") for line in head.decode().split("\r\n")[1:]]
    fields = {name: value for name, _, value in lines}
    assert len(fields) == len(lines)
    assert (fields["content-length"], body) == ("2", b"{}")
    return fields


def test_constants_are_said_where_the_caller_says_nothing() -> None:
    assert sent(bound()) == {
        "host": "maker.test",
        "authorization": "Bearer key",
        "content-type": "application/json",
        "accept-encoding": "identity",
        "anthropic-version": "2023-06-01",
        "content-length": "2",
    }


@pytest.mark.parametrize(
    ("extra", "version", "beta"),
    [
        (b"", "2023-06-01", "constant"),
        (b"anthropic-version: 2099-01-01\r\n", "2099-01-01", "constant"),
        (b"anthropic-beta: a,b\r\nanthropic-version: 2099-01-01\r\n", "2099-01-01", "a,b"),
        (b"anthropic-beta: anthropic-version: x\r\n", "2023-06-01", "anthropic-version: x"),
    ],
)
def test_what_the_caller_says_goes_before_a_constant(extra: bytes, version: str, beta: str) -> None:
    fields = sent(bound({"Anthropic-Beta": "constant"}), extra)
    assert (fields["anthropic-version"], fields["anthropic-beta"]) == (version, beta)


def test_a_configured_header_replaces_a_constant_however_it_is_written() -> None:
    assert sent(bound({"Anthropic-Version": "2022-01-01"}))["anthropic-version"] == "2022-01-01"
    assert sent(bound({"X-Title": "t"}, "openai_chat"))["x-title"] == "t"


@pytest.mark.parametrize("left", [4, 7, 15, 16])
def test_no_part_of_a_credential_is_left_by_a_cut(left: int) -> None:
    row = Provider(id="maker", base_url="https://maker.test/v1")
    binding = bind(endpoint(CATALOG, row, "m"), Secret("sk-0123456789abc"), Timeouts(), get("openai_chat"))
    said = binding.censored("Bad key: " + "sk-0123456789abc"[:left])
    assert said == "Bad key: [our key]"
    assert binding.censored("sk-0123456789abc is bad, sk- are good") == "[our key] is bad, sk- are good"


@pytest.mark.parametrize(
    "model", ["../../../x", "..", "a/./b", "a//b", "/a", "a/", "%2e%2e/%2E%2e/admin", "..%2F..%2Ffiles", "..\\x", ""]
)
def test_a_models_name_never_leads_the_key_to_another_path(model: str) -> None:
    with pytest.raises(InvalidRequest, match="segment") as caught:
        bound(dialect="gemini", model=model)
    assert (caught.value.param, caught.value.status) == ("model", 400)
    assert bound(dialect="openai_chat", model=model)  # there it stands in the body


def test_a_models_name_may_have_segments_and_dots() -> None:
    assert b"/models/tuned/a..b.c%20d:generateContent " in bound(dialect="gemini", model="tuned/a..b.c d").head
