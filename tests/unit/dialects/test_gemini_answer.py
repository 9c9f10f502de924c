"""Gemini's answers: whole and streamed, both ways; errors; the meter of what passes."""

from __future__ import annotations

import json
from time import process_time
from typing import Any

import pytest
from google.genai import types as sdk

from gemini_help import check_answer
from trivium.dialects.base import AnswerContext, TextEncoder, TextSource
from trivium.dialects.gemini import DIALECT
from trivium.errors import (
    InvalidRequest,
    RateLimited,
    TriviumError,
    UpstreamAuthError,
    UpstreamContextLength,
    UpstreamCut,
    UpstreamError,
    UpstreamNotFound,
    UpstreamOverloaded,
    UpstreamProtocolError,
    UpstreamQuotaExhausted,
    UpstreamRateLimited,
    UpstreamRefused,
    UpstreamRejected,
    UpstreamServerError,
)
from trivium.types.event import (
    AudioDelta,
    CitationDelta,
    End,
    Event,
    Failure,
    Finish,
    LogprobsDelta,
    Ping,
    ReasoningDelta,
    RefusalDelta,
    Start,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    UsageReport,
)
from trivium.types.message import Audio, Citation, Message, Part, Reasoning, Refusal, Text, ToolCall
from trivium.types.response import Choice, Response, fold
from trivium.types.usage import Usage

FORMAT = "google-gemini-v1"
CONTEXT = AnswerContext(id="gen-1", model="m", created=0)


def candidate(*parts: Any, reason: str | None = "STOP", index: int = 0, **more: Any) -> dict[str, Any]:
    said = {"content": {"parts": list(parts), "role": "model"}, "index": index, **more}
    return said | ({"finishReason": reason} if reason else {})


def answer(*candidates: Any, **more: Any) -> dict[str, Any]:
    return {"candidates": list(candidates), "modelVersion": "gemini-x", "responseId": "r1"} | more


def decoded(wire: Any) -> list[Event]:
    return DIALECT.decode_answer(json.dumps(wire).encode())


def frames(*chunks: Any) -> bytes:
    return b"".join(b"data: " + json.dumps(chunk).encode() + b"\r\n\r\n" for chunk in chunks)


def streamed(*chunks: Any) -> list[Event]:
    decoder = DIALECT.decoder()
    return decoder.feed(frames(*chunks)) + decoder.close()


USAGE = {
    "promptTokenCount": 100,
    "cachedContentTokenCount": 40,
    "toolUsePromptTokenCount": 5,
    "candidatesTokenCount": 7,
    "thoughtsTokenCount": 3,
    "totalTokenCount": 115,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 60}, {"modality": "AUDIO", "tokenCount": 40}],
    "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 10}],
    "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 2}],
}
USED = Usage(
    input_tokens=65,
    output_tokens=10,
    cache_read_tokens=40,
    reasoning_tokens=3,
    input_audio_tokens=30,
    output_audio_tokens=2,
)


