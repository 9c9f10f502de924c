"""What the dialects share that tell how large a request is, without an answer to it."""

from __future__ import annotations

from typing import Any

import msgspec

from trivium.dialects.base import AnswerContext, Built, Dialect, PassedAnswer
from trivium.dialects.retrieval import beside, decoded
from trivium.errors import InvalidRequest
from trivium.types.event import End, Event, Start, UsageReport
from trivium.types.response import Response
from trivium.types.usage import Usage


def _build_request(request: Any) -> Built:
    raise InvalidRequest(f"`{request.model}` cannot be asked for the size of another dialect's request.")


def counting(chat: Dialect, member: str, **own: Any) -> Dialect:
    """A dialect that counts the requests of a vendor's chat; its answers have the tokens in `member`."""
    wire = msgspec.defstruct("Counted", [("tokens", int)], rename={"tokens": member})
    decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(wire)

    def decode_answer(body: bytes) -> list[Event]:
        return [Start(), UsageReport(Usage(input_tokens=decoded(decoder, body).tokens)), End()]

    def encode_answer(response: Response, _context: AnswerContext) -> Built:
        return Built(msgspec.json.encode({member: response.usage.prompt_tokens if response.usage else 0}))

    def read_answer(body: bytes) -> PassedAnswer:
        """A count costs nothing."""
        decoded(decoder, body)
        return PassedAnswer(Usage())

    common: dict[str, Any] = {"operation": "count", "build_request": _build_request, "media": chat.media}
    answers = {"decode_answer": decode_answer, "encode_answer": encode_answer, "read_answer": read_answer}
    return beside(chat, **common | answers | own)
