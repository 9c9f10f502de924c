"""Gemini's `:countTokens`: how large a request is, told without an answer to it.

Source: https://ai.google.dev/api/tokens
"""

from __future__ import annotations

from typing import Any

import msgspec

from trivium.dialects.base import Addressed, AnswerContext, Built, PassedAnswer
from trivium.dialects.common import check_twin, invalid
from trivium.dialects.gemini import DIALECT as CHAT
from trivium.dialects.retrieval import beside, decoded
from trivium.errors import InvalidRequest
from trivium.types.event import End, Event, Start, UsageReport
from trivium.types.response import Response
from trivium.types.usage import Usage
from trivium.wire.json import BROKEN, join, members, raw

_WHOLE = ("generateContentRequest", "generate_content_request")
"""Where a body has all that a request would say, in place of its `contents` alone."""


class _Counted(msgspec.Struct, rename="camel"):
    total_tokens: int


_COUNTED = msgspec.json.Decoder(_Counted)


def _inner(body: bytes) -> bytes:
    """The request whose size is asked; what is said beside it to us holds for it. Raises InvalidRequest."""
    try:
        found = members(body)
        inner = next((bytes(found[name]) for name in _WHOLE if name in found), None)
        if inner is None:
            return body
        beside = {name: found[name] for name in ("trivium", "models") if name in found}
        if not beside:
            return inner
        within = members(inner)
    except BROKEN as error:
        raise invalid(error) from None
    if "trivium" in beside:
        check_twin(body)
    if twice := beside.keys() & within:
        name = min(twice)
        raise InvalidRequest(f"`{name}` stands twice.", remedy="Send it once.", param=name)
    return join(within | beside)


def _peek(body: bytes, addressed: Addressed | None = None, /) -> Any:
    return CHAT.peek(_inner(body), addressed)


def _parse_request(body: bytes, addressed: Addressed | None = None, /) -> Any:
    return CHAT.parse_request(_inner(body), addressed)


def _build_request(request: Any) -> Built:
    raise InvalidRequest(f"`{request.model}` cannot be asked for the size of another dialect's request.")


def _pass_request(body: bytes, head: Any, model: str, **_: Any) -> bytes:
    """The caller's bytes; a whole request inside them names its model once more."""
    inner = _inner(body)
    sent = CHAT.pass_request(inner, head, model)
    if inner is body:
        return sent
    return join({_WHOLE[0]: msgspec.Raw(join({**members(sent), "model": raw(f"models/{model}")}))})


def _decode_answer(body: bytes) -> list[Event]:
    return [Start(), UsageReport(Usage(input_tokens=decoded(_COUNTED, body).total_tokens)), End()]


def _encode_answer(response: Response, _context: AnswerContext) -> Built:
    return Built(msgspec.json.encode({"totalTokens": response.usage.prompt_tokens if response.usage else 0}))


def _read_answer(body: bytes) -> PassedAnswer:
    """A count costs nothing."""
    decoded(_COUNTED, body)
    return PassedAnswer(Usage())


DIALECT = beside(
    CHAT,
    name="gemini_count",
    operation="count",
    path="/models/{model}:countTokens",
    peek=_peek,
    parse_request=_parse_request,
    build_request=_build_request,
    pass_request=_pass_request,
    media=CHAT.media,
    decode_answer=_decode_answer,
    encode_answer=_encode_answer,
    read_answer=_read_answer,
)
