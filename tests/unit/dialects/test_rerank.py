"""Reranking: the wire of open servers, Cohere's, and the cosine of vectors."""

from __future__ import annotations

import json
from typing import Any

import pytest

from trivium.dialects.base import AnswerContext, Dialect
from trivium.dialects.cohere_rerank import DIALECT as COHERE
from trivium.dialects.cosine_rerank import DIALECT as COSINE
from trivium.dialects.rerank import DIALECT as OPEN
from trivium.errors import InternalError, InvalidRequest, UpstreamError, UpstreamProtocolError
from trivium.types.event import End, Ranked, Start, UsageReport
from trivium.types.response import Response, fold
from trivium.types.retrieval import RerankRequest
from trivium.types.usage import Usage

both = pytest.mark.parametrize("dialect", [OPEN, COHERE], ids=lambda d: d.name)
REQUEST = RerankRequest(model="m", query="q", documents=("a", "b"))


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "m", "query": "q", "documents": ["a", "b"]} | fields).encode()


def context(request: RerankRequest) -> AnswerContext:
    return AnswerContext(id="gen-1", model="x/m", created=0, request=request, provider="P", input_tokens_estimate=5)


class TestRequests:
    @both
    def test_read(self, dialect: Dialect) -> None:
        raw = body(top_n=1, max_tokens_per_doc=9, return_documents=True, user="u", priority=3)
        assert dialect.parse_request(raw) == RerankRequest(
            model="m",
            query="q",
            documents=("a", "b"),
            top_n=1,
            max_tokens_per_doc=9,
            return_documents=True,
            user="u",
            extra={"priority": 3},
        )

    @both
    def test_documents_may_be_objects_with_a_text(self, dialect: Dialect) -> None:
        request = dialect.parse_request(body(documents=["a", {"text": "b", "title": "t"}]))
        assert (request.documents, request.extra) == (("a", "b"), {"documents.title": ["documents[1]"]})

    @both
    @pytest.mark.parametrize(
        ("fields", "param"),
        [
            ({"query": ""}, "query"),
            ({"query": 3}, "query"),
            ({"documents": []}, "documents"),
            ({"documents": None}, "documents"),
            ({"documents": "a"}, "documents"),
            ({"documents": ["a", 3]}, "documents[1]"),
            ({"documents": ["a", {"image": "b"}]}, "documents[1].text"),
            ({"documents": ["a"] * 10_001}, "documents"),
            ({"top_n": 0}, "top_n"),
            ({"max_tokens_per_doc": "9"}, "max_tokens_per_doc"),
        ],
    )
    def test_bad_input_points_at_its_field(self, dialect: Dialect, fields: Any, param: str) -> None:
        with pytest.raises(InvalidRequest) as caught:
            dialect.parse_request(body(**fields))
        assert caught.value.param == param

    def test_written_for_open_servers(self) -> None:
        built = OPEN.build_request(
            RerankRequest(
                model="m", query="q", documents=("a",), top_n=1, max_tokens_per_doc=9, user="u", extra={"x": 1}
            )
        )
        asked = {"model": "m", "query": "q", "documents": ["a"], "top_n": 1, "return_documents": False, "user": "u"}
        assert json.loads(built.body) == asked
        assert set(built.losses) == {"max_tokens_per_doc", "x"}

    def test_written_for_cohere(self) -> None:
        built = COHERE.build_request(
            RerankRequest(
                model="m", query="q", documents=("a",), top_n=1, max_tokens_per_doc=9, user="u", extra={"priority": 1}
            )
        )
        asked = {"model": "m", "query": "q", "documents": ["a"], "top_n": 1, "max_tokens_per_doc": 9, "priority": 1}
        assert json.loads(built.body) == asked
        assert built.losses == ("user",)


