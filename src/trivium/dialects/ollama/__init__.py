"""`ollama`: the API of Ollama, `POST /api/chat`. https://docs.ollama.com/api/chat"""

from __future__ import annotations

from functools import partial

from trivium.dialects.base import Dialect
from trivium.dialects.ollama.answer import decode_answer, encode_answer, in_message, models_answer, read_answer
from trivium.dialects.ollama.build import build_request
from trivium.dialects.ollama.errors import decode_error, encode_error
from trivium.dialects.ollama.head import media, peek
from trivium.dialects.ollama.parse import parse_request
from trivium.dialects.ollama.stream import CHAT_LINES, LineDecoder, LineEncoder, LineMeter
from trivium.dialects.request import pass_request

DIALECT = Dialect(
    name="ollama",
    path="/api/chat",
    stream_type=b"application/x-ndjson",
    keep_alive=b"",
    failure_ends=True,
    by_url=False,
    peek=peek,
    parse_request=parse_request,
    build_request=build_request,
    pass_request=pass_request,
    media=media,
    decode_answer=decode_answer,
    encode_answer=partial(encode_answer, in_message),
    read_answer=read_answer,
    decoder=partial(LineDecoder, CHAT_LINES),
    encoder=partial(LineEncoder, in_message),
    meter=partial(LineMeter, CHAT_LINES),
    decode_error=decode_error,
    encode_error=encode_error,
    models_answer=models_answer,
)
