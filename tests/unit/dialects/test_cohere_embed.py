"""Embeddings on Cohere's wire: texts or inputs, purposes, types of vectors, both ways."""

from __future__ import annotations

import json
from typing import Any

import pytest

from trivium.dialects.base import AnswerContext
from trivium.dialects.cohere_embed import DIALECT
from trivium.errors import InvalidRequest, UpstreamProtocolError, UpstreamRejected
from trivium.types.event import Embedded, End, Start, UsageReport
from trivium.types.response import Response
from trivium.types.retrieval import EmbedRequest
from trivium.types.usage import Usage

B64 = "AAAAPwAAgL8="


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "m", "texts": ["a", "b"], "input_type": "search_query"} | fields).encode()


def parsed(**fields: Any) -> EmbedRequest:
    return DIALECT.parse_request(body(**fields))


def built(**fields: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    out = DIALECT.build_request(EmbedRequest(**{"model": "m", "inputs": ("a",)} | fields))
    return json.loads(out.body), out.losses


def text(said: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": said}]}


class TestParse:
    def test_everything(self) -> None:
        request = parsed(embedding_types=["base64"], output_dimension=3, truncate="START", priority=1)
        assert request == EmbedRequest(
            model="m",
            inputs=("a", "b"),
            dimensions=3,
            encoding="base64",
            purpose="query",
            truncate="start",
            extra={"priority": 1},
        )

    def test_inputs_of_text_are_texts(self) -> None:
        two = {"content": [{"type": "text", "text": "b"}, {"type": "text", "text": "c"}]}
        assert parsed(texts=None, inputs=[text("a"), two]).inputs == ("a", "b\nc")

    def test_what_only_its_own_server_can_do_is_kept_for_it(self) -> None:
        request = parsed(embedding_types=["float", "int8"], input_type="image")
        assert request.purpose is None
        assert request.extra == {"embedding_types": ["float", "int8"], "input_type": "image"}

    @pytest.mark.parametrize(
        ("fields", "param"),
        [
            ({"texts": []}, "texts"),
            ({"texts": None}, "texts"),
            ({"texts": "a"}, "texts"),
            ({"texts": ["a", 3]}, "texts[1]"),
            ({"texts": ["a"] * 10_001}, "texts"),
            ({"texts": None, "images": ["data:image/png;base64,AA=="]}, "images"),
            ({"texts": None, "inputs": [text("a"), {"content": []}]}, "inputs[1].content"),
            ({"texts": None, "inputs": [{"content": [{"type": "image_url"}]}]}, "inputs[0].content"),
            ({"texts": None, "inputs": [{"content": [{"text": "a"}]}]}, "inputs[0].content[0].type"),
            ({"output_dimension": 0}, "output_dimension"),
            ({"embedding_types": ["f"]}, "embedding_types[0]"),
            ({"truncate": "end"}, "truncate"),
        ],
    )
    def test_bad_input_points_at_its_field(self, fields: Any, param: str) -> None:
        with pytest.raises(InvalidRequest) as caught:
            parsed(**fields)
        assert caught.value.param == param


class TestBuild:
    def test_a_purpose_is_always_said(self) -> None:
        wire, losses = built(dimensions=3, truncate="none")
        assert (wire, losses) == (
            {
                "model": "m",
                "texts": ["a"],
                "input_type": "search_document",
                "embedding_types": ["float"],
                "output_dimension": 3,
                "truncate": "NONE",
            },
            (),
        )

    @pytest.mark.parametrize(
        ("purpose", "word", "lost"),
        [
            ("query", "search_query", False),
            ("classification", "classification", False),
            ("question", "search_query", True),
            ("similarity", "clustering", True),
            ("code", "search_document", True),
        ],
    )
    def test_purposes_without_a_word_are_near_ones_and_losses(self, purpose: Any, word: str, lost: bool) -> None:
        wire, losses = built(purpose=purpose)
        assert (wire["input_type"], losses) == (word, ("purpose",) if lost else ())

    def test_its_own_fields_are_written_back(self) -> None:
        wire, losses = built(
            extra={"embedding_types": ["int8"], "input_type": "image", "priority": 1, "x": 1}, user="u"
        )
        assert (wire["embedding_types"], wire["input_type"], wire["priority"]) == (["float", "int8"], "image", 1)
        assert set(losses) == {"user", "x"}

    def test_tokens_mean_nothing_to_another_model(self) -> None:
        with pytest.raises(InvalidRequest, match="tokens"):
            built(inputs=((1, 2),))


class TestAnswers:
    @pytest.mark.parametrize("vectors", [{"float": [[0.5, -1]]}, {"base64": [B64]}, {"float": None, "base64": [B64]}])
    def test_read(self, vectors: Any) -> None:
        raw = json.dumps({"id": "i", "embeddings": vectors, "meta": {"billed_units": {"input_tokens": 4}}}).encode()
        assert DIALECT.decode_answer(raw) == [
            Start(id="i"),
            Embedded(0, (0.5, -1.0)),
            UsageReport(Usage(input_tokens=4)),
            End(),
        ]
        assert (DIALECT.read_answer(raw).usage, DIALECT.read_answer(raw).id) == (Usage(input_tokens=4), "i")

    @pytest.mark.parametrize("raw", [b"", b"{}", b'{"embeddings":[[1]]}', b'{"embeddings":{"int8":[[1]]}}'])
    def test_broken(self, raw: bytes) -> None:
        with pytest.raises(UpstreamProtocolError):
            DIALECT.decode_answer(raw)

    @pytest.mark.parametrize("vectors", [{}, {"float": []}, {"int8": None}])
    def test_no_vectors_are_no_answer(self, vectors: Any) -> None:
        with pytest.raises(UpstreamProtocolError):
            DIALECT.read_answer(json.dumps({"embeddings": vectors}).encode())

    @pytest.mark.parametrize(
        ("fields", "by_type", "losses"),
        [
            ({}, {"float": [[0.5, -1]]}, ()),
            ({"encoding": "base64"}, {"base64": [B64]}, ()),
            ({"extra": {"embedding_types": ["float", "base64"]}}, {"float": [[0.5, -1]], "base64": [B64]}, ()),
            ({"extra": {"embedding_types": ["int8"]}}, {"float": [[0.5, -1]]}, ("embedding_types",)),
        ],
    )
    def test_written(self, fields: Any, by_type: Any, losses: Any) -> None:
        request = EmbedRequest(model="m", inputs=("a",), **fields)
        context = AnswerContext(id="gen-1", model="x/m", created=0, request=request)
        out = DIALECT.encode_answer(Response(embeddings=((0.5, -1.0),), usage=Usage(input_tokens=4)), context)
        assert json.loads(out.body) == {
            "id": "gen-1",
            "embeddings": by_type,
            "texts": ["a"],
            "meta": {"api_version": {"version": "2"}, "billed_units": {"input_tokens": 4}},
            "response_type": "embeddings_by_type",
        }
        assert out.losses == losses

    def test_errors_are_those_of_its_chat(self) -> None:
        assert isinstance(DIALECT.decode_error(400, b'{"message":"too many texts"}'), UpstreamRejected)


def test_the_bytes_go_on_with_the_model_spliced() -> None:
    raw = b'{"texts":["a"],"model":"c/m","trivium":{"strict":true}}'
    assert DIALECT.pass_request(raw, DIALECT.peek(raw), "m") == b'{"texts":["a"],"model":"m"}'
