"""The path table of the data plane: which dialect speaks where."""

from __future__ import annotations

import re
import urllib.parse
from functools import cache

import msgspec

from trivium.dialects import get as dialect_named
from trivium.dialects.base import Addressed, Dialect
from trivium.errors import InvalidRequest, MethodNotAllowed, NotFound

GENERATE = {
    b"/v1/chat/completions": "openai_chat",
    b"/openai/v1/chat/completions": "openai_chat",
    b"/v1/responses": "openai_responses",
    b"/openai/v1/responses": "openai_responses",
    b"/v1/messages": "anthropic_messages",
    b"/v2/chat": "cohere_v2",
    b"/api/v1/chat/completions": "openrouter",
    b"/api/v1/responses": "openai_responses",
    b"/api/v1/messages": "anthropic_messages",
    b"/v1/completions": "openai_completions",
    b"/openai/v1/completions": "openai_completions",
    b"/api/v1/completions": "openai_completions",
    b"/v1/embeddings": "openai_embeddings",
    b"/openai/v1/embeddings": "openai_embeddings",
    b"/api/v1/embeddings": "openai_embeddings",
    b"/v1/rerank": "rerank",
    b"/v2/embed": "cohere_embed",
    b"/v2/rerank": "cohere_rerank",
    b"/api/v1/rerank": "rerank",
    b"/api/embed": "ollama_embed",
    b"/api/embeddings": "ollama_embed",
}
"""POST: one request to a model in the path's dialect."""
LOADS = {b"/api/chat": "ollama", b"/api/generate": "ollama_generate"}
"""POST: the same, and a body that asks nothing loads an engine."""
COUNTS = {
    b"/v1/messages/count_tokens": "anthropic_count",
    b"/api/v1/messages/count_tokens": "anthropic_count",
}
"""POST: how large a request is."""
ACTIONS = {
    "generateContent": "gemini",
    "streamGenerateContent": "gemini",
    "embedContent": "gemini_embed",
    "batchEmbedContents": "gemini_embed",
    "countTokens": "gemini_count",
}
"""POST, behind a model's name and a colon: the same in Gemini's dialects."""
_ENDS = tuple(b":%b" % action.encode() for action in ACTIONS)
_ASKED = re.compile(r"/v1(?:beta)?/models/(.+):(\w+)", re.DOTALL)
MODELS = {
    b"/api/tags": "ollama",
    b"/v1beta/models": "gemini",
    b"/v1/models": "openai_chat",
    b"/openai/v1/models": "openai_chat",
    b"/api/v1/models": "openrouter",
    b"/api/v1/models/user": "openrouter",
    b"/v1/models/user": "openrouter",
}
"""GET: the models that can be named; where OpenAI's dialect stands, a header may choose another."""
LOOKUPS = {
    b"/generation": "generation",
    b"/key": "key",
    b"/credits": "credits",
    b"/providers": "providers",
    b"/models/count": "counted",
    b"/embeddings/models": "embedders",
    b"/endpoints/zdr": "zdr",
}
"""GET, under `/api/v1` and `/v1`: what the ledger and the catalog know, in OpenRouter's words."""
_NAMED = (
    (re.compile(rb"(?:/api)?/v1/models/(.+/.+)/endpoints"), "endpoints", "openrouter"),
    (re.compile(rb"(?:/api)?/v1/model/(.+/.+)"), "endpoints", "openrouter"),
    (re.compile(rb"/(?:openai/)?v1/models/(.+)"), "model", "openai_chat"),
    (re.compile(rb"/v1beta/models/(.+)"), "model", "gemini"),
)
"""GET: something about a model that the path names."""
_PASSED = (
    (
        re.compile(rb"(?:/openai|/api)?/v1(/(?:images|audio|moderations|files|batches|uploads)(?:/[\w.-]+)*)"),
        "openai_chat",
    ),
    (re.compile(rb"/v1(/messages/batches(?:/[\w.-]+)*)"), "anthropic_messages"),
)
"""What is no chat and passes as it is; the group is the path under a base URL."""
PLAN = b"/v1/plan"
HEALTH, READY = b"/health", b"/ready"
_OURS = {HEALTH: "health", READY: "ready", b"/": "home"}
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

_BASES = (b"/api/v1", b"/v1")
SERVICE = b"/api/v1/"
"""Where a routing service's clients find what they know of one."""
_QUERIED = frozenset(("models", "counted", "embedders"))
DOUBLED = b"/v1/v1/"

