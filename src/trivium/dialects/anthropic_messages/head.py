"""The first look at a caller's body."""

from __future__ import annotations

from typing import Annotated

import msgspec

from trivium.dialects.common import MAX_TOKENS, CommonHead, HeadDecoder, not_empty
from trivium.wire.json import NULL, is_null


class _OutputConfig(msgspec.Struct):
    format: msgspec.Raw = NULL


class MessagesHead(CommonHead, kw_only=True):
    """What a body of `POST /messages` says at first sight."""

    max_output_tokens: Annotated[int, msgspec.Meta(ge=0, le=MAX_TOKENS)] = msgspec.field(name="max_tokens")
    tools: msgspec.Raw = NULL
    output_config: _OutputConfig | None = None
    output_format: msgspec.Raw = NULL

    @property
    def wants_usage(self) -> bool:
        return True

    @property
    def needs(self) -> frozenset[str]:
        needs: set[str] = set()
        if not_empty(self.tools):
            needs.add("tools")
        if not is_null(self.output_format) or (self.output_config and not is_null(self.output_config.format)):
            needs.add("json_schema")
        return frozenset(needs)


peek = HeadDecoder(MessagesHead)
