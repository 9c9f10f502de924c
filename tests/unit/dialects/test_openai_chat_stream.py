"""Streams on OpenAI's wire: decoded, encoded, metered."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types.chat import ChatCompletionChunk

from trivium.dialects import get
from trivium.dialects.base import AnswerContext
from trivium.errors import UpstreamCut, UpstreamOverloaded, UpstreamProtocolError, UpstreamServerError
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
from trivium.types.message import Citation, Reasoning, Text, ToolCall
from trivium.types.response import fold
from trivium.types.usage import Usage

DIALECT = get("openai_chat")
CONTEXT = AnswerContext(id="gen-1", model="caller/model", created=1700000000)
DONE = b"data: [DONE]\n\n"


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, *, index: int = 0, **fields: Any) -> bytes:
    choices = [{"index": index, "delta": delta or {}, "logprobs": None, "finish_reason": finish}]
    wire = {"id": "up-1", "object": "chat.completion.chunk", "created": 5, "model": "up", "choices": choices} | fields
    return b"data: " + json.dumps(wire, separators=(",", ":")).encode() + b"\n\n"


USAGE = {"prompt_tokens": 4, "completion_tokens": 2, "total_tokens": 6}
USAGE_CHUNK = chunk(choices=[], usage=USAGE)
STREAM = (
    chunk({"role": "assistant", "content": ""})
    + chunk({"content": "he"})
    + chunk({"content": "llo"})
    + chunk({}, "stop")
    + USAGE_CHUNK
    + DONE
)


def events_of(*parts: bytes) -> list[Event]:
    decoder = DIALECT.decoder()
    return [event for part in parts for event in decoder.feed(part)] + decoder.close()


class TestDecoder:
    def test_a_plain_stream(self):
        assert events_of(STREAM) == [
            Start(id="up-1", model="up", created=5),
            Ping(),
            TextDelta("he"),
            TextDelta("llo"),
            Finish(reason="stop", native="stop"),
            UsageReport(Usage(input_tokens=4, output_tokens=2)),
            End(),
        ]

    @pytest.mark.parametrize(
        "delta", [{"role": "assistant"}, {"content": ""}, {"content": None}, {}, {"reasoning": ""}]
    )
    def test_deltas_without_content_are_signs_of_life(self, delta):
        assert events_of(chunk({"content": "x"}), chunk(delta))[2:] == [Ping()]

    def test_comments_are_signs_of_life(self):
        assert events_of(b": PROCESSING\n\n", b": more\n\n") == [Ping(), Ping()]

    @pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
    def test_thinking(self, name):
        assert ReasoningDelta(text="hm") in events_of(chunk({name: "hm", "content": None}))

    def test_thinking_in_details(self):
        details = [{"type": "reasoning.text", "text": "hm", "signature": "s", "index": 1}]
        events = events_of(chunk({"reasoning": "hm", "reasoning_details": details}))
        assert events[1:] == [ReasoningDelta(text="hm", signature="s", block=1)]

    def test_refusal_audio_and_logprobs(self):
        logprobs = {"content": [{"token": "x", "logprob": -1.0}]}
        choice = {"index": 0, "delta": {"content": "x"}, "logprobs": logprobs, "finish_reason": None}
        assert events_of(
            chunk({"refusal": "no"}),
            chunk({"audio": {"id": "a", "data": "QUJD"}}),
            chunk(choices=[choice]),
        )[1:] == [
            RefusalDelta("no"),
            AudioDelta(id="a", data="QUJD"),
            TextDelta("x"),
            LogprobsDelta(content=[{"token": "x", "logprob": -1.0}]),
        ]

    def test_unknown_fields_are_ignored(self):
        assert TextDelta("x") in events_of(chunk({"content": "x", "new": {"a": [1]}}, obfuscation="zz", novel=[None]))

    def test_tool_calls_by_index(self):
        def call(index: int, arguments: str, **first: str) -> bytes:
            function = {"arguments": arguments} | ({"name": first.pop("name")} if "name" in first else {})
            return chunk({"tool_calls": [{"index": index, "function": function} | first]})

        events = events_of(
            call(0, "", id="c1", name="f"),
            call(0, '{"a"'),
            call(1, "", id="c2", name="g"),
            call(0, ":1}"),
            call(1, "{}"),
        )
        assert events[1:] == [
            ToolCallStart(index=0, id="c1", name="f"),
            ToolCallDelta(index=0, arguments='{"a"'),
            ToolCallStart(index=1, id="c2", name="g"),
            ToolCallDelta(index=0, arguments=":1}"),
            ToolCallDelta(index=1, arguments="{}"),
        ]

    @pytest.mark.parametrize(
        "calls",
        [
            pytest.param(
                [
                    [{"index": 0, "id": "a", "function": {"name": "f", "arguments": "{"}}],
                    [{"index": 0, "id": "a", "function": {"name": "f", "arguments": "}"}}],
                    [{"index": 1, "id": "b", "function": {"name": "g", "arguments": "{}"}}],
                ],
                id="the id repeated",
            ),
            pytest.param(
                [
                    [
                        {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}},
                        {"index": 0, "id": "b", "function": {"name": "g", "arguments": "{}"}},
                    ]
                ],
                id="whole calls under one index",
            ),
            pytest.param(
                [
                    [{"id": "a", "function": {"name": "f", "arguments": "{"}}],
                    [{"function": {"arguments": "}"}}],
                    [{"id": "b", "function": {"name": "g", "arguments": {}}}],
                ],
                id="no index, arguments as an object",
            ),
            pytest.param(
                [
                    [{"index": 1, "id": "a", "function": {"name": "f", "arguments": "{}"}}],
                    [{"index": 2, "id": "b", "function": {"name": "g", "arguments": "{}"}}],
                ],
                id="numbered from 1",
            ),
        ],
    )
    def test_what_servers_make_of_tool_calls(self, calls):
        response = fold(events_of(*(chunk({"tool_calls": part}) for part in calls)))
        assert response.tool_calls == (
            ToolCall(id="a", name="f", arguments="{}"),
            ToolCall(id="b", name="g", arguments="{}"),
        )

    def test_calls_without_any_id(self):
        calls = (
            [{"index": 0, "function": {"name": "f", "arguments": "{"}}],
            [{"index": 0, "function": {"arguments": "}"}}],
        )
        response = fold(events_of(*(chunk({"tool_calls": part}) for part in calls)))
        assert response.tool_calls == (ToolCall(id="call_up-1_0_0", name="f", arguments="{}"),)

    @pytest.mark.parametrize(
        "broken", [b"data: {\n\n", b"data: x\n\n", b'data: {"choices":5}\n\n', b"data: \xff\n\n", b"data: []\n\n"]
    )
    def test_a_broken_frame_is_skipped_and_counted(self, broken):
        decoder = DIALECT.decoder()
        events = decoder.feed(chunk({"content": "a"}) + broken + chunk({"content": "b"}, "stop") + DONE)
        assert decoder.malformed == 1
        assert [event for event in events if isinstance(event, TextDelta)] == [TextDelta("a"), TextDelta("b")]
        assert events[-1] == End()

    @pytest.mark.parametrize(
        "error",
        [
            b'data: {"error":{"message":"busy","type":"overloaded_error"}}\n\n',
            chunk({"content": ""}, "error", error={"code": 503, "message": "busy"}),
            b'data: {"choices":[{"index":0,"delta":{},"error":{"code":529,"message":"busy"}}]}\n\n',
            b'event: error\ndata: {"message":"busy","code":"overloaded"}\n\n',
        ],
    )
    def test_an_error_ends_the_stream(self, error):
        events = events_of(chunk({"content": "a"}) + error + chunk({"content": "b"}), DONE)
        assert isinstance(events[-1], Failure)
        assert type(events[-1].error) is UpstreamOverloaded
        assert events[-1].error.message == "busy"
        assert TextDelta("b") not in events

    def test_a_finish_without_the_marker_is_complete(self):
        assert events_of(chunk({"content": "a"}, "stop"))[-1] == End()

    @pytest.mark.parametrize(
        "stream",
        [
            b"",
            DONE,
            chunk({"content": "a"}),
            chunk({"content": "a"}) + DONE,
            chunk({"content": "a"}, "stop") + chunk({"content": "b"}, index=1) + DONE,
        ],
    )
    def test_what_is_cut_has_no_end(self, stream):
        assert End() not in events_of(stream)

    def test_nothing_after_the_end(self):
        decoder = DIALECT.decoder()
        decoder.feed(STREAM)
        assert decoder.feed(chunk({"content": "late"})) == []
        assert decoder.close() == []

    def test_timings_where_usage_is_missing(self):
        timings = {"cache_n": 1, "prompt_n": 2, "predicted_n": 3}
        events = events_of(chunk({"content": "x"}), chunk({}, "stop", timings=timings), DONE)
        assert fold(events).usage == Usage(input_tokens=2, cache_read_tokens=1, output_tokens=3)

    def test_an_event_over_its_limit(self):
        decoder = DIALECT.decoder()
        with pytest.raises(UpstreamProtocolError, match="larger than"):
            decoder.feed(b"data: " + b"x" * (4 * 1024 * 1024))

    def test_a_first_chunk_without_choices_is_not_the_start(self):
        first = b'data: {"id":"","model":"","choices":[],"prompt_filter_results":[]}\n\n'
        assert events_of(first, chunk({"content": "x"}))[:2] == [Ping(), Start(id="up-1", model="up", created=5)]


ANSWER: list[Event] = [
    Start(id="up-1", model="up", created=5),
    ReasoningDelta(text="hm"),
    TextDelta("hé"),
    TextDelta('l"lo'),
    CitationDelta(citation=Citation(source="https://x", title="X")),
    RefusalDelta("no"),
    ToolCallStart(index=0, id="c", name="f"),
    ToolCallDelta(index=0, arguments='{"a":1}'),
    LogprobsDelta(content=[{"token": "x", "logprob": -1.0, "bytes": None, "top_logprobs": []}]),
    Finish(reason="tool_calls"),
    UsageReport(Usage(input_tokens=4, output_tokens=2, cost_usd=0.5)),
    End(),
]


def chunks_of(stream: bytes) -> list[dict[str, Any]]:
    frames = stream.removesuffix(DONE).split(b"\n\n")[:-1]
    return [json.loads(frame.removeprefix(b"data: ")) for frame in frames]


class TestEncoder:
    def test_a_stream(self):
        stream = DIALECT.encoder(CONTEXT).encode(ANSWER)
        assert stream.endswith(DONE)
        chunks = chunks_of(stream)
        assert chunks[0] == {
            "id": "gen-1",
            "object": "chat.completion.chunk",
            "created": 1700000000,
            "model": "caller/model",
            "system_fingerprint": None,
            "choices": [
                {
                    "index": 0,
                    "delta": {"role": "assistant", "content": "", "refusal": None},
                    "logprobs": None,
                    "finish_reason": None,
                }
            ],
        }
        assert [chunk["choices"][0]["delta"] for chunk in chunks[1:5]] == [
            {"reasoning": "hm"},
            {"content": "hé"},
            {"content": 'l"lo'},
            {
                "annotations": [
                    {
                        "type": "url_citation",
                        "url_citation": {"url": "https://x", "title": "X", "start_index": 0, "end_index": 6},
                    }
                ]
            },
        ]
        assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"
        assert "usage" not in chunks[-1]

    def test_the_vendors_types_take_every_chunk(self):
        context = AnswerContext(id="gen-1", model="m", created=1, include_usage=True)
        stream = DIALECT.encoder(context).encode(ANSWER)
        parsed = [ChatCompletionChunk.model_validate(wire, strict=True) for wire in chunks_of(stream)]
        assert "".join(part.choices[0].delta.content or "" for part in parsed if part.choices) == 'hél"lo'
        assert parsed[-1].choices == []
        assert parsed[-1].usage is not None
        assert parsed[-1].usage.total_tokens == 6

    def test_usage_comes_once_and_last(self):
        context = AnswerContext(id="gen-1", model="m", created=1, include_usage=True)
        chunks = chunks_of(DIALECT.encoder(context).encode(ANSWER))
        assert [wire["usage"] for wire in chunks[:-1]] == [None] * (len(chunks) - 1)
        assert chunks[-1]["usage"]["cost"] == 0.5

    def test_usage_that_nobody_knows_is_not_invented(self):
        context = AnswerContext(id="gen-1", model="m", created=1, include_usage=True)
        assert (
            DIALECT.encoder(context).encode([TextDelta("x"), Finish(reason="stop"), End()]).count(b'"choices":[]') == 0
        )

    def test_every_choice_begins_with_its_role(self):
        stream = DIALECT.encoder(CONTEXT).encode(
            [TextDelta("a"), TextDelta("b", 1), TextDelta("c"), Finish(reason="stop", choice=2)]
        )
        deltas = [(wire["choices"][0]["index"], wire["choices"][0]["delta"]) for wire in chunks_of(stream)]
        role = {"role": "assistant", "content": "", "refusal": None}
        assert deltas == [
            (0, role),
            (0, {"content": "a"}),
            (1, role),
            (1, {"content": "b"}),
            (0, {"content": "c"}),
            (2, role),
            (2, {}),
        ]

    @pytest.mark.parametrize(
        "event", [Ping(), Start(id="x"), TextDelta(""), UsageReport(Usage()), ReasoningDelta(id="x")]
    )
    def test_what_means_nothing_here(self, event):
        assert DIALECT.encoder(CONTEXT).encode([event]) == b""

    def test_a_failure_is_in_band_and_last(self):
        encoder = DIALECT.encoder(CONTEXT)
        stream = encoder.encode([TextDelta("x"), Failure(UpstreamCut("The upstream cut its answer."))])
        assert DONE not in stream
        assert chunks_of(stream)[-1]["error"]["code"] == "upstream_cut"
        assert chunks_of(encoder.fail(UpstreamCut("x")))[0]["error"]["request_id"] == "gen-1"

    def test_a_refusal_is_a_content_filter_here(self):
        (_, last) = chunks_of(DIALECT.encoder(CONTEXT).encode([Finish(reason="refusal")]))
        assert last["choices"][0]["finish_reason"] == "content_filter"

    def test_seals_are_losses(self):
        encoder = DIALECT.encoder(CONTEXT)
        encoder.encode([ReasoningDelta(text="x", signature="s"), ReasoningDelta(encrypted="e")])
        assert encoder.losses == ("reasoning.signature",)

    def test_decoding_what_was_encoded(self):
        response = fold(events_of(DIALECT.encoder(CONTEXT).encode(ANSWER)))
        assert response.choices[0].message.parts[:2] == (
            Reasoning(text="hm"),
            Text('hél"lo', citations=(Citation(source="https://x", title="X", start=0, end=6),)),
        )


class TestMeter:
    def test_what_it_reads(self):
        meter = DIALECT.meter(True)
        assert meter.feed(STREAM) == STREAM
        assert (meter.content, meter.complete, meter.finish_reason, meter.upstream_id) == (True, True, "stop", "up-1")
        assert meter.usage == Usage(input_tokens=4, output_tokens=2)
        assert meter.error is None
        assert meter.close() == b""

    def test_usage_that_was_not_asked_for_is_swallowed(self):
        meter = DIALECT.meter(False)
        assert meter.feed(STREAM) == STREAM.replace(USAGE_CHUNK, b"")
        assert meter.usage == Usage(input_tokens=4, output_tokens=2)

    def test_usage_beside_a_choice_passes(self):
        last = chunk({}, "stop", usage=USAGE)
        meter = DIALECT.meter(False)
        assert meter.feed(chunk({"content": "x"}) + last + DONE) == chunk({"content": "x"}) + last + DONE
        assert meter.usage == Usage(input_tokens=4, output_tokens=2)

    @pytest.mark.parametrize(
        "spaced",
        [
            lambda s: s.replace(b":", b": ").replace(b",", b", "),
            lambda s: s.replace(b"\n\n", b"\r\n\r\n"),
            lambda s: s.replace(b'":', b'" : ').replace(b"data: ", b"data:"),
        ],
    )
    def test_other_spellings(self, spaced):
        stream = spaced(STREAM.replace(b"data: ", b"data: "))
        meter = DIALECT.meter(True)
        assert meter.feed(stream) == stream
        assert (meter.content, meter.complete, meter.usage) == (True, True, Usage(input_tokens=4, output_tokens=2))

    @pytest.mark.parametrize(
        "delta", [{"role": "assistant", "content": ""}, {"content": None}, {"reasoning_content": "hm"}, {}]
    )
    def test_what_is_no_content(self, delta):
        meter = DIALECT.meter(True)
        meter.feed(chunk(delta))
        assert meter.content is False

    @pytest.mark.parametrize(
        "delta",
        [{"content": "x"}, {"refusal": "x"}, {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f"}}]}],
    )
    def test_what_is_content(self, delta):
        meter = DIALECT.meter(True)
        meter.feed(chunk(delta))
        assert meter.content is True

    def test_an_error_and_what_follows_do_not_pass(self):
        meter = DIALECT.meter(True)
        before, after = chunk({"content": "a"}) * 3, chunk({"content": "b"})
        assert meter.feed(before + b'data: {"error":{"message":"gone","code":502}}\n\n' + after) == before
        assert meter.feed(after) == b""
        assert meter.feed(DONE) == b""
        assert type(meter.error) is UpstreamServerError
        assert meter.close() == b""
        assert meter.complete is False

    def test_an_error_that_looks_like_the_frames_before(self):
        meter = DIALECT.meter(True)
        frame = chunk({"content": "a"})
        meter.feed(frame * 3)
        sly = frame.replace(b'"content":"a"', b'"content":"a","x":"y"').replace(
            b'"choices"', b'"error":{"code":500},"choices"'
        )
        assert meter.feed(sly) == b""
        assert meter.error is not None

    def test_a_quote_in_a_text_is_read_with_care(self):
        meter = DIALECT.meter(True)
        meter.feed(chunk({"content": "a"}) * 3)
        quoted = chunk({"content": 'say "hi"\\'}) + chunk({"content": "\\"}) + chunk({"content": "x"}, "stop")
        assert meter.feed(quoted + DONE) == quoted + DONE
        assert meter.complete is True

    @pytest.mark.parametrize(
        "other",
        [
            pytest.param(lambda frame: frame.replace(b"null}", b'"ok"}'), id="a finish as long as null"),
            pytest.param(
                lambda frame: frame.replace(
                    b'"a"}', b'"b"},"finish_reason":"stop"},{"index":1,"finish_reason":"stop","delta":{"content":"c"}'
                ),
                id="two choices in one frame",
            ),
            pytest.param(
                lambda frame: (
                    frame.replace(b'"a"', b'"b"')
                    .replace(b"}\n\n", b',"usage":{"x":"y"},"z":""}\n\n')
                    .replace(b"null}", b'"stop"}')
                ),
                id="more at the end",
            ),
            pytest.param(
                lambda frame: frame.replace(b'"a"', b'"') + frame.replace(b"null}", b'"stop"}'),
                id="two frames, one broken",
            ),
        ],
    )
    @pytest.mark.parametrize("padded", [{}, {"obfuscation": "Xy"}])
    def test_only_texts_may_differ_from_the_frames_before(self, other, padded):
        meter = DIALECT.meter(True)
        frame = chunk({"content": "a"}, **padded)
        assert meter.feed(frame) + meter.feed(frame) == frame + frame
        assert meter.feed(other(frame)) == (
            other(frame) if meter.malformed == 0 else frame.replace(b"null}", b'"stop"}')
        )
        assert meter.finish_reason in {"stop", "ok"}

    def test_padding_may_differ(self):
        meter = DIALECT.meter(True)
        frames = [chunk({"content": "a" * size}, obfuscation="b" * (9 - size)) for size in range(1, 9)]
        assert [meter.feed(frame) for frame in frames] == frames
        assert meter.feed(frames[0].replace(b"bb", b'",')) == b""
        assert meter.malformed == 1

    @pytest.mark.parametrize("padded", [{}, {"obfuscation": "Xy"}])
    def test_a_frame_ends_where_the_template_does(self, padded):
        meter = DIALECT.meter(True)
        frame = chunk({"content": "a"}, **padded)
        meter.feed(frame * 2)
        assert meter.feed(frame[:-1] + b"d") == b""
        meter = DIALECT.meter(True)
        meter.feed(frame * 2)
        hidden = frame.replace(b'"a"', b'"\n\ndata: [DONE]\n\n"')
        assert b"[DONE]" not in meter.feed(hidden) + meter.close()

    def test_a_frame_that_began_earlier_is_not_overtaken(self):
        meter = DIALECT.meter(True)
        frame = chunk({"content": "a"})
        meter.feed(frame * 2)
        assert meter.feed(b"data: ") == b""
        assert not meter.ordinary(frame)
        assert meter.feed(frame) == b""
        assert meter.malformed == 1

    @pytest.mark.parametrize("more", [chunk({"content": "evil"}), b'data: {"error":{"message":"late"}}\n\n', DONE])
    def test_nothing_passes_behind_the_marker(self, more):
        meter = DIALECT.meter(True)
        assert meter.feed(STREAM + more) == STREAM
        assert (meter.complete, meter.error) == (True, None)

    def test_a_byte_order_mark(self):
        meter = DIALECT.meter(True)
        assert meter.feed(b"\xef\xbb\xbf" + chunk({"content": "a"}, "stop")) != b""
        assert (meter.content, meter.finish_reason) == (True, "stop")

    def test_a_missing_marker_is_synthesised(self):
        meter = DIALECT.meter(True)
        stream = chunk({"content": "a"}) + chunk({}, "stop")
        assert meter.feed(stream) == stream
        assert meter.complete is False
        assert meter.close() == DONE
        assert meter.complete is True

    def test_half_a_marker_is_completed(self):
        meter = DIALECT.meter(True)
        assert (
            meter.feed(chunk({"content": "a"}, "stop") + b"data: [DO") + meter.close()
            == chunk({"content": "a"}, "stop") + DONE
        )

    @pytest.mark.parametrize(
        "stream",
        [b"", chunk({"content": "a"}), chunk({"content": "a"}, "stop") + chunk({"content": "b"}, index=1)],
    )
    def test_a_cut_stream_never_ends_cleanly(self, stream):
        for marked in (stream, stream + DONE):
            meter = DIALECT.meter(True)
            assert meter.feed(marked) + meter.close() == stream
            assert meter.complete is False

    def test_comments_pass_and_broken_frames_do_not(self):
        meter = DIALECT.meter(True)
        assert meter.feed(b": hello\n\ndata: {\n\n" + STREAM) == b": hello\n\n" + STREAM
        assert (meter.complete, meter.malformed) == (True, 1)

    def test_each_choice_must_finish_also_amid_plain_text(self):
        meter = DIALECT.meter(True)
        meter.feed(chunk({"content": "a"}) * 2 + chunk({"content": "b"}, index=1) * 2 + chunk({"content": "a"}) * 2)
        meter.feed(chunk({}, "stop"))
        assert meter.close() == b""
        assert meter.complete is False

    def test_an_event_over_its_limit(self):
        with pytest.raises(UpstreamProtocolError, match="larger than"):
            DIALECT.meter(True).feed(b"data: " + b"x" * (4 * 1024 * 1024))
