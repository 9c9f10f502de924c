"""The first look at a caller's body, and the media in it."""

from __future__ import annotations

from typing import Annotated

import msgspec

from trivium.dialects.base import Media
from trivium.dialects.common import MAX_TOKENS, CommonHead, HeadDecoder, not_empty
from trivium.dialects.ollama.wire import NOTHING
from trivium.errors import InvalidRequest
from trivium.wire.json import BROKEN


class _Limits(msgspec.Struct):
    num_predict: Annotated[float, msgspec.Meta(le=MAX_TOKENS)] | None = None


class _Head(CommonHead, kw_only=True):
    """What all bodies say at first sight. A stream is what one gets who does not say otherwise."""

    format: msgspec.Raw = NOTHING
    options: _Limits | None = None
    logprobs: bool | None = None
    tools: msgspec.Raw = NOTHING

    @property
    def stream(self) -> bool:
        return self.stream_sent is not False

    @property
    def max_output_tokens(self) -> int | None:
        """Zero and less mean no limit here."""
        limit = int(self.options.num_predict or 0) if self.options else 0
        return limit if limit > 0 else None

    @property
    def needs(self) -> frozenset[str]:
        form = bytes(memoryview(self.format)[:6])
        needs = {"json_schema"} if form[:1] == b"{" else {"json_object"} if form == b'"json"' else set[str]()
        if self.logprobs:
            needs.add("logprobs")
        if not_empty(self.tools):
            needs.add("tools")
        return frozenset(needs)


class PromptHead(_Head, kw_only=True):
    """Of a prompt; its images stand where a chat has its messages."""

    messages: msgspec.Raw = msgspec.field(name="images", default=NOTHING)
    prompt: msgspec.Raw = NOTHING

    def check(self) -> None:
        if len(memoryview(self.prompt)) < 3 or self.prompt == NOTHING:
            raise InvalidRequest("`prompt` must be a text.", remedy="Send what is asked.", param="prompt")


peek = HeadDecoder(_Head)
peek_prompt = HeadDecoder(PromptHead)


class _Pictured(msgspec.Struct):
    images: list[msgspec.Raw] | None = None


_MESSAGES = msgspec.json.Decoder(list[_Pictured])


def media(messages: msgspec.Raw) -> Media:
    """What a chat's messages carry."""
    try:
        images = [image for message in _MESSAGES.decode(messages) for image in message.images or ()]
    except BROKEN:
        return Media()
    return Media(frozenset({"images"}) if images else frozenset(), sum(len(memoryview(image)) - 2 for image in images))


def prompt_media(images: msgspec.Raw) -> Media:
    """What a prompt carries."""
    return media(msgspec.Raw(b'[{"images":%b}]' % bytes(images)))
