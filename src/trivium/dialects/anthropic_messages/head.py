"""The first look at a caller's body, and the same body passed on with another model."""

from __future__ import annotations

from typing import Annotated

import msgspec

from trivium.dialects.common import MAX_TOKENS, CommonHead, HeadDecoder, not_empty
from trivium.wire.json import NULL, is_null, join, members, raw
from trivium.wire.splice import splice_model

_OURS = ("trivium", "models")
"""Fields for Trivium alone: this API refuses what it does not know."""


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


def pass_request(
    body: bytes, head: MessagesHead, model: str, *, stream: bool | None = None, ask_usage: bool = False
) -> bytes:
    """The caller's bytes with `model` spliced and `stream` as asked; usage always comes in this dialect."""
    del ask_usage
    restream = stream is not None and stream != head.stream
    has_ours = head.twin_sent is not msgspec.UNSET or head.models_sent is not msgspec.UNSET
    if not has_ours and not (restream and head.stream_sent is not msgspec.UNSET):
        if not restream and model == head.model:
            return body
        extra = b'"stream":true' if restream else b""
        spliced = splice_model(body, head.model, model, head.messages, extra)
        if spliced is not None:
            return spliced
    values = members(body)
    for name in _OURS:
        values.pop(name, None)
    values["model"] = raw(model)
    if restream:
        values["stream"] = raw(stream)
    return join(values)
