"""Gemini's `:countTokens`: how large a request is, told without an answer to it.

Source: https://ai.google.dev/api/tokens
"""

from __future__ import annotations

from typing import Any

import msgspec

from trivium.dialects.base import Addressed
from trivium.dialects.common import check_twin, invalid
from trivium.dialects.counting import counting
from trivium.dialects.gemini import DIALECT as CHAT
from trivium.errors import InvalidRequest
from trivium.wire.json import BROKEN, join, members, raw

_WHOLE = ("generateContentRequest", "generate_content_request")
"""Where a body has all that a request would say, in place of its `contents` alone."""


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


def _pass_request(body: bytes, head: Any, model: str, **_: Any) -> bytes:
    """The caller's bytes; a whole request inside them names its model once more."""
    inner = _inner(body)
    sent = CHAT.pass_request(inner, head, model)
    if inner is body:
        return sent
    return join({_WHOLE[0]: msgspec.Raw(join({**members(sent), "model": raw(f"models/{model}")}))})


DIALECT = counting(
    CHAT,
    "totalTokens",
    name="gemini_count",
    path="/models/{model}:countTokens",
    peek=_peek,
    parse_request=_parse_request,
    pass_request=_pass_request,
)
