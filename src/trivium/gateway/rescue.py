"""Rescue in mid-stream: another endpoint goes on with an answer that broke off after its caller had part of it.

Where it may come to that, `Kept` remembers what an upstream sent. If its attempt fails, `begin` reads from that what
the caller has, and `place` finds in the plan who goes on, and how (`routing.rescue`). That attempt asks what `asked`
says; its answer goes through a `Seamed` to where the answer went before, and joins it without a gap or a word said
twice. If nobody can, the caller is told the error that the answer broke off with, never one of the rescue.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from trivium.catalog.rows import Endpoint
from trivium.dialects.base import AnswerContext, Dialect, Resuming, StreamDecoder, StreamEncoder, TextSource
from trivium.errors import (
    ClientGone,
    Draining,
    InvalidRequest,
    TriviumError,
    UpstreamDiffers,
    UpstreamError,
    UpstreamProtocolError,
)
from trivium.gateway.relay import Target
from trivium.routing import rescue as rules
from trivium.routing.rescue import Mode, Shape
from trivium.types import event as ev
from trivium.types.event import Event
from trivium.types.message import Message, Text
from trivium.types.request import Request
from trivium.types.usage import Usage
from trivium.wire.json import BROKEN

if TYPE_CHECKING:
    from trivium.gateway.attempt import Attempt
    from trivium.gateway.exchange import Exchange

KEPT_BYTES_MAX = 4 * 1024 * 1024
"""Some fifteen thousand tokens, each an event of its own; longer answers are not rescued."""
BATCH = 64
"""How many reads of an answer are looked at together: one that is not plain costs the others a slower look."""
RESTARTS_MAX = 1
"""How often an answer is paid for once more from its start."""
_GRAMMARS = frozenset(
    ("grammar", "json_schema", "structured_outputs", "guided_json", "guided_regex", "guided_choice", "guided_grammar")
)
"""Fields of local servers that bind an answer to a form which a continuation would not know."""


class Kept:
    """What an upstream has sent of its answer, on the way to who reads it."""

    __slots__ = ("_parts", "_size", "body")

    def __init__(self, body: Callable[[bytes], None]) -> None:
        self.body = body
        """Who reads it now."""
        self._parts: list[bytes] = []
        self._size = 0

    def __call__(self, data: bytes) -> None:
        self._size += len(data)
        if self._size <= KEPT_BYTES_MAX:
            self._parts.append(data)
        else:
            self._parts.clear()
        self.body(data)

    def events(self, decoder: StreamDecoder) -> list[Event]:
        """What that means; nothing where it was too long, or cannot be read as the caller may have read it."""
        found: list[Event] = []
        texts = _Texts(decoder)
        try:
            for part in _batches(self._parts):
                if not texts.take(part):
                    found += texts.said()
                    found += decoder.feed(part)
            found += texts.said()
        except (UpstreamError, *BROKEN):
            return []
        return [] if decoder.malformed or self._size > KEPT_BYTES_MAX else found


def _batches(parts: list[bytes]) -> Iterable[bytes]:
    """The first part, which says how the stream begins, then the others, many at once."""
    yield from parts[:1]
    for start in range(1, len(parts), BATCH):
        yield b"".join(parts[start : start + BATCH])


class _Texts:
    """Reads what only continues a text, as most of an answer does, without decoding each event: a caller waits."""

    def __init__(self, decoder: StreamDecoder) -> None:
        self._source = decoder if isinstance(decoder, TextSource) else None
        self._pieces: list[bytes] = []

    def take(self, data: bytes) -> bool:
        """Whether it was that."""
        pieces = self._source.texts(data) if self._source is not None and self._source.place is not None else []
        self._pieces += pieces
        return bool(pieces)

    def said(self) -> list[Event]:
        """The text since this was asked last. Raises one of `BROKEN`."""
        pieces, self._pieces = self._pieces, []
        if not pieces or self._source is None or self._source.place is None:
            return []
        return [ev.TextDelta(msgspec.json.decode(b'"%b"' % b"".join(pieces), type=str), *self._source.place)]


class Slot(NamedTuple):
    """A text that grows in an answer: which kind of event brings it, of which choice, and of which call there."""

    kind: type[Event]
    choice: int
    call: int = 0


def slot_of(event: Event) -> tuple[Slot, str] | None:
    """What an event adds to which text; None for one that is no text."""
    match event:
        case ev.TextDelta(text=text) | ev.RefusalDelta(text=text):
            return Slot(type(event), event.choice), text
        case ev.ReasoningDelta(text=text) if not (event.summary or event.signature or event.encrypted or event.id):
            return Slot(ev.ReasoningDelta, event.choice), text
        case ev.ToolCallStart(name=text) | ev.ToolCallDelta(arguments=text):
            return Slot(type(event), event.choice, event.index), text
        case _:
            return None


_TEXT_FIELD: dict[type[Event], str] = {ev.ToolCallStart: "name", ev.ToolCallDelta: "arguments"}
_ANSWER = Slot(ev.TextDelta, 0)
_SILENT = (ev.Start, ev.Ping, ev.UsageReport, ev.LogprobsDelta, ev.Failure, ev.Seam)
"""Events that say nothing of the answer itself."""


class Rescue:
    """What an exchange knows of an answer that broke off: who said what, why it ended, and how it goes on."""

    def __init__(self, error: TriviumError, failed: Attempt, request: Request, events: list[Event]) -> None:
        self.error = error
        """The first, which is true whatever comes of the rescue."""
        self.broken = failed.endpoint
        self.mode: Mode = "continue"
        self.said: dict[Slot, str] = {}
        self.blocks: dict[type[Event], int] = {}
        """In which block the caller reads texts of a kind."""
        self._request = request
        self._events = events
        self._opaque = False
        self._tokens = 0
        self._restarts = 0
        self._first_s = self._said_s = 0.0
        for event in events:
            self.add(event)
        self.broke_off(failed)

    @property
    def text(self) -> str:
        return self.said.get(_ANSWER, "")

    @property
    def stops(self) -> tuple[str, ...]:
        return self._request.stop

    @property
    def offset(self) -> int:
        """Characters of the answer that the caller has."""
        return sum(len(text) for slot, text in self.said.items() if slot.kind is not ev.ToolCallStart)

    def add(self, event: Event) -> None:
        """The caller has this too."""
        found = slot_of(event)
        if found is not None:
            slot, text = found
            self.said[slot] = self.said.get(slot, "") + text
            self.blocks[slot.kind] = getattr(event, "block", 0)
        elif not isinstance(event, _SILENT):
            self._opaque = True

    def broke_off(self, failed: Attempt) -> None:
        """An attempt that added to the answer has ended before it."""
        count = 0 if failed.relay is None else failed.relay.output_estimate
        self._tokens = max(self._tokens, count) if self.mode == "restart" else self._tokens + count
        self._first_s, self._said_s = failed.pace
        self.broken = failed.endpoint

    @property
    def _structured(self) -> bool:
        form = self._request.response_format
        return form is not None and form.type != "text"

    def _shape(self) -> Shape:
        request = self._request
        tools = request.tools and (request.tool_choice is None or request.tool_choice.mode != "none")
        alone = request.n == 1 and set(self.said) == {_ANSWER} and not tools
        sampling = request.sampling
        return Shape(
            plain=alone and not self._opaque and not _GRAMMARS & request.extra.keys(),
            structured=self._structured,
            verifiable=not self._opaque,
            deterministic=sampling.temperature == 0 or sampling.seed is not None,
        )

    def way(self, exchange: Exchange, target: Endpoint, left_s: float) -> Mode | None:
        """How a target can go on, in the time that is left."""
        if exchange.plan is None:
            return None
        mode = rules.mode(exchange.plan.route, self.broken, target, self._shape())
        if mode is None or (mode == "restart" and self._restarts >= RESTARTS_MAX):
            return None
        return mode if rules.in_time(mode, left_s=left_s, first_s=self._first_s, said_s=self._said_s) else None

    def take(self, mode: Mode) -> None:
        """The next attempt goes on in this way."""
        self.mode = mode
        self._restarts += mode == "restart"

    # ---- the attempt that goes on

    def cut(self, target: Endpoint) -> int:
        """How much of the text a target is given; what is left it must repeat. A grammar needs no boundary."""
        alike = self.broken.access == "local" and rules.same_weights(self.broken, target)
        return rules.boundary(self.text, whole_tokens=alike or self._structured)

    def repeats(self, target: Endpoint) -> dict[Slot, str]:
        """What a target must say again before it says anything new."""
        if self.mode == "restart":
            return {slot: text for slot, text in self.said.items() if text}
        at = self.cut(target)
        if not 0 < at < len(self.text) or (self._structured and not rules.within_string(self.text)):
            return {}
        return {_ANSWER: self.text[at:]}

    def asked(self, request: Request, target: Endpoint) -> Request:
        """The request of the attempt: of one that continues the last message is the answer so far."""
        if self.mode == "restart":
            return request
        *before, last = request.messages
        start = self.text[: self.cut(target)]
        if last.role != "assistant":  # a caller that began the answer itself has it continued
            before, last = [*before, last], Message("assistant")
        messages = (*before, Message("assistant", (*last.parts, Text(start)))) if start else request.messages
        limit = request.max_output_tokens
        limit = None if limit is None else max(1, limit - self._tokens)
        return msgspec.structs.replace(request, messages=messages, max_output_tokens=limit)

    def bent(self, body: bytes, attempt: Attempt) -> bytes:
        """Its body, with what the provider must be told beside that."""
        if self.mode == "continue" and self.cut(attempt.endpoint):
            repeat = self.repeats(attempt.endpoint).get(_ANSWER, "")
            for prefill in attempt.binding.prefills:
                body = prefill(body, repeat)
        return body

    def encoder(self, exchange: Exchange, dialect: Dialect, context: AnswerContext, target: Endpoint) -> StreamEncoder:
        """What goes on writing the caller's stream; of one that was passed, an encoder that has written the same."""
        if exchange.encoder is not None:
            return exchange.encoder
        start = next((event for event in self._events if isinstance(event, ev.Start)), ev.Start())
        passed = exchange.passed if exchange.passed.id else exchange.passed._replace(id=start.id)
        created = start.created or context.created
        known = msgspec.structs.replace(context, model=target.model, created=created, passed=passed)
        encoder = dialect.encoder(known)
        encoder.encode(event for event in self._events if not isinstance(event, ev.Failure))
        if isinstance(encoder, Resuming):
            encoder.resume(exchange.passed)
        return encoder

    def target(self, attempt: Attempt, inner: Target) -> Target:
        """Where the events of the attempt go."""
        if attempt.exchange.paused and attempt.connection is not None:
            attempt.connection.pause_reading()
        return Seamed(self, attempt, inner)


