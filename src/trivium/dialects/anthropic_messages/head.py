"""The first look at a caller's body."""

from __future__ import annotations

from typing import Annotated

import msgspec

from trivium.dialects.common import MAX_TOKENS, CommonHead, HeadDecoder, check_models, not_empty
from trivium.errors import InvalidRequest
from trivium.wire.json import NULL, is_null


class _OutputConfig(msgspec.Struct):
    format: msgspec.Raw = NULL


class _Fallback(msgspec.Struct, forbid_unknown_fields=True):
    model: str


class MessagesHead(CommonHead, kw_only=True):
    """What a body of `POST /messages` says at first sight."""

    max_output_tokens: Annotated[int, msgspec.Meta(ge=0, le=MAX_TOKENS)] = msgspec.field(name="max_tokens")
    tools: msgspec.Raw = NULL
    output_config: _OutputConfig | None = None
    output_format: msgspec.Raw = NULL
    fallbacks: Annotated[tuple[_Fallback, ...], msgspec.Meta(max_length=3)] | None = None
    """OpenRouter's way to say `models` in this dialect."""

    def check(self) -> None:
        super().check()
        if self.fallbacks and self.models:
            raise InvalidRequest(
                "`fallbacks` and `models` say the same.", remedy="Send one of them.", param="fallbacks"
            )
        if self.fallbacks:
            check_models(more := tuple(one.model for one in self.fallbacks))
            self.models_sent = more

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
