"""The path table of the data plane: which dialect speaks where."""

from __future__ import annotations

import urllib.parse
from functools import cache

import msgspec

from trivium.dialects import get as dialect_named
from trivium.dialects.base import Addressed, Dialect
from trivium.errors import MethodNotAllowed, NotFound

GENERATE = {
    b"/v1/chat/completions": "openai_chat",
    b"/openai/v1/chat/completions": "openai_chat",
    b"/v1/messages": "anthropic_messages",
    b"/v1/responses": "openai_responses",
    b"/openai/v1/responses": "openai_responses",
    b"/v2/chat": "cohere_v2",
    b"/v1/embeddings": "openai_embeddings",
    b"/openai/v1/embeddings": "openai_embeddings",
    b"/v1/rerank": "rerank",
    b"/v2/embed": "cohere_embed",
    b"/v2/rerank": "cohere_rerank",
    b"/api/embed": "ollama_embed",
    b"/api/embeddings": "ollama_embed",
}
"""POST: one request to a model in the path's dialect."""
LOADS = {b"/api/chat": "ollama", b"/api/generate": "ollama_generate"}
"""POST: the same, and a body that asks nothing loads an engine."""
MODELS = frozenset((b"/v1/models", b"/openai/v1/models"))
PLAN = b"/v1/plan"
HEALTH, READY = b"/health", b"/ready"

_GET, _POST = (b"GET", b"HEAD"), (b"POST",)
_OLLAMA = {
    b"version": _GET,
    b"ps": _GET,
    b"show": _POST,
    b"pull": _POST,
    b"push": _POST,
    b"create": _POST,
    b"copy": _POST,
    b"delete": (b"DELETE", b"POST"),
}
"""Under `/api/`: what Ollama's clients ask of it beside answers."""

DOUBLED = b"/v1/v1/"

_PREFIXES = (
    (b"/v1/messages", "anthropic_messages"),
    (b"/messages", "anthropic_messages"),
    (b"/v2/", "cohere_v2"),
    (b"/api/v1/", "openai_chat"),
    (b"/api/", "ollama"),
)
"""The dialects in which paths are refused that do not exist; of all others it is OpenAI's."""


class Place(msgspec.Struct, frozen=True):
    """What a path is for. `dialect` is also that of its errors."""

    kind: str
    dialect: Dialect
    methods: tuple[bytes, ...]
    addressed: Addressed | None = None
    detail: str = ""
    """What the path or its query names beside."""


@cache
def table() -> dict[bytes, Place]:
    """Every path of the data plane that is always the same."""
    openai = dialect_named("openai_chat")
    places = {path: Place("generate", dialect_named(name), (b"POST",)) for path, name in GENERATE.items()}
    places |= {path: Place("models", openai, (b"GET", b"HEAD")) for path in MODELS}
    places[PLAN] = Place("plan", openai, (b"POST",))
    places[HEALTH] = Place("health", openai, (b"GET", b"HEAD"))
    places[READY] = Place("ready", openai, (b"GET", b"HEAD"))
    places |= {path: Place("loads", dialect_named(name), _POST) for path, name in LOADS.items()}
    ollama = dialect_named("ollama")
    places |= {b"/api/" + ask: Place("ollama", ollama, how, detail=ask.decode()) for ask, how in _OLLAMA.items()}
    places[b"/api/tags"] = Place("models", ollama, _GET)
    places[b"/"] = Place("home", openai, _GET)
    return places


def find(path: bytes, _query: bytes) -> Place | None:
    """What is at a path. Raises InvalidRequest for a query that it cannot serve."""
    return table().get(path)


def dialect_of(path: bytes) -> str:
    """The dialect in which a path that does not exist is refused."""
    path = path.removeprefix(DOUBLED[:-1])
    return next((name for prefix, name in _PREFIXES if path.startswith(prefix)), "openai_chat")


def checked(place: Place | None, path: bytes, method: bytes) -> Place:
    """The place that was found, if it takes the method. Raises NotFound, MethodNotAllowed."""
    if place is None:
        raise _not_found(path)
    if method not in place.methods:
        allowed = b", ".join(place.methods).decode()
        raise MethodNotAllowed(f"`{path.decode('latin-1')}` takes {allowed}.", remedy=f"Use {allowed}.")
    return place


def _not_found(path: bytes) -> NotFound:
    shown = urllib.parse.quote(path[:200].decode("latin-1"), safe="/:")
    if path.startswith(DOUBLED):
        return NotFound(
            f"There is no `{shown}`: the version segment is doubled.",
            remedy="A base URL that already ends in `/v1` must not be given where the client adds it.",
        )
    known = ", ".join(f"`{known.decode()}`" for known in table())
    return NotFound(f"There is no `{shown}`.", remedy=f"There are {known}.")
