"""Whole answers: `GenerateContentResponse`, both ways, and the list of models. https://ai.google.dev/api/generate-content"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec

from trivium.dialects.base import AnswerContext, Built, PassedAnswer
from trivium.dialects.common import Json
from trivium.dialects.gemini.citations import Heard, WireCitations, WireGrounding, citations_of, wire_grounding
from trivium.dialects.gemini.errors import WireError, classify, refusal_of
from trivium.dialects.gemini.logprobs import WireLogprobs, logprobs_of, wire_logprobs
from trivium.dialects.gemini.wire import REASONING_FORMAT, finish_of, finish_word, shaped, usage_of, wire_usage
from trivium.dialects.request import Losses, given, tool_input
from trivium.dialects.said import Said
from trivium.errors import UpstreamError, UpstreamProtocolError
from trivium.types import event as ev
from trivium.types.event import Event
from trivium.types.message import Message, Part, Reasoning, Refusal, Text, ToolCall
from trivium.types.response import Choice, Response
from trivium.wire.json import BROKEN, NULL, is_null


class WireCall(msgspec.Struct, rename="camel"):
    name: str
    args: msgspec.Raw = msgspec.Raw(b"{}")
    id: str | None = None
    will_continue: bool | None = None
    partial_args: msgspec.Raw = NULL

    def __post_init__(self) -> None:
        """Pieces of a call come only where they were asked for, which nobody does here."""
        if self.will_continue or not is_null(self.partial_args) or not self.arguments.startswith("{"):
            raise ValueError("a call is not whole")

    @property
    def arguments(self) -> str:
        return "{}" if is_null(self.args) else bytes(self.args).decode()


class _Blob(msgspec.Struct, rename="camel"):
    mime_type: str = ""
    data: str = ""


class WirePart(msgspec.Struct, rename="camel"):
    """A part with the members of those that have a meaning in other dialects."""

    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: WireCall | None = None
    inline_data: _Blob | None = None


class _Content(msgspec.Struct):
    parts: list[WirePart] | None = None


class WireCandidate(msgspec.Struct, rename="camel"):
    content: _Content | None = None
    finish_reason: str | None = None
    index: int = 0
    grounding_metadata: Any = None
    citation_metadata: Any = None
    logprobs_result: Any = None


class _Feedback(msgspec.Struct, rename="camel"):
    block_reason: str | None = None


class _Verdict(msgspec.Struct, rename="camel"):
    """A candidate of an answer that is passed."""

    finish_reason: str | None = None


class _Passed(msgspec.Struct, rename="camel"):
    candidates: list[_Verdict] | None = None
    usage_metadata: Any = None
    prompt_feedback: _Feedback | None = None
    response_id: str | None = None
    error: WireError | str | None = None

    def failure(self) -> UpstreamError | None:
        """The error that it is, if it is one: reported, or a prompt that was blocked."""
        if self.error is not None:
            return classify(200, self.error)
        blocked = self.prompt_feedback and self.prompt_feedback.block_reason
        return refusal_of(blocked) if blocked and not self.candidates else None


class WireAnswer(_Passed, rename="camel"):
    """An answer, or one chunk of it."""

    candidates: list[WireCandidate] | None = None  # pyright: ignore[reportIncompatibleVariableOverride]
    model_version: str | None = None


_A = TypeVar("_A", bound=_Passed)
CHUNK = msgspec.json.Decoder(WireAnswer)
_PASSED = msgspec.json.Decoder(_Passed)


class Candidate:
    """Reads one candidate, whole or as it arrives: parts of a kind that follow each other are one part of ours."""

    def __init__(self, index: int, answer_id: str) -> None:
        self.index = index
        self.finished = False
        self.heard = Heard()
        self._id = answer_id
        self._kind = ""
        self._block = -1
        self._calls = 0

    def events(self, wire: WireCandidate) -> Iterator[Event]:
        for part in (wire.content and wire.content.parts) or ():
            yield from self._part(part)
        if (logprobs := shaped(wire.logprobs_result, WireLogprobs)) and logprobs.chosen_candidates:
            yield ev.LogprobsDelta(content=logprobs_of(logprobs), choice=self.index)
        grounding, quoted = (
            shaped(wire.grounding_metadata, WireGrounding),
            shaped(wire.citation_metadata, WireCitations),
        )
        if grounding is not None or quoted is not None:
            for citation in citations_of(grounding, quoted, self.heard.said):
                yield ev.CitationDelta(citation=citation, choice=self.index, block=self.heard.block)
        if wire.finish_reason and not self.finished:
            self.finished = True
            reason = finish_of(wire.finish_reason, calls=self._calls > 0)
            yield ev.Finish(reason=reason, native=wire.finish_reason, choice=self.index)

    def _part(self, part: WirePart) -> Iterator[Event]:
        signature, text = part.thought_signature or None, part.text or ""
        if part.function_call is not None:
            self._kind = ""
            yield from self._call(part.function_call, signature)
        elif part.inline_data is not None and part.inline_data.mime_type.startswith("audio/"):
            yield ev.AudioDelta(data=part.inline_data.data, choice=self.index)
        elif part.thought:
            yield from self._thought(text, signature)
        else:
            if text:
                block = self._run("text")
                self.heard.add(text, block)
                yield ev.TextDelta(text, self.index, block)
            yield from self._thought("", signature)

    def _thought(self, text: str, signature: str | None) -> Iterator[Event]:
        """A thought, or a signature alone; what follows a signature is not under it."""
        if text or signature:
            block = self._run("thought")
            self._kind = "" if signature else self._kind
            yield ev.ReasoningDelta(
                text=text, signature=signature, format=REASONING_FORMAT, choice=self.index, block=block
            )

    def _call(self, call: WireCall, signature: str | None) -> Iterator[Event]:
        number = self._calls
        self._calls += 1
        call_id = call.id or f"call_{self._id}_{self.index}_{number}"
        yield ev.ToolCallStart(index=number, id=call_id, name=call.name, signature=signature, choice=self.index)
        yield ev.ToolCallDelta(index=number, arguments=call.arguments, choice=self.index)

    def _run(self, kind: str) -> int:
        """The block of a part of that kind: that of the part before, if it was one too."""
        if kind != self._kind:
            self._kind = kind
            self._block += 1
        return self._block


def decode_answer(body: bytes) -> list[Event]:
    """A whole answer as events. Raises UpstreamProtocolError, or the error that it is."""
    answer = _decoded(CHUNK, body)
    answer_id = answer.response_id or ""
    events: list[Event] = [ev.Start(id=answer_id, model=answer.model_version or "")]
    for wire in answer.candidates or ():
        events += Candidate(wire.index, answer_id).events(wire)
    if (usage := usage_of(answer.usage_metadata)) is not None:
        events.append(ev.UsageReport(usage))
    events.append(ev.End())
    return events


def read_answer(body: bytes) -> PassedAnswer:
    """What a passed answer says about itself. Raises as `decode_answer`."""
    answer = _decoded(_PASSED, body)
    reason = next((candidate.finish_reason for candidate in answer.candidates or ()), None)
    usage = usage_of(answer.usage_metadata)
    return PassedAnswer(usage=usage, finish_reason=finish_of(reason or ""), id=answer.response_id or "")


def _decoded(decoder: msgspec.json.Decoder[_A], body: bytes) -> _A:
    try:
        answer = decoder.decode(body)
    except BROKEN as error:
        raise UpstreamProtocolError(f"The upstream's answer is none of its dialect: {error}") from None
    if (failure := answer.failure()) is not None:
        raise failure
    if not answer.candidates or not all(candidate.finish_reason for candidate in answer.candidates):
        what = "a candidate without an end" if answer.candidates else "no candidates"
        raise UpstreamProtocolError(f"The upstream's answer has {what}.")
    return answer


def encode_answer(response: Response, context: AnswerContext) -> Built:
    """The candidates; what this API has no word for is named in the losses."""
    losses = Losses()
    choices = response.choices or (Choice(message=Message("assistant")),)
    body = given(
        candidates=[_candidate(choice, losses) for choice in choices],
        usageMetadata=response.usage and wire_usage(response.usage),
        modelVersion=context.model,
        responseId=context.id,
    )
    return Built(msgspec.json.encode(body), tuple(losses))


def _candidate(choice: Choice, losses: Losses) -> Json:
    parts: list[Json] = []
    for part in choice.message.parts:
        parts += part_objects(part, losses)
    texts = [part for part in choice.message.parts if isinstance(part, Text) and part.citations]
    refused = any(isinstance(part, Refusal) for part in choice.message.parts)
    return candidate_object(
        choice.index,
        parts,
        finishReason=finish_word(choice.finish_reason, choice.native_finish_reason, refused=refused),
        groundingMetadata=wire_grounding((Said(part.text), part.citations) for part in texts),
        logprobsResult=wire_logprobs(choice.logprobs) if choice.logprobs else None,
    )


def candidate_object(index: int, parts: list[Json], **more: Any) -> Json:
    """A candidate; its content is never without a part, as chats of the vendor's library want it."""
    return {"content": {"parts": parts or [{"text": ""}], "role": "model"}, **given(**more), "index": index}


