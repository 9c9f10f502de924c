"""What is said: messages and the parts that they are made of.

Normal form, so that every dialect can be parsed into it and built from it without guessing:

* Roles are `system`, `user` and `assistant`. A dialect's `developer` is `system`; its top-level
  system prompt is the first message.
* A tool's result is a part of a *user* message (as Anthropic has it). Dialects with a role of their
  own for it (OpenAI's `tool`) merge consecutive ones into one user message when parsing.
* Adjacent messages of one role stay separate if the caller sent them so.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Role = Literal["system", "user", "assistant"]


class Citation(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a piece of text comes from; offsets are characters of the text part that carries it."""

    source: str
    title: str | None = None
    quote: str | None = None
    start: int | None = None
    end: int | None = None


class Text(msgspec.Struct, frozen=True, tag="text", omit_defaults=True):
    text: str
    citations: tuple[Citation, ...] = ()
    cache: str | None = None
    """A prompt-cache mark after this part: the lifetime (`5m`, `1h`), or None for no mark."""


class Image(msgspec.Struct, frozen=True, tag="image", omit_defaults=True, kw_only=True):
    """Exactly one of `url` and `data` (base64) is set; `media_type` belongs to `data`."""

    url: str | None = None
    data: str | None = None
    media_type: str | None = None
    detail: str | None = None
    cache: str | None = None


class Audio(msgspec.Struct, frozen=True, tag="audio", omit_defaults=True, kw_only=True):
    data: str
    format: str


class File(msgspec.Struct, frozen=True, tag="file", omit_defaults=True, kw_only=True):
    """A document: by `url`, by base64 `data`, or by the provider's own `file_id`."""

    url: str | None = None
    data: str | None = None
    file_id: str | None = None
    media_type: str | None = None
    name: str | None = None
    cache: str | None = None


class ToolCall(msgspec.Struct, frozen=True, tag="tool_call", omit_defaults=True, kw_only=True):
    """`arguments` is the JSON text as the model wrote it; it is parsed only where a wire needs an object."""

    id: str
    name: str
    arguments: str = "{}"
    signature: str | None = None


class ToolResult(msgspec.Struct, frozen=True, tag="tool_result", omit_defaults=True, kw_only=True):
    call_id: str
    parts: tuple[Text | Image | File, ...] = ()
    is_error: bool = False
    name: str | None = None
    cache: str | None = None


class Reasoning(msgspec.Struct, frozen=True, tag="reasoning", omit_defaults=True, kw_only=True):
    """Thinking: readable `text` or a `summary`, a `signature` over it, or an `encrypted` whole."""

    text: str = ""
    summary: str | None = None
    signature: str | None = None
    encrypted: str | None = None
    id: str | None = None
    format: str | None = None


class Refusal(msgspec.Struct, frozen=True, tag="refusal", omit_defaults=True):
    text: str


Part = Text | Image | Audio | File | ToolCall | ToolResult | Reasoning | Refusal


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    role: Role
    parts: tuple[Part, ...] = ()
    name: str | None = None

    @property
    def text(self) -> str:
        """All text of the message, joined."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))
