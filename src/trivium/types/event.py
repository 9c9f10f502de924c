"""What happens while an answer arrives: the one stream vocabulary between all dialects.

Order within an answer: `Start`, then deltas and perhaps a `Seam`, then one `Finish` a choice, at most one
`UsageReport`, then `End`. `Failure` may come anywhere and is the last event of its stream. A stream without
`End` or `Failure` was cut. Adding an event? Also `fold` in `types/response.py` and every dialect's encoder.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any, Literal

import msgspec

from trivium.errors import TriviumError
from trivium.types.message import Citation
from trivium.types.usage import Usage

FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "refusal", "error"]


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """Base of all stream events."""


class Start(Event, frozen=True, kw_only=True):
    """The upstream began to answer; the model name is its own spelling."""

    id: str = ""
    model: str = ""
    created: int = 0
    usage: Usage | None = None
    """Input tokens already known at the start (Anthropic says them here)."""


class TextDelta(Event, frozen=True):
    text: str
    choice: int = 0
    block: int = 0
    """Which text part of the answer; dialects without numbered parts use 0."""


class ReasoningDelta(Event, frozen=True, kw_only=True):
    """Thinking as it arrives; `signature`, `encrypted`, `id` and `format` come whole, once."""

    text: str = ""
    summary: str = ""
    signature: str | None = None
    encrypted: str | None = None
    id: str | None = None
    format: str | None = None
    choice: int = 0
    block: int = 0


class RefusalDelta(Event, frozen=True):
    text: str
    choice: int = 0


class ToolCallStart(Event, frozen=True, kw_only=True):
    """A tool call begins; `index` numbers the calls of its choice from 0."""

    index: int
    id: str
    name: str
    choice: int = 0
    signature: str | None = None


class ToolCallDelta(Event, frozen=True, kw_only=True):
    """More of the JSON text of a call's arguments."""

    index: int
    arguments: str
    choice: int = 0


class CitationDelta(Event, frozen=True, kw_only=True):
    citation: Citation
    choice: int = 0
    block: int = 0


class AudioDelta(Event, frozen=True, kw_only=True):
    data: str = ""
    transcript: str = ""
    id: str | None = None
    expires_at: int | None = None
    choice: int = 0


class LogprobsDelta(Event, frozen=True, kw_only=True):
    """Log-probabilities in OpenAI's shape: a list of `{token, logprob, bytes, top_logprobs}`."""

    content: list[dict[str, Any]]
    choice: int = 0


class Embedded(Event, frozen=True):
    """The vector of the text number `index`."""

    index: int
    vector: tuple[float, ...]


class Ranked(Event, frozen=True):
    """How well the document number `index` answers the query: the higher, the better."""

    index: int
    score: float


class Finish(Event, frozen=True, kw_only=True):
    """A choice is complete. `native` is the upstream's own word for the reason."""

    reason: FinishReason
    native: str | None = None
    stop_sequence: str | None = None
    choice: int = 0


class UsageReport(Event, frozen=True):
    """The figures so far; the last one of a stream holds."""

    usage: Usage


class Seam(Event, frozen=True, kw_only=True):
    """From here on another endpoint goes on with the answer. `offset` counts the characters that were said before."""

    offset: int
    mode: str
    """`continue`: it was given what was said; `restart`: it has said the same again."""
    before: str
    """The endpoint that broke off."""
    after: str
    reason: str
    """The kind of the error that broke it off."""


class Ping(Event, frozen=True):
    """A sign of life without content: comments, role-only deltas, progress."""


class End(Event, frozen=True):
    """The dialect's terminal marker has arrived."""


class Failure(Event, frozen=True):
    """The upstream reported an error inside the stream."""

    error: TriviumError


_SEEN: dict[type[Event], Callable[[Any], object]] = {
    TextDelta: attrgetter("text"),
    RefusalDelta: attrgetter("text"),
    ToolCallStart: bool,
    ToolCallDelta: attrgetter("arguments"),
    CitationDelta: bool,
    AudioDelta: lambda event: event.data or event.transcript,
    Embedded: bool,
    Ranked: bool,
}
"""What of an event is content; by type, since asking a struct for one class after the other takes its time."""


def is_content(event: Event) -> bool:
    """Whether the caller sees something of the answer by this event, so that it can no longer be taken back."""
    seen = _SEEN.get(type(event))
    return seen is not None and bool(seen(event))
