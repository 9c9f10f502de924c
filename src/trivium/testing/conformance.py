"""The conformance suite: what every provider's row must pass, live or against the fake upstream, case by case.

    with FakeUpstream(text=LONG_ANSWER, key=KEY) as upstream:
        config, model, instead = fake(load(…), "acme", upstream)
        results = asyncio.run(run(config, "acme", model, instead=instead))
    assert [result for result in results if result.verdict == "fail"] == []

The cases ask through the in-process pipeline, so that the row's address, credential and dialect are used as any request
uses them, and ledger and budget hold. `trivium providers test NAME` prints what comes out.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any, Literal, NamedTuple, cast

import msgspec

from trivium.catalog.resolve import endpoint
from trivium.catalog.rows import Endpoint
from trivium.client import AsyncTrivium
from trivium.config import shipped
from trivium.config.schema import Config
from trivium.dialects import get as dialect_named
from trivium.errors import TriviumError, UpstreamError, UpstreamNotFound, UpstreamRejected, UsageError
from trivium.testing import answers
from trivium.testing.front import VOICES
from trivium.testing.upstream import FakeUpstream
from trivium.types.event import Event, Failure, Finish, TextDelta, is_content
from trivium.types.response import Response
from trivium.types.secret import Secret
from trivium.types.usage import Usage

Verdict = Literal["pass", "fail", "not offered"]

CALL_S = 90.0
"""For each question; the slowest thinkers answer these within it."""
LEAVE_S = 1.0
"""How soon a stream must have ended whose reader leaves."""
TOKENS_MAX = 1024
"""For an answer that nothing else bounds: room for a thought, and a bound for what the suite can cost."""
SHORT_TOKENS = 16
"""The least that every provider accepts."""
SLACK_TOKENS = 8
"""By how much two counts of one prompt may differ."""
KEY = "conformance-key"
LONG_ANSWER = answers.words(4 * SHORT_TOKENS)
"""What the fake upstream must say, so that `max_tokens` has something to cut."""
UNKNOWN = "trivium-no-such-model"
WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city, now.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "population": {"type": "integer"}},
    "required": ["city", "population"],
    "additionalProperties": False,
}
QUESTION = "What is the capital of France? Answer in one short sentence."
LONG = "Count from 1 to 200, in words, without a comment."
ASK_WEATHER = "What is the weather in Paris? Use the tool."
ASK_TWICE = "What is the weather in Paris, and what in Rome? Call the tool for both cities at once, in parallel."


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """How one case ended; `cost_usd` is None where it is unknown, and for a case that was not asked."""

    case: str
    verdict: Verdict
    detail: str
    cost_usd: float | None = None


class _Failed(Exception):
    """The answer is not what the case asks for."""


class _NotOffered(Exception):
    """The endpoint does not claim to do it."""


class Asked:
    """One case's way to the endpoint, and what it has cost."""

    def __init__(self, client: AsyncTrivium, provider: str, model: str) -> None:
        self.client = client
        self.provider = provider
        self.model = f"{provider}/{model}"
        self.costs: list[float | None] = []

    async def whole(self, messages: Any, max_tokens: int = TOKENS_MAX, **more: Any) -> Response:
        response = await self.client.chat(messages, self.model, timeout_s=CALL_S, max_tokens=max_tokens, **more)
        self.costs.append(response.cost_usd)
        return response

    def stream(self, messages: Any, finished: Callable[[Response], object], **more: Any) -> AsyncGenerator[Event]:
        limits = {"timeout_s": CALL_S, "max_tokens": TOKENS_MAX}
        return self.client.stream(messages, self.model, finished=finished, **limits, **more)

    async def streamed(self, messages: Any, **more: Any) -> tuple[list[Event], Usage | None]:
        known: list[Response] = []
        events = [event async for event in self.stream(messages, known.append, **more)]
        self.costs += [response.cost_usd for response in known]
        for event in events:
            if isinstance(event, Failure):
                raise event.error
        return events, known[-1].usage if known else None


def _check(true: object, otherwise: str) -> None:
    if not true:
        raise _Failed(otherwise)


