"""Each dialect in against each dialect out: what one says, the other's caller reads, and the losses are named."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from property.strategies import ARGUMENTS, NAMES, WORDS, plain, requests
from trivium.dialects.anthropic_messages import DIALECT as MESSAGES
from trivium.dialects.base import Addressed, AnswerContext, Dialect
from trivium.dialects.cohere_v2 import DIALECT as COHERE
from trivium.dialects.gemini import DIALECT as GEMINI
from trivium.dialects.ollama import DIALECT as OLLAMA
from trivium.dialects.openai_chat import DIALECT as CHAT
from trivium.dialects.openai_responses import DIALECT as RESPONSES
from trivium.errors import TriviumError, UpstreamOverloaded
from trivium.types.event import (
    End,
    Event,
    Failure,
    Finish,
    FinishReason,
    Start,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    UsageReport,
)
from trivium.types.message import Message, Part, Text, ToolCall
from trivium.types.request import Request
from trivium.types.response import Choice, Response, fold
from trivium.types.usage import Usage

CONTEXT = AnswerContext(id="gen-1", model="m", created=0, include_usage=True)
DIALECTS = (CHAT, RESPONSES, MESSAGES, COHERE, GEMINI, OLLAMA)
PAIRS = [pytest.param(a, b, id=f"{a.name}-to-{b.name}") for a in DIALECTS for b in DIALECTS]
both_ways = pytest.mark.parametrize(("caller", "upstream"), PAIRS)

counts = st.integers(0, 10**6)
finishes: st.SearchStrategy[FinishReason | None] = st.sampled_from([None, "length"])
"""None: the finish of an answer that ends by itself, for which some wires have one word with and without calls."""


@st.composite
def answers(draw: st.DrawFn) -> Response:
    """What every dialect can say: one text, then calls, a finish, and figures that all wires carry."""
    parts: list[Part] = [Text(draw(WORDS))] if draw(st.booleans()) else []
    parts += draw(st.lists(st.builds(ToolCall, id=NAMES, name=NAMES, arguments=ARGUMENTS), max_size=3))
    if not parts:
        parts = [Text("x")]
    usage = st.builds(Usage, input_tokens=counts, output_tokens=counts, cache_read_tokens=counts)
    natural: FinishReason = "tool_calls" if any(isinstance(part, ToolCall) for part in parts) else "stop"
    choice = Choice(message=Message("assistant", tuple(parts)), finish_reason=draw(finishes) or natural)
    return Response(choices=(choice,), usage=draw(usage))


def events_of(answer: Response) -> Iterator[Event]:
    yield Start()
    parts = answer.choices[0].message.parts
    calls = [part for part in parts if isinstance(part, ToolCall)]
    for part in parts:
        if isinstance(part, Text):
            yield from (TextDelta(character) for character in part.text)
    for index, call in enumerate(calls):
        yield ToolCallStart(index=index, id=call.id, name=call.name)
        yield from (ToolCallDelta(index=index, arguments=character) for character in call.arguments)
    assert answer.choices[0].finish_reason is not None
    yield Finish(reason=answer.choices[0].finish_reason)
    assert answer.usage is not None
    yield UsageReport(answer.usage)
    yield End()


def essence(answer: Response, *ways: Dialect) -> Response:
    """An answer without what names its way; some wires know no caches."""
    choices = tuple(replace(choice, native_finish_reason=None) for choice in answer.choices)
    usage = answer.usage
    if OLLAMA in ways and usage is not None:
        usage = Usage(input_tokens=usage.prompt_tokens, output_tokens=usage.output_tokens)
    return Response(choices=choices, usage=usage)


def said(request: Request, lost: set[str], *ways: Dialect) -> Request:
    """What no loss may touch: the conversation, the tools, and whether it streams. `stop` has no place on some wires,
    and tools are strict or not on those whose own default would bend them; a message may be one text and images."""
    strict = [tool.strict is True and "tools.strict" not in lost for tool in request.tools]
    tools = tuple(replace(tool, strict=is_strict) for tool, is_strict in zip(request.tools, strict, strict=True))
    return Request(
        model=request.model,
        messages=tuple(map(plain, request.messages)) if OLLAMA in ways else request.messages,
        tools=() if "tools" in lost else tools,
        stream=request.stream,
        stop=() if "stop" in lost else request.stop,
        user=None if "user" in lost else request.user,
    )


@both_ways
@given(request=requests())
def test_a_request_keeps_what_it_says(caller: Dialect, upstream: Dialect, request: Request) -> None:
    first = caller.build_request(request)
    path = Addressed(request.model, request.stream)
    asked = caller.parse_request(first.body, path)
    assume(all(message.parts for message in asked.messages))  # nothing is left of images by URL alone
    built = upstream.build_request(asked)
    seen = upstream.parse_request(built.body, path)
    lost = {*first.losses, *built.losses}
    assert said(seen, lost, caller, upstream) == said(request, lost, caller, upstream)
    for name in ("temperature", "top_p", "top_k", "seed", "frequency_penalty", "presence_penalty"):
        value = getattr(asked.sampling, name)
        assert not value or name in built.losses or getattr(seen.sampling, name) == value
    for name in ("response_format", "reasoning", "max_output_tokens"):
        value = getattr(asked, name)
        assert value is None or name in built.losses or getattr(seen, name) is not None


@both_ways
@given(answer=answers())
def test_an_answer_keeps_what_it_says(caller: Dialect, upstream: Dialect, answer: Response) -> None:
    received = fold(upstream.decode_answer(upstream.encode_answer(answer, CONTEXT).body))
    read = fold(caller.decode_answer(caller.encode_answer(received, CONTEXT).body))
    assert essence(read, caller, upstream) == essence(answer, caller, upstream)


@both_ways
@given(answer=answers(), cut=st.integers(0, 10**4))
def test_a_stream_keeps_what_it_says(caller: Dialect, upstream: Dialect, answer: Response, cut: int) -> None:
    sent = upstream.encoder(CONTEXT).encode(events_of(answer))
    cut %= len(sent)
    decoder, encoder = upstream.decoder(), caller.encoder(CONTEXT)
    written = [encoder.encode(decoder.feed(data)) for data in (sent[:cut], sent[cut:])]
    written.append(encoder.encode(decoder.close()))
    reader = caller.decoder()
    read = reader.feed(b"".join(written)) + reader.close()
    assert essence(fold(read), caller, upstream) == essence(answer, caller, upstream)
    assert read[-1] == End()
    assert encoder.losses == ()


@both_ways
@given(answer=answers(), share=st.floats(0, 1, exclude_max=True))
def test_a_cut_stream_never_ends_like_a_whole_one(
    caller: Dialect, upstream: Dialect, answer: Response, share: float
) -> None:
    events = list(events_of(answer))
    finish = next(index for index, event in enumerate(events) if isinstance(event, Finish))
    sent = upstream.encoder(CONTEXT).encode(events[: int(share * finish)])
    decoder, encoder = upstream.decoder(), caller.encoder(CONTEXT)
    written = encoder.encode(decoder.feed(sent) + decoder.close())
    reader = caller.decoder()
    assert End() not in reader.feed(written) + reader.close()


@both_ways
@pytest.mark.parametrize("before", [(), (Start(), TextDelta("a"))])
def test_an_error_in_the_stream_stays_an_error(caller: Dialect, upstream: Dialect, before: tuple[Event, ...]) -> None:
    sent = upstream.encoder(CONTEXT)
    data = sent.encode(before) + sent.fail(UpstreamOverloaded("busy"))
    failure = upstream.decoder().feed(data)[-1]
    assert isinstance(failure, Failure)
    assert isinstance(failure.error, TriviumError)
    again = caller.decoder().feed(caller.encoder(CONTEXT).fail(failure.error))[-1]
    assert isinstance(again, Failure)
    assert type(again.error) is type(failure.error) is UpstreamOverloaded


@pytest.mark.parametrize("caller", [dialect for dialect in DIALECTS if dialect is not GEMINI], ids=lambda one: one.name)
def test_a_signature_that_has_no_place_at_a_call_is_a_loss(caller: Dialect) -> None:
    call = ToolCall(id="a", name="f", signature="AAAA")
    choice = Choice(message=Message("assistant", (call,)), finish_reason="tool_calls")
    encoder = caller.encoder(CONTEXT)
    start = ToolCallStart(index=0, id="a", name="f", signature="AAAA")
    encoder.encode([Start(), start, ToolCallDelta(index=0, arguments="{}"), Finish(reason="tool_calls"), End()])
    for losses in (caller.encode_answer(Response(choices=(choice,)), CONTEXT).losses, encoder.losses):
        assert losses == ("tool_call.signature",)
    asked = Request(model="m", messages=(Message("user", (Text("x"),)), Message("assistant", (call,))))
    assert "messages.tool_call.signature" in caller.build_request(asked).losses
