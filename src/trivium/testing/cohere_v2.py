"""The fake upstream's `cohere_v2` (POST /v2/chat), with all fields that Cohere documents.

Source: Cohere's API reference, its OpenAPI description and the types of its Python library, 2026-11.
"""

from __future__ import annotations

from typing import Any

from trivium.testing.answers import JSON, Answer, Question, ToolCall, pieces_of
from trivium.testing.problems import PROBLEMS, Problem
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

PROMPT_ADDED = 50
"""Tokens that the API adds to a prompt and does not bill."""
PLAN = "I will look it up."
_SAID = {
    "400-context": (400, "too many tokens: total number of tokens in the prompt cannot exceed 8192 - received 9001."),
    "400-filter": (498, "the request contains a deny-listed token"),
    "400-param": (400, "invalid request: temperature must be between 0 and 1.0 inclusive."),
    "401": (401, "invalid api token"),
    "404": (404, "model 'x' not found, make sure the correct model ID was used and that you have access to the model."),
    "429": (429, "You are past the per minute request limit, please wait and try again later."),
    "quota": (402, "Please add or update your payment method at https://dashboard.cohere.com/billing to continue"),
}
"""Problems that Cohere has words of its own for, and the status that it gives them."""
_WORDS = {PROBLEMS[name].message: said for name, said in _SAID.items()}


def ask(body: JSON) -> Question:
    messages = require_messages(body)
    users = [message for message in messages if message.get("role") == "user"]
    parts = [part for user in users for part in parts_of(user.get("content"))]
    last, form = messages[-1], record(body, "response_format")
    return Question(
        model=body["model"],
        stream=bool(body.get("stream")),
        text=text_of(users[-1].get("content")) if users else "",
        prompt_tokens=tokens_of(body),
        images=sum(part.get("type") == "image_url" for part in parts),
        tools=() if body.get("tool_choice") == "NONE" else functions(body),
        tool_result=_result_text(last.get("content")) if last.get("role") == "tool" else None,
        schema=form.get("json_schema", {"type": "object"}) if form.get("type") == "json_object" else None,
        max_tokens=body.get("max_tokens"),
    )


def _result_text(content: Any) -> str:
    documents = (part["document"]["data"] for part in parts_of(content) if part.get("type") == "document")
    said = (data if isinstance(data, str) else data.get("snippet", data.get("text", "")) for data in documents)
    return text_of(content) + "".join(said)


def _reason(answer: Answer) -> str:
    return answer.reason("COMPLETE", "MAX_TOKENS", "TOOL_CALL")


def usage(answer: Answer) -> JSON:
    return {
        "billed_units": {"input_tokens": answer.prompt_tokens, "output_tokens": answer.output_tokens},
        "tokens": {"input_tokens": answer.prompt_tokens + PROMPT_ADDED, "output_tokens": answer.output_tokens},
        "cached_tokens": answer.cached_tokens,
    }


def _call(call: ToolCall, arguments: str) -> JSON:
    return {"id": f"{call.name}_{call.id}", "type": "function", "function": {"name": call.name, "arguments": arguments}}


def whole(answer: Answer) -> JSON:
    content: list[JSON] = [{"type": "thinking", "thinking": "".join(answer.thinking)}] if answer.thinking else []
    content += [{"type": "text", "text": answer.text}] if answer.pieces else []
    message: JSON = {"role": "assistant"} | ({"content": content} if content else {})
    if answer.calls:
        message |= {"tool_plan": PLAN, "tool_calls": [_call(call, call.json) for call in answer.calls]}
    return {"id": answer.id, "finish_reason": _reason(answer), "message": message, "usage": usage(answer)}


def _event(kind: str, message: JSON | None = None, **members: Any) -> bytes:
    delta = {} if message is None else {"delta": {"message": message}}
    return data_frame({"type": kind, **members, **delta}, kind)


def _start(answer: Answer) -> bytes:
    message: JSON = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
    return _event("message-start", message, id=answer.id)


def _content(kind: str, index: int, pieces: tuple[str, ...]) -> list[bytes]:
    """A block of content: its start goes with its first delta, its end with its last."""
    frames = [_event("content-delta", {"content": {kind: piece}}, index=index) for piece in pieces]
    frames[0] = _event("content-start", {"content": {"type": kind, kind: ""}}, index=index) + frames[0]
    frames[-1] += _event("content-end", index=index)
    return frames


def _calls(answer: Answer) -> list[bytes]:
    frames = [_event("tool-plan-delta", {"tool_plan": piece}) for piece in pieces_of(PLAN)] if answer.calls else []
    for index, call in enumerate(answer.calls):
        frames.append(_event("tool-call-start", {"tool_calls": _call(call, "")}, index=index))
        for piece in pieces_of(call.json):
            arguments = {"tool_calls": {"function": {"arguments": piece}}}
            frames.append(_event("tool-call-delta", arguments, index=index))
        frames[-1] += _event("tool-call-end", index=index)
    return frames


def script(answer: Answer) -> Script:
    """`message-end` is what ends an answer; the marker after it is not missed."""
    thinking = _content("thinking", 0, answer.thinking) if answer.thinking else []
    texts = _content("text", int(bool(thinking)), answer.pieces) if answer.pieces else []
    end = data_frame(
        {"type": "message-end", "delta": {"finish_reason": _reason(answer), "usage": usage(answer)}}, "message-end"
    )
    return Script([_start(answer), *thinking], [*texts, *_calls(answer)], [end], [b"data: [DONE]\n\n"])


def hollow_script(answer: Answer) -> Script:
    return Script([_start(answer)], [], [], [b"data: [DONE]\n\n"])


def error(problem: Problem) -> tuple[int, JSON]:
    status, message = _WORDS.get(problem.message, (problem.status, problem.message))
    return status, {"id": "req_trivium", "message": message}


def error_frame(problem: Problem) -> bytes:
    delta = {"error": error(problem)[1]["message"], "finish_reason": "ERROR"}
    return data_frame({"type": "message-end", "delta": delta}, "message-end")


VOICE = Voice(
    name="cohere_v2",
    ask=ask,
    whole=whole,
    script=script,
    error=error,
    error_frame=error_frame,
    hollow=lambda body: body | {"message": {"role": "assistant"}, "finish_reason": None},
    hollow_script=hollow_script,
    headers=lambda answer: {"x-debug-trace-id": f"req_{answer.id}"},
)
