"""The path table: what Gemini's clients ask of a model whose name stands in the path."""

from __future__ import annotations

import pytest

from trivium.dialects.base import Addressed
from trivium.errors import InvalidRequest, MethodNotAllowed, NotFound
from trivium.gateway.paths import Place, checked, dialect_of, find, key_query

NAMES = [
    (b"gemini-2.5-flash", "gemini-2.5-flash"),
    (b"google/gemini-2.5-flash", "google/gemini-2.5-flash"),
    (b"ollama/llama3:8b", "ollama/llama3:8b"),
    (b"ollama%2Fllama3%3A8b", "ollama/llama3:8b"),
    (b"a/b:generateContent", "a/b:generateContent"),
    (b"%C3%A9", "é"),
]


def found(path: bytes, query: bytes = b"") -> Place:
    place = find(path, query)
    assert place is not None
    return place


@pytest.mark.parametrize("version", [b"/v1beta", b"/v1"])
@pytest.mark.parametrize(("written", "name"), NAMES)
def test_a_model_is_asked(version: bytes, written: bytes, name: str) -> None:
    whole = found(b"%b/models/%b:generateContent" % (version, written))
    assert (whole.kind, whole.dialect.name, whole.methods) == ("generate", "gemini", (b"POST",))
    assert whole.addressed == Addressed(name, stream=False)
    for colon in (b":", b"%3A"):
        stream = found(b"%b/models/%b%bstreamGenerateContent" % (version, written, colon), b"key=k&alt=sse")
        assert stream.addressed == Addressed(name, stream=True)


@pytest.mark.parametrize("query", [b"", b"alt=json", b"alt=", b"key=k"])
def test_a_stream_is_sent_as_events_only(query: bytes) -> None:
    with pytest.raises(InvalidRequest, match=r"\?alt=sse") as caught:
        find(b"/v1beta/models/m:streamGenerateContent", query)
    assert caught.value.param == "alt"


def test_models() -> None:
    assert (found(b"/v1beta/models").kind, found(b"/v1beta/models").dialect.name) == ("models", "gemini")
    one = found(b"/v1beta/models/google%2Fm:1")
    assert (one.kind, one.dialect.name, one.detail, one.methods) == ("model", "gemini", "google/m:1", (b"GET", b"HEAD"))
    fine_tuned = found(b"/v1/models/ft:gpt:org:generated")
    assert (fine_tuned.kind, fine_tuned.dialect.name) == ("model", "openai_chat")


def test_refusals_are_in_the_dialect() -> None:
    for path in (
        b"/v1beta/nothing",
        b"/v1beta",
        b"/v1/models/m:generateContent",
        b"/v1/models/m:streamGenerateContent",
    ):
        assert dialect_of(path) == "gemini"
    with pytest.raises(NotFound):
        checked(find(b"/v1beta/nothing", b""), b"/v1beta/nothing", b"POST")
    path = b"/v1beta/models/m:predict"
    with pytest.raises(MethodNotAllowed):
        checked(find(path, b""), path, b"POST")


def test_a_key_may_stand_in_the_query_of_this_dialect_only() -> None:
    assert key_query(found(b"/v1beta/models"), b"/v1beta/models?key=k") == b"key=k"
    assert key_query(find(b"/v1/models", b""), b"/v1/models?key=k") == b""
    assert key_query(None, b"/nothing?key=k") == b""
