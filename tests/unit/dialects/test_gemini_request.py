"""Gemini's requests: read from a caller, written for an upstream, passed as they are."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gemini_help import check_request
from trivium.dialects import get
from trivium.dialects.base import Addressed, Media
from trivium.dialects.common import PARTS_MAX
from trivium.dialects.gemini import DIALECT
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

FORMAT = "google-gemini-v1"
PATH = Addressed("m", stream=False)
HI = {"role": "user", "parts": [{"text": "hi"}]}
DUMMY = "skip_thought_signature_validator"
ASK = Message("user", (Text("hi"),))


def body(**fields: Any) -> bytes:
    return json.dumps({"contents": [HI]} | fields).encode()


def parsed(**fields: Any) -> Request:
    return DIALECT.parse_request(body(**fields), PATH)


def parts_of(*parts: Any, role: str = "user", **fields: Any) -> tuple[Part, ...]:
    return parsed(contents=[{"role": role, "parts": list(parts)}], **fields).messages[0].parts


def built(request: Request) -> tuple[dict[str, Any], set[str]]:
    out = DIALECT.build_request(request)
    check_request(out.body)
    return json.loads(out.body), set(out.losses)


def asking(*messages: Message, **fields: Any) -> Request:
    return Request(**{"model": "m", "messages": messages or (ASK,)} | fields)


def written(*parts: Part, role: Any = "assistant") -> tuple[list[dict[str, Any]], set[str]]:
    wire, losses = built(asking(Message(role, parts)))
    return wire["contents"][0]["parts"], losses


class TestPeek:
    def test_reads_what_routing_needs(self) -> None:
        head = DIALECT.peek(
            body(
                generationConfig={"maxOutputTokens": 9, "candidateCount": 2, "responseLogprobs": True},
                tools=[{"functionDeclarations": []}],
                models=["b"],
                trivium={"data_class": "premises"},
                model="models/another",
                stream=False,
            ),
            Addressed("a/b:c", stream=True),
        )
        assert (head.model, head.stream, head.wants_usage, head.max_output_tokens) == ("a/b:c", True, True, 9)
        assert head.needs == {"tools", "n", "logprobs"}
        assert head.models == ("b",)
        assert head.trivium is not None
        assert head.trivium.data_class == "premises"

    @pytest.mark.parametrize(
        ("config", "needs"),
        [
            ({}, set[str]()),
            ({"responseMimeType": "application/json"}, {"json_object"}),
            ({"response_mime_type": "application/json", "response_schema": {}}, {"json_schema"}),
            ({"responseJsonSchema": {"type": "object"}}, {"json_schema"}),
            ({"maxOutputTokens": "12"}, set[str]()),
            ({"maxOutputTokens": 0}, set[str]()),
        ],
    )
    def test_needs(self, config: dict[str, Any], needs: set[str]) -> None:
        for name in ("generationConfig", "generation_config"):
            assert DIALECT.peek(body(**{name: config}), PATH).needs == needs

    @pytest.mark.parametrize(
        ("raw", "param"),
        [
            (b"{", None),
            (b"[]", None),
            (b'\xff{"contents":[1]}', None),
            (b'{"contents":[{"parts":[{"text":"\xff"}]}]}', None),
            (b"{}", "contents"),
            (body(contents=[]), "contents"),
            (body(contents="hi"), "contents"),
            (body(generationConfig={"maxOutputTokens": -1}), "generationConfig.maxOutputTokens"),
            (body(generationConfig={"candidateCount": "many"}), "generationConfig.candidateCount"),
            (body(models=["a"] * 17), "models"),
            (body(models=[""]), "models[0]"),
            (body(trivium={"data": 1}), "trivium"),
            (b'{"contents":[{}],"trivium":{},"trivium":{}}', "trivium"),
        ],
    )
    def test_refuses(self, raw: bytes, param: str | None) -> None:
        with pytest.raises(InvalidRequest) as caught:
            DIALECT.peek(raw, PATH)
        assert caught.value.param == param
        assert caught.value.remedy

    @pytest.mark.parametrize("addressed", [None, Addressed("", stream=False), Addressed("x" * 513, stream=False)])
    def test_the_path_must_name_a_model(self, addressed: Addressed | None) -> None:
        with pytest.raises(InvalidRequest):
            DIALECT.peek(body(), addressed)


class TestParse:
    def test_everything_that_has_a_home(self) -> None:
        request = DIALECT.parse_request(
            body(
                systemInstruction={"parts": [{"text": "Be brief."}]},
                tools=[
                    {
                        "functionDeclarations": [
                            {"name": "f", "description": "d", "parametersJsonSchema": {"type": "object"}},
                            {"name": "g"},
                        ]
                    }
                ],
                toolConfig={"functionCallingConfig": {"mode": "ANY"}},
                generationConfig={
                    "maxOutputTokens": 5,
                    "temperature": 0.5,
                    "topP": 0.9,
                    "topK": 40.0,
                    "stopSequences": ["x"],
                    "seed": 3,
                    "candidateCount": 2,
                    "presencePenalty": 0.1,
                    "frequencyPenalty": 0.2,
                    "responseLogprobs": True,
                    "logprobs": 4,
                    "responseMimeType": "application/json",
                    "responseJsonSchema": {"type": "object"},
                    "thinkingConfig": {"thinkingLevel": "HIGH", "includeThoughts": True},
                },
                serviceTier="standard",
                model="models/another",
            ),
            Addressed("a/b:c", stream=True),
        )
        assert request == Request(
            model="a/b:c",
            messages=(Message("system", (Text("Be brief."),)), ASK),
            max_output_tokens=5,
            stream=True,
            tools=(Tool(name="f", description="d", parameters={"type": "object"}), Tool(name="g")),
            tool_choice=ToolChoice("required"),
            response_format=ResponseFormat(type="json_schema", schema={"type": "object"}),
            reasoning=ReasoningOptions(effort="high"),
            sampling=Sampling(
                temperature=0.5,
                top_p=0.9,
                top_k=40,
                seed=3,
                presence_penalty=0.1,
                frequency_penalty=0.2,
                logprobs=True,
                top_logprobs=4,
            ),
            stop=("x",),
            n=2,
            service_tier="default",
        )

    def test_both_spellings_mean_the_same(self) -> None:
        camel = parsed(
            systemInstruction={"parts": [{"text": "s"}]},
            contents=[{"parts": [{"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]}],
            generationConfig={"maxOutputTokens": 5, "thinkingConfig": {"thinkingBudget": 9}},
            tools=[{"functionDeclarations": [{"name": "f", "parametersJsonSchema": {"a_b": 1}}]}],
            safetySettings=[],
        )
        snake = parsed(
            system_instruction={"parts": [{"text": "s"}]},
            contents=[{"parts": [{"inline_data": {"mime_type": "image/png", "data": "AAAA"}}]}],
            generation_config={"max_output_tokens": 5, "thinking_config": {"thinking_budget": 9}},
            tools=[{"function_declarations": [{"name": "f", "parameters_json_schema": {"a_b": 1}}]}],
            safety_settings=[],
        )
        assert snake == camel
        with pytest.raises(InvalidRequest, match="both spellings"):
            parsed(system_instruction="a", systemInstruction="b")

    def test_keys_of_the_caller_stay_as_they_are(self) -> None:
        call, answer = parsed(
            contents=[
                {"role": "model", "parts": [{"function_call": {"name": "f", "args": {"inline_data": {"x_y": 1}}}}]},
                {"parts": [{"function_response": {"name": "f", "response": {"file_data": 2}}}]},
            ]
        ).messages
        assert isinstance(call.parts[0], ToolCall)
        assert json.loads(call.parts[0].arguments) == {"inline_data": {"x_y": 1}}
        assert isinstance(answer.parts[0], ToolResult)
        assert answer.parts[0].parts == (Text('{"file_data":2}'),)
        assert parsed(labels={"a_b": "c_d"}).extra == {"labels": {"a_b": "c_d"}}

    def test_what_repeats_may_stand_alone(self) -> None:
        request = parsed(
            contents={"parts": {"text": "hi"}},
            systemInstruction="s",
            tools={"functionDeclarations": {"name": "f"}},
        )
        assert request.messages == (Message("system", (Text("s"),)), ASK)
        assert [tool.name for tool in request.tools] == ["f"]

    def test_roles(self) -> None:
        contents = [{"role": role, "parts": [{"text": "x"}]} for role in ("user", "model", "function", "tool")]
        roles = [message.role for message in parsed(contents=contents).messages]
        assert roles == ["user", "assistant", "user", "user"]

    def test_media(self) -> None:
        assert parts_of(
            {"inlineData": {"mimeType": "image/png", "data": "-_8"}},
            {"inlineData": {"mimeType": "audio/mpeg", "data": "AAAA"}},
            {"inlineData": {"mimeType": "audio/x-wav", "data": "AAAA"}},
            {"inlineData": {"mimeType": "audio/wave", "data": "AAAA"}},
            {"inlineData": {"mimeType": "audio/L16;rate=24000", "data": "AAAA"}},
            {"inlineData": {"mimeType": "application/pdf", "data": "AAAA", "displayName": "a.pdf"}},
            {"fileData": {"fileUri": "https://e.test/a.JPG?x=1"}},
            {"fileData": {"fileUri": "https://e.test/a", "mimeType": "image/webp"}},
            {"fileData": {"fileUri": "https://e.test/a.pdf", "mimeType": "application/pdf", "displayName": "a"}},
            {"fileData": {"fileUri": "https://g.test/v1beta/files/abc-1", "mimeType": "image/png"}},
            {"fileData": {"fileUri": "gs://bucket/a.mp4", "mimeType": "video/mp4"}},
        ) == (
            Image(data="+/8=", media_type="image/png"),
            Audio(data="AAAA", format="mp3"),
            Audio(data="AAAA", format="wav"),
            Audio(data="AAAA", format="wav"),
            Audio(data="AAAA", format="L16"),
            File(data="AAAA", media_type="application/pdf", name="a.pdf"),
            Image(url="https://e.test/a.JPG?x=1"),
            Image(url="https://e.test/a"),
            File(url="https://e.test/a.pdf", media_type="application/pdf", name="a"),
            File(file_id="https://g.test/v1beta/files/abc-1", media_type="image/png"),
            File(file_id="gs://bucket/a.mp4", media_type="video/mp4"),
        )

    def test_thoughts_and_signatures(self) -> None:
        assert parts_of(
            {"text": "hm", "thought": True, "thoughtSignature": "AAAA"},
            {"text": "so", "thought": True},
            {"text": "hi", "thoughtSignature": "BBBB"},
            {"text": "", "thoughtSignature": "CCCC"},
            {"functionCall": {"name": "f"}, "thoughtSignature": "DDDD"},
            {"functionCall": {"name": "f", "args": None}, "thought_signature": DUMMY},
            {"text": ""},
            role="model",
        ) == (
            Reasoning(text="hm", signature="AAAA", format=FORMAT),
            Reasoning(text="so", format=FORMAT),
            Text("hi"),
            Reasoning(signature="BBBB", format=FORMAT),
            Reasoning(signature="CCCC", format=FORMAT),
            ToolCall(id="call_1", name="f", signature="DDDD"),
            ToolCall(id="call_2", name="f"),
        )

    def test_what_only_this_api_understands_is_a_named_loss(self) -> None:
        request = parsed(
            contents=[
                {"role": "model", "parts": [{"executableCode": {"code": "1"}}, {"text": "a", "video_metadata": {}}]},
                {"parts": [{"codeExecutionResult": {"outcome": "OUTCOME_OK"}, "partMetadata": None}]},
            ],
            systemInstruction={"parts": [{"text": "s"}, {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]},
            tools=[
                {"functionDeclarations": [{"name": "f", "response": {"type": "STRING"}, "behavior": "BLOCKING"}]},
                {"googleSearch": {}, "codeExecution": {}},
            ],
            toolConfig={
                "functionCallingConfig": {
                    "mode": "VALIDATED",
                    "allowedFunctionNames": ["f"],
                    "streamFunctionCallArguments": True,
                },
                "retrievalConfig": {"languageCode": "de"},
            },
            generationConfig={"responseModalities": ["TEXT"], "speechConfig": None},
            safetySettings=[{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
            cachedContent="cachedContents/a",
            novel=1,
        )
        assert request.extra == {
            "messages.executableCode": ["contents[0].parts[0]"],
            "messages.videoMetadata": ["contents[0].parts[1]"],
            "messages.codeExecutionResult": ["contents[1].parts[0]"],
            "messages.system.image": ["systemInstruction"],
            "tools.response": ["tools[0].functionDeclarations[0]"],
            "tools.behavior": ["tools[0].functionDeclarations[0]"],
            "tools.googleSearch": {},
            "tools.codeExecution": {},
            "toolConfig": {"retrievalConfig": {"languageCode": "de"}},
            "toolConfig.streamFunctionCallArguments": ["toolConfig.functionCallingConfig"],
            "toolConfig.allowedFunctionNames": ["toolConfig.functionCallingConfig"],
            "toolConfig.mode": ["toolConfig.functionCallingConfig"],
            "generationConfig": {"responseModalities": ["TEXT"]},
            "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
            "cachedContent": "cachedContents/a",
            "novel": 1,
        }
        again = DIALECT.build_request(request)
        own = json.loads(again.body)
        assert own["tools"][1:] == [{"googleSearch": {}}, {"codeExecution": {}}]
        assert own["toolConfig"]["retrievalConfig"] == {"languageCode": "de"}
        assert own["generationConfig"] == {"responseModalities": ["TEXT"]}
        assert (own["cachedContent"], len(own["safetySettings"])) == ("cachedContents/a", 1)
        assert "novel" in again.losses
        assert "messages.executableCode" in again.losses
        assert "safetySettings" not in again.losses
        assert set(get("openai_chat").build_request(request).losses) == request.extra.keys()

    @pytest.mark.parametrize(
        ("thinking", "options"),
        [
            ({"includeThoughts": True}, ReasoningOptions()),
            ({}, ReasoningOptions(exclude=True)),
            ({"thinkingBudget": 0}, ReasoningOptions(effort="none", exclude=True)),
            ({"thinkingBudget": -1, "includeThoughts": True}, ReasoningOptions()),
            ({"thinkingBudget": 512, "includeThoughts": True}, ReasoningOptions(budget_tokens=512)),
            ({"thinkingLevel": "minimal", "includeThoughts": True}, ReasoningOptions(effort="minimal")),
            ({"thinkingLevel": "LOW"}, ReasoningOptions(effort="low", exclude=True)),
            ({"thinkingLevel": "MEDIUM"}, ReasoningOptions(effort="medium", exclude=True)),
            ({"thinkingLevel": "XHIGH"}, ReasoningOptions(effort="xhigh", exclude=True)),
            ({"thinkingLevel": "THINKING_LEVEL_UNSPECIFIED", "includeThoughts": True}, ReasoningOptions()),
        ],
    )
    def test_thinking(self, thinking: dict[str, Any], options: ReasoningOptions) -> None:
        assert parsed(generationConfig={"thinkingConfig": thinking}).reasoning == options

    @pytest.mark.parametrize(
        ("calling", "choice"),
        [
            ({"mode": "AUTO"}, ToolChoice("auto")),
            ({"mode": "MODE_UNSPECIFIED"}, ToolChoice("auto")),
            ({"mode": "none"}, ToolChoice("none")),
            ({"mode": "ANY"}, ToolChoice("required")),
            ({"mode": "ANY", "allowedFunctionNames": ["f"]}, ToolChoice("named", "f")),
            ({"mode": "ANY", "allowedFunctionNames": ["f", "g"]}, ToolChoice("required")),
            ({}, ToolChoice("auto")),
        ],
    )
    def test_tool_choice(self, calling: dict[str, Any], choice: ToolChoice) -> None:
        assert parsed(toolConfig={"functionCallingConfig": calling}).tool_choice == choice
        assert parsed(toolConfig={}).tool_choice is None

    def test_formats(self) -> None:
        def of(**config: Any) -> ResponseFormat | None:
            return parsed(generationConfig=config).response_format

        assert of(responseMimeType="application/json") == ResponseFormat(type="json_object")
        assert of(responseMimeType="text/plain") is None
        schema = {"type": "STRING", "enum": ["a"], "format": "enum"}
        wanted = ResponseFormat(type="json_schema", schema={"type": "string", "enum": ["a"]})
        assert of(responseMimeType="application/json", responseSchema=schema) == wanted
        word = parsed(generationConfig={"responseMimeType": "text/x.enum", "responseSchema": schema})
        assert word.response_format is None
        assert json.loads(DIALECT.build_request(word).body)["generationConfig"] == {
            "responseMimeType": "text/x.enum",
            "responseJsonSchema": {"type": "string", "enum": ["a"]},
        }

    def test_tiers(self) -> None:
        tiers = [("flex", "flex"), ("PRIORITY", "priority"), ("unspecified", None), ("novel", "novel")]
        assert [parsed(serviceTier=wire).service_tier for wire, _ in tiers] == [ours for _, ours in tiers]

    @pytest.mark.parametrize(
        ("fields", "param"),
        [
            ({"contents": [{"role": "robot", "parts": []}]}, "contents[0].role"),
            ({"contents": [{"parts": [{"text": 1}]}]}, "contents[0].parts[0].text"),
            ({"contents": [{"parts": [{"inlineData": {"mimeType": "a"}}]}]}, "contents[0].parts[0].inlineData.data"),
            ({"contents": [{"parts": [{"functionCall": {"name": "f"}}]}]}, "contents[0]"),
            ({"contents": [{"role": "model", "parts": [{"functionResponse": {"name": "f"}}]}]}, "contents[0]"),
            (
                {"contents": [{"role": "model", "parts": [{"functionCall": {"name": "f", "args": [1]}}]}]},
                "contents[0].parts[0].functionCall.args",
            ),
            ({"tools": [{"functionDeclarations": [{}]}]}, "tools[0].functionDeclarations[0].name"),
            ({"tools": [{"functionDeclarations": [1]}]}, "tools[0].functionDeclarations[0]"),
            ({"tools": 1}, "tools"),
            ({"toolConfig": {"functionCallingConfig": {"mode": "SOME"}}}, "toolConfig.functionCallingConfig.mode"),
            ({"toolConfig": {"functionCallingConfig": 1}}, "toolConfig.functionCallingConfig"),
            ({"systemInstruction": 1}, "systemInstruction"),
            (
                {"generationConfig": {"thinkingConfig": {"thinkingLevel": "DEEP"}}},
                "generationConfig.thinkingConfig.thinkingLevel",
            ),
        ],
    )
    def test_refuses(self, fields: dict[str, Any], param: str) -> None:
        with pytest.raises(InvalidRequest) as caught:
            parsed(**fields)
        assert caught.value.param == param
        assert caught.value.remedy

    def test_bounds(self) -> None:
        for contents in ([HI] * 10_001, [{"parts": [{}] * (PARTS_MAX + 1)}], [{"parts": [{}] * (6 * PARTS_MAX)}]):
            with pytest.raises(InvalidRequest, match="messages and") as caught:
                parsed(contents=contents)
            assert caught.value.param == "contents"
        deep: Any = {"type": "STRING"}
        for _ in range(900):
            deep = {"type": "ARRAY", "items": deep}
        with pytest.raises(InvalidRequest, match="deep"):
            parsed(tools=[{"functionDeclarations": [{"name": "f", "parameters": deep}]}])


class TestIds:
    """Calls and results may come without ids here, and nowhere else."""

    def of(self, *contents: Any) -> list[Any]:
        parts = [part for message in parsed(contents=list(contents)).messages for part in message.parts]
        return [part.id if isinstance(part, ToolCall) else part.call_id for part in parts]  # type: ignore[union-attr]

    @staticmethod
    def calls(*names: str, **more: str) -> dict[str, Any]:
        return {"role": "model", "parts": [{"functionCall": {"name": name, **more}} for name in names]}

    @staticmethod
    def results(*names: str, **more: str) -> dict[str, Any]:
        return {"parts": [{"functionResponse": {"name": name, "response": {}, **more}} for name in names]}

    def test_results_find_their_calls_by_name_in_order(self) -> None:
        turns = [self.calls("f", "g", "f"), self.results("g", "f", "f"), self.calls("f"), self.results("f")]
        assert self.of(*turns) == ["call_1", "call_2", "call_3", "call_2", "call_1", "call_3", "call_4", "call_4"]
        assert self.of(*turns[:2]) == self.of(*turns)[:6]  # the same from turn to turn

    def test_given_ids_stay(self) -> None:
        turns = [self.calls("f", id="a"), self.calls("f"), self.results("f"), self.results("f", id="a")]
        assert self.of(*turns) == ["a", "call_2", "a", "a"]
        turns = [self.calls("f", id="a"), self.calls("f"), self.results("f", id="a"), self.results("f")]
        assert self.of(*turns) == ["a", "call_2", "a", "call_2"]

    def test_a_result_without_a_call(self) -> None:
        assert self.of(self.results("f"), self.results("f", id="x")) == ["call_f", "x"]

    def test_the_name_stands_only_where_it_says_more(self) -> None:
        messages = parsed(
            contents=[self.calls("f", id="a"), self.results("f", id="a"), self.results("g", id="a")]
        ).messages
        assert [message.parts[0].name for message in messages[1:]] == [None, "g"]  # type: ignore[union-attr]

    def test_many_calls_are_not_quadratic(self) -> None:
        names = ["f"] * 9_000
        assert len(self.of(self.calls(*names), self.results(*names))) == 18_000


@pytest.mark.parametrize(
    ("response", "parts", "is_error"),
    [
        ({"output": "a"}, (Text("a"),), False),
        ({"result": "a"}, (Text("a"),), False),
        ({"error": "bad"}, (Text("bad"),), True),
        ({"error": {"code": 1}}, (Text('{"code":1}'),), True),
        ({"output": {"a": 1}}, (Text('{"a":1}'),), False),
        ({"output": ["a", "b"]}, (Text('["a","b"]'),), False),
        ({"output": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, (Text("a"), Text("b")), False),
        ({"output": [{"type": "text", "text": "a", "x": 1}]}, (Text('[{"type":"text","text":"a","x":1}]'),), False),
        ({"a": 1, "error": None}, (Text('{"a":1,"error":null}'),), False),
        ({"output": ""}, (), False),
        ({}, (), False),
        (None, (), False),
    ],
)
def test_results(response: Any, parts: tuple[Part, ...], is_error: bool) -> None:
    inner = {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}
    audio = {"inlineData": {"mimeType": "audio/wav", "data": "AAAA"}}
    wire = {"functionResponse": {"id": "a", "name": "f", "response": response, "parts": [inner, audio]}}
    request = parsed(contents=[{"parts": [wire]}])
    (found,) = request.messages[0].parts
    image = Image(data="AAAA", media_type="image/png")
    assert found == ToolResult(call_id="a", parts=(*parts, image), is_error=is_error, name="f")
    assert request.extra == {"messages.functionResponse.audio": ["contents[0].parts[0].functionResponse.parts[1]"]}


class TestSchema:
    def of(self, schema: Any) -> Any:
        return parsed(tools=[{"functionDeclarations": [{"name": "f", "parameters": schema}]}]).tools[0].parameters

    def test_of_gemini(self) -> None:
        assert self.of(
            {
                "type": "OBJECT",
                "properties": {
                    "max_items": {"type": "INTEGER", "nullable": True, "minimum": 1},
                    "b": {"type": "ARRAY", "items": {"type": "STRING"}, "minItems": "1", "max_items": 3},
                    "c": {"anyOf": [{"type": "STRING"}, {"type": "NUMBER"}], "nullable": True},
                    "d": {"type": "STRING", "enum": ["x"], "format": "enum", "nullable": True, "example": "x"},
                    "e": {"ref": "#/$defs/E"},
                    "f": {"type": "TYPE_UNSPECIFIED", "additional_properties": {"type": "BOOLEAN"}},
                    "g": {"allOf": [{"type": "STRING", "minLength": "1"}], "maxLength": "2", "not": {"type": "NULL"}},
                    "h": {"prefix_items": [{"type": "STRING"}], "min_properties": "1", "maxProperties": "2"},
                },
                "defs": {"E": {"type": "STRING"}},
                "propertyOrdering": ["f", "gone", "b"],
                "required": ["b"],
            }
        ) == {
            "type": "object",
            "properties": {
                "f": {"additionalProperties": {"type": "boolean"}},
                "b": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 3},
                "max_items": {"type": ["integer", "null"], "minimum": 1},
                "c": {"anyOf": [{"type": "string"}, {"type": "number"}, {"type": "null"}]},
                "d": {"type": ["string", "null"], "enum": ["x", None], "examples": ["x"]},
                "e": {"$ref": "#/$defs/E"},
                "g": {"allOf": [{"type": "string", "minLength": 1}], "maxLength": 2, "not": {"type": "null"}},
                "h": {"prefixItems": [{"type": "string"}], "minProperties": 1, "maxProperties": 2},
            },
            "$defs": {"E": {"type": "string"}},
            "required": ["b"],
        }
        assert list(self.of({"properties": {"a": {}, "b": {}}, "property_ordering": ["b"]})["properties"]) == ["b", "a"]

    def test_json_schema_stays_as_it_is(self) -> None:
        schema = {"type": ["string", "null"], "const": 1, "oneOf": [{"type": "object"}], "not": {}, "minLength": "x"}
        assert self.of(schema) == schema
        assert self.of({"enum": 1, "anyOf": 2, "nullable": True, "properties": 3, "propertyOrdering": [4]}) == {
            "enum": 1,
            "anyOf": 2,
            "properties": 3,
        }


class TestBuild:
    def test_everything_that_has_a_home(self) -> None:
        wire, losses = built(
            asking(
                Message("system", (Text("Be brief."), Text("Really."))),
                ASK,
                Message("assistant", (Text("ok"), ToolCall(id="a", name="f", arguments='{"x": 1}'))),
                Message("user", (ToolResult(call_id="a", parts=(Text("r"),)),)),
                max_output_tokens=5,
                stream=True,
                tools=(Tool(name="f", description="d", parameters={"type": "object"}), Tool(name="g")),
                tool_choice=ToolChoice("named", "f"),
                parallel_tools=True,
                response_format=ResponseFormat(type="json_schema", schema={"type": "object"}, name="x", strict=True),
                reasoning=ReasoningOptions(effort="high"),
                sampling=Sampling(temperature=0.5, top_p=0.9, top_k=4, seed=3, logprobs=True, top_logprobs=2),
                stop=("x",),
                n=2,
                service_tier="flex",
            )
        )
        assert wire == {
            "systemInstruction": {"parts": [{"text": "Be brief."}, {"text": "Really."}]},
            "contents": [
                HI,
                {
                    "role": "model",
                    "parts": [
                        {"text": "ok"},
                        {"functionCall": {"id": "a", "name": "f", "args": {"x": 1}}, "thoughtSignature": DUMMY},
                    ],
                },
                {
                    "role": "user",
                    "parts": [{"functionResponse": {"id": "a", "name": "f", "response": {"output": "r"}}}],
                },
            ],
            "tools": [
                {
                    "functionDeclarations": [
                        {"name": "f", "description": "d", "parametersJsonSchema": {"type": "object"}},
                        {"name": "g"},
                    ]
                }
            ],
            "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
            "generationConfig": {
                "maxOutputTokens": 5,
                "stopSequences": ["x"],
                "candidateCount": 2,
                "thinkingConfig": {"thinkingLevel": "HIGH", "includeThoughts": True},
                "temperature": 0.5,
                "topP": 0.9,
                "topK": 4,
                "seed": 3,
                "responseLogprobs": True,
                "logprobs": 2,
                "responseMimeType": "application/json",
                "responseJsonSchema": {"type": "object"},
            },
            "serviceTier": "flex",
        }
        assert losses == set()

    def test_losses(self) -> None:
        wire, losses = built(
            asking(
                Message("user", (Text("hi", citations=(Citation(source="u"),), cache="5m"),), name="bob"),
                Message("system", (Text("later"),)),
                Message("assistant", (Refusal("no"),)),
                Message("user", (Image(url="https://e.test/x", detail="high"),)),
                tools=(Tool(name="f", strict=True, cache="1h"),),
                parallel_tools=False,
                response_format=ResponseFormat(type="json_object", description="d"),
                reasoning=ReasoningOptions(effort="max", summary="detailed", exclude=True),
                sampling=Sampling(min_p=0.1, repetition_penalty=1.1, logit_bias={"1": 2.0}),
                stop=("1", "2", "3", "4", "5", "6"),
                user="u",
                metadata={"a": "b"},
                service_tier="scale",
                extra={"store": True, "prediction": {}},
            )
        )
        assert losses == {
            "cache_control",
            "messages.citations",
            "name",
            "system",
            "messages.refusal",
            "messages.image.detail",
            "tools.strict",
            "parallel_tools",
            "response_format.description",
            "reasoning.effort",
            "reasoning.summary",
            "min_p",
            "repetition_penalty",
            "logit_bias",
            "stop",
            "user",
            "metadata",
            "service_tier",
            "prediction",
        }
        assert [content["role"] for content in wire["contents"]] == ["user", "user", "model", "user"]
        assert wire["generationConfig"]["thinkingConfig"] == {"thinkingLevel": "XHIGH"}
        assert len(wire["generationConfig"]["stopSequences"]) == 5
        assert wire["store"] is True

    @pytest.mark.parametrize(
        ("model", "options", "thinking", "losses"),
        [
            ("gemini-2.5-flash", {"effort": "low"}, {"thinkingBudget": 1024}, set[str]()),
            ("models/gemini-2.5-pro", {"effort": "xhigh"}, {"thinkingBudget": 24576}, {"reasoning.effort"}),
            ("gemini-2.0-flash", {"effort": "none"}, {"thinkingBudget": 0}, set[str]()),
            ("gemini-2.5-flash", {"effort": "minimal"}, {"thinkingBudget": 1024}, {"reasoning.effort"}),
            ("gemini-2.5-flash", {"effort": "medium"}, {"thinkingBudget": 8192}, set[str]()),
            ("gemini-2.5-flash", {"effort": "high"}, {"thinkingBudget": 24576}, set[str]()),
            ("gemini-2.5-flash", {"effort": "max"}, {"thinkingBudget": 24576}, {"reasoning.effort"}),
            ("gemini-3-pro", {"summary": "auto"}, {}, set[str]()),
            ("gemini-3-pro", {"effort": "none"}, {"thinkingLevel": "MINIMAL"}, {"reasoning.effort"}),
            ("gemini-3-pro", {"effort": "medium"}, {"thinkingLevel": "MEDIUM"}, set[str]()),
            ("gemini-20", {"effort": "low"}, {"thinkingLevel": "LOW"}, set[str]()),
            ("gemini-3-pro", {"budget_tokens": 7}, {"thinkingBudget": 7}, set[str]()),
            ("gemini-3-pro", {"effort": "low", "budget_tokens": 7}, {"thinkingBudget": 7}, {"reasoning.effort"}),
            ("gemini-2.5-pro", {"effort": "none", "budget_tokens": 7}, {"thinkingBudget": 0}, set[str]()),
            ("gemini-3-pro", {}, {}, set[str]()),
        ],
    )
    def test_thinking(self, model: str, options: dict[str, Any], thinking: dict[str, Any], losses: set[str]) -> None:
        wire, lost = built(asking(model=model, reasoning=ReasoningOptions(**options)))
        assert wire["generationConfig"]["thinkingConfig"] == thinking | {"includeThoughts": True}
        assert lost == losses

    @pytest.mark.parametrize("mode", ["auto", "none", "required"])
    def test_modes(self, mode: Any) -> None:
        wire, losses = built(asking(tools=(Tool(name="f"),), tool_choice=ToolChoice(mode)))
        word = {"auto": "AUTO", "none": "NONE", "required": "ANY"}[mode]
        assert (wire["toolConfig"], losses) == ({"functionCallingConfig": {"mode": word}}, set())

    @pytest.mark.parametrize("tier", ["flex", "priority", "default"])
    def test_tiers(self, tier: str) -> None:
        wire, losses = built(asking(service_tier=tier))
        assert (wire["serviceTier"], losses) == ({"default": "standard"}.get(tier, tier), set())

    def test_thoughts(self) -> None:
        parts, losses = written(
            Reasoning(text="a", signature="AAAA", format=FORMAT),
            Reasoning(text="b"),
            Reasoning(summary="s"),
            Text("c"),
            Reasoning(signature="BBBB", format=FORMAT),
        )
        assert parts == [
            {"text": "a", "thought": True, "thoughtSignature": "AAAA"},
            {"text": "b", "thought": True},
            {"text": "s", "thought": True},
            {"text": "c"},
            {"text": "", "thoughtSignature": "BBBB"},
        ]
        assert losses == set()
        foreign = [
            Reasoning(text="x", signature="s", format="anthropic-claude-v1"),
            Reasoning(encrypted="e"),
            Reasoning(),
            Reasoning(signature="s"),
        ]
        for thought in foreign:
            assert written(thought, Text("y")) == ([{"text": "y"}], {"messages.reasoning"})

    def test_calls_without_a_signature_of_this_api(self) -> None:
        calls = [ToolCall(id=name, name=name) for name in "fg"]
        assert [part.get("thoughtSignature") for part in written(*calls)[0]] == [DUMMY, None]
        signed = ToolCall(id="s", name="s", signature="AAAA")
        assert [part.get("thoughtSignature") for part in written(signed, *calls)[0]] == ["AAAA", None, None]

    def test_arguments_that_are_no_object(self) -> None:
        parts, losses = written(ToolCall(id="a", name="f", arguments="[1"), ToolCall(id="b", name="f", arguments=""))
        assert [part["functionCall"]["args"] for part in parts] == [{"arguments": "[1"}, {}]
        assert losses == {"messages.tool_call.arguments"}

    def test_results(self) -> None:
        image = Image(data="AAAA", media_type="image/png")
        parts, losses = written(
            ToolResult(call_id="a", parts=(Text("x"), image, Text("y"))),
            ToolResult(call_id="b", name="g", is_error=True, parts=(Text("bad"),)),
            ToolResult(call_id="c", cache="5m"),
            role="user",
        )
        wires = [part["functionResponse"] for part in parts]
        assert wires[0] == {
            "id": "a",
            "name": "a",
            "response": {"output": [{"type": "text", "text": "x"}, {"type": "text", "text": "y"}]},
            "parts": [{"inlineData": {"mimeType": "image/png", "data": "AAAA"}}],
        }
        assert wires[1] == {"id": "b", "name": "g", "response": {"error": "bad"}}
        assert wires[2] == {"id": "c", "name": "c", "response": {"output": ""}}
        assert losses == {"cache_control"}

    def test_media(self) -> None:
        parts, losses = written(
            Image(data="AAAA"),
            Image(url="https://e.test/a.webp"),
            Image(url="https://e.test/a"),
            Audio(data="AAAA", format="wav"),
            File(data="AAAA", media_type="text/plain", name="n"),
            File(url="https://e.test/a.pdf"),
            File(url="https://e.test/a.mp4?b"),
            File(url="https://e.test/a.txt"),
            File(file_id="files/x"),
            role="user",
        )
        assert parts == [
            {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
            {"fileData": {"fileUri": "https://e.test/a.webp", "mimeType": "image/webp"}},
            {"fileData": {"fileUri": "https://e.test/a", "mimeType": "image/jpeg"}},
            {"inlineData": {"mimeType": "audio/wav", "data": "AAAA"}},
            {"inlineData": {"mimeType": "text/plain", "data": "AAAA", "displayName": "n"}},
            {"fileData": {"fileUri": "https://e.test/a.pdf", "mimeType": "application/pdf"}},
            {"fileData": {"fileUri": "https://e.test/a.mp4?b", "mimeType": "video/mp4"}},
            {"fileData": {"fileUri": "https://e.test/a.txt", "mimeType": "text/plain"}},
            {"fileData": {"fileUri": "files/x"}},
        ]
        assert losses == set()

    def test_a_system_prompt_alone_is_said_by_the_user(self) -> None:
        wire, losses = built(asking(Message("system", (Text("hi"),))))
        assert (wire["contents"], "systemInstruction" in wire, losses) == ([HI], False, {"system"})

    def test_empty_messages_are_left_out(self) -> None:
        wire, _ = built(asking(ASK, Message("assistant", (Text(""),)), Message("user")))
        assert wire["contents"] == [HI]

    def test_a_choice_without_tools(self) -> None:
        assert built(asking(tool_choice=ToolChoice("required")))[1] == {"tool_choice"}
        assert built(asking(tool_choice=ToolChoice("auto"))) == ({"contents": [HI]}, set())

    def test_configurations_of_others_are_no_objects(self) -> None:
        wire, losses = built(asking(extra={"generationConfig": 1, "toolConfig": "x", "tools.x": 1}))
        assert (wire, losses) == ({"contents": [HI]}, {"generationConfig", "toolConfig", "tools.x"})


class TestPass:
    @pytest.mark.parametrize("stream", [None, True, False])
    def test_nothing_changes(self, stream: bool | None) -> None:
        raw = b'{ "contents":[{"parts":[{"text":"\\u00e9"}]}] , "x":1.0e1}'
        head = DIALECT.peek(raw, PATH)
        assert DIALECT.pass_request(raw, head, "another", stream=stream, ask_usage=True) is raw

    @pytest.mark.parametrize(
        "ours", [{"trivium": {"strict": True}}, {"trivium": None}, {"models": ["x"]}, {"model": "models/dear"}]
    )
    def test_our_members_and_a_second_model_do_not_leave(self, ours: dict[str, Any]) -> None:
        raw = body(**ours, novel=[1.0])
        assert json.loads(DIALECT.pass_request(raw, DIALECT.peek(raw, PATH), "b")) == json.loads(body(novel=[1.0]))
        escaped = raw.replace(b'"model"', b'"mod\\u0065l"')
        assert json.loads(DIALECT.pass_request(escaped, DIALECT.peek(escaped, PATH), "b")) == json.loads(
            body(novel=[1.0])
        )


@pytest.mark.parametrize(
    ("contents", "media"),
    [
        ([HI], Media()),
        ([{"parts": [{"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]}], Media(frozenset({"images"}), 4)),
        ({"parts": {"inline_data": {"mime_type": "audio/wav", "data": "AA"}}}, Media(frozenset({"audio"}), 2)),
        ([{"parts": [{"fileData": {"fileUri": "https://e.test/a.png"}}]}], Media(frozenset({"images"}))),
        ([{"parts": [{"file_data": {"file_uri": "gs://x"}}]}], Media(frozenset({"files"}))),
        ([{"parts": [{"file_data": {"file_uri": "gs://x.mp3#t"}}]}], Media(frozenset({"audio"}))),
        (
            [
                {
                    "parts": [
                        {
                            "functionResponse": {
                                "name": "f",
                                "response": {"inlineData": {"mimeType": "audio/wav", "data": "AAAA"}},
                                "parts": [{"inlineData": {"mimeType": "image/png", "data": "AAAAAA"}}],
                            }
                        }
                    ]
                }
            ],
            Media(frozenset({"images"}), 6),
        ),
        ([{"parts": [{"inlineData": 1}]}], Media()),
        ([1], Media()),
    ],
)
def test_media(contents: Any, media: Media) -> None:
    assert DIALECT.media(DIALECT.peek(body(contents=contents), PATH).messages) == media


@pytest.mark.parametrize("name", ["topK", "topP", "temperature", "frequencyPenalty"])
@pytest.mark.parametrize("value", ["inf", "-Infinity", "nan"])
def test_a_number_is_a_number(name: str, value: str) -> None:
    with pytest.raises(InvalidRequest, match="finite"):
        parsed(contents=[HI], generationConfig={name: value})


@pytest.mark.parametrize("digits", ["9" * 5000, "२"])
def test_a_count_that_nobody_can_mean_stays_as_it_is(digits: str) -> None:
    schema = {"type": "STRING", "maxLength": digits}
    tools = [{"functionDeclarations": [{"name": "f", "parameters": schema}]}]
    assert parsed(contents=[HI], tools=tools).tools[0].parameters["maxLength"] == digits