class TestDecode:
    def test_everything(self) -> None:
        wire = answer(
            candidate(
                {"text": "hm", "thought": True},
                {"text": "m", "thought": True, "thoughtSignature": "AAAA"},
                {"text": "a"},
                {"text": "b", "thoughtSignature": "BBBB"},
                {"functionCall": {"name": "f", "args": {"x": 1}}, "thoughtSignature": "CCCC"},
                {"functionCall": {"id": "given", "name": "g"}},
                {"functionCall": {"name": "h", "args": None}},
                {"executableCode": {"code": "1"}},
                {"inlineData": {"mimeType": "audio/L16", "data": "AAAA"}},
                logprobsResult={
                    "chosenCandidates": [{"token": "é", "logProbability": -0.5}, {"token": "b"}],
                    "topCandidates": [{"candidates": [{"token": "c", "logProbability": -1}]}],
                },
            ),
            usageMetadata=USAGE,
        )
        events = decoded(wire)
        assert events[0] == Start(id="r1", model="gemini-x")
        assert events[-1] == End()
        found = fold(events)
        (choice,) = found.choices
        assert choice.message.parts == (
            Reasoning(text="hmm", signature="AAAA", format=FORMAT),
            Text("ab"),
            Reasoning(signature="BBBB", format=FORMAT),
            ToolCall(id="call_r1_0_0", name="f", arguments='{"x": 1}', signature="CCCC"),
            ToolCall(id="given", name="g"),
            ToolCall(id="call_r1_0_2", name="h"),
            Audio(data="AAAA", format=""),
        )
        assert (choice.finish_reason, choice.native_finish_reason) == ("tool_calls", "STOP")
        top = {"token": "c", "logprob": -1.0, "bytes": [99]}
        assert choice.logprobs == [
            {"token": "é", "logprob": -0.5, "bytes": [195, 169], "top_logprobs": [top]},
            {"token": "b", "logprob": 0.0, "bytes": [98], "top_logprobs": []},
        ]
        assert found.usage == USED

    @pytest.mark.parametrize(
        ("native", "reason"),
        [
            ("STOP", "stop"),
            ("MAX_TOKENS", "length"),
            ("SAFETY", "content_filter"),
            ("RECITATION", "content_filter"),
            ("BLOCKLIST", "content_filter"),
            ("PROHIBITED_CONTENT", "content_filter"),
            ("MALFORMED_FUNCTION_CALL", "error"),
            ("NOVEL", "stop"),
        ],
    )
    def test_ends(self, native: str, reason: str) -> None:
        finish = next(event for event in decoded(answer(candidate(reason=native))) if isinstance(event, Finish))
        assert (finish.reason, finish.native) == (reason, native)
        assert DIALECT.read_answer(json.dumps(answer(candidate(reason=native))).encode()).finish_reason == reason

    def test_every_word_of_the_vendors_types_has_a_reason(self) -> None:
        unknown = {"FINISH_REASON_UNSPECIFIED", "ESCALATION", "PUP_LIMITED_DISABLED"}
        for word in sdk.FinishReason:
            (finish,) = [event for event in decoded(answer(candidate(reason=word.value))) if isinstance(event, Finish)]
            assert (finish.reason == "stop") == (word.value in unknown | {"STOP"}), word

    def test_an_end_with_calls_that_failed_is_no_call(self) -> None:
        call = {"functionCall": {"name": "f"}}
        for reason in ("MAX_TOKENS", "SAFETY"):
            assert fold(decoded(answer(candidate(call, reason=reason)))).finish_reason != "tool_calls"

    def test_several_candidates(self) -> None:
        found = fold(decoded(answer(candidate({"text": "a"}), candidate({"text": "b"}, index=1, reason="MAX_TOKENS"))))
        assert [(choice.message.text, choice.finish_reason) for choice in found.choices] == [
            ("a", "stop"),
            ("b", "length"),
        ]

    @pytest.mark.parametrize(
        ("grounding", "citations"),
        [
            (
                {
                    "groundingChunks": [
                        {"web": {"uri": "https://a.test", "title": "A"}},
                        {"retrievedContext": {"title": "B", "text": "quoted"}},
                        {"maps": {"uri": "https://c.test"}},
                        {"novel": {}},
                    ],
                    "groundingSupports": [
                        {"segment": {"startIndex": 2, "endIndex": 5, "text": "éb"}, "groundingChunkIndices": [0, 1, 9]},
                        {"groundingChunkIndices": [2]},
                    ],
                },
                [
                    Citation(source="https://a.test", title="A", start=1, end=3),
                    Citation(source="B", title="B", quote="quoted", start=1, end=3),
                    Citation(source="https://c.test"),
                    Citation(source=""),
                ],
            ),
            ({}, []),
        ],
    )
    def test_grounding(self, grounding: Any, citations: list[Citation]) -> None:
        (part,) = (
            fold(decoded(answer(candidate({"text": "ééb"}, groundingMetadata=grounding)))).choices[0].message.parts
        )
        assert part == Text("ééb", citations=tuple(citations))

    @pytest.mark.parametrize("name", ["citationSources", "citations"])
    def test_citations(self, name: str) -> None:
        cited = {name: [{"startIndex": 1, "endIndex": 3, "uri": "https://a.test", "license": "MIT"}, {"title": "T"}]}
        (part,) = fold(decoded(answer(candidate({"text": "abc"}, citationMetadata=cited)))).choices[0].message.parts
        assert isinstance(part, Text)
        assert part.citations == (Citation(source="https://a.test", start=1, end=3), Citation(source="T", title="T"))

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"[]",
            b"<html>",
            b'{"candidates":[]}',
            b'{"candidates":[{"content":{"parts":[{"text":"a"}]}}]}',
            b'{"candidates":[{"content":{"parts":[{"text":1}]},"finishReason":"STOP"}]}',
            b'{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":[1]}}]},"finishReason":"STOP"}]}',
            b'{"candidates":[{"content":{"parts":[{"functionCall":{"args":{}}}]},"finishReason":"STOP"}]}',
            b'{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","willContinue":true}}]},"finishReason":"STOP"}]}',
            b'{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","partialArgs":[]}}]},"finishReason":"STOP"}]}',
            b'{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{"a":"\xff"}}}]},"finishReason":"STOP"}]}',
        ],
    )
    def test_what_is_none(self, body: bytes) -> None:
        with pytest.raises(UpstreamProtocolError):
            DIALECT.decode_answer(body)
        if b"parts" not in body:
            with pytest.raises(UpstreamProtocolError):
                DIALECT.read_answer(body)

    def test_a_blocked_prompt_is_a_refusal(self) -> None:
        body = b'{"promptFeedback":{"blockReason":"PROHIBITED_CONTENT"},"usageMetadata":{"promptTokenCount":4}}'
        for read in (DIALECT.decode_answer, DIALECT.read_answer):
            with pytest.raises(UpstreamRefused, match="PROHIBITED_CONTENT") as caught:
                read(body)
            assert caught.value.provider_code == "PROHIBITED_CONTENT"
        feedback = {"promptFeedback": {"safetyRatings": []}}
        assert decoded(answer(candidate({"text": "a"}), **feedback))[-1] == End()

    def test_an_error_inside_an_answer(self) -> None:
        body = b'{"error":{"code":503,"message":"busy","status":"UNAVAILABLE"}}'
        for read in (DIALECT.decode_answer, DIALECT.read_answer):
            with pytest.raises(UpstreamOverloaded, match="busy"):
                read(body)

    def test_what_a_passed_answer_says(self) -> None:
        read = DIALECT.read_answer(json.dumps(answer(candidate({"text": "a"}), usageMetadata=USAGE)).encode())
        assert (read.usage, read.finish_reason, read.id) == (USED, "stop", "r1")

    @pytest.mark.parametrize("usage", [{}, {"promptTokenCount": -1}, {"promptTokenCount": "x"}, None])
    def test_figures_that_cannot_be(self, usage: Any) -> None:
        assert fold(decoded(answer(candidate({"text": "a"}), usageMetadata=usage))).usage is None

    @pytest.mark.parametrize("name", ["groundingMetadata", "citationMetadata", "logprobsResult", "safetyRatings"])
    def test_what_is_broken_beside_the_text_does_not_cost_it(self, name: str) -> None:
        wire = answer(candidate({"text": "a"}, **{name: 1}), usageMetadata={"promptTokensDetails": 2})
        assert fold(decoded(wire)).choices[0].message.parts == (Text("a"),)

    def test_a_cache_that_is_larger_than_its_prompt(self) -> None:
        usage = {"promptTokenCount": 3, "cachedContentTokenCount": 9, "promptTokensDetails": [{"modality": "IMAGE"}]}
        assert fold(decoded(answer(candidate(), usageMetadata=usage))).usage == Usage(cache_read_tokens=3)