class Seamed:
    """The end of an answer: takes from another endpoint's what the caller has, and discloses where it goes on."""

    def __init__(self, rescue: Rescue, attempt: Attempt, inner: Target) -> None:
        self.bytes_max = inner.bytes_max
        self._rescue = rescue
        self._attempt = attempt
        self._inner = inner
        self._before = attempt.exchange.usage
        self._left = rescue.repeats(attempt.endpoint)
        stops = rescue.stops if rescue.mode == "continue" else ()
        self._stops = rules.stops_left(rescue.text, stops)
        self._held = ""
        """Text that may be the rest of a stop sequence that began before the seam."""
        self._joined = self._billed = self._over = False

    def add(self, events: list[Event]) -> None:
        new = [said for event in events if not self._over for said in self._take(event)]
        if new:
            self._inner.add(new)
        if self._over:
            self.finish()

    def finish(self) -> None:
        if not self._billed:
            self._billed = True
            own = self._attempt.used("ok")
            self._inner.add([ev.UsageReport(self._sum(own))] if own is not None else [])
        self._inner.finish()

    def _take(self, event: Event) -> Iterable[Event]:
        match event:
            case ev.Start():
                return ()
            case ev.UsageReport():
                self._billed = True
                return (ev.UsageReport(self._sum(event.usage)),)
            case ev.Ping():
                return (event,)
            case ev.LogprobsDelta() if self._left:
                return ()
            case ev.Finish():
                self._refuse_rest(event.choice)
                joined, held, self._held = self._join(), self._held, ""
                return (*joined, *([self._said(ev.TextDelta(held), _ANSWER, held)] if held else ()), event)
            case _:
                return self._say(event)

    def _say(self, event: Event) -> Iterable[Event]:
        found = slot_of(event)
        if found is None:
            self._refuse_rest(getattr(event, "choice", 0))
            self._rescue.add(event)
            return (*self._join(), event)
        slot, text = found
        new = self._unsaid(slot, text)
        if not new:
            return ()
        if slot == _ANSWER and self._stops:
            new = self._until_stop(new)
            if self._over:
                return (*self._join(), ev.Finish(reason="stop", stop_sequence=new))
            if not new:
                return ()
        joined = self._join()
        return (*joined, self._said(event, slot, new))

    def _said(self, event: Event, slot: Slot, text: str) -> Event:
        """An event with the part of its text that is new, in the block where the caller reads such texts."""
        fields: dict[str, str | int] = {_TEXT_FIELD.get(slot.kind, "text"): text}
        if hasattr(event, "block"):
            fields["block"] = self._rescue.blocks.get(slot.kind, 0)
        said = msgspec.structs.replace(event, **fields)
        self._rescue.add(said)
        return said

    def _unsaid(self, slot: Slot, text: str) -> str:
        """What of a text is new. Raises UpstreamDiffers for one that is not what was said."""
        left = self._left.get(slot, "")
        if left.startswith(text):
            self._left[slot] = left[len(text) :]
            if not self._left[slot]:
                del self._left[slot]
            return ""
        if not text.startswith(left):
            raise UpstreamDiffers("The endpoint that was to go on with the answer says something else.")
        self._left.pop(slot, None)
        self._refuse_rest(slot.choice)
        return text[len(left) :]

    def _refuse_rest(self, choice: int) -> None:
        """Something new comes: what was said must have been repeated."""
        if any(slot.choice == choice for slot in self._left):
            raise UpstreamDiffers("The endpoint that was to go on with the answer did not repeat what was said.")

    def _until_stop(self, new: str) -> str:
        """The text that can be said now, or the stop sequence that is complete with it, and the answer over."""
        self._held += new
        for rest, stop in self._stops.items():
            if self._held.startswith(rest):
                self._over = True
                return stop
        self._stops = {rest: stop for rest, stop in self._stops.items() if rest.startswith(self._held)}
        if self._stops:
            return ""
        held, self._held = self._held, ""
        return held

    def _join(self) -> tuple[Event, ...]:
        """The seam, at the first that is new."""
        if self._joined:
            return ()
        self._joined = True
        rescue, exchange, endpoint = self._rescue, self._attempt.exchange, self._attempt.endpoint.id
        seam = ev.Seam(
            offset=rescue.offset,
            mode=rescue.mode,
            before=rescue.broken.id,
            after=endpoint,
            reason=rescue.error.kind,
        )
        told = f"{endpoint} went on ({seam.mode}) behind character {seam.offset} of {seam.before}"
        exchange.fallback = f"{exchange.fallback}; {told}" if exchange.fallback else told
        return (seam,)

    def _sum(self, own: Usage) -> Usage:
        """The usage of all attempts, with what they cost."""
        total = own if self._before is None else self._before.plus(own)
        nanos = self._attempt.bill(own)
        return msgspec.structs.replace(total, cost_usd=None if nanos is None else nanos / 1e9)


