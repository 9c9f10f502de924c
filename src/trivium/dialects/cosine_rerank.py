"""Reranking by a model that only embeds: the cosine of the query's vector with each document's.

Nobody speaks this; it is how a server of embeddings is asked for a ranking, and an approximation of one.
"""

from __future__ import annotations

import math
from operator import mul
from typing import Any

import msgspec

from trivium.dialects import openai_embeddings as wire
from trivium.dialects.base import Built
from trivium.dialects.request import Losses, own_extra
from trivium.errors import InternalError, UpstreamProtocolError
from trivium.types.event import Embedded, Event, Ranked
from trivium.types.retrieval import EmbedRequest, RerankRequest

LOSS = "rerank.cosine"


def build_request(request: RerankRequest) -> Built:
    losses = Losses()
    losses.add(LOSS)
    losses.add("max_tokens_per_doc", when=request.max_tokens_per_doc is not None)
    own_extra(request.extra, frozenset(), losses)
    texts = (request.query, *request.documents)
    built = wire.build_request(EmbedRequest(model=request.model, inputs=texts, user=request.user))
    return Built(built.body, tuple(losses))


def decode_answer(body: bytes) -> list[Event]:
    """The query's vector is the first."""
    events = wire.decode_answer(body)
    vectors = {event.index: event.vector for event in events if isinstance(event, Embedded)}
    query = vectors.pop(0, ())
    if any(len(vector) != len(query) for vector in vectors.values()):
        raise UpstreamProtocolError("The upstream sent vectors of different lengths.")
    ranks = [Ranked(index - 1, _score(query, vector)) for index, vector in vectors.items()]
    return [events[0], *ranks, *(event for event in events[1:] if not isinstance(event, Embedded))]


def _score(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """From 0 to 1, as everybody's scores are: below it stands nothing that answers even less."""
    lengths = math.hypot(*one) * math.hypot(*other)
    return min(1.0, max(0.0, sum(map(mul, one, other)) / lengths)) if lengths else 0.0


def _nobody(*_: Any) -> Any:
    raise InternalError("Nobody calls in the dialect `cosine_rerank`.")


DIALECT = msgspec.structs.replace(
    wire.DIALECT,
    name="cosine_rerank",
    operation="rerank",
    peek=_nobody,
    parse_request=_nobody,
    build_request=build_request,
    decode_answer=decode_answer,
    encode_answer=_nobody,
)
