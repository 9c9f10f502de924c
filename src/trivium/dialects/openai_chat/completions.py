"""OpenAI's legacy `POST /completions`: a prompt in, text out; a profile of chat, whose usage, errors and stream it has.

Source: https://platform.openai.com/docs/api-reference/completions
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from trivium.dialects.base import Addressed, AnswerContext, Built, Media
from trivium.dialects.common import HeadDecoder, Json
from trivium.dialects.encoder import Encoder
from trivium.dialects.openai import decode_error, encode_error, error_in_band
from trivium.dialects.openai_chat import DIALECT as CHAT
from trivium.dialects.openai_chat.answer import finish_word
from trivium.dialects.openai_chat.events import finish_of
from trivium.dialects.openai_chat.head import ChatHead
from trivium.dialects.openai_chat.meter import ChatMeter
from trivium.dialects.openai_chat.stream import DONE, DONE_DATA
from trivium.dialects.openai_chat.usage import read_usage, usage_object
from trivium.dialects.openai_chat.wire import Count, StreamOptions
from trivium.dialects.request import BodyReader, Losses, given, own_extra, sampling_members
from trivium.dialects.stream import SSEDecoder
from trivium.errors import InvalidRequest, TriviumError, UpstreamProtocolError
from trivium.types import event as ev
from trivium.types.event import Event
from trivium.types.message import Message, Refusal, Text
from trivium.types.request import Request, Sampling
from trivium.types.response import Choice, Response
from trivium.types.usage import Usage
from trivium.wire.json import BROKEN, is_null
from trivium.wire.sse import Frame

_SAMPLING = {
    name: name for name in ("temperature", "top_p", "frequency_penalty", "presence_penalty", "seed", "logit_bias")
}


_OWN = frozenset({"best_of", "echo", "suffix"})
"""Fields of its own that are written back."""


class _Head(ChatHead, kw_only=True):
    """What a body says before its prompt is read."""

    messages: msgspec.Raw = msgspec.field(name="prompt", default=msgspec.Raw(b""))
    logprobs: int | bool | None = None  # pyright: ignore[reportIncompatibleVariableOverride]  # a count here

    def check(self) -> None:
        if is_null(self.messages):
            raise InvalidRequest("`prompt` is missing.", remedy="Send the text to go on from.", param="prompt")


class _Body(Sampling, frozen=True, kw_only=True):
    model: str
    prompt: str | list[str | int | list[int]]
    max_tokens: Count | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    stop: str | list[str] | None = None
    n: Count | None = None
    user: str | None = None
    logprobs: int | None = None  # type: ignore[assignment]  # pyright: ignore[reportIncompatibleVariableOverride]


_read = BodyReader(_Body)
_peek = HeadDecoder(_Head)


def parse_request(body: bytes, _addressed: Addressed | None = None, /) -> Request:
    """The prompt as a user's message. Raises InvalidRequest, also for what only a server of this dialect can do."""
    _peek(body)
    wire, extra = _read(body)
    prompt = wire.prompt[0] if isinstance(wire.prompt, list) and len(wire.prompt) == 1 else wire.prompt
    if not isinstance(prompt, str):
        raise InvalidRequest(
            "`prompt` is not one text, and the endpoint has no legacy completions.",
            remedy="Send one prompt as a string.",
            param="prompt",
        )
    sampling: Json = {name: getattr(wire, name) for name in Sampling.__struct_fields__} | {
        "logprobs": wire.logprobs is not None or None,
        "top_logprobs": wire.logprobs,
    }
    return Request(
        model=wire.model,
        messages=(Message("user", (Text(prompt),)),),
        max_output_tokens=wire.max_tokens,
        stream=wire.stream is True,
        include_usage=wire.stream_options is not None and wire.stream_options.include_usage is True,
        sampling=Sampling(**sampling),
        stop=(wire.stop,) if isinstance(wire.stop, str) else tuple(wire.stop or ()),
        n=wire.n or 1,
        user=wire.user,
        extra=extra,
    )


