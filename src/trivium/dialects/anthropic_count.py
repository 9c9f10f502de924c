"""Anthropic's `POST /messages/count_tokens`: how large a request is, told without an answer to it.

https://docs.claude.com/en/api/messages-count-tokens
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from trivium.dialects.anthropic_messages import DIALECT as MESSAGES
from trivium.dialects.anthropic_messages.head import MessagesHead
from trivium.dialects.base import Addressed
from trivium.dialects.common import MAX_TOKENS, HeadDecoder
from trivium.dialects.counting import counting
from trivium.wire.json import join, members, raw


class _Head(MessagesHead, kw_only=True):
    """A body that asks for no answer, so that it has no `max_tokens`."""

    max_output_tokens: Annotated[int, msgspec.Meta(ge=0, le=MAX_TOKENS)] = msgspec.field(name="max_tokens", default=0)

    @property
    def stream(self) -> bool:
        return False


def _parse_request(body: bytes, _addressed: Addressed | None = None, /) -> Any:
    """The request whose size is asked. Raises InvalidRequest."""
    _peek(body)
    return MESSAGES.parse_request(join({"max_tokens": raw(1), **members(body)}))


_peek = HeadDecoder(_Head)

DIALECT = counting(
    MESSAGES,
    "input_tokens",
    name="anthropic_count",
    path="/messages/count_tokens",
    peek=_peek,
    parse_request=_parse_request,
)
