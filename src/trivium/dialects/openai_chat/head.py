"""A request at first sight, and its bytes passed on with another model."""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

from trivium.dialects.common import CommonHead, HeadDecoder, not_empty
from trivium.dialects.openai_chat.wire import Count, StreamOptions
from trivium.wire.json import members, raw
from trivium.wire.splice import splice_model

_STREAM = b'"stream":true'
_ASK_USAGE = b'"stream_options":{"include_usage":true}'


_NONE = msgspec.Raw()
_NOTHING: frozenset[str] = frozenset()


class _Format(msgspec.Struct):
    type: str = "text"


class ChatHead(CommonHead, kw_only=True):
    """What a body says before its messages are read."""

    options_sent: StreamOptions | UnsetType | None = msgspec.field(default=UNSET, name="stream_options")
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    tools: msgspec.Raw = _NONE
    response_format: msgspec.Raw = _NONE
    n: Count | None = None
    logprobs: bool | None = None

    @property
    def wants_usage(self) -> bool:
        return isinstance(self.options_sent, StreamOptions) and self.options_sent.include_usage is True

    @property
    def max_output_tokens(self) -> int | None:
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens

    @property
    def needs(self) -> frozenset[str]:
        if self.tools is _NONE and self.response_format is _NONE and self.n is None and not self.logprobs:
            return _NOTHING
        needs: set[str] = set()
        if not_empty(self.tools):
            needs.add("tools")
        if (kind := _format_of(self.response_format)) in {"json_schema", "json_object"}:
            needs.add(kind)
        if self.n is not None and self.n > 1:
            needs.add("n")
        if self.logprobs:
            needs.add("logprobs")
        return frozenset(needs)


peek = HeadDecoder(ChatHead)


def _format_of(value: msgspec.Raw) -> str:
    """The type of a response format; one of another shape is left to whoever reads it whole."""
    if not memoryview(value):
        return "text"
    try:
        return msgspec.json.decode(value, type=_Format).type
    except msgspec.ValidationError:
        return "text"


def pass_request(
    body: bytes, head: ChatHead, model: str, *, stream: bool | None = None, ask_usage: bool = False
) -> bytes:
    """The caller's own bytes with `model` in the place of its own, `stream` as given, and usage asked for.

    Members are added by the splice where their keys are absent. What the splice cannot do (a key is
    there with another value; our own `trivium`, and `models`, which we have judged and planned, must not leave the
    house) goes member by member, with the values still as the caller wrote them.
    """
    clean = head.twin_sent is UNSET and not head.models_sent
    if clean and stream is None and not ask_usage and head.options_sent is UNSET:
        spliced = splice_model(body, head.model, model, head.messages)
        if spliced is not None:
            return spliced
    streams = head.stream if stream is None else stream
    ask = ask_usage and streams and not head.wants_usage
    turn = streams != head.stream
    additions = [
        *((_STREAM,) if turn and head.stream_sent is UNSET else ()),
        *((_ASK_USAGE,) if ask and head.options_sent is UNSET else ()),
    ]
    unasked = not streams and head.options_sent is not UNSET
    if clean and not unasked and len(additions) == turn + ask:
        spliced = splice_model(body, head.model, model, head.messages, b",".join(additions))
        if spliced is not None:
            return spliced
    fields = members(body)
    fields["model"] = raw(model)
    for ours in ("trivium", "models"):
        fields.pop(ours, None)
    if turn:
        fields["stream"] = raw(streams)
    if unasked:
        del fields["stream_options"]
    elif ask:
        options = members(bytes(fields["stream_options"])) if isinstance(head.options_sent, StreamOptions) else {}
        fields["stream_options"] = raw({**options, "include_usage": True})
    return msgspec.json.encode(fields)
