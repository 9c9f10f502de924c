"""Requests of Ollama's API: what its members mean, and what of others it can say."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest
from ollama._types import ChatRequest, GenerateRequest

from trivium.dialects import get, spoken, suited
from trivium.dialects.base import Media
from trivium.errors import InvalidRequest
from trivium.types.message import Audio, Citation, File, Image, Message, Part, Reasoning, Refusal, Text
from trivium.types.message import ToolCall as Call
from trivium.types.message import ToolResult as Result
from trivium.types.request import ReasoningOptions, Request, ResponseFormat, Sampling, Tool, ToolChoice

CHAT, PROMPT = get("ollama"), get("ollama_generate")
ASK: list[dict[str, Any]] = [{"role": "user", "content": "hi"}]
PNG = "iVBORw0KGgo="


def chat(**more: Any) -> bytes:
    return json.dumps({"model": "m", "messages": ASK} | more).encode()


def prompt(**more: Any) -> bytes:
    return json.dumps({"model": "m", "prompt": "hi"} | more).encode()


def built(request: Request, losses: tuple[str, ...] = ()) -> dict[str, Any]:
    made = CHAT.build_request(request)
    ChatRequest.model_validate_json(made.body, strict=True)
    assert made.losses == losses
    return json.loads(made.body)


def check_prompt(body: bytes) -> None:
    """By the client's type, which has its images in another form until it sends them."""
    sent = json.loads(body)
    GenerateRequest.model_validate(
        sent | {"images": [{"value": image} for image in sent.get("images", ())]}, strict=True
    )


def asked(*parts: Part, **more: Any) -> Request:
    return Request(model="m", messages=(Message("user", parts or (Text("hi"),)),), **more)


# ---- at first sight


@pytest.mark.parametrize(
    ("said", "streams"), [({}, True), ({"stream": None}, True), ({"stream": True}, True), ({"stream": False}, False)]
)
def test_silence_asks_for_a_stream(said: dict[str, Any], streams: bool) -> None:
    for dialect, body in ((CHAT, chat(**said)), (PROMPT, prompt(**said))):
        head = dialect.peek(body)
        assert (head.stream, head.wants_usage) == (streams, True)
        assert dialect.parse_request(body).stream is streams


@pytest.mark.parametrize(
    ("more", "needs"),
    [
        ({}, set()),
        ({"format": "json"}, {"json_object"}),
        ({"format": {"type": "object"}}, {"json_schema"}),
        ({"format": ""}, set()),
        ({"logprobs": True}, {"logprobs"}),
        ({"tools": [{}]}, {"tools"}),
        ({"tools": []}, set()),
    ],
)
def test_needs(more: dict[str, Any], needs: set[str]) -> None:
    assert CHAT.peek(chat(**more)).needs == needs


@pytest.mark.parametrize(("said", "limit"), [(7, 7), (7.0, 7), (-1, None), (-2, None), (0, None), (None, None)])
def test_a_limit_of_zero_or_less_is_none(said: float | None, limit: int | None) -> None:
    body = chat(options={"num_predict": said})
    assert CHAT.peek(body).max_output_tokens == limit
    assert CHAT.parse_request(body).max_output_tokens == limit


def test_media() -> None:
    messages = [*ASK, {"role": "user", "content": "", "images": ["AAAA", "AA"]}]
    assert CHAT.media(CHAT.peek(chat(messages=messages)).messages) == Media(frozenset({"images"}), 6)
    assert CHAT.media(CHAT.peek(chat()).messages) == Media()
    assert CHAT.media(CHAT.peek(chat(messages=[7])).messages) == Media()
    assert PROMPT.media(PROMPT.peek(prompt(images=["AAAA"])).messages) == Media(frozenset({"images"}), 4)
    assert PROMPT.media(PROMPT.peek(prompt()).messages) == Media()
    assert PROMPT.media(PROMPT.peek(prompt(images=7)).messages) == Media()


@pytest.mark.parametrize("body", [chat(messages=[]), chat(messages=None), b'{"model":"m"}'])
def test_a_chat_without_messages_asks_nothing(body: bytes) -> None:
    with pytest.raises(InvalidRequest, match="`messages`"):
        CHAT.peek(body)


