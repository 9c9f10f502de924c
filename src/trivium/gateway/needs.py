"""What a request needs an endpoint to be capable of."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from trivium.dialects.base import Media
from trivium.dialects.request import is_textual
from trivium.types.message import Audio, File, Image, Message, Part, ToolResult
from trivium.types.request import Request
from trivium.types.retrieval import AnyRequest, EmbedRequest, RerankRequest

if TYPE_CHECKING:
    from trivium.gateway.exchange import Exchange

_KINDS = {"images": Image, "audio": Audio, "files": File}
SERVICE, WISHES = frozenset(("service",)), frozenset(("wishes",))
"""Stand with the needs in the ledger: asked as a routing service is; planned for wishes or a session, which are not."""
MARKS = (b"image", b"audio", b"file", b"document", b"Data", b"_data")
"""A message without any of these holds text only, in every dialect; one with them is looked at."""
BYTES_PER_TOKEN = 4
"""A rough count; tokenizers are too slow for the path of a request."""


def needs_of(request: AnyRequest) -> frozenset[str]:
    """All capabilities that a parsed request needs."""
    if not isinstance(request, Request):
        return frozenset()
    needs = set(media_of(request))
    if request.tools:
        needs.add("tools")
    if request.response_format is not None and request.response_format.type != "text":
        needs.add(request.response_format.type)
    if request.n > 1:
        needs.add("n")
    if request.sampling.logprobs:
        needs.add("logprobs")
    return frozenset(needs)


@lru_cache(maxsize=1024)
def spelt(needs: frozenset[str]) -> str:
    """Capabilities as the ledger has them."""
    return ",".join(sorted(needs))


def media_of(request: Request) -> frozenset[str]:
    """The kinds of media in a request's messages; a document of text can be said as text everywhere."""
    kinds = {type(part) for message in request.messages for part in _parts(message) if not is_textual(part)}
    return frozenset(name for name, kind in _KINDS.items() if kind in kinds)


def image_urls(request: Request) -> list[str]:
    """The URLs by which it names images, each once."""
    parts = (part for message in request.messages for part in _parts(message))
    return list(dict.fromkeys(part.url for part in parts if isinstance(part, Image) and part.url))


def _parts(message: Message) -> list[Part]:
    inner = [sub for part in message.parts if isinstance(part, ToolResult) for sub in part.parts]
    return [*message.parts, *inner]


def text_tokens(request: AnyRequest) -> int:
    """An estimate of what a parsed request's texts take."""
    match request:
        case Request():
            size = sum(len(message.text) for message in request.messages)
        case EmbedRequest():
            size = sum(len(one) * (1 if isinstance(one, str) else BYTES_PER_TOKEN) for one in request.inputs)
        case RerankRequest():
            size = sum(map(len, request.documents)) + len(request.query) * len(request.documents)
    return size // BYTES_PER_TOKEN


def measure(exchange: Exchange) -> Media:
    """What media a request in a dialect carries, looked at once; their bytes are no text and leave the estimate."""
    if exchange.media is None:
        exchange.media = Media()
        head, dialect = exchange.head, exchange.dialect
        if head is not None and dialect is not None and any(mark in exchange.body for mark in MARKS):
            exchange.media = dialect.media(head.messages)
            exchange.input_tokens -= exchange.media.payload_bytes // BYTES_PER_TOKEN
    return exchange.media
