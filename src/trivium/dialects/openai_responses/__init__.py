"""`openai_responses`: the Responses API of OpenAI. https://platform.openai.com/docs/api-reference/responses"""

from __future__ import annotations

from trivium.dialects.base import Dialect
from trivium.dialects.media import media
from trivium.dialects.openai import decode_error, encode_typed_error, models_answer
from trivium.dialects.openai_responses.answer import decode_answer, encode_answer, read_answer
from trivium.dialects.openai_responses.build import build_request
from trivium.dialects.openai_responses.encode import ResponsesEncoder
from trivium.dialects.openai_responses.head import peek
from trivium.dialects.openai_responses.parse import ESSENTIAL, parse_request
from trivium.dialects.openai_responses.stream import ResponsesDecoder, ResponsesMeter
from trivium.dialects.request import pass_request

DIALECT = Dialect(
    name="openai_responses",
    path="/responses",
    forwarded=frozenset({b"x-client-request-id"}),
    failure_ends=True,
    essential=ESSENTIAL,
    peek=peek,
    parse_request=parse_request,
    build_request=build_request,
    pass_request=pass_request,
    media=media,
    decode_answer=decode_answer,
    encode_answer=encode_answer,
    read_answer=read_answer,
    decoder=ResponsesDecoder,
    encoder=ResponsesEncoder,
    meter=ResponsesMeter,
    decode_error=decode_error,
    encode_error=encode_typed_error,
    models_answer=models_answer,
)
