"""The fake upstream's legacy completions (POST /v1/completions), with all fields that OpenAI documents.

Source: OpenAI's API reference and the types of its Python library, 2026-11.
"""

from __future__ import annotations

from typing import Any

from trivium.testing.answers import CREATED, JSON, Answer, Question
from trivium.testing.openai_chat import FINGERPRINT, usage
from trivium.testing.openai_chat import VOICE as CHAT
from trivium.testing.problems import invalid
from trivium.testing.voice import Refused, Script, Voice, data_frame, record


def ask(body: JSON) -> Question:
    prompt: Any = body.get("prompt")
    if prompt is None:
        raise Refused(invalid("Missing required parameter: 'prompt'.", "prompt"))
    text = prompt if isinstance(prompt, str) else " ".join(map(str, prompt))
    return Question(
        model=body["model"],
        stream=bool(body.get("stream")),
        text=text,
        prompt_tokens=max(1, len(text) // 4),
        max_tokens=body.get("max_tokens"),
        include_usage=bool(record(body, "stream_options").get("include_usage")),
        n=body.get("n") or 1,
    )


def _reason(answer: Answer) -> str:
    return "length" if answer.cut_short else "stop"


def _completion(answer: Answer, choices: list[JSON], **more: Any) -> JSON:
    head = {"id": f"cmpl-{answer.id}", "object": "text_completion", "created": CREATED, "model": answer.model}
    return {**head, "choices": choices, "system_fingerprint": FINGERPRINT, **more}


def _choices(answer: Answer, text: str, reason: str | None) -> list[JSON]:
    return [{"text": text, "index": index, "logprobs": None, "finish_reason": reason} for index in range(answer.n)]


def whole(answer: Answer) -> JSON:
    return _completion(answer, _choices(answer, answer.text, _reason(answer)), usage=usage(answer))


def _frame(answer: Answer, choices: list[JSON], told: JSON | None = None) -> bytes:
    more: JSON = {"usage": told} if answer.include_usage else {}
    return data_frame(_completion(answer, choices, **more))


def script(answer: Answer) -> Script:
    closing = [_frame(answer, _choices(answer, "", _reason(answer)))]
    return Script(
        opening=[_frame(answer, _choices(answer, "", None))],
        content=[_frame(answer, _choices(answer, piece, None)) for piece in answer.pieces],
        closing=closing + _usage_frame(answer),
        marker=[b"data: [DONE]\n\n"],
    )


def _usage_frame(answer: Answer) -> list[bytes]:
    return [_frame(answer, [], usage(answer))] if answer.include_usage else []


def hollow_script(answer: Answer) -> Script:
    return Script([_frame(answer, [])], [], _usage_frame(answer), [b"data: [DONE]\n\n"])


VOICE = Voice(
    name="openai_completions",
    ask=ask,
    whole=whole,
    script=script,
    error=CHAT.error,
    error_frame=CHAT.error_frame,
    hollow=CHAT.hollow,
    hollow_script=hollow_script,
    headers=CHAT.headers,
)
