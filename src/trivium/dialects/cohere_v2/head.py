"""The first look at a caller's body."""

from __future__ import annotations

from typing import Annotated

import msgspec

from trivium.dialects.common import MAX_TOKENS, CommonHead, HeadDecoder, not_empty
from trivium.wire.json import NULL, is_null

Count = Annotated[int, msgspec.Meta(ge=1, le=MAX_TOKENS)]


class _Format(msgspec.Struct):
    type: str = "text"
    json_schema: msgspec.Raw = NULL
    schema: msgspec.Raw = NULL


class ChatHead(CommonHead, kw_only=True):
    """What a body of `POST /chat` says at first sight."""

    max_output_tokens: Count | None = msgspec.field(default=None, name="max_tokens")
    tools: msgspec.Raw = NULL
    response_format: _Format | None = None
    logprobs: bool | None = None

    @property
    def needs(self) -> frozenset[str]:
        needs: set[str] = set()
        if not_empty(self.tools):
            needs.add("tools")
        form = self.response_format
        if form and form.type == "json_object":
            needs.add("json_object" if is_null(form.json_schema) and is_null(form.schema) else "json_schema")
        if self.logprobs:
            needs.add("logprobs")
        return frozenset(needs)


peek = HeadDecoder(ChatHead)
