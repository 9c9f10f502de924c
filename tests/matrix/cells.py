"""How each pair of dialects behaves: one server before one fake upstream, asked and answered in six by six ways."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

import httpx
from msgspec.structs import replace

from matrix.features import ASK, BASE, DATA, DIALECTS
from support import Served, config, provider, serve
from trivium.dialects import get
from trivium.dialects.base import Dialect
from trivium.testing import FakeUpstream
from trivium.testing.answers import THINKING
from trivium.types.event import End, Event, Failure, TextDelta
from trivium.types.message import Image, Message, Reasoning, Text, ToolResult
from trivium.types.request import Request, ResponseFormat, Tool
from trivium.types.response import Response, fold

TEXT = "The capital of France is Paris."
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}
ARGUMENTS = {"city": "Paris", "days": 2}
TOOLS = tuple(Tool(name=name, description="Look.", parameters=SCHEMA) for name in ("weather", "news"))
BASES = dict.fromkeys(DIALECTS, "/v1") | {"cohere_v2": "/v2", "gemini": "/v1beta", "ollama": ""}
PATHS = {
    "openai_chat": "/v1/chat/completions",
    "openai_responses": "/v1/responses",
    "anthropic_messages": "/v1/messages",
    "cohere_v2": "/v2/chat",
    "gemini": "/v1beta/models/{model}:generateContent",
    "ollama": "/api/chat",
}


@contextlib.contextmanager
def world(home: Path) -> Generator[Served]:
    """A server over one provider for each dialect, all at one fake upstream, each by its dialect's name."""
    with FakeUpstream() as up:
        rows = [provider(f"{up.origin}{BASES[name]}", f"at-{name}", dialect=name) for name in DIALECTS]  # type: ignore[arg-type]
        with serve(config(rows, scale=4), home=home) as served:
            yield served


@dataclass(frozen=True)
class Answer:
    """What a caller got, read in its own dialect."""

    status: int
    events: list[Event]
    error: str = ""
    dropped: str = ""

    @property
    def whole(self) -> Response:
        return fold(self.events)


def ask(
    served: Served, caller: Dialect, upstream: str, model: str, request: Request, *, stream: bool = False
) -> Answer:
    """Ask in the caller's dialect, through its own path."""
    name = f"at-{upstream}/{model}"
    built = caller.build_request(replace(request, model=name, stream=stream, include_usage=True))
    path = PATHS[caller.name].replace("{model}", name)
    if stream and caller.name == "gemini":
        path = path.replace(":generateContent", ":streamGenerateContent?alt=sse")
    said = b""
    headers = {"content-type": "application/json", **caller.headers}
    with (
        httpx.stream("POST", served.origin + path, content=built.body, headers=headers, timeout=30) as answer,
        contextlib.suppress(httpx.RemoteProtocolError),  # a broken stream never ends properly
    ):
        for piece in answer.iter_bytes():
            said += piece
    dropped = answer.headers.get("x-trivium-dropped", "")
    if answer.status_code != 200:
        return Answer(answer.status_code, [], caller.decode_error(answer.status_code, said).message, dropped)
    if not stream:
        return Answer(200, caller.decode_answer(said), dropped=dropped)
    decoder = caller.decoder()
    return Answer(200, [*decoder.feed(said), *decoder.close()], dropped=dropped)


Check = Callable[[Served, Dialect, str], tuple[bool, Answer]]


def _plain(served: Served, caller: Dialect, upstream: str) -> tuple[bool, Answer]:
    got = ask(served, caller, upstream, "ok", BASE)
    return got.whole.text == TEXT and got.whole.finish_reason == "stop" and _billed(got), got


def _billed(got: Answer) -> bool:
    usage = got.whole.usage
    return usage is not None and usage.output_tokens == 6 and usage.input_tokens > 0


def _stream(served: Served, caller: Dialect, upstream: str) -> tuple[bool, Answer]:
    got = ask(served, caller, upstream, "ok", BASE, stream=True)
    pieces = [event for event in got.events if isinstance(event, TextDelta)]
    return got.whole.text == TEXT and len(pieces) > 2 and got.events[-1] == End() and _billed(got), got


