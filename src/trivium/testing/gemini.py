"""The fake upstream's `gemini` (POST /v1beta/models/…:generateContent), with all fields that Google documents.

Source: Google's API reference and the types of its Python library, 2026-11. Model and stream stand in the path; the
front has put them into the body.
"""

from __future__ import annotations

import re
from typing import Any

from trivium.testing.answers import JSON, Answer, Question, Tool, ToolCall
from trivium.testing.problems import Problem, invalid
from trivium.testing.voice import Refused, Script, Voice, data_frame, record, records, tokens_of

SIGNATURE = "c2lnbmVkIGJ5IHRoZSBmYWtlIHVwc3RyZWFt"
_WORDS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_OWN = {
    "context_length_exceeded": (
        400,
        "The input token count (9001) exceeds the maximum number of tokens allowed (8192).",
    ),
    "invalid_api_key": (400, "API key not valid. Please pass a valid API key."),
}
"""What Google says in its own way, by OpenAI's word for it."""
_NAMED_BY_CALLERS = ("args", "response", "parameters", "parametersJsonSchema", "responseSchema", "responseJsonSchema")
BLOCKED: JSON = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}
"""A prompt that was filtered is no error there."""


def _camel(value: Any) -> Any:
    """Members in the first of the two spellings that the API takes; what a caller names itself stays as it is."""
    if isinstance(value, list):
        return [_camel(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    if not isinstance(value, dict):
        return value
    fields: JSON = value  # pyright: ignore[reportUnknownVariableType]
    named = {re.sub("_(.)", lambda found: found[1].upper(), name): inner for name, inner in fields.items()}
    return {name: inner if name in _NAMED_BY_CALLERS else _camel(inner) for name, inner in named.items()}


def ask(body: JSON) -> Question:
    body = _camel(body)
    contents = records(body, "contents")
    if not contents:
        raise Refused(invalid("* GenerateContentRequest.contents: contents is not specified", "contents"))
    config, users = record(body, "generationConfig"), [c for c in contents if c.get("role") != "model"]
    parts: list[JSON] = users[-1]["parts"] if users else []
    results = [part["functionResponse"]["response"] for part in parts if "functionResponse" in part]
    calling = record(record(body, "toolConfig"), "functionCallingConfig")
    sent: list[JSON] = [part for user in users for part in user["parts"]]
    held = [record(part, name) for part in sent for name in ("inlineData", "fileData")]
    return Question(
        model=body["model"],
        stream=body["stream"],
        text="".join(part.get("text", "") for part in parts),
        prompt_tokens=tokens_of(
            {"messages": contents, "system": body.get("systemInstruction"), "tools": body.get("tools")}
        ),
        images=sum(str(found.get("mimeType")).startswith("image/") for found in held),
        tools=() if calling.get("mode") == "NONE" else tuple(_tools(body)),
        tool_result=str(results[-1].get("output", results[-1])) if results else None,
        schema=_schema(config),
        max_tokens=config.get("maxOutputTokens"),
        n=config.get("candidateCount") or 1,
    )


def _tools(body: JSON) -> list[Tool]:
    declared = (one for tool in records(body, "tools") for one in records(tool, "functionDeclarations"))
    return [Tool(one["name"], one.get("parametersJsonSchema") or _lower(record(one, "parameters"))) for one in declared]


def _schema(config: JSON) -> JSON | None:
    if config.get("responseMimeType") != "application/json":
        return None
    return config.get("responseJsonSchema") or _lower(record(config, "responseSchema")) or {"type": "object"}


def _lower(schema: Any) -> Any:
    """A schema of this API with the types of JSON Schema."""
    if isinstance(schema, dict):
        named: JSON = schema  # pyright: ignore[reportUnknownVariableType]
        return {key: value.lower() if key == "type" else _lower(value) for key, value in named.items()}
    return schema


def _reason(answer: Answer) -> str:
    return "MAX_TOKENS" if answer.cut_short and not answer.calls else "STOP"


def usage(answer: Answer) -> JSON:
    said = answer.output_tokens - answer.reasoning_tokens
    cached: JSON = {"cachedContentTokenCount": answer.cached_tokens} if answer.cached_tokens else {}
    thought: JSON = {"thoughtsTokenCount": answer.reasoning_tokens} if answer.reasoning_tokens else {}
    return {
        "promptTokenCount": answer.prompt_tokens,
        "candidatesTokenCount": said,
        "totalTokenCount": answer.prompt_tokens + answer.output_tokens,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": answer.prompt_tokens}],
        **cached,
        **thought,
    }


def _call(call: ToolCall) -> JSON:
    return {"functionCall": {"id": call.id, "name": call.name, "args": call.arguments}, "thoughtSignature": SIGNATURE}


def _answer(answer: Answer, parts: list[JSON], used: JSON | None = None, **end: Any) -> JSON:
    content = {"parts": parts, "role": "model"}
    return {
        "candidates": [{"content": content, **end, "index": index} for index in range(answer.n)],
        "usageMetadata": used or {"promptTokenCount": answer.prompt_tokens, "totalTokenCount": answer.prompt_tokens},
        "modelVersion": answer.model,
        "responseId": answer.id,
    }


def whole(answer: Answer) -> JSON:
    parts: list[JSON] = [{"text": "".join(answer.thinking), "thought": True}] if answer.thinking else []
    parts += [{"text": answer.text}] if answer.pieces else []
    parts += map(_call, answer.calls)
    return _answer(answer, parts or [{"text": ""}], usage(answer), finishReason=_reason(answer))


def script(answer: Answer) -> Script:
    """The last chunk says why the answer ends and what it took; there is no marker."""
    thoughts: list[JSON] = [{"text": piece, "thought": True} for piece in answer.thinking]
    said: list[JSON] = [*({"text": piece} for piece in answer.pieces), *map(_call, answer.calls)]
    closing = _answer(answer, [{"text": ""}], usage(answer), finishReason=_reason(answer))
    opening, content = ([data_frame(_answer(answer, [part])) for part in parts] for parts in (thoughts, said))
    return Script(opening, content, [data_frame(closing)], [])


def hollow_script(answer: Answer) -> Script:
    return Script([data_frame({"modelVersion": answer.model, "usageMetadata": usage(answer)})], [], [], [])


def error(problem: Problem) -> tuple[int, JSON]:
    if problem.openai_code == "content_filter":
        return 200, BLOCKED
    status, message = _OWN.get(
        problem.openai_code or "", (503 if problem.status > 504 else problem.status, problem.message)
    )
    return status, {"error": {"code": status, "message": message, "status": _WORDS.get(status, "INTERNAL")}}


def models(names: list[str]) -> JSON:
    rows = [
        {
            "name": f"models/{name}",
            "version": "001",
            "displayName": name,
            "description": "A model of the fake upstream.",
            "inputTokenLimit": 1_048_576,
            "outputTokenLimit": 65_536,
            "supportedGenerationMethods": ["generateContent", "countTokens"],
            "temperature": 1,
            "topP": 0.95,
            "topK": 64,
            "maxTemperature": 2,
            "thinking": True,
        }
        for name in names
    ]
    return {"models": rows}


VOICE = Voice(
    name="gemini",
    ask=ask,
    whole=whole,
    script=script,
    error=error,
    error_frame=lambda problem: data_frame(error(problem)[1]),
    hollow=lambda body: {name: value for name, value in body.items() if name != "candidates"},
    hollow_script=hollow_script,
    headers=lambda _: {"server-timing": "gfet4t7; dur=10"},
)
