"""The light reader of a passed stream: usage, finish, error and end; plain deltas of a text pass unread."""

from __future__ import annotations

import re

from trivium.dialects.base import Passed
from trivium.dialects.openai_responses.items import id_of, is_call
from trivium.dialects.openai_responses.stream import ENDED, FAILED, Deltas, Ledger, WireEvent, decode_event, error_of
from trivium.dialects.openai_responses.wire import finish_of, usage_of
from trivium.dialects.stream import SSEMeter
from trivium.wire.json import BROKEN, NULL
from trivium.wire.sse import BOM, read_frame

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
            wire = decode_event(frame.data)
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
