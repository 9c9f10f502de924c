"""Streams to a caller: canonical events as chunks of `streamGenerateContent`.

A call is said whole here, and the end with the usage in the last chunk, so both wait until they are known.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from trivium.dialects.base import AnswerContext
from trivium.dialects.calls import SpokenCall
from trivium.dialects.common import Json
from trivium.dialects.encoder import Encoder
from trivium.dialects.gemini.answer import call_object, candidate_object, thought_objects
from trivium.dialects.gemini.citations import Heard, wire_grounding
from trivium.dialects.gemini.errors import encode_error
from trivium.dialects.gemini.logprobs import wire_logprobs
from trivium.dialects.gemini.wire import finish_word, wire_usage
from trivium.errors import TriviumError
from trivium.types import event as ev
from trivium.types.event import Event
from trivium.types.message import Citation
from trivium.types.usage import Usage

_json = msgspec.json.encode


class _Choice(msgspec.Struct):
    """One choice while it is said."""

    before: bytes
    calls: dict[int, SpokenCall] = {}
    heard: Heard = msgspec.field(default_factory=Heard)
    citations: list[Citation] = []
    format: str | None = None
    is_refused: bool = False
    finish: ev.Finish | None = None


class GenerateEncoder(Encoder):
    """Writes one stream."""

    def __init__(self, context: AnswerContext) -> None:
        super().__init__(context)
        identity = {"modelVersion": context.model, "responseId": context.stream_id}
        self._identity = identity
        self._end = b"," + _json(identity)[1:] + b"\n\n"
        self._text_end = b'}],"role":"model"}}]' + self._end
        self._choices: dict[int, _Choice] = {}
        self._place: tuple[_Choice, int] | None = None

    def encode(self, events: Iterable[Event]) -> bytes:
        """Frames for these events; empty if they mean nothing on this wire."""
        return b"".join(frame for event in events for frame in self._frames(event))

    def around(self, choice: int, block: int) -> tuple[bytes, bytes] | None:
        """What stands around a text that continues a choice; a call that waits must be said before it."""
        found = self._choices.get(choice)
        if found is None or found.calls:
            return None
        self._place = found, block
        return found.before + b'"', b'"' + self._text_end

    def wrote(self, text: bytes) -> None:
        if self._place is not None:
            self._place[0].heard.add(text, self._place[1])

    def fail(self, error: TriviumError) -> bytes:
        """The in-band error; nothing follows it."""
        return b"data: %b\n\n" % encode_error(error, self._context.id)

    def _frames(self, event: Event) -> Iterator[bytes]:
        match event:
            case ev.TextDelta() | ev.RefusalDelta() if event.text:
                yield from self._text(event)
            case ev.ReasoningDelta():
                choice = self._choice(event.choice)
                choice.format = event.format or choice.format
                text = event.text or event.summary
                said = thought_objects(text, event.signature, event.encrypted, choice.format, self._losses)
                yield from self._parts(event.choice, said)
            case ev.ToolCallStart():
                self._choice(event.choice).calls[event.index] = SpokenCall(event)
            case ev.ToolCallDelta():
                call = self._choice(event.choice).calls.get(event.index)
                if call is not None:
                    call.pieces.append(event.arguments)
                else:
                    self._losses.add("tool_call.arguments", when=event.arguments)
            case ev.CitationDelta():
                self._choice(event.choice).citations.append(event.citation)
            case ev.LogprobsDelta():
                yield self._frame([candidate_object(event.choice, [], logprobsResult=wire_logprobs(event.content))])
            case ev.Finish():
                self._choice(event.choice).finish = event
            case ev.UsageReport():
                self._usage = event.usage
            case ev.Start(usage=Usage()):
                self._usage = event.usage
            case ev.AudioDelta():
                self._losses.add("audio")
            case ev.Failure():
                yield self.fail(event.error)
            case ev.End():
                yield from self._last()
            case _:
                pass

    def _choice(self, index: int) -> _Choice:
        found = self._choices.get(index)
        if found is None:
            before = b'data: {"candidates":[{"index":%d,"content":{"parts":[{"text":' % index
            found = self._choices[index] = _Choice(before)
        return found

    def _text(self, event: ev.TextDelta | ev.RefusalDelta) -> Iterator[bytes]:
        choice = self._choice(event.choice)
        if choice.calls:
            yield from self._calls(event.choice, choice)
        if isinstance(event, ev.TextDelta):
            choice.heard.add(event.text, event.block)
        else:
            choice.is_refused = True
        yield choice.before + _json(event.text) + self._text_end

    def _parts(self, index: int, parts: list[Json]) -> Iterator[bytes]:
        if parts:
            yield from self._calls(index, self._choice(index))
            yield self._frame([candidate_object(index, parts)])

    def _calls(self, index: int, choice: _Choice, *, last: bool = False) -> Iterator[bytes]:
        """The calls that are whole, in their order; at the end all."""
        for number, call in list(choice.calls.items()):
            if not (last or call.is_complete()):
                return
            del choice.calls[number]
            yield self._frame([candidate_object(index, [call_object(call.whole, self._losses)])])

    def _frame(self, candidates: list[Json], **more: Json | None) -> bytes:
        return b"data: %b\n\n" % _json({"candidates": candidates, **more, **self._identity})

    def _last(self) -> Iterator[bytes]:
        for index, choice in self._choices.items():
            yield from self._calls(index, choice, last=True)
        ends = [self._ended(index, choice) for index, choice in self._choices.items()]
        usage = {} if self._usage is None else {"usageMetadata": wire_usage(self._usage)}
        yield self._frame(ends or [candidate_object(0, [], finishReason="OTHER")], **usage)

    def _ended(self, index: int, choice: _Choice) -> Json:
        finish = choice.finish
        reason = finish_word(finish and finish.reason, finish and finish.native, refused=choice.is_refused)
        grounding = wire_grounding([(choice.heard.said, choice.citations)]) if choice.citations else None
        return candidate_object(index, [], finishReason=reason, groundingMetadata=grounding)
