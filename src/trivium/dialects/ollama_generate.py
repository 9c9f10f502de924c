"""`ollama_generate`: a prompt to Ollama, `POST /api/generate`. https://docs.ollama.com/api/generate"""

from __future__ import annotations

from functools import partial

import msgspec

from trivium.dialects.ollama import DIALECT as CHAT
from trivium.dialects.ollama.answer import beside, encode_answer
from trivium.dialects.ollama.build import build_prompt
from trivium.dialects.ollama.head import peek_prompt, prompt_media
from trivium.dialects.ollama.parse import parse_prompt
from trivium.dialects.ollama.stream import PROMPT_LINES, LineDecoder, LineEncoder, LineMeter

DIALECT = msgspec.structs.replace(
    CHAT,
    name="ollama_generate",
    path="/api/generate",
    peek=peek_prompt,
    parse_request=parse_prompt,
    build_request=build_prompt,
    media=prompt_media,
    encode_answer=partial(encode_answer, beside),
    decoder=partial(LineDecoder, PROMPT_LINES),
    encoder=partial(LineEncoder, beside),
    meter=partial(LineMeter, PROMPT_LINES),
)
