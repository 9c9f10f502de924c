"""`gemini`: `generateContent` and `streamGenerateContent` of Google's Gemini API. https://ai.google.dev/api/generate-content"""

from __future__ import annotations

from trivium.dialects.base import Dialect
from trivium.dialects.gemini.answer import decode_answer, encode_answer, models_answer, read_answer
from trivium.dialects.gemini.build import build_request
from trivium.dialects.gemini.encode import GenerateEncoder
from trivium.dialects.gemini.errors import decode_error, encode_error
from trivium.dialects.gemini.head import pass_request, peek
from trivium.dialects.gemini.media import media
from trivium.dialects.gemini.parse import parse_request
from trivium.dialects.gemini.stream import GenerateDecoder, GenerateMeter

DIALECT = Dialect(
    name="gemini",
    path="/models/{model}:generateContent",
    stream_path="/models/{model}:streamGenerateContent?alt=sse",
    keep_alive=b"\n\n",
    peek=peek,
    parse_request=parse_request,
    build_request=build_request,
    pass_request=pass_request,
    media=media,
    decode_answer=decode_answer,
    encode_answer=encode_answer,
    read_answer=read_answer,
    decoder=GenerateDecoder,
    encoder=GenerateEncoder,
    meter=GenerateMeter,
    decode_error=decode_error,
    encode_error=encode_error,
    models_answer=models_answer,
)
"""Its clients take a comment for broken JSON, so that a blank line keeps them waiting."""