@pytest.mark.parametrize("body", [prompt(prompt=""), prompt(prompt=None), b'{"model":"m"}'])
def test_nor_does_an_empty_prompt(body: bytes) -> None:
    with pytest.raises(InvalidRequest, match="`prompt` must be a text"):
        PROMPT.peek(body)


def test_a_server_of_one_form_has_the_other_too() -> None:
    assert CHAT in spoken(("ollama",))
    assert suited(("ollama",), PROMPT, "chat") is PROMPT
    assert suited(("ollama",), get("openai_chat"), "chat") is CHAT


# ---- from a caller


def test_a_whole_chat() -> None:
    body = chat(
        messages=[
            {"role": "system", "content": "s"},
            {"role": "user", "content": "hi", "images": [PNG, "/9j/AAAA", "AAAA"]},
            {
                "role": "assistant",
                "content": "c",
                "thinking": "t",
                "tool_calls": [{"id": "x", "function": {"name": "f", "arguments": {"a": 1}}}],
            },
            {"role": "tool", "content": "r", "tool_call_id": "x", "tool_name": "f"},
            {"role": "user", "content": None},
        ],
        tools=[{"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}],
        format={"type": "object"},
        think="high",
        options={
            "temperature": 1,
            "top_k": 2,
            "top_p": 0.5,
            "min_p": 0.1,
            "seed": 3,
            "repeat_penalty": 1.1,
            "presence_penalty": 0.2,
            "frequency_penalty": 0.3,
            "num_predict": 9,
            "stop": ["x"],
            "num_ctx": 5,
            "mirostat": None,
        },
        logprobs=True,
        top_logprobs=2,
        keep_alive="5m",
        truncate=False,
        stream=False,
    )
    assert CHAT.parse_request(body) == Request(
        model="m",
        messages=(
            Message("system", (Text("s"),)),
            Message(
                "user",
                (
                    Text("hi"),
                    Image(data=PNG, media_type="image/png"),
                    Image(data="/9j/AAAA", media_type="image/jpeg"),
                    Image(data="AAAA"),
                ),
            ),
            Message("assistant", (Reasoning(text="t"), Text("c"), Call(id="x", name="f", arguments='{"a": 1}'))),
            Message("user", (Result(call_id="x", parts=(Text("r"),)),)),
            Message("user"),
        ),
        max_output_tokens=9,
        tools=(Tool(name="f", description="d", parameters={"type": "object"}),),
        response_format=ResponseFormat(type="json_schema", schema={"type": "object"}),
        reasoning=ReasoningOptions(effort="high"),
        sampling=Sampling(
            temperature=1,
            top_k=2,
            top_p=0.5,
            min_p=0.1,
            seed=3,
            repetition_penalty=1.1,
            presence_penalty=0.2,
            frequency_penalty=0.3,
            logprobs=True,
            top_logprobs=2,
        ),
        stop=("x",),
        extra={"keep_alive": "5m", "truncate": False, "options.num_ctx": 5},
    )
    again = json.loads(CHAT.build_request(CHAT.parse_request(body)).body)
    wanted = json.loads(body)
    del wanted["options"]["mirostat"]
    wanted["messages"][-1]["content"] = ""
    assert again == wanted


def test_a_whole_prompt() -> None:
    body = prompt(system="s", images=[PNG], suffix="z", raw=False, context=[1, 2], think=True, options={"num_ctx": 5})
    request = PROMPT.parse_request(body)
    assert request.messages == (
        Message("system", (Text("s"),)),
        Message("user", (Text("hi"), Image(data=PNG, media_type="image/png"))),
    )
    assert request.reasoning == ReasoningOptions(effort="medium")
    assert request.extra == {"suffix": "z", "raw": False, "context": [1, 2], "options.num_ctx": 5}
    made = PROMPT.build_request(request)
    check_prompt(made.body)
    assert made.losses == ()
    assert json.loads(made.body) == json.loads(body) | {"stream": True}
    assert set(CHAT.build_request(request).losses) == {"suffix", "raw", "context"}


@pytest.mark.parametrize(
    ("think", "effort"), [(True, "medium"), (False, "none"), ("low", "low"), ("medium", "medium"), ("max", "max")]
)
def test_thinking(think: Any, effort: Any) -> None:
    assert CHAT.parse_request(chat(think=think)).reasoning == ReasoningOptions(effort=effort)


def calls_and_results(messages: list[Any]) -> tuple[list[str], list[tuple[str, str | None]]]:
    parts = [part for message in CHAT.parse_request(chat(messages=messages)).messages for part in message.parts]
    results = [(part.call_id, part.name) for part in parts if isinstance(part, Result)]
    return [part.id for part in parts if isinstance(part, Call)], results


def said(*names: str, **ids: str) -> dict[str, Any]:
    return {
        "role": "assistant",
        "tool_calls": [{"function": {"name": name}} | ({"id": ids[name]} if name in ids else {}) for name in names],
    }


def told(**more: Any) -> dict[str, Any]:
    return {"role": "tool", "content": "r", **more}


@pytest.mark.parametrize(
    ("turns", "calls", "results"),
    [
        ([said("f", "g"), told(), told()], ["call_1_0", "call_1_1"], [("call_1_0", None), ("call_1_1", None)]),
        (
            [said("f", "g"), told(tool_name="g"), told(tool_name="f")],
            ["call_1_0", "call_1_1"],
            [("call_1_1", None), ("call_1_0", None)],
        ),
        (
            [said("f", "f"), told(tool_name="f"), told(tool_name="f")],
            ["call_1_0", "call_1_1"],
            [("call_1_0", None), ("call_1_1", None)],
        ),
        ([said("f"), told(tool_name="other")], ["call_1_0"], [("call_1_0", "other")]),
        ([said("f", f="x"), told(tool_call_id="x")], ["x"], [("x", None)]),
        ([said("f", "g", f="x"), told(tool_call_id="x"), told()], ["x", "call_1_1"], [("x", None), ("call_1_1", None)]),
        ([said("f", f="x"), told(tool_call_id="y", tool_name="h")], ["x"], [("y", "h")]),
        ([told(tool_name="f")], [], [("call_1", "f")]),
        (
            [said("f", f="x"), *ASK, said("g"), told(tool_call_id="x", tool_name="f"), told()],
            ["x", "call_3_0"],
            [("x", None), ("call_3_0", None)],
        ),
        ([said("f"), told(), said("f"), told()], ["call_1_0", "call_3_0"], [("call_1_0", None), ("call_3_0", None)]),
    ],
)
def test_results_find_their_calls(turns: list[Any], calls: list[str], results: list[tuple[str, str | None]]) -> None:
    assert calls_and_results([*ASK, *turns]) == (calls, results)
    longer = [*ASK, *turns, *ASK, said("z"), told()]
    made = calls_and_results(longer)
    assert (made[0][: len(calls)], made[1][: len(results)]) == (calls, results)  # ids stay as the conversation grows
    assert len(set(made[0])) == len(made[0])


def test_results_in_a_row_are_one_message() -> None:
    request = CHAT.parse_request(chat(messages=[*ASK, said("f", "g"), told(), told(), *ASK]))
    assert [message.role for message in request.messages] == ["user", "assistant", "user", "user"]
    assert len(request.messages[2].parts) == 2


@pytest.mark.parametrize(
    ("more", "where"),
    [
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "king"}]}, "messages[0].role"),
        ({"messages": [*ASK, {"role": "user", "content": [{"type": "text"}]}]}, "messages[1].content"),
        ({"messages": [{"role": "user", "images": "x"}]}, "messages[0].images"),
        ({"messages": [{"role": "user", "images": ["AAAA", "https://x.test/a.png"]}]}, "messages[0].images[1]"),
        ({"messages": [{"role": "user", "images": ["data:image/png;base64,AAAA"]}]}, "messages[0].images[0]"),
        ({"messages": [{"role": "user", "images": [""]}]}, "messages[0].images[0]"),
        ({"messages": [{"role": "user", "tool_calls": [{"function": {"name": "f"}}]}]}, "messages[0].tool_calls"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}]},
            "messages[0].tool_calls[0].function.arguments",
        ),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"function": {}}]}]},
            "messages[0].tool_calls[0].function.name",
        ),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [{"type": "x", "function": {"name": "f"}}]}, "tools[0].type"),
        ({"format": "yaml"}, "format"),
        ({"think": "much"}, "think"),
        ({"options": {"num_predict": "x"}}, "options.num_predict"),
        ({"options": {"stop": "x"}}, "options.stop"),
        ({"options": {"temperature": "hot"}}, "options.temperature"),
        ({"options": {"top_k": 1.5}}, "options.top_k"),
        ({"options": {"num_predict": 10**12}}, "options.num_predict"),
        ({"options": []}, "options"),
        ({"top_logprobs": 21}, "top_logprobs"),
    ],
)
def test_what_is_wrong_is_pointed_at(more: dict[str, Any], where: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        CHAT.parse_request(chat(**more))
    assert caught.value.param == where
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("more", "where"), [({"prompt": 5}, "prompt"), ({"images": [5]}, "images[0]"), ({"images": ["?"]}, "images[0]")]
)
def test_in_a_prompt_too(more: dict[str, Any], where: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        PROMPT.parse_request(prompt(**more))
    assert caught.value.param == where


# ---- to an upstream


def test_a_stream_is_said_either_way() -> None:
    assert built(asked())["stream"] is False
    assert built(asked(stream=True))["stream"] is True


@pytest.mark.parametrize(
    ("parts", "member", "losses"),
    [
        ((Text("a"), Text("b")), {"content": "a\n\nb"}, ("messages.parts",)),
        ((Image(data="AAAA"), Text("b")), {"content": "b", "images": ["AAAA"]}, ("messages.parts",)),
        (
            (Text("a"), Image(data="AAAA", detail="high")),
            {"content": "a", "images": ["AAAA"]},
            ("messages.image.detail",),
        ),
        ((Text("a"), Image(url="https://x.test/")), {"content": "a"}, ("messages.image.url",)),
        (
            (Text("a", citations=(Citation(source="s"),), cache="5m"),),
            {"content": "a"},
            ("cache_control", "messages.citations"),
        ),
        ((Audio(data="AAAA", format="wav"),), {"content": ""}, ("messages.audio",)),
        ((File(file_id="f"),), {"content": ""}, ("messages.file",)),
        ((File(data=b64encode(b"text").decode(), media_type="text/plain"),), {"content": "text"}, ("messages.file",)),
        (
            (Result(call_id="c", parts=(Text("r"), Image(data="AAAA"))),),
            {"content": "", "images": ["AAAA"]},
            ("messages.tool_result.media_position",),
        ),
    ],
)
def test_parts(parts: tuple[Part, ...], member: dict[str, Any], losses: tuple[str, ...]) -> None:
    assert built(asked(*parts), losses)["messages"][-1] == {"role": "user", **member}


@pytest.mark.parametrize(
    ("parts", "member", "losses"),
    [
        ((Refusal("no"),), {"content": "no"}, ("messages.refusal",)),
        ((Reasoning(text="t"), Text("a")), {"content": "a", "thinking": "t"}, ()),
        (
            (Reasoning(text="t"), Reasoning(text="u")),
            {"content": "", "thinking": "t\n\nu"},
            ("messages.reasoning.parts",),
        ),
        ((Reasoning(text="t", signature="s"), Text("a")), {"content": "a"}, ("messages.reasoning",)),
        (
            (Call(id="c", name="f", arguments='{"a": 1}', signature="s"),),
            {"content": "", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": {"a": 1}}}]},
            ("messages.tool_call.signature",),
        ),
        (
            (Call(id="c", name="f", arguments="[1]"),),
            {"content": "", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": {"arguments": "[1]"}}}]},
            ("messages.tool_call.arguments",),
        ),
    ],
)
def test_what_an_assistant_said(parts: tuple[Part, ...], member: dict[str, Any], losses: tuple[str, ...]) -> None:
    request = Request(model="m", messages=(Message("assistant", parts),))
    assert built(request, losses)["messages"] == [{"role": "assistant", **member}]


def test_results_name_their_tool() -> None:
    messages = (
        Message("assistant", (Call(id="c", name="f"),)),
        Message(
            "user",
            (Result(call_id="c", parts=(Text("r"),), is_error=True), Result(call_id="d", name="g"), Text("and?")),
        ),
    )
    assert built(Request(model="m", messages=messages), ("messages.tool_result.is_error",))["messages"][1:] == [
        {"role": "tool", "content": "r", "tool_name": "f", "tool_call_id": "c"},
        {"role": "tool", "content": "", "tool_name": "g", "tool_call_id": "d"},
        {"role": "user", "content": "and?"},
    ]


@pytest.mark.parametrize(
    ("more", "members", "losses"),
    [
        ({"response_format": ResponseFormat(type="json_object")}, {"format": "json"}, ()),
        (
            {"response_format": ResponseFormat(type="json_schema", schema={"type": "object"}, description="d")},
            {"format": {"type": "object"}},
            ("response_format.description",),
        ),
        ({"response_format": ResponseFormat(type="json_schema")}, {"format": "json"}, ("response_format",)),
        ({"response_format": ResponseFormat()}, {}, ()),
        ({"reasoning": ReasoningOptions(effort="none")}, {"think": False}, ()),
        ({"reasoning": ReasoningOptions(effort="minimal")}, {"think": "low"}, ("reasoning.effort",)),
        ({"reasoning": ReasoningOptions(effort="medium")}, {"think": True}, ()),
        (
            {"reasoning": ReasoningOptions(effort="max", exclude=True)},
            {"think": "high"},
            ("reasoning.effort", "reasoning.exclude"),
        ),
        (
            {"reasoning": ReasoningOptions(budget_tokens=9, summary="detailed")},
            {"think": True},
            ("reasoning.budget_tokens", "reasoning.summary"),
        ),
        ({"reasoning": ReasoningOptions(summary="auto")}, {}, ()),
        (
            {"n": 2, "user": "u", "metadata": {"a": "b"}, "service_tier": "flex"},
            {},
            ("n", "user", "metadata", "service_tier"),
        ),
        (
            {"sampling": Sampling(logit_bias={"1": 1.0}, logprobs=True, top_logprobs=1)},
            {"logprobs": True, "top_logprobs": 1},
            ("logit_bias",),
        ),
        ({"max_output_tokens": 5, "stop": ("x",)}, {"options": {"num_predict": 5, "stop": ["x"]}}, ()),
        (
            {"extra": {"verbosity": "low", "keep_alive": 0, "options.num_gpu": 1}},
            {"keep_alive": 0, "options": {"num_gpu": 1}},
            ("verbosity",),
        ),
    ],
)
def test_parameters(more: dict[str, Any], members: dict[str, Any], losses: tuple[str, ...]) -> None:
    body = built(asked(**more), losses)
    assert {name: value for name, value in body.items() if name not in {"model", "messages", "stream"}} == members


TOOL = Tool(name="f", parameters={"properties": {}}, strict=True, cache="5m")
WIRE = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}


@pytest.mark.parametrize(
    ("choice", "tools", "losses"),
    [
        (None, [WIRE], ()),
        (ToolChoice("auto"), [WIRE], ()),
        (ToolChoice("required"), [WIRE], ("tool_choice",)),
        (ToolChoice("named", "f"), [WIRE], ("tool_choice",)),
        (ToolChoice("none"), None, ("tools",)),
    ],
)
def test_tools(choice: ToolChoice | None, tools: Any, losses: tuple[str, ...]) -> None:
    about = ("tools.strict", "cache_control") if tools else ()
    request = asked(tools=(TOOL,), tool_choice=choice, parallel_tools=False)
    assert built(request, (*losses, *about, "parallel_tool_calls")).get("tools") == tools


def test_a_conversation_is_more_than_a_prompt() -> None:
    messages = (
        Message("system", (Text("s"),)),
        Message("user", (Text("one"),)),
        Message("assistant", (Text("two"),)),
        Message("user", (Text("three"), Image(data="AAAA"))),
    )
    made = PROMPT.build_request(Request(model="m", messages=messages, tools=(TOOL,)))
    check_prompt(made.body)
    assert json.loads(made.body) == {
        "model": "m",
        "prompt": "three",
        "system": "s",
        "images": ["AAAA"],
        "stream": False,
    }
    assert set(made.losses) == {"messages", "tools"}


def test_pictures_and_calls_have_a_bound_too() -> None:
    many = ["AAAA" * 4] * 20_001
    calls = [{"function": {"name": "f"}}] * 20_001
    for message in ({"role": "user", "images": many}, {"role": "assistant", "tool_calls": calls}):
        body = json.dumps({"model": "m", "messages": [message]}).encode()
        with pytest.raises(InvalidRequest, match="20000 parts"):
            get("ollama").parse_request(body)
    with pytest.raises(InvalidRequest, match="20000 parts"):
        get("ollama_generate").parse_request(json.dumps({"model": "m", "prompt": "a", "images": many}).encode())