_PREFIXES = (
    (b"/v1/messages", "anthropic_messages"),
    (b"/messages", "anthropic_messages"),
    (b"/v2/", "cohere_v2"),
    (b"/v1beta", "gemini"),
    (b"/api/v1/messages", "anthropic_messages"),
    (b"/api/v1/", "openrouter"),
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
    service: bool = False
    """It belongs to the contract of routing services: models go by `author/slug`, answers have a generation id."""


Row = tuple[str, str, tuple[bytes, ...], str]
"""Kind, dialect by its name, methods and detail of a place: a dialect is loaded when its first caller comes."""


@cache
def table() -> dict[bytes, Row]:
    """Every path of the data plane that is always the same."""
    rows: dict[bytes, Row] = {path: ("generate", name, _POST, "") for path, name in GENERATE.items()}
    rows |= {path: ("count", name, _POST, "") for path, name in COUNTS.items()}
    rows |= {path: ("models", name, _GET, "") for path, name in MODELS.items()}
    rows |= {base + path: (kind, "openrouter", _GET, "") for path, kind in LOOKUPS.items() for base in _BASES}
    rows |= {path: ("loads", name, _POST, "") for path, name in LOADS.items()}
    rows |= {b"/api/" + ask: ("ollama", "ollama", how, ask.decode()) for ask, how in _OLLAMA.items()}
    rows[PLAN] = ("plan", "openai_chat", _POST, "")
    rows |= {path: (kind, "openai_chat", _GET, "") for path, kind in _OURS.items()}
    return rows


@cache
def _always(path: bytes) -> Place:
    kind, name, methods, detail = table()[path]
    service = name == "openrouter" or path.startswith(SERVICE)
    return Place(kind, dialect_named(name), methods, detail=detail, service=service)


def find(path: bytes, query: bytes) -> Place | None:
    """What is at a path. Raises InvalidRequest for a query that it cannot serve."""
    if path not in table():
        return _asked(path, query) or _passed(path, query) or _about_model(path)
    place = _always(path)
    if place.kind == "generation":
        asked = urllib.parse.parse_qs(query.decode("latin-1")).get("id")
        if not asked:
            raise InvalidRequest("`id` is missing.", remedy="Add `?id=` with the id of an answer.", param="id")
        return msgspec.structs.replace(place, detail=asked[0])
    if query and place.kind in _QUERIED:
        return msgspec.structs.replace(place, detail=query.decode("latin-1"))
    return place


def _asked(path: bytes, query: bytes) -> Place | None:
    """What Gemini's clients ask of a model, whose name they may leave unescaped, slashes and colons included."""
    found = _ASKED.fullmatch(urllib.parse.unquote(path.decode("latin-1")))
    if found is None or found[2] not in ACTIONS:
        return None
    streams = found[2].startswith("stream")
    if streams and urllib.parse.parse_qs(query.decode("latin-1")).get("alt") != ["sse"]:
        raise InvalidRequest(
            "A stream is sent as server-sent events only.", remedy="Add `?alt=sse` to the path.", param="alt"
        )
    addressed, dialect = Addressed(found[1], stream=streams), dialect_named(ACTIONS[found[2]])
    kind = "count" if dialect.operation == "count" else "generate"
    return Place(kind, dialect, _POST, addressed=addressed)


def _passed(path: bytes, query: bytes) -> Place | None:
    for pattern, name in _PASSED:
        if (found := pattern.fullmatch(path)) and b"/." not in path:
            query = b"&".join(said for said in query.split(b"&") if not said.startswith(b"key="))  # a key of ours
            rest = found[1] + b"?" + query if query else found[1]
            return Place("pass", dialect_named(name), (b"GET", b"POST", b"DELETE"), detail=rest.decode("latin-1"))
    return None


def _about_model(path: bytes) -> Place | None:
    for pattern, kind, name in _NAMED:
        if found := pattern.fullmatch(path):
            return Place(kind, dialect_named(name), _GET, detail=urllib.parse.unquote(found[1].decode("latin-1")))
    return None


def key_query(place: Place | None, target: bytes) -> bytes:
    """The query of a target where a key may stand in it, as it does in Gemini's dialects."""
    return target.partition(b"?")[2] if place is not None and place.dialect.name.startswith("gemini") else b""


def dialect_of(path: bytes) -> str:
    """The dialect in which a path that does not exist is refused."""
    path = path.removeprefix(DOUBLED[:-1])
    if path.endswith(_ENDS):
        return "gemini"
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
