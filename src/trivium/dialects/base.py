"""What a dialect is: a wire format as a row of pure functions, in both directions.

Nothing here does I/O, reads a clock or draws a number; ids and times come in with `AnswerContext`.
A dialect is used in three ways:

* *towards an upstream*: `build_request` → bytes; its answer through `decode_answer` or a `StreamDecoder`;
  its errors through `decode_error`;
* *towards a caller*: `peek` or `parse_request`; the answer through `encode_answer` or a `StreamEncoder`;
  errors through `encode_error`;
* *passed*, when both sides speak it: `peek` and `Meter` only, the bytes stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import msgspec

from trivium.errors import TriviumError, UpstreamError
from trivium.types.event import Event
from trivium.types.request import Operation
from trivium.types.response import Response
from trivium.types.retrieval import AnyRequest
from trivium.types.usage import Usage


class Addressed(msgspec.Struct, frozen=True):
    """What a request's path says, in the dialects whose bodies do not (Gemini's)."""

    model: str
    stream: bool


class Twin(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """The body twin of our request headers: `"trivium": {…}`. A misspelt wish for privacy must not be lost."""

    data_class: str | None = None
    strict: bool | None = None
    timeout: str | float | None = None


class Head(Protocol):
    """What a request's body says at first sight: one partial decode, messages left as bytes."""

    @property
    def model(self) -> str: ...
    @property
    def stream(self) -> bool: ...
    @property
    def wants_usage(self) -> bool:
        """Whether usage inside the stream was asked for (always true where the dialect always sends it)."""
        ...

    @property
    def max_output_tokens(self) -> int | None: ...
    @property
    def needs(self) -> frozenset[str]:
        """Capabilities that it needs and that show at first sight: `tools`, `json_schema`, `n`, `logprobs` …"""
        ...

    @property
    def messages(self) -> msgspec.Raw: ...
    @property
    def models(self) -> tuple[str, ...]:
        """Further model ids to fall back to (OpenRouter's `models`)."""
        ...

    @property
    def metadata(self) -> msgspec.Raw:
        """What the caller says of a request for its own sake; empty: nothing."""
        ...

    @property
    def session(self) -> msgspec.Raw:
        """By what the caller tells its conversations apart, as JSON; empty: it does not."""
        ...

    @property
    def provider(self) -> msgspec.Raw:
        """What is said of who may serve (OpenRouter's `provider`); empty: nothing."""
        ...

    @property
    def trivium(self) -> Twin | None: ...
    @property
    def passes(self) -> bool:
        """Whether a server of its dialect may be sent it as it is; else it is parsed and written anew."""
        ...


class Built(msgspec.Struct, frozen=True):
    """A request in a dialect's bytes, and what could not be said in it (names of parameters)."""

    body: bytes
    losses: tuple[str, ...] = ()


class Passed(NamedTuple):
    """A stream that was passed up to here: its id, and, in dialects whose events count themselves, how many it had and
    the id of the item that is open."""

    id: str = ""
    events: int = 0
    item: str = ""


NOTHING_PASSED = Passed()


class AnswerContext(msgspec.Struct, frozen=True, kw_only=True):
    """What an encoder needs to know beside the events. `model` is the name that the caller will read."""

    id: str
    model: str
    created: int
    include_usage: bool = False
    input_tokens_estimate: int = 0
    request: AnyRequest | None = None
    """What is answered, where an encoder may have to know."""
    provider: str = ""
    """Who answers, by the name that its row has for people."""
    bill: Callable[[Usage], int | None] | None = None
    """What a usage costs, in nano-dollars; None where nobody can tell its parts."""
    passed: Passed = NOTHING_PASSED
    """Of a stream that an upstream began and the encoder goes on with."""
    elapsed_ns: Callable[[], int] | None = None
    """How long ago the request came, for wires that tell how long things took."""

    @property
    def stream_id(self) -> str:
        """By which id the caller knows the stream."""
        return self.passed.id or self.id


class StreamDecoder(Protocol):
    """Turns an upstream's stream into events. Raises UpstreamProtocolError for what its dialect forbids."""

    malformed: int
    """How many broken frames were skipped."""

    def feed(self, data: bytes) -> list[Event]:
        """Events of these bytes, however they were cut; `End` follows the dialect's terminal marker."""
        ...

    def close(self) -> list[Event]:
        """The upstream closed cleanly. Yields `End` if the answer was complete although the marker is missing
        (every choice has its finish), else nothing: the stream was cut."""
        ...


class StreamEncoder(Protocol):
    """Turns events into a caller's stream. One encoder a stream."""

    def encode(self, events: Iterable[Event]) -> bytes:
        """Frames for these events; empty if they mean nothing on this wire. `End` yields the terminal marker."""
        ...

    def fail(self, error: TriviumError) -> bytes:
        """The in-band error that ends a stream; never followed by the terminal marker."""
        ...

    @property
    def losses(self) -> tuple[str, ...]:
        """What has been dropped so far."""
        ...


@runtime_checkable
class TextSource(StreamDecoder, Protocol):
    """A decoder of a stream whose plainest frames need not be decoded."""

    place: tuple[int, int] | None
    """Choice and block of the text that the next bytes may continue; None: they must be decoded."""

    def texts(self, data: bytes) -> list[bytes]:
        """The insides of the JSON strings by which `data` continues that text; none if it says anything else."""
        ...


@runtime_checkable
class TextEncoder(Protocol):
    """An encoder whose plainest frames are a JSON text between two constant pieces."""

    def around(self, choice: int, block: int) -> tuple[bytes, bytes] | None:
        """These pieces, for a text that continues a choice and block; None where that asks for more than one frame."""
        ...

    def wrote(self, text: bytes) -> None:
        """Such a text was written between the pieces that `around` gave last."""
        ...