class TestStream:
    def test_chunks(self) -> None:
        events = streamed(
            answer(candidate({"text": "hm", "thought": True}, reason=None), usageMetadata={"promptTokenCount": 9}),
            answer(candidate({"text": "a"}, reason=None), usageMetadata={"promptTokenCount": 9}),
            answer(candidate({"text": "b"}, reason=None)),
            answer(candidate({"functionCall": {"name": "f"}}, reason=None)),
            answer(candidate({"text": "", "thoughtSignature": "AAAA"}, reason="STOP"), usageMetadata=USAGE),
        )
        assert events == [
            Start(id="r1", model="gemini-x", usage=Usage(input_tokens=9)),
            ReasoningDelta(text="hm", format=FORMAT, block=0),
            TextDelta("a", block=1),
            TextDelta("b", block=1),
            ToolCallStart(index=0, id="call_r1_0_0", name="f"),
            ToolCallDelta(index=0, arguments="{}"),
            ReasoningDelta(signature="AAAA", format=FORMAT, block=2),
            Finish(reason="tool_calls", native="STOP"),
            UsageReport(USED),
            End(),
        ]

    def test_usage_may_come_after_the_end(self) -> None:
        events = streamed(answer(candidate({"text": "a"})), {"usageMetadata": USAGE, "responseId": "r1"})
        assert events[-2:] == [UsageReport(USED), End()]

    def test_whole_only_when_all_candidates_have_ended(self) -> None:
        chunks = [answer(candidate({"text": "a"}, reason=None)), answer(candidate({"text": "b"}, index=1))]
        assert streamed(*chunks)[-1] != End()
        assert streamed(*chunks, answer(candidate()))[-1] == End()
        assert streamed() == []
        assert End() not in streamed({"usageMetadata": USAGE})
        twice = streamed(answer(candidate({"text": "a"})), answer(candidate(reason="SAFETY")))
        assert [event.reason for event in twice if isinstance(event, Finish)] == ["stop"]

    @pytest.mark.parametrize(
        ("chunk", "error"),
        [
            ({"error": {"code": 429, "message": "m", "status": "RESOURCE_EXHAUSTED"}}, UpstreamRateLimited),
            ({"error": {"message": "m", "status": "NOT_FOUND"}}, UpstreamNotFound),
            ({"error": "broken"}, UpstreamServerError),
            ({"promptFeedback": {"blockReason": "SAFETY"}}, UpstreamRefused),
        ],
    )
    def test_failures(self, chunk: Any, error: type[UpstreamError]) -> None:
        events = streamed(answer(candidate({"text": "a"}, reason=None)), chunk, answer(candidate()))
        assert isinstance(events[-1], Failure)
        assert type(events[-1].error) is error

    @pytest.mark.parametrize(
        "broken",
        [
            b"[DONE]",
            b"{",
            b'{"candidates":[1]}',
            b'{"candidates":[{"content":{"parts":[{"functionCall":{}}]}}]}',
            b'{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{"a":"\xff"}}}]}}]}',
            b"\xff",
        ],
    )
    def test_broken_frames_are_skipped_and_counted(self, broken: bytes) -> None:
        decoder = DIALECT.decoder()
        events = decoder.feed(b"data: " + broken + b"\n\n" + frames(answer(candidate({"text": "a"})))) + decoder.close()
        assert (fold(events).text, events[-1], decoder.malformed) == ("a", End(), 1)

    def test_unknown_chunks_are_signs_of_life(self) -> None:
        assert streamed({"novel": 1}, {"candidates": []})[1:] == [Ping()]

    def test_offsets_of_citations_hold_for_texts_that_went_by_undecoded(self) -> None:
        def chunk(text: str) -> bytes:
            return DIALECT.encoder(CONTEXT).encode([TextDelta(text)])

        decoder = DIALECT.decoder()
        assert isinstance(decoder, TextSource)
        decoder.feed(frames(answer(candidate(reason=None))))
        decoder.feed(chunk("ä"))
        assert decoder.texts(chunk('ö"') + chunk("b")) == ['ö\\"'.encode(), b"b"]
        grounding = {
            "groundingChunks": [{"web": {"uri": "u"}}],
            "groundingSupports": [{"segment": {"startIndex": 4, "endIndex": 6}, "groundingChunkIndices": [0]}],
        }
        events = decoder.feed(frames(answer(candidate(groundingMetadata=grounding))))
        assert CitationDelta(citation=Citation(source="u", start=2, end=4)) in events


