"""The fake upstream's embeddings and reranking, in each vendor's shapes, with all fields that they document.

A text's vector is made of its words, so that texts with words in common are near each other. A model with `fixed` in
its name ignores what dimensions it is asked for, as some servers do.
Source: the vendors' API references and the types of their Python libraries, 2026-11.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from trivium.testing.answers import JSON, Answer, Question
from trivium.testing.cohere_v2 import VOICE as COHERE
from trivium.testing.gemini import VOICE as GEMINI
from trivium.testing.ollama import CHAT as OLLAMA
from trivium.testing.openai_chat import VOICE as OPENAI
from trivium.testing.problems import invalid
from trivium.testing.voice import Refused, Voice

DIMENSIONS = 16

Vector = tuple[float, ...]


def vector(text: str, dimensions: int | None = None) -> Vector:
    """A unit vector of 32-bit floats."""
    words = [hashlib.sha256(word.encode()).digest() for word in re.findall(r"\w+", text.lower())] or [b"\1" * 32]
    found = [sum(digest[place] - 127.5 for digest in words) for place in range(min(dimensions or DIMENSIONS, 32))]
    length = math.hypot(*found) or 1.0
    return struct.unpack(f"<{len(found)}f", struct.pack(f"<{len(found)}f", *(value / length for value in found)))


def score(query: str, document: str) -> float:
    return round(max(0.0, sum(a * b for a, b in zip(vector(query), vector(document), strict=True))), 6)


def tokens_of(*texts: Any) -> int:
    """Of texts, lists of tokens or documents."""
    return sum(len(text) // 4 + 1 for text in texts)


def _asker(fields: str, texts: Callable[[JSON], Any]) -> Callable[[JSON], Question]:
    """Reads a request: it may have these fields only, and must have texts."""
    known = frozenset(fields.split())

    def ask(body: JSON) -> Question:
        if unknown := sorted(body.keys() - known):
            raise Refused(invalid(f"Unrecognized request argument supplied: {unknown[0]}", unknown[0]))
        found: Any = texts(body)
        if not isinstance(found, list) or not found:
            raise Refused(invalid("There is nothing to embed or to rank."))
        return Question(model=body["model"], stream=False, text="", prompt_tokens=tokens_of(*found), body=body)

    return ask


def _input(body: JSON) -> Any:
    """OpenAI's and Ollama's: a text, texts, a list of tokens or such lists."""
    sent: Any = body.get("input")
    return [sent] if isinstance(sent, str) or (sent and isinstance(sent[0], int)) else sent


def _vectors(answer: Answer, texts: list[Any], dimensions: int | None) -> list[Vector]:
    size = None if "fixed" in answer.model else dimensions
    return [vector(text if isinstance(text, str) else str(text), size) for text in texts]


def _body(answer: Answer) -> JSON:
    return answer.body or {}


def _base64(values: Vector) -> str:
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()


def _openai(answer: Answer) -> JSON:
    body = _body(answer)
    shape: Callable[[Vector], Any] = _base64 if body.get("encoding_format") == "base64" else list
    vectors = _vectors(answer, _input(body), body.get("dimensions"))
    return {
        "object": "list",
        "data": [{"object": "embedding", "index": i, "embedding": shape(one)} for i, one in enumerate(vectors)],
        "model": answer.model,
        "usage": {"prompt_tokens": answer.prompt_tokens, "total_tokens": answer.prompt_tokens},
    }


def _cohere_meta(**units: int) -> JSON:
    return {"api_version": {"version": "2", "is_experimental": False}, "billed_units": units}


def _cohere(answer: Answer) -> JSON:
    body = _body(answer)
    vectors = _vectors(answer, body["texts"], body.get("output_dimension"))
    shapes: dict[str, Callable[[Vector], Any]] = {
        "float": list,
        "base64": _base64,
        "int8": lambda one: [round(value * 127) for value in one],
    }
    types: list[str] = body.get("embedding_types") or ["float"]
    return {
        "id": answer.id,
        "embeddings": {kind: [shapes[kind](one) for one in vectors] for kind in types},
        "texts": body["texts"],
        "meta": _cohere_meta(input_tokens=answer.prompt_tokens),
        "response_type": "embeddings_by_type",
    }


def _cohere_texts(body: JSON) -> Any:
    if "input_type" not in body:
        raise Refused(invalid("invalid request: valid input_type must be provided with the provided model"))
    return body.get("texts")


def _contents(body: JSON) -> Any:
    """Gemini's: the texts of a batch, each of which names the model of the path once more, or of one content."""
    requests: list[JSON] = body.get("requests") or ([body] if "content" in body else [])
    if "requests" in body and any(one.get("model") != f"models/{body['model']}" for one in requests):
        raise Refused(invalid("* BatchEmbedContentsRequest.requests[0].model: unexpected model name format"))
    return ["\n".join(part["text"] for part in one["content"]["parts"]) for one in requests]


