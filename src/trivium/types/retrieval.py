"""What is asked of models that do not chat: vectors of texts, and how well documents answer a query."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import msgspec

from trivium.errors import UpstreamProtocolError
from trivium.types.request import Operation, Request
from trivium.types.response import Response

Purpose = Literal["query", "document", "classification", "clustering", "similarity", "question", "fact", "code"]
"""What vectors are for: models make other ones for a query than for the documents that it is compared with."""
Truncate = Literal["none", "start", "end"]
"""What of a text that is too long may be left out; `none`: it is an error."""


class EmbedRequest(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Asks for one vector a text. None means that the caller left it out, and nothing is sent in its place."""

    operation: ClassVar[Operation] = "embed"

    model: str
    inputs: tuple[str, ...] | tuple[tuple[int, ...], ...]
    """Texts, or texts as lists of the model's own tokens."""
    dimensions: int | None = None
    encoding: Literal["float", "base64"] = "float"
    """How the caller reads vectors; base64 is that of little-endian 32-bit floats."""
    purpose: Purpose | None = None
    truncate: Truncate | None = None
    user: str | None = None
    single: bool = False
    """The caller sent a text, not a list with one; some wires answer that otherwise."""
    extra: dict[str, Any] = {}
    """As in `Request`."""


class RerankRequest(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Asks how well each document answers the query."""

    operation: ClassVar[Operation] = "rerank"

    model: str
    query: str
    documents: tuple[str, ...]
    top_n: int | None = None
    """How many of the best are wanted; None: all."""
    max_tokens_per_doc: int | None = None
    return_documents: bool | None = None
    user: str | None = None
    extra: dict[str, Any] = {}
    """As in `Request`."""


AnyRequest = Request | EmbedRequest | RerankRequest


def answered(response: Response, request: EmbedRequest | RerankRequest) -> tuple[Response, tuple[str, ...]]:
    """The answer as it was asked for, and what of that is an approximation.

    Vectors that are longer than wanted are cut and made unit vectors again: right for models that were trained for it,
    near it for others. Raises UpstreamProtocolError for an answer to something else.
    """
    if isinstance(request, RerankRequest):
        return _ranked(response, request), ()
    vectors = response.embeddings
    if len(vectors) != len(request.inputs):
        raise UpstreamProtocolError(f"The upstream sent {len(vectors)} vectors for {len(request.inputs)} texts.")
    sizes = {len(vector) for vector in vectors}
    if len(sizes) != 1 or 0 in sizes:
        raise UpstreamProtocolError("The upstream sent empty vectors, or vectors of different lengths.")
    wanted = request.dimensions
    if wanted is None or sizes == {wanted}:
        return response, ()
    cut = vectors if wanted > min(sizes) else tuple(_unit(vector[:wanted]) for vector in vectors)
    return msgspec.structs.replace(response, embeddings=cut), ("dimensions",)


def _unit(vector: tuple[float, ...]) -> tuple[float, ...]:
    length = math.hypot(*vector)
    return tuple(value / length for value in vector) if length else vector


def _ranked(response: Response, request: RerankRequest) -> Response:
    places = {rank.index for rank in response.ranking}
    if len(places) != len(response.ranking) or not places <= set(range(len(request.documents))):
        raise UpstreamProtocolError("The upstream ranked a document twice, or one that was not sent.")
    if len(places) < min(request.top_n or len(request.documents), len(request.documents)):
        raise UpstreamProtocolError(f"The upstream ranked {len(places)} of {len(request.documents)} documents.")
    best = sorted(response.ranking, key=lambda rank: (-rank.score, rank.index))
    return msgspec.structs.replace(response, ranking=tuple(best[: request.top_n]))
