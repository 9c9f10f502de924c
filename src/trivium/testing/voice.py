"""How an answer is put into a dialect's bytes: what each dialect of the fake upstream provides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from msgspec.json import encode

from trivium.testing.answers import JSON, Answer, Question, Tool
from trivium.testing.problems import Problem, invalid


class Refused(Exception):
    """The request's body is not what its dialect asks for."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


@dataclass(frozen=True)
class Script:
    """A stream in four acts, each a list of frames; a frame is the bytes of one or more whole events.

    Everything before `closing` is without a reason to finish, everything before `marker` without an end.
    """

    opening: list[bytes]
    content: list[bytes]
    closing: list[bytes]
    marker: list[bytes]

    @property
    def frames(self) -> list[bytes]:
        return [*self.opening, *self.content, *self.closing, *self.marker]


@dataclass(frozen=True)
class Noise:
    """What may stand in a stream beside the answer, as its framing has it."""

    unknown: bytes
    """An event of a kind that nobody knows."""
    bare: bytes
    """An event that says nothing."""
    broken: bytes
    comments: tuple[bytes, bytes]
    """Before and after an event."""
    still_here: bytes
    line_ends: tuple[bytes, ...]


EVENTS = Noise(
    unknown=b'event: weather\ndata: {"type": "weather", "object": "weather", "sky": "blue"}\n\n',
    bare=b"event: ping\n\n",
    broken=b'data: {"choices": [{"delta": {"content": \n\n',
    comments=(b": one\n:\n", b": two\n\n"),
    still_here=b": still here\n\n",
    line_ends=(b"\r", b"\r\n", b"\n"),
)
"""Server-sent events (WHATWG HTML, 9.2)."""
LINES = Noise(
    unknown=b'{"type": "weather", "sky": "blue"}\n',
    bare=b"{}\n",
    broken=b'{"message": {"content": \n',
    comments=(b"\n", b" \n"),
    still_here=b"\n",
    line_ends=(b"\r\n", b"\n"),
)
"""Lines of JSON, where a blank one is the most that a comment can be."""


@dataclass(frozen=True)
class Voice:
    """One dialect, as plain functions."""

    name: str
    ask: Callable[[JSON], Question]
    """Raises Refused."""
    whole: Callable[[Answer], JSON]
    """The non-streamed answer."""
    script: Callable[[Answer], Script]
    error: Callable[[Problem], tuple[int, JSON]]
    """Status and body."""
    error_frame: Callable[[Problem], bytes]
    hollow: Callable[[JSON], JSON]
    """The non-streamed answer without any choice or content."""
    hollow_script: Callable[[Answer], Script]
    headers: Callable[[Answer], Mapping[str, str]]
    """Headers of every answer, beside its type and length."""
    stream_type: str = "text/event-stream; charset=utf-8"
    noise: Noise = EVENTS


def data_frame(value: JSON, event: str = "") -> bytes:
    """One server-sent event (WHATWG HTML, 9.2)."""
    name = f"event: {event}\n".encode() if event else b""
    return name + b"data: " + encode(value) + b"\n\n"


def require_messages(body: JSON) -> list[JSON]:
    """The body's messages. Raises Refused."""
    messages: object = body.get("messages")
    if not isinstance(messages, list) or not messages:
        message = "Missing required parameter: 'messages'." if messages is None else "'messages' must not be empty."
        raise Refused(invalid(message, "messages"))
    return messages  # pyright: ignore[reportUnknownVariableType]


def record(body: JSON, name: str) -> JSON:
    """The object under a name; empty where there is none or null."""
    return body.get(name) or {}


def records(body: JSON, name: str) -> list[JSON]:
    return body.get(name) or []


def functions(body: JSON) -> tuple[Tool, ...]:
    """The tools, in the shape that OpenAI's wire began."""
    found = (tool["function"] for tool in records(body, "tools") if tool.get("type", "function") == "function")
    return tuple(Tool(function["name"], record(function, "parameters")) for function in found)


def parts_of(content: Any) -> list[JSON]:
    """A message's content as a list of parts, whether it was a string, a list or null."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return content or []


def text_of(content: Any) -> str:
    return "".join(part.get("text") or "" for part in parts_of(content))


def tokens_of(body: JSON) -> int:
    """A stand-in for a tokenizer: four characters of the prompt's JSON are a token."""
    prompt = {name: body[name] for name in ("system", "instructions", "messages", "input", "tools") if name in body}
    return max(1, len(encode(prompt)) // 4)
