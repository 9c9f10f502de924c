"""Hypothesis strategies for canonical requests in normal form, shared by the dialects' round trips.

Normal form beside what `types.message` says: no empty text parts; an assistant's parts stand in the
order reasoning, content, tool calls; a user message holds either tool results only or none.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator

from hypothesis import strategies as st
from msgspec.structs import replace

from trivium.types.message import Image, Message, Part, Reasoning, Text, ToolCall, ToolResult
from trivium.types.request import ReasoningOptions, Request, ResponseFormat, Sampling, Tool, ToolChoice

WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,9}", fullmatch=True)
SCHEMAS = st.sampled_from(
    [
        {"type": "object", "properties": {}},
        {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]},
    ]
)
ARGUMENTS = st.sampled_from(["{}", '{"q": "x"}', '{"n":[1,2],"é":null}'])
BASE64 = st.binary(min_size=3, max_size=3).map(lambda raw: b64encode(raw).decode())

texts = WORDS.map(Text)
images = st.one_of(
    st.builds(Image, url=NAMES.map(lambda name: f"https://example.org/{name}.png")),
    st.builds(Image, data=BASE64, media_type=st.sampled_from(["image/png", "image/jpeg"])),
)
calls = st.builds(ToolCall, id=NAMES, name=NAMES, arguments=ARGUMENTS)
results = st.builds(ToolResult, call_id=NAMES, parts=st.lists(texts, max_size=2).map(tuple))


def _assistant(thoughts: list[Reasoning], said: list[Text], asked: list[ToolCall]) -> Message:
    return Message("assistant", (*thoughts, *said, *asked))


systems = st.lists(texts, min_size=1, max_size=2).map(lambda parts: Message("system", tuple(parts)))
users = st.lists(st.one_of(texts, images), min_size=1, max_size=3).map(lambda parts: Message("user", tuple(parts)))
tool_users = st.lists(results, min_size=1, max_size=3).map(lambda parts: Message("user", tuple(parts)))
assistants = st.one_of(
    st.builds(_assistant, st.just([]), st.lists(texts, min_size=1, max_size=2), st.lists(calls, max_size=2)),
    st.builds(_assistant, st.just([]), st.just([]), st.lists(calls, min_size=1, max_size=2)),
)


@st.composite
def conversations(draw: st.DrawFn) -> tuple[Message, ...]:
    """An optional system message, a user's message, then turns; results only after an assistant's turn."""
    messages = [*draw(st.lists(systems, max_size=1)), draw(users)]
    for _ in range(draw(st.integers(0, 2))):
        messages += [draw(assistants), draw(st.one_of(users, tool_users))]
    return tuple(messages)


def plain(message: Message) -> Message:
    """A message as a wire has it on which one is a text and images after it, as bytes that say themselves what they
    are."""
    results = [replace(part, parts=_joined(part.parts)) for part in message.parts if isinstance(part, ToolResult)]
    images = [part.data for part in message.parts if isinstance(part, Image) and part.data]
    shown = [Image(data=data, media_type="image/jpeg" if data.startswith("/9j/") else None) for data in images]
    rest = [part for part in message.parts if not isinstance(part, ToolResult | Image | Text)]
    thoughts = [part for part in rest if isinstance(part, Reasoning)]
    calls = [part for part in rest if isinstance(part, ToolCall)]
    return Message(message.role, (*results, *thoughts, *_joined(message.parts), *shown, *calls))


def _joined(parts: tuple[Part, ...]) -> tuple[Text, ...]:
    said = [part.text for part in parts if isinstance(part, Text)]
    return (Text("\n\n".join(said)),) if said else ()


samplings = st.builds(
    Sampling,
    temperature=st.none() | st.floats(0, 1),
    top_p=st.none() | st.floats(0.1, 1),
    top_k=st.none() | st.integers(1, 100),
    frequency_penalty=st.none() | st.floats(-2, 2),
    presence_penalty=st.none() | st.floats(-2, 2),
    seed=st.none() | st.integers(0, 2**31),
)
tools = st.builds(
    Tool,
    name=NAMES,
    description=st.none() | WORDS,
    parameters=SCHEMAS,
    strict=st.none() | st.booleans(),
)
tool_choices = st.one_of(
    st.sampled_from([ToolChoice("auto"), ToolChoice("none"), ToolChoice("required")]),
    NAMES.map(lambda name: ToolChoice("named", name)),
)
formats = st.one_of(
    st.just(ResponseFormat(type="json_object")),
    st.builds(
        ResponseFormat, type=st.just("json_schema"), schema=SCHEMAS, name=NAMES, strict=st.none() | st.booleans()
    ),
)


@st.composite
def requests(draw: st.DrawFn) -> Request:
    """Canonical requests; whatever a dialect cannot say in them must show in its losses."""
    stream = draw(st.booleans())
    defined = draw(st.lists(tools, max_size=2, unique_by=lambda tool: tool.name))
    return Request(
        model=draw(NAMES),
        messages=draw(conversations()),
        max_output_tokens=draw(st.none() | st.integers(1, 4096)),
        stream=stream,
        include_usage=stream,
        tools=tuple(defined),
        tool_choice=draw(st.none() | tool_choices) if defined else None,
        parallel_tools=draw(st.none() | st.booleans()) if defined else None,
        response_format=draw(st.none() | formats),
        reasoning=draw(
            st.none() | st.sampled_from(["low", "medium", "high"]).map(lambda e: ReasoningOptions(effort=e))
        ),
        sampling=draw(samplings),
        stop=tuple(draw(st.lists(NAMES, max_size=3))),
        user=draw(st.none() | NAMES),
    )


def pieces(text: str) -> Iterator[str]:
    """A text in one or two pieces, as a stream says it."""
    yield text[:2]
    if text[2:]:
        yield text[2:]
