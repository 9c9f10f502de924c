"""Requests on OpenAI's wire: the first look, passing, parsing, building."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest
from msgspec import structs

from trivium.dialects import get
from trivium.dialects.common import UNSAID
from trivium.errors import InvalidRequest
from trivium.types.message import Audio, Citation, File, Image, Message, Reasoning, Refusal, Text, ToolCall, ToolResult
from trivium.types.request import ReasoningOptions, Request, ResponseFormat, Sampling, Tool, ToolChoice

DIALECT = get("openai_chat")
HELLO = [{"role": "user", "content": "hello"}]


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "m", "messages": HELLO} | fields).encode()


def parse(**fields: Any) -> Request:
    return DIALECT.parse_request(body(**fields))


def build(*messages: Message, **fields: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    built = DIALECT.build_request(Request(model="m", messages=messages or (Message("user", (Text("hi"),)),), **fields))
    return json.loads(built.body), built.losses


ROUTED = {"plugins": [{"id": "web"}], "transforms": [], "session_id": "s", "top_a": 0.5}


def test_a_routing_service_gets_its_own_fields_and_nobody_else():
    fields = ROUTED | {"top_k": 4, "min_p": 0.1, "reasoning": {"max_tokens": 9, "exclude": True}}
    request = parse(**fields, thinking={})
    routed = DIALECT.build_request(structs.replace(request, routed=True))
    assert {name: json.loads(routed.body)[name] for name in fields} == fields
    assert routed.losses == ("thinking",)
    direct = DIALECT.build_request(request)
    assert not fields.keys() & json.loads(direct.body).keys()
    assert {*ROUTED, "top_k", "min_p", "reasoning.budget_tokens", "reasoning.exclude"} <= set(direct.losses)


@pytest.mark.parametrize("name", ["openai_chat", "openrouter", "anthropic_messages", "openai_responses"])
def test_what_is_said_of_who_may_serve_is_in_the_head(name: str):
    assert bytes(get(name).peek(body(provider={"zdr": True}, max_tokens=1, input="x")).provider) == b'{"zdr": true}'
    assert get(name).peek(body(max_tokens=1, input="x")).provider is UNSAID


class TestModels:
    """Of `openrouter`, where a list may stand for the name."""

    DIALECT = get("openrouter")

    def test_the_first_is_the_model(self):
        listed = json.dumps({"models": ["a/b", "c/d"], "messages": HELLO}).encode()
        head = self.DIALECT.peek(listed)
        assert (head.model, type(head.model), head.models) == ("a/b", str, ("c/d",))
        assert self.DIALECT.parse_request(listed).model == "a/b"

    def test_a_model_comes_before_them(self):
        head = self.DIALECT.peek(body(models=["a/b"]))
        assert (head.model, head.models) == ("m", ("a/b",))
        assert self.DIALECT.parse_request(body(models=["a/b"])).model == "m"

    @pytest.mark.parametrize("more", [{}, {"models": []}, {"models": [""]}, {"models": None}])
    def test_no_name_at_all(self, more: dict[str, Any]):
        with pytest.raises(InvalidRequest) as caught:
            self.DIALECT.peek(json.dumps({"messages": HELLO} | more).encode())
        assert caught.value.param == "model"

    @pytest.mark.parametrize("broken", [b'{"models":["a"]', b'{"models":["a"],"messages":5}', b'["models"]'])
    def test_a_broken_list_is_refused(self, broken: bytes):
        with pytest.raises(InvalidRequest):
            self.DIALECT.parse_request(broken)

    def test_elsewhere_a_model_is_named(self):
        with pytest.raises(InvalidRequest):
            DIALECT.peek(json.dumps({"models": ["a/b"], "messages": HELLO}).encode())

    def test_twice_is_too_often(self):
        with pytest.raises(InvalidRequest, match="more than one"):
            self.DIALECT.peek(b'{"model":"a","model":"b","messages":[{}]}')


class TestPeek:
    def test_defaults(self):
        head = DIALECT.peek(body())
        assert (head.model, head.stream, head.wants_usage, head.max_output_tokens) == ("m", False, False, None)
        assert (head.needs, head.models, head.trivium) == (frozenset(), (), None)

    def test_all_that_shows(self):
        head = DIALECT.peek(
            body(
                stream=True,
                stream_options={"include_usage": True},
                max_tokens=5,
                max_completion_tokens=7,
                tools=[{"type": "function", "function": {"name": "f"}}],
                response_format={"type": "json_schema", "json_schema": {"name": "x"}},
                n=2,
                logprobs=True,
                models=["b", "c"],
                provider={"order": ["x"]},
                trivium={"data_class": "premises", "strict": True, "timeout": "3s"},
            )
        )
        assert (head.stream, head.wants_usage, head.max_output_tokens) == (True, True, 7)
        assert head.needs == {"tools", "json_schema", "n", "logprobs"}
        assert head.models == ("b", "c")
        assert head.trivium is not None
        assert (head.trivium.data_class, head.trivium.strict, head.trivium.timeout) == ("premises", True, "3s")

    def test_nothing_is_needed_by_empty_fields(self):
        assert DIALECT.peek(body(tools=[], response_format={"type": "text"}, n=1, logprobs=False)).needs == frozenset()
        assert DIALECT.peek(body(tools=None, response_format=None)).needs == frozenset()
        assert DIALECT.peek(body(response_format={"type": "json_object"})).needs == {"json_object"}

    @pytest.mark.parametrize(
        ("sent", "param", "says"),
        [
            (b"", None, "not valid JSON"),
            (b"{", None, "not valid JSON"),
            (b"[]", None, "Expected `object`"),
            (b'"x"', None, "Expected `object`"),
            (b"\xef\xbb\xbf" + body(), None, "not valid JSON"),
            (b'{"model":"m","messages":["\xff"]}', None, "not valid UTF-8"),
            (b'{"model":"\xff","messages":[1]}', None, "not valid UTF-8"),
            (b'{"model":"m","messages":' + b"[" * 50_000 + b"]" * 50_000 + b"}", None, "nested too deeply"),
            (b'{"messages":[1]}', "model", "`model` is missing"),
            (b'{"model":"m"}', "messages", "`messages` is missing"),
            (body(model=""), "model", "empty"),
            (body(model=None), "model", "expected a string"),
            (body(model=5), "model", "expected a string"),
            (body(messages=[]), "messages", "at least one message"),
            (b'{"model":"m","messages":[ \n ]}', "messages", "at least one message"),
            (body(messages={}), "messages", "at least one message"),
            (body(messages=None), "messages", "at least one message"),
            (body(stream="yes"), "stream", "Expected `bool | null`"),
            (body(max_tokens=0), "max_tokens", ">= 1"),
            (body(max_tokens=-1), "max_tokens", ">= 1"),
            (body(max_tokens=10**30), "max_tokens", "<= 1000000000"),
            (body(max_tokens=1.5), "max_tokens", "got `float`"),
            (body(n=0), "n", ">= 1"),
            (body(models="x"), "models", "Expected `array | null`"),
            (body(models=["x", 1]), "models[1]", "Expected `str`"),
            (body(trivium={"strict": "x"}), "trivium.strict", "Expected `bool | null`"),
            (b'{"model":"m","model":"m","messages":[1]}', "model", "more than one"),
            (b'{"model":"m","messages":[1],"mod\\u0065l":"n"}', "model", "more than one"),
        ],
    )
    def test_refusals_say_what_where_and_what_to_do(self, sent, param, says):
        with pytest.raises(InvalidRequest) as caught:
            DIALECT.peek(sent)
        assert caught.value.param == param
        assert says in caught.value.message
        assert caught.value.remedy


class TestPassRequest:
    def passed(self, sent: bytes, **options: Any) -> bytes:
        return DIALECT.pass_request(sent, DIALECT.peek(sent), "upstream-model", **options)

    def test_bytes_stay_but_for_the_model(self):
        sent = b'{"model" : "m","unknown":{"a":[1.0]},\n"messages":[1] }'
        assert self.passed(sent) == sent.replace(b'"m"', b'"upstream-model"')

    def test_additions_are_spliced(self):
        sent = b'{"model":"m","messages":[1]}'
        assert (
            self.passed(sent, stream=True, ask_usage=True)
            == b'{"model":"upstream-model","stream":true,"stream_options":{"include_usage":true},"messages":[1]}'
        )
        sent = b'{"model":"m","messages":[1],"stream":true}'
        assert self.passed(sent, stream=True) == sent.replace(b'"m"', b'"upstream-model"')

    def test_usage_is_asked_once_and_only_of_streams(self):
        sent = body(stream=True, stream_options={"include_usage": True})
        assert self.passed(sent, ask_usage=True) == sent.replace(b'"m"', b'"upstream-model"')
        assert b"stream_options" not in self.passed(body(), ask_usage=True)

    def test_a_key_that_is_there_is_changed_not_doubled(self):
        sent = body(stream=False, stream_options={"include_usage": False, "x": 1}, big=10**40)
        passed = json.loads(self.passed(sent, stream=True, ask_usage=True))
        assert passed["stream"] is True
        assert passed["stream_options"] == {"include_usage": True, "x": 1}
        assert passed["big"] == 10**40

    def test_a_stream_that_is_turned_off_loses_its_options(self):
        passed = json.loads(self.passed(body(stream=True, stream_options={"include_usage": True}), stream=False))
        assert passed["stream"] is False
        assert "stream_options" not in passed

    def test_our_own_member_stays_in_the_house(self):
        assert b"trivium" not in self.passed(body(trivium={"data_class": "premises"}))
        assert b"trivium" not in self.passed(body(trivium=None))


class TestParse:
    def test_parameters(self):
        request = parse(
            max_completion_tokens=9,
            stream=True,
            stream_options={"include_usage": True},
            temperature=0.5,
            top_p=0.9,
            top_k=4,
            seed=7,
            logit_bias={"5": -100},
            logprobs=True,
            top_logprobs=2,
            stop="x",
            n=2,
            user="u",
            metadata={"a": "b"},
            service_tier="flex",
            reasoning_effort="low",
            parallel_tool_calls=False,
            store=True,
            plugins=[{"id": "web"}],
            models=["z"],
            trivium={"strict": True},
            verbosity=None,
        )
        assert request == Request(
            model="m",
            messages=(Message("user", (Text("hello"),)),),
            max_output_tokens=9,
            stream=True,
            include_usage=True,
            parallel_tools=False,
            reasoning=ReasoningOptions(effort="low"),
            sampling=Sampling(
                temperature=0.5, top_p=0.9, top_k=4, seed=7, logit_bias={"5": -100}, logprobs=True, top_logprobs=2
            ),
            stop=("x",),
            n=2,
            user="u",
            metadata={"a": "b"},
            service_tier="flex",
            extra={"store": True, "plugins": [{"id": "web"}]},
        )

    def test_tools(self):
        schema = {"type": "object"}
        request = parse(
            tools=[
                {
                    "type": "function",
                    "function": {"name": "f", "description": "d", "parameters": schema, "strict": True},
                }
            ],
            tool_choice={"type": "function", "function": {"name": "f"}},
        )
        assert request.tools == (Tool(name="f", description="d", parameters=schema, strict=True),)
        assert request.tool_choice == ToolChoice("named", "f")
        assert parse(tool_choice="required").tool_choice == ToolChoice("required")

    @pytest.mark.parametrize(
        ("wire", "expected"),
        [
            ({"type": "text"}, ResponseFormat()),
            ({"type": "json_object"}, ResponseFormat(type="json_object")),
            (
                {"type": "json_schema", "json_schema": {"name": "n", "schema": {"a": 1}, "strict": True}},
                ResponseFormat(type="json_schema", name="n", schema={"a": 1}, strict=True),
            ),
        ],
    )
    def test_response_formats(self, wire, expected):
        assert parse(response_format=wire).response_format == expected

    @pytest.mark.parametrize(
        ("fields", "expected"),
        [
            ({"reasoning": {"max_tokens": 5, "exclude": True}}, ReasoningOptions(budget_tokens=5, exclude=True)),
            ({"reasoning": {"enabled": True}}, ReasoningOptions(effort="medium")),
            ({"reasoning": {"enabled": False}}, ReasoningOptions(effort="none")),
            (
                {"reasoning": {"effort": "high"}, "include_reasoning": False},
                ReasoningOptions(effort="high", exclude=True),
            ),
            ({"include_reasoning": True}, None),
        ],
    )
    def test_reasoning_as_a_routing_service_takes_it(self, fields, expected):
        assert parse(**fields).reasoning == expected

    def test_user_parts(self):
        content = [
            {"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
            {"type": "text", "text": ""},
            {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}},
            {"type": "input_audio", "input_audio": {"data": "QUJD", "format": "wav"}},
            {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,QUJD"}},
            {"type": "file", "file": {"file_id": "file-1"}},
            {"type": "file", "file": {"file_data": "https://x/y.pdf"}},
        ]
        (message,) = parse(messages=[{"role": "user", "content": content, "name": "bob"}]).messages
        assert message == Message(
            "user",
            (
                Text("a", cache="1h"),
                Image(url="https://x/y.png", detail="low"),
                Image(data="QUJD", media_type="image/png"),
                Audio(data="QUJD", format="wav"),
                File(data="QUJD", media_type="application/pdf", name="a.pdf"),
                File(file_id="file-1"),
                File(url="https://x/y.pdf"),
            ),
            "bob",
        )

    def test_a_conversation_with_tools(self):
        call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
        messages = parse(
            messages=[
                {"role": "developer", "content": "be brief"},
                {"role": "user", "content": ""},
                {"role": "assistant", "content": None, "reasoning_content": "hm", "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "c1", "content": "42"},
                {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "43"}]},
                {"role": "assistant", "content": [{"type": "text", "text": "no"}], "refusal": "will not"},
            ]
        ).messages
        assert messages == (
            Message("system", (Text("be brief"),)),
            Message("user"),
            Message("assistant", (Reasoning(text="hm"), ToolCall(id="c1", name="f", arguments='{"a":1}'))),
            Message(
                "user",
                (ToolResult(call_id="c1", parts=(Text("42"),)), ToolResult(call_id="c2", parts=(Text("43"),))),
            ),
            Message("assistant", (Text("no"), Refusal("will not"))),
        )

    def test_reasoning_details_keep_their_seals(self):
        details = [
            {"type": "reasoning.text", "text": "t", "signature": "s", "format": "f", "index": 0},
            {"type": "reasoning.encrypted", "data": "d", "id": "i"},
        ]
        (message,) = parse(
            messages=[{"role": "assistant", "reasoning": "t", "reasoning_details": details, "content": "x"}]
        ).messages
        assert message.parts[:2] == (Reasoning(text="t", signature="s", format="f"), Reasoning(encrypted="d", id="i"))

    @pytest.mark.parametrize(
        ("fields", "param"),
        [
            ({"messages": [{"role": "user", "content": [{"type": "video"}]}]}, "messages[0].content[0].type"),
            ({"messages": [*HELLO, {"role": "robot", "content": ""}]}, "messages[1].role"),
            ({"messages": [*HELLO, {"content": ""}]}, "messages[1].role"),
            ({"messages": [{"role": "user"}]}, "messages[0].content"),
            ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
            ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
            (
                {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:x"}}]}]},
                "messages[0].content[0].image_url.url",
            ),
            (
                {"messages": [{"role": "user", "content": [{"type": "file", "file": {}}]}]},
                "messages[0].content[0].file",
            ),
            ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0].type"),
            ({"tool_choice": "sometimes"}, "tool_choice"),
            ({"response_format": {"type": "grammar"}}, "response_format.type"),
            ({"temperature": "hot"}, "temperature"),
            ({"functions": [{"name": "f"}]}, "functions"),
            ({"function_call": "auto"}, "function_call"),
        ],
    )
    def test_refusals_name_the_place(self, fields, param):
        with pytest.raises(InvalidRequest) as caught:
            parse(**fields)
        assert caught.value.param == param
        assert caught.value.remedy


class TestBuild:
    def test_documents_of_text_are_said_as_text(self):
        plain = File(data=b64encode("é".encode()).decode(), media_type="text/plain", name='a "b".txt')
        data = File(data=b64encode(b'{"a":1}').decode(), media_type="application/json")
        broken = File(data="/w==", media_type="text/plain")
        result = ToolResult(call_id="c", parts=(data,))
        wire, losses = build(Message("user", (result, plain, broken, Text("q"))))
        named = {"type": "text", "text": '<document name="a \\"b\\".txt">\né\n</document>'}
        assert wire["messages"] == [
            {"role": "tool", "tool_call_id": "c", "content": '<document>\n{"a":1}\n</document>'},
            {"role": "user", "content": [named, {"type": "text", "text": "q"}]},
        ]
        assert losses == ("messages.file",)

    def test_the_least(self):
        assert build() == ({"model": "m", "messages": [{"role": "user", "content": "hi"}]}, ())

    def test_streams_ask_for_usage(self):
        wire, _ = build(stream=True)
        assert wire["stream"] is True
        assert wire["stream_options"] == {"include_usage": True}

    def test_max_tokens_is_the_name_that_all_know(self):
        assert build(max_output_tokens=5)[0]["max_tokens"] == 5

    def test_a_choice_goes_with_tools_only(self):
        for choice, losses in (("auto", ()), ("none", ()), ("required", ("tool_choice",))):
            wire, lost = build(tool_choice=ToolChoice(choice), parallel_tools=True)
            assert (wire.keys() & {"tool_choice", "parallel_tool_calls"}, lost) == (set(), losses)

    def test_what_cannot_be_said_is_named(self):
        _, losses = build(
            Message(
                "user",
                (
                    ToolResult(call_id="c", parts=(Text("x"),), is_error=True, name="f"),
                    Text("x", cache="5m", citations=(Citation(source="s"),)),
                    File(url="https://x/y"),
                ),
            ),
            Message("assistant", (Reasoning(text="x", signature="s"), ToolCall(id="c", name="f", signature="s"))),
            Message("assistant", (Reasoning(text="x"), Reasoning(text="y", summary="z", id="i"))),
            Message("assistant", (Image(url="https://x/y"),)),
            Message("assistant", (ToolResult(call_id="c"),)),
            sampling=Sampling(top_k=1, min_p=0.1, repetition_penalty=1.1),
            reasoning=ReasoningOptions(effort="max", budget_tokens=5, exclude=True, summary="auto"),
            extra={"thinking": {}, "store": True},
        )
        assert set(losses) == {
            "messages.tool_result.is_error",
            "messages.tool_result.name",
            "cache_control",
            "messages.citations",
            "messages.file.url",
            "messages.reasoning",
            "messages.tool_call.signature",
            "messages.reasoning.parts",
            "messages.reasoning.summary",
            "messages.reasoning.id",
            "messages.assistant.image",
            "messages.assistant.toolresult",
            "top_k",
            "min_p",
            "repetition_penalty",
            "reasoning.effort",
            "reasoning.budget_tokens",
            "reasoning.exclude",
            "reasoning.summary",
            "thinking",
        }
        assert len(losses) == len(set(losses))

    def test_results_come_before_the_users_words_and_their_images_with_them(self):
        picture = Image(data="QUJD", media_type="image/png")
        wire, losses = build(
            Message("user", (Text("see"), ToolResult(call_id="c", parts=(Text("done"), picture)), Text("this")))
        )
        assert [message["role"] for message in wire["messages"]] == ["tool", "user"]
        assert wire["messages"][0]["content"] == "done"
        assert [part["type"] for part in wire["messages"][1]["content"]] == ["image_url", "text", "text"]
        assert losses == ("messages.tool_result.media_position",)

    def test_unsigned_thinking_goes_back_to_a_server_of_this_shape(self):
        wire, losses = build(Message("assistant", (Reasoning(text="hm"), ToolCall(id="c", name="f"))))
        assert wire["messages"][0] == {
            "role": "assistant",
            "content": None,
            "reasoning_content": "hm",
            "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        }
        assert losses == ()
