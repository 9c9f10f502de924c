"""Requests of the Messages API: the first look, the canonical form, the bytes for an upstream, the passed bytes."""

from __future__ import annotations

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from trivium.dialects.anthropic_messages import DIALECT
from trivium.errors import InvalidRequest
from trivium.types.message import Audio, Citation, File, Image, Message, Reasoning, Refusal, Text, ToolCall, ToolResult
from trivium.types.request import ReasoningOptions, Request, ResponseFormat, Sampling, Tool, ToolChoice

HI = [{"role": "user", "content": "hi"}]


def body(**fields: Any) -> bytes:
    return json.dumps({"max_tokens": 10, "messages": HI, "model": "m"} | fields).encode()


def parsed(**fields: Any) -> Request:
    return DIALECT.parse_request(body(**fields))


def built(request: Request) -> tuple[dict[str, Any], set[str]]:
    out = DIALECT.build_request(request)
    return json.loads(out.body), set(out.losses)


def request(*messages: Message, **fields: Any) -> Request:
    return Request(
        model="m", messages=messages or (Message("user", (Text("hi"),)),), **{"max_output_tokens": 9} | fields
    )


class TestPeek:
    def test_reads_what_routing_needs(self) -> None:
        head = DIALECT.peek(
            body(
                stream=True,
                tools=[{"name": "f", "input_schema": {}}],
                output_config={"format": {"type": "json_schema", "schema": {}}},
                models=["a", "b"],
                trivium={"data_class": "premises"},
            )
        )
        assert (head.model, head.stream, head.max_output_tokens, head.wants_usage) == ("m", True, 10, True)
        assert head.needs == {"tools", "json_schema"}
        assert head.models == ("a", "b")
        assert head.trivium is not None
        assert head.trivium.data_class == "premises"
        assert bytes(head.messages) == json.dumps(HI).encode()

    def test_needs_nothing_for_a_plain_question(self) -> None:
        head = DIALECT.peek(body(output_config={"effort": "low"}, tools=[]))
        assert (head.needs, head.stream, head.models, head.trivium) == (frozenset(), False, (), None)

    @pytest.mark.parametrize(
        ("raw", "param", "words"),
        [
            (b"", None, "JSON"),
            (b"nope", None, "JSON"),
            (b"[]", None, "object"),
            (b'"x"', None, "object"),
            (b"\xef\xbb\xbf{}", None, "JSON"),
            (b'{"model":"m","max_tokens":1,"messages":["\xff"]}', None, "UTF-8"),
            (b'{"model":"m","max_tokens":1,"messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}", None, "deep"),
            (b'{"max_tokens":1,"messages":[1]}', "model", "missing"),
            (b'{"model":"m","max_tokens":1}', "messages", "missing"),
            (b'{"model":"m","messages":[1]}', "max_tokens", "missing"),
            (b'{"model":"","max_tokens":1,"messages":[1]}', "model", "empty"),
            (b'{"model":"m","max_tokens":1,"messages":[ ]}', "messages", "at least one"),
            (b'{"model":"m","max_tokens":1,"messages":"hi"}', "messages", "array"),
            (b'{"model":7,"max_tokens":1,"messages":[1]}', "model", "string"),
            (b'{"model":"m","max_tokens":"9","messages":[1]}', "max_tokens", "int"),
            (b'{"model":"m","max_tokens":-1,"messages":[1]}', "max_tokens", "int"),
            (b'{"model":"m","max_tokens":1,"messages":[1],"stream":"yes"}', "stream", "bool"),
            (b'{"model":"m","max_tokens":1,"messages":[1],"model":"m"}', "model", "more than one"),
            (b'{"model":"m","max_tokens":1,"messages":[1],"mod\\u0065l":"n"}', "model", "more than one"),
        ],
    )
    def test_refuses_with_place_and_remedy(self, raw: bytes, param: str | None, words: str) -> None:
        for look in (DIALECT.peek, DIALECT.parse_request):
            with pytest.raises(InvalidRequest) as caught:
                look(raw)
            assert caught.value.param == param
            assert words in caught.value.message
            assert caught.value.remedy

    def test_counts_models_a_call_not_over_threads(self) -> None:
        twice = body()[:-1] + b',"model":"n"}'

        def is_refused(raw: bytes) -> bool:
            try:
                DIALECT.peek(raw)
            except InvalidRequest:
                return True
            return False

        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(is_refused, [body(), twice] * 200)) == [False, True] * 200


