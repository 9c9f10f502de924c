"""The surface: what is served at a place of the data plane, to whoever has a connection or something like it."""

from __future__ import annotations

from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any

import msgspec

from trivium.dialects import get as dialect_named
from trivium.dialects.base import Dialect
from trivium.dialects.common import UNSAID
from trivium.errors import InternalError, TriviumError
from trivium.gateway import paths, pipeline
from trivium.gateway.count import estimate
from trivium.gateway.explain import view
from trivium.gateway.lookup import Lookup
from trivium.gateway.models import model_row, model_rows, one_of
from trivium.gateway.paths import Place
from trivium.gateway.runtime import Runtime
from trivium.gateway.sink import JSON, Connection, HttpSink, refuse
from trivium.gateway.wish import Wish, wish_of
from trivium.policy.key import Key
from trivium.routing.preferences import parse as preferences_of
from trivium.transport.server import Fields

_TELLING = (
    (b"x-goog-api-key", b"", "gemini"),
    (b"anthropic-version", b"", "anthropic_messages"),
    (b"x-fern-sdk-name", b"cohere", "cohere_v2"),
)
"""Headers, and what they begin with, by which the dialects are told apart that share `/v1/models`."""


def answer(runtime: Runtime, connection: Connection, method: bytes, target: bytes, fields: Fields, body: bytes) -> None:
    """Answer a request of this process, which needs no key, whatever it is."""
    path, _, query = target.partition(b"?")
    dialect = dialect_named(paths.dialect_of(path))
    try:
        place = paths.checked(paths.find(path, query), path, method)
        dialect = place.dialect
        serve(runtime, connection, place, fields, body, method=method)
    except TriviumError as error:
        refuse(connection, dialect, error, runtime.new_id())
    except Exception as error:
        runtime.report(error)
        refuse(connection, dialect, InternalError("An internal error."), runtime.new_id())


def serve(
    runtime: Runtime,
    connection: Connection,
    place: Place,
    fields: Fields,
    body: bytes,
    key: Key | None = None,
    extra: bytes = b"",
    method: bytes = b"POST",
) -> None:
    """Answer a request at a place; `extra` are header lines of every answer. Raises TriviumError."""
    match place.kind:
        case "generate":
            generate(runtime, connection, place.dialect, body, wish_of(fields, place, key), extra)
        case "pass":
            from trivium.gateway.passing import Call, begin

            kind = fields.get(b"content-type", b"")
            call = Call(method, place.detail.encode("latin-1"), kind, body)
            begin(runtime, connection, place, call, fields, key, extra)
        case "count":
            wish = wish_of(fields, place, key)
            if (told := estimate(runtime.snapshot, place.dialect, body, wish)) is None:
                generate(runtime, connection, place.dialect, body, wish, extra)
            else:
                connection.whole(200, JSON + extra, told)
        case "loads":
            from trivium.gateway import ollama

            wish, asked = wish_of(fields, place, key), ollama.loading(place.dialect, body)
            if asked is None:
                generate(runtime, connection, place.dialect, body, wish, extra)
            else:
                Lookup(runtime, connection, place.dialect, extra, ollama.load(runtime, key, place.dialect, asked))
        case "home":
            connection.whole(200, b"content-type: text/plain; charset=utf-8\r\n" + extra, b"Ollama is running")
        case "ready" if runtime.draining:
            connection.whole(503, JSON, b'{"status":"draining"}')
        case "ready" | "health":
            connection.whole(200, JSON, b'{"status":"ok"}')
        case _:
            told = _told(runtime, place, fields, body, key)
            if isinstance(told, bytes):
                connection.whole(200, JSON + extra, told)
            else:
                Lookup(runtime, connection, place.dialect, extra, told)


def _told(
    runtime: Runtime, place: Place, fields: Fields, body: bytes, key: Key | None
) -> bytes | Coroutine[Any, Any, Any]:
    """What there is to tell at a place where no model is asked: at once, or after its owner was asked."""
    from trivium.gateway import listing, ollama, openrouter

    snapshot, dialect = runtime.snapshot, place.dialect
    match place.kind:
        case "models":
            if place.service:
                return listing.models(snapshot, key, place.detail)
            return _models_dialect(place, fields).models_answer(model_rows(snapshot, key))
        case "model":
            return one_of(_models_dialect(place, fields).models_answer([model_row(snapshot, key, place.detail)]))
        case "embedders":
            return listing.models(snapshot, key, place.detail, "embed")
        case "counted":
            return msgspec.json.encode(listing.count(snapshot, key, place.detail))
        case "providers":
            return msgspec.json.encode(listing.providers(snapshot))
        case "zdr":
            return msgspec.json.encode(listing.zero_retention(snapshot, key, runtime.conditions.performance))
        case "endpoints":
            return msgspec.json.encode(listing.endpoints(snapshot, key, place.detail, runtime.conditions.performance))
        case "generation":
            return openrouter.generation(runtime, key, place.detail)
        case "key":
            return openrouter.key_of(runtime, key, datetime.now(UTC))
        case "credits":
            return openrouter.credits(runtime, key)
        case "ollama" if place.detail == "ps":
            return ollama.running(runtime, key)
        case "ollama":
            return msgspec.json.encode(ollama.told(runtime, key, place.detail, body))
        case _:
            wish, head = wish_of(fields, place, key), dialect.peek(body)
            preferences = None if head.provider is UNSAID else preferences_of(head.provider)
            request, id_ = dialect.parse_request(body), runtime.new_id()
            planned = view(snapshot, runtime.conditions, request, wish, head.models, id_, preferences=preferences)
            return msgspec.json.encode(planned)


def _models_dialect(place: Place, fields: Fields) -> Dialect:
    """The dialect of a list of models: its path's, but `/v1/models` belongs to several, which a header tells apart."""
    named = (name for header, start, name in _TELLING if header in fields and fields[header].startswith(start))
    return dialect_named(next(named, place.dialect.name)) if place.dialect.name == "openai_chat" else place.dialect


def turn_away(
    connection: Connection, target: bytes, error: TriviumError, request_id: str = "", extra: bytes = b""
) -> None:
    """Refuse what is not looked at, in the dialect of its path."""
    path, _, _ = target.partition(b"?")
    refuse(connection, dialect_named(paths.dialect_of(path)), error, request_id, extra)


def generate(
    runtime: Runtime, connection: Connection, dialect: Dialect, body: bytes, wish: Wish, extra: bytes = b""
) -> None:
    """One request to a model, in its caller's dialect."""
    sink = HttpSink(connection, extra)
    gathers = not runtime.exchanges and runtime.gather()
    try:
        sink.follow(pipeline.begin(runtime, sink, dialect, body, wish))
    finally:
        if gathers:
            runtime.gathered()
