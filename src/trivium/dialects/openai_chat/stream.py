"""Streams on this wire: an upstream's chunks read into events, and events written as chunks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from trivium.dialects.base import AnswerContext
from trivium.dialects.openai import decode_error, encode_error, error_in_band
from trivium.dialects.openai_chat.answer import annotation, finish_word
from trivium.dialects.openai_chat.events import CallNumbers, choice_events, finish_of
from trivium.dialects.openai_chat.usage import read_usage, usage_object
from trivium.dialects.openai_chat.wire import Answer, AnswerChoice, Spoken
from trivium.dialects.request import Losses
from trivium.dialects.stream import SSEDecoder
from trivium.errors import TriviumError
from trivium.types import event as ev
from trivium.types.event import Event
from trivium.types.usage import Usage
from trivium.wire.sse import Frame

DONE = b"data: [DONE]\n\n"
DONE_DATA = b"[DONE]"

_CHUNK = msgspec.json.Decoder(Answer)
_SILENT = Spoken()


class ChatDecoder(SSEDecoder):
    """An upstream's stream as events; whole when every choice that began has its finish, with or without `[DONE]`."""

    TEXT = b'"content":"'
    PADDING = b'"obfuscation":"'

    def __init__(self) -> None:
        super().__init__()
        self._calls: dict[int, CallNumbers] = {}
        self._open: set[int] = set()
        self._id = ""

    def _complete(self) -> bool:
        return bool(self._calls) and not self._open

    def _frame(self, frame: Frame) -> list[Event]:
        if frame.data.strip() == DONE_DATA:
            return self._end()
        if frame.event == "error":
            return self._fail(decode_error(200, frame.data))
        chunk = _CHUNK.decode(frame.data)
        if chunk.error is not None:
            return self._fail(error_in_band(chunk.error))
        events: list[Event] = []
        if chunk.choices and not self._calls:
            self._id = chunk.id or ""
            events.append(ev.Start(id=self._id, model=chunk.model or "", created=int(chunk.created or 0)))
        for choice in chunk.choices or ():
            if choice.error is not None:
                return events + self._fail(error_in_band(choice.error))
            events += self._choice(choice)
        if chunk.usage is not None or chunk.timings is not None:
            usage = read_usage(chunk.usage, chunk.timings)
            if usage is not None:
                events.append(ev.UsageReport(usage))
        return events or [ev.Ping()]

    def _choice(self, choice: AnswerChoice) -> list[Event]:
        calls = self._calls.get(choice.index)
        if calls is None:
            calls = self._calls[choice.index] = CallNumbers()
            self._open.add(choice.index)
        events = choice_events(choice, choice.delta or choice.message or _SILENT, calls, self._id)
        if choice.finish_reason and choice.index in self._open:
            self._open.discard(choice.index)
            events.append(finish_of(choice.finish_reason, choice.index))
        return events or [ev.Ping()]


