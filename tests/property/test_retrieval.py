"""Embeddings and reranking: round trips, any caller's shape with any upstream's, and mutations that must not hurt."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from property.strategies import NAMES, WORDS
from trivium.dialects import get
from trivium.dialects.base import Addressed, AnswerContext, Dialect
from trivium.errors import InvalidRequest, UpstreamError
from trivium.types.event import Embedded, End, Ranked, Start, UsageReport
from trivium.types.response import Response, fold
from trivium.types.retrieval import EmbedRequest, RerankRequest, answered
from trivium.types.usage import Usage

EMBED = [get(name) for name in ("openai_embeddings", "cohere_embed", "gemini_embed", "ollama_embed")]
RERANK = [get(name) for name in ("rerank", "cohere_rerank")]
AT = Addressed("m", stream=False)

floats = st.floats(-1, 1, width=32)
counts = st.integers(0, 10**6)
purposes = st.sampled_from(
    ["query", "document", "classification", "clustering", "similarity", "question", "fact", "code"]
)
embeds = st.builds(
    EmbedRequest,
    model=st.just("m"),
    inputs=st.lists(WORDS, min_size=1, max_size=4).map(tuple),
    dimensions=st.none() | st.integers(1, 99),
    encoding=st.sampled_from(["float", "base64"]),
    purpose=st.none() | purposes,
    truncate=st.none() | st.sampled_from(["none", "start", "end"]),
    user=st.none() | NAMES,
)
reranks = st.builds(
    RerankRequest,
    model=st.just("m"),
    query=WORDS,
    documents=st.lists(WORDS, min_size=1, max_size=4).map(tuple),
    top_n=st.none() | st.integers(1, 4),
    max_tokens_per_doc=st.none() | st.integers(1, 99),
    user=st.none() | NAMES,
)


def pairs(dialects: list[Dialect]) -> Any:
    found = [pytest.param(a, b, id=f"{a.name}-to-{b.name}") for a in dialects for b in dialects]
    return pytest.mark.parametrize(("caller", "upstream"), found)


def each(dialects: list[Dialect]) -> Any:
    return pytest.mark.parametrize("dialect", dialects, ids=lambda d: d.name)


def context(request: EmbedRequest | RerankRequest) -> AnswerContext:
    return AnswerContext(id="gen-1", model="m", created=0, request=request)


def vectors_of(answer: bytes) -> list[tuple[float, ...]]:
    """The vectors of an answer in any shape, floats or base64, wherever they stand."""

    def found(value: Any) -> list[tuple[float, ...]]:
        match value:
            case str():
                data = base64.b64decode(value)
                return [struct.unpack(f"<{len(data) // 4}f", data)]
            case [float() | int(), *_]:
                return [tuple(map(float, value))]
            case [*items]:
                return [vector for item in items for vector in found(item)]
            case {"embedding": inner} | {"embeddings": inner} | {"values": inner} | {"data": inner}:
                return found(inner)
            case {"float": inner} | {"base64": inner}:
                return found(inner)
            case _:
                return []

    return found(json.loads(answer))


@each(EMBED)
@given(request=embeds)
def test_a_request_for_vectors_comes_back_up_to_its_losses(dialect: Dialect, request: EmbedRequest) -> None:
    built = dialect.build_request(request)
    back = dialect.parse_request(built.body, AT)
    assert (back.model, back.inputs, back.dimensions) == (request.model, request.inputs, request.dimensions)
    for name in ("purpose", "truncate", "user"):
        asked, kept = getattr(request, name), getattr(back, name)
        assert kept == asked or asked is None or name in built.losses or (name, asked) in EQUAL
    for loss in built.losses:
        assert getattr(request, loss) is not None


EQUAL = {("truncate", "none"), ("truncate", "end")}
"""What a wire without a word for it does anyway."""


@each(RERANK)
@given(request=reranks)
def test_a_request_for_a_ranking_comes_back_up_to_its_losses(dialect: Dialect, request: RerankRequest) -> None:
    built = dialect.build_request(request)
    back = dialect.parse_request(built.body)
    lost = dict.fromkeys(built.losses)
    assert replace(back, return_documents=None) == replace(request, **lost)
    assert all(getattr(request, name) is not None for name in lost)


@pairs(EMBED)
@settings(max_examples=20)
@given(data=st.data(), asked=embeds, single=st.booleans())
def test_the_vectors_are_the_same_in_every_shape(
    caller: Dialect, upstream: Dialect, data: st.DataObject, asked: EmbedRequest, single: bool
) -> None:
    size = data.draw(st.integers(1, 5))
    sent = tuple(tuple(data.draw(st.lists(floats, min_size=size, max_size=size))) for _ in asked.inputs)
    usage = Usage(input_tokens=data.draw(counts))
    there = replace(asked, dimensions=None, encoding=data.draw(st.sampled_from(["float", "base64"])))
    answer = upstream.encode_answer(Response(embeddings=sent, usage=usage), context(there)).body
    response, losses = answered(fold(upstream.decode_answer(answer)), replace(asked, dimensions=None))
    assert losses == ()
    assert response.embeddings == sent
    assert response.usage == usage
    single = single and len(sent) == 1 and caller.name in {"gemini_embed", "ollama_embed"}
    written = caller.encode_answer(response, context(replace(asked, single=single))).body
    assert vectors_of(written) == list(sent)


@pairs(RERANK)
@settings(max_examples=20)
@given(data=st.data(), asked=reranks)
def test_the_ranking_is_the_same_in_every_shape(
    caller: Dialect, upstream: Dialect, data: st.DataObject, asked: RerankRequest
) -> None:
    scores = data.draw(st.lists(floats, min_size=len(asked.documents), max_size=len(asked.documents)))
    ranking = tuple(Ranked(index, value) for index, value in enumerate(scores))
    answer = upstream.encode_answer(Response(ranking=ranking), context(asked)).body
    response, _ = answered(fold(upstream.decode_answer(answer)), asked)
    best = sorted(ranking, key=lambda rank: (-rank.score, rank.index))[: asked.top_n]
    assert response.ranking == tuple(best)
    written = json.loads(caller.encode_answer(response, context(asked)).body)
    assert [(one["index"], one["relevance_score"]) for one in written["results"]] == [(r.index, r.score) for r in best]


def test_a_fold_is_the_answer_whatever_the_order() -> None:
    events = [Start(), Embedded(1, (2.0,)), UsageReport(Usage(input_tokens=1)), Embedded(0, (1.0,)), End()]
    assert fold(events).embeddings == ((1.0,), (2.0,))


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def mutated(value: Any, data: st.DataObject) -> Any:
    """The value with something else somewhere in it."""
    keys = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    if not keys or data.draw(st.booleans()):
        return data.draw(JUNK)
    key = data.draw(st.sampled_from(keys))
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[key] = mutated(copy[key], data)
    return copy


@each([*EMBED, *RERANK])
@given(data=st.data())
def test_a_mutated_request_is_read_or_refused(dialect: Dialect, data: st.DataObject) -> None:
    request = data.draw(embeds if dialect.operation == "embed" else reranks)
    body = json.dumps(mutated(json.loads(dialect.build_request(request).body), data)).encode()
    for read in (
        lambda: dialect.parse_request(body, AT),
        lambda: dialect.pass_request(body, dialect.peek(body, AT), "n"),
    ):
        try:
            read()
        except InvalidRequest:
            pass


@each([*EMBED, *RERANK, get("cosine_rerank")])
@given(data=st.data())
def test_a_mutated_answer_is_read_or_an_upstreams_fault(dialect: Dialect, data: st.DataObject) -> None:
    asked: Any = data.draw(reranks if dialect in RERANK else embeds)
    response = Response(embeddings=((0.5, 0.25),) * 2, ranking=(Ranked(0, 0.5),), usage=Usage(input_tokens=3))
    writer = get("openai_embeddings") if dialect.name == "cosine_rerank" else dialect
    body = msgspec.json.encode(mutated(json.loads(writer.encode_answer(response, context(asked)).body), data))
    try:
        dialect.read_answer(body)
        answered(fold(dialect.decode_answer(body)), asked if dialect.operation != "rerank" else data.draw(reranks))
    except UpstreamError:
        pass
