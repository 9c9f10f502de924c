"""Requests of the Responses API: the first look, the canonical form, the bytes for an upstream, the passed bytes."""

from __future__ import annotations

import json
from time import process_time
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from openai.types.responses.response_create_params import (
    ResponseCreateParamsBase,
    ResponseCreateParamsNonStreaming,
    ResponseCreateParamsStreaming,
)

from sdk_types import judge
from trivium.dialects import get
from trivium.dialects.openai_responses import DIALECT
from trivium.dialects.openai_responses.parse import _Body
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

FORMAT = "openai-responses-v1"
HI: list[dict[str, Any]] = [{"role": "user", "content": "hi"}]
FUNCTION = {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True}
PATCH = {
    "type": "custom",
    "name": "apply_patch",
    "description": "Edits files.",
    "format": {"type": "grammar", "syntax": "lark", "definition": "start: x"},
}
SPACE = {"type": "namespace", "name": "mcp__a__", "description": "A.", "tools": [FUNCTION, PATCH]}


def content(*parts: Any) -> dict[str, Any]:
    return {"input": [{"role": "user", "content": list(parts)}]}


def body(**fields: Any) -> bytes:
    return json.dumps({"input": HI, "model": "m"} | fields).encode()


def parsed(**fields: Any) -> Request:
    return DIALECT.parse_request(body(**fields))


def built(request: Request) -> tuple[dict[str, Any], set[str]]:
    out = DIALECT.build_request(request)
    judge(ResponseCreateParamsStreaming if request.stream else ResponseCreateParamsNonStreaming).validate_json(out.body)
    return json.loads(out.body), set(out.losses)


def request(*messages: Message, **fields: Any) -> Request:
    return Request(model="m", messages=messages or (Message("user", (Text("hi"),)),), **fields)


def items(*messages: Message, **fields: Any) -> tuple[list[dict[str, Any]], set[str]]:
    wire, losses = built(request(*messages, **fields))
    return wire["input"], losses


class TestPeek:
    def test_reads_what_routing_needs(self) -> None:
        head = DIALECT.peek(
            body(
                stream=True,
                tools=[FUNCTION],
                max_output_tokens=10,
                text={"format": {"type": "json_schema", "name": "n", "schema": {}}},
                include=["message.output_text.logprobs"],
                models=["a", "b"],
                trivium={"data_class": "premises"},
            )
        )
        assert (head.model, head.stream, head.max_output_tokens, head.wants_usage) == ("m", True, 10, True)
        assert head.needs == {"tools", "json_schema", "logprobs"}
        assert head.models == ("a", "b")
        assert head.trivium is not None
        assert bytes(head.messages) == json.dumps(HI).encode()

    def test_needs_nothing_for_a_plain_question(self) -> None:
        head = DIALECT.peek(body(input="hi", tools=[], text={"verbosity": "low"}, include=[]))
        assert (head.needs, head.stream, head.models, head.trivium) == (frozenset(), False, (), None)

    def test_the_input_may_be_elsewhere(self) -> None:
        assert DIALECT.peek(b'{"model":"m","prompt":{"id":"p"}}').model == "m"
        assert DIALECT.peek(b'{"model":"m","input":null,"conversation":"c"}').model == "m"

    @pytest.mark.parametrize(
        ("raw", "param", "words"),
        [
            (b"", None, "JSON"),
            (b"[]", None, "object"),
            (b'{"model":"m","input":["\xff"]}', None, "UTF-8"),
            (b'{"model":"m","input":' + b"[" * 100_000 + b"]" * 100_000 + b"}", None, "deep"),
            (b'{"input":"x"}', "model", "missing"),
            (b'{"model":"m","input":""}', "input", "empty"),
            (b'{"model":"m","input":[ ]}', "input", "empty"),
            (b'{"model":7,"input":"x"}', "model", "string"),
            (b'{"model":"m","input":"x","max_output_tokens":0}', "max_output_tokens", "int"),
            (b'{"model":"m","input":"x","stream":"yes"}', "stream", "bool"),
            (b'{"model":"m","input":"x","model":"n"}', "model", "more than one"),
        ],
    )
    def test_refuses_with_place_and_remedy(self, raw: bytes, param: str | None, words: str) -> None:
        for look in (DIALECT.peek, DIALECT.parse_request):
            with pytest.raises(InvalidRequest) as caught:
                look(raw)
            assert caught.value.param == param
            assert words in caught.value.message
            assert caught.value.remedy


