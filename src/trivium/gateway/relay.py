"""How an answer travels from an upstream's bytes to the caller: passed, or through events.

A relay gets the body of a 200 answer as it arrives and tells its attempt what it means: content is
there (`release`), the answer is whole (`complete`). It raises a TriviumError when the body is none of
what its dialect promises; nothing that it raised over has reached the caller.

* `PassedAnswer`, `PassedStream`: both sides speak one dialect, the bytes go on as they are;
* `Events` reads anything else as events, from a stream or from a whole answer, and gives them to a
  `Target`: a stream in the caller's dialect, a whole answer folded from them, or the objects themselves.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol, cast

import msgspec

from trivium.dialects.base import AnswerContext, Dialect, Passed, TextEncoder, TextSource
from trivium.dialects.request import is_object
from trivium.errors import UpstreamCut, UpstreamProtocolError
from trivium.types.event import (
    End,
    Event,
    Failure,
    Finish,
    FinishReason,
    ReasoningDelta,
    RefusalDelta,
    Start,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    UsageReport,
    is_content,
)
from trivium.types.message import Reasoning, Refusal, Text, ToolCall
from trivium.types.request import Request
from trivium.types.response import Choice, Fold, Response, fold
from trivium.types.retrieval import AnyRequest, answered
from trivium.types.usage import Usage
from trivium.wire.json import is_utf8

ANSWER_BYTES_MAX = 64 * 1024 * 1024
HELD_BYTES_MAX = 16 * 1024 * 1024
"""What may come before the first content, the thoughts of the longest thinkers included; more is an attack."""
_THOUGHT = re.compile(
    rb'"(?:reasoning|reasoning_content|thinking|tool_plan)"\s*:\s*"[^"]'
    rb'|"type"\s*:\s*"(?:response\.)?reasoning|"thought"\s*:\s*true'
)
_USAGE = re.compile(rb'"usage(?:Metadata)?"\s*:\s*\{(?=\s*")')
"""Inside a JSON string its quotes would be escaped, so that no text of an answer matches either."""

Bill = Callable[[Usage], int | None]
"""What the caller pays for a usage, in nano-dollars and over all attempts; None where that is unknown."""


Last = bytes | Response | list[Event]
"""The end of an answer: bytes for a caller with a dialect, objects for one in the same process."""


class Outlet(Protocol):
    """What a relay tells: the attempt it belongs to."""

    def release(self, first: bytes) -> None:
        """The first content, with all that was held before it."""
        ...

    @property
    def chunk(self) -> Callable[[bytes], None]:
        """Sends more of a stream that was released."""
        ...

    def flow(self, body: Callable[[bytes], None]) -> None:
        """Give what comes from now on to `body`, which gives to `on_body` what needs a closer look."""
        ...

    def on_body(self, data: bytes) -> None:
        """Feed the relay and see to its errors."""
        ...

    def fail_of(self, error: Exception) -> None:
        """See to an error of what `flow` was given, above which nobody else does."""
        ...

    def objects(self, events: list[Event]) -> None: ...
    def complete(self, last: Last, losses: tuple[str, ...] = ()) -> None:
        """The answer is whole; `last` leaves once the ledger has it. `losses` are what it could not say."""
        ...


class Seen(Protocol):
    """What was found in an answer so far; `malformed` counts the broken frames that were skipped."""

    @property
    def content(self) -> bool: ...
    @property
    def usage(self) -> Usage | None: ...
    @property
    def finish_reason(self) -> str: ...
    @property
    def upstream_id(self) -> str: ...
    @property
    def malformed(self) -> int: ...


class Relay:
    """What an attempt feeds, and reads: from nothing on."""

    content = False
    usage: Usage | None = None
    finish_reason = ""
    upstream_id = ""
    malformed: int = 0
    thinking = False
    """A sign of thought has come: the silence before the content is not a stall."""
    output_estimate: int = 0
    """Tokens that went by, by a rough count."""

    @property
    def seen(self) -> Seen:
        return self

    def feed(self, data: bytes) -> None: ...
    def end(self) -> None: ...


class _Gathering:
    """Keeps a whole body, as it arrives, in its list `_parts`."""

    _parts: list[bytes]
    _size = 0

    def _gather(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > ANSWER_BYTES_MAX:
            raise UpstreamProtocolError(f"The upstream's answer is larger than {ANSWER_BYTES_MAX} bytes.")
        self._parts.append(data)

    def _whole(self) -> bytes:
        return self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)


class PassedAnswer(_Gathering, Relay):
    """A whole answer, passed as it is."""

    def __init__(self, outlet: Outlet, dialect: Dialect) -> None:
        self._outlet = outlet
        self._dialect = dialect
        self._parts = []

    feed = _Gathering._gather  # pyright: ignore[reportAssignmentType]  # one call less a read

    def end(self) -> None:
        body = self._whole()
        if not (body.isascii() or is_utf8(body)):
            raise UpstreamProtocolError("The upstream's answer is not UTF-8, so it is no JSON.")
        read = self._dialect.read_answer(body)
        self.content = True
        self.usage = read.usage
        self.finish_reason = read.finish_reason
        self.upstream_id = read.id
        self.output_estimate = len(body) // 4 if self._dialect.operation == "chat" else 0
        self._outlet.complete(body)


class PassedStream(Relay):
    """A stream in the caller's own dialect: a meter looks, the bytes pass."""

    def __init__(self, outlet: Outlet, dialect: Dialect, *, wants_usage: bool, bill: Bill) -> None:
        self._outlet = outlet
        self._chunk = outlet.chunk
        self._meter = dialect.meter(wants_usage)
        self._bill = bill
        self._wants_usage = wants_usage
        self._billed: Usage | None = None
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._released = False

    @property
    def seen(self) -> Seen:
        return self._meter

    @property
    def passed(self) -> Passed:
        return self._meter.passed

    def feed(self, data: bytes) -> None:
        meter = self._meter
        before = meter.frames
        out = meter.feed(data)
        self.output_estimate += meter.frames - before
        if meter.usage is not self._billed and meter.finish_reason and self._wants_usage:
            out = self._with_cost(out)
        if not self._released:
            self._hold(out)
        elif meter.complete:
            self._outlet.complete(out)
        elif out:
            self._chunk(out)
        if meter.error is not None:
            raise meter.error

    def _with_cost(self, out: bytes) -> bytes:
        """The usage that was asked for, with what it costs; an upstream's own word about that stays."""
        usage = self._billed = self._meter.usage
        if usage is None or usage.cost_usd is not None or (nanos := self._bill(usage)) is None:
            return out
        place = max((found.end() for found in _USAGE.finditer(out)), default=0)
        return b'%b"cost":%b,%b' % (out[:place], _usd(nanos), out[place:]) if place else out

    def _hold(self, out: bytes) -> None:
        meter = self._meter
        self.thinking = self.thinking or _THOUGHT.search(out) is not None
        self._held.append(out)
        self._held_bytes += len(out)
        if self._held_bytes > HELD_BYTES_MAX:
            raise UpstreamProtocolError(f"The upstream sent {HELD_BYTES_MAX} bytes without any content.")
        if meter.error is not None:
            return
        if meter.content or meter.complete:
            self._released = True
            held, self._held = b"".join(self._held), []
            if meter.complete:
                self._outlet.complete(held)
            else:
                self._outlet.release(held)
                self._outlet.flow(self._flow)

    def _flow(self, data: bytes) -> None:
        """Pass what only continues a text, as most reads of a stream do, on the shortest way."""
        try:
            if frames := self._meter.ordinary(data):
                self.output_estimate += frames
                self._chunk(data)
            else:
                self._outlet.on_body(data)
        except Exception as error:
            self._outlet.fail_of(error)

    def end(self) -> None:
        meter = self._meter
        if meter.complete:
            return
        rest = meter.close()
        if not meter.complete:
            raise UpstreamCut("The upstream ended the stream without its terminal event.")
        if not self._released:
            rest = b"".join(self._held) + rest
        self._outlet.complete(rest)


