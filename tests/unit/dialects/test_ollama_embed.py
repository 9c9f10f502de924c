"""Embeddings on Ollama's wire: `/api/embed`, and its elder with one `prompt`."""

from __future__ import annotations

import json
from typing import Any

import pytest

from trivium.dialects.base import AnswerContext
from trivium.dialects.ollama_embed import DIALECT
from trivium.errors import InvalidRequest, UpstreamProtocolError
from trivium.types.event import Embedded, End, Start, UsageReport
from trivium.types.response import Response
from trivium.types.retrieval import EmbedRequest
from trivium.types.usage import Usage


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "m"} | fields).encode()


def parsed(**fields: Any) -> EmbedRequest:
    return DIALECT.parse_request(body(**fields))


def test_a_request() -> None:
    request = parsed(input=["a", "b"], truncate=True, dimensions=3, keep_alive="5m", options={"num_ctx": 9})
    assert request == EmbedRequest(
        model="m",
        inputs=("a", "b"),
        dimensions=3,
        truncate="end",
        extra={"keep_alive": "5m", "options": {"num_ctx": 9}},
    )
    assert DIALECT.peek(body(input="a")).passes
    assert parsed(input="a", truncate=False).truncate == "none"
    assert not parsed(input="a").single


def test_a_prompt_asks_for_one_vector_and_is_written_as_an_input() -> None:
    raw = body(prompt="a", keep_alive=3)
    assert not DIALECT.peek(raw).passes
    request = DIALECT.parse_request(raw)
    assert (request.inputs, request.single) == (("a",), True)
    built = DIALECT.build_request(request)
    assert (json.loads(built.body), built.losses) == ({"model": "m", "input": ["a"], "keep_alive": 3}, ())


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "input"),
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": 3}, "input"),
        ({"input": ["a", None]}, "input[1]"),
        ({"input": ["a", ""]}, "input[1]"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": ["a"]}, "prompt"),
        ({"input": "a", "dimensions": -1}, "dimensions"),
        ({"input": "a", "truncate": "yes"}, "truncate"),
    ],
)
def test_bad_input_points_at_its_field(fields: Any, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parsed(**fields)
    assert caught.value.param == param


def test_for_an_upstream() -> None:
    asked = EmbedRequest(
        model="m", inputs=("a",), dimensions=3, truncate="none", purpose="query", user="u", extra={"x": 1}
    )
    built = DIALECT.build_request(asked)
    assert json.loads(built.body) == {"model": "m", "input": ["a"], "dimensions": 3, "truncate": False}
    assert set(built.losses) == {"purpose", "user", "x"}
    assert DIALECT.build_request(EmbedRequest(model="m", inputs=("a",), truncate="start")).losses == ("truncate",)


def test_an_answer_is_read() -> None:
    raw = b'{"model":"m","embeddings":[[0.5],[1]],"total_duration":3,"prompt_eval_count":4}'
    usage = Usage(input_tokens=4)
    expected = [Start(model="m"), Embedded(0, (0.5,)), Embedded(1, (1.0,)), UsageReport(usage), End()]
    assert DIALECT.decode_answer(raw) == expected
    assert DIALECT.read_answer(raw).usage == usage
    assert DIALECT.read_answer(b'{"embeddings":[[1]]}').usage is None
    with pytest.raises(UpstreamProtocolError):
        DIALECT.read_answer(b'{"embeddings":[]}')


@pytest.mark.parametrize("raw", [b"", b"{}", b'{"embeddings":[1]}', b'{"embeddings":null}', b'{"embedding":[1]}'])
def test_a_broken_answer(raw: bytes) -> None:
    with pytest.raises(UpstreamProtocolError):
        DIALECT.decode_answer(raw)


@pytest.mark.parametrize(
    ("single", "expected"),
    [
        (True, {"embedding": [0.5]}),
        (False, {"model": "x/m", "embeddings": [[0.5]], "prompt_eval_count": 4}),
    ],
)
def test_an_answer_is_written(single: bool, expected: Any) -> None:
    request = EmbedRequest(model="m", inputs=("a",), single=single)
    context = AnswerContext(id="g", model="x/m", created=0, request=request)
    response = Response(embeddings=((0.5,),), usage=Usage(input_tokens=4))
    assert json.loads(DIALECT.encode_answer(response, context).body) == expected