class TestParse:
    def test_a_text_is_a_message_of_the_user(self) -> None:
        assert parsed(input="hi").messages == (Message("user", (Text("hi"),)),)
        assert parsed(input="hi", instructions="be brief").messages[0] == Message("system", (Text("be brief"),))

    def test_roles(self) -> None:
        said = [{"role": role, "content": role} for role in ("developer", "system", "user", "assistant")]
        assert [message.role for message in parsed(input=said).messages] == ["system", "system", "user", "assistant"]

    def test_parts(self) -> None:
        content = [
            {"type": "input_text", "text": "a", "prompt_cache_breakpoint": {"mode": "explicit"}},
            {"type": "input_text", "text": ""},
            {"type": "input_image", "image_url": "https://a.test/a.png", "detail": "low"},
            {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "auto"},
            {"type": "input_image", "file_id": "file-1"},
            {"type": "input_file", "file_data": "data:application/pdf;base64,AAAA", "filename": "a.pdf"},
            {"type": "input_file", "file_data": "AAAA"},
            {"type": "input_file", "file_url": "https://a.test/a.pdf"},
            {"type": "input_file", "file_id": "file-2"},
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        ]
        assert parsed(input=[{"role": "user", "content": content}]).messages[0].parts == (
            Text("a", cache="5m"),
            Image(url="https://a.test/a.png", detail="low"),
            Image(data="AAAA", media_type="image/png"),
            File(file_id="file-1", media_type="image/*"),
            File(data="AAAA", media_type="application/pdf", name="a.pdf"),
            File(data="AAAA"),
            File(url="https://a.test/a.pdf"),
            File(file_id="file-2"),
            Audio(data="AAAA", format="wav"),
        )

    def test_what_an_assistant_did_is_one_message(self) -> None:
        note = {"type": "url_citation", "url": "https://a.test", "title": "A", "start_index": 0, "end_index": 2}
        said = [
            {"type": "output_text", "text": "so", "annotations": [note]},
            {"type": "refusal", "refusal": "no"},
        ]
        seen = parsed(
            input=[
                *HI,
                {
                    "type": "reasoning",
                    "id": "rs_1",
                    "summary": [{"type": "summary_text", "text": "a"}, {"type": "summary_text", "text": "b"}],
                    "content": [{"type": "reasoning_text", "text": "c"}],
                    "encrypted_content": "e",
                },
                {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": said},
                {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a": 1.50}'},
                {"type": "custom_tool_call", "call_id": "c2", "name": "apply_patch", "input": 'a"b'},
                {"type": "function_call_output", "call_id": "c1", "output": "yes", "name": "f"},
                {
                    "type": "custom_tool_call_output",
                    "call_id": "c2",
                    "output": [
                        {"type": "input_text", "text": "no"},
                        {"type": "input_image", "image_url": "https://a.test"},
                    ],
                },
                *HI,
            ]
        )
        assert seen.messages[1:] == (
            Message(
                "assistant",
                (
                    Reasoning(text="c", summary="a\n\nb", encrypted="e", id="rs_1", format=FORMAT),
                    Text("so", citations=(Citation(source="https://a.test", title="A", start=0, end=2),)),
                    Refusal("no"),
                    ToolCall(id="c1", name="f", arguments='{"a": 1.50}'),
                    ToolCall(id="c2", name="apply_patch", arguments='{"input":"a\\"b"}'),
                ),
            ),
            Message(
                "user",
                (
                    ToolResult(call_id="c1", parts=(Text("yes"),), name="f"),
                    ToolResult(call_id="c2", parts=(Text("no"), Image(url="https://a.test"))),
                ),
            ),
            Message("user", (Text("hi"),)),
        )

    @pytest.mark.parametrize(
        ("kinds", "messages"),
        [
            ("mm", ["m", "m"]),
            ("rm", ["rm"]),
            ("mrm", ["m", "rm"]),
            ("rcrc", ["rcrc"]),
            ("cmc", ["cmc"]),
            ("mcm", ["mcm"]),
            ("cmmmrm", ["cmmmrm"]),
            ("ccoo", ["cc", "oo"]),
            ("cocom", ["c", "o", "c", "o", "m"]),
            ("cumo", ["c", "u", "m", "o"]),
        ],
    )
    def test_calls_stay_together_until_they_are_answered(self, kinds: str, messages: list[str]) -> None:
        """Other wires want the results of calls right behind one message that has them all."""
        wires = {
            "m": {"role": "assistant", "content": "m"},
            "u": HI[0],
            "r": {"type": "reasoning", "summary": [], "encrypted_content": "e"},
            "c": {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            "o": {"type": "function_call_output", "call_id": "c", "output": "o"},
        }
        letters = {Text: "m", Reasoning: "r", ToolCall: "c", ToolResult: "o"}

        def letter(message: Message, part: Part) -> str:
            return "u" if message.role == "user" and isinstance(part, Text) else letters[type(part)]

        seen = parsed(input=[wires[kind] for kind in kinds]).messages
        assert ["".join(letter(message, part) for part in message.parts) for message in seen] == messages

    def test_a_thought_that_only_its_server_has_is_none(self) -> None:
        thought = {"type": "reasoning", "id": "rs_1", "summary": []}
        assert parsed(input=[*HI, thought, *HI]).messages == (Message("user", (Text("hi"),)),) * 2

    def test_parameters(self) -> None:
        seen = parsed(
            stream=True,
            max_output_tokens=20,
            temperature=0.5,
            top_p=0.9,
            top_logprobs=2,
            include=["message.output_text.logprobs", "reasoning.encrypted_content", "file_search_call.results"],
            metadata={"a": "b"},
            safety_identifier="s",
            service_tier="flex",
            tools=[FUNCTION],
            tool_choice={"type": "function", "name": "f"},
            parallel_tool_calls=False,
            text={"format": {"type": "json_schema", "name": "n", "schema": {}, "strict": True}, "verbosity": "low"},
            reasoning={"effort": "high", "summary": "auto", "context": "auto"},
            truncation="auto",
            prompt_cache_key="k",
            store=True,
            max_tool_calls=None,
        )
        assert seen == Request(
            model="m",
            messages=(Message("user", (Text("hi"),)),),
            stream=True,
            max_output_tokens=20,
            sampling=Sampling(temperature=0.5, top_p=0.9, logprobs=True, top_logprobs=2),
            metadata={"a": "b"},
            user="s",
            service_tier="flex",
            tools=(Tool(name="f", description="d", parameters={"type": "object"}, strict=True),),
            tool_choice=ToolChoice("named", "f"),
            parallel_tools=False,
            response_format=ResponseFormat(type="json_schema", name="n", schema={}, strict=True),
            reasoning=ReasoningOptions(effort="high", summary="auto"),
            extra={
                "include": ["file_search_call.results"],
                "truncation": "auto",
                "prompt_cache.key": "k",
                "store": True,
                "text.verbosity": "low",
                "reasoning.context": "auto",
            },
        )

    def test_who_asks(self) -> None:
        both = parsed(user="u", safety_identifier="s")
        assert (both.user, both.extra) == ("u", {"safety_identifier": "s"})
        assert parsed(user="u").extra == parsed(safety_identifier="s").extra == {}

    def test_what_asks_for_nothing_is_no_loss(self) -> None:
        seen = parsed(
            store=False,
            background=False,
            truncation="disabled",
            stream_options={"include_obfuscation": False},
            text={"format": {"type": "text"}},
            reasoning={"summary": None},
            include=["reasoning.encrypted_content"],
        )
        assert (seen.extra, seen.response_format, seen.reasoning) == ({}, None, None)

    def test_functions_stand_in_for_tools_that_are_none(self) -> None:
        seen = parsed(tools=[PATCH, SPACE, {"type": "web_search"}, {"type": "local_shell"}])
        assert [tool.name for tool in seen.tools] == ["apply_patch", "mcp__a__f", "mcp__a__apply_patch"]
        assert seen.tools[0].parameters["required"] == ["input"]
        assert seen.tools[0].description == "Edits files.\n\nThe input must match this grammar (lark):\nstart: x"
        assert seen.extra == {
            "tools.custom": [PATCH],
            "tools.namespace": [SPACE],
            "tools.web_search": [{"type": "web_search"}],
            "tools.local_shell": [{"type": "local_shell"}],
        }
        for name in ("openai_chat", "anthropic_messages"):
            losses = get(name).build_request(seen).losses
            assert {"tools.custom", "tools.namespace", "tools.web_search", "tools.local_shell"} <= set(losses)

    def test_tools_may_come_with_the_conversation(self) -> None:
        more = {"type": "additional_tools", "role": "developer", "tools": [FUNCTION]}
        assert [tool.name for tool in parsed(input=[more, *HI], tools=[PATCH]).tools] == ["f", "apply_patch"]

    @pytest.mark.parametrize(
        ("wire", "choice", "names"),
        [
            ("required", ToolChoice("required"), ["f", "g"]),
            ({"type": "custom", "name": "g"}, ToolChoice("named", "g"), ["f", "g"]),
            (
                {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "g"}]},
                ToolChoice("required"),
                ["g"],
            ),
            ({"type": "allowed_tools", "tools": [{"type": "function", "name": "f"}]}, ToolChoice("auto"), ["f"]),
            ({"type": "web_search"}, None, ["f", "g"]),
        ],
    )
    def test_tool_choice(self, wire: Any, choice: ToolChoice | None, names: list[str]) -> None:
        seen = parsed(tools=[FUNCTION, FUNCTION | {"name": "g"}], tool_choice=wire)
        assert (seen.tool_choice, [tool.name for tool in seen.tools]) == (choice, names)
        assert seen.extra.get("tool_choice") == (wire if choice is None else None)

    def test_what_only_this_api_knows_is_named_with_its_places(self) -> None:
        seen = parsed(
            input=[
                *HI,
                {"type": "web_search_call", "id": "w", "status": "completed"},
                {"role": "assistant", "content": "a", "phase": "commentary"},
                {"type": "web_search_call", "id": "x", "status": "completed"},
                {"id": "msg_1"},
            ],
            tools=[FUNCTION | {"defer_loading": True}],
            client_metadata={"a": "b"},
        )
        assert seen.extra == {
            "input.web_search_call": ["input[1]", "input[3]"],
            "input.phase": ["input[2]"],
            "input.item_reference": ["input[4]"],
            "tools.function.defer_loading": ["tools[0]"],
            "client_metadata": {"a": "b"},
        }
        assert set(DIALECT.essential) & set(get("openai_chat").build_request(seen).losses) == {"input.item_reference"}

    def test_what_must_not_be_lost(self) -> None:
        names = {"previous_response_id": "r", "conversation": {"id": "c"}, "prompt": {"id": "p"}, "background": True}
        for name, value in names.items():
            seen = parsed(**{name: value, "input": None})
            assert name in get("anthropic_messages").build_request(seen).losses
            assert name in DIALECT.essential
            assert built(replace(seen, messages=request().messages))[0][name] == value

    @pytest.mark.parametrize(
        ("fields", "param"),
        [
            ({"input": None}, "input"),
            ({"input": 3}, "input"),
            ({"input": [3]}, "input[0]"),
            ({"input": [*HI, {"role": "tool", "content": "x"}]}, "input[1].role"),
            ({"input": [*HI, {"type": "message", "content": "x"}]}, "input[1].role"),
            ({"input": [{"role": "user"}]}, "input[0].content"),
            ({"input": [{"role": "user", "content": [{"type": "text"}]}]}, "input[0].content[0].type"),
            ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0].text"),
            ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[0].content[0]"),
            (
                {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "data:,x"}]}]},
                "input[0].content[0].image_url",
            ),
            ({"input": [{"type": "function_call", "call_id": "c", "name": "f"}]}, "input[0].arguments"),
            ({"input": [{"type": "function_call_output", "output": "x"}]}, "input[0].call_id"),
            (
                {"input": [{"type": "function_call_output", "call_id": "c", "output": [{"type": "input_audio"}]}]},
                "input[0].output[0].type",
            ),
            ({"input": [{"type": "reasoning", "summary": [{"type": "summary_text"}]}]}, "input[0].summary[0].text"),
            ({"tools": ["f"]}, "tools[0]"),
            ({"tools": [FUNCTION, {"name": "f"}]}, "tools[1].type"),
            ({"tools": [{"type": "function"}]}, "tools[0].name"),
            (
                {"tools": [{"type": "namespace", "name": "n", "tools": [{"type": "function"}]}]},
                "tools[0].tools[0].name",
            ),
            ({"input": [{"type": "additional_tools", "tools": [{"type": "custom"}]}]}, "input[0].tools[0].name"),
            (content({"type": "input_file", "file_data": "data:x"}), "input[0].content[0].file_data"),
            (content({"type": "input_image", "image_url": "data:x"}), "input[0].content[0].image_url"),
            ({"tool_choice": "some"}, "tool_choice"),
            ({"tool_choice": {"type": "function"}}, "tool_choice.name"),
            ({"text": {"format": {"type": "json_schema", "name": "n"}}}, "text.format.schema"),
            ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
            ({"reasoning": {"effort": "much"}}, "reasoning.effort"),
            ({"metadata": {"a": 1}}, "metadata[...]"),
            ({"temperature": "hot"}, "temperature"),
        ],
    )
    def test_points_at_the_field(self, fields: dict[str, Any], param: str) -> None:
        with pytest.raises(InvalidRequest) as caught:
            parsed(**fields)
        assert caught.value.param == param
        assert caught.value.remedy

    def test_too_much_is_refused_before_it_is_read(self) -> None:
        with pytest.raises(InvalidRequest) as caught:
            parsed(input=[{"role": "user", "content": "x" * 30}] * 10_001)
        assert caught.value.param == "input"
        assert parsed(input="x" * 300_000).messages[0].text == "x" * 300_000


