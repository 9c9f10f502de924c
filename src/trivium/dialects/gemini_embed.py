"""Gemini's `:batchEmbedContents` and, for callers, `:embedContent`, which asks for one vector.

Source: https://ai.google.dev/api/embeddings
"""

from __future__ import annotations

from typing import Annotated, Any, cast

import msgspec
from msgspec import UNSET, UnsetType

from trivium.dialects import retrieval
from trivium.dialects.base import Addressed, AnswerContext, Built, PassedAnswer, Twin
from trivium.dialects.common import Json, check_models, check_name, check_twin, converted, invalid
from trivium.dialects.gemini import DIALECT as CHAT
from trivium.dialects.gemini.head import NOT_SENT, PathHead
from trivium.dialects.gemini.wire import as_list, in_camel_case
from trivium.dialects.request import Losses, given
from trivium.errors import InvalidRequest
from trivium.types.event import Event, Start
from trivium.types.response import Response
from trivium.types.retrieval import EmbedRequest, Purpose
from trivium.types.usage import Usage
from trivium.wire.json import BROKEN, NULL, is_null, join, members, raw

_PURPOSES: dict[str, Purpose] = {
    "RETRIEVAL_QUERY": "query",
    "RETRIEVAL_DOCUMENT": "document",
    "SEMANTIC_SIMILARITY": "similarity",
    "CLASSIFICATION": "classification",
    "CLUSTERING": "clustering",
    "QUESTION_ANSWERING": "question",
    "FACT_VERIFICATION": "fact",
    "CODE_RETRIEVAL_QUERY": "code",
}
_TASKS = {purpose: task for task, purpose in _PURPOSES.items()}


class _Wire(msgspec.Struct):
    requests: msgspec.Raw = NULL
    content: msgspec.Raw = NULL
    models: tuple[str, ...] | UnsetType | None = UNSET
    trivium: Twin | UnsetType | None = UNSET


class EmbedHead(PathHead, frozen=True, kw_only=True):
    """Only a batch passes: so are servers asked here."""

    max_output_tokens: int | None = None


class _Part(msgspec.Struct):
    text: str | None = None


class _Content(msgspec.Struct):
    parts: list[_Part] | _Part = []


class _One(msgspec.Struct, rename="camel"):
    content: _Content
    model: str = ""
    task_type: str | None = None
    title: str | None = None
    output_dimensionality: Annotated[int, msgspec.Meta(ge=1)] | None = None


class _Values(msgspec.Struct):
    values: tuple[float, ...]


class _Passed(msgspec.Struct, rename="camel"):
    embeddings: msgspec.Raw
    usage_metadata: Any = None


class _Answer(msgspec.Struct, rename="camel"):
    embeddings: list[_Values]
    usage_metadata: Any = None


_FIELDS = frozenset(field.encode_name for field in msgspec.structs.fields(_One))
_WIRE = msgspec.json.Decoder(_Wire)
_REQUESTS = msgspec.json.Decoder(list[msgspec.Raw])
_ANSWER = msgspec.json.Decoder(_Answer)
_PASSED = msgspec.json.Decoder(_Passed)


def peek(body: bytes, addressed: Addressed | None = None, /) -> EmbedHead:
    if addressed is None:
        raise InvalidRequest("The path names no model.", remedy="Ask at `/v1beta/models/MODEL:batchEmbedContents`.")
    try:
        body.decode()
        wire = _WIRE.decode(body)
    except BROKEN as error:
        raise invalid(error) from None
    if wire.trivium is not UNSET:
        check_twin(body)
    check_name(addressed.model)
    check_models(wire.models or ())
    batch = is_null(wire.content)
    retrieval.require("requests", not batch or bytes(wire.requests)[:1] == b"[")
    return EmbedHead(
        model=addressed.model,
        messages=wire.requests if batch else wire.content,
        models=wire.models or (),
        trivium=wire.trivium or None,
        passes=batch,
    )


def pass_request(
    body: bytes, head: EmbedHead, model: str, *, stream: bool | None = None, ask_usage: bool = False
) -> bytes:
    """The caller's values, with the model of the path in each request, where this API wants it once more."""
    del stream, ask_usage
    named = {"model": raw(_resource(model))}
    try:
        requests = [members(bytes(request)) | named for request in _REQUESTS.decode(head.messages)]
    except BROKEN as error:
        raise invalid(error, "requests") from None
    return join({n: v for n, v in members(body).items() if n not in NOT_SENT} | {"requests": raw(requests)})


