"""Rescue in mid-stream: another endpoint goes on with an answer that broke off after its caller had part of it.

Where it may come to that, `Kept` remembers what an upstream sent. If its attempt fails, `begin` reads from that what
the caller has, and `place` finds in the plan who goes on, and how (`routing.rescue`). That attempt asks what `asked`
says; its answer goes through a `Seamed` to where the answer went before, and joins it without a gap or a word said
twice. If nobody can, the caller is told the error that the answer broke off with, never one of the rescue.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from trivium.catalog.rows import Endpoint
from trivium.dialects.base import AnswerContext, Dialect, Resuming, StreamEncoder
from trivium.errors import (
    ClientGone,
    Draining,
    InvalidRequest,
    TriviumError,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamRefused,
)
from trivium.gateway.relay import Target
from trivium.gateway.seam import ANSWER, Seamed, Slot, slot_of
from trivium.routing import rescue as rules
from trivium.routing.rescue import Mode, Shape
from trivium.types import event as ev
from trivium.types.event import Event
from trivium.types.message import Message, Text
from trivium.types.request import Request

if TYPE_CHECKING:
    from trivium.gateway.attempt import Attempt
    from trivium.gateway.exchange import Exchange

RESTARTS_MAX = 1
"""How often an answer is paid for once more from its start."""
_GRAMMARS = frozenset(
    ("grammar", "json_schema", "structured_outputs", "guided_json", "guided_regex", "guided_choice", "guided_grammar")
)
"""Fields of local servers that bind an answer to a form which a continuation would not know."""


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
        return self.said.get(ANSWER, "")

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
        alone = request.n == 1 and set(self.said) == {ANSWER} and not tools
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
        return {ANSWER: self.text[at:]}

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
            repeat = self.repeats(attempt.endpoint).get(ANSWER, "")
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


# ---- what the pipeline asks


def begin(exchange: Exchange, failed: Attempt, error: TriviumError) -> bool:
    """Take up an answer whose attempt failed; False: there is nothing that somebody could go on with."""
    found = exchange.rescue
    if found is not None:
        if failed.has_spoken:
            found.broke_off(failed)
        return isinstance(error, UpstreamError) and not isinstance(error, UpstreamRefused)
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