async def plain(asked: Asked) -> str:
    response = await asked.whole(QUESTION)
    _check(response.text.strip(), "the answer has no text")
    _check(response.finish_reason == "stop", f"it finished with `{response.finish_reason}`")
    return _short(response.text)


async def stream(asked: Asked) -> str:
    events, _ = await asked.streamed(QUESTION)
    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    _check(text.strip(), "the stream has no text")
    reasons = [event.reason for event in events if isinstance(event, Finish)]
    _check(reasons == ["stop"], f"it finished with {reasons}")
    return f"{sum(map(is_content, events))} pieces"


async def tool_call(asked: Asked) -> str:
    response = await asked.whole(ASK_WEATHER, tools=[WEATHER], tool_choice="required")
    _check_calls(response, 1)
    events, _ = await asked.streamed(ASK_WEATHER, tools=[WEATHER], tool_choice="required")
    finish = [event.reason for event in events if isinstance(event, Finish)]
    _check(finish == ["tool_calls"], f"the streamed call finished with {finish}")
    return response.tool_calls[0].arguments


async def parallel_tools(asked: Asked) -> str:
    response = await asked.whole(ASK_TWICE, tools=[WEATHER])
    if len(response.tool_calls) == 1:
        raise _NotOffered("it makes one call at a time")
    _check_calls(response, 2)
    ids = [call.id for call in response.tool_calls]
    _check(len(set(ids)) == len(ids), "two calls have one id")
    return f"{len(ids)} calls"


def _check_calls(response: Response, least: int) -> None:
    calls = response.tool_calls
    _check(len(calls) >= least, f"it made {len(calls)} calls: {_short(response.text)}")
    for call in calls:
        _check(call.name == "get_weather", f"it called `{call.name}`")
        _check(isinstance(_object(call.arguments).get("city"), str), f"the arguments are {call.arguments}")
    _check(response.finish_reason == "tool_calls", f"it finished with `{response.finish_reason}`")


async def tool_result(asked: Asked) -> str:
    call = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'}}
    messages = [
        {"role": "user", "content": ASK_WEATHER},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": '{"celsius": 31, "sky": "clear"}'},
    ]
    response = await asked.whole(messages, tools=[WEATHER])
    _check("31" in response.text, f"the answer does not use the result: {_short(response.text)}")
    return _short(response.text)


async def structured(asked: Asked) -> str:
    form = {"type": "json_schema", "json_schema": {"name": "city", "schema": SCHEMA, "strict": True}}
    response = await asked.whole("Tell me about Paris.", response_format=form)
    kinds = {name: type(value).__name__ for name, value in _object(response.text).items()}
    _check(kinds == {"city": "str", "population": "int"}, f"it is not of the schema: {_short(response.text)}")
    return _short(response.text)


async def unknown_model(asked: Asked) -> str:
    try:
        await asked.whole(QUESTION)
    except (UpstreamNotFound, UpstreamRejected) as error:
        return f"{error.upstream_status}: {_short(error.message)}"
    except UpstreamError as error:
        raise _Failed(f"it is refused as `{error.kind}`: {_short(error.message)}") from error
    raise _Failed("it answered under a name that means nothing")


async def usage(asked: Asked) -> str:
    whole = (await asked.whole(QUESTION)).usage
    _check(whole is not None and not whole.estimated, "a whole answer reports no usage")
    _, streamed = await asked.streamed(QUESTION)
    _check(streamed is not None and not streamed.estimated, "a stream reports no usage")
    one, two = cast("Usage", whole), cast("Usage", streamed)
    for used in (one, two):
        _check(used.prompt_tokens > 0 and used.output_tokens > 0, f"a count is 0: {used}")
        _check(used.reasoning_tokens <= used.output_tokens, f"thoughts are no part of the output: {used}")
    _check(
        abs(one.prompt_tokens - two.prompt_tokens) <= SLACK_TOKENS,
        f"one prompt has {one.prompt_tokens} and {two.prompt_tokens} tokens",
    )
    return f"{one.prompt_tokens} in, {one.output_tokens} out"


