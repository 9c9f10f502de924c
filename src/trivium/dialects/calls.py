"""The order of tool calls in an answer, for wires on which one must end before the next begins."""

from __future__ import annotations

import msgspec

from trivium.dialects.request import is_object
from trivium.types.event import ToolCallDelta, ToolCallStart


class _Call(msgspec.Struct):
    """A tool call that has not ended, with the arguments that it has said (and that wait with it, if it waits)."""

    start: ToolCallStart
    arguments: list[str] = []

    def is_complete(self) -> bool:
        if not self.arguments or not self.arguments[-1].rstrip().endswith("}"):
            return False
        return is_object("".join(self.arguments))

    def events(self) -> list[ToolCallStart | ToolCallDelta]:
        said = "".join(self.arguments)
        return [self.start, *([ToolCallDelta(index=self.start.index, arguments=said)] if said else ())]


class CallOrder:
    """Lets the tool calls of an answer follow each other.

    A call that begins while another still speaks waits until the first has said a complete JSON object (after which
    nothing can follow), or until `rest` is asked for.
    """

    def __init__(self) -> None:
        self._open: _Call | None = None
        self._waiting: dict[int, _Call] = {}

    def add(self, event: ToolCallStart | ToolCallDelta) -> list[ToolCallStart | ToolCallDelta] | None:
        """What can be said now; None for arguments of a call that did not begin or that has ended."""
        if isinstance(event, ToolCallStart):
            if self._open is None:
                self._open = _Call(event)
                return [event]
            self._waiting[event.index] = _Call(event)
            return []
        if self._open is not None and event.index == self._open.start.index:
            self._open.arguments.append(event.arguments)
            return [event]
        if event.index not in self._waiting:
            return None if event.arguments else []
        self._waiting[event.index].arguments.append(event.arguments)
        if self._open is not None and not self._open.is_complete():
            return []
        self._open = self._waiting.pop(next(iter(self._waiting)))
        return self._open.events()

    def rest(self) -> list[ToolCallStart | ToolCallDelta]:
        """All that waits; after it no call is open."""
        waiting, self._open, self._waiting = self._waiting, None, {}
        return [event for call in waiting.values() for event in call.events()]
