"""Streams to a caller: canonical events as server-sent events of the Responses API.

https://platform.openai.com/docs/api-reference/responses-streaming

Items of this API come one after the other, each opened and closed, and so do the parts of a message and of a thought.
The last event says the whole answer once more.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from trivium.dialects.base import AnswerContext, Passed
from trivium.dialects.calls import CallOrder
from trivium.dialects.common import Json
from trivium.dialects.encoder import Encoder
from trivium.dialects.error_types import ERROR_TYPES, error_type, told
from trivium.dialects.openai_responses.answer import call_status, outcome, response_object
from trivium.dialects.openai_responses.items import message_item, reasoning_item
from trivium.dialects.openai_responses.tools import call_item, stand_ins
from trivium.dialects.openai_responses.wire import REASONING_FORMAT, status_of, wire_citation, wire_logprobs
from trivium.errors import TriviumError
from trivium.types import event as ev
from trivium.types.event import Event
from trivium.types.message import Reasoning, ToolCall

_json = msgspec.json.encode

_CODES = {
    "upstream_quota_exhausted": "insufficient_quota",
    "context_length_exceeded": "context_length_exceeded",
}
"""The codes by which callers of this API know what to do, where the table of error types has coarser ones."""


class _Kind(NamedTuple):
    """A kind of part: the item that it is in and its list there, its text's name, and the names of its events."""

    item: str
    place: str
    text: str
    events: str
    part: str


_PART, _SUMMARY = "response.content_part", "response.reasoning_summary"
_KINDS = {
    "output_text": _Kind("message", "content", "text", "response.output_text", _PART),
    "refusal": _Kind("message", "content", "refusal", "response.refusal", _PART),
    "reasoning_text": _Kind("reasoning", "content", "text", "response.reasoning_text", _PART),
    "summary_text": _Kind("reasoning", "summary", "text", f"{_SUMMARY}_text", f"{_SUMMARY}_part"),
}


