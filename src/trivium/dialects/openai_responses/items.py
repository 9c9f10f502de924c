"""Output items, both ways: those of an upstream as events, and what an answer says as items.

A whole answer and a stream share the reading: at its end a stream says each item whole, and what was streamed of it
before is not said again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from trivium.dialects.common import Json, logprobs_of
from trivium.dialects.openai_responses.tools import flat, wrapped
from trivium.dialects.openai_responses.wire import REASONING_FORMAT, WireAnnotation, wire_citation
from trivium.dialects.request import Losses
from trivium.types import event as ev
from trivium.types.event import Event
from trivium.types.message import Reasoning, Refusal, Text
from trivium.wire.json import BROKEN

SEPARATOR = "\n\n"
"""Between the parts of a thought, which are one text elsewhere."""


class _Part(msgspec.Struct, frozen=True):
    type: str = ""
    text: str = ""
    refusal: str = ""
    annotations: list[WireAnnotation] | None = None
    logprobs: Any = None


class WireItem(msgspec.Struct, frozen=True):
    """An item of one of the types that have a meaning elsewhere."""

    type: str
    id: str | None = None
    content: list[_Part] | None = None
    summary: list[_Part] | None = None
    encrypted_content: str | None = None
    call_id: str | None = None
    name: str = ""
    namespace: str | None = None
    arguments: str = ""
    input: str = ""


class _Typed(msgspec.Struct, frozen=True):
    type: str = ""


_TYPED = msgspec.json.Decoder(_Typed)
_ITEM = msgspec.json.Decoder(WireItem)
CALLS = frozenset({"function_call", "custom_tool_call"})
_KNOWN = CALLS | {"message", "reasoning"}


def read_item(raw: msgspec.Raw) -> WireItem:
    """An item; of one that means nothing elsewhere only its type. Raises what `wire.json.BROKEN` names."""
    typed = _TYPED.decode(raw)
    return _ITEM.decode(raw) if typed.type in _KNOWN else WireItem(typed.type)


def is_call(raw: msgspec.Raw) -> bool:
    """Whether an item is a call that its caller must answer; one that cannot be read is none."""
    try:
        return _TYPED.decode(raw).type in CALLS
    except BROKEN:
        return False


def id_of(raw: msgspec.Raw) -> str:
    """The id of an item; empty for one that has none."""
    try:
        return read_item(raw).id or ""
    except BROKEN:
        return ""


class ItemReader:
    """Reads the items of one answer; `index` is an item's place among them."""

    def __init__(self) -> None:
        self.calls: dict[int, int] = {}
        """The numbers of the calls that have begun, by their places."""
        self._blocks: dict[tuple[int, int], int] = {}
        self._said: set[tuple[int, int, str]] = set()

    def block(self, index: int, part: int) -> int:
        return self._blocks.setdefault((index, part), len(self._blocks))

    def is_new(self, index: int, part: int, kind: str) -> bool:
        """Whether nothing of this kind was said before; from now on it was."""
        place = (index, part, kind)
        if place in self._said:
            return False
        self._said.add(place)
        return True

    def begin(self, item: WireItem, index: int) -> list[Event]:
        """What an item says when it begins."""
        if item.type == "reasoning" and item.id:
            return [ev.ReasoningDelta(id=item.id, format=REASONING_FORMAT, block=index)]
        if item.type not in CALLS or index in self.calls:
            return []
        number = self.calls[index] = len(self.calls)
        identity, name = item.call_id or item.id or f"call_{number}", flat(item.name, item.namespace)
        return [ev.ToolCallStart(index=number, id=identity, name=name)]

    def rest(self, item: WireItem, index: int) -> list[Event]:
        """All that a whole item says and that was not said before."""
        events = self.begin(item, index)
        if item.type == "message":
            for number, part in enumerate(item.content or ()):
                events += self._part(part, index, number)
        elif item.type == "reasoning":
            text = SEPARATOR.join(part.text for part in item.content or ()) if self.is_new(index, 0, "thought") else ""
            brief = SEPARATOR.join(part.text for part in item.summary or ()) if self.is_new(index, 0, "summary") else ""
            sealed = item.encrypted_content
            if text or brief or sealed:
                form = REASONING_FORMAT
                events.append(ev.ReasoningDelta(text=text, summary=brief, encrypted=sealed, format=form, block=index))
        elif item.type in CALLS and self.is_new(index, 0, "arguments"):
            arguments = wrapped(item.input) if item.type == "custom_tool_call" else item.arguments
            events.append(ev.ToolCallDelta(index=self.calls[index], arguments=arguments))
        return events

    def _part(self, part: _Part, index: int, number: int) -> Iterator[Event]:
        if part.type == "refusal":
            if self.is_new(index, number, "text"):
                yield ev.RefusalDelta(part.refusal)
            return
        block = self.block(index, number)
        if part.text and self.is_new(index, number, "text"):
            yield ev.TextDelta(part.text, block=block)
        if self.is_new(index, number, "notes"):
            for annotation in part.annotations or ():
                yield ev.CitationDelta(citation=annotation.citation, block=block)
        if (logprobs := logprobs_of(part.logprobs)) and self.is_new(index, number, "logprobs"):
            yield ev.LogprobsDelta(content=logprobs)


def text_part(part: Text | Refusal, losses: Losses, logprobs: list[Json] | None = None) -> Json:
    """A part of a message item."""
    if isinstance(part, Refusal):
        return {"type": "refusal", "refusal": part.text}
    losses.add("citations.quote", when=any(citation.quote for citation in part.citations))
    notes = [wire_citation(citation, len(part.text)) for citation in part.citations]
    return {"type": "output_text", "text": part.text, "annotations": notes, "logprobs": logprobs or []}


def message_item(identity: str, content: list[Json], status: str) -> Json:
    return {"type": "message", "id": f"msg_{identity}", "role": "assistant", "status": status, "content": content}


def reasoning_item(part: Reasoning, identity: str, losses: Losses) -> Json:
    """Thinking of any origin is shown; what only another API can read stays out, so that it never comes back to this
    one."""
    own = part.format in {None, REASONING_FORMAT}
    losses.add("reasoning.signature", when=part.signature is not None)
    losses.add("reasoning.encrypted", when=part.encrypted is not None and not own)
    item: Json = {
        "type": "reasoning",
        "id": (part.id if own else None) or f"rs_{identity}",
        "summary": [{"type": "summary_text", "text": part.summary}] if part.summary else [],
        "encrypted_content": part.encrypted if own else None,
        "status": "completed",
    }
    if part.text:
        item["content"] = [{"type": "reasoning_text", "text": part.text}]
    return item
