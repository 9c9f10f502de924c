"""Streams of an upstream: server-sent events of the Responses API, as canonical events, or lightly while they pass.

https://platform.openai.com/docs/api-reference/responses-streaming
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from trivium.dialects.base import Passed
from trivium.dialects.common import logprobs_of
from trivium.dialects.openai import error_in_band
from trivium.dialects.openai_responses.answer import WireResponse, start_of
from trivium.dialects.openai_responses.items import SEPARATOR, ItemReader, id_of, is_call, read_item
from trivium.dialects.openai_responses.wire import WireAnnotation, finish_of, usage_of
from trivium.dialects.stream import SSEDecoder, SSEMeter
from trivium.errors import UpstreamError, UpstreamProtocolError
from trivium.types import event as ev
from trivium.types.event import Event
from trivium.wire.json import BROKEN, NULL
from trivium.wire.sse import BOM, Frame, Template, read_frame


class WireEvent(msgspec.Struct, frozen=True):
    """An event of any type; absent members keep their defaults."""

    type: str
    sequence_number: Any = None
    response: WireResponse = WireResponse()
    item: msgspec.Raw = NULL
    output_index: int = 0
    content_index: int = 0
    summary_index: int = 0
    delta: Any = None
    arguments: Any = None
    annotation: WireAnnotation | None = None
    logprobs: Any = None
    error: Any = None
    code: Any = None
    message: Any = None

    @property
    def text(self) -> str:
        return self.delta if isinstance(self.delta, str) else ""

    @property
    def number(self) -> int:
        """Its place in the stream; -1 where that is not told."""
        number = self.sequence_number
        return number if isinstance(number, int) and 0 <= number < 10**18 else -1


_decode = msgspec.json.Decoder(WireEvent).decode

_TEXT = rb'[^"\\\x00-\x1f]*(?:\\["\\/bfnrt][^"\\\x00-\x1f]*)*'
_NUMBER = rb"(?:0|[1-9]\d{0,17})"
_VARIES = re.compile(
    rb'"(?:sequence_number":(?P<number>%b)|delta":"(?P<text>%b)"|obfuscation":"(?P<padding>%b)")'
    % (_NUMBER, _TEXT, _TEXT)
)
_text, _number = re.compile(_TEXT).match, re.compile(_NUMBER).match

_SHAPE_BYTES_MAX = 2_000


class Deltas(Template):
    """The shape of events that continue a text: their number differs too, and the text that hides its length."""

    __slots__ = ("_end", "_shape", "number")

    def __init__(self) -> None:
        self.number = -1
        """That of the last event which was seen to have the shape."""
        super().__init__()

    def forget(self) -> None:
        self._shape: list[tuple[bytes, str | None]] = []
        self._end = b"\x00"  # ends no frame

    def learn(self, raw: bytes, text: bytes = b"") -> bytes:
        self.forget()
        found = [*_VARIES.finditer(raw)] if len(raw) < _SHAPE_BYTES_MAX else []
        said = [each["text"] for each in found if each.lastgroup == "text"]
        if len(said) != 1:
            return b""
        at = 0
        for each in found:
            kind = each.lastgroup
            self._shape.append((raw[at : each.start(kind or 0)], kind))
            at = each.end(kind or 0)
        self._end = raw[at:]
        return said[0]

    def count(self, data: bytes) -> int:
        return len(self.texts(data))

    def texts(self, data: bytes) -> list[bytes]:
        texts: list[bytes] = []
        at, size, number, shape, end = 0, len(data), b"", self._shape, self._end
        while at < size:
            for before, kind in shape:
                if not data.startswith(before, at):
                    return []
                start = at + len(before)
                found = (_number if kind == "number" else _text)(data, start)
                if found is None:
                    return []
                at = found.end()
                if kind == "text":
                    texts.append(data[start:at])
                elif kind == "number":
                    number = data[start:at]
            if not data.startswith(end, at):
                return []
            at += len(end)
        if number:
            self.number = int(number)
        return texts


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
        wire = _decode(frame.data)
        match wire.type:
            case "response.output_text.delta":
                return self._text(wire)
            case "response.function_call_arguments.delta":
                return self._arguments(wire, wire.text)
            case "response.function_call_arguments.done":
                return self._arguments(wire, wire.arguments, whole=True)
            case "response.reasoning_text.delta" if wire.text:
                return [self._thought(wire, "thought", wire.content_index)]
            case "response.reasoning_summary_text.delta" if wire.text:
                return [self._thought(wire, "summary", wire.summary_index)]
            case "response.refusal.delta" if wire.text:
                self._items.is_new(wire.output_index, wire.content_index, "text")
                return [ev.RefusalDelta(wire.text)]
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
        if wire.text:
            self._items.is_new(index, part, "text")
            events.append(ev.TextDelta(wire.text, block=self._items.block(index, part)))
        if logprobs := logprobs_of(wire.logprobs):
            self._items.is_new(index, part, "logprobs")
            events.append(ev.LogprobsDelta(content=logprobs))
        return events

    def _arguments(self, wire: WireEvent, text: Any, *, whole: bool = False) -> list[Event]:
        """Those of a call that never began come with its end."""
        number = self._items.calls.get(wire.output_index)
        if number is None or not isinstance(text, str) or not text:
            return []
        is_new = self._items.is_new(wire.output_index, 0, "arguments")
        return [ev.ToolCallDelta(index=number, arguments=text)] if is_new or not whole else []

    def _thought(self, wire: WireEvent, kind: str, part: int) -> Event:
        """Parts of a thought are one text elsewhere."""
        index, text = wire.output_index, wire.text
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


_CONTENT = re.compile(r"response\.(output_text|refusal|function_call_arguments|custom_tool_call_input)\.delta")


class ResponsesMeter(SSEMeter):
    """After the first content, events that only continue a text are not looked at; every other frame is decoded."""

    def __init__(self, caller_wants_usage: bool = True) -> None:
        del caller_wants_usage
        super().__init__(b"")
        self._template = Deltas()
        self._unread = self.ordinary = self._template.count
        self._ledger = Ledger()
        self._calls = False
        self._next = 0
        self._item = NULL

    @property
    def passed(self) -> Passed:
        return Passed(self.upstream_id, max(self._next, self._template.number + 1), id_of(self._item))

    def _finished(self) -> bool:
        return False  # the terminal event alone says how an answer ended

    def _passes(self, raw: bytes) -> bool:
        frame = read_frame(raw.removeprefix(BOM))
        if frame is None:
            return True
        try:
            wire = _decode(frame.data)
        except BROKEN:
            self.malformed += 1
            return False
        self._look(wire)
        if self.error is not None:
            self._template.forget()
            return False
        self._next = wire.number + 1 if wire.number >= 0 else self.passed.events + 1
        if self.content and wire.type == "response.output_text.delta" and not wire.logprobs:
            self._template.learn(raw)
        return True

    def _look(self, wire: WireEvent) -> None:
        self.upstream_id = self.upstream_id or wire.response.id or ""
        self.error = self._ledger.see(wire)
        if wire.type == "response.output_item.added":
            self._item = wire.item
        if wire.type == "response.output_item.added" and is_call(wire.item):
            self._calls = self.content = True
        elif not self.content and _CONTENT.fullmatch(wire.type):
            self.content = bool(wire.delta)
        elif wire.type in FAILED:
            self.error = error_of(wire)
        elif wire.type in ENDED:
            status = wire.type.removeprefix("response.")
            self.finish_reason = finish_of(status, wire.response.reason, has_calls=self._calls).reason
            self.usage = usage_of(wire.response.usage) if wire.response.usage else None
            self.complete = self.error is None