class ChatEncoder:
    """Events as a caller's chunks: text goes between two constant pieces, the rest takes the general path."""

    def __init__(self, context: AnswerContext) -> None:
        self._context = context
        fixed = msgspec.json.encode(self._head(context))
        self._before = b"data: " + fixed[:-1] + b',"choices":['
        self._after = b'],"usage":null}\n\n' if context.include_usage else b"]}\n\n"
        self._texts: dict[int, bytes] = {}
        self._text_end = b'},"logprobs":null,"finish_reason":null}' + self._after
        self._written: dict[int, int] = {}
        self._around = 0
        self._usage: Usage | None = None
        self._seams: list[ev.Seam] = []
        self._losses = Losses()
        self._encode = msgspec.json.Encoder().encode

    def _head(self, context: AnswerContext) -> dict[str, Any]:
        """What every chunk begins with."""
        head = {"id": context.stream_id, "object": "chat.completion.chunk", "created": context.created}
        return {**head, "model": context.model, "system_fingerprint": None}

    @property
    def losses(self) -> tuple[str, ...]:
        return tuple(self._losses)

    def encode(self, events: Iterable[Event]) -> bytes:
        """Frames for these events; empty if they mean nothing on this wire."""
        frames: list[bytes] = []
        for event in events:
            if type(event) is ev.TextDelta:
                if event.text:
                    frames += self._text(event)
            else:
                frames += self._other(event)
        return b"".join(frames)

    def around(self, choice: int, block: int) -> tuple[bytes, bytes] | None:
        """What stands around a text that continues a choice; all blocks are one here."""
        del block
        self._around = choice
        return (self._texts[choice] + b'"', b'"' + self._text_end) if choice in self._texts else None

    def wrote(self, text: bytes) -> None:
        plain = text.isascii() and b"\\" not in text
        self._written[self._around] += len(text) if plain else len(msgspec.json.decode(b'"%b"' % text))

    def fail(self, error: TriviumError) -> bytes:
        """The in-band error; no marker follows it."""
        return b"data: " + encode_error(error, self._context.id) + b"\n\n"

    def _text(self, event: ev.TextDelta) -> Iterable[bytes]:
        choice = event.choice
        start = self._texts.get(choice)
        if start is None:
            start = self._texts[choice] = self._before + b'{"index":%d,"delta":{"content":' % choice
        if choice not in self._written:
            yield self._role(choice)
        self._written[choice] += len(event.text)
        yield start + self._encode(event.text) + self._text_end

    def _other(self, event: Event) -> Iterable[bytes]:
        if type(event) is ev.UsageReport:
            self._usage = event.usage
        elif type(event) is ev.Start:
            self._usage = event.usage or self._usage
        elif type(event) is ev.Finish:
            yield from self._finish(event)
        elif type(event) is ev.End:
            yield from self._end()
        elif type(event) is ev.Seam:
            self._seams.append(event)
        elif type(event) is ev.Failure:
            yield self.fail(event.error)
        elif type(event) is ev.LogprobsDelta:
            yield from self._delta(event.choice, {}, logprobs={"content": event.content, "refusal": None})
        elif type(event) is not ev.Ping and (delta := self._delta_of(event)) is not None:
            yield from self._delta(getattr(event, "choice", 0), delta)

    def _finish(self, event: ev.Finish) -> Iterable[bytes]:
        yield from self._delta(event.choice, {}, finish_reason=finish_word(event.reason))

    def _delta_of(self, event: Event) -> dict[str, Any] | None:
        match event:
            case ev.RefusalDelta():
                return {"refusal": event.text}
            case ev.ReasoningDelta():
                self._losses.add("reasoning.signature", when=event.signature or event.encrypted)
                text = event.text or event.summary
                return {"reasoning": text} if text else None
            case ev.ToolCallStart():
                self._losses.add("tool_call.signature", when=event.signature)
                function = {"name": event.name, "arguments": ""}
                call = {"index": event.index, "id": event.id, "type": "function", "function": function}
                return {"tool_calls": [call]}
            case ev.ToolCallDelta():
                return {"tool_calls": [{"index": event.index, "function": {"arguments": event.arguments}}]}
            case ev.CitationDelta():
                written = self._written.get(event.choice, 0)
                return {"annotations": [annotation(event.citation, 0, written)]}
            case ev.AudioDelta():
                audio = {"id": event.id, "data": event.data, "transcript": event.transcript}
                return {"audio": {**audio, "expires_at": event.expires_at}}
            case _:
                return None

    def _delta(self, choice: int, delta: dict[str, Any], **more: Any) -> Iterable[bytes]:
        if choice not in self._written:
            yield self._role(choice)
        wire = {"index": choice, "delta": delta, "logprobs": None, "finish_reason": None, **more}
        last = "finish_reason" in more and not self._context.include_usage
        yield self._before + self._encode(wire) + (b"]" + self._told() + self._after[1:] if last else self._after)

    def _told(self) -> bytes:
        """In the last chunk, what Trivium tells of an answer that others went on with; else nothing."""
        if not self._seams:
            return b""
        seams, self._seams = self._seams, []
        return b',"trivium":' + self._encode({"rescue": [msgspec.structs.asdict(seam) for seam in seams]})

    def _role(self, choice: int) -> bytes:
        """A choice begins with its role, once."""
        self._written[choice] = 0
        wire = b'{"index":%d,"delta":{"role":"assistant","content":"","refusal":null},' % choice
        return self._before + wire + b'"logprobs":null,"finish_reason":null}' + self._after

    def _end(self) -> Iterable[bytes]:
        if self._context.include_usage and self._usage is not None:
            usage = self._encode(self._usage_object(self._usage))
            yield b'%b]%b,"usage":%b}\n\n' % (self._before, self._told(), usage)
        yield DONE

    def _usage_object(self, usage: Usage) -> dict[str, Any]:
        return usage_object(usage)