def written(*parts: Part, **more: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    choice = Choice(message=Message("assistant", parts), **{"finish_reason": "stop"} | more)
    built = DIALECT.encode_answer(Response(choices=(choice,), usage=USED), CONTEXT)
    check_answer(built.body)
    return json.loads(built.body)["candidates"][0], built.losses


class TestEncode:
    def test_everything(self) -> None:
        wire, losses = written(
            Reasoning(text="hm", signature="AAAA", format=FORMAT),
            Text("äb", citations=(Citation(source="u", title="t", start=0, end=1), Citation(source="v", quote="q"))),
            Reasoning(signature="BBBB", format=FORMAT),
            ToolCall(id="a", name="f", arguments='{"x":1}', signature="CCCC"),
            finish_reason="tool_calls",
            logprobs=[{"token": "a", "logprob": -1, "bytes": None, "top_logprobs": [{"token": "b", "logprob": -2}]}],
        )
        assert losses == ()
        assert wire == {
            "content": {
                "parts": [
                    {"text": "hm", "thought": True, "thoughtSignature": "AAAA"},
                    {"text": "äb"},
                    {"text": "", "thoughtSignature": "BBBB"},
                    {"functionCall": {"id": "a", "name": "f", "args": {"x": 1}}, "thoughtSignature": "CCCC"},
                ],
                "role": "model",
            },
            "finishReason": "STOP",
            "groundingMetadata": {
                "groundingChunks": [
                    {"web": {"uri": "u", "title": "t"}},
                    {"retrievedContext": {"uri": "v", "text": "q"}},
                ],
                "groundingSupports": [
                    {"segment": {"startIndex": 0, "endIndex": 2, "text": "ä"}, "groundingChunkIndices": [0]}
                ],
            },
            "logprobsResult": {
                "chosenCandidates": [{"token": "a", "logProbability": -1}],
                "topCandidates": [{"candidates": [{"token": "b", "logProbability": -2}]}],
            },
            "index": 0,
        }

    def test_the_frame(self) -> None:
        body = json.loads(DIALECT.encode_answer(Response(usage=USED), CONTEXT).body)
        assert (body["modelVersion"], body["responseId"]) == ("m", "gen-1")
        assert body["candidates"] == [{"content": {"parts": [{"text": ""}], "role": "model"}, "index": 0}]
        assert body["usageMetadata"] == {
            "promptTokenCount": 105,
            "candidatesTokenCount": 7,
            "totalTokenCount": 115,
            "cachedContentTokenCount": 40,
            "thoughtsTokenCount": 3,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 75}, {"modality": "AUDIO", "tokenCount": 30}],
            "candidatesTokensDetails": [{"modality": "TEXT", "tokenCount": 5}, {"modality": "AUDIO", "tokenCount": 2}],
        }
        priced = Response(usage=Usage(cost_usd=0.5))
        assert json.loads(DIALECT.encode_answer(priced, CONTEXT).body)["usageMetadata"]["cost"] == 0.5

    @pytest.mark.parametrize(
        ("reason", "native", "word"),
        [
            ("stop", None, "STOP"),
            ("stop", "end_turn", "STOP"),
            ("length", "max_tokens", "MAX_TOKENS"),
            ("tool_calls", "tool_use", "STOP"),
            ("content_filter", None, "SAFETY"),
            ("content_filter", "RECITATION", "RECITATION"),
            ("refusal", "refusal", "SAFETY"),
            ("error", None, "OTHER"),
            ("stop", "MAX_TOKENS", "STOP"),
        ],
    )
    def test_ends(self, reason: Any, native: str | None, word: str) -> None:
        wire, _ = written(Text("a"), finish_reason=reason, native_finish_reason=native)
        assert wire["finishReason"] == word

    def test_a_refusal_in_words(self) -> None:
        wire, losses = written(Refusal("No."))
        assert (wire["content"]["parts"], wire["finishReason"], losses) == ([{"text": "No."}], "SAFETY", ())

    def test_losses(self) -> None:
        wire, losses = written(
            Reasoning(text="a", signature="s", format="anthropic-claude-v1"),
            Reasoning(signature="s"),
            Reasoning(encrypted="e"),
            Audio(data="AAAA", format="wav"),
            ToolCall(id="a", name="f", arguments="{"),
        )
        assert wire["content"]["parts"] == [
            {"text": "a", "thought": True},
            {"functionCall": {"id": "a", "name": "f", "args": {"arguments": "{"}}},
        ]
        assert set(losses) == {"reasoning.signature", "reasoning.encrypted", "audio", "tool_call.arguments"}


