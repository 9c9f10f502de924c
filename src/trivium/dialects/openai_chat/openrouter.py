"""OpenRouter's profile of this wire, for callers: the same requests, and answers with all that its clients may read.

Source: OpenRouter's API reference and the types of its Python SDK. Its own server is asked in plain `openai_chat`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import structs

from trivium.dialects.base import Addressed, AnswerContext, Built
from trivium.dialects.common import HeadDecoder, ModelName
from trivium.dialects.error_types import error_type, told
from trivium.dialects.openai_chat import DIALECT as CHAT
from trivium.dialects.openai_chat.answer import completion
from trivium.dialects.openai_chat.head import ChatHead
from trivium.dialects.openai_chat.stream import ChatEncoder
from trivium.dialects.openai_chat.usage import usage_object
from trivium.dialects.request import Losses, given
from trivium.errors import TriviumError
from trivium.types import event as ev
from trivium.types.event import Event
from trivium.types.message import Reasoning
from trivium.types.money import NANOS_PER_USD
from trivium.types.request import Request
from trivium.types.response import Response
from trivium.types.usage import Usage
from trivium.wire.json import join, members


class _Head(ChatHead, kw_only=True):
    """Usage is always in the stream here, whatever is asked; the first of `models` stands for a missing `model`."""

    model: ModelName = ModelName()

    def __post_init__(self) -> None:
        if not self.model and self.models:
            first, *more = self.models
            self.model, self.models_sent = ModelName(first), tuple(more)

    @property
    def wants_usage(self) -> bool:
        return True


_peek = HeadDecoder(_Head)


def _parse_request(body: bytes, _addressed: Addressed | None = None, /) -> Request:
    if b'"models"' in body:
        head = _peek(body)
        if "model" not in (fields := members(body)):
            body = join({**fields, "model": head.model})
    return CHAT.parse_request(body)


_TOOLS = {"web_search_requests": 0, "tool_calls_requested": 0, "tool_calls_executed": 0}


def _usage(usage: Usage, context: AnswerContext) -> dict[str, Any]:
    """`usage` with its cost: null where a price is unknown, never 0."""
    wire = usage_object(usage)
    wire["cost"] = usage.cost_usd
    wire["is_byok"] = False
    wire["cost_details"] = _cost_details(usage, context)
    wire["prompt_tokens_details"] |= {
        "cache_write_tokens": usage.cache_write_tokens + usage.cache_write_1h_tokens,
        "video_tokens": 0,
    }
    wire["completion_tokens_details"] |= {"image_tokens": 0}
    wire["server_tool_use_details"] = _TOOLS
    return wire


def _cost_details(usage: Usage, context: AnswerContext) -> dict[str, Any] | None:
    """The parts of the cost, which add up to it in nano-dollars: what earlier attempts cost was for the prompt."""
    total = context.bill and context.bill(usage)
    prompt = context.bill and context.bill(
        structs.replace(usage, output_tokens=0, output_audio_tokens=0, reasoning_tokens=0)
    )
    if total is None or prompt is None:
        return None
    return {
        "upstream_inference_cost": total / NANOS_PER_USD,
        "upstream_inference_prompt_cost": prompt / NANOS_PER_USD,
        "upstream_inference_completions_cost": (total - prompt) / NANOS_PER_USD,
        "server_tool_cost": None,
    }


def _detail(index: int, said: Reasoning | ev.ReasoningDelta) -> list[dict[str, Any]]:
    """Thinking as `reasoning_details`, which a caller sends back unchanged."""
    known = {"id": said.id, "format": said.format or "unknown", "index": index}
    details: list[dict[str, Any]] = []
    if said.text or said.signature:
        details.append({"type": "reasoning.text", "text": said.text, "signature": said.signature, **known})
    if said.summary:
        details.append({"type": "reasoning.summary", "summary": said.summary, **known})
    if said.encrypted is not None:
        details.append({"type": "reasoning.encrypted", "data": said.encrypted, **known})
    return details


def _encode_answer(response: Response, context: AnswerContext) -> Built:
    losses = Losses()
    body = completion(response, context, losses)
    body |= {"provider": context.provider, "service_tier": None}
    for choice, wire in zip(response.choices, body["choices"], strict=True):
        wire["native_finish_reason"] = choice.native_finish_reason or wire["finish_reason"]
        thoughts = [part for part in choice.message.parts if isinstance(part, Reasoning)]
        message = wire["message"]
        message.setdefault("reasoning", None)
        if thoughts:
            message["reasoning_details"] = [d for index, part in enumerate(thoughts) for d in _detail(index, part)]
    if response.usage is not None:
        body["usage"] = _usage(response.usage, context)
    return Built(msgspec.json.encode(body), tuple(loss for loss in losses if loss != "reasoning.signature"))


class _Encoder(ChatEncoder):
    """Chunks with the provider, the details of reasoning and the bill; an error is a chunk, too."""

    def _head(self, context: AnswerContext) -> dict[str, Any]:
        return {**super()._head(context), "provider": context.provider, "service_tier": None}

    def _delta_of(self, event: Event) -> dict[str, Any] | None:
        if not isinstance(event, ev.ReasoningDelta):
            return super()._delta_of(event)
        details = _detail(event.block, event)
        return given(reasoning=event.text or event.summary or None, reasoning_details=details or None) or None

    def _finish(self, event: ev.Finish) -> Iterable[bytes]:
        word = "content_filter" if event.reason == "refusal" else event.reason
        yield from self._delta(event.choice, {}, finish_reason=word, native_finish_reason=event.native or word)

    def _usage_object(self, usage: Usage) -> dict[str, Any]:
        return _usage(usage, self._context)

    def fail(self, error: TriviumError) -> bytes:
        """A chunk with the error and a choice that ends in it; no marker follows."""
        choice = {"index": 0, "delta": {"content": ""}, "finish_reason": "error", "native_finish_reason": "error"}
        chunk = {**self._head(self._context), "error": _error(error), "choices": [choice]}
        return b"data: " + msgspec.json.encode(chunk) + b"\n\n"


def _error(error: TriviumError) -> dict[str, Any]:
    kind = error_type(error)
    return {"code": error.status, "message": str(error), "type": kind, "param": error.param, **told(error)}


def _encode_error(error: TriviumError, request_id: str) -> bytes:
    return msgspec.json.encode({"error": _error(error), "user_id": None, "request_id": request_id})


DIALECT = msgspec.structs.replace(
    CHAT,
    name="openrouter",
    keep_alive=b": OPENROUTER PROCESSING\n\n",
    peek=_peek,
    parse_request=_parse_request,
    encode_answer=_encode_answer,
    encoder=_Encoder,
    encode_error=_encode_error,
)
