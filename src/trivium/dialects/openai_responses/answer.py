"""Whole answers: the `response` object, both ways. https://platform.openai.com/docs/api-reference/responses/object"""

from __future__ import annotations

from typing import Any

import msgspec

from trivium.dialects.base import AnswerContext, Built, PassedAnswer
from trivium.dialects.common import Json, excerpt
from trivium.dialects.openai import error_in_band
from trivium.dialects.openai_responses.build import options_of
from trivium.dialects.openai_responses.items import (
    ItemReader,
    is_call,
    message_item,
    read_item,
    reasoning_item,
    text_part,
)
from trivium.dialects.openai_responses.tools import call_item, stand_ins
from trivium.dialects.openai_responses.wire import WireUsage, finish_of, status_of, usage_of, wire_logprobs, wire_usage
from trivium.dialects.request import Losses, is_object
from trivium.errors import UpstreamProtocolError
from trivium.types import event as ev
from trivium.types.event import Event, FinishReason
from trivium.types.message import Message, Reasoning, Refusal, Text, ToolCall
from trivium.types.request import Request
from trivium.types.response import Choice, Response
from trivium.types.usage import Usage
from trivium.wire.json import BROKEN


class WireResponse(msgspec.Struct, frozen=True):
    """A `response` object, whole or as an event tells of it."""

    id: str | None = None
    model: str | None = None
    created_at: float | None = None
    status: str | None = None
    error: Any = None
    incomplete_details: dict[str, Any] | None = None
    usage: WireUsage | None = None
    output: list[msgspec.Raw] | None = None

    @property
    def reason(self) -> str:
        return str((self.incomplete_details or {}).get("reason") or "")


_RESPONSE = msgspec.json.Decoder(WireResponse)
_UNDER_WAY = frozenset({"queued", "in_progress"})
_GONE_WRONG = frozenset({"failed", "cancelled"})


def decode_answer(body: bytes) -> list[Event]:
    """A whole answer as events; items of tools that the API ran itself have no event and are skipped."""
    answer = _decoded(body)
    status = answer.status or "completed"
    if status in _UNDER_WAY:
        raise UpstreamProtocolError(f"The upstream's answer is not there yet: its status is `{status}`.")
    events: list[Event] = [start_of(answer)]
    reader = ItemReader()
    try:
        for index, raw in enumerate(answer.output or ()):
            events += reader.rest(read_item(raw), index)
    except BROKEN as error:
        raise _no_response(error) from None
    events.append(finish_of(status, answer.reason, has_calls=bool(reader.calls)))
    if answer.usage is not None and (usage := usage_of(answer.usage)) is not None:
        events.append(ev.UsageReport(usage))
    events.append(ev.End())
    return events


def start_of(wire: WireResponse) -> ev.Start:
    return ev.Start(id=wire.id or "", model=wire.model or "", created=int(wire.created_at or 0))


def read_answer(body: bytes) -> PassedAnswer:
    """What a passed answer says about itself; one that is worked on in the background has no end yet."""
    answer = _decoded(body)
    has_calls = any(map(is_call, answer.output or ()))
    finish = finish_of(answer.status or "", answer.reason, has_calls=has_calls)
    return PassedAnswer(
        usage=usage_of(answer.usage) if answer.usage else None,
        finish_reason="" if answer.status in _UNDER_WAY else finish.reason,
        id=answer.id or "",
    )


def _decoded(body: bytes) -> WireResponse:
    try:
        body.decode()  # what is kept raw is not checked by the decoder
        answer = _RESPONSE.decode(body)
    except BROKEN as error:
        raise _no_response(error) from None
    if answer.error is not None or answer.status in _GONE_WRONG:
        raise error_in_band(answer.error or {"message": f"The answer's status is `{answer.status}`."})
    if answer.output is None or (not answer.output and answer.status in {None, "completed"}):
        raise UpstreamProtocolError("The upstream answered 200 without any output.")
    return answer


