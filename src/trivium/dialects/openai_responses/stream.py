"""Streams of an upstream: server-sent events of the Responses API as canonical events.

https://platform.openai.com/docs/api-reference/responses-streaming
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from trivium.dialects.openai import error_in_band
from trivium.dialects.openai_responses.answer import WireResponse, start_of
from trivium.dialects.openai_responses.items import SEPARATOR, ItemReader, read_item
from trivium.dialects.openai_responses.wire import WireAnnotation, finish_of, usage_of
from trivium.dialects.stream import SSEDecoder
from trivium.errors import UpstreamError, UpstreamProtocolError
from trivium.types import event as ev
from trivium.types.event import Event
from trivium.wire.json import NULL
from trivium.wire.sse import Frame, Template


class WireEvent(msgspec.Struct, frozen=True):
    """An event of any type; absent members keep their defaults."""

    type: str
    response: WireResponse = WireResponse()
    item: msgspec.Raw = NULL
    output_index: int = 0
    content_index: int = 0
    summary_index: int = 0
    delta: Any = None
    arguments: Any = None
    annotation: WireAnnotation | None = None
    logprobs: list[dict[str, Any]] | None = None
    error: Any = None
    code: Any = None
    message: Any = None


decode_event = msgspec.json.Decoder(WireEvent).decode
"""One event's data. Raises what `wire.json.BROKEN` names."""

_TEXT = rb'[^"\\\x00-\x1f]*(?:\\["\\/bfnrt][^"\\\x00-\x1f]*)*'
_VARIES = re.compile(rb'("sequence_number":)\d+|("delta":")%b"|("obfuscation":")%b"' % (_TEXT, _TEXT))
_NOTHING = re.compile(rb"(?!)")


_SHAPE_BYTES_MAX = 2_000
_SHAPES_MAX = 32
"""So many are learned of a stream: each costs what a hundred events do, and some servers name an item anew in each."""


class Deltas(Template):
    """The shape of events that continue a text: their number differs too, and the text that hides its length."""

    __slots__ = ("_all", "_left", "_one")

    def __init__(self) -> None:
        self._left = _SHAPES_MAX
        super().__init__()

    def forget(self) -> None:
        self._one = self._all = _NOTHING

    def learn(self, raw: bytes, text: bytes = b"") -> bytes:
        if known := self._one.fullmatch(raw):
            return known[1]
        self.forget()
        found = [*_VARIES.finditer(raw)] if self._left and len(raw) < _SHAPE_BYTES_MAX else []
        said = [each[0][len(each[2]) : -1] for each in found if each[2]]
        if len(said) != 1:
            return b""
        self._left -= 1
        shape, at = b"", 0
        for each in found:
            number, delta, padding = each.groups()
            instead = number + rb"\d+" if number else delta + b'(%b)"' % _TEXT if delta else padding + _TEXT + b'"'
            shape, at = shape + re.escape(raw[at : each.start()]) + instead, each.end()
        shape += re.escape(raw[at:])
        self._one, self._all = re.compile(shape), re.compile(b"(?:%b)+" % shape)
        return said[0]

    def count(self, data: bytes) -> int:
        return data.count(b"\n\n") if self._all.fullmatch(data) else 0

    def texts(self, data: bytes) -> list[bytes]:
        return self._one.findall(data) if self._all.fullmatch(data) else []


FAILED = frozenset({"response.failed", "response.cancelled", "response.error", "error"})
ENDED = frozenset({"response.completed", "response.incomplete"})


def error_of(wire: WireEvent) -> UpstreamError:
    """The error of an event that ends a stream in failure."""
    said = {"message": wire.message, "code": wire.code}
    return error_in_band(wire.response.error or wire.error or said)


class Ledger:
    """Which items of an answer have begun and not ended: one that says that it is complete has none of them."""

    def __init__(self) -> None:
        self._open: set[int] = set()
        self._any = False

    def see(self, wire: WireEvent) -> UpstreamProtocolError | None:
        """What is wrong with an answer that ends here; one that was cut short may end inside an item."""
        if wire.type.startswith("response.output_item."):
            self._any = True
            (self._open.add if wire.type.endswith("added") else self._open.discard)(wire.output_index)
        if wire.type != "response.completed" or (self._any and not self._open):
            return None
        what = "before its last item had ended" if self._open else "without any output"
        return UpstreamProtocolError(f"The upstream ended its answer {what}.")


