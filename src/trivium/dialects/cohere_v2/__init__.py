"""`cohere_v2`: the Chat API of Cohere, version 2. https://docs.cohere.com/reference/chat"""

from __future__ import annotations

from trivium.dialects.base import Dialect
from trivium.dialects.cohere_v2.answer import decode_answer, encode_answer, models_answer, read_answer
from trivium.dialects.cohere_v2.build import build_request
from trivium.dialects.cohere_v2.encode import ChatEncoder
from trivium.dialects.cohere_v2.errors import decode_error, encode_error
from trivium.dialects.cohere_v2.head import peek
from trivium.dialects.cohere_v2.parse import parse_request
from trivium.dialects.cohere_v2.stream import ChatDecoder, ChatMeter
from trivium.dialects.media import media
from trivium.dialects.request import pass_request

DIALECT = Dialect(
    name="cohere_v2",
    path="/chat",
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