def _no_response(error: Exception) -> UpstreamProtocolError:
    return UpstreamProtocolError(f"The upstream's answer is no response: {excerpt(str(error))}")


def encode_answer(response: Response, context: AnswerContext) -> Built:
    """The first choice as a `response`; what it has no word for is named in the losses."""
    losses = Losses()
    losses.add("n", when=len(response.choices) > 1)
    choice = response.choices[0] if response.choices else Choice(message=Message("assistant"))
    refused = any(isinstance(part, Refusal) for part in choice.message.parts)
    wire = response_object(context) | outcome(choice.finish_reason, response.usage, refused=refused)
    wire["output"] = _output(choice, context, losses, wire["status"])
    return Built(msgspec.json.encode(wire), tuple(losses))


def outcome(finish: FinishReason | None, usage: Usage | None, *, refused: bool) -> Json:
    """How an answer ended, as fields of its object."""
    status, details = status_of(finish, refused=refused)
    error = {"code": "server_error", "message": "The model ended its answer with an error."}
    return {
        "status": status,
        "incomplete_details": details,
        "error": error if status == "failed" else None,
        "usage": None if usage is None else wire_usage(usage),
    }


def _output(choice: Choice, context: AnswerContext, losses: Losses, status: str) -> list[Json]:
    """Items; texts that follow each other are parts of one message, the first of which has the log-probabilities."""
    output: list[Json] = []
    tools, logprobs = stand_ins(context.request), wire_logprobs(choice.logprobs or [])
    for part in choice.message.parts:
        identity = f"{context.id}_{len(output)}"
        match part:
            case Text() | Refusal():
                if not output or output[-1]["type"] != "message":
                    output.append(message_item(identity, [], "completed"))
                said = text_part(part, losses, logprobs if isinstance(part, Text) else None)
                logprobs = logprobs if isinstance(part, Refusal) else []
                output[-1]["content"].append(said)
            case ToolCall():
                losses.add("tool_call.signature", when=part.signature)
                output.append(call_item(part, tools.get(part.name), identity, call_status(part.arguments, status)))
            case Reasoning():
                output.append(reasoning_item(part, identity, losses))
            case _:
                losses.add(type(part).__name__.lower())
    losses.add("logprobs", when=logprobs)
    if output and status == "incomplete" and output[-1]["type"] == "message":
        output[-1]["status"] = status
    return output


def call_status(arguments: str, status: str) -> str:
    """A call's status in an answer of that status: where that was cut, so was a call without a whole object."""
    return "incomplete" if status != "completed" and not is_object(arguments) else "completed"


_UNKNOWN = dict.fromkeys(
    ("completed_at", "conversation", "instructions", "moderation", "previous_response_id", "prompt")
)
_REPEATED = (
    *("max_output_tokens", "max_tool_calls", "metadata", "parallel_tool_calls", "prompt_cache_key"),
    *("prompt_cache_retention", "reasoning", "safety_identifier", "service_tier", "temperature", "text", "tool_choice"),
    *("tools", "top_logprobs", "top_p", "truncation", "user"),
)
_DEFAULTS: Json = {
    "metadata": {},
    "parallel_tool_calls": True,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "truncation": "disabled",
}


def response_object(context: AnswerContext) -> Json:
    """A `response` that is under way, with all documented fields, null where nothing is known.

    As the API does, it repeats what was asked, save the instructions, which the caller has and which can be long.
    """
    asked = options_of(context.request, Losses()) if isinstance(context.request, Request) else {}
    head: Json = {"id": context.id, "object": "response", "created_at": context.created, "model": context.model}
    state: Json = {"status": "in_progress", "background": False, "output": []}
    ends = dict.fromkeys(("error", "incomplete_details", "usage"))
    return head | state | ends | _UNKNOWN | {name: asked.get(name, _DEFAULTS.get(name)) for name in _REPEATED}