class TestParse:
    def test_system_comes_first(self) -> None:
        assert parsed(system="be brief").messages[0] == Message("system", (Text("be brief"),))
        blocks = [
            {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}},
            {"type": "text", "text": "b", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        ]
        assert parsed(system=blocks).messages[0].parts == (Text("a", cache="5m"), Text("b", cache="1h"))

    def test_content_blocks(self) -> None:
        content = [
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
            {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}},
            {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
            {"type": "document", "title": "t", "source": {"type": "text", "media_type": "text/plain", "data": "é"}},
            {"type": "document", "source": {"type": "url", "url": "https://example.org/a.pdf"}},
            {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "piece"}]}},
            {
                "type": "tool_result",
                "tool_use_id": "c1",
                "is_error": True,
                "content": [{"type": "text", "text": "no"}],
                "cache_control": {"type": "ephemeral"},
            },
            {"type": "tool_result", "tool_use_id": "c2", "content": "yes"},
            {"type": "tool_result", "tool_use_id": "c3"},
        ]
        assert parsed(messages=[{"role": "user", "content": content}]).messages[0].parts == (
            Image(data="AAAA", media_type="image/png"),
            Image(url="https://example.org/a.png"),
            File(file_id="file_1", media_type="image/*"),
            File(data=base64.b64encode("é".encode()).decode(), media_type="text/plain", name="t"),
            File(url="https://example.org/a.pdf"),
            File(data=base64.b64encode(b"piece").decode(), media_type="text/plain"),
            ToolResult(call_id="c1", parts=(Text("no"),), is_error=True, cache="5m"),
            ToolResult(call_id="c2", parts=(Text("yes"),)),
            ToolResult(call_id="c3"),
        )

    def test_what_an_assistant_said(self) -> None:
        citation = {"type": "char_location", "cited_text": "q", "document_index": 2, "document_title": None}
        content = [
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "redacted_thinking", "data": "d"},
            {"type": "text", "text": "so", "citations": [citation]},
            {"type": "tool_use", "id": "c", "name": "f", "input": {"b": 1, "a": [1.50]}},
        ]
        raw = b'{"model":"m","max_tokens":1,"messages":[{"role":"assistant","content":%b}]}'
        text = json.dumps(content).replace("1.5", "1.50")
        assert DIALECT.parse_request(raw % text.encode()).messages[0].parts == (
            Reasoning(text="hm", signature="s", format="anthropic-claude-v1"),
            Reasoning(encrypted="d", format="anthropic-claude-v1"),
            Text("so", citations=(Citation(source="document:2", quote="q"),)),
            ToolCall(id="c", name="f", arguments='{"b": 1, "a": [1.50]}'),
        )

    def test_parameters(self) -> None:
        seen = parsed(
            stream=True,
            temperature=0.5,
            top_p=0.9,
            top_k=3,
            stop_sequences=["x"],
            metadata={"user_id": "u"},
            service_tier="standard_only",
            tools=[{"name": "f", "description": "d", "input_schema": {"type": "object"}, "strict": True}],
            tool_choice={"type": "tool", "name": "f", "disable_parallel_tool_use": True},
            output_config={"effort": "high", "format": {"type": "json_schema", "schema": {"type": "object"}}},
            thinking={"type": "adaptive", "display": "omitted"},
            inference_geo="eu",
            container=None,
        )
        assert seen == Request(
            model="m",
            messages=(Message("user", (Text("hi"),)),),
            max_output_tokens=10,
            stream=True,
            sampling=Sampling(temperature=0.5, top_p=0.9, top_k=3),
            stop=("x",),
            user="u",
            service_tier="default",
            tools=(Tool(name="f", description="d", parameters={"type": "object"}, strict=True),),
            tool_choice=ToolChoice("named", "f"),
            parallel_tools=False,
            response_format=ResponseFormat(type="json_schema", schema={"type": "object"}),
            reasoning=ReasoningOptions(effort="high", exclude=True),
            extra={"inference_geo": "eu"},
        )

    @pytest.mark.parametrize(
        ("thinking", "options"),
        [
            ({"type": "enabled", "budget_tokens": 2000}, ReasoningOptions(budget_tokens=2000)),
            ({"type": "adaptive", "display": "summarized"}, ReasoningOptions(summary="auto")),
            ({"type": "disabled"}, ReasoningOptions(effort="none")),
        ],
    )
    def test_thinking(self, thinking: dict[str, Any], options: ReasoningOptions) -> None:
        assert parsed(thinking=thinking).reasoning == options

    def test_what_only_this_api_knows_is_kept_aside_by_name(self) -> None:
        search = {"type": "web_search_20260318", "name": "web_search"}
        content = [
            {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
            {"type": "text", "text": "found"},
            {"type": "web_search_tool_result", "tool_use_id": "s", "content": []},
        ]
        seen = parsed(
            messages=[{"role": "assistant", "content": content}],
            tools=[search, {"name": "f", "input_schema": {}, "defer_loading": True}],
            thinking={"type": "between_tools"},
            server_tool_like={"x": 1},
        )
        assert seen.messages[0].parts == (Text("found"),)
        assert seen.tools == (Tool(name="f"),)
        assert seen.extra == {
            "server_tools": [search],
            "messages.server_tool_use": ["messages[0].content[0]"],
            "messages.web_search_tool_result": ["messages[0].content[2]"],
            "tools.defer_loading": ["tools[1]"],
            "thinking": {"type": "between_tools"},
            "server_tool_like": {"x": 1},
        }
        wire, losses = built(seen)
        assert search in wire["tools"]
        assert losses == {
            "messages.server_tool_use",
            "messages.web_search_tool_result",
            "tools.defer_loading",
            "server_tool_like",
        }

    @pytest.mark.parametrize(
        ("fields", "param"),
        [
            ({"messages": [*HI, {"role": "tool", "content": "x"}]}, "messages[1].role"),
            ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
            ({"messages": [{"role": "user"}]}, "messages[0].content"),
            ({"messages": [*HI, {"role": "user", "content": [{"type": "txt"}]}]}, "messages[1].content[0].type"),
            ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages[0].content[0].type"),
            (
                {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "ftp"}}]}]},
                "messages[0].content[0].source.type",
            ),
            (
                {
                    "messages": [
                        {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "f", "input": []}]}
                    ]
                },
                "messages[0].content[0].input",
            ),
            (
                {"messages": [{"role": "assistant", "content": [{"type": "tool_result", "tool_use_id": "1"}]}]},
                "messages[0].content",
            ),
            ({"system": 3}, "system"),
            ({"tools": [{"name": "f", "input_schema": {}}, {"name": 3, "input_schema": {}}]}, "tools[1].name"),
            ({"tools": [{"name": "f"}]}, "tools[0].input_schema"),
            ({"tools": ["f"]}, "tools[0]"),
            ({"tools": [{"type": [], "name": "f", "input_schema": {}}]}, "tools[0].type"),
            ({"tool_choice": {"type": "tool"}}, "tool_choice.name"),
            ({"tool_choice": {"type": "some"}}, "tool_choice.type"),
            ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens"),
            ({"metadata": {"user_id": 3}}, "metadata.user_id"),
            ({"stop_sequences": "x"}, "stop_sequences"),
            ({"temperature": "hot"}, "temperature"),
        ],
    )
    def test_points_at_the_field(self, fields: dict[str, Any], param: str) -> None:
        with pytest.raises(InvalidRequest) as caught:
            parsed(**fields)
        assert caught.value.param == param
        assert caught.value.remedy


