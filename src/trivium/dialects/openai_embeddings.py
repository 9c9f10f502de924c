"""OpenAI's `POST /embeddings`, which most servers and routing services have beside its chat completions.

Source: https://platform.openai.com/docs/api-reference/embeddings, and what its relatives make of it.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, cast

import msgspec

from trivium.dialects import retrieval
from trivium.dialects.base import Addressed, AnswerContext, Built, PassedAnswer
from trivium.dialects.common import HeadDecoder, Json, error_words
from trivium.dialects.openai_chat import DIALECT as CHAT
from trivium.dialects.openai_chat.usage import read_usage
from trivium.dialects.request import BodyReader, Losses, given, own_extra
from trivium.errors import InvalidRequest, UpstreamContextLength, UpstreamError
from trivium.types.event import Event, Start
from trivium.types.response import Response
from trivium.types.retrieval import EmbedRequest
from trivium.types.usage import Usage

Count = Annotated[int, msgspec.Meta(ge=1)]

_TOO_LONG = re.compile(
    r"input \((\d{1,9}) tokens\) is too large to process\..{0,200}?batch size: (\d{1,9})", re.IGNORECASE
)
"""How llama.cpp says, as an error of its own, that a text is longer than the model's window."""

_OWN = frozenset({"input_type", "provider", "truncate_prompt_tokens", "add_special_tokens", "priority"})
"""Fields of relatives that are written back."""


class _Head(retrieval.RetrievalHead, kw_only=True):
    WHERE = "input"
    messages: msgspec.Raw = msgspec.field(name="input")
    dimensions: Any = None

    @property
    def passes(self) -> bool:
        """Some servers ignore `dimensions` without a word, so that the answer must be looked at."""
        return self.dimensions is None


class _Body(msgspec.Struct):
    model: str
    input: str | list[str | int | list[int]]
    dimensions: Count | None = None
    encoding_format: Literal["float", "base64"] | None = None
    user: str | None = None


class _Vector(msgspec.Struct):
    embedding: str | tuple[float, ...]
    index: int | None = None


class _Passed(msgspec.Struct):
    data: msgspec.Raw
    usage: Any = None


class _Answer(msgspec.Struct):
    data: list[_Vector]
    usage: Any = None
    id: str | None = None
    model: str | None = None


peek = HeadDecoder(_Head)
_read = BodyReader(_Body)
_ANSWER = msgspec.json.Decoder(_Answer)
_PASSED = msgspec.json.Decoder(_Passed)


def parse_request(body: bytes, _addressed: Addressed | None = None, /) -> EmbedRequest:
    peek(body)
    wire, extra = _read(body)
    return EmbedRequest(
        model=wire.model,
        inputs=_inputs(wire.input),
        dimensions=wire.dimensions,
        encoding=wire.encoding_format or "float",
        user=wire.user,
        single=isinstance(wire.input, str),
        extra=extra,
    )


def _inputs(sent: str | list[str | int | list[int]]) -> Any:
    """Texts, or lists of tokens; one list of tokens stands for a list with it."""
    values = [sent] if isinstance(sent, str) else sent
    kinds = {type(value) for value in values}
    if kinds == {int}:
        return (tuple(values),)
    retrieval.require_few("input", values)
    if len(kinds) != 1:
        raise InvalidRequest("`input` mixes texts and tokens.", remedy="Send the one or the other.", param="input")
    for index, value in enumerate(values):
        retrieval.require(f"input[{index}]", value)
    return tuple(values) if kinds == {str} else tuple(tuple(cast("list[int]", value)) for value in values)


def build_request(request: EmbedRequest) -> Built:
    losses = Losses()
    losses.add("purpose", when=request.purpose)
    losses.add("truncate", when=request.truncate in {"start", "end"})
    wire = given(
        model=request.model,
        input=request.inputs[0] if request.single else request.inputs,
        dimensions=request.dimensions,
        encoding_format="base64" if request.encoding == "base64" else None,
        user=request.user,
    )
    wire |= own_extra(request.extra, _OWN, losses)
    return Built(msgspec.json.encode(wire), tuple(losses))


def decode_answer(body: bytes) -> list[Event]:
    wire = retrieval.decoded(_ANSWER, body)
    vectors = [(place if v.index is None else v.index, v.embedding) for place, v in enumerate(wire.data)]
    return retrieval.embedded(Start(id=wire.id or "", model=wire.model or ""), vectors, usage_of(wire.usage))


def read_answer(body: bytes) -> PassedAnswer:
    wire = retrieval.decoded(_PASSED, body)
    retrieval.require_vectors(wire.data)
    return PassedAnswer(usage_of(wire.usage))


def usage_of(said: Any) -> Usage | None:
    """The usage of an answer without tokens of its own, on this wire and those of its relatives."""
    if not isinstance(said, dict):
        return None
    figures = cast("Json", said)
    return read_usage({"prompt_tokens": figures.get("total_tokens"), "completion_tokens": 0} | figures, None)


def encode_answer(response: Response, context: AnswerContext) -> Built:
    as_base64 = retrieval.asked(context, EmbedRequest).encoding == "base64"
    data = [
        {"object": "embedding", "index": index, "embedding": retrieval.base64_of(vector) if as_base64 else vector}
        for index, vector in enumerate(response.embeddings)
    ]
    count = response.usage.prompt_tokens if response.usage else context.input_tokens_estimate
    usage: Json = {"prompt_tokens": count, "total_tokens": count}
    if response.usage and response.usage.cost_usd is not None:
        usage["cost"] = response.usage.cost_usd
    return Built(msgspec.json.encode({"object": "list", "data": data, "model": context.model, "usage": usage}))


def decode_error(status: int, body: bytes) -> UpstreamError:
    message, code, _ = error_words(body)
    if found := _TOO_LONG.search(message):
        said = f"A text has {found[1]} tokens; the model takes {found[2]}."
        return UpstreamContextLength(said, remedy="Shorten it.", upstream_status=status, provider_code=code or None)
    return CHAT.decode_error(status, body)


DIALECT = retrieval.beside(
    CHAT,
    name="openai_embeddings",
    operation="embed",
    path="/embeddings",
    peek=peek,
    parse_request=parse_request,
    build_request=build_request,
    decode_answer=decode_answer,
    encode_answer=encode_answer,
    read_answer=read_answer,
    decode_error=decode_error,
)