def said(*events: Event, context: AnswerContext = CONTEXT) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    encoder = DIALECT.encoder(context)
    stream = b"".join(encoder.encode([event]) for event in events)
    datas = [frame.removeprefix(b"data: ") for frame in stream.split(b"\n\n") if frame]
    for data in datas:
        if not data.startswith(b'{"error":'):
            check_answer(data)
    return [json.loads(data) for data in datas], encoder.losses


class TestEncoder:
    def test_a_stream(self) -> None:
        chunks, losses = said(
            Start(usage=Usage(input_tokens=9)),
            ReasoningDelta(text="hm"),
            TextDelta("a"),
            Ping(),
            TextDelta(""),
            ToolCallStart(index=0, id="x", name="f"),
            ToolCallDelta(index=0, arguments='{"a"'),
            ToolCallDelta(index=0, arguments=":1}"),
            Finish(reason="tool_calls"),
            UsageReport(USED),
            End(),
        )
        assert losses == ()
        assert all((chunk["modelVersion"], chunk["responseId"]) == ("m", "gen-1") for chunk in chunks)
        parts = [chunk["candidates"][0]["content"]["parts"] for chunk in chunks]
        assert parts == [
            [{"text": "hm", "thought": True}],
            [{"text": "a"}],
            [{"functionCall": {"id": "x", "name": "f", "args": {"a": 1}}}],
            [{"text": ""}],
        ]
        assert [chunk["candidates"][0].get("finishReason") for chunk in chunks] == [None, None, None, "STOP"]
        assert [("usageMetadata" in chunk) for chunk in chunks] == [False, False, False, True]

    def test_calls_are_said_whole_and_in_their_order(self) -> None:
        starts = [ToolCallStart(index=n, id=str(n), name="f") for n in range(3)]
        events = [
            *starts,
            ToolCallDelta(index=1, arguments='{"b":1}'),
            ToolCallDelta(index=0, arguments="{}"),
            TextDelta("between"),
            ToolCallDelta(index=9, arguments="{}"),
            ToolCallDelta(index=2, arguments='{"c":'),
        ]
        chunks, losses = said(*events)
        parts = [chunk["candidates"][0]["content"]["parts"][0] for chunk in chunks]
        assert [part.get("functionCall", {}).get("id") for part in parts] == ["0", "1", None]
        assert losses == ("tool_call.arguments",)
        chunks, _ = said(*events, Finish(reason="tool_calls"), End())
        assert chunks[3]["candidates"][0]["content"]["parts"][0]["functionCall"]["args"] == {"arguments": '{"c":'}

    def test_a_cut_stream_says_no_end(self) -> None:
        chunks, _ = said(TextDelta("a"), ToolCallStart(index=0, id="x", name="f"), Finish(reason="stop"))
        assert [chunk["candidates"][0].get("finishReason") for chunk in chunks] == [None]

    def test_several_choices(self) -> None:
        chunks, _ = said(
            TextDelta("a"), TextDelta("b", 1), Finish(reason="stop"), Finish(reason="length", choice=1), End()
        )
        assert [[found["index"] for found in chunk["candidates"]] for chunk in chunks] == [[0], [1], [0, 1]]
        assert [found["finishReason"] for found in chunks[2]["candidates"]] == ["STOP", "MAX_TOKENS"]

    def test_citations_logprobs_and_a_refusal(self) -> None:
        chunks, losses = said(
            TextDelta("ä"),
            TextDelta("b"),
            CitationDelta(citation=Citation(source="u", start=1, end=2)),
            LogprobsDelta(content=[{"token": "a", "logprob": -1}]),
            RefusalDelta("no"),
            AudioDelta(data="AAAA"),
            Finish(reason="stop"),
            End(),
        )
        assert losses == ("audio",)
        last = chunks[-1]["candidates"][0]
        assert last["finishReason"] == "SAFETY"
        assert last["groundingMetadata"]["groundingSupports"][0]["segment"] == {
            "startIndex": 2,
            "endIndex": 3,
            "text": "b",
        }
        assert chunks[2]["candidates"][0]["logprobsResult"]["chosenCandidates"] == [
            {"token": "a", "logProbability": -1}
        ]

    def test_the_format_of_a_thought_may_come_once(self) -> None:
        chunks, losses = said(
            ReasoningDelta(text="a", format=FORMAT),
            ReasoningDelta(signature="AAAA"),
            ReasoningDelta(text="b", format="other", block=1),
            ReasoningDelta(signature="s", block=1),
        )
        assert [chunk["candidates"][0]["content"]["parts"][0] for chunk in chunks] == [
            {"text": "a", "thought": True},
            {"text": "", "thoughtSignature": "AAAA"},
            {"text": "b", "thought": True},
        ]
        assert losses == ("reasoning.signature",)

    def test_an_end_without_anything(self) -> None:
        chunks, _ = said(Start(), End())
        assert chunks[0]["candidates"] == [
            {"content": {"parts": [{"text": ""}], "role": "model"}, "finishReason": "OTHER", "index": 0}
        ]

    def test_the_error_comes_first_in_its_chunk(self) -> None:
        encoder = DIALECT.encoder(CONTEXT)
        assert encoder.encode([Failure(UpstreamCut("cut"))]).startswith(b'data: {"error":{"code":502,')

    def test_plain_texts_go_between_constant_bytes(self) -> None:
        encoder = DIALECT.encoder(CONTEXT)
        assert isinstance(encoder, TextEncoder)
        assert encoder.around(0, 0) is None
        encoder.encode([TextDelta("a", block=1)])
        around = encoder.around(0, 1)
        assert around is not None
        assert around[0] + b"b" + around[1] == encoder.encode([TextDelta("b", block=1)])
        encoder.wrote("ü".encode())
        encoder.encode([CitationDelta(citation=Citation(source="u", start=2, end=3), block=1), Finish(reason="stop")])
        chunk = json.loads(encoder.encode([End()]).removeprefix(b"data: "))
        segment = chunk["candidates"][0]["groundingMetadata"]["groundingSupports"][0]["segment"]
        assert segment == {"startIndex": 2, "endIndex": 4, "text": "ü"}
        encoder.encode([ToolCallStart(index=0, id="x", name="f")])
        assert encoder.around(0, 1) is None


