"""Streams of this API: lines of JSON, of which the last one is `done`."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from trivium.dialects.base import AnswerContext
from trivium.dialects.calls import SpokenCall
from trivium.dialects.encoder import Encoder
from trivium.dialects.ollama.answer import (
    Shape,
    call_objects,
    end_events,
    ending,
    finish_of,
    head_of,
    line_events,
    lose_signature,
    seconds_of,
    usage_of,
)
from trivium.dialects.ollama.errors import encode_error, error_in_band
from trivium.dialects.ollama.wire import decode_line
from trivium.dialects.stream import NDJSONDecoder, NDJSONMeter
from trivium.errors import TriviumError
from trivium.types import event as ev
from trivium.types.event import Event
from trivium.types.usage import Usage
from trivium.wire.json import BROKEN
from trivium.wire.ndjson import PlainLines

_encode = msgspec.json.encode

_HEAD = rb'\{"model":"[^"\\\x00-\x1f]*+","created_at":"[^"\\\x00-\x1f]*+",'
CHAT_LINES = PlainLines(_HEAD + rb'"message":\{"role":"assistant","content":"', rb'"\},"done":false\}')
PROMPT_LINES = PlainLines(_HEAD + rb'"response":"', rb'","done":false\}')


class LineDecoder(NDJSONDecoder):
    """Reads one stream of either form; without a line that is `done` it was cut."""

    def __init__(self, plain: PlainLines) -> None:
        super().__init__(plain)
        self._started = False
        self._calls = 0
        self._done = False

    def _complete(self) -> bool:
        return self._done

    def _frame(self, frame: bytes) -> list[Event]:
        line = decode_line(frame)
        if line.error is not None:
            return self._fail(error_in_band(line.error, line.code))
        events = line_events(line, self._calls)
        self._calls += len(line.spoken.tool_calls or ())
        if not self._started:
            self._started = True
            events.insert(0, ev.Start(model=line.model or "", created=seconds_of(line.created_at)))
        if line.done:
            self._done = True
            events += end_events(line, self._calls) + self._end()
        return events or [ev.Ping()]


class LineEncoder(Encoder):
    """Writes one stream. Calls are whole on this wire, so that they wait for the finish."""

    def __init__(self, shape: Shape, context: AnswerContext) -> None:
        super().__init__(context)
        self._shape = shape
        self._head = head_of(context)
        self._before, _, self._after = self._line("\0").rpartition(b'"\\u0000"')
        self._calls: dict[int, SpokenCall] = {}
        self._finish: ev.Finish | None = None
        self._first_ns: int | None = None

    def encode(self, events: Iterable[Event]) -> bytes:
        """Lines for these events, in one piece."""
        out = b"".join([self._said(event) for event in events])
        if out and self._first_ns is None and self._context.elapsed_ns:
            self._first_ns = self._context.elapsed_ns()
        return out

    def around(self, choice: int, block: int) -> tuple[bytes, bytes] | None:
        """What stands around every text."""
        del block
        return None if choice else (self._before + b'"', b'"' + self._after)

    def fail(self, error: TriviumError) -> bytes:
        """The in-band error; nothing follows it."""
        return encode_error(error, self._context.id) + b"\n"

    def _said(self, event: Event) -> bytes:
        if getattr(event, "choice", 0):
            self._losses.add("n")
            return b""
        match event:
            case ev.TextDelta(text=text) | ev.RefusalDelta(text=text):
                return b"%b%b%b" % (self._before, _encode(text), self._after) if text else b""
            case ev.ReasoningDelta():
                lose_signature(event, self._losses)
                thought = event.text or event.summary
                return self._line("", thinking=thought) if thought else b""
            case ev.ToolCallStart():
                self._calls[event.index] = SpokenCall(event)
            case ev.ToolCallDelta() if event.index in self._calls:
                self._calls[event.index].pieces.append(event.arguments)
            case ev.ToolCallDelta():
                self._losses.add("tool_call.arguments", when=event.arguments)
            case ev.LogprobsDelta():
                line = self._head | self._shape("", {}) | {"done": False, "logprobs": event.content}
                return _encode(line) + b"\n"
            case ev.UsageReport(usage=usage) | ev.Start(usage=Usage() as usage):
                self._usage = usage
            case ev.Finish():
                self._finish = event
                return self._called(event)
            case ev.End():
                return self._end()
            case ev.Failure():
                return self.fail(event.error)
            case _:
                self._losses.add("citations", when=isinstance(event, ev.CitationDelta))
                self._losses.add("audio", when=isinstance(event, ev.AudioDelta))
        return b""

    def _line(self, text: str, **more: object) -> bytes:
        return _encode(self._head | self._shape(text, more) | {"done": False}) + b"\n"

    def _called(self, finish: ev.Finish) -> bytes:
        objects = call_objects([call.whole for call in self._calls.values()], finish.reason, self._losses)
        return self._line("", tool_calls=objects) if objects else b""

    def _end(self) -> bytes:
        finish = self._finish.reason if self._finish else None
        last = ending(finish, self._usage, self._context, self._first_ns)
        return _encode(self._head | self._shape("", {}) | last) + b"\n"


class LineMeter(NDJSONMeter):
    """Reads one passed stream of either form."""

    def __init__(self, plain: PlainLines, _wants_usage: bool = True) -> None:
        super().__init__(plain)
        self._calls = 0

    def _passes(self, raw: bytes) -> bool:
        if not raw.strip():
            return False  # clients read each line as JSON
        try:
            line = decode_line(raw)
        except BROKEN:
            self.malformed += 1
            return False
        if line.error is not None:
            self.error = error_in_band(line.error, line.code)
            return False
        if line.message is None and line.response is None and not line.done:
            return False  # nor can they skip what is no answer
        spoken = line.spoken
        self._calls += len(spoken.tool_calls or ())
        if spoken.content or spoken.tool_calls:
            self._has_content()
        if line.done:
            self.complete, self.usage, self.finish_reason = True, usage_of(line), finish_of(line, self._calls)
        return True
