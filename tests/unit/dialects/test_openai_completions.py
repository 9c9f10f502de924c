"""Legacy completions, both ways: a prompt becomes a user's message, an answer its text."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivium.dialects import get
from trivium.dialects.base import AnswerContext
from trivium.errors import InvalidRequest, UpstreamProtocolError, UpstreamRateLimited
from trivium.types.event import (
    AudioDelta,
    CitationDelta,
    End,
    Event,
    Failure,
    Finish,
    LogprobsDelta,
    Start,
    TextDelta,
    UsageReport,
)
from trivium.types.message import Citation, Image, Message, Reasoning, Text
from trivium.types.request import Request, Sampling, Tool
from trivium.types.response import Choice, Response, fold
from trivium.types.usage import Usage

LEGACY = get("openai_completions")
CONTEXT = AnswerContext(id="gen-1", model="m", created=7, include_usage=True)


def parsed(**fields: Any) -> Request:
    return LEGACY.parse_request(json.dumps({"model": "m", "prompt": "Once", **fields}).encode())


def test_a_prompt_is_what_a_user_says() -> None:
    request = parsed(max_tokens=5, stop="\n", n=2, logprobs=3, temperature=0.5, best_of=4, stream=True)
    assert request == Request(
        model="m",
        messages=(Message("user", (Text("Once"),)),),
        max_output_tokens=5,
        stream=True,
        stop=("\n",),
        n=2,
        sampling=Sampling(temperature=0.5, logprobs=True, top_logprobs=3),
        extra={"best_of": 4},
    )
    assert parsed(prompt=["Once"]).messages == request.messages


@pytest.mark.parametrize("prompt", [["a", "b"], [1, 2], [[1]], []])
def test_several_prompts_and_tokens_are_not_translated(prompt: object) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parsed(prompt=prompt)
    assert caught.value.param == "prompt"
    head = LEGACY.peek(json.dumps({"model": "m", "prompt": prompt}).encode())
    assert head.passes  # a server of this dialect may have it


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"model": "m"}, "prompt"),
        ({"model": "m", "prompt": None}, "prompt"),
        ({"prompt": "x"}, "model"),
        ({"model": "m", "prompt": "x", "max_tokens": "many"}, "max_tokens"),
        ({"model": "m", "prompt": {"a": 1}}, "prompt"),
    ],
)
def test_a_bad_body_is_told_by_its_path(body: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        LEGACY.parse_request(json.dumps(body).encode())
    assert caught.value.param == param


@given(
    text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    tokens=st.none() | st.integers(1, 99),
    tops=st.none() | st.integers(0, 5),
    stop=st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), max_size=3),
)
def test_what_is_built_reads_the_same(text: str, tokens: int | None, tops: int | None, stop: list[str]) -> None:
    asked = Request(
        model="m",
        messages=(Message("user", (Text(text),)),),
        max_output_tokens=tokens,
        stop=tuple(stop),
        sampling=Sampling(top_p=0.5, logprobs=True if tops is not None else None, top_logprobs=tops),
        extra={"suffix": "end"},
    )
    built = LEGACY.build_request(asked)
    assert LEGACY.parse_request(built.body) == asked
    assert built.losses == ()


def test_what_has_no_words_is_a_loss() -> None:
    asked = Request(
        model="m",
        messages=(Message("system", (Text("a"),)), Message("user", (Text("b"),))),
        tools=(Tool(name="t"),),
        sampling=Sampling(top_k=3),
        extra={"store": True},
    )
    assert set(LEGACY.build_request(asked).losses) == {"messages", "tools", "top_k", "store"}


EVENTS: list[Event] = [
    Start(id="c", model="m", created=7),
    TextDelta("Hel"),
    LogprobsDelta(content=[{"token": "Hel", "logprob": -0.5, "bytes": [72, 101, 108], "top_logprobs": []}]),
    TextDelta('lo "you"\n'),
    Finish(reason="length"),
    UsageReport(Usage(input_tokens=3, output_tokens=2)),
    End(),
]


@given(cut=st.integers(0, 10**4))
def test_a_stream_says_what_its_events_say_however_it_is_cut(cut: int) -> None:
    sent = LEGACY.encoder(CONTEXT).encode(EVENTS)
    assert sent.endswith(b"data: [DONE]\n\n")
    decoder = LEGACY.decoder()
    cut %= len(sent)
    read = fold([*decoder.feed(sent[:cut]), *decoder.feed(sent[cut:])])
    assert (read.text, read.finish_reason) == ('Hello "you"\n', "length")
    assert read.usage == Usage(input_tokens=3, output_tokens=2)
    assert read.choices[0].logprobs is not None
    assert read.choices[0].logprobs[0]["logprob"] == -0.5
    whole = fold(LEGACY.decode_answer(LEGACY.encode_answer(read, CONTEXT).body))
    assert (whole.text, whole.usage, whole.choices[0].logprobs) == (read.text, read.usage, read.choices[0].logprobs)


@given(cut=st.integers(0, 10**4))
def test_a_meter_passes_the_bytes(cut: int) -> None:
    sent = LEGACY.encoder(CONTEXT).encode(EVENTS)
    meter = LEGACY.meter(True)
    cut %= len(sent)
    assert meter.feed(sent[:cut]) + meter.feed(sent[cut:]) == sent
    assert (meter.content, meter.complete, meter.finish_reason) == (True, True, "length")
    assert meter.usage == Usage(input_tokens=3, output_tokens=2)


def test_a_cut_stream_has_no_end_and_an_error_none_either() -> None:
    decoder = LEGACY.decoder()
    decoder.feed(LEGACY.encoder(CONTEXT).encode(EVENTS[:2]))
    assert End() not in decoder.close()
    failed = LEGACY.encoder(CONTEXT).fail(UpstreamRateLimited("slow down"))
    (failure,) = LEGACY.decoder().feed(failed)
    assert isinstance(failure, Failure)
    assert isinstance(failure.error, UpstreamRateLimited)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"choices":[]}', b'{"choices":[{"text":5}]}'])
def test_what_is_no_completion(body: bytes) -> None:
    with pytest.raises(UpstreamProtocolError):
        LEGACY.decode_answer(body)


def test_thoughts_are_a_loss() -> None:
    answer = Response(choices=(Choice(message=Message("assistant", (Reasoning(text="hm"), Text("a")))),))
    built = LEGACY.encode_answer(answer, CONTEXT)
    assert built.losses == ("reasoning",)
    assert msgspec.json.decode(built.body)["choices"][0]["text"] == "a"


def test_an_error_inside_a_choice_is_the_answers() -> None:
    choice = {"index": 0, "text": "a", "finish_reason": "error", "error": {"code": 429, "message": "slow down"}}
    body = msgspec.json.encode({"id": "c", "choices": [choice]})
    with pytest.raises(UpstreamRateLimited):
        LEGACY.decode_answer(body)
    failure = LEGACY.decoder().feed(b"data: %b\n\n" % body)[-1]
    assert isinstance(failure, Failure)
    assert isinstance(failure.error, UpstreamRateLimited)


def test_what_a_completion_cannot_say_is_named() -> None:
    cited = Text("a", citations=(Citation(source="u"),))
    answer = Response(choices=(Choice(message=Message("assistant", (cited,))),))
    assert LEGACY.encode_answer(answer, CONTEXT).losses == ("citations",)
    encoder = LEGACY.encoder(CONTEXT)
    encoder.encode([CitationDelta(citation=Citation(source="u")), AudioDelta(data="AAAA")])
    assert encoder.losses == ("citations", "audio")
    asked = Request(model="m", messages=(Message("user", (Text("a"), Image(url="https://a/b.png"))),))
    assert LEGACY.build_request(asked).losses == ("messages.image",)
