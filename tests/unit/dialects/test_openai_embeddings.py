"""Embeddings on OpenAI's wire: the first look, requests and answers both ways, what cannot be said, errors."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import msgspec
import pytest

from trivium.dialects.base import AnswerContext
from trivium.dialects.openai_embeddings import DIALECT
from trivium.errors import (
    InvalidRequest,
    UpstreamContextLength,
    UpstreamProtocolError,
    UpstreamRateLimited,
    UpstreamRejected,
)
from trivium.types.event import Embedded, End, Start, UsageReport
from trivium.types.response import Response, fold
from trivium.types.retrieval import EmbedRequest
from trivium.types.usage import Usage

B64 = base64.b64encode(struct.pack("<2f", 0.5, -1.0)).decode()


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "m", "input": "a"} | fields).encode()


def parsed(**fields: Any) -> EmbedRequest:
    return DIALECT.parse_request(body(**fields))


def built(**fields: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    out = DIALECT.build_request(EmbedRequest(**{"model": "m", "inputs": ("a",)} | fields))
    return json.loads(out.body), out.losses


def answer(*vectors: Any, **more: Any) -> bytes:
    data = [{"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(vectors)]
    return json.dumps({"object": "list", "data": data, "model": "m"} | more).encode()


class TestPeek:
    def test_reads_what_routing_needs(self) -> None:
        head = DIALECT.peek(body(stream=True, models=["n"], trivium={"data_class": "premises"}))
        assert (head.model, head.stream, head.wants_usage, head.max_output_tokens) == ("m", False, True, None)
        assert (head.needs, head.models, head.passes) == (frozenset(), ("n",), True)
        assert head.trivium is not None

    def test_what_a_server_may_ignore_is_not_passed_unread(self) -> None:
        assert not DIALECT.peek(body(dimensions=64)).passes

    @pytest.mark.parametrize("given", ["", [], None, "[ ]"])
    def test_refuses_what_asks_nothing(self, given: Any) -> None:
        raw = b'{"model":"m","input":[ \n]}' if given == "[ ]" else body(input=given)
        with pytest.raises(InvalidRequest, match="`input`") as caught:
            DIALECT.peek(raw)
        assert caught.value.param == "input"

    def test_refuses_a_body_without_it_and_a_second_model(self) -> None:
        with pytest.raises(InvalidRequest, match="`input`"):
            DIALECT.peek(b'{"model":"m"}')
        with pytest.raises(InvalidRequest, match="more than one"):
            DIALECT.peek(b'{"model":"m","input":"a","model":"n"}')


class TestPass:
    @pytest.mark.parametrize(
        ("raw", "expected"),
        [
            (b'{"model":"a/m","input":"x", "new": 1}', b'{"model":"m","input":"x", "new": 1}'),
            (b'{"input":["x",1.50],"model":"a/m"}', b'{"input":["x",1.50],"model":"m"}'),
            (b'{"model":"a/m","input":"x","trivium":{},"models":["b"]}', b'{"model":"m","input":"x"}'),
        ],
    )
    def test_the_bytes_go_on_with_the_model_spliced(self, raw: bytes, expected: bytes) -> None:
        assert DIALECT.pass_request(raw, DIALECT.peek(raw), "m") == expected


class TestParse:
    def test_one_text(self) -> None:
        request = parsed(dimensions=3, encoding_format="base64", user="u", input_type="query")
        assert request == EmbedRequest(
            model="m",
            inputs=("a",),
            dimensions=3,
            encoding="base64",
            user="u",
            single=True,
            extra={"input_type": "query"},
        )

    @pytest.mark.parametrize(
        ("given", "inputs"),
        [
            (["a", "b"], ("a", "b")),
            ([1, 2], ((1, 2),)),
            ([[1, 2], [3]], ((1, 2), (3,))),
        ],
    )
    def test_lists_of_texts_and_of_tokens(self, given: Any, inputs: Any) -> None:
        assert (parsed(input=given).inputs, parsed(input=given).single) == (inputs, False)

    @pytest.mark.parametrize(
        ("fields", "param"),
        [
            ({"input": 3}, "input"),
            ({"input": ["a", 3.5]}, "input[1]"),
            ({"input": ["a", 3]}, "input"),
            ({"input": [["a"]]}, "input[0][0]"),
            ({"input": ["a", ""]}, "input[1]"),
            ({"input": [[1], []]}, "input[1]"),
            ({"input": ["a"] * 10_001}, "input"),
            ({"dimensions": 0}, "dimensions"),
            ({"dimensions": "64"}, "dimensions"),
            ({"encoding_format": "int8"}, "encoding_format"),
            ({"user": 3}, "user"),
        ],
    )
    def test_bad_input_points_at_its_field(self, fields: Any, param: str) -> None:
        with pytest.raises(InvalidRequest) as caught:
            parsed(**fields)
        assert caught.value.param == param
        assert caught.value.remedy


class TestBuild:
    def test_everything(self) -> None:
        wire, losses = built(inputs=("a", "b"), dimensions=3, encoding="base64", user="u", truncate="none")
        assert wire == {"model": "m", "input": ["a", "b"], "dimensions": 3, "encoding_format": "base64", "user": "u"}
        assert losses == ()

    def test_one_text_stays_one(self) -> None:
        assert built(single=True)[0] == {"model": "m", "input": "a"}

    def test_tokens(self) -> None:
        assert built(inputs=((1, 2), (3,)))[0]["input"] == [[1, 2], [3]]

    def test_losses(self) -> None:
        wire, losses = built(purpose="query", truncate="end", extra={"input_type": "x", "keep_alive": 3})
        assert wire == {"model": "m", "input": ["a"], "input_type": "x"}
        assert set(losses) == {"purpose", "truncate", "keep_alive"}


class TestAnswers:
    def test_floats_and_base64_are_read_alike(self) -> None:
        raw = answer([0.5, -1], B64, usage={"prompt_tokens": 7, "total_tokens": 7})
        assert DIALECT.decode_answer(raw) == [
            Start(model="m"),
            Embedded(0, (0.5, -1.0)),
            Embedded(1, (0.5, -1.0)),
            UsageReport(Usage(input_tokens=7)),
            End(),
        ]

    def test_the_index_decides_about_the_order(self) -> None:
        raw = b'{"data":[{"index":1,"embedding":[2]},{"index":0,"embedding":[1]}]}'
        assert fold(DIALECT.decode_answer(raw)).embeddings == ((1.0,), (2.0,))

    def test_what_a_service_charges(self) -> None:
        raw = answer([1], usage={"total_tokens": 7, "cost": 0.25})
        assert DIALECT.read_answer(raw).usage == Usage(input_tokens=7, cost_usd=0.25)

    @pytest.mark.parametrize("usage", [None, 3, {"prompt_tokens": -1}, {"prompt_tokens": "x"}])
    def test_usage_that_is_none(self, usage: Any) -> None:
        assert DIALECT.read_answer(answer([1], usage=usage)).usage is None

    @pytest.mark.parametrize("raw", [answer(), b'{"data":null}', b'{"data":3}'])
    def test_no_vectors_are_no_answer(self, raw: bytes) -> None:
        with pytest.raises(UpstreamProtocolError):
            DIALECT.read_answer(raw)

    @pytest.mark.parametrize(
        "raw",
        [
            b"",
            b"{",
            b"[]",
            b'{"object":"list"}',
            b'{"data":3}',
            b'{"data":[{"embedding":[null]}]}',
            b'{"data":[{"embedding":["a"]}]}',
            b'{"data":[{"embedding":"AAA"}]}',
            b'{"data":[{"embedding":"!!!!"}]}',
            b'{"data":[{"embedding":"\\u0080AAA"}]}',
            b'{"data":[{"embedding":"AADAfw=="}]}',
            b'{"data":[{"index":"0","embedding":[1]}]}',
            b'{"data":[{"index":7,"embedding":[1]}]}',
            b'{"data":[{"index":-3,"embedding":[1]},{"index":0,"embedding":[1]}]}',
            b'{"data":[{"index":0,"embedding":[1]},{"index":0,"embedding":[2]}]}',
            b'{"data":[{"index":0,"embedding":[1]},{"index":1,"embedding":[2]},{"index":1,"embedding":[3]}]}',
        ],
    )
    def test_broken_answers(self, raw: bytes) -> None:
        with pytest.raises(UpstreamProtocolError):
            DIALECT.decode_answer(raw)

    def test_an_error_in_a_200(self) -> None:
        raw = b'{"error":{"message":"slow down","code":"rate_limit_exceeded"}}'
        for read in (DIALECT.decode_answer, DIALECT.read_answer):
            with pytest.raises(UpstreamRateLimited, match="slow down"):
                read(raw)

    @pytest.mark.parametrize("encoding", ["float", "base64"])
    def test_written_as_it_was_asked_for(self, encoding: Any) -> None:
        request = EmbedRequest(model="m", inputs=("a",), encoding=encoding)
        context = AnswerContext(id="gen-1", model="x/m", created=0, request=request)
        response = Response(embeddings=((0.5, -1.0),), usage=Usage(input_tokens=7))
        assert json.loads(DIALECT.encode_answer(response, context).body) == {
            "object": "list",
            "data": [{"object": "embedding", "index": 0, "embedding": B64 if encoding == "base64" else [0.5, -1.0]}],
            "model": "x/m",
            "usage": {"prompt_tokens": 7, "total_tokens": 7},
        }

    def test_numbers_beyond_32_bits_are_no_base64(self) -> None:
        request = EmbedRequest(model="m", inputs=("a",), encoding="base64")
        context = AnswerContext(id="gen-1", model="m", created=0, request=request)
        with pytest.raises(UpstreamProtocolError):
            DIALECT.encode_answer(Response(embeddings=((1e300,),)), context)

    def test_an_answer_to_nothing_is_a_defect(self) -> None:
        with pytest.raises(TypeError):
            DIALECT.encode_answer(Response(embeddings=((1.0,),)), AnswerContext(id="g", model="m", created=0))


class TestErrors:
    def test_a_text_that_is_too_long_is_the_callers(self) -> None:
        message = (
            "input (602 tokens) is too large to process. increase the physical batch size (current batch size: 512)"
        )
        raw = msgspec.json.encode({"error": {"code": 500, "message": message, "type": "server_error"}})
        error = DIALECT.decode_error(500, raw)
        assert isinstance(error, UpstreamContextLength)
        assert (error.status, error.upstream_status) == (400, 500)
        assert "602" in error.message
        assert "512" in error.message

    def test_others_are_those_of_the_chat(self) -> None:
        assert isinstance(DIALECT.decode_error(422, b'{"error":{"message":"no"}}'), UpstreamRejected)
