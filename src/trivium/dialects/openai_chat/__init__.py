"""OpenAI's `POST /chat/completions`, the wire that most servers and routing services share.

Source: https://platform.openai.com/docs/api-reference/chat, and what its relatives make of it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from trivium.dialects.base import Dialect
from trivium.dialects.media import media
from trivium.dialects.openai_chat.answer import decode_answer, encode_answer, read_answer
from trivium.dialects.openai_chat.build import build_request
from trivium.dialects.openai_chat.errors import decode_error, encode_error
from trivium.dialects.openai_chat.head import pass_request, peek
from trivium.dialects.openai_chat.meter import ChatMeter
from trivium.dialects.openai_chat.parse import parse_request
from trivium.dialects.openai_chat.stream import ChatDecoder, ChatEncoder


def models_answer(rows: list[dict[str, Any]]) -> bytes:
    """The answer of `GET /models`; `name` and the context length are there where they are known."""
    models: list[dict[str, Any]] = []
    for row in rows:
        model = {"id": row["id"], "object": "model", "created": row.get("created") or 0}
        model["owned_by"] = row.get("owned_by") or "unknown"
        if row.get("name"):
            model["name"] = row["name"]
        if row.get("context"):
            model["context_length"] = row["context"]
        models.append(model)
    return msgspec.json.encode({"object": "list", "data": models})


DIALECT = Dialect(
    name="openai_chat",
    path="/chat/completions",
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