@runtime_checkable
class Resuming(Protocol):
    """An encoder that must be told how an upstream counted what it has encoded so far, which was passed."""

    def resume(self, passed: Passed) -> None: ...


class Meter(Protocol):
    """Reads a passed stream lightly: usage, finish, error and end, while the bytes go on as they are."""

    content: bool
    """A content event has passed."""
    complete: bool
    """The terminal marker has passed and every choice has its finish."""
    finish_reason: str
    upstream_id: str
    malformed: int
    """How many broken frames were kept from the caller."""
    frames: int
    """How many `feed` has read."""
    ordinary: Callable[[bytes], int]
    """How many frames some bytes are, where all only continue a text, as nearly all do: they may pass unread. Else 0.
    What it is may change with each `feed`."""

    @property
    def usage(self) -> Usage | None: ...
    @property
    def passed(self) -> Passed:
        """What `AnswerContext` says of a stream that breaks off here, in dialects whose errors are part of it."""
        ...

    @property
    def error(self) -> TriviumError | None:
        """The upstream reported an error inside the stream; nothing after it may pass."""
        ...

    def feed(self, data: bytes) -> bytes:
        """Look at these bytes and return those that the caller shall see: all of them, save broken frames and the
        usage event that it did not ask for. Holds back an incomplete frame only where it must."""
        ...

    def close(self) -> bytes:
        """The upstream closed cleanly. If the answer was complete but for its marker, returns the marker to
        synthesise and sets `complete`."""
        ...


class PassedAnswer(msgspec.Struct, frozen=True):
    """What a whole passed answer says about itself."""

    usage: Usage | None
    finish_reason: str = ""
    id: str = ""


class Media(msgspec.Struct, frozen=True):
    """What a request's messages carry beside text."""

    kinds: frozenset[str] = frozenset()
    """Of `images`, `audio` and `files`."""
    payload_bytes: int = 0
    """Of base64 and data URLs inside the messages, as they were written."""


class Peek(Protocol):
    def __call__(self, body: bytes, addressed: Addressed | None = None, /) -> Head: ...


class ParseRequest(Protocol):
    def __call__(self, body: bytes, addressed: Addressed | None = None, /) -> Any: ...


class PassRequest(Protocol):
    def __call__(
        self, body: bytes, head: Any, model: str, *, stream: bool | None = None, ask_usage: bool = False
    ) -> bytes: ...


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """One wire format. Every field is a pure function or a constant."""

    name: str
    operation: Operation = "chat"
    """Dialects of one operation can be translated into each other."""
    path: str
    """Under a provider's `base_url`, which holds the version segment; `{model}` stands for the model's name."""
    stream_path: str | None = None
    """Where streams are asked for, if that is a place of its own."""
    stream_type: bytes = b"text/event-stream"
    keep_alive: bytes = b": keep-alive\n\n"
    """What a caller is sent while it waits; empty: its head at the most, since the wire has no word for it."""
    failure_ends: bool = False
    """The event of a failure is the stream's own end (`response.failed`), so the body ends as HTTP has it: a client
    that reads on to that end would take a cut for the failure, and tell its user of the network."""
    by_url: bool = True
    """Whether a request may name images by URL; where not, they are fetched before it is built."""
    headers: Mapping[str, str] = {}
    """Constant request headers towards an upstream (`anthropic-version`)."""
    forwarded: frozenset[bytes] = frozenset()
    """Lower-case names of a caller's headers that go on to an upstream of the same dialect (`anthropic-beta`), in the
    place of a constant of that name: what is passed means what its sender's version says."""

    essential: Mapping[str, str] = {}
    """Names of losses without which another question would be answered → what to do instead. A request with one of them
    is passed to a server of this dialect or refused."""

    peek: Peek
    """Raises InvalidRequest with what is wrong, where, and what to do; also for a second `model` key."""
    parse_request: ParseRequest
    """The canonical request of the operation's kind. Raises InvalidRequest naming the field's path."""
    build_request: Callable[[Any], Built]
    """Such a request for an upstream; `request.model` is already its spelling. With `stream`, usage is asked for.
    Raises InvalidRequest for what cannot be said in it and must be."""
    pass_request: PassRequest
    """The caller's own bytes with `model` spliced, and, where they differ from what the caller sent, `stream` set and
    usage asked for. `head` is what this dialect's `peek` made of the body."""
    media: Callable[[msgspec.Raw], Media]
    """What a head's `messages` carry. Never raises: what it cannot read counts as nothing."""

    decode_answer: Callable[[bytes], list[Event]]
    """A whole 200 answer as events, ending with `End`. Raises UpstreamProtocolError, or the error it carries."""
    encode_answer: Callable[[Response, AnswerContext], Built]
    read_answer: Callable[[bytes], PassedAnswer]
    """A passed 200 answer, decoded narrowly. Raises UpstreamProtocolError for an empty body, no choices or broken
    JSON, and the error it carries if it is one."""
    decoder: Callable[[], StreamDecoder]
    encoder: Callable[[AnswerContext], StreamEncoder]
    meter: Callable[[bool], Meter]
    """`meter(caller_wants_usage)`."""

    decode_error: Callable[[int, bytes], UpstreamError]
    """An upstream's non-2xx answer as one of our errors, by status first and body second."""
    encode_error: Callable[[TriviumError, str], bytes]
    """`(error, request_id)`: the envelope's bytes."""
    models_answer: Callable[[list[dict[str, Any]]], bytes]
    """The dialect's model list from rows of `{id, created, owned_by, name, context}`."""
