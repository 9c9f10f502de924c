"""Gemini's `:countTokens`: the request inside it, and what is told of its size."""

from __future__ import annotations

import json
from typing import Any

import pytest

from trivium.dialects import get
from trivium.dialects.base import Addressed, AnswerContext
from trivium.errors import InvalidRequest, UpstreamProtocolError
from trivium.types.event import UsageReport
from trivium.types.response import Response
from trivium.types.usage import Usage

COUNT = get("gemini_count")
AT = Addressed("gem/ok", stream=False)
CONTENTS = [{"role": "user", "parts": [{"text": "Hello"}]}]
WHOLE: Any = {"contents": CONTENTS, "systemInstruction": {"parts": [{"text": "Be brief."}]}, "novel": 1}


@pytest.mark.parametrize(
    "body",
    [
        {"contents": CONTENTS},
        {"generateContentRequest": {"model": "models/gem/ok", **WHOLE}},
        {"generate_content_request": WHOLE},
    ],
)
def test_the_request_is_found_wherever_it_stands(body: Any) -> None:
    data = json.dumps(body).encode()
    assert COUNT.peek(data, AT).model == "gem/ok"
    request: Any = COUNT.parse_request(data, AT)
    (message,) = [m for m in request.messages if m.role == "user"]
    assert message.parts[0].text == "Hello"


def test_contents_pass_as_they_are() -> None:
    data = json.dumps({"contents": CONTENTS, "novel": {"a": 1}}).encode()
    assert COUNT.pass_request(data, COUNT.peek(data, AT), "ok") == data


def test_a_whole_request_names_the_model_that_is_asked() -> None:
    data = json.dumps({"generateContentRequest": {"model": "models/gem/ok", "models": ["b"], **WHOLE}}).encode()
    sent = json.loads(COUNT.pass_request(data, COUNT.peek(data, AT), "ok"))
    assert sent == {"generateContentRequest": {"model": "models/ok", **WHOLE}}


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"contents": []}', b'{"generateContentRequest": 5}', b'{"a":'])
def test_what_has_no_size_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        COUNT.peek(body, AT)


def test_a_path_without_a_model_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        COUNT.peek(json.dumps({"contents": CONTENTS}).encode(), None)


def test_no_other_dialect_is_asked_in_it() -> None:
    data = json.dumps({"contents": CONTENTS}).encode()
    with pytest.raises(InvalidRequest, match="gem/ok"):
        COUNT.build_request(COUNT.parse_request(data, AT))


def test_a_count_is_told_and_costs_nothing() -> None:
    told = b'{"totalTokens": 31, "promptTokensDetails": []}'
    assert UsageReport(Usage(input_tokens=31)) in COUNT.decode_answer(told)
    assert COUNT.read_answer(told).usage == Usage()
    answer = Response(usage=Usage(input_tokens=31))
    context = AnswerContext(id="", model="gem/ok", created=0)
    assert json.loads(COUNT.encode_answer(answer, context).body) == {"totalTokens": 31}


@pytest.mark.parametrize("told", [b"", b"{}", b'{"totalTokens": "x"}', b"[1]"])
def test_an_answer_that_is_no_count(told: bytes) -> None:
    with pytest.raises(UpstreamProtocolError):
        COUNT.read_answer(told)


TWIN = {"data_class": "premises"}


def test_a_wish_beside_the_whole_request_holds_for_it() -> None:
    data = json.dumps({"generateContentRequest": WHOLE, "trivium": TWIN, "models": ["b"]}).encode()
    head = COUNT.peek(data, AT)
    assert (head.trivium and head.trivium.data_class, head.models) == ("premises", ("b",))
    assert json.loads(COUNT.pass_request(data, head, "ok")) == {
        "generateContentRequest": {"model": "models/ok", **WHOLE}
    }


@pytest.mark.parametrize(
    "body",
    [
        b'{"generateContentRequest":{"contents":[{}]},"trivium":{"data_class":"premises"},"trivium":{}}',
        b'{"generateContentRequest":{"contents":[{}],"trivium":{}},"trivium":{"data_class":"premises"}}',
        b'{"generateContentRequest":{"contents":[{}]},"trivium":{"dataclass":"premises"}}',
        b'{"generateContentRequest":5,"trivium":{"data_class":"premises"}}',
    ],
)
def test_a_wish_is_not_lost_beside_the_whole_request(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        COUNT.peek(body, AT)