class TestMeter:
    def fed(self, *chunks: Any, slices: int = 1) -> Any:
        meter, data = DIALECT.meter(True), frames(*chunks)
        passed = b"".join(meter.feed(data[at : at + slices]) for at in range(0, len(data), slices))
        assert passed.rstrip() == data.rstrip()
        assert not meter.complete
        return meter

    def test_a_whole_stream(self) -> None:
        chunks = [
            answer(candidate({"text": "hm", "thought": True}, reason=None), usageMetadata={"promptTokenCount": 9}),
            answer(candidate({"text": "a"}, reason=None)),
            answer(candidate({"text": "b"}), usageMetadata=USAGE),
        ]
        assert not self.fed(chunks[0]).content
        for slices in (1, 7, 10**4):
            meter = self.fed(*chunks, slices=slices)
            assert (meter.content, meter.finish_reason) == (True, "stop")
            assert meter.close() == (b"\n" if slices == 1 else b"")  # it might have begun another line
            assert (meter.complete, meter.usage, meter.upstream_id) == (True, USED, "r1")

    def test_a_cut_stream(self) -> None:
        for chunks in ([], [answer(candidate({"text": "a"}, reason=None))]):
            meter = self.fed(*chunks)
            meter.close()
            assert not meter.complete
        meter = self.fed(answer(candidate({"text": "a"}, reason=None)), answer(candidate({"text": "b"}, index=1)))
        meter.close()
        assert not meter.complete

    @pytest.mark.parametrize(
        "chunk", [{"error": {"code": 503, "message": "busy"}}, {"promptFeedback": {"blockReason": "SAFETY"}}]
    )
    def test_an_error_does_not_pass(self, chunk: Any) -> None:
        meter = DIALECT.meter(True)
        before = frames(answer(candidate({"text": "a"}, reason=None)))
        assert meter.feed(before + frames(chunk) + before) == before
        assert isinstance(meter.error, UpstreamError)
        assert (meter.close(), meter.complete) == (b"", False)

    def test_broken_frames_do_not_pass(self) -> None:
        meter = DIALECT.meter(True)
        assert meter.feed(b"data: {\n\n" + frames(answer(candidate()))) == frames(answer(candidate()))
        assert meter.malformed == 1

    def test_calls_are_content(self) -> None:
        assert self.fed(answer(candidate({"functionCall": {"name": "f"}}, reason=None))).content

    def test_plain_texts_pass_unread(self) -> None:
        meter, encoder = DIALECT.meter(True), DIALECT.encoder(CONTEXT)
        texts = [encoder.encode([TextDelta(text)]) for text in ("a", "b", "c\n")]
        meter.feed(texts[0])
        assert meter.ordinary(texts[1] + texts[2]) == 2
        assert not meter.ordinary(encoder.encode([Finish(reason="stop"), End()]))


