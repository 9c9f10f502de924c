"""Tool calls of an answer while they are said, and their order on wires where one must end before the next begins."""

from __future__ import annotations

import re

from trivium.dialects.request import is_object
from trivium.types.event import ToolCallDelta, ToolCallStart
from trivium.types.message import ToolCall

_MARK = re.compile(r'[\\"{}\[\]]')


class SpokenCall:
    """A call with the arguments that it has said so far."""

    def __init__(self, start: ToolCallStart) -> None:
        self.start = start
        self.pieces: list[str] = []
        self._looked = 0
        self._depth = 0
        self._quoted = self._escaped = False
        self._verdict: bool | None = None

    @property
    def arguments(self) -> str:
        return "".join(self.pieces)

    @property
    def whole(self) -> ToolCall:
        start = self.start
        return ToolCall(id=start.id, name=start.name, arguments=self.arguments, signature=start.signature)

    def is_complete(self) -> bool:
        """Whether it has said a JSON object, after which nothing can follow. However often it is asked, each piece is
        looked at once: arguments may be long, and others may speak between their pieces."""
        while self._verdict is None and self._looked < len(self.pieces):
            self._look(self.pieces[self._looked])
            self._looked += 1
        return self._verdict is True

    def _look(self, piece: str) -> None:
        skipped = 0 if self._escaped else -1
        for found in _MARK.finditer(piece):
            at, mark = found.start(), found[0]
            if at == skipped:
                continue
            if mark == "\\":
                skipped = at + 1
            elif mark == '"':
                self._quoted = not self._quoted
            elif not self._quoted:
                self._depth += 1 if mark in "{[" else -1
                if self._depth == 0:
                    self._verdict = is_object("".join(self.pieces[: self._looked + 1]))
                    return
        self._escaped = skipped == len(piece)


class CallOrder:
    """Lets the tool calls of an answer follow each other.

    A call that begins while another still speaks waits until the first has said a complete JSON object, or until `rest`
    is asked for.
    """

    def __init__(self) -> None:
        self._open: SpokenCall | None = None
        self._waiting: dict[int, SpokenCall] = {}

    def add(self, event: ToolCallStart | ToolCallDelta) -> list[ToolCallStart | ToolCallDelta] | None:
        """What can be said now; None for arguments of a call that did not begin or that has ended."""
        if isinstance(event, ToolCallStart):
            if self._open is None:
                self._open = SpokenCall(event)
                return [event]
            self._waiting[event.index] = SpokenCall(event)
            return []
        if self._open is not None and event.index == self._open.start.index:
            self._open.pieces.append(event.arguments)
            return [event]
        if event.index not in self._waiting:
            return None if event.arguments else []
        self._waiting[event.index].pieces.append(event.arguments)
        if self._open is not None and not self._open.is_complete():
            return []
        self._open = self._waiting.pop(next(iter(self._waiting)))
        return _said(self._open)

    def rest(self) -> list[ToolCallStart | ToolCallDelta]:
        """All that waits; after it no call is open."""
        waiting, self._open, self._waiting = self._waiting, None, {}
        return [event for call in waiting.values() for event in _said(call)]


def _said(call: SpokenCall) -> list[ToolCallStart | ToolCallDelta]:
    said = call.arguments
    return [call.start, *([ToolCallDelta(index=call.start.index, arguments=said)] if said else ())]