async def max_tokens(asked: Asked) -> str:
    response = await asked.whole(LONG, max_tokens=SHORT_TOKENS)
    _check(response.finish_reason == "length", f"it finished with `{response.finish_reason}`")
    used = response.usage.output_tokens if response.usage else 0
    _check(used <= SHORT_TOKENS, f"{used} tokens came where {SHORT_TOKENS} were allowed")
    return f"{used} tokens"


async def disconnect(asked: Asked) -> str:
    events = asked.stream(LONG, lambda _: None)
    asked.costs.append(None)  # what the provider bills of it, it does not say
    async for event in events:
        if isinstance(event, Failure):
            raise event.error
        if is_content(event):
            break
    else:
        raise _Failed("the stream has no content")
    began = time.monotonic()
    await events.aclose()
    took_s = time.monotonic() - began
    _check(took_s < LEAVE_S, f"the stream ended {took_s:.1f} s after its reader")
    return "the upstream was left in the middle"


class Case(NamedTuple):
    name: str
    run: Callable[[Asked], Awaitable[str]]
    needs: str = ""
    """A capability, without which it is not offered."""
    questions: int = 1


CASES = (
    Case("plain", plain),
    Case("stream", stream),
    Case("tool call", tool_call, "tools", 2),
    Case("parallel tools", parallel_tools, "tools"),
    Case("tool result", tool_result, "tools"),
    Case("structured output", structured, "json_schema"),
    Case("unknown model", unknown_model),
    Case("usage", usage, "", 2),
    Case("max_tokens", max_tokens),
    Case("disconnect", disconnect),
)
QUESTIONS = sum(case.questions for case in CASES)


async def run(config: Config, provider: str, model: str, *, instead: Mapping[str, str] | None = None) -> list[Result]:
    """Put every case to a model of a provider. `instead` names other models for cases that this one cannot show."""
    asked_of = endpoint_of(config, provider, model)
    others = {"unknown model": UNKNOWN} | dict(instead or {})
    async with AsyncTrivium(config) as client:
        return [await _result(case, Asked(client, provider, others.get(case.name, model)), asked_of) for case in CASES]


def endpoint_of(config: Config, provider: str, model: str) -> Endpoint:
    """What is known of the model that is asked."""
    override = config.models.get(f"{provider}/{model}")
    return endpoint(shipped.catalog(), config.providers[provider].row, model, override=override)


async def _result(case: Case, asked: Asked, endpoint: Endpoint) -> Result:
    try:
        if case.needs and case.needs not in endpoint.capabilities:
            raise _NotOffered(f"the row does not claim `{case.needs}`")
        verdict, detail = "pass", await case.run(asked)
    except _NotOffered as why:
        verdict, detail = "not offered", str(why)
    except _Failed as why:
        verdict, detail = "fail", str(why)
    except TriviumError as error:
        verdict, detail = "fail", f"{error.kind}: {error}"
    costs = asked.costs
    known = [cost for cost in costs if cost is not None]
    cost_usd = sum(known) if costs and len(known) == len(costs) else None
    return Result(case=case.name, verdict=verdict, detail=detail, cost_usd=cost_usd)


def fake(config: Config, provider: str, upstream: FakeUpstream) -> tuple[Config, str, dict[str, str]]:
    """A configuration whose provider is the fake upstream, in the row's own dialect and with a key in the row's own
    form; the model to ask there, and those for the cases that this one cannot show."""
    bound = config.providers[provider]
    dialect = dialect_named(bound.row.dialect)
    voiced = (path for path, voice in VOICES.items() if voice.name == dialect.name and path.endswith(dialect.path))
    if (path := next(voiced, None)) is None:
        raise UsageError(f"The fake upstream does not speak `{dialect.name}`.", remedy="Ask the provider with --live.")
    moved = msgspec.structs.replace(
        bound,
        row=msgspec.structs.replace(bound.row, base_url=upstream.origin + path.removesuffix(dialect.path)),
        credential=None if bound.row.auth == "none" else Secret(KEY),
        token=None,
        trusted_origin=True,
    )
    config = msgspec.structs.replace(config, providers=config.providers | {provider: moved})
    return config, "tools2", {"unknown model": "404", "disconnect": "stall-after-2"}


def _object(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError:
        return {}


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 80 else f"{line[:79]}…"
