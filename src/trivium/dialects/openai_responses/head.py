"""The first look at a caller's body."""

from __future__ import annotations

import re

import msgspec

from trivium.dialects.common import CommonHead, HeadDecoder, not_empty
from trivium.dialects.openai_responses.wire import ASK_LOGPROBS, Count
from trivium.errors import InvalidRequest
from trivium.wire.json import NULL

_EMPTY = re.compile(rb'""|\[\s*\]')


class _Format(msgspec.Struct):
    type: str = "text"


class _Text(msgspec.Struct):
    format: _Format | None = None


class ResponsesHead(CommonHead, kw_only=True):
    """What a body of `POST /responses` says at first sight. It may lack `input`, where a conversation that its upstream
    holds or a template has it."""

    messages: msgspec.Raw = msgspec.field(default=NULL, name="input")
    max_output_tokens: Count | None = None
    tools: msgspec.Raw = NULL
    text: _Text | None = None
    include: list[str] | None = None

    @property
    def needs(self) -> frozenset[str]:
        needs: set[str] = set()
        if not_empty(self.tools):
            needs.add("tools")
        if self.text and self.text.format and self.text.format.type in {"json_schema", "json_object"}:
            needs.add(self.text.format.type)
        if ASK_LOGPROBS in (self.include or ()):
            needs.add("logprobs")
        return frozenset(needs)

    def check(self) -> None:
        if _EMPTY.fullmatch(self.messages):  # pyright: ignore[reportCallIssue, reportArgumentType]
            raise InvalidRequest("`input` is empty.", remedy="Send a text or a list of items.", param="input")


peek = HeadDecoder(ResponsesHead)