def _resource(model: str) -> str:
    return model if model.startswith("models/") else f"models/{model}"


def parse_request(body: bytes, addressed: Addressed | None = None, /) -> EmbedRequest:
    head, extra = peek(body, addressed), Json()
    try:
        fields = msgspec.json.decode(in_camel_case(body), type=Json)
    except BROKEN as error:
        raise invalid(error) from None
    wire = fields.get("requests") if head.passes else [fields]
    found = [_one(value, f"requests[{i}]" if head.passes else "", extra) for i, value in enumerate(wire or ())]
    retrieval.require("requests", found)
    retrieval.require_few("requests", found)
    first = found[0]
    for index, one in enumerate(found):
        for name in ("task_type", "output_dimensionality"):
            if getattr(one, name) != getattr(first, name):
                where = f"requests[{index}].{name}"
                raise InvalidRequest(f"`{where}` is not that of the first.", remedy="Ask in two batches.", param=where)
    if any(one.title for one in found):
        extra["title"] = [one.title for one in found]
    purpose = _PURPOSES.get(first.task_type or "")
    if first.task_type and not purpose:
        extra["taskType"] = first.task_type
    return EmbedRequest(
        model=head.model,
        inputs=tuple(_text(one, f"requests[{index}]") for index, one in enumerate(found)),
        dimensions=first.output_dimensionality,
        purpose=purpose,
        single=not head.passes,
        extra=extra,
    )


def _one(value: Any, where: str, extra: Json) -> _One:
    one = converted(value, _One, where)
    for name in value.keys() - _FIELDS - {"trivium", "models"}:
        extra.setdefault(f"requests.{name}", []).append(where)
    return one


def _text(one: _One, where: str) -> str:
    parts = as_list(one.content.parts)
    texts = [part.text for part in parts if part.text is not None]
    retrieval.require(f"{where}.content.parts", texts)
    if len(texts) < len(parts):
        where = f"{where}.content.parts"
        raise InvalidRequest(f"`{where}` is not all text.", remedy="Ask a server of this dialect.", param=where)
    return "\n".join(texts)


def build_request(request: EmbedRequest) -> Built:
    losses, titles = Losses(), request.extra.get("title")
    losses.add("truncate", when=request.truncate in {"none", "start"})
    losses.add("user", when=request.user)
    for name in request.extra:
        losses.add(name, when=name not in {"title", "taskType"})
    common = given(
        model=_resource(request.model),
        taskType=_TASKS[request.purpose] if request.purpose else request.extra.get("taskType"),
        outputDimensionality=request.dimensions,
    )
    requests: list[Json] = [common | {"content": {"parts": [{"text": text}]}} for text in retrieval.texts_of(request)]
    for one, title in zip(requests, titles or (), strict=False):
        one |= given(title=title)
    return Built(msgspec.json.encode({"requests": requests}), tuple(losses))


def decode_answer(body: bytes) -> list[Event]:
    wire = retrieval.decoded(_ANSWER, body)
    return retrieval.embedded(
        Start(), [(i, one.values) for i, one in enumerate(wire.embeddings)], _usage(wire.usage_metadata)
    )


def read_answer(body: bytes) -> PassedAnswer:
    wire = retrieval.decoded(_PASSED, body)
    retrieval.require_vectors(wire.embeddings)
    return PassedAnswer(_usage(wire.usage_metadata))


def _usage(said: Any) -> Usage | None:
    return retrieval.input_usage(cast("Json", said).get("promptTokenCount")) if isinstance(said, dict) else None


def encode_answer(response: Response, context: AnswerContext) -> Built:
    values: list[Json] = [{"values": vector} for vector in response.embeddings]
    count = response.usage.prompt_tokens if response.usage else context.input_tokens_estimate
    body: Json = {"embedding": values[0]} if retrieval.asked(context, EmbedRequest).single else {"embeddings": values}
    return Built(msgspec.json.encode(body | {"usageMetadata": {"promptTokenCount": count, "totalTokenCount": count}}))


DIALECT = retrieval.beside(
    CHAT,
    name="gemini_embed",
    operation="embed",
    path="/models/{model}:batchEmbedContents",
    peek=peek,
    pass_request=pass_request,
    parse_request=parse_request,
    build_request=build_request,
    decode_answer=decode_answer,
    encode_answer=encode_answer,
    read_answer=read_answer,
)
