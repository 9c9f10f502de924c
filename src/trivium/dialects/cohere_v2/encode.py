"""Streams to a caller: canonical events as server-sent events of the Chat API.

https://docs.cohere.com/v2/docs/streaming

Blocks of content and tool calls come one after the other, each numbered among its kind, opened and closed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from trivium.dialects.base import AnswerContext
from trivium.dialects.calls import CallOrder
from trivium.dialects.cohere_v2.errors import words
from trivium.dialects.cohere_v2.wire import TOOL_PLAN, finish_word, wire_citation, wire_logprobs, wire_usage
from trivium.dialects.common import Json
from trivium.dialects.encoder import Encoder
from trivium.dialects.request import given
from trivium.dialects.said import Said
from trivium.errors import TriviumError
from trivium.types import event as ev
from trivium.types.event import Event
from trivium.types.message import Citation

_json = msgspec.json.encode

_FAMILIES = {
    "text": ("content", b'{"content":{"text":', b"}}}}\n\n"),
    "thinking": ("content", b'{"content":{"thinking":', b"}}}}\n\n"),
    "tool_plan": ("tool-plan", b'{"tool_plan":', b"}}}\n\n"),
    "tool_call": ("tool-call", b'{"tool_calls":{"function":{"arguments":', b"}}}}}\n\n"),
}
"""What can be open: the family of its events, and what stands around the text of a delta, from `message` on."""
_BEGIN: Json = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}


def _frame(kind: str, **members: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), _json({"type": kind, **members}))


class ChatEncoder(Encoder):
    """Writes one stream. `End` is what sends the finish and the usage, which may come after it."""

    def __init__(self, context: AnswerContext) -> None:
        super().__init__(context)
        self._out: list[bytes] = []
        self._is_started = False
        self._counts = {"content": 0, "tool-plan": 0, "tool-call": 0}
        self._open: tuple[str, int] | None = None
        self._before = self._after = b""
        self._texts: dict[int, tuple[int, Said]] = {}
        """The blocks of text that were begun: their numbers, and what they have said, from which citations quote."""
        self._citations = 0
        self._calls = CallOrder()
        self._finish = ev.Finish(reason="error")

    def encode(self, events: Iterable[Event]) -> bytes:
        """Frames for these events, in one piece."""
        for event in events:
            if getattr(event, "choice", 0):
                self._losses.add("n")
                continue
            match event:
                case ev.TextDelta():
                    self._text(event.text, event.block)
                case ev.ReasoningDelta():
                    self._reasoning(event)
                case ev.ToolCallStart() | ev.ToolCallDelta():
                    ordered = self._calls.add(event)
                    self._losses.add("tool_call.arguments", when=ordered is None)
                    for said in ordered or ():
                        self._call(said)
                case ev.RefusalDelta():
                    self._text(event.text, -1)
                case ev.CitationDelta():
                    self._citation(event.citation, event.block)
                case ev.LogprobsDelta():
                    self._logprobs(event.content)
                case ev.Start():
                    self._start()
                    self._usage = event.usage
                case ev.Finish():
                    self._close()
                    self._finish = event
                case ev.UsageReport():
                    self._usage = event.usage
                case ev.End():
                    self._end()
                case ev.Failure():
                    self._out.append(self.fail(event.error))
                case ev.AudioDelta():
                    self._losses.add("audio")
                case _:
                    pass
        out = b"".join(self._out)
        self._out.clear()
        return out

    def around(self, choice: int, block: int) -> tuple[bytes, bytes] | None:
        """What stands around a text that continues the open block."""
        return (self._before + b'"', b'"' + self._after) if not choice and self._open == ("text", block) else None

    def wrote(self, text: bytes) -> None:
        if self._open is not None:
            self._texts[self._open[1]][1].add(text)

    def fail(self, error: TriviumError) -> bytes:
        """The in-band error, which ends a stream as an answer does."""
        delta = {"error": str(error), "finish_reason": "ERROR"} | words(error)
        return _frame("message-end", id=self._context.stream_id, delta=delta)

    def _start(self) -> None:
        if not self._is_started:
            self._is_started = True
            self._out.append(_frame("message-start", id=self._context.id, delta={"message": _BEGIN}))

    def _text(self, text: str, block: int) -> None:
        if text:
            self._text_block(block)[1].add(text)
            self._out += (self._before, _json(text), self._after)

    def _text_block(self, block: int) -> tuple[int, Said]:
        """The block, open; any other is closed, and a block that was closed begins again as a new one."""
        if self._open != ("text", block):
            self._close()
            self._begin("text", block, {"content": {"type": "text", "text": ""}})
            self._texts[block] = self._counts["content"], Said()
        return self._texts[block]

    def _reasoning(self, event: ev.ReasoningDelta) -> None:
        """Thinking is shown wherever it comes from; signatures and seals have no place here."""
        self._losses.add("reasoning.signature", when=event.signature)
        self._losses.add("reasoning.encrypted", when=event.encrypted)
        text, kind = event.text or event.summary, "tool_plan" if event.format == TOOL_PLAN else "thinking"
        if not text:
            return
        if self._open != (kind, event.block):
            self._close()
            self._begin(kind, event.block, {"content": {"type": "thinking", "thinking": ""}})
        self._out += (self._before, _json(text), self._after)

    def _call(self, event: ev.ToolCallStart | ev.ToolCallDelta) -> None:
        if isinstance(event, ev.ToolCallStart):
            self._losses.add("tool_call.signature", when=event.signature)
            self._end_block()
            call = {"id": event.id, "type": "function", "function": {"name": event.name, "arguments": ""}}
            self._begin("tool_call", event.index, {"tool_calls": call})
        elif event.arguments:
            self._out += (self._before, _json(event.arguments), self._after)

    def _begin(self, kind: str, key: int, message: Json) -> None:
        """Opens a block, and makes the constant bytes around each of its deltas' texts. A plan has no beginning."""
        self._start()
        family, before, self._after = _FAMILIES[kind]
        index = self._counts[family]
        numbered = b"" if kind == "tool_plan" else b'"index":%d,' % index
        name = family.encode()
        head = b'event: %b-delta\ndata: {"type":"%b-delta",%b"delta":{"message":%b'
        self._before = head % (name, name, numbered, before)
        self._open = (kind, key)
        if kind != "tool_plan":
            self._out.append(_frame(f"{family}-start", index=index, delta={"message": message}))

    def _end_block(self) -> None:
        if self._open is None:
            return
        family = _FAMILIES[self._open[0]][0]
        if family != "tool-plan":
            self._out.append(_frame(f"{family}-end", index=self._counts[family]))
        self._counts[family] += 1
        self._open = None

    def _close(self) -> None:
        """Close what is open, and say the calls that wait."""
        self._end_block()
        for event in self._calls.rest():
            self._call(event)
        self._end_block()

    def _citation(self, citation: Citation, block: int) -> None:
        cited = wire_citation(citation, *(self._texts.get(block) or self._text_block(block)))
        number = self._citations
        self._out.append(_frame("citation-start", index=number, delta={"message": {"citations": cited}}))
        self._out.append(_frame("citation-end", index=number))
        self._citations += 1

    def _logprobs(self, content: list[Json]) -> None:
        """They ride on deltas of a text, here on empty ones behind what they are about."""
        is_text = self._open is not None and self._open[0] == "text"
        self._losses.add("logprobs", when=not is_text)
        for said in content if is_text else ():
            self._losses.add("logprobs.top_logprobs", when=said.get("top_logprobs"))
            delta = {"message": {"content": {"text": ""}}}
            index = self._counts["content"]
            self._out.append(_frame("content-delta", index=index, delta=delta, logprobs=wire_logprobs(said)))

    def _end(self) -> None:
        self._start()
        self._close()
        finish = self._finish
        self._losses.add("finish_reason", when=finish.reason == "content_filter")
        word = finish_word(finish.reason, finish.native, finish.stop_sequence)
        delta = {"finish_reason": word} | given(usage=self._usage and wire_usage(self._usage))
        self._out.append(_frame("message-end", delta=delta))
