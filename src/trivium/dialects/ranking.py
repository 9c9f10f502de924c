"""What the dialects of reranking share: one shape, which Cohere began and everybody else took over."""

from __future__ import annotations

from typing import Annotated, Any, cast

import msgspec

from trivium.dialects.base import Addressed, Dialect, PassedAnswer
from trivium.dialects.common import HeadDecoder, Json, tokens
from trivium.dialects.openai_embeddings import usage_of
from trivium.dialects.request import BodyReader
from trivium.dialects.retrieval import RetrievalHead, beside, decoded, require, require_few
from trivium.errors import InvalidRequest, UpstreamProtocolError
from trivium.types.event import End, Event, Ranked, Start, UsageReport
from trivium.types.response import Response
from trivium.types.retrieval import RerankRequest
from trivium.types.usage import Usage

Count = Annotated[int, msgspec.Meta(ge=1)]


class _Head(RetrievalHead, kw_only=True):
    WHERE = "documents"
    messages: msgspec.Raw = msgspec.field(name="documents")


class _Body(msgspec.Struct):
    model: str
    query: str
    documents: list[str | dict[str, Any]]
    top_n: Count | None = None
    max_tokens_per_doc: Count | None = None
    return_documents: bool | None = None
    user: str | None = None


class _Result(msgspec.Struct):
    index: int
    relevance_score: float


class _Answer(msgspec.Struct):
    results: list[_Result]
    id: str | None = None
    model: str | None = None
    usage: Any = None
    meta: Any = None


peek = HeadDecoder(_Head)
_read = BodyReader(_Body)
_ANSWER = msgspec.json.Decoder(_Answer)


def parse_request(body: bytes, _addressed: Addressed | None = None, /) -> RerankRequest:
    peek(body)
    wire, extra = _read(body)
    require("query", wire.query)
    require_few("documents", wire.documents)
    return RerankRequest(
        model=wire.model,
        query=wire.query,
        documents=tuple(_text(document, f"documents[{i}]", extra) for i, document in enumerate(wire.documents)),
        top_n=wire.top_n,
        max_tokens_per_doc=wire.max_tokens_per_doc,
        return_documents=wire.return_documents,
        user=wire.user,
        extra=extra,
    )


def _text(document: str | Json, where: str, extra: Json) -> str:
    """A document's text; what else an object of its caller's own says is lost."""
    if isinstance(document, str):
        return document
    text = document.get("text")
    if not isinstance(text, str):
        raise InvalidRequest(f"`{where}.text` is no text.", remedy="Send the text.", param=f"{where}.text")
    for name in document.keys() - {"text"}:
        extra.setdefault(f"documents.{name}", []).append(where)
    return text


def decode_answer(body: bytes) -> list[Event]:
    wire = _decoded(body)
    events: list[Event] = [Start(id=wire.id or "", model=wire.model or "")]
    events += [Ranked(result.index, result.relevance_score) for result in wire.results]
    usage = _usage(wire)
    return [*events, *([] if usage is None else [UsageReport(usage)]), End()]


def read_answer(body: bytes) -> PassedAnswer:
    wire = _decoded(body)
    return PassedAnswer(_usage(wire), id=wire.id or "")


def _decoded(body: bytes) -> _Answer:
    wire = decoded(_ANSWER, body)
    if not wire.results:
        raise UpstreamProtocolError("The upstream ranked nothing.")
    return wire


def _usage(wire: _Answer) -> Usage | None:
    """Tokens where they are said, else what is billed."""
    usage = usage_of(wire.usage)
    units = tokens(_object(wire.usage).get("search_units"))
    return msgspec.structs.replace(usage, search_units=units or 0) if usage else billed(wire.meta)


def billed(meta: Any) -> Usage | None:
    """The usage in Cohere's words; search units are no tokens, and their price is that of a request."""
    units = _object(_object(meta).get("billed_units"))
    found = tokens(units.get("search_units")), tokens(units.get("input_tokens"))
    return None if found == (None, None) else Usage(search_units=found[0] or 0, input_tokens=found[1] or 0)


def _object(value: Any) -> Json:
    return cast("Json", value) if isinstance(value, dict) else {}


def results(response: Response, request: RerankRequest, *, documents: bool) -> list[Json]:
    """The ranking, with the texts if they are wanted."""
    found: list[Json] = [{"index": rank.index, "relevance_score": rank.score} for rank in response.ranking]
    for result in found if documents else ():
        result["document"] = {"text": request.documents[result["index"]]}
    return found


def ranking(chat: Dialect, **own: Any) -> Dialect:
    """A dialect of reranking that is spoken beside a chat."""
    reading: Json = {"peek": peek, "parse_request": parse_request}
    answers: Json = {"decode_answer": decode_answer, "read_answer": read_answer}
    return beside(chat, operation="rerank", path="/rerank", **reading, **answers, **own)
