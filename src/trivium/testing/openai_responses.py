"""The fake upstream's `openai_responses` (POST /v1/responses), with all fields that OpenAI documents.

Source: OpenAI's API reference and the types of its Python library, 2026-11.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

from trivium.testing.answers import CREATED, JSON, Answer, Question, Tool, ToolCall, pieces_of
from trivium.testing.openai_chat import error
from trivium.testing.problems import Problem, invalid
from trivium.testing.voice import Refused, Script, Voice, data_frame, parts_of, record, records, text_of, tokens_of

ENCRYPTED = "c2VhbGVkIGJ5IHRoZSBmYWtlIHVwc3RyZWFt"
HELD = "resp_held"
"""The one response of an earlier request that this upstream has kept."""


def ask(body: JSON) -> Question:
    items = _items(body)
    users = [item for item in items if item.get("role") == "user"]
    last = items[-1]
    form = record(record(body, "text"), "format")
    return Question(
        model=body["model"],
        stream=bool(body.get("stream")),
        text=text_of(users[-1].get("content")) if users else "",
        prompt_tokens=tokens_of(body),
        images=sum(part.get("type") == "input_image" for user in users for part in parts_of(user.get("content"))),
        tools=() if body.get("tool_choice") == "none" else tuple(_tools(body)),
        tool_result=text_of(last.get("output")) if last.get("type", "").endswith("_output") else None,
        schema=form.get("schema") or ({"type": "object"} if form.get("type") == "json_object" else None),
        max_tokens=body.get("max_output_tokens"),
    )


def _items(body: JSON) -> list[JSON]:
    """The input as items. Raises Refused."""
    if body.get("previous_response_id") not in {None, HELD}:
        name = "previous_response_id"
        raise Refused(
            invalid(f"Previous response with id '{body[name]}' not found.", name, "previous_response_not_found")
        )
    given: Any = body.get("input")
    if isinstance(given, str) and given:
        return [{"role": "user", "content": given}]
    if not isinstance(given, list) or not given:
        raise Refused(invalid("Missing required parameter: 'input'.", "input", "missing_required_parameter"))
    return given  # pyright: ignore[reportUnknownVariableType]


def _tools(body: JSON) -> list[Tool]:
    functions = (tool for tool in records(body, "tools") if tool.get("type") == "function")
    return [Tool(function["name"], record(function, "parameters")) for function in functions]


def usage(answer: Answer) -> JSON:
    return {
        "input_tokens": answer.prompt_tokens,
        "input_tokens_details": {"cached_tokens": answer.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": answer.output_tokens,
        "output_tokens_details": {"reasoning_tokens": answer.reasoning_tokens},
        "total_tokens": answer.prompt_tokens + answer.output_tokens,
    }


def _response(answer: Answer, status: str, output: list[JSON], **more: Any) -> JSON:
    nothing = ("completed_at", "conversation", "error", "incomplete_details", "instructions", "max_output_tokens")
    unset = ("max_tool_calls", "moderation", "previous_response_id", "prompt", "prompt_cache_key", "usage", "user")
    return {
        "id": f"resp_{answer.id}",
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "background": False,
        **dict.fromkeys((*nothing, *unset)),
        "metadata": {},
        "model": answer.model,
        "output": output,
        "parallel_tool_calls": True,
        "prompt_cache_retention": None,
        "reasoning": {"effort": None, "summary": None},
        "safety_identifier": None,
        "service_tier": "default",
        "temperature": 1.0,
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": "auto",
        "tools": [],
        "top_logprobs": 0,
        "top_p": 1.0,
        "truncation": "disabled",
        **more,
    }


def _ended(answer: Answer, output: list[JSON]) -> JSON:
    details = {"reason": "max_output_tokens"} if answer.cut_short else None
    status = "incomplete" if answer.cut_short else "completed"
    return _response(answer, status, output, incomplete_details=details, usage=usage(answer))


def _thought(answer: Answer) -> JSON:
    summary = [{"type": "summary_text", "text": "".join(answer.thinking)}]
    return {"id": f"rs_{answer.id}", "type": "reasoning", "summary": summary, "encrypted_content": ENCRYPTED}


def _message(answer: Answer) -> JSON:
    part: JSON = {"type": "output_text", "text": answer.text, "annotations": [], "logprobs": []}
    status = "incomplete" if answer.cut_short else "completed"
    return {"id": f"msg_{answer.id}", "type": "message", "role": "assistant", "status": status, "content": [part]}


def _call(call: ToolCall) -> JSON:
    told = {"call_id": f"call_{call.id}", "name": call.name, "arguments": call.json, "status": "completed"}
    return {"id": f"fc_{call.id}", "type": "function_call", **told}


def _output(answer: Answer) -> list[JSON]:
    thought = [_thought(answer)] if answer.thinking else []
    said = [_message(answer)] if answer.pieces or not answer.calls else []
    return [*thought, *said, *map(_call, answer.calls)]


def whole(answer: Answer) -> JSON:
    return _ended(answer, _output(answer))


class _Writer:
    """Numbers the events of one stream."""

    def __init__(self) -> None:
        self._numbers = count()

    def __call__(self, kind: str, **fields: Any) -> bytes:
        return data_frame({"type": kind, "sequence_number": next(self._numbers), **fields}, kind)

    def opening(self, answer: Answer) -> bytes:
        response = _response(answer, "in_progress", [])
        return self("response.created", response=response) + self("response.in_progress", response=response)

    def text(self, item: JSON, index: int, pieces: tuple[str, ...]) -> Iterator[bytes]:
        """Its beginning goes with its first delta, so that frame n holds delta n."""
        place = {"item_id": item["id"], "output_index": index, "content_index": 0}
        begun: JSON = item | {"status": "in_progress", "content": []}
        part: JSON = item["content"][0]
        start = self("response.output_item.added", output_index=index, item=begun)
        start += self("response.content_part.added", **place, part=part | {"text": ""})
        for piece in pieces:
            yield start + self("response.output_text.delta", **place, delta=piece, logprobs=[], obfuscation="x" * 8)
            start = b""
        end = self("response.output_text.done", **place, text=part["text"], logprobs=[])
        end += self("response.content_part.done", **place, part=part)
        yield start + end + self("response.output_item.done", output_index=index, item=item)

    def call(self, item: JSON, index: int) -> Iterator[bytes]:
        place = {"item_id": item["id"], "output_index": index}
        begun = item | {"status": "in_progress", "arguments": ""}
        start = self("response.output_item.added", output_index=index, item=begun)
        for piece in pieces_of(item["arguments"]):
            kind = "response.function_call_arguments.delta"
            yield start + self(kind, **place, delta=piece, obfuscation="x" * 8)
            start = b""
        end = self("response.function_call_arguments.done", **place, arguments=item["arguments"])
        yield start + end + self("response.output_item.done", output_index=index, item=item)

    def thought(self, item: JSON, pieces: tuple[str, ...]) -> Iterator[bytes]:
        place = {"item_id": item["id"], "output_index": 0, "summary_index": 0}
        begun: JSON = item | {"summary": []}
        part, name = item["summary"][0], "response.reasoning_summary"
        start = self("response.output_item.added", output_index=0, item=begun)
        start += self(f"{name}_part.added", **place, part=part | {"text": ""})
        for piece in pieces:
            yield start + self(f"{name}_text.delta", **place, delta=piece, obfuscation="x" * 8)
            start = b""
        end = self(f"{name}_text.done", **place, text=part["text"]) + self(f"{name}_part.done", **place, part=part)
        yield end + self("response.output_item.done", output_index=0, item=item)


def script(answer: Answer) -> Script:
    """What ends an item goes with the next one's beginning; the last one's end is the closing."""
    write, output = _Writer(), _output(answer)
    opening, content, pending = [write.opening(answer)], list[bytes](), b""
    for index, item in enumerate(output):
        match item["type"]:
            case "reasoning":
                frames, target = list(write.thought(item, answer.thinking)), opening
            case "message":
                frames, target = list(write.text(item, index, answer.pieces)), content
            case _:
                frames, target = list(write.call(item, index)), content
        target += [pending + frames[0], *frames[1:-1]] if len(frames) > 1 else []
        pending = frames[-1] if len(frames) > 1 else pending + frames[0]
    ended = _ended(answer, output)
    return Script(opening, content, [pending], [write(f"response.{ended['status']}", response=ended)])


def hollow_script(answer: Answer) -> Script:
    write = _Writer()
    ended = _response(answer, "completed", [], usage=usage(answer))
    return Script([write.opening(answer)], [], [], [write("response.completed", response=ended)])


def error_frame(problem: Problem) -> bytes:
    told = {"code": problem.openai_code or problem.openai_type, "message": problem.message, "param": problem.param}
    return data_frame({"type": "error", "sequence_number": 0, **told}, "error")


VOICE = Voice(
    name="openai_responses",
    ask=ask,
    whole=whole,
    script=script,
    error=error,
    error_frame=error_frame,
    hollow=lambda body: body | {"output": []},
    hollow_script=hollow_script,
    headers=lambda answer: {"x-request-id": f"req_{answer.id}", "openai-version": "2020-10-01"},
)
