"""The surface: what is served at a place of the data plane, to whoever has a connection or something like it."""

from __future__ import annotations

import msgspec

from trivium.dialects import get as dialect_named
from trivium.dialects.base import Dialect
from trivium.errors import InternalError, TriviumError
from trivium.gateway import paths, pipeline
from trivium.gateway.explain import view
from trivium.gateway.lookup import Lookup
from trivium.gateway.models import model_rows
from trivium.gateway.paths import Place
from trivium.gateway.runtime import Runtime
from trivium.gateway.sink import JSON, Connection, HttpSink, refuse
from trivium.gateway.wish import Wish, wish_of
from trivium.policy.key import Key
from trivium.transport.server import Fields


def answer(runtime: Runtime, connection: Connection, method: bytes, target: bytes, fields: Fields, body: bytes) -> None:
    """Answer a request of this process, which needs no key, whatever it is."""
    path, _, query = target.partition(b"?")
    dialect = dialect_named(paths.dialect_of(path))
    try:
        place = paths.checked(paths.find(path, query), path, method)
        dialect = place.dialect
        serve(runtime, connection, place, fields, body)
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
) -> None:
    """Answer a request at a place; `extra` are header lines of every answer. Raises TriviumError."""
    match place.kind:
        case "generate":
            generate(runtime, connection, place.dialect, body, wish_of(fields, place, key), extra)
        case "models":
            dialect = dialect_named("anthropic_messages") if b"anthropic-version" in fields else place.dialect
            connection.whole(200, JSON + extra, dialect.models_answer(model_rows(runtime.snapshot, key)))
        case "loads":
            from trivium.gateway import ollama

            wish, asked = wish_of(fields, place, key), ollama.loading(place.dialect, body)
            if asked is None:
                generate(runtime, connection, place.dialect, body, wish, extra)
            else:
                Lookup(runtime, connection, place.dialect, extra, ollama.load(runtime, key, place.dialect, asked))
        case "ollama":
            from trivium.gateway import ollama

            if place.detail == "ps":
                Lookup(runtime, connection, place.dialect, extra, ollama.running(runtime, key))
            else:
                said = ollama.told(runtime, key, place.detail, body)
                connection.whole(200, JSON + extra, msgspec.json.encode(said))
        case "home":
            connection.whole(200, b"content-type: text/plain; charset=utf-8\r\n" + extra, b"Ollama is running")
        case "plan":
            wish, dialect = wish_of(fields, place, key), place.dialect
            more = dialect.peek(body).models
            found = view(runtime.snapshot, dialect.parse_request(body), wish, more)
            connection.whole(200, JSON + extra, msgspec.json.encode(found))
        case "ready" if runtime.draining:
            connection.whole(503, JSON, b'{"status":"draining"}')
        case _:
            connection.whole(200, JSON, b'{"status":"ok"}')


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
