"""Whole answers, both ways: the object of a chat or of a prompt, and the list of models."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from trivium.dialects.base import AnswerContext, Built, PassedAnswer
from trivium.dialects.common import Json, excerpt, logprobs_of, tokens
from trivium.dialects.ollama.errors import error_in_band
from trivium.dialects.ollama.wire import NOTHING, Call, Line, decode_line
from trivium.dialects.request import Losses, given, tool_input
from trivium.errors import UpstreamProtocolError
from trivium.types import event as ev
from trivium.types.event import Event, FinishReason
from trivium.types.message import Audio, Message, Reasoning, Refusal, Text, ToolCall
from trivium.types.response import Choice, Response
from trivium.types.usage import Usage
from trivium.wire.json import BROKEN

_FINISH: dict[str, FinishReason] = {"length": "length", "content_filter": "content_filter", "refusal": "refusal"}
_NOT_DIGIT = re.compile(r"\D")

Shape = Callable[[str, Json], Json]
"""A text, and what else the model says, as members of an answer or a line."""


def in_message(content: str, more: Json) -> Json:
    return {"message": {"role": "assistant", "content": content, **more}}


def beside(content: str, more: Json) -> Json:
    return {"response": content, **more}


# ---- from an upstream


def decode_answer(body: bytes) -> list[Event]:
    """A whole answer as events, `End` last. Raises UpstreamProtocolError, or the error that it carries."""
    line = _read(body)
    start = ev.Start(model=line.model or "", created=seconds_of(line.created_at))
    return [start, *line_events(line, 0), *end_events(line, len(line.spoken.tool_calls or ())), ev.End()]


def read_answer(body: bytes) -> PassedAnswer:
    """What a passed answer says about itself. Raises as `decode_answer`."""
    line = _read(body)
    return PassedAnswer(usage_of(line), finish_of(line, len(line.spoken.tool_calls or ())))


def _read(body: bytes) -> Line:
    try:
        body.decode()  # what is kept raw is not checked by the decoder
        line = decode_line(body)
    except BROKEN as error:
        raise UpstreamProtocolError(f"The upstream's answer is none of this API: {excerpt(str(error))}") from None
    if line.error is not None:
        raise error_in_band(line.error, line.code)
    if not line.done:
        raise UpstreamProtocolError("The upstream's answer is not `done`.")
    return line


def line_events(line: Line, calls: int) -> list[Event]:
    """What a line says, save its end; `calls` is the number of calls before it. Calls are whole on this wire."""
    spoken, events = line.spoken, list[Event]()
    if spoken.thinking:
        events.append(ev.ReasoningDelta(text=spoken.thinking))
    if spoken.content:
        events.append(ev.TextDelta(spoken.content))
    for number, call in enumerate(spoken.tool_calls or (), calls):
        identity = call.id or f"call_{_NOT_DIGIT.sub('', str(line.created_at))}_{number}"
        events.append(ev.ToolCallStart(index=number, id=identity, name=call.function.name))
        events.append(ev.ToolCallDelta(index=number, arguments=_arguments(call)))
    if logprobs := logprobs_of(line.logprobs):
        events.append(ev.LogprobsDelta(content=[{"bytes": None, "top_logprobs": []} | one for one in logprobs]))
    return events


def _arguments(call: Call) -> str:
    """As a text; some servers send one, as others do."""
    arguments = call.function.arguments
    if arguments == NOTHING:
        return "{}"
    text = bytes(arguments).decode()
    return msgspec.json.decode(text, type=str) if text.startswith('"') else text


def end_events(line: Line, calls: int) -> list[Event]:
    """The end of an answer with so many calls."""
    usage = usage_of(line)
    finish = ev.Finish(reason=finish_of(line, calls), native=line.done_reason)
    return [finish] if usage is None else [finish, ev.UsageReport(usage)]


def finish_of(line: Line, calls: int) -> FinishReason:
    """A stop after calls is for their sake; this wire has no word for that."""
    return _FINISH.get(line.done_reason or "", "tool_calls" if calls else "stop")


def usage_of(line: Line) -> Usage | None:
    """A count that is zero is left out on this wire."""
    prompt, output = tokens(line.prompt_eval_count), tokens(line.eval_count)
    return None if prompt is None and output is None else Usage(input_tokens=prompt or 0, output_tokens=output or 0)


def seconds_of(created_at: Any) -> int:
    """RFC 3339 in Unix seconds; 0 for what is none."""
    try:
        return int(datetime.fromisoformat(created_at).timestamp())
    except (TypeError, ValueError, OverflowError):
        return 0


# ---- to a caller


def encode_answer(shape: Shape, response: Response, context: AnswerContext) -> Built:
    """The first choice; what there is no word for is named in the losses."""
    losses = Losses()
    losses.add("n", when=len(response.choices) > 1)
    choice = response.choices[0] if response.choices else Choice(message=Message("assistant"))
    parts = choice.message.parts
    thoughts = [part for part in parts if isinstance(part, Reasoning)]
    calls = [part for part in parts if isinstance(part, ToolCall)]
    for part in thoughts:
        lose_signature(part, losses)
    losses.add("citations", when=any(isinstance(part, Text) and part.citations for part in parts))
    losses.add("audio", when=any(isinstance(part, Audio) for part in parts))
    more = given(
        thinking="".join(part.text or part.summary or "" for part in thoughts) or None,
        tool_calls=call_objects(calls, choice.finish_reason, losses) or None,
    )
    text = "".join(part.text for part in parts if isinstance(part, Text | Refusal))
    end = ending(choice.finish_reason, response.usage, context) | given(logprobs=choice.logprobs)
    return Built(msgspec.json.encode(head_of(context) | shape(text, more) | end), tuple(losses))


def head_of(context: AnswerContext) -> Json:
    """What every line begins with."""
    return {"model": context.model, "created_at": time_text(context.created)}


def time_text(seconds: int) -> str:
    """RFC 3339."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def lose_signature(thought: Reasoning | ev.ReasoningDelta, losses: Losses) -> None:
    losses.add("reasoning.signature", when=thought.signature)
    losses.add("reasoning.encrypted", when=thought.encrypted)


