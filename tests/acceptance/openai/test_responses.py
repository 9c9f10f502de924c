"""The unmodified `openai` client's responses: passed where they are spoken, translated everywhere else."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import openai
import pytest
from openai.types.responses.response_create_params import (
    ResponseCreateParamsNonStreaming,
    ResponseCreateParamsStreaming,
)
from pydantic import BaseModel

from acceptance.world import ARGUMENTS, IMAGE_URL, LOCAL, PNG, SCHEMA, TEXT, World
from sdk_types import judge
from trivium.testing.answers import THINKING
from trivium.testing.openai_responses import ENCRYPTED, HELD

ASK = "What is the capital of France?"
TOOLS: Any = [
    {"type": "function", "name": name, "description": "Look.", "parameters": SCHEMA, "strict": False}
    for name in ("weather", "news")
]
PATCH: Any = {
    "type": "custom",
    "name": "apply_patch",
    "description": "Edits files.",
    "format": {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"},
}
TRANSLATED = ("oai", "ant")
AT = ("res", *TRANSLATED)

everywhere = pytest.mark.parametrize("at", AT)
elsewhere = pytest.mark.parametrize("at", TRANSLATED)
both = pytest.mark.parametrize("stream", [False, True])


def asked(trivium: World, *, stream: bool, **asking: Any) -> Any:
    """The final response, read from a stream by the client or whole."""
    client = trivium.openai()
    if not stream:
        return client.responses.create(**asking)
    with client.responses.stream(**asking) as events:
        return events.get_final_response()


@everywhere
@both
def test_a_plain_answer(trivium: World, at: str, stream: bool) -> None:
    done = asked(trivium, stream=stream, model=f"{at}/ok", input=ASK, instructions="Be brief.", max_output_tokens=50)
    assert (done.object, done.status, done.output_text) == ("response", "completed", TEXT)
    assert [item.type for item in done.output] == ["message"]
    assert done.usage.output_tokens == 6
    assert done.usage.total_tokens == done.usage.input_tokens + done.usage.output_tokens
    if at != "res":
        assert (done.model, done.max_output_tokens) == (f"{at}/ok", 50)


@everywhere
def test_the_events_of_a_stream(trivium: World, at: str) -> None:
    events = list(trivium.openai().responses.create(model=f"{at}/ok", input=ASK, stream=True))
    kinds = [event.type.removeprefix("response.") for event in events]
    deltas = ["output_text.delta"] * 6
    opening = ["created", "in_progress", "output_item.added", "content_part.added"]
    assert kinds == [*opening, *deltas, "output_text.done", "content_part.done", "output_item.done", "completed"]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == TEXT
    assert len({event.item_id for event in events if hasattr(event, "item_id")}) == 1


@everywhere
def test_async(trivium: World, at: str) -> None:
    async def ask() -> tuple[str, str]:
        async with trivium.async_openai() as client:
            whole = await client.responses.create(model=f"{at}/ok", input=ASK)
            stream = await client.responses.create(model=f"{at}/ok", input=ASK, stream=True)
            said = [event.delta async for event in stream if event.type == "response.output_text.delta"]
            return whole.output_text, "".join(said)

    assert asyncio.run(ask()) == (TEXT, TEXT)


@everywhere
@both
@pytest.mark.parametrize(("model", "names"), [("tool", ["weather"]), ("tools2", ["weather", "news"])])
def test_tools_and_their_results(trivium: World, at: str, model: str, names: list[str], stream: bool) -> None:
    asking: Any = {"model": f"{at}/{model}", "input": [{"role": "user", "content": ASK}], "tools": TOOLS}
    done = asked(trivium, stream=stream, **asking)
    calls = [item for item in done.output if item.type == "function_call"]
    assert [call.name for call in calls] == names
    assert all(json.loads(call.arguments) == ARGUMENTS for call in calls)
    results = [{"type": "function_call_output", "call_id": call.call_id, "output": "18 degrees"} for call in calls]
    said = [item.model_dump(exclude_none=True, exclude={"parsed_arguments": True}) for item in done.output]
    after = asked(trivium, stream=stream, **asking | {"input": [*asking["input"], *said, *results]})
    assert after.output_text == "The tool says: 18 degrees"


@elsewhere
@both
def test_a_free_text_tool_comes_back_as_one(trivium: World, at: str, stream: bool) -> None:
    start: Any = [{"role": "user", "content": ASK}]
    done = asked(trivium, stream=stream, model=f"{at}/tool", input=start, tools=[PATCH])
    call = done.output[0]
    assert (call.type, call.name, call.input) == ("custom_tool_call", "apply_patch", "Paris")
    assert trivium.last("tool").json["tools"][0].get("type", "function") == "function"
    output = {"type": "custom_tool_call_output", "call_id": call.call_id, "output": "Done!"}
    after = asked(
        trivium,
        stream=stream,
        model=f"{at}/tool",
        input=[*start, call.model_dump(exclude_none=True), output],
        tools=[PATCH],
    )
    assert after.output_text == "The tool says: Done!"


@elsewhere
def test_a_tool_of_a_namespace_keeps_it(trivium: World, at: str) -> None:
    space: Any = {"type": "namespace", "name": "mcp__files__", "description": "Files.", "tools": [TOOLS[0]]}
    done = trivium.openai().responses.create(model=f"{at}/tool", input=ASK, tools=[space])
    call: Any = done.output[0]
    assert (call.type, call.namespace, call.name) == ("function_call", "mcp__files__", "weather")


class Place(BaseModel):
    city: str
    days: int


@everywhere
@both
def test_structured_output(trivium: World, at: str, stream: bool) -> None:
    client = trivium.openai()
    if stream:
        with client.responses.stream(model=f"{at}/ok", input=ASK, text_format=Place) as events:
            done = events.get_final_response()
    else:
        done = client.responses.parse(model=f"{at}/ok", input=ASK, text_format=Place)
    assert done.output_parsed == Place(city="Paris", days=2)


@everywhere
@pytest.mark.parametrize("url", [f"data:image/png;base64,{PNG}", IMAGE_URL])
def test_images(trivium: World, at: str, url: str) -> None:
    parts = [{"type": "input_text", "text": "What?"}, {"type": "input_image", "image_url": url, "detail": "auto"}]
    asking: Any = [{"role": "user", "content": parts}]
    done = trivium.openai().responses.create(model=f"{at}/ok", input=asking)
    assert done.output_text.startswith("I see 1 image.")
    assert (PNG if PNG in url else IMAGE_URL) in trivium.last("ok").body.decode()


@everywhere
@both
def test_reasoning(trivium: World, at: str, stream: bool) -> None:
    thinks: Any = {"effort": "low", "summary": "auto"}
    done = asked(trivium, stream=stream, model=f"{at}/reasoning", input=ASK, reasoning=thinks)
    thought, message = done.output
    shown = thought.summary if at == "res" else thought.content
    assert "".join(part.text for part in shown) == THINKING
    assert thought.encrypted_content == (ENCRYPTED if at == "res" else None)
    assert (message.type, done.output_text) == ("message", TEXT)
    assert done.usage.output_tokens_details.reasoning_tokens > 0 or at == "ant"


@everywhere
@both
def test_an_answer_cut_at_its_limit(trivium: World, at: str, stream: bool) -> None:
    asking: Any = {"model": f"{at}/echo", "input": "word " * 30, "max_output_tokens": 20}
    if stream:
        last: Any = list(trivium.openai().responses.create(**asking, stream=True))[-1]
        assert last.type == "response.incomplete"
        done = last.response
    else:
        done = trivium.openai().responses.create(**asking)
    assert (done.status, done.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert (done.output_text, done.output[0].status) == ("word " * 20, "incomplete")


@everywhere
@both
@pytest.mark.parametrize(
    ("model", "error", "kind"),
    [
        ("400", openai.BadRequestError, None),
        ("400-context", openai.BadRequestError, "context_length_exceeded"),
        ("401", openai.InternalServerError, "upstream_auth_error"),
        ("404", openai.NotFoundError, None),
        ("quota", openai.RateLimitError, None),
    ],
)
def test_an_upstream_error(
    trivium: World, at: str, stream: bool, model: str, error: type[openai.APIStatusError], kind: str | None
) -> None:
    with pytest.raises(error) as caught:
        trivium.openai().responses.create(model=f"{at}/{model}", input=ASK, stream=stream)
    assert caught.value.message
    assert kind in (None, caught.value.code, caught.value.type)


@everywhere
@pytest.mark.parametrize("model", ["error-midstream-2", "cut-after-2", "clean-cut-after-2", "stall-after-2"])
def test_a_broken_stream_ends_as_failed(trivium: World, at: str, model: str) -> None:
    events: list[Any] = []
    try:
        events.extend(trivium.openai().responses.create(model=f"{at}/{model}", input=ASK, stream=True))
    except openai.APIConnectionError:
        pass  # the connection is cut behind the last event
    except openai.InternalServerError:
        assert not events  # all of it came at once
        return
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == "The capital "
    assert events[-1].type == "response.failed"
    assert events[-1].response.status == "failed"
    assert events[-1].response.error.message
    assert events[-1].response.id == events[0].response.id
    assert [event.sequence_number for event in events] == [*range(len(events))]
    assert not any(event.type == "response.completed" for event in events)


@everywhere
def test_leaving_a_stream_stops_the_upstream(trivium: World, at: str) -> None:
    stream = trivium.openai().responses.create(model=f"{at}/gap-200", input=ASK, stream=True)
    next(iter(stream))
    stream.close()
    trivium.await_cancelled("gap-200")


# ---- what only a server of its own knows


@both
def test_an_earlier_response_goes_on_where_it_is_kept(trivium: World, stream: bool) -> None:
    done = asked(trivium, stream=stream, model="res/ok", input=ASK, previous_response_id=HELD)
    assert done.output_text == TEXT
    assert trivium.last("ok").json["previous_response_id"] == HELD
    with pytest.raises(openai.BadRequestError, match="not found") as caught:
        trivium.openai().responses.create(model="res/ok", input=ASK, previous_response_id="resp_other", stream=stream)
    assert caught.value.param is None or caught.value.param == "previous_response_id"


@elsewhere
@both
@pytest.mark.parametrize(
    ("field", "value", "remedy"),
    [
        ("previous_response_id", HELD, "whole conversation"),
        ("conversation", "conv_1", "whole conversation"),
        ("background", True, "wait for the answer"),
    ],
)
def test_what_nobody_else_knows_is_refused(
    trivium: World, at: str, stream: bool, field: str, value: Any, remedy: str
) -> None:
    before = trivium.upstream.count()
    with pytest.raises(openai.BadRequestError, match=remedy) as caught:
        trivium.openai().responses.create(model=f"{at}/ok", input=ASK, stream=stream, **{field: value})
    assert caught.value.param == field
    assert field in caught.value.message
    assert trivium.upstream.count() == before


def test_unknown_fields_pass_as_they_are(trivium: World) -> None:
    more = {"client_metadata": {"a": "b"}, "prompt_cache_key": "k", "tools": [{"type": "web_search"}]}
    raw = trivium.openai().responses.with_raw_response.create(model="res/ok", input=ASK, extra_body=more)
    assert "x-trivium-dropped" not in raw.headers
    assert trivium.last("ok").json == {"model": "ok", "input": ASK, **more}


@elsewhere
def test_what_cannot_be_said_is_told_or_refused(trivium: World, at: str) -> None:
    client = trivium.openai()
    asking: Any = {"model": f"{at}/ok", "input": ASK, "tools": [PATCH], "truncation": "auto"}
    dropped = client.responses.with_raw_response.create(**asking).headers["x-trivium-dropped"]
    assert {"tools.custom", "truncation"} <= set(dropped.replace(" ", "").split(","))
    with pytest.raises(openai.BadRequestError, match="truncation"):
        client.responses.create(**asking, extra_headers={"x-trivium-strict": "1"})


@both
def test_other_dialects_reach_a_server_that_speaks_only_this_one(trivium: World, stream: bool) -> None:
    tools: Any = [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}]
    asking: Any = {
        "model": "res/tools2-reasoning",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": ASK}],
        "tools": tools,
        "reasoning_effort": "low",
        "max_tokens": 100,
    }
    client = trivium.openai()
    if stream:
        with client.chat.completions.stream(**asking) as flow:
            done: Any = flow.get_final_completion()
    else:
        done = client.chat.completions.create(**asking)
    assert [call.function.name for call in done.choices[0].message.tool_calls] == ["weather", "weather"]
    assert done.choices[0].finish_reason == "tool_calls"
    sent = trivium.last("tools2-reasoning")
    assert sent.path == "/v1/responses"
    judge(ResponseCreateParamsStreaming if stream else ResponseCreateParamsNonStreaming).validate_json(sent.body)
    said = trivium.anthropic().messages.create(
        model="res/ok", max_tokens=100, messages=[{"role": "user", "content": ASK}]
    )
    assert [block.text for block in said.content if block.type == "text"] == [TEXT]


def test_the_embedded_model(trivium: World) -> None:
    client = trivium.openai()
    done = client.responses.create(model=LOCAL, input=ASK, max_output_tokens=16)
    assert done.output_text
    assert done.status in ("completed", "incomplete")
    assert done.usage
    assert 0 < done.usage.output_tokens <= 16
    events = list(client.responses.create(model=LOCAL, input=ASK, max_output_tokens=16, stream=True))
    assert events[-1].type in ("response.completed", "response.incomplete")
