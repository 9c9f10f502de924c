"""The fake upstream's front door: which path speaks which dialect, and what is answered before a fault has its turn."""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec

from trivium.testing import faults, media
from trivium.testing.answers import CREATED, JSON, Question
from trivium.testing.anthropic_messages import VOICE as ANTHROPIC
from trivium.testing.cohere_v2 import VOICE as COHERE
from trivium.testing.gemini import VOICE as GEMINI
from trivium.testing.gemini import models as gemini_models
from trivium.testing.http import Request
from trivium.testing.ollama import CHAT, GENERATE
from trivium.testing.openai_chat import VOICE as OPENAI
from trivium.testing.openai_completions import VOICE as LEGACY
from trivium.testing.openai_responses import VOICE as RESPONSES
from trivium.testing.problems import PROBLEMS, invalid
from trivium.testing.retrieval import VOICES as RETRIEVAL
from trivium.testing.voice import Refused, Voice

VOICES: dict[str, Voice] = {
    "/v1/chat/completions": OPENAI,
    "/v1/completions": LEGACY,
    "/v1/responses": RESPONSES,
    "/v1/messages": ANTHROPIC,
    "/v2/chat": COHERE,
    "/api/chat": CHAT,
    "/api/generate": GENERATE,
    "/v1beta/models/{model}:generateContent": GEMINI,
    "/v1beta/models/{model}:streamGenerateContent": GEMINI,
    **RETRIEVAL,
}
COUNTS = {"/v1/messages/count_tokens": "input_tokens", "/v1beta/models/{model}:countTokens": "totalTokens"}
"""Paths that tell the size of a request, and the name under which they do."""
_KEY_HEADERS = ("x-api-key", "api-key", "x-goog-api-key")
MODELS = ("ok", "echo", "tool", "tools2", "reasoning", "cached")
_ADDRESSED = re.compile(r"(/v1(?:beta)?/models/)(.+)(:\w+)")
"""Paths that name a model."""


class Reply(NamedTuple):
    """What is answered at once."""

    status: int
    body: JSON | bytes


def decoded(body: bytes) -> JSON | None:
    """The body as a JSON object; None if it is none."""
    try:
        return msgspec.json.decode(body, type=JSON)
    except msgspec.DecodeError:
        return None


def asked(request: Request) -> JSON | None:
    """The body as a JSON object, with the model and the stream of a path that says them; None if it is none."""
    body, found = decoded(request.body), _ADDRESSED.fullmatch(request.path.partition("?")[0])
    if body is None or found is None:
        return body
    return body | {"model": found[2], "stream": found[3].startswith(":stream")}


def receive(request: Request, body: JSON | None, key: str | None) -> tuple[Voice, Question] | Reply:
    """A good question and the dialect to answer it in, or the whole reply: a list, a count, a refusal."""
    path, _, query = request.path.partition("?")
    path = _ADDRESSED.sub(r"/v1beta/models/{model}\3", path)
    anthropic = "anthropic-version" in request.headers or path.startswith("/v1/messages")
    other = ANTHROPIC if anthropic else GEMINI if path.startswith("/v1beta/") else OPENAI
    voice = VOICES.get(path, other)
    try:
        _check_key(request, key)
        if (beside := media.answer(request, body)) is not None:
            return Reply(200, beside)
        if (request.method, path) == ("GET", "/v1/models"):
            cohere = "page_size=" in request.path
            return Reply(200, _anthropic_models() if anthropic else _cohere_models() if cohere else _openai_models())
        if (request.method, path) == ("GET", "/v1beta/models"):
            return Reply(200, gemini_models(_names()))
        if path not in (*VOICES, *COUNTS) or (path.endswith(":streamGenerateContent") and "alt=sse" not in query):
            raise Refused(PROBLEMS["404"]._replace(message=f"Invalid URL ({request.method} {path})"))
        checked = _checked(request, body, anthropic=anthropic)
        if path in COUNTS:
            return Reply(200, {COUNTS[path]: voice.ask(checked | {"max_tokens": 1}).prompt_tokens})
        return voice, voice.ask(checked)
    except Refused as refused:
        return Reply(*voice.error(refused.problem))
    except (KeyError, TypeError, AttributeError) as error:
        return Reply(*voice.error(invalid(f"The request's body has an unexpected form: {error!r}")))


def _check_key(request: Request, key: str | None) -> None:
    bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
    given = next((request.headers[name] for name in _KEY_HEADERS if name in request.headers), bearer)
    if key is not None and given != key:
        raise Refused(PROBLEMS["401"])


def _checked(request: Request, body: JSON | None, *, anthropic: bool) -> JSON:
    """The body of a request for an answer: a light check, not a schema. Raises Refused."""
    if request.method != "POST":
        raise Refused(invalid(f"Not allowed to {request.method} on this path.")._replace(status=405))
    if body is None:
        raise Refused(invalid("We could not parse the JSON body of your request."))
    if not isinstance(body.get("model"), str):
        raise Refused(invalid("you must provide a model parameter", "model"))
    if anthropic and "anthropic-version" not in request.headers:
        raise Refused(invalid("anthropic-version: header is required"))
    return body


def _names() -> list[str]:
    return [*MODELS, *(re.sub(r"\{n\}", "3", row.name) for row in faults.FAULTS if row.name not in MODELS)]


def _openai_models() -> JSON:
    rows = [{"id": name, "object": "model", "created": CREATED, "owned_by": "trivium"} for name in _names()]
    return {"object": "list", "data": rows}


def _anthropic_models() -> JSON:
    rows = [
        {
            "type": "model",
            "id": name,
            "display_name": name,
            "created_at": "2026-09-21T00:00:00Z",
            "lifecycle": "active",
            "deprecated_at": None,
            "retires_at": None,
            "max_input_tokens": 200_000,
            "max_tokens": 64_000,
            "capabilities": None,
            "line": None,
        }
        for name in _names()
    ]
    return {"data": rows, "has_more": False, "first_id": rows[0]["id"], "last_id": rows[-1]["id"]}


def _cohere_models() -> JSON:
    rows = [
        {
            "name": name,
            "is_deprecated": False,
            "endpoints": ["chat"],
            "finetuned": False,
            "context_length": 128_000,
            "tokenizer_url": None,
            "default_endpoints": [],
            "features": None,
        }
        for name in _names()
    ]
    return {"models": rows, "next_page_token": None}