class TestBuild:
    def test_plain(self) -> None:
        wire, losses = built(request(Message("system", (Text("s"),)), Message("user", (Text("hi"),)), stream=True))
        assert wire == {
            "model": "m",
            "max_tokens": 9,
            "system": "s",
            "messages": [{"role": "user", "content": "hi"}],
            "stream": True,
        }
        assert losses == set()

    def test_max_tokens_must_be_said(self) -> None:
        wire, losses = built(request(max_output_tokens=None))
        assert (wire["max_tokens"], losses) == (4096, set())

    def test_system_messages(self) -> None:
        said = [Message(role, (Text(text),)) for role, text in (("system", "a"), ("system", "b"), ("user", "u"))]
        wire, losses = built(request(*said, Message("system", (Text("later"),)), Message("user", (Text("v"),))))
        assert wire["system"] == [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
        assert [message["role"] for message in wire["messages"]] == ["user", "system", "user"]
        assert losses == set()
        wire, losses = built(request(said[0]))
        assert (wire["messages"], losses) == ([{"role": "user", "content": "a"}], {"system"})

    def test_empty_texts_and_messages_are_left_out(self) -> None:
        wire, _ = built(
            request(
                Message("user", (Text("a"), Text(""))),
                Message("assistant", (Text(""),)),
                Message("user", (Text("b"), Text("c", cache="1h"))),
            )
        )
        assert wire["messages"] == [
            {"role": "user", "content": "a"},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "b"},
                    {"type": "text", "text": "c", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
                ],
            },
        ]

    def test_calls_results_and_prefill(self) -> None:
        wire, losses = built(
            request(
                Message("user", (Text("u"),)),
                Message(
                    "assistant",
                    (
                        ToolCall(id="call:1", name="f", arguments='{"a": 1}'),
                        ToolCall(id="2", name="g", arguments=""),
                        ToolCall(id="3", name="h", arguments="[broken"),
                    ),
                ),
                Message("user", (ToolResult(call_id="call:1", parts=(Text("r"),), is_error=True, name="f"),)),
                Message("assistant", (Text("The answer is ("),)),
            )
        )
        assert wire["messages"][1:] == [
            {
                "role": "assistant",
                "content": [
                    {"type": "tool_use", "id": "call_1", "name": "f", "input": {"a": 1}},
                    {"type": "tool_use", "id": "2", "name": "g", "input": {}},
                    {"type": "tool_use", "id": "3", "name": "h", "input": {"arguments": "[broken"}},
                ],
            },
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "r", "is_error": True}],
            },
            {"role": "assistant", "content": "The answer is ("},
        ]
        assert losses == {"messages.tool_call.arguments"}

    def test_media(self) -> None:
        pdf = File(data="AAAA", media_type="application/pdf", name="n", cache="5m")
        text = File(data=base64.b64encode("é".encode()).decode(), media_type="text/plain")
        broken = File(data="/w==", media_type="text/plain")
        parts = (
            Image(data="AAAA", media_type="image/png", detail="high"),
            Image(url="https://example.org/a.png"),
            pdf,
            text,
            broken,
            File(file_id="f", media_type="image/*"),
            Audio(data="AAAA", format="wav"),
        )
        wire, losses = built(request(Message("user", parts)))
        assert wire["messages"][0]["content"] == [
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
            {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}},
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"},
                "title": "n",
                "cache_control": {"type": "ephemeral"},
            },
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "é"}},
            {"type": "image", "source": {"type": "file", "file_id": "f"}},
        ]
        assert losses == {"messages.image.detail", "messages.file", "messages.audio"}

    def test_only_its_own_thinking_goes_back(self) -> None:
        parts = (
            Reasoning(text="mine", signature="s", format="anthropic-claude-v1"),
            Reasoning(encrypted="d"),
            Reasoning(text="unsigned"),
            Reasoning(encrypted="e", format="openai-responses-v1"),
            Refusal("no"),
        )
        wire, losses = built(request(Message("assistant", parts)))
        assert wire["messages"][0]["content"] == [
            {"type": "thinking", "thinking": "mine", "signature": "s"},
            {"type": "redacted_thinking", "data": "d"},
            {"type": "text", "text": "no"},
        ]
        assert losses == {"messages.reasoning", "messages.refusal"}

    @pytest.mark.parametrize(
        ("options", "max_tokens", "expected", "losses"),
        [
            (ReasoningOptions(effort="none"), 9, {"thinking": {"type": "disabled"}}, set()),
            (
                ReasoningOptions(effort="high"),
                9,
                {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}},
                set(),
            ),
            (
                ReasoningOptions(effort="minimal", exclude=True),
                9,
                {"thinking": {"type": "adaptive", "display": "omitted"}, "output_config": {"effort": "low"}},
                {"reasoning.effort"},
            ),
            (
                ReasoningOptions(summary="detailed"),
                9,
                {"thinking": {"type": "adaptive", "display": "summarized"}},
                {"reasoning.summary"},
            ),
            (
                ReasoningOptions(budget_tokens=2000),
                5000,
                {"thinking": {"type": "enabled", "budget_tokens": 2000}},
                set(),
            ),
            (
                ReasoningOptions(budget_tokens=9000),
                5000,
                {"thinking": {"type": "enabled", "budget_tokens": 4999}},
                {"reasoning.budget_tokens"},
            ),
            (ReasoningOptions(budget_tokens=9000), 500, {}, {"reasoning.budget_tokens"}),
            (
                ReasoningOptions(budget_tokens=9000),
                None,
                {"thinking": {"type": "enabled", "budget_tokens": 9000}, "max_tokens": 13096},
                set(),
            ),
        ],
    )
    def test_reasoning(
        self, options: ReasoningOptions, max_tokens: int | None, expected: dict[str, Any], losses: set[str]
    ) -> None:
        wire, lost = built(request(reasoning=options, max_output_tokens=max_tokens))
        assert {name: wire[name] for name in wire.keys() & {"thinking", "output_config", *expected}} == expected
        assert lost == losses

    def test_tools(self) -> None:
        tool = Tool(name="f", description="d", parameters={"type": "object"}, strict=True, cache="5m")
        wire, losses = built(request(tools=(tool,), parallel_tools=False))
        assert wire["tools"] == [
            {
                "name": "f",
                "input_schema": {"type": "object"},
                "description": "d",
                "strict": True,
                "cache_control": {"type": "ephemeral"},
            }
        ]
        assert wire["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
        assert losses == set()
        for choice, expected in (
            (ToolChoice("required"), {"type": "any"}),
            (ToolChoice("none"), {"type": "none"}),
            (ToolChoice("named", "f"), {"type": "tool", "name": "f"}),
        ):
            assert built(request(tools=(tool,), tool_choice=choice))[0]["tool_choice"] == expected
        assert built(request(tool_choice=ToolChoice("required")))[1] == {"tool_choice"}

    def test_what_it_has_no_word_for_is_named(self) -> None:
        wire, losses = built(
            request(
                Message("user", (Text("hi"),), name="ann"),
                n=2,
                sampling=Sampling(
                    temperature=1.5,
                    seed=0,
                    frequency_penalty=0.5,
                    presence_penalty=0.0,
                    logit_bias={"1": 2.0},
                    logprobs=True,
                    top_logprobs=2,
                    min_p=0.1,
                    repetition_penalty=1.1,
                ),
                response_format=ResponseFormat(type="json_object"),
                stop=("\n", "END"),
                metadata={"a": "b"},
                service_tier="flex",
                extra={"store": True},
                user="u",
            )
        )
        assert wire == {
            "model": "m",
            "max_tokens": 9,
            "messages": HI,
            "temperature": 1.0,
            "stop_sequences": ["END"],
            "metadata": {"user_id": "u"},
        }
        assert losses == {
            "name",
            "n",
            "temperature",
            "seed",
            "frequency_penalty",
            "logit_bias",
            "logprobs",
            "top_logprobs",
            "min_p",
            "repetition_penalty",
            "response_format",
            "stop",
            "metadata",
            "service_tier",
            "store",
        }

    def test_metadata_of_another_dialect_may_be_anything(self) -> None:
        wire, losses = built(request(extra={"metadata": 5}, user="u"))
        assert (wire["metadata"], losses) == ({"user_id": "u"}, {"metadata"})

    def test_sampling_while_thinking(self) -> None:
        wire, losses = built(
            request(reasoning=ReasoningOptions(effort="low"), sampling=Sampling(temperature=0.2, top_k=4, top_p=0.95))
        )
        assert (wire.get("temperature"), wire.get("top_k"), wire["top_p"]) == (None, None, 0.95)
        assert losses == {"temperature", "top_k"}


class TestPass:
    def test_splices_the_model_only(self) -> None:
        raw = (
            b'{ "max_tokens": 1.0e1, "messages": [{"role":"user","content":"\\u00e9 \\"model\\""}] , "model":"a","x":1}'
        )
        raw = raw.replace(b"1.0e1", b"10")
        head = DIALECT.peek(raw)
        assert DIALECT.pass_request(raw, head, "b") == raw.replace(b'"model":"a"', b'"model":"b"')
        assert DIALECT.pass_request(raw, head, "a", ask_usage=True) is raw

    def test_stream(self) -> None:
        head = DIALECT.peek(body())
        assert json.loads(DIALECT.pass_request(body(), head, "b", stream=True)) == json.loads(
            body(model="b", stream=True)
        )
        streamed = body(stream=True)
        head = DIALECT.peek(streamed)
        assert DIALECT.pass_request(streamed, head, "m", stream=True) is streamed
        assert DIALECT.pass_request(streamed, head, "b", stream=True) == streamed.replace(b'"m"', b'"b"')
        assert json.loads(DIALECT.pass_request(streamed, head, "m", stream=False))["stream"] is False
        off = body(stream=False, x={"b": 1, "a": 2})
        passed = DIALECT.pass_request(off, DIALECT.peek(off), "m", stream=True)
        assert json.loads(passed) == json.loads(body(stream=True, x={"b": 1, "a": 2}))

    @pytest.mark.parametrize("ours", [{"trivium": {"strict": True}}, {"trivium": None}, {"models": ["x"]}])
    def test_our_fields_do_not_leave(self, ours: dict[str, Any]) -> None:
        raw = body(**ours, top_k=3)
        assert json.loads(DIALECT.pass_request(raw, DIALECT.peek(raw), "b")) == json.loads(body(model="b", top_k=3))

    def test_escaped_spelling(self) -> None:
        raw = body().replace(b'"model"', b'"mod\\u0065l"')
        assert json.loads(DIALECT.pass_request(raw, DIALECT.peek(raw), "b")) == json.loads(body(model="b"))
