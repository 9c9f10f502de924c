"""The fake upstream's `anthropic_messages` (POST /v1/messages), with all fields that Anthropic documents.

Source: Anthropic's API reference and the types of its Python library, 2026-11.
"""

from __future__ import annotations

from trivium.testing.answers import JSON, Answer, Question, Tool, pieces_of
from trivium.testing.problems import Problem, invalid
from trivium.testing.voice import (
    Refused,
    Script,
    Voice,
    data_frame,
    parts_of,
    record,
    records,
    require_messages,
    text_of,
    tokens_of,
)

LIMITS = {"anthropic-ratelimit-requests-limit": "4000", "anthropic-ratelimit-requests-remaining": "3999"}
SIGNATURE = "c2lnbmVkIGJ5IHRoZSBmYWtlIHVwc3RyZWFt"


def ask(body: JSON) -> Question:
    messages = require_messages(body)
    if not isinstance(body.get("max_tokens"), int):
        raise Refused(invalid("max_tokens: Field required", "max_tokens"))
    users = [message for message in messages if message.get("role") == "user"]
    parts = parts_of(users[-1].get("content")) if users else []
    results = [part for part in parts if part.get("type") == "tool_result"]
    form = record(record(body, "output_config"), "format")
    return Question(
        model=body["model"],
        stream=bool(body.get("stream")),
        text=text_of(parts),
        prompt_tokens=tokens_of(body),
        images=sum(part.get("type") == "image" for user in users for part in parts_of(user.get("content"))),
        tools=() if record(body, "tool_choice").get("type") == "none" else tuple(_tools(body)),
        tool_result=text_of(results[-1].get("content")) if results else None,
        schema=form.get("schema"),
        max_tokens=body["max_tokens"],
        start=text_of(parts_of(messages[-1].get("content"))) if messages[-1].get("role") == "assistant" else "",
    )


def _tools(body: JSON) -> list[Tool]:
    tools = (tool for tool in records(body, "tools") if tool.get("type", "custom") == "custom")
    return [Tool(tool["name"], record(tool, "input_schema")) for tool in tools]


def _reason(answer: Answer) -> str:
    return answer.reason("end_turn", "max_tokens", "tool_use")


def usage(answer: Answer, output_tokens: int) -> JSON:
    return {
        "input_tokens": answer.prompt_tokens - answer.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": answer.cached_tokens,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": output_tokens,
        "output_tokens_details": {"thinking_tokens": min(answer.reasoning_tokens, output_tokens)},
        "server_tool_use": None,
        "service_tier": "standard",
    }


def _message(answer: Answer, content: list[JSON], reason: str | None, output_tokens: int) -> JSON:
    return {
        "id": f"msg_{answer.id}",
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": content,
        "stop_reason": reason,
        "stop_sequence": None,
        "stop_details": None,
        "usage": usage(answer, output_tokens),
    }


def whole(answer: Answer) -> JSON:
    content = [block for block, _ in _blocks(answer)]
    return _message(answer, content, _reason(answer), answer.output_tokens)


def _blocks(answer: Answer) -> list[tuple[JSON, list[JSON]]]:
    """Each content block whole, and the deltas that make it up."""
    blocks: list[tuple[JSON, list[JSON]]] = []
    if answer.thinking:
        block: JSON = {"type": "thinking", "thinking": "".join(answer.thinking), "signature": SIGNATURE}
        deltas: list[JSON] = [{"type": "thinking_delta", "thinking": piece} for piece in answer.thinking]
        blocks.append((block, [*deltas, {"type": "signature_delta", "signature": SIGNATURE}]))
    if answer.pieces:
        deltas = [{"type": "text_delta", "text": piece} for piece in answer.pieces]
        blocks.append(({"type": "text", "text": answer.text, "citations": None}, deltas))
    for call in answer.calls:
        block = {"type": "tool_use", "id": f"toolu_{call.id}", "name": call.name, "input": call.arguments}
        deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in ("", *pieces_of(call.json))]
        blocks.append((block, deltas))
    return blocks


_EMPTY: dict[str, JSON] = {
    "thinking": {"thinking": "", "signature": ""},
    "text": {"text": ""},
    "tool_use": {"input": {}},
}


def _event(kind: str, **fields: object) -> bytes:
    return data_frame({"type": kind, **fields}, kind)


def _start(answer: Answer) -> bytes:
    return _event("message_start", message=_message(answer, [], None, 1)) + _event("ping")


def _end(answer: Answer) -> bytes:
    delta = {"stop_reason": _reason(answer), "stop_sequence": None}
    return _event("message_delta", delta=delta, usage=usage(answer, answer.output_tokens))


def script(answer: Answer) -> Script:
    """A block's start goes with its first delta, its stop with what follows, so that frame n holds delta n."""
    opening, content, pending = [_start(answer)], list[bytes](), b""
    for index, (block, deltas) in enumerate(_blocks(answer)):
        kind: str = block["type"]
        pending += _event("content_block_start", index=index, content_block=block | _EMPTY[kind])
        for delta in deltas:
            frames = opening if kind == "thinking" else content
            frames.append(pending + _event("content_block_delta", index=index, delta=delta))
            pending = b""
        pending += _event("content_block_stop", index=index)
    return Script(opening, content, [pending, _end(answer)], [_event("message_stop")])


def hollow_script(answer: Answer) -> Script:
    return Script([_start(answer)], [], [], [_event("message_stop")])


def error(problem: Problem) -> tuple[int, JSON]:
    return problem.anthropic_status or problem.status, {
        "type": "error",
        "error": {"type": problem.anthropic_type, "message": problem.anthropic_message or problem.message},
        "request_id": "req_trivium",
    }


VOICE = Voice(
    name="anthropic_messages",
    ask=ask,
    whole=whole,
    script=script,
    error=error,
    error_frame=lambda problem: data_frame(error(problem)[1], "error"),
    hollow=lambda body: body | {"content": [], "stop_reason": None},
    hollow_script=hollow_script,
    headers=lambda answer: {"request-id": f"req_{answer.id}", **LIMITS},
)