def build_request(request: Request) -> Built:
    """A request of one user's text; anything else has no words here."""
    losses = Losses()
    losses.add("messages", when=len(request.messages) > 1)
    for part in (part for message in request.messages for part in message.parts):
        losses.add(f"messages.{type(part).__name__.lower()}", when=not isinstance(part, Text))
    for name in ("tools", "tool_choice", "response_format", "reasoning", "metadata", "service_tier"):
        losses.add(name, when=getattr(request, name))
    body = given(
        model=request.model,
        prompt="\n".join(message.text for message in request.messages),
        max_tokens=request.max_output_tokens,
        stream=request.stream or None,
        stream_options={"include_usage": True} if request.stream else None,
        stop=request.stop or None,
        n=request.n if request.n > 1 else None,
        user=request.user,
        logprobs=(request.sampling.top_logprobs or 0) if request.sampling.logprobs else None,
    )
    plain = msgspec.structs.replace(request.sampling, logprobs=None, top_logprobs=None)
    body |= sampling_members(plain, _SAMPLING, losses)
    return Built(msgspec.json.encode(body | own_extra(request.extra, _OWN, losses)), tuple(losses))


# ---- answers


class _Logprobs(msgspec.Struct):
    tokens: list[str] = []
    token_logprobs: list[float | None] = []
    top_logprobs: list[dict[str, float] | None] | None = None


class _Choice(msgspec.Struct):
    index: int = 0
    text: str | None = None
    finish_reason: str | None = None
    logprobs: Any = None
    error: Any = None


class _Answer(msgspec.Struct):
    id: str | None = None
    model: str | None = None
    created: float | None = None
    choices: list[_Choice] | None = None
    usage: Any = None
    timings: Any = None
    error: Any = None


_ANSWER = msgspec.json.Decoder(_Answer)


def decode_answer(body: bytes) -> list[Event]:
    """A whole answer as events, `End` last. Raises UpstreamProtocolError, or the error that it carries."""
    try:
        wire = _ANSWER.decode(body)
    except BROKEN:
        raise UpstreamProtocolError("The upstream answered 200 with a body that is no completion.") from None
    if wire.error is not None:
        raise error_in_band(wire.error)
    if not wire.choices:
        raise UpstreamProtocolError("The upstream answered 200 without a choice.")
    events: list[Event] = [ev.Start(id=wire.id or "", model=wire.model or "", created=int(wire.created or 0))]
    for choice in wire.choices:
        if choice.error is not None:
            raise error_in_band(choice.error)
        events += _said(choice)
        events.append(finish_of(choice.finish_reason or "stop", choice.index))
    if (usage := read_usage(wire.usage, wire.timings)) is not None:
        events.append(ev.UsageReport(usage))
    return [*events, ev.End()]


def _said(choice: _Choice) -> list[Event]:
    events: list[Event] = [ev.TextDelta(choice.text, choice.index)] if choice.text else []
    if content := _content(choice.logprobs):
        events.append(ev.LogprobsDelta(content=content, choice=choice.index))
    return events


def _content(value: Any) -> list[Json]:
    """Log-probabilities in the shape that chat has."""
    try:
        wire = msgspec.convert(value, _Logprobs)
    except msgspec.ValidationError:
        return []
    tops = wire.top_logprobs or []
    return [
        {
            "token": token,
            "logprob": logprob,
            "bytes": list(token.encode()),
            "top_logprobs": [
                {"token": other, "logprob": value, "bytes": list(other.encode())}
                for other, value in ((tops[at] if at < len(tops) else None) or {}).items()
            ],
        }
        for at, (token, logprob) in enumerate(zip(wire.tokens, wire.token_logprobs, strict=False))
        if logprob is not None
    ]


def _legacy(content: list[Json] | None) -> Json | None:
    """The same in the shape that stands here; offsets count from the beginning of the completion."""
    if not content:
        return None
    tokens = [str(item.get("token", "")) for item in content]
    offsets = [0]
    for token in tokens[:-1]:
        offsets.append(offsets[-1] + len(token))
    return {
        "tokens": tokens,
        "token_logprobs": [item.get("logprob") for item in content],
        "top_logprobs": [{top["token"]: top["logprob"] for top in item.get("top_logprobs") or ()} for item in content],
        "text_offset": offsets,
    }


def encode_answer(response: Response, context: AnswerContext) -> Built:
    """A completion with all documented fields."""
    losses = Losses()
    body: Json = {**_head(context), "choices": [_choice(choice, losses) for choice in response.choices]}
    if response.usage is not None:
        body["usage"] = usage_object(response.usage)
    return Built(msgspec.json.encode(body), tuple(losses))


def _head(context: AnswerContext) -> Json:
    return {
        "id": context.stream_id,
        "object": "text_completion",
        "created": context.created,
        "model": context.model,
        "system_fingerprint": None,
    }


def _choice(choice: Choice, losses: Losses) -> Json:
    parts = choice.message.parts
    for part in parts:
        losses.add(type(part).__name__.lower(), when=not isinstance(part, Text | Refusal))
        losses.add("citations", when=isinstance(part, Text) and part.citations)
    return {
        "text": "".join(part.text for part in parts if isinstance(part, Text | Refusal)),
        "index": choice.index,
        "logprobs": _legacy(choice.logprobs),
        "finish_reason": None if choice.finish_reason is None else finish_word(choice.finish_reason),
    }