class ResponsesEncoder(Encoder):
    """Writes one stream. `End` is what sends the last event, since the usage may come after the finish."""

    def __init__(self, context: AnswerContext) -> None:
        super().__init__(context)
        identity, self._sequence, _ = context.passed
        self._response = response_object(context) | ({"id": identity} if identity else {})
        self._tools = stand_ins(context.request)
        self._out: list[bytes] = []
        self._started = False
        self._output: list[Json] = []
        self._item: Json | None = None
        self._part: Json | None = None
        self._key = ("", 0)
        """The kind of the open part, and its block or that of the open thought."""
        self._where: Json = {}
        self._pieces: list[str] = []
        self._written = 0
        self._around = (b"", b"", b"")
        self._calls = CallOrder()
        self._call: ev.ToolCallStart | None = None
        self._format: str | None = None
        self._refused = False
        self._finish: ev.Finish | None = None

    def encode(self, events: Iterable[Event]) -> bytes:
        """Frames for these events, in one piece."""
        for event in events:
            if getattr(event, "choice", 0):
                self._losses.add("n")
            elif type(event) is ev.TextDelta:
                self._say("output_text", event.block, event.text)
            else:
                self._other(event)
        out = b"".join(self._out)
        self._out.clear()
        return out

    def fail(self, error: TriviumError) -> bytes:
        """The failed response; nothing follows it."""
        kind = error_type(error)
        code = _CODES.get(error.kind, ERROR_TYPES[kind].responses)
        wire = {"code": code, "message": str(error), "param": error.param, "type": error.kind, **told(error)}
        response = self._response | {"status": "failed", "error_type": kind, "error": wire, "output": self._output}
        return self._framed("response.failed", {"response": response})

    def resume(self, passed: Passed) -> None:
        """Go on where an upstream's own events ended, in the item that it had opened."""
        self._sequence = passed.events
        if self._item is None or not passed.item:
            return
        self._item["id"] = self._where["item_id"] = passed.item
        before, _, after = self._around
        self._around = before, b",%b," % _json(self._where)[1:-1] + b'"delta":', after

    def _other(self, event: Event) -> None:
        match event:
            case ev.ReasoningDelta():
                self._reasoning(event)
            case ev.ToolCallStart() | ev.ToolCallDelta():
                ordered = self._calls.add(event)
                self._losses.add("tool_call.arguments", when=ordered is None)
                for said in ordered or ():
                    self._call_event(said)
            case ev.RefusalDelta():
                self._refused = True
                self._say("refusal", 0, event.text)
            case ev.CitationDelta():
                self._cite(event)
            case ev.LogprobsDelta():
                self._logprobs(event)
            case ev.Start():
                self._usage = event.usage
                self._start()
            case ev.Finish():
                self._finish = event
                self._close()
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

    def _framed(self, kind: str, fields: Json) -> bytes:
        name, sequence = kind.encode(), self._sequence
        self._sequence += 1
        return b'event: %b\ndata: {"type":"%b","sequence_number":%d,%b\n\n' % (name, name, sequence, _json(fields)[1:])

    def _send(self, kind: str, **fields: Any) -> None:
        self._out.append(self._framed(kind, fields))

    def _start(self) -> None:
        if not self._started:
            self._started = True
            self._send("response.created", response=self._response)
            self._send("response.in_progress", response=self._response)

    def _end(self) -> None:
        self._start()
        self._close()
        reason = self._finish.reason if self._finish else None
        response = self._response | outcome(reason, self._usage, refused=self._refused) | {"output": self._output}
        self._send(f"response.{response['status']}", response=response)

    # ---- items

    @property
    def _identity(self) -> str:
        return f"{self._response['id']}_{len(self._output)}"

    @property
    def _status(self) -> str:
        """That of the answer, as far as it is known."""
        return status_of(self._finish.reason if self._finish else None, refused=self._refused)[0]

    def _open_item(self, item: Json) -> None:
        self._start()
        self._item = item
        self._send("response.output_item.added", output_index=len(self._output), item=item)

    def _end_item(self, item: Json) -> None:
        self._send("response.output_item.done", output_index=len(self._output), item=item)
        self._output.append(item)
        self._item = None

    def _close_item(self) -> None:
        if self._call is not None:
            self._close_call(self._call)
        elif self._item is not None:
            self._close_part()
            cut = self._status != "completed" and self._item["type"] == "message"
            self._end_item(self._item | {"status": "incomplete" if cut else "completed"})

    def _close(self) -> None:
        """Close what is open, and say what waits."""
        self._close_item()
        for event in self._calls.rest():
            self._call_event(event)
        self._close_item()

    # ---- calls

    def _call_event(self, event: ev.ToolCallStart | ev.ToolCallDelta) -> None:
        """A function's call is told as it comes, any other once it is known whole."""
        if isinstance(event, ev.ToolCallStart):
            self._losses.add("tool_call.signature", when=event.signature)
            self._close_item()
            self._call, self._pieces, found = event, [], self._tools.get(event.name)
            if found is None or found.type == "function":
                call = ToolCall(id=event.id, name=event.name)
                self._open_item(call_item(call, found, self._identity, "in_progress") | {"arguments": ""})
        elif event.arguments:
            self._pieces.append(event.arguments)
            if self._item is not None:
                self._argue("function_call_arguments.delta", self._item, delta=event.arguments)

    def _argue(self, kind: str, item: Json, **fields: str) -> None:
        self._send(f"response.{kind}", item_id=item["id"], output_index=len(self._output), **fields)

    def _close_call(self, start: ev.ToolCallStart) -> None:
        """Say the call whole; one that was cut short is not said to be done."""
        arguments, self._call = "".join(self._pieces), None
        call = ToolCall(id=start.id, name=start.name, arguments=arguments)
        status = call_status(arguments, self._status)
        item = call_item(call, self._tools.get(start.name), self._identity, status)
        if status == "incomplete":
            self._output.append(item)
            self._item = None
            return
        if item["type"] == "custom_tool_call":
            self._open_item(item | {"input": ""})
            self._argue("custom_tool_call_input.delta", item, delta=item["input"])
            self._argue("custom_tool_call_input.done", item, input=item["input"])
        else:
            if not arguments:
                self._argue("function_call_arguments.delta", item, delta=item["arguments"])
            self._argue("function_call_arguments.done", item, arguments=item["arguments"])
        self._end_item(item)

    # ---- parts

    def _say(self, kind: str, block: int, text: str) -> None:
        if not text:
            return
        if self._part is None or self._key != (kind, block):
            self._open_part(kind, block)
        self._pieces.append(text)
        self._written += len(text)
        before, middle, after = self._around
        self._out.append(b"%b%d%b%b%b" % (before, self._sequence, middle, _json(text), after))
        self._sequence += 1

    def _open_part(self, kind: str, block: int) -> None:
        """Make a new part the open one, in its item: texts and refusals share a message, a thought has its own item."""
        names = _KINDS[kind]
        self._close_part()
        if names.item == "reasoning":
            self._think(block, None)
        elif self._item is None or self._item["type"] != names.item:
            self._close()
            self._open_item(message_item(self._identity, [], "in_progress"))
        item = self._item or {}
        parts: list[Json] = item.setdefault(names.place, [])
        part = self._part = {"type": kind, names.text: ""}
        if kind == "output_text":
            part |= {"annotations": [], "logprobs": []}
        index = "summary_index" if names.place == "summary" else "content_index"
        self._where = {"item_id": item["id"], "output_index": len(self._output), index: len(parts)}
        self._send(f"{names.part}.added", **self._where, part=part)
        parts.append(part)
        self._key, self._pieces, self._written = (kind, block), [], 0
        event = f"{names.events}.delta".encode()
        self._around = (
            b'event: %b\ndata: {"type":"%b","sequence_number":' % (event, event),
            b",%b," % _json(self._where)[1:-1] + b'"delta":',
            b',"logprobs":[]}\n\n' if kind == "output_text" else b"}\n\n",
        )

    def _close_part(self) -> None:
        if self._part is None:
            return
        names, part = _KINDS[self._key[0]], self._part
        part[names.text] = "".join(self._pieces)
        told = {name: part[name] for name in (names.text, "logprobs") if name in part}
        self._send(f"{names.events}.done", **self._where, **told)
        self._send(f"{names.part}.done", **self._where, part=part)
        self._part = None

    def _text_part(self, block: int) -> Json:
        """The text that is open, or else a new one."""
        if self._part is None or self._key[0] != "output_text":
            self._open_part("output_text", block)
        return self._part or {}

    def _cite(self, event: ev.CitationDelta) -> None:
        notes = self._text_part(event.block)["annotations"]
        self._losses.add("citations.quote", when=event.citation.quote)
        note = wire_citation(event.citation, self._written)
        self._send("response.output_text.annotation.added", **self._where, annotation_index=len(notes), annotation=note)
        notes.append(note)

    def _logprobs(self, event: ev.LogprobsDelta) -> None:
        told = wire_logprobs(event.content)
        self._text_part(0)["logprobs"] += told
        self._send("response.output_text.delta", **self._where, delta="", logprobs=told)

    # ---- thoughts

    def _reasoning(self, event: ev.ReasoningDelta) -> None:
        """What only another API can read stays out: a caller would send it back to one that cannot."""
        own = (event.format or self._format) in {None, REASONING_FORMAT}
        self._format = event.format or self._format
        self._losses.add("reasoning.signature", when=event.signature)
        self._losses.add("reasoning.encrypted", when=event.encrypted and not own)
        if own and (event.id is not None or event.encrypted is not None):
            thought = self._think(event.block, event.id)
            thought["encrypted_content"] = event.encrypted or thought["encrypted_content"]
        self._say("reasoning_text", event.block, event.text)
        self._say("summary_text", event.block, event.summary)

    def _think(self, block: int, identity: str | None) -> Json:
        """The item of a thought, which is opened if it is not open."""
        if self._item is None or self._item["type"] != "reasoning" or self._key[1] != block:
            self._close()
            thought = reasoning_item(Reasoning(id=identity), self._identity, self._losses)
            self._open_item(thought | {"status": "in_progress"})
            self._key = ("", block)
        return self._item or {}
