"""Requests of the Chat API: the first look, the canonical form, the bytes for an upstream, the passed bytes."""

from __future__ import annotations

import json
import time
from base64 import b64encode
from typing import Any

import pytest

from cohere_help import check_request
from trivium.dialects import get
from trivium.errors import InvalidRequest
from trivium.types.message import (
    Audio,
    Citation,
    File,
    Image,
    Message,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
)
from trivium.types.request import ReasoningOptions, Request, ResponseFormat, Sampling, Tool, ToolChoice

DIALECT = get("cohere_v2")
HI = [{"role": "user", "content": "hi"}]
SCHEMA = {"type": "object", "properties": {"q": {"type": "string"}}}
PLAN = Reasoning(text="p", format="cohere-tool-plan")


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "m", "messages": HI} | fields).encode()


def parsed(**fields: Any) -> Request:
    return DIALECT.parse_request(body(**fields))


def built(*messages: Message, **fields: Any) -> tuple[dict[str, Any], set[str]]:
    request = Request(model="m", messages=messages or (Message("user", (Text("hi"),)),), **fields)
    out = DIALECT.build_request(request)
    check_request(out.body)
    return json.loads(out.body), set(out.losses)


def document(text: str, media_type: str = "text/plain", name: str | None = None) -> File:
    return File(data=b64encode(text.encode()).decode(), media_type=media_type, name=name)


