"""Ollama's `POST /api/embed`, and for callers its elder, `/api/embeddings`, with one `prompt`.

Source: https://docs.ollama.com/api/embed
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from trivium.dialects import retrieval
from trivium.dialects.base import Addressed, AnswerContext, Built, PassedAnswer
from trivium.dialects.common import HeadDecoder, Json
from trivium.dialects.ollama import DIALECT as CHAT
from trivium.dialects.request import BodyReader, Losses, given, own_extra
from trivium.types.event import Event, Start
from trivium.types.response import Response
from trivium.types.retrieval import EmbedRequest
from trivium.wire.json import NULL, is_null

_OWN = frozenset({"options", "keep_alive"})
"""Fields of its own that are written back."""


class _Head(retrieval.RetrievalHead, kw_only=True):
    """A `prompt` is asked at the elder path, and so known to want one vector."""

    WHERE = "input"
    messages: msgspec.Raw = msgspec.field(name="input", default=NULL)
    prompt: msgspec.Raw = NULL

    @property
    def passes(self) -> bool:
        return is_null(self.prompt)

    def check(self) -> None:
        if self.passes:
            super().check()


class _Body(msgspec.Struct):
    model: str
    input: str | list[str] | None = None
    prompt: str | None = None
    truncate: bool | None = None
    dimensions: Annotated[int, msgspec.Meta(ge=1)] | None = None


class _Passed(msgspec.Struct):
    embeddings: msgspec.Raw
    prompt_eval_count: Any = None


class _Answer(msgspec.Struct):
    embeddings: list[tuple[float, ...]]
    model: str | None = None
    prompt_eval_count: Any = None


peek = HeadDecoder(_Head)
_read = BodyReader(_Body)
_ANSWER = msgspec.json.Decoder(_Answer)
_PASSED = msgspec.json.Decoder(_Passed)


def parse_request(body: bytes, _addressed: Addressed | None = None, /) -> EmbedRequest:
    head = peek(body)
    wire, extra = _read(body)
    sent = wire.input if head.passes else wire.prompt
    texts = [sent or ""] if isinstance(sent, str | None) else sent
    retrieval.require_few("input", texts)
    for index, text in enumerate(texts):
        retrieval.require(f"input[{index}]" if head.passes else "prompt", text)
    return EmbedRequest(
        model=wire.model,
        inputs=tuple(texts),
        dimensions=wire.dimensions,
        truncate=None if wire.truncate is None else "end" if wire.truncate else "none",
        single=not head.passes,
        extra=extra,
    )


def build_request(request: EmbedRequest) -> Built:
    losses = Losses()
    losses.add("purpose", when=request.purpose)
    losses.add("truncate", when=request.truncate == "start")
    losses.add("user", when=request.user)
    wire = given(
        model=request.model,
        input=retrieval.texts_of(request),
        dimensions=request.dimensions,
        truncate=None if request.truncate is None else request.truncate != "none",
    )
    return Built(msgspec.json.encode(wire | own_extra(request.extra, _OWN, losses)), tuple(losses))


def decode_answer(body: bytes) -> list[Event]:
    wire = retrieval.decoded(_ANSWER, body)
    return retrieval.embedded(
        Start(model=wire.model or ""), list(enumerate(wire.embeddings)), retrieval.input_usage(wire.prompt_eval_count)
    )


def read_answer(body: bytes) -> PassedAnswer:
    wire = retrieval.decoded(_PASSED, body)
    retrieval.require_vectors(wire.embeddings)
    return PassedAnswer(retrieval.input_usage(wire.prompt_eval_count))


def encode_answer(response: Response, context: AnswerContext) -> Built:
    if retrieval.asked(context, EmbedRequest).single:
        return Built(msgspec.json.encode({"embedding": response.embeddings[0]}))
    count = response.usage.prompt_tokens if response.usage else context.input_tokens_estimate
    body: Json = {"model": context.model, "embeddings": response.embeddings, "prompt_eval_count": count}
    return Built(msgspec.json.encode(body))


DIALECT = retrieval.beside(
    CHAT,
    name="ollama_embed",
    operation="embed",
    path="/api/embed",
    peek=peek,
    parse_request=parse_request,
    build_request=build_request,
    decode_answer=decode_answer,
    encode_answer=encode_answer,
    read_answer=read_answer,
)