# ---- what the pipeline asks


def begin(exchange: Exchange, failed: Attempt, error: TriviumError) -> bool:
    """Take up an answer whose attempt failed; False: there is nothing that somebody could go on with."""
    found = exchange.rescue
    if found is not None:
        if failed.has_spoken:
            found.broke_off(failed)
        return isinstance(error, UpstreamError)
    if failed.kept is None or not rules.is_worth(error):
        return False
    try:
        request = exchange.canonical()
    except InvalidRequest:
        return False  # it was passed unread, and cannot be written for another
    if not isinstance(request, Request):
        return False
    events = failed.kept.events(failed.binding.dialect.decoder())
    calls = isinstance(error, UpstreamProtocolError) and any(isinstance(e, ev.ToolCallStart) for e in events)
    if not events or calls or any(isinstance(event, ev.Finish | ev.End) for event in events):
        return False  # unread, broken in a call that the caller may not have seen, or said to its end
    exchange.rescue = Rescue(error, failed, request, events)
    exchange.quiet_since = exchange.runtime.now()
    return True


def place(exchange: Exchange) -> int | None:
    """The place in the plan of the next endpoint that can go on with the answer; None: nobody can."""
    rescue, plan, runtime = exchange.rescue, exchange.plan, exchange.runtime
    if rescue is None or plan is None:
        return None
    left_s = exchange.deadline - runtime.now()
    for position in range(exchange.position + 1, len(plan.endpoints)):
        target = plan.endpoints[position]
        mode = rescue.way(exchange, target, left_s)
        own = exchange.snapshot.leg(plan, position, exchange.dialect, exchange.operation).dialect
        if (
            mode
            and own.name == target.provider.dialect
            and runtime.allowed(plan, position, exchange.input_tokens) == position
        ):
            rescue.take(mode)
            return position
    return None


def truth(exchange: Exchange, error: TriviumError) -> TriviumError:
    """The error that the caller is told: what its answer broke off with, unless it or we have left."""
    if exchange.rescue is None or isinstance(error, ClientGone | Draining):
        return error
    return exchange.rescue.error


def waits(exchange: Exchange) -> bool:
    """Whether a caller who has part of its answer waits for somebody to go on with it."""
    return exchange.rescue is not None and (exchange.attempt is None or not exchange.attempt.has_spoken)