def _usd(nanos: int) -> bytes:
    """Nano-dollars as a JSON number of dollars, exactly."""
    return b"%d.%09d" % divmod(nanos, 1_000_000_000)


class Target(Protocol):
    """Where events go; of an upstream's answer it takes `bytes_max` at most."""

    @property
    def bytes_max(self) -> float: ...

    def add(self, events: list[Event]) -> None: ...
    def finish(self) -> None: ...


class _Held(ABC):
    """Holds events until the first content, as every stream is held; then and from then on they are given."""

    bytes_max = math.inf

    def __init__(self) -> None:
        self._held: list[Event] = []
        self._released = False

    def add(self, events: list[Event]) -> None:
        self._held += events
        if self._released or any(map(is_content, events)):
            self._released, first = True, not self._released
            held, self._held = self._held, []
            self._give(held, first=first)

    @abstractmethod
    def _give(self, events: list[Event], *, first: bool) -> None: ...


class StreamTarget(_Held):
    """A stream in the caller's dialect."""

    def __init__(self, outlet: Outlet, dialect: Dialect, context: AnswerContext, bill: Bill) -> None:
        super().__init__()
        self._outlet = outlet
        self.encoder = dialect.encoder(context)
        self._bill = bill

    def _give(self, events: list[Event], *, first: bool) -> None:
        data = self._encode(events)
        if first:
            self._outlet.release(data)
        elif data:
            self._outlet.chunk(data)

    def _encode(self, events: list[Event]) -> bytes:
        bill = self._bill
        return self.encoder.encode(
            UsageReport(_priced(event.usage, bill)) if isinstance(event, UsageReport) else event for event in events
        )

    def finish(self) -> None:
        last = self._encode([*self._held, End()])
        self._outlet.complete(last, self.encoder.losses)


