"""Cohere's `POST /embed`, second version.

Source: https://docs.cohere.com/reference/embed
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from trivium.dialects import retrieval
from trivium.dialects.base import Addressed, AnswerContext, Built, PassedAnswer
from trivium.dialects.cohere_v2 import DIALECT as CHAT
from trivium.dialects.common import HeadDecoder, Json, not_empty
from trivium.dialects.ranking import billed
from trivium.dialects.request import BodyReader, Losses, given, own_extra
from trivium.errors import InvalidRequest, UpstreamProtocolError
from trivium.types.event import Event, Start
from trivium.types.response import Response
from trivium.types.retrieval import EmbedRequest, Purpose
from trivium.wire.json import NULL

_OWN = frozenset({"max_tokens", "priority"})
_PURPOSES: dict[str, Purpose] = {
    "search_query": "query",
    "search_document": "document",
    "classification": "classification",
    "clustering": "clustering",
}
_TYPES = {purpose: word for word, purpose in _PURPOSES.items()}
_NEAREST: dict[Purpose, str] = {"similarity": "clustering", "question": "search_query", "fact": "search_query"}
"""What comes nearest to purposes that have no word here."""


class _Head(retrieval.RetrievalHead, kw_only=True):
    WHERE = "texts"
    texts: msgspec.Raw = NULL
    inputs: msgspec.Raw = NULL
    images: msgspec.Raw = NULL

    def check(self) -> None:
        self.messages = next((given for given in (self.texts, self.inputs, self.images) if given != NULL), NULL)
        super().check()


class _Content(msgspec.Struct):
    type: str
    text: str | None = None


class _Input(msgspec.Struct):
    content: list[_Content]


class _Body(msgspec.Struct):
    model: str
    texts: list[str] | None = None
    inputs: list[_Input] | None = None
    images: msgspec.Raw = NULL
    input_type: str | None = None
    embedding_types: list[Literal["float", "int8", "uint8", "binary", "ubinary", "base64"]] | None = None
    output_dimension: Annotated[int, msgspec.Meta(ge=1)] | None = None
    truncate: Literal["NONE", "START", "END"] | None = None


class _ByType(msgspec.Struct):
    floats: list[tuple[float, ...]] | None = msgspec.field(default=None, name="float")
    base64: list[str] | None = None


class _Passed(msgspec.Struct):
    embeddings: dict[str, msgspec.Raw]
    id: str | None = None
    meta: Any = None


class _Answer(msgspec.Struct):
    embeddings: _ByType
    id: str | None = None
    meta: Any = None


peek = HeadDecoder(_Head)
_read = BodyReader(_Body)
_ANSWER = msgspec.json.Decoder(_Answer)
_PASSED = msgspec.json.Decoder(_Passed)


def parse_request(body: bytes, _addressed: Addressed | None = None, /) -> EmbedRequest:
    peek(body)
    wire, extra = _read(body)
    texts = list(wire.texts or ())
    for index, one in enumerate(wire.inputs or ()):
        texts.append(_text(one, f"inputs[{index}].content"))
    if wire.images != NULL:
        raise _no_text("images")
    retrieval.require("texts", texts)
    retrieval.require_few("texts", texts)
    types = wire.embedding_types or ["float"]
    if types not in (["float"], ["base64"]):
        extra["embedding_types"] = types
    purpose = _PURPOSES.get(wire.input_type or "")
    if wire.input_type and not purpose:
        extra["input_type"] = wire.input_type
    return EmbedRequest(
        model=wire.model,
        inputs=tuple(texts),
        dimensions=wire.output_dimension,
        encoding="base64" if types == ["base64"] else "float",
        purpose=purpose,
        truncate=None if wire.truncate is None else wire.truncate.lower(),  # type: ignore[arg-type]
        extra=extra,
    )


def _text(one: _Input, where: str) -> str:
    if not one.content or any(content.text is None for content in one.content):
        raise _no_text(where)
    return "\n".join(content.text or "" for content in one.content)


def _no_text(where: str) -> InvalidRequest:
    return InvalidRequest(f"`{where}` is not all text.", remedy="Ask a server of this dialect.", param=where)


def build_request(request: EmbedRequest) -> Built:
    """A purpose must be said here; where none was, vectors are those of documents."""
    losses, extra = Losses(), dict(request.extra)
    losses.add("purpose", when=request.purpose and request.purpose not in _TYPES)
    losses.add("user", when=request.user)
    types = extra.pop("embedding_types", None) or [request.encoding]
    said = extra.pop("input_type", None)
    purpose = request.purpose or "document"
    wire = given(
        model=request.model,
        texts=retrieval.texts_of(request),
        input_type=said or _TYPES.get(purpose) or _NEAREST.get(purpose, "search_document"),
        embedding_types=types if {"float", "base64"} & set(types) else ["float", *types],
        output_dimension=request.dimensions,
        truncate=request.truncate and request.truncate.upper(),
    )
    return Built(msgspec.json.encode(wire | own_extra(extra, _OWN, losses)), tuple(losses))


def decode_answer(body: bytes) -> list[Event]:
    wire = retrieval.decoded(_ANSWER, body)
    vectors = wire.embeddings.base64 if wire.embeddings.floats is None else wire.embeddings.floats
    if vectors is None:
        raise UpstreamProtocolError("The upstream sent neither floats nor base64.")
    return retrieval.embedded(Start(id=wire.id or ""), list(enumerate(vectors)), billed(wire.meta))


def read_answer(body: bytes) -> PassedAnswer:
    wire = retrieval.decoded(_PASSED, body)
    retrieval.require_vectors(next(filter(not_empty, wire.embeddings.values()), NULL))
    return PassedAnswer(billed(wire.meta), id=wire.id or "")


def encode_answer(response: Response, context: AnswerContext) -> Built:
    """Floats and base64 as they were asked for; the types of fewer bits are made by the model's own server alone."""
    request, losses = retrieval.asked(context, EmbedRequest), Losses()
    wanted: list[str] = request.extra.get("embedding_types") or [request.encoding]
    vectors = response.embeddings
    by_type: Json = {"base64": list(map(retrieval.base64_of, vectors))} if "base64" in wanted else {}
    if "float" in wanted or not by_type:
        by_type["float"] = vectors
    losses.add("embedding_types", when=set(wanted) - by_type.keys())
    count = response.usage.prompt_tokens if response.usage else context.input_tokens_estimate
    body: Json = {
        "id": context.id,
        "embeddings": by_type,
        "texts": request.inputs,
        "meta": {"api_version": {"version": "2"}, "billed_units": {"input_tokens": count}},
        "response_type": "embeddings_by_type",
    }
    return Built(msgspec.json.encode(body), tuple(losses))


DIALECT = retrieval.beside(
    CHAT,
    name="cohere_embed",
    operation="embed",
    path="/embed",
    peek=peek,
    parse_request=parse_request,
    build_request=build_request,
    decode_answer=decode_answer,
    encode_answer=encode_answer,
    read_answer=read_answer,
)
