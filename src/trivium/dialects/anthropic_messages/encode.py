"""Streams to a caller: canonical events as server-sent events of the Messages API.

https://docs.claude.com/en/api/messages-streaming

Blocks of this API come one after the other, numbered from 0, each opened and closed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from trivium.dialects.anthropic_messages.answer import message_object
from trivium.dialects.anthropic_messages.errors import encode_error
from trivium.dialects.anthropic_messages.wire import (
    REASONING_FORMAT,
    stop_of,
    wire_citation,
    wire_usage,
)
from trivium.dialects.base import AnswerContext
from trivium.dialects.calls import CallOrder
from trivium.dialects.request import Losses
from trivium.errors import TriviumError
from trivium.types import event as ev
from trivium.types.event import Event
from trivium.types.usage import Usage

_json = msgspec.json.encode

MESSAGE_STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
_PING = b'event: ping\ndata: {"type":"ping"}\n\n'
_DELTA_END = b"}}\n\n"


def _frame(kind: bytes, value: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind, _json(value))


class MessagesEncoder:
    """Writes one stream. `End` is what sends the stop reason and the usage, which may come after the finish."""

    def __init__(self, context: AnswerContext) -> None:
        self._context = context
        self._out: list[bytes] = []
        self._losses = Losses()
        self._is_started = False
        self._blocks = 0
        self._open: tuple[str, int] | None = None
        self._prefix = b""
        self._format: str | None = None
        self._calls = CallOrder()
        self._is_refused = False
        self._finish: ev.Finish | None = None
        self._usage: Usage | None = None

    @property
    def losses(self) -> tuple[str, ...]:
        return tuple(self._losses)

    def encode(self, events: Iterable[Event]) -> bytes:
        """Frames for these events, in one piece."""
        for event in events:
            if getattr(event, "choice", 0):
                self._losses.add("n")
                continue
            if type(event) is ev.TextDelta:
                self._text(event.text, event.block)
            elif type(event) is ev.ReasoningDelta:
                self._reasoning(event)
            elif type(event) is ev.ToolCallStart or type(event) is ev.ToolCallDelta:
                self._call_event(event)
            elif type(event) is ev.RefusalDelta:
                self._is_refused = True
                self._text(event.text, -1)
            elif type(event) is ev.CitationDelta:
                self._block("text", event.block)
                self._delta({"type": "citations_delta", "citation": wire_citation(event.citation)})
            elif type(event) is ev.Start:
                self._start(event.usage)
            elif type(event) is ev.Finish:
                self._close()
                self._finish = event
            elif type(event) is ev.UsageReport:
                self._usage = event.usage
            elif type(event) is ev.End:
                self._end()
            elif type(event) is ev.Ping:
                if self._is_started:
                    self._out.append(_PING)
            elif type(event) is ev.Failure:
                self._out.append(self.fail(event.error))
            elif type(event) is ev.AudioDelta:
                self._losses.add("audio")
            elif type(event) is ev.LogprobsDelta:
                self._losses.add("logprobs")
        out = b"".join(self._out)
        self._out.clear()
        return out

    def around(self, choice: int, block: int) -> tuple[bytes, bytes] | None:
        """What stands around a text that continues the open block."""
        return (self._prefix + b'"', b'"' + _DELTA_END) if not choice and self._open == ("text", block) else None

    def wrote(self, text: bytes) -> None:
        """Nothing here counts it."""

    def fail(self, error: TriviumError) -> bytes:
        """The in-band error; nothing follows it."""
        return b"event: error\ndata: %b\n\n" % encode_error(error, self._context.id)

    def _start(self, usage: Usage | None) -> None:
        if self._is_started:
            return
        self._is_started = True
        self._usage = usage
        shown = usage or Usage(input_tokens=self._context.input_tokens_estimate)
        message = message_object(self._context, [], shown)
        self._out.append(_frame(b"message_start", {"type": "message_start", "message": message}))

    def _text(self, text: str, block: int) -> None:
        if not text:
            return
        if self._open != ("text", block):
            self._block("text", block)
        self._out += (self._prefix, _json(text), _DELTA_END)

    def _block(self, kind: str, key: int) -> None:
        """Make the text or thinking block `key` the open one; any other is closed, waiting calls included."""
        if self._open == (kind, key):
            return
        self._close()
        if kind == "text":
            self._open_block({"type": "text", "text": "", "citations": None}, b"text_delta", b"text")
        else:
            self._open_block({"type": "thinking", "thinking": "", "signature": ""}, b"thinking_delta", b"thinking")
        self._open = (kind, key)

    def _open_block(self, block: dict[str, Any], delta: bytes, member: bytes) -> None:
        """Opens a block and makes the constant bytes before each of its deltas' texts."""
        self._start(None)
        start = {"type": "content_block_start", "index": self._blocks, "content_block": block}
        self._out.append(_frame(b"content_block_start", start))
        self._prefix = (
            b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":{"type":"%b","%b":'
        ) % (self._blocks, delta, member)

    def _delta(self, delta: dict[str, Any]) -> None:
        event = {"type": "content_block_delta", "index": self._blocks, "delta": delta}
        self._out.append(_frame(b"content_block_delta", event))

    def _close_block(self) -> None:
        stop = {"type": "content_block_stop", "index": self._blocks}
        self._out.append(_frame(b"content_block_stop", stop))
        self._blocks += 1
        self._open = None

    def _close(self) -> None:
        """Close what is open, and say what waits."""
        if self._open is not None:
            self._close_block()
        for event in self._calls.rest():
            self._call(event)
        if self._open is not None:
            self._close_block()

    def _reasoning(self, event: ev.ReasoningDelta) -> None:
        """Foreign signatures and encrypted texts stay out: a caller would send them back to who cannot verify them."""
        is_own = (event.format or self._format) in {None, REASONING_FORMAT}
        if not is_own and (event.signature or event.encrypted):
            self._losses.add("reasoning.signature" if event.signature else "reasoning.encrypted")
        text = event.text or event.summary
        if text or (event.signature and is_own):
            self._block("thinking", event.block)
        self._format = event.format or self._format
        if text:
            self._out += (self._prefix, _json(text), _DELTA_END)
        if event.signature and is_own:
            self._delta({"type": "signature_delta", "signature": event.signature})
        if event.encrypted is not None and is_own:
            self._close()
            self._open_block({"type": "redacted_thinking", "data": event.encrypted}, b"", b"")
            self._close_block()

    def _call_event(self, event: ev.ToolCallStart | ev.ToolCallDelta) -> None:
        ordered = self._calls.add(event)
        self._losses.add("tool_call.arguments", when=ordered is None)
        for said in ordered or ():
            self._call(said)

    def _call(self, event: ev.ToolCallStart | ev.ToolCallDelta) -> None:
        if isinstance(event, ev.ToolCallDelta):
            if event.arguments:
                self._out += (self._prefix, _json(event.arguments), _DELTA_END)
            return
        if self._open is not None:
            self._close_block()
        self._losses.add("tool_call.signature", when=event.signature)
        block: dict[str, Any] = {"type": "tool_use", "id": event.id, "name": event.name, "input": {}}
        self._open_block(block, b"input_json_delta", b"partial_json")
        self._open = ("tool_use", event.index)

    def _end(self) -> None:
        self._start(None)
        self._close()
        finish = self._finish
        stop = stop_of(finish.reason, finish.native, finish.stop_sequence, refused=self._is_refused) if finish else None
        usage = self._usage or Usage(input_tokens=self._context.input_tokens_estimate)
        event = {
            "type": "message_delta",
            "delta": {"stop_reason": stop, "stop_sequence": finish.stop_sequence if finish else None},
            "usage": wire_usage(usage),
        }
        self._out += (_frame(b"message_delta", event), MESSAGE_STOP)
