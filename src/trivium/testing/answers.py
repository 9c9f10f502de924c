"""What the fake upstream says: a neutral question in, a neutral answer out, both deterministic.

The model's name asks for more than text: `echo` repeats the last user text, `tool` calls the first offered tool, or the
one that a line of the text ends with (`call read {"path": "x"}`), `tools2` calls the first two, `reasoning` thinks
aloud first, `cached` reports half of the prompt as read from a cache.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any, cast

import msgspec

TEXT = "The capital of France is Paris."
THINKING = "The user asks for a capital. It is Paris."
UNICODE = "Zürich, 東京, naïve 🛰️ café: Ελλάδα, Привет, שלום, 👩‍👩‍👧 done."
CREATED = 1_790_000_000
WISH = re.compile(r"\bcall ([\w.:-]+) (\{.*\})[ \t]*$", re.MULTILINE)

JSON = dict[str, Any]


@dataclass(frozen=True)
class Tool:
    name: str
    schema: JSON


@dataclass(frozen=True)
class Question:
    """What a request asks, whichever dialect it came in."""

    model: str
    stream: bool
    text: str
    """The last user text."""
    prompt_tokens: int
    images: int = 0
    tools: tuple[Tool, ...] = ()
    tool_result: str | None = None
    """The last message is this result of a tool."""
    schema: JSON | None = None
    """The answer shall be JSON of this form."""
    max_tokens: int | None = None
    include_usage: bool = True
    n: int = 1
    body: JSON | None = None
    """The request itself, where its answer is made of it."""
    start: str = ""
    """What the last message already says of the answer, which goes on from there if it begins so."""


@dataclass(frozen=True)
class ToolCall:
    id: str
    name: str
    arguments: JSON

    @property
    def json(self) -> str:
        return msgspec.json.encode(self.arguments).decode()


@dataclass(frozen=True)
class Answer:
    """`pieces` are the text as it is streamed; one piece counts as one token."""

    id: str
    model: str
    pieces: tuple[str, ...]
    prompt_tokens: int
    cached_tokens: int = 0
    thinking: tuple[str, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    cut_short: bool = False
    """The answer ends at the caller's `max_tokens`."""
    include_usage: bool = True
    n: int = 1
    body: JSON | None = None

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    def reason(self, stop: str, length: str, calls: str) -> str:
        """Why it ends, in the words of a dialect."""
        return calls if self.calls else length if self.cut_short else stop

    @property
    def reasoning_tokens(self) -> int:
        return len(self.thinking) * self.n

    @property
    def output_tokens(self) -> int:
        """With the tokens of reasoning, as all vendors bill it."""
        calls = sum(len(pieces_of(call.json)) + 1 for call in self.calls)
        return (len(self.pieces) + len(self.thinking) + calls) * self.n


def pieces_of(text: str) -> tuple[str, ...]:
    """Words with the blanks after them; together they are the text."""
    return tuple(re.findall(r"\S+\s*|\s+", text))


def words(count: int) -> str:
    """A text of exactly `count` pieces."""
    return " ".join(islice(cycle(TEXT.split()), count))


def answer(question: Question, number: int, text: str = TEXT) -> Answer:
    """The correct answer to a question; `number` makes its id, `text` is what is said by default."""
    calls = _calls(question, number)
    said = () if calls else pieces_of(_text(question, text).removeprefix(question.start))
    limit = question.max_tokens
    cut_short = limit is not None and len(said) > limit
    return Answer(
        id=f"{number:024x}",
        model=question.model,
        pieces=said[:limit] if cut_short else said,
        prompt_tokens=question.prompt_tokens,
        cached_tokens=question.prompt_tokens // 2 if "cached" in question.model else 0,
        thinking=pieces_of(THINKING) if "reasoning" in question.model else (),
        calls=calls,
        cut_short=cut_short,
        include_usage=question.include_usage,
        n=question.n,
        body=question.body,
    )


def _text(question: Question, text: str) -> str:
    if question.schema is not None:
        return msgspec.json.encode(sample(question.schema)).decode()
    if "echo" in question.model:
        return question.text
    if question.tool_result is not None:
        return f"The tool says: {question.tool_result}"
    if question.images:
        return f"I see {question.images} image{'s' if question.images > 1 else ''}. {text}"
    return text


def _calls(question: Question, number: int) -> tuple[ToolCall, ...]:
    if "tool" not in question.model or question.tool_result is not None:
        return ()
    wish = WISH.search(question.text)
    if wish and any(tool.name == wish[1] for tool in question.tools):
        return (ToolCall(f"{number:08x}0", wish[1], msgspec.json.decode(wish[2], type=JSON)),)
    count = 2 if "tools2" in question.model else 1
    return tuple(
        ToolCall(f"{number:08x}{index}", tool.name, cast("JSON", sample(tool.schema | {"type": "object"})))
        for index, tool in enumerate(islice(cycle(question.tools), count if question.tools else 0))
    )


def sample(schema: JSON) -> object:
    """A value that a JSON Schema of the common kinds admits (`type`, `enum`, `const`, `properties`, `items`)."""
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    match schema.get("type"):
        case "object":
            return {name: sample(of) for name, of in schema.get("properties", {}).items()}
        case "array":
            return [sample(schema.get("items", {}))]
        case "integer":
            return 2
        case "number":
            return 2.5
        case "boolean":
            return True
        case "null":
            return None
        case _:
            return "Paris"
