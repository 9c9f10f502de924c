"""`anthropic_messages`: the Messages API of Anthropic. https://docs.claude.com/en/api/messages"""

from __future__ import annotations

from trivium.dialects.anthropic_messages.answer import decode_answer, encode_answer, models_answer, read_answer
from trivium.dialects.anthropic_messages.build import build_request
from trivium.dialects.anthropic_messages.encode import MessagesEncoder
from trivium.dialects.anthropic_messages.errors import decode_error, encode_error
from trivium.dialects.anthropic_messages.head import peek
from trivium.dialects.anthropic_messages.meter import MessagesMeter
from trivium.dialects.anthropic_messages.parse import parse_request
from trivium.dialects.anthropic_messages.stream import MessagesDecoder
from trivium.dialects.base import Dialect
from trivium.dialects.media import media
from trivium.dialects.request import pass_request

__all__ = ["DIALECT"]

DIALECT = Dialect(
    name="anthropic_messages",
    path="/messages",
    headers={"anthropic-version": "2023-06-01"},
    forwarded=frozenset({b"anthropic-beta", b"anthropic-version"}),
    peek=peek,
    parse_request=parse_request,
    build_request=build_request,
    pass_request=pass_request,
    media=media,
    decode_answer=decode_answer,
    encode_answer=encode_answer,
    read_answer=read_answer,
    decoder=MessagesDecoder,
    encoder=MessagesEncoder,
    meter=MessagesMeter,
    decode_error=decode_error,
    encode_error=encode_error,
    models_answer=models_answer,
)
