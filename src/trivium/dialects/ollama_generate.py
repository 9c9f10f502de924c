"""`ollama_generate`: a prompt to Ollama, `POST /api/generate`. https://docs.ollama.com/api/generate"""

from __future__ import annotations

from functools import partial

import msgspec

from trivium.dialects.base import AnswerContext
from trivium.dialects.ollama import DIALECT as CHAT
from trivium.dialects.ollama.answer import beside, encode_completion
from trivium.dialects.ollama.build import build_prompt
from trivium.dialects.ollama.head import peek_prompt, prompt_media
from trivium.dialects.ollama.parse import parse_prompt
from trivium.dialects.ollama.stream import PROMPT_LINES, LineDecoder, LineEncoder, LineMeter

__all__ = ["DIALECT"]


def _encoder(context: AnswerContext) -> LineEncoder:
    return LineEncoder(context, beside)


def _meter(_wants_usage: bool) -> LineMeter:
    return LineMeter(PROMPT_LINES)


DIALECT = msgspec.structs.replace(
    CHAT,
    name="ollama_generate",
    path="/api/generate",
    peek=peek_prompt,
    parse_request=parse_prompt,
    build_request=build_prompt,
    media=prompt_media,
    encode_answer=encode_completion,
    decoder=partial(LineDecoder, PROMPT_LINES),
    encoder=_encoder,
    meter=_meter,
)
