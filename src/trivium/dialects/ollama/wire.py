"""The shapes of Ollama's API, as far as they have a meaning here.

Source: https://docs.ollama.com/api, and the types of its server and its Python client. Requests are read strictly,
answers leniently.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from trivium.dialects.common import MAX_TOKENS
from trivium.dialects.request import ToolDefinition
from trivium.types.request import Sampling

NOTHING = msgspec.Raw(b"null")
NO_ARGUMENTS = msgspec.Raw(b"{}")


class Options(msgspec.Struct):
    """The options that mean something elsewhere."""

    num_predict: Annotated[int, msgspec.Meta(le=MAX_TOKENS)] | None = None
    stop: list[str] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    seed: int | None = None
    repeat_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None


SAMPLING = {name: name for name in Options.__struct_fields__ if name in Sampling.__struct_fields__}
SAMPLING["repetition_penalty"] = "repeat_penalty"
"""Our names → options."""


class Function(msgspec.Struct):
    name: str
    arguments: msgspec.Raw = NO_ARGUMENTS


class Call(msgspec.Struct):
    function: Function
    id: str | None = None


class WireMessage(msgspec.Struct):
    role: Literal["system", "user", "assistant", "tool"]
    content: str | None = None
    thinking: str | None = None
    images: list[str] | None = None
    tool_calls: list[Call] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None


class _Body(msgspec.Struct, kw_only=True):
    model: str
    stream: bool | None = None
    format: Literal["", "json"] | dict[str, Any] | None = None
    think: bool | Literal["low", "medium", "high", "max"] | None = None
    options: dict[str, Any] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, msgspec.Meta(ge=0, le=20)] | None = None


class ChatBody(_Body, kw_only=True):
    messages: list[WireMessage]
    tools: list[ToolDefinition] | None = None


class PromptBody(_Body, kw_only=True):
    prompt: str
    system: str | None = None
    images: list[str] | None = None


class Spoken(msgspec.Struct):
    """A message of an answer, or a piece of one."""

    content: str | None = None
    thinking: str | None = None
    tool_calls: list[Call] | None = None


class Line(msgspec.Struct, kw_only=True):
    """An answer, or a line of one. A chat's says what it says in `message`, a prompt's beside it."""

    model: str | None = None
    created_at: Any = None
    message: Spoken | None = None
    response: str | None = None
    thinking: str | None = None
    tool_calls: list[Call] | None = None
    done: bool | None = None
    done_reason: str | None = None
    prompt_eval_count: Any = None
    eval_count: Any = None
    logprobs: Any = None
    error: Any = None
    code: Any = None
    """Ours, beside `error`."""

    @property
    def spoken(self) -> Spoken:
        return self.message or Spoken(self.response, self.thinking, self.tool_calls)


decode_line = msgspec.json.Decoder(Line).decode
