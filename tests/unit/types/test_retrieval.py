"""What an answer must be to a request for vectors or a ranking."""

from __future__ import annotations

import math
from typing import Any

import pytest

from trivium.errors import UpstreamProtocolError
from trivium.types.event import Embedded, End, Ranked, Start
from trivium.types.response import Response, fold
from trivium.types.retrieval import EmbedRequest, RerankRequest, answered

TWO = EmbedRequest(model="m", inputs=("a", "b"))
THREE = RerankRequest(model="m", query="q", documents=("a", "b", "c"))


def embedded(*vectors: tuple[float, ...], **wanted: Any) -> tuple[Response, tuple[str, ...]]:
    return answered(Response(embeddings=vectors), EmbedRequest(model="m", inputs=("a",) * len(vectors), **wanted))


def test_vectors_are_gathered_by_their_index() -> None:
    answer = fold([Start(), Embedded(1, (2.0,)), Embedded(0, (1.0,)), Ranked(3, 0.5), End()])
    assert (answer.embeddings, answer.ranking) == (((1.0,), (2.0,)), (Ranked(3, 0.5),))


@pytest.mark.parametrize("dimensions", [None, 2])
def test_what_was_asked_for_stays_as_it_is(dimensions: int | None) -> None:
    assert embedded((3.0, 4.0), (1.0, 0.0), dimensions=dimensions) == (
        Response(embeddings=((3.0, 4.0), (1.0, 0.0))),
        (),
    )


def test_longer_vectors_are_cut_to_unit_vectors_and_that_is_a_loss() -> None:
    answer, losses = embedded((3.0, 4.0, 12.0), (0.0, 0.0, 1.0), dimensions=2)
    assert losses == ("dimensions",)
    assert answer.embeddings == ((0.6, 0.8), (0.0, 0.0))
    assert math.hypot(*answer.embeddings[0]) == 1


def test_shorter_vectors_stay_and_that_is_a_loss() -> None:
    assert embedded((3.0, 4.0), dimensions=3) == (Response(embeddings=((3.0, 4.0),)), ("dimensions",))


@pytest.mark.parametrize(
    "vectors", [(), ((1.0,),), ((1.0,), (1.0,), (1.0,)), ((1.0,), (1.0, 2.0)), ((), ()), ((1.0,), ())]
)
def test_vectors_that_answer_something_else(vectors: Any) -> None:
    with pytest.raises(UpstreamProtocolError):
        answered(Response(embeddings=vectors), TWO)


def test_the_best_come_first_and_no_more_than_were_wanted() -> None:
    ranking = (Ranked(0, 0.1), Ranked(1, 0.5), Ranked(2, 0.5))
    answer, losses = answered(Response(ranking=ranking), THREE)
    assert (answer.ranking, losses) == ((Ranked(1, 0.5), Ranked(2, 0.5), Ranked(0, 0.1)), ())
    best, _ = answered(Response(ranking=ranking), RerankRequest(model="m", query="q", documents=("a",) * 3, top_n=1))
    assert best.ranking == (Ranked(1, 0.5),)


@pytest.mark.parametrize(
    "ranking",
    [
        (),
        (Ranked(0, 1), Ranked(1, 1)),
        (Ranked(0, 1), Ranked(1, 1), Ranked(1, 1)),
        (Ranked(0, 1), Ranked(1, 1), Ranked(3, 1)),
        (Ranked(0, 1), Ranked(1, 1), Ranked(-1, 1)),
        (Ranked(0, 1), Ranked(1, 1), Ranked(2, 1), Ranked(3, 1)),
    ],
)
def test_rankings_that_answer_something_else(ranking: Any) -> None:
    with pytest.raises(UpstreamProtocolError):
        answered(Response(ranking=ranking), THREE)