KEY = {
    "error": {"code": 400, "message": "API key not valid. Please pass a valid API key.", "status": "INVALID_ARGUMENT"}
}


class TestErrors:
    @pytest.mark.parametrize(
        ("status", "body", "error"),
        [
            (400, KEY, UpstreamAuthError),
            (400, {"error": {"message": "m", "details": [{"reason": "API_KEY_EXPIRED"}]}}, UpstreamAuthError),
            (403, {"error": {"message": "m", "status": "PERMISSION_DENIED"}}, UpstreamAuthError),
            (
                400,
                {"error": {"message": "The input token count (9) exceeds the maximum number of tokens allowed (8)."}},
                UpstreamContextLength,
            ),
            (400, {"error": {"message": "bad", "status": "INVALID_ARGUMENT"}}, UpstreamRejected),
            (404, {"error": {"message": "no model", "status": "NOT_FOUND"}}, UpstreamNotFound),
            (429, {"error": {"message": "Resource has been exhausted (e.g. check quota)."}}, UpstreamRateLimited),
            (429, {"error": {"message": "check your plan and billing details"}}, UpstreamQuotaExhausted),
            (500, {"error": {"message": "m", "status": "INTERNAL"}}, UpstreamServerError),
            (503, {"error": {"message": "overloaded", "status": "UNAVAILABLE"}}, UpstreamOverloaded),
            (503, [{"error": {"message": "in a list"}}], UpstreamOverloaded),
            (400, {"message": "another shape"}, UpstreamRejected),
            (400, [], UpstreamRejected),
            (500, "x", UpstreamServerError),
            (400, {"error": {"code": "x", "message": None, "status": 3, "details": "none"}}, UpstreamRejected),
        ],
    )
    def test_of_an_upstream(self, status: int, body: Any, error: type[UpstreamError]) -> None:
        found = DIALECT.decode_error(status, json.dumps(body).encode())
        assert type(found) is error
        assert found.message

    @pytest.mark.parametrize(
        ("quota", "error"), [("PerMinute", UpstreamRateLimited), ("PerDay", UpstreamQuotaExhausted)]
    )
    def test_a_quota_that_passes_soon(self, quota: str, error: type[UpstreamError]) -> None:
        details = [
            {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": f"Requests{quota}"}]},
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "37.5s"},
        ]
        said = {"code": 429, "message": "You exceeded your current quota, check your plan and billing details."}
        found = DIALECT.decode_error(429, json.dumps({"error": said | {"details": details}}).encode())
        assert type(found) is error
        assert found.retry_after_s == (37.5 if error is UpstreamRateLimited else None)

    @pytest.mark.parametrize("body", [b"", b"<html>", b"\xff", b'{"error"', b"null", b'{"error":null}'])
    def test_of_no_known_shape(self, body: bytes) -> None:
        assert type(DIALECT.decode_error(503, body)) is UpstreamOverloaded

    @pytest.mark.parametrize(
        ("error", "status", "word"),
        [
            (InvalidRequest("bad", param="contents[0]"), 400, "INVALID_ARGUMENT"),
            (RateLimited("slow", retry_after_s=2.4), 429, "RESOURCE_EXHAUSTED"),
            (UpstreamAuthError("ours"), 502, "UNAVAILABLE"),
            (UpstreamNotFound("none"), 404, "NOT_FOUND"),
            (UpstreamOverloaded("busy"), 503, "UNAVAILABLE"),
        ],
    )
    def test_to_a_caller(self, error: TriviumError, status: int, word: str) -> None:
        body = json.loads(DIALECT.encode_error(error, "gen-1"))["error"]
        assert (body["code"], body["status"], body["message"]) == (status, word, str(error))
        details = {detail["@type"].rpartition(".")[2]: detail for detail in body["details"]}
        assert (details["ErrorInfo"]["reason"], details["ErrorInfo"]["domain"]) == (error.kind.upper(), "trivium")
        assert details["ErrorInfo"]["metadata"] == {"requestId": "gen-1"}
        if error.param:
            assert details["BadRequest"]["fieldViolations"][0]["field"] == error.param
        if error.retry_after_s:
            assert details["RetryInfo"]["retryDelay"] == "2s"

    @pytest.mark.parametrize(
        ("status", "word"),
        [
            (400, "INVALID_ARGUMENT"),
            (401, "UNAUTHENTICATED"),
            (402, "FAILED_PRECONDITION"),
            (403, "PERMISSION_DENIED"),
            (404, "NOT_FOUND"),
            (429, "RESOURCE_EXHAUSTED"),
            (499, "CANCELLED"),
            (500, "INTERNAL"),
            (503, "UNAVAILABLE"),
            (504, "DEADLINE_EXCEEDED"),
        ],
    )
    def test_words(self, status: int, word: str) -> None:
        kind: Any = type("Kind", (TriviumError,), {"status": status})
        assert json.loads(DIALECT.encode_error(kind("x"), ""))["error"]["status"] == word
        within = streamed({"error": {"message": "m", "status": word}})[-1]
        outside = DIALECT.decode_error(status, b'{"error":{"message":"m","status":"%b"}}' % word.encode())
        assert isinstance(within, Failure)
        assert (type(within.error), within.error.upstream_status) == (type(outside), status)  # type: ignore[attr-defined]

    def test_every_status_of_ours_has_a_word(self) -> None:
        leaves = [kind for kind in all_kinds(TriviumError) if not kind.__subclasses__()]
        for leaf in leaves:
            word = json.loads(DIALECT.encode_error(leaf("x"), ""))["error"]["status"]
            assert word != "INTERNAL" or leaf.status == 500, leaf