def call_objects(calls: list[ToolCall], finish: FinishReason | None, losses: Losses) -> list[Json]:
    """Whole calls. One that was cut at the answer's limit is none."""
    objects: list[Json] = []
    for call in calls:
        arguments, faithful = tool_input(call.arguments)
        losses.add("tool_call.arguments", when=not faithful)
        losses.add("tool_call.signature", when=call.signature)
        if faithful or finish != "length":
            function = {"index": len(objects), "name": call.name, "arguments": arguments}
            objects.append({"id": call.id, "function": function})
    return objects


def ending(
    finish: FinishReason | None, usage: Usage | None, context: AnswerContext, first_ns: int | None = None
) -> Json:
    """What the last line says beside its text; `first_ns` is when the first came. `cost` is our addition."""
    total_ns = context.elapsed_ns() if context.elapsed_ns else None
    after_first_ns = None if total_ns is None or first_ns is None else total_ns - first_ns
    return {
        "done": True,
        "done_reason": "stop" if finish in {None, "tool_calls"} else finish,
        **given(
            total_duration=total_ns,
            prompt_eval_count=usage.prompt_tokens if usage else None,
            prompt_eval_duration=first_ns,
            eval_count=usage.output_tokens if usage else None,
            eval_duration=after_first_ns,
            cost=usage.cost_usd if usage else None,
        ),
    }


def models_answer(rows: list[dict[str, Any]]) -> bytes:
    """The list of models; what is not known of one is empty or 0, for clients that do without nothing."""
    return msgspec.json.encode({"models": [model_object(row["id"], row.get("created") or 0) for row in rows]})


def model_object(name: str, created: int = 0) -> Json:
    """A model in a list. Its digest is that of its name: clients show the beginning of one."""
    return {
        "name": name,
        "model": name,
        "modified_at": time_text(created),
        "size": 0,
        "digest": hashlib.sha256(name.encode()).hexdigest(),
        "details": {
            "parent_model": "",
            "format": "",
            "family": name.partition("/")[0],
            "families": [],
            "parameter_size": "",
            "quantization_level": "",
        },
    }