def _priced(usage: Usage, bill: Bill) -> Usage:
    """With what it costs, where that is known; an upstream's own word about that stays."""
    nanos = bill(usage) if usage.cost_usd is None else None
    return usage if nanos is None else msgspec.structs.replace(usage, cost_usd=nanos / 1e9)


class ObjectTarget(_Held):
    """The events themselves, for a caller in the same process that streams."""

    def __init__(self, outlet: Outlet) -> None:
        super().__init__()
        self._outlet = outlet

    def _give(self, events: list[Event], *, first: bool) -> None:
        self._outlet.objects(events)

    def finish(self) -> None:
        self._outlet.complete([*self._held, End()])


class ResponseTarget:
    """A `Response`, for a caller in the same process."""

    bytes_max = ANSWER_BYTES_MAX

    def __init__(self, outlet: Outlet, request: AnyRequest | None) -> None:
        self._outlet = outlet
        self._fold = Fold()
        self._request = request

    def add(self, events: list[Event]) -> None:
        for event in events:
            self._fold.add(event)

    def finish(self) -> None:
        self.give(self._fold.response())

    def give(self, response: Response) -> None:
        """The whole answer."""
        self._outlet.complete(*self._as_asked(response))

    def _as_asked(self, response: Response) -> tuple[Response, tuple[str, ...]]:
        """The answer, and what of it is not what was asked for."""
        request = self._request
        return (response, ()) if request is None or isinstance(request, Request) else answered(response, request)


class WholeTarget(ResponseTarget):
    """A whole answer in the caller's dialect, folded from events."""

    def __init__(self, outlet: Outlet, dialect: Dialect, context: AnswerContext, bill: Bill) -> None:
        super().__init__(outlet, context.request)
        self._dialect = dialect
        self._context = context
        self._bill = bill

    def give(self, response: Response) -> None:
        usage = response.usage
        if self._context.include_usage and usage is not None and (priced := _priced(usage, self._bill)) is not usage:
            response = msgspec.structs.replace(response, usage=priced)
        response, losses = self._as_asked(response)
        built = self._dialect.encode_answer(response, self._context)
        self._outlet.complete(built.body, losses + built.losses)


class Source(Protocol):
    """What turns an upstream's bytes into events."""

    @property
    def malformed(self) -> int: ...
    def feed(self, data: bytes) -> list[Event]: ...
    def close(self) -> list[Event]: ...


class WholeSource(_Gathering):
    """A whole answer, decoded when it has all come."""

    malformed = 0

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._parts = []

    def feed(self, data: bytes) -> list[Event]:
        self._gather(data)
        return []

    def close(self) -> list[Event]:
        return self._dialect.decode_answer(self._whole())


class _Calls:
    """The tool calls of an answer, none of which may be half-made where the upstream says that it is done."""

    def __init__(self) -> None:
        self._said: dict[tuple[int, int], list[str]] = {}

    def begin(self, event: ToolCallStart) -> None:
        _check_call(event.name)
        self._said[event.choice, event.index] = []

    def add(self, event: ToolCallDelta) -> None:
        if (said := self._said.get((event.choice, event.index))) is not None:
            said.append(event.arguments)

    def finish(self, event: Finish) -> None:
        for place, said in self._said.items():
            if place[0] == event.choice:
                _check_call("…", "".join(said), event.reason)


def _check_call(name: str, arguments: str = "", reason: FinishReason | None = None) -> None:
    """Raises UpstreamProtocolError for one without a name, and for half of one; what a limit cut says so itself."""
    if not name:
        raise UpstreamProtocolError("The upstream called a tool without naming it.")
    if reason in {"stop", "tool_calls"} and arguments.strip() and not is_object(arguments):
        raise UpstreamProtocolError("The upstream ended its answer within the arguments of a tool call.")


