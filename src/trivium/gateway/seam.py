"""The seam of an answer that two endpoints give: what the second says again is taken from it, and the rest joins."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from trivium.errors import UpstreamDiffers
from trivium.gateway.relay import Target
from trivium.routing.rescue import stops_left
from trivium.types import event as ev
from trivium.types.event import Event
from trivium.types.usage import Usage

if TYPE_CHECKING:
    from trivium.gateway.attempt import Attempt
    from trivium.gateway.rescue import Rescue


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
ANSWER = Slot(ev.TextDelta, 0)
"""The text of an answer with one choice."""


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
        self._stops = stops_left(rescue.text, stops)
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
                return (*joined, *([self._said(ev.TextDelta(held), ANSWER, held)] if held else ()), event)
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
        if slot == ANSWER and self._stops:
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