def all_kinds(kind: type[TriviumError]) -> list[type[TriviumError]]:
    return [kind, *(inner for sub in kind.__subclasses__() for inner in all_kinds(sub))]


def test_the_list_of_models() -> None:
    rows = [{"id": "google/a:b", "name": "A", "created": 0, "owned_by": "google", "context": 9}, {"id": "auto"}]
    body = json.loads(DIALECT.models_answer(rows))
    assert body == {
        "models": [
            {
                "name": "models/google/a:b",
                "displayName": "A",
                "inputTokenLimit": 9,
                "supportedGenerationMethods": ["generateContent", "streamGenerateContent"],
            },
            {
                "name": "models/auto",
                "displayName": "auto",
                "supportedGenerationMethods": ["generateContent", "streamGenerateContent"],
            },
        ]
    }


def test_many_citations_of_a_long_text_take_neither_time_nor_room() -> None:
    def said(*parts: Any, **more: Any) -> bytes:
        return b"data: %b\n\n" % json.dumps({"candidates": [candidate(*parts, reason=None, **more)]}).encode()

    decoder, text = DIALECT.decoder(), "é" * 50_000
    decoder.feed(said({"text": text}))
    cited = {"citationSources": [{"startIndex": 2, "endIndex": 100_000, "uri": "u"}]}
    began = process_time()
    for _ in range(300):
        (found,) = decoder.feed(said(citationMetadata=cited))
        assert isinstance(found, CitationDelta)
        assert (found.citation.start, found.citation.end) == (1, 50_000)
    assert process_time() - began < 1
    citations = (Citation(source="u", start=0, end=50_000),) * 1000
    message = Message("assistant", (Text(text, citations=citations),))
    response = Response(choices=(Choice(message=message, finish_reason="stop"),))
    assert len(DIALECT.encode_answer(response, CONTEXT).body) < 5_000_000


def test_texts_after_a_long_call_are_not_paid_for_by_its_length() -> None:
    encoder = DIALECT.encoder(CONTEXT)
    encoder.encode([ToolCallStart(index=0, id="c", name="f")])
    encoder.encode([ToolCallDelta(index=0, arguments='{"a":"' + "x" * 2_000_000)])
    began = process_time()
    for _ in range(2000):
        encoder.encode([TextDelta("a")])
    assert process_time() - began < 1