def part_objects(part: Part, losses: Losses) -> list[Json]:
    match part:
        case Text() | Refusal() if part.text:
            return [{"text": part.text}]
        case Reasoning():
            return thought_objects(part.text or part.summary or "", part.signature, part.encrypted, part.format, losses)
        case ToolCall():
            return [call_object(part, losses)]
        case _:
            losses.add(type(part).__name__.lower(), when=not isinstance(part, Text | Refusal))
            return []


def thought_objects(
    text: str, signature: str | None, encrypted: str | None, form: str | None, losses: Losses
) -> list[Json]:
    """Thinking of any origin is shown; only signatures of this API's own travel, so that no other comes back to it."""
    own = form == REASONING_FORMAT
    losses.add("reasoning.encrypted", when=encrypted)
    losses.add("reasoning.signature", when=signature and not own)
    signature = signature if own else None
    if text:
        return [given(text=text, thought=True, thoughtSignature=signature)]
    return [{"text": "", "thoughtSignature": signature}] if signature else []


def call_object(call: ToolCall, losses: Losses) -> Json:
    value, is_faithful = tool_input(call.arguments)
    losses.add("tool_call.arguments", when=not is_faithful)
    return given(functionCall={"id": call.id, "name": call.name, "args": value}, thoughtSignature=call.signature)


def models_answer(rows: list[dict[str, Any]]) -> bytes:
    """All models on one page. https://ai.google.dev/api/models"""
    models = [
        given(
            name=f"models/{row['id']}",
            displayName=row.get("name") or row["id"],
            inputTokenLimit=row.get("context"),
            supportedGenerationMethods=["generateContent", "streamGenerateContent"],
        )
        for row in rows
    ]
    return msgspec.json.encode({"models": models})