class TestAnswers:
    def test_read_in_coheres_words(self) -> None:
        raw = json.dumps(
            {
                "id": "r",
                "results": [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.1}],
                "meta": {"billed_units": {"search_units": 2}},
            }
        ).encode()
        assert COHERE.decode_answer(raw) == [
            Start(id="r"),
            Ranked(1, 0.9),
            Ranked(0, 0.1),
            UsageReport(Usage(search_units=2)),
            End(),
        ]
        assert COHERE.read_answer(raw).usage == Usage(search_units=2)

    def test_read_in_everybodys(self) -> None:
        raw = b'{"model":"m","results":[{"index":0,"relevance_score":-3}],"usage":{"total_tokens":4,"search_units":1}}'
        answer = fold(OPEN.decode_answer(raw))
        assert (answer.ranking, answer.usage) == ((Ranked(0, -3.0),), Usage(input_tokens=4, search_units=1))

    @both
    @pytest.mark.parametrize(
        "raw",
        [
            b"",
            b"{}",
            b'{"results":[]}',
            b'{"results":[{"index":0}]}',
            b'{"results":[{"index":"0","relevance_score":1}]}',
        ],
    )
    def test_broken(self, dialect: Dialect, raw: bytes) -> None:
        for read in (dialect.decode_answer, dialect.read_answer):
            with pytest.raises(UpstreamProtocolError):
                read(raw)

    def test_written_for_all_relatives(self) -> None:
        response = Response(ranking=(Ranked(1, 0.9),), usage=Usage(input_tokens=4, search_units=1, cost_usd=0.5))
        assert json.loads(OPEN.encode_answer(response, context(REQUEST)).body) == {
            "id": "gen-1",
            "object": "list",
            "model": "x/m",
            "provider": "P",
            "results": [{"index": 1, "relevance_score": 0.9, "document": {"text": "b"}}],
            "usage": {"prompt_tokens": 4, "total_tokens": 4, "cost": 0.5, "search_units": 1},
            "meta": {"api_version": {"version": "1"}, "billed_units": {"search_units": 1}},
        }

    def test_written_for_cohere(self) -> None:
        response = Response(ranking=(Ranked(1, 0.9),), usage=Usage(input_tokens=4))
        assert json.loads(COHERE.encode_answer(response, context(REQUEST)).body) == {
            "id": "gen-1",
            "results": [{"index": 1, "relevance_score": 0.9}],
            "meta": {"api_version": {"version": "2"}, "billed_units": {}, "tokens": {"input_tokens": 4}},
        }

    @both
    def test_documents_only_if_they_are_wanted(self, dialect: Dialect) -> None:
        response = Response(ranking=(Ranked(0, 0.9),))
        for wanted in (True, False):
            request = RerankRequest(model="m", query="q", documents=("a",), return_documents=wanted)
            result = json.loads(dialect.encode_answer(response, context(request)).body)["results"][0]
            assert ("document" in result) == wanted


class TestCosine:
    def test_the_query_is_embedded_with_the_documents(self) -> None:
        built = COSINE.build_request(
            RerankRequest(model="m", query="q", documents=("a", "b"), max_tokens_per_doc=3, extra={"x": 1})
        )
        assert json.loads(built.body) == {"model": "m", "input": ["q", "a", "b"]}
        assert set(built.losses) == {"rerank.cosine", "max_tokens_per_doc", "x"}

    def test_scores_are_cosines_from_0_to_1(self) -> None:
        vectors = [[1, 0], [3, 4], [-1, 0], [2, 0], [0, 0]]
        data = [{"index": i, "embedding": vector} for i, vector in enumerate(vectors)]
        raw = json.dumps({"data": data, "usage": {"prompt_tokens": 3, "total_tokens": 3}}).encode()
        answer = fold(COSINE.decode_answer(raw))
        assert answer.ranking == (Ranked(0, 0.6), Ranked(1, 0.0), Ranked(2, 1.0), Ranked(3, 0.0))
        assert answer.usage == Usage(input_tokens=3)
        assert answer.embeddings == ()

    @pytest.mark.parametrize("vectors", [[[1, 0], [1]], []])
    def test_broken(self, vectors: Any) -> None:
        raw = json.dumps({"data": [{"index": i, "embedding": v} for i, v in enumerate(vectors)]}).encode()
        if vectors:
            with pytest.raises(UpstreamError):
                COSINE.decode_answer(raw)
        else:
            assert fold(COSINE.decode_answer(raw)).ranking == ()  # which is no answer to any request

    def test_nobody_calls_in_it(self) -> None:
        for call in (COSINE.peek, COSINE.parse_request):
            with pytest.raises(InternalError):
                call(body())
