"""Embeddings on Gemini's wire: batches, which servers are asked in, and one content, which callers may send."""

from __future__ import annotations

import json
from typing import Any

import pytest

from trivium.dialects.base import Addressed, AnswerContext
from trivium.dialects.gemini_embed import DIALECT
from trivium.errors import InvalidRequest, UpstreamProtocolError
from trivium.types.event import Embedded, End, Start, UsageReport
from trivium.types.response import Response
from trivium.types.retrieval import EmbedRequest
from trivium.types.usage import Usage

AT = Addressed("g/m", stream=False)


def one(text: str = "a", **fields: Any) -> dict[str, Any]:
    return {"content": {"parts": [{"text": text}]}, **fields}


def batch(*requests: Any, **fields: Any) -> bytes:
    return json.dumps({"requests": list(requests), **fields}).encode()


def parsed(raw: bytes) -> EmbedRequest:
    return DIALECT.parse_request(raw, AT)


class TestPeek:
    def test_a_batch_passes_and_one_content_does_not(self) -> None:
        head = DIALECT.peek(batch(one(), models=["n"], trivium={"strict": True}), AT)
        assert (head.model, head.models, head.passes, head.stream) == ("g/m", ("n",), True, False)
        assert head.trivium is not None
        assert not DIALECT.peek(json.dumps(one()).encode(), AT).passes

    def test_the_path_names_the_model(self) -> None:
        with pytest.raises(InvalidRequest, match="path"):
            DIALECT.peek(batch(one()))

    @pytest.mark.parametrize(
        "raw",
        [b"", b"[]", b"{}", b'{"requests":3}', b'{"trivium":{},"trivium":{},"content":{}}', b'{"requests":["\xff"]}'],
    )
    def test_refuses_what_asks_nothing(self, raw: bytes) -> None:
        with pytest.raises(InvalidRequest):
            DIALECT.peek(raw, AT)


class TestPass:
    def test_the_model_is_that_of_the_path_in_every_request(self) -> None:
        raw = batch(one("a", model="models/other", new=1.50), one("b"), trivium={}, model="models/third")
        out = DIALECT.pass_request(raw, DIALECT.peek(raw, AT), "m")
        assert json.loads(out) == {"requests": [one("a", model="models/m", new=1.5), one("b", model="models/m")]}
        assert b'"new":1.5' in out

    def test_what_is_no_request_is_refused(self) -> None:
        raw = b'{"requests":[3]}'
        with pytest.raises(InvalidRequest) as caught:
            DIALECT.pass_request(raw, DIALECT.peek(raw, AT), "m")
        assert caught.value.param == "requests"


class TestParse:
    def test_a_batch(self) -> None:
        more = {"taskType": "RETRIEVAL_QUERY", "outputDimensionality": 3}
        request = parsed(batch(one("a", model="models/m", title="t", **more), one("b", **more)))
        assert request == EmbedRequest(
            model="g/m", inputs=("a", "b"), dimensions=3, purpose="query", extra={"title": ["t", None]}
        )

    def test_one_content_in_the_other_spelling(self) -> None:
        raw = json.dumps(one("a", task_type="CLUSTERING", output_dimensionality=3)).encode()
        assert parsed(raw) == EmbedRequest(model="g/m", inputs=("a",), dimensions=3, purpose="clustering", single=True)

    def test_parts_are_one_text_and_unknown_words_are_kept(self) -> None:
        raw = batch({"content": {"parts": [{"text": "a"}, {"text": "b"}]}, "taskType": "NEW", "autoTruncate": True})
        request = parsed(raw)
        assert request.inputs == ("a\nb",)
        assert request.extra == {"taskType": "NEW", "requests.autoTruncate": ["requests[0]"]}

    @pytest.mark.parametrize(
        ("raw", "param"),
        [
            (batch(), "requests"),
            (batch(3), "requests[0]"),
            (batch(one(), {}), "requests[1].content"),
            (batch({"content": {"parts": [{"text": 3}]}}), "requests[0].content.parts[0].text"),
            (batch({"content": {"parts": []}}), "requests[0].content.parts"),
            (batch({"content": {"parts": [{"text": "a"}, {"inlineData": {}}]}}), "requests[0].content.parts"),
            (batch(one(), one(taskType="CLUSTERING")), "requests[1].task_type"),
            (batch(one(), one(outputDimensionality=3)), "requests[1].output_dimensionality"),
            (batch(*[one()] * 10_001), "requests"),
        ],
    )
    def test_bad_input_points_at_its_field(self, raw: bytes, param: str) -> None:
        with pytest.raises(InvalidRequest) as caught:
            parsed(raw)
        assert caught.value.param == param


class TestBuild:
    def test_a_batch(self) -> None:
        built = DIALECT.build_request(
            EmbedRequest(
                model="m", inputs=("a", "b"), dimensions=3, purpose="fact", truncate="end", extra={"title": [None, "t"]}
            )
        )
        common = {"model": "models/m", "taskType": "FACT_VERIFICATION", "outputDimensionality": 3}
        assert json.loads(built.body) == {"requests": [one("a") | common, one("b") | common | {"title": "t"}]}
        assert built.losses == ()

    def test_losses(self) -> None:
        asked = EmbedRequest(
            model="models/m", inputs=("a",), truncate="none", user="u", extra={"taskType": "X", "y": 1}
        )
        built = DIALECT.build_request(asked)
        assert json.loads(built.body) == {"requests": [one("a", model="models/m", taskType="X")]}
        assert set(built.losses) == {"truncate", "user", "y"}


class TestAnswers:
    def test_read(self) -> None:
        raw = b'{"embeddings":[{"values":[0.5]},{"values":[1]}],"usageMetadata":{"promptTokenCount":4}}'
        usage = Usage(input_tokens=4)
        expected = [Start(), Embedded(0, (0.5,)), Embedded(1, (1.0,)), UsageReport(usage), End()]
        assert DIALECT.decode_answer(raw) == expected
        assert DIALECT.read_answer(raw).usage == usage
        assert DIALECT.read_answer(b'{"embeddings":[{}],"usageMetadata":3}').usage is None
        with pytest.raises(UpstreamProtocolError):
            DIALECT.read_answer(b'{"embeddings":[]}')

    @pytest.mark.parametrize("raw", [b"", b"{}", b'{"embeddings":[{}]}', b'{"embedding":{"values":[1]}}'])
    def test_broken(self, raw: bytes) -> None:
        with pytest.raises(UpstreamProtocolError):
            DIALECT.decode_answer(raw)

    @pytest.mark.parametrize(
        ("single", "expected"), [(True, {"embedding": {"values": [0.5]}}), (False, {"embeddings": [{"values": [0.5]}]})]
    )
    def test_written(self, single: bool, expected: Any) -> None:
        request = EmbedRequest(model="m", inputs=("a",), single=single)
        context = AnswerContext(id="g", model="m", created=0, request=request)
        out = DIALECT.encode_answer(Response(embeddings=((0.5,),), usage=Usage(input_tokens=4)), context)
        assert json.loads(out.body) == expected | {"usageMetadata": {"promptTokenCount": 4, "totalTokenCount": 4}}


@pytest.mark.parametrize("dimensions", [0, -5])
def test_a_vector_has_a_length(dimensions: int) -> None:
    body = json.dumps({"content": {"parts": [{"text": "a"}]}, "outputDimensionality": dimensions}).encode()
    with pytest.raises(InvalidRequest, match="outputDimensionality"):
        DIALECT.parse_request(body, Addressed("m", stream=False))