class TestBuild:
    def test_plain(self) -> None:
        wire, losses = built(request(Message("system", (Text("s"),)), Message("user", (Text("hi"),)), stream=True))
        assert wire == {
            "model": "m",
            "instructions": "s",
            "input": [{"type": "message", "role": "user", "content": "hi"}],
            "stream": True,
            "store": False,
        }
        assert losses == set()

    @pytest.mark.parametrize(
        "messages",
        [
            (Message("system", (Text("a"), Text("b"))), Message("user", (Text("u"),))),
            (Message("user", (Text("u"),)), Message("system", (Text("later"),))),
            (Message("system", (Text("alone"),)),),
        ],
    )
    def test_other_system_messages_stand_where_they_are(self, messages: tuple[Message, ...]) -> None:
        wire, losses = built(request(*messages))
        assert ("instructions" in wire, losses) == (False, set())
        assert [item["role"] for item in wire["input"]] == [message.role for message in messages]
        assert DIALECT.parse_request(json.dumps(wire).encode()).messages == messages

    def test_parts(self) -> None:
        wires, losses = items(
            Message(
                "user",
                (
                    Text("a", cache="1h"),
                    Image(url="https://a.test/a.png", detail="low"),
                    Image(data="AAAA", media_type="image/png"),
                    File(data="AAAA", media_type="application/pdf", name="a.pdf"),
                    File(url="https://a.test/a.pdf"),
                    File(file_id="file-1", media_type="image/*"),
                ),
            )
        )
        assert wires[0]["content"] == [
            {"type": "input_text", "text": "a"},
            {"type": "input_image", "image_url": "https://a.test/a.png", "detail": "low"},
            {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "auto"},
            {"type": "input_file", "file_data": "data:application/pdf;base64,AAAA", "filename": "a.pdf"},
            {"type": "input_file", "file_url": "https://a.test/a.pdf"},
            {"type": "input_image", "file_id": "file-1", "detail": "auto"},
        ]
        assert losses == {"cache_control"}
        sound = DIALECT.build_request(request(Message("user", (Audio(data="AAAA", format="wav"), Text("?")))))
        assert json.loads(sound.body)["input"][0]["content"][0]["type"] == "input_audio"

    def test_what_an_assistant_did(self) -> None:
        wires, losses = items(
            Message("user", (Text("hi"),)),
            Message(
                "assistant",
                (
                    Reasoning(text="seen", format="anthropic-claude-v1", signature="s"),
                    Reasoning(text="mine", id="rs_1", format=FORMAT),
                    Reasoning(summary="sealed", encrypted="e", id="rs_2", format=FORMAT),
                    Text("a"),
                    Refusal("no"),
                    ToolCall(id="c", name="f", arguments='{"a":1}', signature="s"),
                    Text("b", citations=(Citation(source="https://a.test", quote="q"),)),
                ),
                name="n",
            ),
            Message("user", (ToolResult(call_id="c", parts=(Text("r"),), is_error=True, name="f"), Text("go on"))),
        )
        assert [(item["type"], item.get("role")) for item in wires] == [
            ("message", "user"),
            ("reasoning", None),
            ("message", "assistant"),
            ("function_call", None),
            ("message", "assistant"),
            ("function_call_output", None),
            ("message", "user"),
        ]
        assert wires[1]["encrypted_content"] == "e"
        assert [part["type"] for part in wires[2]["content"]] == ["output_text", "refusal"]
        assert wires[3] == {"type": "function_call", "call_id": "c", "name": "f", "arguments": '{"a":1}'}
        assert wires[5] == {"type": "function_call_output", "call_id": "c", "output": "r", "name": "f"}
        assert losses == {
            "messages.reasoning",
            "messages.tool_call.signature",
            "messages.tool_result.is_error",
            "citations.quote",
            "name",
        }

    def test_an_assistant_shows_no_pictures(self) -> None:
        picture = Image(url="https://a.test")
        wires, losses = items(Message("assistant", (picture, Text("a"), Text("b"))), Message("assistant", (picture,)))
        assert [[part["text"] for part in item["content"]] for item in wires] == [["a", "b"]]
        assert losses == {"messages.assistant.image"}

    def test_tool_results(self) -> None:
        result = ToolResult(call_id="c", parts=(Text("a"), Image(url="https://a.test")))
        wires, losses = items(Message("user", (ToolResult(call_id="b"), result)))
        assert [item["output"] for item in wires] == [
            "",
            [
                {"type": "input_text", "text": "a"},
                {"type": "input_image", "image_url": "https://a.test", "detail": "auto"},
            ],
        ]
        assert losses == set()

    def test_parameters(self) -> None:
        wire, losses = built(
            request(
                max_output_tokens=20,
                tools=(Tool(name="f", parameters={"type": "object"}), Tool(name="g", strict=True, cache="5m")),
                tool_choice=ToolChoice("named", "f"),
                parallel_tools=True,
                response_format=ResponseFormat(type="json_schema", schema={"type": "object"}),
                reasoning=ReasoningOptions(effort="max", summary="auto", budget_tokens=5),
                sampling=Sampling(temperature=0.5, logprobs=True, top_logprobs=2, top_k=3, seed=1),
                stop=("x",),
                n=2,
                user="u",
                metadata={"a": "b"},
                service_tier="flex",
                extra={"prompt_cache_key": "k", "safety_identifier": "s", "verbosity": "low", "logit_bias_like": 1},
            )
        )
        assert {name: value for name, value in wire.items() if name not in {"model", "input"}} == {
            "max_output_tokens": 20,
            "tools": [
                {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": False},
                {"type": "function", "name": "g", "parameters": None, "strict": True},
            ],
            "tool_choice": {"type": "function", "name": "f"},
            "parallel_tool_calls": True,
            "text": {
                "format": {"type": "json_schema", "name": "answer", "schema": {"type": "object"}},
                "verbosity": "low",
            },
            "reasoning": {"effort": "max", "summary": "auto"},
            "include": ["message.output_text.logprobs", "reasoning.encrypted_content"],
            "temperature": 0.5,
            "top_logprobs": 2,
            "user": "u",
            "metadata": {"a": "b"},
            "service_tier": "flex",
            "store": False,
            "prompt_cache_key": "k",
            "safety_identifier": "s",
        }
        assert losses == {
            "cache_control",
            "reasoning.budget_tokens",
            "top_k",
            "seed",
            "stop",
            "n",
            "logit_bias_like",
        }

    @pytest.mark.parametrize(
        ("options", "wire", "losses"),
        [
            (ReasoningOptions(effort="none"), {"effort": "none"}, set()),
            (ReasoningOptions(summary="auto", exclude=True), None, set()),
            (ReasoningOptions(effort="low", summary="long"), {"effort": "low"}, {"reasoning.summary"}),
        ],
    )
    def test_reasoning(self, options: ReasoningOptions, wire: Any, losses: set[str]) -> None:
        body, lost = built(request(reasoning=options))
        assert (body.get("reasoning"), lost) == (wire, losses)
        assert ("include" in body) == (options.effort != "none")

    def test_fewer_tokens_than_the_api_takes(self) -> None:
        wire, losses = built(request(max_output_tokens=5))
        assert (wire["max_output_tokens"], losses) == (16, {"max_output_tokens"})

    def test_its_own_fields_come_back(self) -> None:
        said = {
            "input": [
                {"type": "message", "role": "user", "content": "hi"},
                {"type": "custom_tool_call", "call_id": "c", "name": "apply_patch", "input": "p"},
                {"type": "function_call", "call_id": "d", "name": "f", "arguments": "{}", "namespace": "mcp__a__"},
                {"type": "custom_tool_call_output", "call_id": "c", "output": "ok"},
                {"type": "function_call_output", "call_id": "d", "output": "ok"},
            ],
            "tools": [FUNCTION, PATCH, SPACE, {"type": "web_search"}],
            "tool_choice": {"type": "custom", "name": "apply_patch"},
            "include": ["web_search_call.results"],
            "prompt_cache_key": "k",
            "prompt_cache_retention": "24h",
            "text": {"verbosity": "low"},
            "reasoning": {"context": "auto"},
            "previous_response_id": "r",
            "truncation": "auto",
            "model": "m",
        }
        wire, losses = built(DIALECT.parse_request(json.dumps(said).encode()))
        assert wire == said | {"store": False}
        assert losses == set()

    def test_every_field_that_the_sdk_knows_comes_back(self) -> None:
        names = {*ResponseCreateParamsNonStreaming.__annotations__, *ResponseCreateParamsBase.__annotations__}
        others = {name: {} for name in names - set(_Body.__struct_fields__)}
        seen = DIALECT.build_request(DIALECT.parse_request(body(**others)))
        assert len(others) > 10
        assert {name: json.loads(seen.body).get(name) for name in others} == others
        assert seen.losses == ()

    def test_a_choice_goes_with_tools_only(self) -> None:
        hosted = {"input": "hi", "model": "m", "tools": [{"type": "web_search"}], "tool_choice": "required"}
        asked = DIALECT.parse_request(json.dumps(hosted | {"parallel_tool_calls": True}).encode())
        wire, losses = built(asked)
        assert (wire["tool_choice"], wire["parallel_tool_calls"], losses) == ("required", True, set())
        wire, losses = built(replace(asked, extra={}))
        assert wire.keys() & {"tool_choice", "parallel_tool_calls"} == set()
        assert losses == {"tool_choice"}
        assert built(request(tool_choice=ToolChoice("auto"), parallel_tools=True))[1] == set()

    @pytest.mark.parametrize("extra", [{"tools.custom": 5}, {"include": 5}, {"prompt_cache.key": 5}, {"text.x": 5}])
    def test_fields_of_other_dialects_with_such_names_do_not_hurt(self, extra: dict[str, Any]) -> None:
        DIALECT.build_request(request(extra=extra))


class TestPass:
    def test_splices_the_model_only(self) -> None:
        raw = b'{ "input" : "\\u00e9 \\"model\\":\\"a\\"", "instructions":"x", "model":"a","x":1.50}'
        head = DIALECT.peek(raw)
        assert DIALECT.pass_request(raw, head, "b") == raw.replace(b'"model":"a"', b'"model":"b"')
        long = body(input=[{"role": "user", "content": 'a "model": "m" \\'}] * 3)
        assert DIALECT.pass_request(long, DIALECT.peek(long), "b") == long.replace(b'"model": "m"}', b'"model": "b"}')

    def test_stream(self) -> None:
        passed = DIALECT.pass_request(body(), DIALECT.peek(body()), "b", stream=True)
        assert json.loads(passed) == json.loads(body(model="b", stream=True))

    @pytest.mark.parametrize("ours", [{"trivium": {"strict": True}}, {"models": ["x"]}])
    def test_our_fields_do_not_leave(self, ours: dict[str, Any]) -> None:
        raw = body(**ours, background=True)
        passed = DIALECT.pass_request(raw, DIALECT.peek(raw), "b")
        assert json.loads(passed) == json.loads(body(model="b", background=True))


def test_many_of_each_take_their_time_only_once() -> None:
    """A second is enough; what looks at all of them for each takes several."""
    many = range(20_000)
    tools = [{"type": "function", "name": f"f{index}", f"x{index}": 1} for index in many]
    said = [{"type": "output_text", "text": f"a{index}"} for index in many]
    raw = body(
        input=[*HI, {"role": "assistant", "content": said}],
        tools=tools,
        tool_choice={"type": "allowed_tools", "tools": tools},
        text={f"x{index}": 1 for index in range(50_000)},
        include=[f"x{index}" for index in many],
        **{f"x{index}": 1 for index in many},
    )
    started = process_time()
    for name in ("openai_responses", "openai_chat"):
        get(name).build_request(DIALECT.parse_request(raw))
    assert process_time() - started < 3


def test_media() -> None:
    url, data = "data:image/png;base64,AAAA", "QUJD"
    picture, paper = {"type": "input_image", "image_url": url}, {"type": "input_file", "file_data": data}
    sound = {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}

    def seen(given: Any) -> tuple[set[str], int]:
        found = DIALECT.media(msgspec.Raw(json.dumps(given).encode()))
        return set(found.kinds), found.payload_bytes

    assert seen("a text with input_image") == (set(), 0)
    assert seen([{"role": "user", "content": [picture, paper, sound]}]) == (
        {"images", "files", "audio"},
        len(url) + 2 * len(data),
    )
    assert seen([{"type": "function_call_output", "call_id": "c", "output": [picture]}]) == ({"images"}, len(url))
    linked = {"type": "input_image", "image_url": "https://a.test/a.png"}
    assert seen([{"role": "user", "content": [linked, {"type": "input_file", "file_id": "f"}]}]) == (
        {"images", "files"},
        0,
    )