# ---- streams


class _Decoder(SSEDecoder):
    """An upstream's stream as events; whole when every choice that began has its finish."""

    TEXT = b'"text":"'

    def __init__(self) -> None:
        super().__init__()
        self._open: set[int] = set()
        self._begun: set[int] = set()

    def _complete(self) -> bool:
        return bool(self._begun) and not self._open

    def _frame(self, frame: Frame) -> list[Event]:
        if frame.data.strip() == DONE_DATA:
            return self._end()
        if frame.event == "error":
            return self._fail(decode_error(200, frame.data))
        chunk = _ANSWER.decode(frame.data)
        if chunk.error is not None:
            return self._fail(error_in_band(chunk.error))
        events: list[Event] = []
        if chunk.choices and not self._begun:
            events.append(ev.Start(id=chunk.id or "", model=chunk.model or "", created=int(chunk.created or 0)))
        for choice in chunk.choices or ():
            if choice.index not in self._begun:
                self._begun.add(choice.index)
                self._open.add(choice.index)
            if choice.error is not None:
                return events + self._fail(error_in_band(choice.error))
            events += _said(choice)
            if choice.finish_reason and choice.index in self._open:
                self._open.discard(choice.index)
                events.append(finish_of(choice.finish_reason, choice.index))
        if (usage := read_usage(chunk.usage, chunk.timings)) is not None:
            events.append(ev.UsageReport(usage))
        return events or [ev.Ping()]


class _Encoder(Encoder):
    """Events as a caller's chunks."""

    def __init__(self, context: AnswerContext) -> None:
        super().__init__(context)
        self._before = b"data: " + msgspec.json.encode(_head(context))[:-1] + b',"choices":['

    def encode(self, events: Iterable[Event]) -> bytes:
        return b"".join(frame for event in events for frame in self._frames(event))

    def fail(self, error: TriviumError) -> bytes:
        """The in-band error; no marker follows it."""
        return b"data: " + encode_error(error, self._context.id) + b"\n\n"

    def around(self, choice: int, block: int) -> tuple[bytes, bytes] | None:
        """What stands around a text that continues a choice."""
        del block
        head = self._before + b'{"index":%d,"logprobs":null,"finish_reason":null,"text":"' % choice
        return head, b'"}' + self._after()

    def _frames(self, event: Event) -> Iterable[bytes]:
        match event:
            case ev.TextDelta() | ev.RefusalDelta() if event.text:
                yield self._chunk(event.choice, text=event.text)
            case ev.LogprobsDelta():
                yield self._chunk(event.choice, logprobs=_legacy(event.content))
            case ev.Finish():
                yield self._chunk(event.choice, finish_reason=finish_word(event.reason))
            case ev.UsageReport() | ev.Start(usage=Usage()):
                self._usage = event.usage
            case ev.Failure():
                yield self.fail(event.error)
            case ev.End():
                if self._context.include_usage and self._usage is not None:
                    yield self._before + b'],"usage":' + msgspec.json.encode(usage_object(self._usage)) + b"}\n\n"
                yield DONE
            case ev.ReasoningDelta():
                self._losses.add("reasoning")
            case ev.ToolCallStart():
                self._losses.add("toolcall")
            case ev.CitationDelta():
                self._losses.add("citations")
            case ev.AudioDelta():
                self._losses.add("audio")
            case _:
                pass

    def _chunk(self, choice: int, **more: Any) -> bytes:
        wire = {"index": choice, "logprobs": None, "finish_reason": None, "text": "", **more}
        return self._before + msgspec.json.encode(wire) + self._after()

    def _after(self) -> bytes:
        return b'],"usage":null}\n\n' if self._context.include_usage else b"]}\n\n"


class _Meter(ChatMeter):
    TEXT = b'"text":"'


def _no_media(_prompt: msgspec.Raw) -> Media:
    return Media()


DIALECT = msgspec.structs.replace(
    CHAT,
    name="openai_completions",
    path="/completions",
    essential={"suffix": "Ask a provider that has legacy completions itself.", "echo": "Leave it out."},
    peek=_peek,
    parse_request=parse_request,
    build_request=build_request,
    media=_no_media,
    decode_answer=decode_answer,
    encode_answer=encode_answer,
    decoder=_Decoder,
    encoder=_Encoder,
    meter=_Meter,
)