class TranslatedAnswer(_Gathering, Relay):
    """A whole answer in another dialect than its upstream's: one piece, of which nothing is held."""

    def __init__(self, dialect: Dialect, target: ResponseTarget) -> None:
        self._dialect = dialect
        self._target = target
        self._parts = []

    feed = _Gathering._gather  # pyright: ignore[reportAssignmentType]  # one call less a read

    def end(self) -> None:
        response = fold(self._dialect.decode_answer(self._whole()))
        self.content = True
        self.usage = response.usage
        self.upstream_id = response.id
        for choice in response.choices:
            self.finish_reason = choice.finish_reason or ""
            self._look(choice)
        self._target.give(response)

    def _look(self, choice: Choice) -> None:
        for part in choice.message.parts:
            if type(part) is ToolCall:
                _check_call(part.name, part.arguments, choice.finish_reason)
                self.output_estimate += len(part.arguments) // 4 + 1
            elif type(part) is Text or type(part) is Refusal:
                self.output_estimate += len(part.text) // 4 + 1
            elif type(part) is Reasoning:
                self.output_estimate += (len(part.text) + len(part.summary or "")) // 4 + 1


class Events(Relay):
    """Any answer as events, from a `Source` to a `Target`."""

    def __init__(self, source: Source, target: Target) -> None:
        self._source = source
        self._target = target
        self._calls = _Calls()
        self._ended = False
        self._size = 0
        self._held_max = ANSWER_BYTES_MAX if isinstance(source, WholeSource) else HELD_BYTES_MAX

    def feed(self, data: bytes) -> None:
        if self._ended:
            return
        self._size += len(data)
        if self._size > (self._target.bytes_max if self.content else self._held_max):
            raise UpstreamProtocolError(f"The upstream sent {self._size} bytes that had to be held.")
        self._take(self._source.feed(data))

    def end(self) -> None:
        if self._ended:
            return
        self._take(self._source.close())
        if not self._ended:
            raise UpstreamCut("The upstream ended the answer without its terminal event.")

    def _take(self, events: list[Event]) -> None:
        self.malformed = self._source.malformed
        passed: list[Event] = []
        for event in events:
            if type(event) is TextDelta or type(event) is RefusalDelta:
                self.output_estimate += len(event.text) // 4 + 1
            elif type(event) is ReasoningDelta:
                self.thinking = True
                self.output_estimate += (len(event.text) + len(event.summary)) // 4 + 1
            elif type(event) is ToolCallDelta:
                self._calls.add(event)
                self.output_estimate += len(event.arguments) // 4 + 1
            elif type(event) is ToolCallStart:
                self._calls.begin(event)
            elif type(event) is Start:
                self.usage = event.usage
                self.upstream_id = event.id
            elif type(event) is UsageReport:
                self.usage = event.usage
            elif type(event) is Finish:
                self._calls.finish(event)
                self.finish_reason = event.reason
            elif type(event) is End:
                self._ended = True
                continue
            elif type(event) is Failure:
                self._give(passed)
                raise event.error
            passed.append(event)
        self._give(passed)
        if self._ended:
            self._target.finish()

    def _give(self, events: list[Event]) -> None:
        if events:
            self.content = self.content or any(map(is_content, events))
            self._target.add(events)


def translated(outlet: Outlet, source: Source, target: StreamTarget) -> Relay:
    """A stream in another dialect than its upstream's."""
    encoder = target.encoder
    if hasattr(source, "texts") and hasattr(encoder, "around"):  # to ask for a protocol costs as much as ten chunks
        return _TranslatedStream(outlet, cast("TextSource", source), target, cast("TextEncoder", encoder))
    return Events(source, target)


class _TranslatedStream(Events):
    """A stream whose texts go by undecoded, as bytes between constant bytes, as long as they only continue."""

    def __init__(self, outlet: Outlet, source: TextSource, target: StreamTarget, encoder: TextEncoder) -> None:
        super().__init__(source, target)
        self._outlet = outlet
        self._chunk = outlet.chunk
        self._texts = source
        self._encoder = encoder
        self._around: tuple[bytes, bytes] | None = None
        self._flows = False

    def feed(self, data: bytes) -> None:
        super().feed(data)
        place = self._texts.place if self.content and not self._ended else None
        self._around = None if place is None else self._encoder.around(*place)
        if self._around and not self._flows:
            self._flows = True
            self._outlet.flow(self._flow)

    def _flow(self, data: bytes) -> None:
        """Pass what only continues the text, as most reads of a stream do, on the shortest way."""
        try:
            if not self._around or not (texts := self._texts.texts(data)):
                self._outlet.on_body(data)
                return
            before, after = self._around
            said = texts[0] if len(texts) == 1 else b"".join(texts)
            self.output_estimate += len(said) // 4 + len(texts)
            self._encoder.wrote(said)
            written = said if len(texts) == 1 else (after + before).join(texts)
            self._chunk(b"%b%b%b" % (before, written, after))
        except Exception as error:
            self._outlet.fail_of(error)