class TestPeek:
    def test_reads_what_routing_needs(self) -> None:
        tools = [{"type": "function", "function": {"name": "f"}}]
        form = {"type": "json_object", "schema": SCHEMA}
        more = {"models": ["a", "b"], "trivium": {"data_class": "premises"}}
        head = DIALECT.peek(body(stream=True, tools=tools, response_format=form, logprobs=True, max_tokens=10, **more))
        assert (head.model, head.stream, head.max_output_tokens, head.wants_usage) == ("m", True, 10, True)
        assert head.needs == {"tools", "json_schema", "logprobs"}
        assert head.models == ("a", "b")
        assert head.trivium is not None
        assert head.trivium.data_class == "premises"

    @pytest.mark.parametrize(
        ("form", "needs"),
        [(None, set()), ({"type": "text"}, set()), ({"type": "json_object", "json_schema": None}, {"json_object"})],
    )
    def test_needs(self, form: Any, needs: set[str]) -> None:
        head = DIALECT.peek(body(response_format=form, tools=[]))
        assert (head.needs, head.max_output_tokens, head.stream) == (needs, None, False)

    @pytest.mark.parametrize(
        ("raw", "param", "words"),
        [
            (b"", None, "JSON"),
            (b"[]", None, "object"),
            (b'{"model":"m","messages":["\xff"]}', None, "UTF-8"),
            (b'{"model":"m","messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}", None, "deep"),
            (b'{"messages":[1]}', "model", "missing"),
            (b'{"model":"m"}', "messages", "missing"),
            (b'{"model":"m","messages":[ ]}', "messages", "at least one"),
            (b'{"model":"m","messages":[1],"max_tokens":0}', "max_tokens", "int"),
            (b'{"model":"m","messages":[1],"model":"n"}', "model", "more than one"),
        ],
    )
    def test_refuses_with_place_and_remedy(self, raw: bytes, param: str | None, words: str) -> None:
        for look in (DIALECT.peek, DIALECT.parse_request):
            with pytest.raises(InvalidRequest) as caught:
                look(raw)
            assert caught.value.param == param
            assert words in caught.value.message
            assert caught.value.remedy

    def test_a_document_of_text_is_no_file(self) -> None:
        parts = [
            {"type": "document", "document": {"data": {"a": 1}}},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        ]
        seen = DIALECT.media(DIALECT.peek(body(messages=[{"role": "user", "content": parts}])).messages)
        assert (seen.kinds, seen.payload_bytes) == ({"images"}, 26)


class TestParse:
    def test_parameters(self) -> None:
        tool = {"type": "function", "function": {"name": "f", "description": "d", "parameters": SCHEMA}}
        request = parsed(
            stream=True,
            max_tokens=9,
            tools=[tool],
            tool_choice="REQUIRED",
            strict_tools=True,
            response_format={"type": "json_object", "json_schema": SCHEMA},
            thinking={"type": "enabled", "token_budget": 500},
            stop_sequences=["x"],
            temperature=0.5,
            p=0.9,
            k=3,
            frequency_penalty=0.1,
            presence_penalty=0.2,
            seed=7,
            logprobs=True,
            safety_mode="STRICT",
            citation_options={"mode": "FAST"},
            priority=3,
            novel=[1],
            documents=None,
            models=["z"],
            trivium={"strict": True},
        )
        assert request == Request(
            model="m",
            messages=(Message("user", (Text("hi"),)),),
            max_output_tokens=9,
            stream=True,
            tools=(Tool(name="f", description="d", parameters=SCHEMA, strict=True),),
            tool_choice=ToolChoice("required"),
            response_format=ResponseFormat(type="json_schema", schema=SCHEMA),
            reasoning=ReasoningOptions(budget_tokens=500),
            sampling=Sampling(
                temperature=0.5,
                top_p=0.9,
                top_k=3,
                frequency_penalty=0.1,
                presence_penalty=0.2,
                seed=7,
                logprobs=True,
            ),
            stop=("x",),
            extra={"safety_mode": "STRICT", "citation_options": {"mode": "FAST"}, "priority": 3, "novel": [1]},
        )

    @pytest.mark.parametrize(
        ("fields", "name", "value"),
        [
            ({"tool_choice": "NONE"}, "tool_choice", ToolChoice("none")),
            ({"response_format": {"type": "text"}}, "response_format", ResponseFormat()),
            ({"response_format": {"type": "json_object"}}, "response_format", ResponseFormat(type="json_object")),
            (
                {"response_format": {"type": "json_object", "schema": SCHEMA}},
                "response_format",
                ResponseFormat(type="json_schema", schema=SCHEMA),
            ),
            ({"thinking": {"type": "disabled"}}, "reasoning", ReasoningOptions(effort="none")),
            ({"thinking": {"type": "enabled"}}, "reasoning", ReasoningOptions(effort="medium")),
            ({"thinking": {"token_budget": 5}}, "reasoning", ReasoningOptions(budget_tokens=5)),
            ({"tools": [{"function": {"name": "f"}}]}, "tools", (Tool(name="f"),)),
        ],
    )
    def test_each_parameter(self, fields: dict[str, Any], name: str, value: object) -> None:
        assert getattr(parsed(**fields), name) == value

    def test_a_conversation(self) -> None:
        source = {"type": "document", "id": "d", "document": {"id": "d", "title": "t", "snippet": "s"}}
        cited = {"start": 0, "end": 2, "text": "ye", "sources": [source]}
        assistant = {
            "role": "assistant",
            "tool_plan": "p",
            "content": [
                {"type": "thinking", "thinking": "hm"},
                {"type": "text", "text": ""},
                {"type": "text", "text": "yes"},
            ],
            "citations": [cited | {"content_index": 2}, cited | {"content_index": 2, "type": "PLAN"}],
            "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}],
        }
        messages = parsed(
            messages=[
                {"role": "system", "content": [{"type": "text", "text": "be"}, {"type": "text", "text": "brief"}]},
                {"role": "user", "content": ""},
                assistant,
                {"role": "tool", "tool_call_id": "c", "content": "42"},
                {"role": "tool", "tool_call_id": "d", "content": [{"type": "text", "text": "43"}]},
                {"role": "assistant", "content": "done", "citations": [cited]},
                {"role": "tool", "tool_call_id": "e", "content": ""},
            ]
        ).messages
        citation = Citation(source="d", title="t", quote="s", start=0, end=2)
        assert messages == (
            Message("system", (Text("be"), Text("brief"))),
            Message("user"),
            Message(
                "assistant",
                (
                    PLAN,
                    Reasoning(text="hm"),
                    Text("yes", citations=(citation,)),
                    ToolCall(id="c", name="f", arguments='{"a":1}'),
                ),
            ),
            Message(
                "user",
                (ToolResult(call_id="c", parts=(Text("42"),)), ToolResult(call_id="d", parts=(Text("43"),))),
            ),
            Message("assistant", (Text("done", citations=(citation,)),)),
            Message("user", (ToolResult(call_id="e"),)),
        )

    def test_images(self) -> None:
        parts = [
            {"type": "image_url", "image_url": {"url": "https://a.test/a.png", "detail": "low"}},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}},
        ]
        (message,) = parsed(messages=[{"role": "user", "content": parts}]).messages
        assert message.parts == (
            Image(url="https://a.test/a.png", detail="low"),
            Image(data="QUJD", media_type="image/png"),
        )

    @pytest.mark.parametrize(
        ("said", "file"),
        [
            ("d", document("d")),
            ({"data": "d", "id": "1"}, document("d", name="1")),
            ({"data": {"text": "d"}}, document("d")),
            ({"data": {"snippet": "d"}, "id": "1"}, document("d", name="1")),
            ({"data": {"title": "t", "snippet": "d"}}, document("d", name="t")),
            (
                {"data": {"title": "t", "snippet": "d"}, "id": "1"},
                document('{"title":"t","snippet":"d"}', "application/json", "1"),
            ),
            ({"data": {"text": "a", "snippet": "b"}}, document('{"text":"a","snippet":"b"}', "application/json")),
            ({"data": {"text": 5}}, document('{"text":5}', "application/json")),
            ({"data": {}}, document("{}", "application/json")),
        ],
    )
    def test_documents_stand_before_the_question(self, said: Any, file: File) -> None:
        messages = [*HI, {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
        request = parsed(messages=messages, documents=[said])
        assert request.messages[0] == Message("user", (Text("hi"),))
        assert request.messages[1] == Message("user", (file, Text("q")))
        if isinstance(said, dict):
            content = [{"type": "document", "document": said}]
            (message,) = parsed(messages=[{"role": "tool", "tool_call_id": "c", "content": content}]).messages
            assert message.parts == (ToolResult(call_id="c", parts=(file,)),)

    def test_documents_without_a_question(self) -> None:
        assert parsed(messages=[{"role": "system", "content": "s"}], documents=["d"]).messages == (
            Message("system", (Text("s"),)),
            Message("user", (document("d"),)),
        )

    @pytest.mark.parametrize(
        ("fields", "param"),
        [
            ({"messages": [{"role": "user", "content": [{"type": "video"}]}]}, "messages[0].content[0].type"),
            ({"messages": [*HI, {"role": "robot", "content": ""}]}, "messages[1].role"),
            ({"messages": [{"role": "user"}]}, "messages[0].content"),
            ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
            ({"messages": [{"role": "tool", "content": ""}]}, "messages[0].tool_call_id"),
            (
                {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:x"}}]}]},
                "messages[0].content[0].image_url.url",
            ),
            (
                {"messages": [{"role": "assistant", "tool_calls": [{"id": "c", "function": {}}]}]},
                "messages[0].tool_calls[0].function.name",
            ),
            (
                {"messages": [{"role": "assistant", "content": "a", "citations": [{"start": "0"}]}]},
                "messages[0].citations[0].start",
            ),
            ({"documents": [{"id": "1"}]}, "documents[0].data"),
            ({"documents": [{"data": [1]}]}, "documents[0].data"),
            ({"tools": [{"function": {"name": 5}}]}, "tools[0].function.name"),
            ({"tools": [{"function": {"name": "f"}, "type": "web"}]}, "tools[0].type"),
            ({"tool_choice": "auto"}, "tool_choice"),
            ({"thinking": {"type": "enabled", "token_budget": 0}}, "thinking.token_budget"),
            ({"response_format": {"type": "xml"}}, "response_format.type"),
            ({"response_format": {"type": "json_object", "json_schema": "x"}}, "response_format.json_schema"),
            ({"stop_sequences": "x"}, "stop_sequences"),
            ({"temperature": -1}, "temperature"),
            ({"k": 1.5}, "k"),
            ({"stream": "yes"}, "stream"),
            ({"citation_options": []}, "citation_options"),
            ({"citation_options": {"mode": "LOUD"}}, "citation_options.mode"),
            ({"priority": "first"}, "priority"),
            ({"safety_mode": ["OFF"]}, "safety_mode"),
        ],
    )
    def test_refusals_name_the_place(self, fields: dict[str, Any], param: str) -> None:
        with pytest.raises(InvalidRequest) as caught:
            parsed(**fields)
        assert caught.value.param == param
        assert caught.value.remedy

    def test_too_many_messages_are_refused(self) -> None:
        with pytest.raises(InvalidRequest, match="may have"):
            parsed(messages=[{"role": "user", "content": "x" * 30}] * 10_001)

    @pytest.mark.parametrize(
        "message",
        [
            {"role": "tool", "tool_call_id": "c", "content": "x" * 30},
            {"role": "user", "content": [{"type": "text", "text": "x"}] * 2},
        ],
    )
    def test_many_messages_take_no_longer_each(self, message: Any) -> None:
        took: list[float] = []
        for count in (1000, 9000):
            raw = body(messages=[message] * count, documents=["d"] * count)
            begun = time.process_time()
            DIALECT.build_request(DIALECT.parse_request(raw))
            took.append((time.process_time() - begun) / count)
        assert took[1] < 5 * took[0] + 1e-5


class TestBuild:
    def test_the_least(self) -> None:
        assert built() == ({"model": "m", "messages": HI}, set())

    def test_parameters(self) -> None:
        tool = Tool(name="f", description="d", parameters=SCHEMA, strict=True)
        wire, losses = built(
            stream=True,
            include_usage=True,
            max_output_tokens=9,
            tools=(tool,),
            tool_choice=ToolChoice("none"),
            parallel_tools=True,
            response_format=ResponseFormat(type="json_schema", schema=SCHEMA, name="n", strict=True),
            reasoning=ReasoningOptions(budget_tokens=500),
            sampling=Sampling(
                temperature=0.5, top_p=0.9, top_k=3, frequency_penalty=0.1, presence_penalty=0.2, seed=7, logprobs=True
            ),
            stop=("x",),
            extra={"safety_mode": "STRICT", "citation_options": {"mode": "FAST"}, "priority": 3},
        )
        assert wire == {
            "model": "m",
            "messages": HI,
            "stream": True,
            "max_tokens": 9,
            "tools": [{"type": "function", "function": {"name": "f", "description": "d", "parameters": SCHEMA}}],
            "tool_choice": "NONE",
            "strict_tools": True,
            "response_format": {"type": "json_object", "json_schema": SCHEMA},
            "thinking": {"type": "enabled", "token_budget": 500},
            "stop_sequences": ["x"],
            "temperature": 0.5,
            "p": 0.9,
            "k": 3,
            "frequency_penalty": 0.1,
            "presence_penalty": 0.2,
            "seed": 7,
            "logprobs": True,
            "safety_mode": "STRICT",
            "citation_options": {"mode": "FAST"},
            "priority": 3,
        }
        assert losses == set()

    def test_what_it_has_no_word_for_is_named(self) -> None:
        wire, losses = built(
            Message("user", (Text("hi"),), name="ann"),
            n=2,
            parallel_tools=False,
            response_format=ResponseFormat(type="json_object", description="d"),
            sampling=Sampling(
                temperature=1.5,
                top_p=1,
                top_k=900,
                frequency_penalty=-1,
                presence_penalty=1.5,
                seed=-3,
                logit_bias={"1": 2.0},
                logprobs=False,
                top_logprobs=2,
                min_p=0.1,
                repetition_penalty=1.1,
            ),
            stop=tuple("abcdef"),
            user="u",
            metadata={"a": "b"},
            service_tier="flex",
            extra={"store": True},
        )
        assert wire == {
            "model": "m",
            "messages": HI,
            "response_format": {"type": "json_object"},
            "temperature": 1,
            "p": 0.99,
            "k": 500,
            "frequency_penalty": 0,
            "presence_penalty": 1,
            "seed": 0,
            "logprobs": False,
            "stop_sequences": ["a", "b", "c", "d", "e"],
        }
        lost = """
            temperature top_p top_k frequency_penalty presence_penalty seed logit_bias top_logprobs min_p
            repetition_penalty name n parallel_tool_calls response_format.description stop user metadata
            service_tier store
        """
        assert losses == set(lost.split())

    @pytest.mark.parametrize(
        "sampling",
        [
            Sampling(temperature=0, top_p=0.01, top_k=0, frequency_penalty=0, presence_penalty=0, seed=0),
            Sampling(temperature=1, top_p=0.99, top_k=500, frequency_penalty=1, presence_penalty=1, seed=2**64 - 1),
        ],
    )
    def test_what_lies_at_a_limit_is_kept(self, sampling: Sampling) -> None:
        request = Request(model="m", messages=(Message("user", (Text("hi"),)),), sampling=sampling)
        out = DIALECT.build_request(request)
        assert (DIALECT.parse_request(out.body).sampling, out.losses) == (sampling, ())

    @pytest.mark.parametrize(
        ("choice", "names", "word", "losses"),
        [
            (None, ["f", "g"], None, set()),
            (ToolChoice("auto"), ["f", "g"], None, set()),
            (ToolChoice("none"), ["f", "g"], "NONE", set()),
            (ToolChoice("required"), ["f", "g"], "REQUIRED", set()),
            (ToolChoice("named", "g"), ["g"], "REQUIRED", {"tools"}),
            (ToolChoice("named", "h"), ["f", "g"], "REQUIRED", {"tool_choice.name"}),
        ],
    )
    def test_tool_choice(self, choice: Any, names: list[str], word: str | None, losses: set[str]) -> None:
        wire, lost = built(tools=(Tool(name="f"), Tool(name="g")), tool_choice=choice)
        assert [tool["function"]["name"] for tool in wire["tools"]] == names
        assert (wire.get("tool_choice"), lost) == (word, losses)

    def test_the_only_tool_is_forced_by_its_name_without_a_loss(self) -> None:
        wire, losses = built(tools=(Tool(name="f"),), tool_choice=ToolChoice("named", "f"))
        assert (wire["tool_choice"], losses) == ("REQUIRED", set())
        for choice, losses in ((ToolChoice("required"), {"tool_choice"}), (ToolChoice("none"), set())):
            wire, lost = built(tool_choice=choice)
            assert ("tool_choice" in wire, lost) == (False, losses)

    @pytest.mark.parametrize(
        ("strict", "word", "losses"),
        [
            ((None, None), None, set()),
            ((False, False), False, set()),
            ((True, True), True, set()),
            ((False, None), None, set()),
            ((True, None), None, {"tools.strict"}),
        ],
    )
    def test_strict_tools(self, strict: tuple[bool | None, ...], word: bool | None, losses: set[str]) -> None:
        tools = tuple(Tool(name=f"f{index}", strict=value) for index, value in enumerate(strict))
        wire, lost = built(tools=tools)
        assert (wire.get("strict_tools"), lost) == (word, losses)

    @pytest.mark.parametrize(
        ("options", "thinking", "losses"),
        [
            (ReasoningOptions(effort="none"), {"type": "disabled"}, set()),
            (ReasoningOptions(budget_tokens=0), {"type": "disabled"}, set()),
            (ReasoningOptions(), {"type": "enabled"}, set()),
            (ReasoningOptions(effort="medium"), {"type": "enabled"}, set()),
            (ReasoningOptions(effort="high"), {"type": "enabled"}, {"reasoning.effort"}),
            (
                ReasoningOptions(effort="low", budget_tokens=5),
                {"type": "enabled", "token_budget": 5},
                {"reasoning.effort"},
            ),
            (
                ReasoningOptions(exclude=True, summary="auto"),
                {"type": "enabled"},
                {"reasoning.exclude", "reasoning.summary"},
            ),
        ],
    )
    def test_thinking(self, options: ReasoningOptions, thinking: Any, losses: set[str]) -> None:
        wire, lost = built(reasoning=options)
        assert (wire["thinking"], lost) == (thinking, losses)

    @pytest.mark.parametrize(
        ("role", "parts", "content", "losses"),
        [
            ("user", (Text("a"), Text("b")), [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], set()),
            (
                "user",
                (Image(url="https://a.test/a.png", detail="low"),),
                [{"type": "image_url", "image_url": {"url": "https://a.test/a.png", "detail": "low"}}],
                set(),
            ),
            (
                "user",
                (Image(data="QUJD", media_type="image/png", detail="original", cache="5m"),),
                [{"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}],
                {"messages.image.detail", "cache_control"},
            ),
            ("user", (Text("a"), Audio(data="QUJD", format="wav")), "a", {"messages.user.audio"}),
            ("system", (Text("a", cache="1h"), Image(url="x")), "a", {"messages.system.image", "cache_control"}),
            ("assistant", (Refusal("no"),), "no", {"messages.refusal"}),
            ("assistant", (Text("a", cache="5m"), Image(url="x")), "a", {"messages.image", "cache_control"}),
            ("assistant", (Text("", citations=(Citation(source="d"),)), Text("a")), "a", {"messages.citations"}),
            (
                "assistant",
                (Reasoning(text="t", signature="s"), Reasoning(summary="u"), Text("a")),
                [
                    {"type": "thinking", "thinking": "t"},
                    {"type": "thinking", "thinking": "u"},
                    {"type": "text", "text": "a"},
                ],
                {"messages.reasoning.signature"},
            ),
            ("assistant", (Reasoning(encrypted="s"), Text("a")), "a", {"messages.reasoning.encrypted"}),
        ],
    )
    def test_parts(self, role: Any, parts: tuple[Part, ...], content: Any, losses: set[str]) -> None:
        wire, lost = built(Message(role, parts))
        assert wire["messages"] == [{"role": role, "content": content}]
        assert lost == losses

    def test_an_assistants_turn(self) -> None:
        citation = Citation(source="d", title="t", quote="s", start=1, end=2)
        call = ToolCall(id="c", name="f", arguments="", signature="s")
        wire, losses = built(Message("assistant", (PLAN, Text("abc", citations=(citation,)), call)))
        source = {"type": "document", "id": "d", "document": {"id": "d", "title": "t", "snippet": "s"}}
        cited = {"start": 1, "end": 2, "text": "b", "sources": [source], "content_index": 0, "type": "TEXT_CONTENT"}
        assert wire["messages"] == [
            {
                "role": "assistant",
                "tool_plan": "p",
                "content": [{"type": "text", "text": "abc"}],
                "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
                "citations": [cited],
            }
        ]
        assert losses == {"messages.tool_call.signature"}
        only_calls, _ = built(Message("assistant", (ToolCall(id="c", name="f"),)))
        assert only_calls["messages"][0].keys() == {"role", "tool_calls"}

    def test_tool_results(self) -> None:
        parts = (Text("a"), document('{"a":1}', "application/json", "1"), document("b", "text/csv", "n"))
        results = (
            ToolResult(call_id="c", parts=parts, is_error=True, name="f", cache="5m"),
            ToolResult(call_id="d", parts=(Text("x"), Image(url="https://a.test/a.png"))),
            ToolResult(call_id="e"),
        )
        wire, losses = built(Message("user", (*results, Text("go on"))))
        assert wire["messages"] == [
            {
                "role": "tool",
                "tool_call_id": "c",
                "content": [
                    {"type": "text", "text": "a"},
                    {"type": "document", "document": {"id": "1", "data": {"a": 1}}},
                    {"type": "document", "document": {"data": {"title": "n", "snippet": "b"}}},
                ],
            },
            {"role": "tool", "tool_call_id": "d", "content": "x"},
            {"role": "tool", "tool_call_id": "e", "content": ""},
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": "https://a.test/a.png"}},
                    {"type": "text", "text": "go on"},
                ],
            },
        ]
        assert losses == {
            "messages.tool_result.is_error",
            "messages.tool_result.name",
            "messages.tool_result.media_position",
            "messages.file.media_type",
            "cache_control",
        }

    def test_documents(self) -> None:
        plain, data = document("a", name="n"), document('{"a":1}', "application/json")
        wire, losses = built(Message("user", (plain, data, Text("q"))), Message("assistant", (Text("a"),)))
        assert wire["documents"] == [{"data": {"title": "n", "snippet": "a"}}, {"data": {"a": 1}}]
        assert wire["messages"][0] == {"role": "user", "content": "q"}
        assert losses == set()

    @pytest.mark.parametrize(
        ("parts", "losses"),
        [
            ((Text("q"), document("a")), {"messages.file.position"}),
            ((document("[1]", "application/json"),), {"messages.file.media_type"}),
            ((File(data="/w==", media_type="text/plain"),), {"messages.file"}),
            ((File(data="QUJD", media_type="application/pdf"),), {"messages.file"}),
            ((File(url="https://a.test/a.pdf"),), {"messages.file"}),
            ((File(file_id="f", cache="5m"),), {"messages.file", "cache_control"}),
        ],
    )
    def test_what_is_lost_of_documents(self, parts: tuple[Part, ...], losses: set[str]) -> None:
        assert built(Message("user", parts))[1] == losses

    def test_a_document_of_an_earlier_turn_moves(self) -> None:
        wire, losses = built(Message("user", (document("a"), Text("q"))), Message("user", (Text("r"),)))
        assert [message["content"] for message in wire["messages"]] == ["q", "r"]
        assert losses == {"messages.file.position"}

    def test_what_says_nothing_is_left_out(self) -> None:
        wire, losses = built(Message("user", (Text(""),)), Message("assistant"), Message("user", (Text("hi"),)))
        assert (wire["messages"], losses) == (HI, set())


class TestPass:
    def test_only_the_model_and_stream_change(self) -> None:
        raw = b'{ "messages": [{"role":"user","content":"\\u00e9"}] , "model":"a","novel":1}'
        head = DIALECT.peek(raw)
        assert DIALECT.pass_request(raw, head, "b") == raw.replace(b'"model":"a"', b'"model":"b"')
        assert DIALECT.pass_request(raw, head, "a", ask_usage=True) is raw
        assert json.loads(DIALECT.pass_request(raw, head, "a", stream=True))["stream"] is True
        off = body(stream=True, trivium={"strict": True}, models=["x"])
        passed = json.loads(DIALECT.pass_request(off, DIALECT.peek(off), "b", stream=False))
        assert passed == {"model": "b", "messages": HI, "stream": False}