def _gemini(answer: Answer) -> JSON:
    body = _body(answer)
    first: JSON = body["requests"][0] if "requests" in body else body
    vectors = _vectors(answer, _contents(body), first.get("outputDimensionality"))
    values: list[JSON] = [{"values": one} for one in vectors]
    shown: JSON = {"embeddings": values} if "requests" in body else {"embedding": values[0]}
    return shown | {"usageMetadata": {"promptTokenCount": answer.prompt_tokens}}


def _ollama(answer: Answer) -> JSON:
    body = _body(answer)
    return {
        "model": answer.model,
        "embeddings": _vectors(answer, _input(body), body.get("dimensions")),
        "total_duration": 14_143_917,
        "load_duration": 1_019_500,
        "prompt_eval_count": answer.prompt_tokens,
    }


def _ranked(answer: Answer, *, documents: bool = False) -> list[JSON]:
    """The best first; with their texts if they are wanted and the API has that."""
    body = _body(answer)
    texts = [one if isinstance(one, str) else one["text"] for one in body["documents"]]
    scores = [(score(body["query"], text), index) for index, text in enumerate(texts)]
    best = sorted(scores, key=lambda one: (-one[0], one[1]))[: body.get("top_n")]
    shown = [{"document": {"text": texts[index]}} if documents else {} for _, index in best]
    return [{"index": index, "relevance_score": value} | more for (value, index), more in zip(best, shown, strict=True)]


def _rerank(answer: Answer) -> JSON:
    return {
        "id": answer.id,
        "model": answer.model,
        "results": _ranked(answer, documents=_body(answer).get("return_documents", True)),
        "usage": {"prompt_tokens": answer.prompt_tokens, "total_tokens": answer.prompt_tokens},
    }


def _cohere_rerank(answer: Answer) -> JSON:
    return {"id": answer.id, "results": _ranked(answer), "meta": _cohere_meta(search_units=1)}


def _documents(body: JSON) -> Any:
    if not isinstance(body.get("query"), str):
        raise Refused(invalid("query is required", "query"))
    return body.get("documents")


def _hollow(nothing: JSON) -> Callable[[JSON], JSON]:
    def hollow(body: JSON) -> JSON:
        return body | nothing

    return hollow


VOICES: dict[str, Voice] = {
    "/v1/embeddings": replace(
        OPENAI,
        name="openai_embeddings",
        ask=_asker("model input dimensions encoding_format user", _input),
        whole=_openai,
        hollow=_hollow({"data": []}),
    ),
    "/v2/embed": replace(
        COHERE,
        name="cohere_embed",
        ask=_asker(
            "model texts input_type embedding_types output_dimension truncate max_tokens priority", _cohere_texts
        ),
        whole=_cohere,
        hollow=_hollow({"embeddings": {"float": []}}),
    ),
    **dict.fromkeys(
        ("/v1beta/models/{model}:batchEmbedContents", "/v1beta/models/{model}:embedContent"),
        replace(
            GEMINI,
            name="gemini_embed",
            ask=_asker("model stream requests content taskType title outputDimensionality", _contents),
            whole=_gemini,
            hollow=_hollow({"embeddings": []}),
        ),
    ),
    "/api/embed": replace(
        OLLAMA,
        name="ollama_embed",
        ask=_asker("model input truncate dimensions options keep_alive", _input),
        whole=_ollama,
        hollow=_hollow({"embeddings": []}),
    ),
    "/v1/rerank": replace(
        OPENAI,
        name="rerank",
        ask=_asker("model query documents top_n return_documents user", _documents),
        whole=_rerank,
        hollow=_hollow({"results": []}),
    ),
    "/v2/rerank": replace(
        COHERE,
        name="cohere_rerank",
        ask=_asker("model query documents top_n max_tokens_per_doc priority", _documents),
        whole=_cohere_rerank,
        hollow=_hollow({"results": []}),
    ),
}