def _calls(model: str, *, stream: bool) -> Check:
    def check(served: Served, caller: Dialect, upstream: str) -> tuple[bool, Answer]:
        got = ask(served, caller, upstream, model, replace(BASE, tools=TOOLS), stream=stream)
        calls = got.whole.tool_calls
        names = [call.name for call in calls]
        good = names == [tool.name for tool in TOOLS][: 2 if model == "tools2" else 1]
        good = good and all(json.loads(call.arguments) == ARGUMENTS for call in calls)
        return good and len({call.id for call in calls}) == len(calls) and got.whole.finish_reason == "tool_calls", got

    return check


def _result(served: Served, caller: Dialect, upstream: str) -> tuple[bool, Answer]:
    """The call comes from the first answer, so that its id has gone both ways."""
    (call,) = ask(served, caller, upstream, "tool", replace(BASE, tools=TOOLS)).whole.tool_calls
    result = ToolResult(call_id=call.id, name=call.name, parts=(Text("12 degrees"),))
    talk = (ASK, Message("assistant", (call,)), Message("user", (result,)))
    got = ask(served, caller, upstream, "tool", replace(BASE, tools=TOOLS, messages=talk))
    return got.whole.text == "The tool says: 12 degrees", got


def _image(served: Served, caller: Dialect, upstream: str) -> tuple[bool, Answer]:
    shown = Message("user", (*ASK.parts, Image(data=DATA, media_type="image/png")))
    got = ask(served, caller, upstream, "ok", replace(BASE, messages=(shown,)))
    return got.whole.text == f"I see 1 image. {TEXT}", got


def _structured(served: Served, caller: Dialect, upstream: str) -> tuple[bool, Answer]:
    form = ResponseFormat(type="json_schema", schema=SCHEMA, name="answer")
    got = ask(served, caller, upstream, "ok", replace(BASE, response_format=form))
    return json.loads(got.whole.text or "null") == ARGUMENTS, got


def _reasoning(served: Served, caller: Dialect, upstream: str) -> tuple[bool, Answer]:
    got = ask(served, caller, upstream, "reasoning", BASE)
    parts = got.whole.choices[0].message.parts
    thoughts = "".join(part.text or part.summary or "" for part in parts if isinstance(part, Reasoning))
    return thoughts == THINKING and got.whole.text == TEXT, got


def _error(served: Served, caller: Dialect, upstream: str) -> tuple[bool, Answer]:
    got = ask(served, caller, upstream, "400-param", BASE)
    return got.status == 400 and "temperature" in got.error, got


def _error_midstream(served: Served, caller: Dialect, upstream: str) -> tuple[bool, Answer]:
    got = ask(served, caller, upstream, "error-midstream-2", BASE, stream=True)
    if got.status != 200:  # it came in one read with the content before it, of which nothing had left yet
        return got.status >= 500 and got.error != "", got
    failed = any(isinstance(event, Failure) for event in got.events)
    return failed and End() not in got.events and got.whole.text != "", got


CELLS: dict[str, Check] = {
    "plain": _plain,
    "stream": _stream,
    "tool": _calls("tool", stream=False),
    "tool, streamed": _calls("tool", stream=True),
    "parallel tools": _calls("tools2", stream=False),
    "parallel tools, streamed": _calls("tools2", stream=True),
    "tool result": _result,
    "image": _image,
    "structured": _structured,
    "reasoning": _reasoning,
    "error": _error,
    "error mid-stream": _error_midstream,
}
MUST_BE_RIGHT = {"plain", "stream", "tool", "tool, streamed", "tool result", "structured", "error", "error mid-stream"}


def verdict(served: Served, cell: str, caller: str, upstream: str) -> str:
    """`right`, or `loss: …` where that is allowed; raises AssertionError with what was seen."""
    good, got = CELLS[cell](served, get(caller), upstream)
    if good:
        return "right"
    assert cell not in MUST_BE_RIGHT, got
    assert got.dropped, got
    return f"loss: {got.dropped}"