class ResponsesDecoder(SSEDecoder):
    """Reads one stream; unknown events are only signs of life. The terminal event alone makes an answer whole."""

    TEXT = b'"delta":"'

    def __init__(self) -> None:
        super().__init__()
        self._template = Deltas()
        self._texts = self._template.texts
        self._items = ItemReader()
        self._ledger = Ledger()
        self._begun = False
        self._parts: dict[tuple[int, str], int] = {}
        self._finished = False

    def _complete(self) -> bool:
        return self._finished

    def _frame(self, frame: Frame) -> list[Event]:
        wire = decode_event(frame.data)
        match wire.type:
            case "response.output_text.delta":
                return self._text(wire)
            case "response.function_call_arguments.delta":
                return self._arguments(wire, wire.delta)
            case "response.function_call_arguments.done" if self._items.is_new(wire.output_index, 0, "arguments"):
                return self._arguments(wire, wire.arguments)
            case "response.reasoning_text.delta":
                return [self._thought(wire, "thought", wire.content_index)]
            case "response.reasoning_summary_text.delta":
                return [self._thought(wire, "summary", wire.summary_index)]
            case "response.refusal.delta":
                self._items.is_new(wire.output_index, wire.content_index, "text")
                return [ev.RefusalDelta(str(wire.delta))]
            case "response.output_text.annotation.added" if wire.annotation is not None:
                self._items.is_new(wire.output_index, wire.content_index, "notes")
                block = self._items.block(wire.output_index, wire.content_index)
                return [ev.CitationDelta(citation=wire.annotation.citation, block=block)]
            case "response.output_item.added" | "response.output_item.done":
                item = read_item(wire.item)
                self._ledger.see(wire)
                events = self._items.begin if wire.type.endswith("added") else self._items.rest
                return events(item, wire.output_index) or [ev.Ping()]
            case kind if kind in ENDED:
                return self._terminal(wire)
            case kind if kind in FAILED:
                return self._fail(error_of(wire))
            case "response.created" | "response.in_progress" if not self._begun:
                self._begun = True
                return [start_of(wire.response)]
            case _:
                return [ev.Ping()]

    def _text(self, wire: WireEvent) -> list[Event]:
        index, part = wire.output_index, wire.content_index
        events: list[Event] = []
        if isinstance(wire.delta, str) and wire.delta:
            self._items.is_new(index, part, "text")
            events.append(ev.TextDelta(wire.delta, block=self._items.block(index, part)))
        if wire.logprobs:
            self._items.is_new(index, part, "logprobs")
            events.append(ev.LogprobsDelta(content=wire.logprobs))
        return events

    def _arguments(self, wire: WireEvent, text: Any) -> list[Event]:
        number = self._items.calls.get(wire.output_index)
        if number is None or not isinstance(text, str) or not text:
            return []
        self._items.is_new(wire.output_index, 0, "arguments")
        return [ev.ToolCallDelta(index=number, arguments=text)]

    def _thought(self, wire: WireEvent, kind: str, part: int) -> Event:
        """Parts of a thought are one text elsewhere."""
        index, text = wire.output_index, str(wire.delta)
        if self._parts.setdefault((index, kind), part) != part:
            self._parts[index, kind] = part
            text = SEPARATOR + text
        self._items.is_new(index, 0, kind)
        text, summary = (text, "") if kind == "thought" else ("", text)
        return ev.ReasoningDelta(text=text, summary=summary, block=index)

    def _terminal(self, wire: WireEvent) -> list[Event]:
        if (flaw := self._ledger.see(wire)) is not None:
            return self._fail(flaw)
        status = wire.type.removeprefix("response.")
        events: list[Event] = [finish_of(status, wire.response.reason, has_calls=bool(self._items.calls))]
        if wire.response.usage is not None and (usage := usage_of(wire.response.usage)) is not None:
            events.append(ev.UsageReport(usage))
        self._finished = True
        return events + self._end()
