"""What dialects of embeddings and reranking share: whole answers only, and vectors as floats or base64."""

from __future__ import annotations

import base64
import math
import re
import struct
from typing import Any, ClassVar, TypeVar, cast

import msgspec

from trivium.dialects.base import AnswerContext, Dialect, Media
from trivium.dialects.common import (
    MESSAGES_MAX,
    CommonHead,
    Json,
    excerpt,
    not_empty,
    said_words,
    tokens,
    upstream_error,
)
from trivium.dialects.request import pass_request
from trivium.errors import InvalidRequest, UpstreamProtocolError
from trivium.types.event import Embedded, End, Event, Start, UsageReport
from trivium.types.retrieval import EmbedRequest, RerankRequest
from trivium.types.usage import Usage
from trivium.wire.json import BROKEN, NULL

S = TypeVar("S", bound=msgspec.Struct)
R = TypeVar("R", EmbedRequest, RerankRequest)

_EMPTY = re.compile(rb'(null|""|\[\s*\])?')


class RetrievalHead(CommonHead, kw_only=True):
    """What a body says at first sight. `messages` is what is embedded or ranked, which each dialect calls `WHERE`."""

    WHERE: ClassVar[str]
    messages: msgspec.Raw = NULL

    @property
    def stream(self) -> bool:
        return False

    @property
    def max_output_tokens(self) -> None:
        return None

    @property
    def needs(self) -> frozenset[str]:
        return frozenset()

    def check(self) -> None:
        require(self.WHERE, not _EMPTY.fullmatch(self.messages))  # pyright: ignore[reportCallIssue, reportArgumentType]


def require(name: str, given: object) -> None:
    """Raises InvalidRequest for a body that has nothing under this name."""
    if not given:
        raise InvalidRequest(f"`{name}` is missing or empty.", remedy="Send at least one text.", param=name)


def require_few(name: str, values: list[Any]) -> None:
    """Raises InvalidRequest for more texts than a translation, which holds up everybody, may have."""
    if len(values) > MESSAGES_MAX:
        raise InvalidRequest(f"`{name}` has more than {MESSAGES_MAX} texts.", remedy="Send them in parts.", param=name)


def _no_media(_texts: msgspec.Raw) -> Media:
    return Media()


def beside(chat: Dialect, **own: Any) -> Dialect:
    """A dialect that a vendor has beside its chat: with the same errors and lists, and no streams."""
    common: Json = {"stream_path": None, "by_url": True, "media": _no_media, "pass_request": pass_request}
    return msgspec.structs.replace(chat, **common | own)


def asked(context: AnswerContext, kind: type[R]) -> R:
    """What an answer is to; raises TypeError for an answer to something else."""
    if not isinstance(context.request, kind):
        raise TypeError(f"an answer to {type(context.request).__name__} is no answer to {kind.__name__}")
    return context.request


def texts_of(request: EmbedRequest) -> list[str]:
    """Its texts. Raises InvalidRequest where they are lists of tokens, which mean something to one model only."""
    if any(not isinstance(value, str) for value in request.inputs):
        raise InvalidRequest(
            f"`{request.model}` is asked in a dialect that takes texts, not tokens.",
            remedy="Send texts.",
            param="input",
        )
    return cast("list[str]", list(request.inputs))


def decoded(decoder: msgspec.json.Decoder[S], body: bytes) -> S:
    """An upstream's answer. Raises UpstreamProtocolError for what is none, and the error that is in its place."""
    try:
        return decoder.decode(body)
    except BROKEN as error:
        try:
            said = msgspec.json.decode(body)
        except BROKEN:
            said = None
        if isinstance(said, dict) and (inside := cast("Json", said).get("error")):
            raise upstream_error(200, *said_words(inside)) from None
        raise UpstreamProtocolError(f"The upstream's answer is no answer to this: {excerpt(str(error))}") from None


def require_vectors(values: msgspec.Raw) -> None:
    """Raises UpstreamProtocolError for a list of vectors, still raw, that is none or empty."""
    if not not_empty(values):
        raise UpstreamProtocolError("The upstream sent no vectors.")


def embedded(start: Start, vectors: list[tuple[int, str | tuple[float, ...]]], usage: Usage | None) -> list[Event]:
    """A whole answer. Raises UpstreamProtocolError for base64 of no vector, and for numbers that are not the texts'."""
    if sorted(index for index, _ in vectors) != list(range(len(vectors))):
        raise UpstreamProtocolError("The upstream numbered its vectors otherwise than the texts.")
    events: list[Event] = [start, *(Embedded(index, _floats(vector)) for index, vector in vectors)]
    return [*events, *([] if usage is None else [UsageReport(usage)]), End()]


def _floats(vector: str | tuple[float, ...]) -> tuple[float, ...]:
    if not isinstance(vector, str):
        return vector
    try:
        data = base64.b64decode(vector, validate=True)
        found = struct.unpack(f"<{len(data) // 4}f", data)
    except (ValueError, struct.error):
        raise UpstreamProtocolError("The upstream sent base64 that is no vector.") from None
    if not all(map(math.isfinite, found)):
        raise UpstreamProtocolError("The upstream sent a vector with numbers that are none.")
    return found


def base64_of(vector: tuple[float, ...]) -> str:
    """A vector as base64 of little-endian 32-bit floats. Raises UpstreamProtocolError for numbers beyond those."""
    try:
        return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
    except OverflowError:
        raise UpstreamProtocolError("The upstream sent a vector with numbers that are none.") from None


def input_usage(count: Any) -> Usage | None:
    """The usage of an answer that has no tokens of its own; None where the count cannot be true."""
    found = tokens(count)
    return None if found is None else Usage(input_tokens=found)
