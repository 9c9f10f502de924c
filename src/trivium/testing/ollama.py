"""The fake upstream's `ollama` (POST /api/chat) and `ollama_generate` (POST /api/generate), with all fields of both.

Source: the types of Ollama's server and of its Python library, 2026-11.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

from msgspec.json import encode

from trivium.testing.answers import CREATED, JSON, Answer, Question
from trivium.testing.problems import Problem, invalid
from trivium.testing.voice import LINES, Refused, Script, Voice, functions, record, records, require_messages, tokens_of

STARTED = datetime.fromtimestamp(CREATED, UTC).strftime("%Y-%m-%dT%H:%M:%S")
PIECE_NS = 1_000_000

Shape = Callable[[str, JSON], JSON]


def ask_chat(body: JSON) -> Question:
    messages = require_messages(body)
    users, last = [message for message in messages if message.get("role") == "user"], messages[-1]
    return _question(
        body,
        text=users[-1].get("content") or "" if users else "",
        prompt_tokens=tokens_of(body),
        images=sum(len(records(user, "images")) for user in users),
        tools=functions(body),
        tool_result=last.get("content") if last.get("role") == "tool" else None,
    )


def ask_prompt(body: JSON) -> Question:
    if not isinstance(body.get("prompt"), str):
        raise Refused(invalid("json: cannot unmarshal into Go struct field GenerateRequest.prompt of type string"))
    said = [body.get("system"), body["prompt"]]
    tokens = tokens_of({"messages": said})
    return _question(body, text=body["prompt"], prompt_tokens=tokens, images=len(records(body, "images")))


def _question(body: JSON, **more: Any) -> Question:
    """A stream is what one gets who does not say otherwise."""
    form, limit = body.get("format"), record(body, "options").get("num_predict")
    return Question(
        model=body["model"],
        stream=body.get("stream") is not False,
        schema=form if isinstance(form, dict) else {"type": "object"} if form else None,  # pyright: ignore[reportUnknownArgumentType]
        max_tokens=limit if limit and limit > 0 else None,
        **more,
    )


def in_message(content: str, more: JSON) -> JSON:
    return {"message": {"role": "assistant", "content": content, **more}}


def beside(content: str, more: JSON) -> JSON:
    return {"response": content, **more}


def _object(answer: Answer, said: JSON, number: int = 0) -> JSON:
    """An object of an answer; each has a time of its own, in nanoseconds."""
    return {"model": answer.model, "created_at": f"{STARTED}.{number * PIECE_NS:09d}Z", **said, "done": False}


def _calls(answer: Answer) -> list[JSON]:
    return [
        {"id": f"call_{call.id}", "function": {"index": index, "name": call.name, "arguments": call.arguments}}
        for index, call in enumerate(answer.calls)
    ]


def _end(answer: Answer) -> JSON:
    spent = answer.output_tokens * PIECE_NS
    return {
        "done": True,
        "done_reason": "length" if answer.cut_short else "stop",
        "total_duration": spent + 3 * PIECE_NS,
        "load_duration": PIECE_NS,
        "prompt_eval_count": answer.prompt_tokens,
        "prompt_eval_duration": 2 * PIECE_NS,
        "eval_count": answer.output_tokens,
        "eval_duration": spent,
    }


def whole(shape: Shape, answer: Answer) -> JSON:
    more: JSON = {"thinking": "".join(answer.thinking)} if answer.thinking else {}
    if answer.calls:
        more["tool_calls"] = _calls(answer)
    return _object(answer, shape(answer.text, more)) | _end(answer)


def script(shape: Shape, answer: Answer) -> Script:
    """One line says both that the model has finished and that the answer is whole: it is the closing."""
    thoughts = [shape("", {"thinking": piece}) for piece in answer.thinking]
    said = [shape(piece, {}) for piece in answer.pieces]
    said += [shape("", {"tool_calls": [call]}) for call in _calls(answer)]
    lines = [encode(_object(answer, one, number)) + b"\n" for number, one in enumerate([*thoughts, *said])]
    last = _object(answer, shape("", {}), len(lines)) | _end(answer)
    return Script(lines[: len(thoughts)], lines[len(thoughts) :], [encode(last) + b"\n"], [])


def hollow_script(answer: Answer) -> Script:
    return Script([encode(_object(answer, {})) + b"\n"], [], [], [])


def error(problem: Problem) -> tuple[int, JSON]:
    return problem.status, {"error": problem.message}


def _voice(name: str, ask: Callable[[JSON], Question], shape: Shape) -> Voice:
    return Voice(
        name=name,
        ask=ask,
        whole=partial(whole, shape),
        script=partial(script, shape),
        error=error,
        error_frame=lambda problem: encode(error(problem)[1]) + b"\n",
        hollow=lambda body: {"model": body["model"], "created_at": body["created_at"], "done": False},
        hollow_script=hollow_script,
        headers=lambda _: {},
        stream_type="application/x-ndjson",
        noise=LINES,
    )


CHAT = _voice("ollama", ask_chat, in_message)
GENERATE = _voice("ollama_generate", ask_prompt, beside)
