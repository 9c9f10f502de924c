"""OpenRouter's profile of this wire, for callers: the same requests, and answers with all that its clients may read.

Source: OpenRouter's API reference and the types of its Python SDK. Its own server is asked in plain `openai_chat`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from trivium.dialects.base import Addressed, AnswerContext, Built
from trivium.dialects.common import HeadDecoder, ModelName
from trivium.dialects.openai_chat import DIALECT as CHAT
from trivium.dialects.openai_chat.answer import completion
from trivium.dialects.openai_chat.head import ChatHead
from trivium.dialects.openai_chat.stream import ChatEncoder
from trivium.dialects.openai_chat.usage import usage_object
from trivium.dialects.request import Losses, given
from trivium.errors import TriviumError, UpstreamError
from trivium.types import event as ev
from trivium.types.event import Event
from trivium.types.message import Reasoning
from trivium.types.request import Request
from trivium.types.response import Response
from trivium.types.usage import Usage
from trivium.wire.json import join, members

_TYPES = {
    400: "invalid_request",
    401: "authentication",
    402: "payment_required",
    403: "permission_denied",
    404: "not_found",
    408: "timeout",
    413: "payload_too_large",
    415: "unprocessable",
    429: "rate_limit_exceeded",
    502: "provider_unavailable",
    503: "provider_overloaded",
    504: "timeout",
}
_SAME = frozenset({"context_length_exceeded", "content_policy_violation"})
"""Kinds of ours that are its error types."""


class _Head(ChatHead, kw_only=True):
    """Usage is always in the stream here, whatever is asked; the first of `models` stands for a missing `model`."""

    model: ModelName = ModelName()

    def __post_init__(self) -> None:
        if not self.model and self.models:
            self.model, *more = map(ModelName, self.models)
            self.models_sent = tuple(more)

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


def _usage(usage: Usage) -> dict[str, Any]:
    """`usage` with its cost: null where a price is unknown, never 0."""
    wire = usage_object(usage)
    wire["cost"] = usage.cost_usd
    wire["is_byok"] = False
    wire["cost_details"] = {"upstream_inference_cost": usage.cost_usd}
    wire["prompt_tokens_details"] |= {"cache_write_tokens": usage.cache_write_tokens + usage.cache_write_1h_tokens}
    wire["completion_tokens_details"] |= {"image_tokens": 0}
    return wire


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
    body["provider"] = context.provider
    for choice, wire in zip(response.choices, body["choices"], strict=True):
        wire["native_finish_reason"] = choice.native_finish_reason or wire["finish_reason"]
        thoughts = [part for part in choice.message.parts if isinstance(part, Reasoning)]
        message = wire["message"]
        message.setdefault("reasoning", None)
        if thoughts:
            message["reasoning_details"] = [d for index, part in enumerate(thoughts) for d in _detail(index, part)]
    if response.usage is not None:
        body["usage"] = _usage(response.usage)
    return Built(msgspec.json.encode(body), tuple(loss for loss in losses if loss != "reasoning.signature"))


class _Encoder(ChatEncoder):
    """Chunks with the provider, the details of reasoning and the bill; an error is a chunk, too."""

    def _head(self, context: AnswerContext) -> dict[str, Any]:
        return {**super()._head(context), "provider": context.provider}

    def _delta_of(self, event: Event) -> dict[str, Any] | None:
        if not isinstance(event, ev.ReasoningDelta):
            return super()._delta_of(event)
        details = _detail(event.block, event)
        return given(reasoning=event.text or event.summary or None, reasoning_details=details or None) or None

    def _finish(self, event: ev.Finish) -> Iterable[bytes]:
        word = "content_filter" if event.reason == "refusal" else event.reason
        yield from self._delta(event.choice, {}, finish_reason=word, native_finish_reason=event.native or word)

    def _usage_object(self, usage: Usage) -> dict[str, Any]:
        return _usage(usage)

    def fail(self, error: TriviumError) -> bytes:
        """A chunk with the error and a choice that ends in it; no marker follows."""
        choice = {"index": 0, "delta": {"content": ""}, "finish_reason": "error", "native_finish_reason": "error"}
        chunk = {**self._head(self._context), "error": _error(error), "choices": [choice]}
        return b"data: " + msgspec.json.encode(chunk) + b"\n\n"


def _error(error: TriviumError) -> dict[str, Any]:
    kind = error.kind if error.kind in _SAME else _TYPES.get(error.status, "server")
    metadata: dict[str, Any] = {"error_type": kind, "kind": error.kind}
    if isinstance(error, UpstreamError):
        metadata |= given(provider_name=error.endpoint.partition("/")[0] or None, provider_code=error.provider_code)
    return {
        "code": error.status,
        "message": str(error),
        "type": kind,
        "param": error.param,
        "error_type": kind,
        "http_status": error.status,
        "metadata": metadata,
    }


def _encode_error(error: TriviumError, request_id: str) -> bytes:
    return msgspec.json.encode({"error": _error(error), "user_id": None, "request_id": request_id})


def _models_answer(rows: list[dict[str, Any]]) -> bytes:
    """The answer of `GET /models`: what is not known is null."""
    models = [model_object(row) for row in rows]
    return msgspec.json.encode({"data": models, "total_count": len(models), "links": {"next": None}})


def model_object(row: dict[str, Any]) -> dict[str, Any]:
    """One model of the catalog in its shape, with the fields that clients rely on."""
    return {
        "id": row["id"],
        "canonical_slug": row["id"],
        "name": row.get("name") or row["id"],
        "created": row.get("created") or 0,
        "description": "",
        "context_length": row.get("context"),
        "architecture": {
            "modality": "text->text",
            "input_modalities": ["text"],
            "output_modalities": ["text"],
            "tokenizer": "Other",
            "instruct_type": None,
        },
        "pricing": row.get("pricing") or {"prompt": "-1", "completion": "-1"},
        "top_provider": {
            "context_length": row.get("context"),
            "max_completion_tokens": None,
            "is_moderated": False,
        },
        "per_request_limits": None,
        "supported_parameters": [],
        "default_parameters": None,
        "supported_voices": None,
        "links": {"details": f"/api/v1/models/{row['id']}/endpoints"},
    }


DIALECT = msgspec.structs.replace(
    CHAT,
    name="openrouter",
    slugs=True,
    keep_alive=b": OPENROUTER PROCESSING\n\n",
    peek=_peek,
    parse_request=_parse_request,
    encode_answer=_encode_answer,
    encoder=_Encoder,
    encode_error=_encode_error,
    models_answer=_models_answer,
)
