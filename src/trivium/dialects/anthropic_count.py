"""Anthropic's `POST /messages/count_tokens`: how large a request is, told without an answer to it.

https://docs.claude.com/en/api/messages-count-tokens
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from trivium.dialects.anthropic_messages import DIALECT as MESSAGES
from trivium.dialects.anthropic_messages.head import MessagesHead
from trivium.dialects.base import Addressed, AnswerContext, Built, PassedAnswer
from trivium.dialects.common import MAX_TOKENS, HeadDecoder
from trivium.dialects.retrieval import beside, decoded
from trivium.errors import InvalidRequest
from trivium.types.event import End, Event, Start, UsageReport
from trivium.types.response import Response
from trivium.types.usage import Usage
from trivium.wire.json import join, members, raw


class _Head(MessagesHead, kw_only=True):
    """A body that asks for no answer, so that it has no `max_tokens`."""

    max_output_tokens: Annotated[int, msgspec.Meta(ge=0, le=MAX_TOKENS)] = msgspec.field(name="max_tokens", default=0)

    @property
    def stream(self) -> bool:
        return False


class _Counted(msgspec.Struct):
    input_tokens: int


_COUNTED = msgspec.json.Decoder(_Counted)


def _parse_request(body: bytes, _addressed: Addressed | None = None, /) -> Any:
    """The request whose size is asked. Raises InvalidRequest."""
    _peek(body)
    return MESSAGES.parse_request(join({"max_tokens": raw(1), **members(body)}))


def _build_request(request: Any) -> Built:
    raise InvalidRequest(f"`{request.model}` cannot be asked for the size of another dialect's request.")


def _decode_answer(body: bytes) -> list[Event]:
    return [Start(), UsageReport(Usage(input_tokens=decoded(_COUNTED, body).input_tokens)), End()]


def _encode_answer(response: Response, _context: AnswerContext) -> Built:
    return Built(msgspec.json.encode({"input_tokens": response.usage.prompt_tokens if response.usage else 0}))


def _read_answer(body: bytes) -> PassedAnswer:
    """A count costs nothing."""
    decoded(_COUNTED, body)
    return PassedAnswer(Usage())


_peek = HeadDecoder(_Head)

DIALECT = beside(
    MESSAGES,
    name="anthropic_count",
    operation="count",
    path="/messages/count_tokens",
    peek=_peek,
    parse_request=_parse_request,
    build_request=_build_request,
    media=MESSAGES.media,
    decode_answer=_decode_answer,
    encode_answer=_encode_answer,
    read_answer=_read_answer,
)
