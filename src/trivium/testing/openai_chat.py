"""The fake upstream's `openai_chat` (POST /v1/chat/completions), with all fields that OpenAI documents.

Source: OpenAI's API reference and the types of its Python library, 2026-11.
"""

from __future__ import annotations

from typing import Any

from trivium.testing.answers import CREATED, JSON, Answer, Question, ToolCall, pieces_of
from trivium.testing.problems import Problem
from trivium.testing.voice import (
    Script,
    Voice,
    data_frame,
    functions,
    parts_of,
    record,
    require_messages,
    text_of,
    tokens_of,
)

FINGERPRINT = "fp_trivium"
LIMITS = {"x-ratelimit-limit-requests": "5000", "x-ratelimit-remaining-requests": "4999"}


def ask(body: JSON) -> Question:
    messages = require_messages(body)
    users = [message for message in messages if message.get("role") == "user"]
    last = messages[-1]
    return Question(
        model=body["model"],
        stream=bool(body.get("stream")),
        text=text_of(users[-1].get("content")) if users else "",
        prompt_tokens=tokens_of(body),
        images=sum(part.get("type") == "image_url" for user in users for part in parts_of(user.get("content"))),
        tools=() if body.get("tool_choice") == "none" else functions(body),
        tool_result=text_of(last.get("content")) if last.get("role") == "tool" else None,
        schema=_schema(record(body, "response_format")),
        max_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
        include_usage=bool(record(body, "stream_options").get("include_usage")),
        n=body.get("n") or 1,
        start=text_of(last.get("content")) if last.get("role") == "assistant" else "",
    )


def _schema(form: JSON) -> JSON | None:
    match form.get("type"):
        case "json_schema":
            return record(form["json_schema"], "schema")
        case "json_object":
            return {"type": "object"}
        case _:
            return None


def _reason(answer: Answer) -> str:
    return answer.reason("stop", "length", "tool_calls")


def _call(call: ToolCall) -> JSON:
    return {"id": f"call_{call.id}", "type": "function", "function": {"name": call.name, "arguments": call.json}}


def usage(answer: Answer) -> JSON:
    return {
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.output_tokens,
        "total_tokens": answer.prompt_tokens + answer.output_tokens,
        "prompt_tokens_details": {"cached_tokens": answer.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": answer.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def whole(answer: Answer) -> JSON:
    message: JSON = {
        "role": "assistant",
        "content": answer.text if answer.pieces or not answer.calls else None,
        "refusal": None,
        "annotations": [],
    }
    if answer.thinking:
        message["reasoning_content"] = "".join(answer.thinking)
    if answer.calls:
        message["tool_calls"] = [_call(call) for call in answer.calls]
    return {
        "id": f"chatcmpl-{answer.id}",
        "object": "chat.completion",
        "created": CREATED,
        "model": answer.model,
        "choices": [
            {"index": index, "message": message, "logprobs": None, "finish_reason": _reason(answer)}
            for index in range(answer.n)
        ],
        "usage": usage(answer),
        "service_tier": "default",
        "system_fingerprint": FINGERPRINT,
    }


def _chunk(answer: Answer, choices: list[JSON], **more: Any) -> bytes:
    body: JSON = {
        "id": f"chatcmpl-{answer.id}",
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": answer.model,
        "service_tier": "default",
        "system_fingerprint": FINGERPRINT,
        "choices": choices,
    }
    if answer.include_usage:
        body["usage"] = None
    return data_frame(body | more)


def _delta(answer: Answer, delta: JSON, reason: str | None = None) -> bytes:
    """One chunk a choice with this delta."""
    return b"".join(
        _chunk(answer, [{"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}])
        for index in range(answer.n)
    )


def _call_deltas(answer: Answer) -> list[bytes]:
    frames: list[bytes] = []
    for index, call in enumerate(answer.calls):
        start = _call(call) | {"index": index, "function": {"name": call.name, "arguments": ""}}
        frames.append(_delta(answer, {"tool_calls": [start]}))
        frames += [
            _delta(answer, {"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
            for piece in pieces_of(call.json)
        ]
    return frames


def _closing(answer: Answer, *, reason: bool = True) -> list[bytes]:
    frames = [_delta(answer, {}, _reason(answer))] if reason else []
    return [*frames, _chunk(answer, [], usage=usage(answer))] if answer.include_usage else frames


def script(answer: Answer) -> Script:
    thinking = [_delta(answer, {"reasoning_content": piece}) for piece in answer.thinking]
    return Script(
        opening=[_delta(answer, {"role": "assistant", "content": "", "refusal": None}), *thinking],
        content=[*(_delta(answer, {"content": piece}) for piece in answer.pieces), *_call_deltas(answer)],
        closing=_closing(answer),
        marker=[b"data: [DONE]\n\n"],
    )


def hollow_script(answer: Answer) -> Script:
    return Script([_chunk(answer, [])], [], _closing(answer, reason=False), [b"data: [DONE]\n\n"])


def error(problem: Problem) -> tuple[int, JSON]:
    return problem.status, {
        "error": {
            "message": problem.message,
            "type": problem.openai_type,
            "param": problem.param,
            "code": problem.openai_code,
        }
    }


VOICE = Voice(
    name="openai_chat",
    ask=ask,
    whole=whole,
    script=script,
    error=error,
    error_frame=lambda problem: data_frame(error(problem)[1]),
    hollow=lambda body: body | {"choices": []},
    hollow_script=hollow_script,
    headers=lambda answer: {"x-request-id": f"req_{answer.id}", "openai-version": "2020-10-01", **LIMITS},
)
