"""OpenAI's `POST /chat/completions`, the wire that most servers and routing services share.

Source: https://platform.openai.com/docs/api-reference/chat, and what its relatives make of it.
"""

from __future__ import annotations

from trivium.dialects.base import Dialect
from trivium.dialects.media import media
from trivium.dialects.openai import decode_error, encode_error, models_answer
from trivium.dialects.openai_chat.answer import decode_answer, encode_answer, read_answer
from trivium.dialects.openai_chat.build import build_request
from trivium.dialects.openai_chat.head import pass_request, peek
from trivium.dialects.openai_chat.meter import ChatMeter
from trivium.dialects.openai_chat.parse import parse_request
from trivium.dialects.openai_chat.stream import ChatDecoder, ChatEncoder

DIALECT = Dialect(
    name="openai_chat",
    path="/chat/completions",
    forwarded=frozenset({b"x-client-request-id"}),
    peek=peek,
    parse_request=parse_request,
    build_request=build_request,
    pass_request=pass_request,
    media=media,
    decode_answer=decode_answer,
    encode_answer=encode_answer,
    read_answer=read_answer,
    decoder=ChatDecoder,
    encoder=ChatEncoder,
    meter=ChatMeter,
    decode_error=decode_error,
    encode_error=encode_error,
    models_answer=models_answer,
)
