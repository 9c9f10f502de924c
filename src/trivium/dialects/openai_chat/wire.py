"""The shapes of `POST /chat/completions`, as far as they have a meaning here.

Source: OpenAI's API reference (the shapes of its Python SDK), and the fields that routing services
and local servers of the same shape add. Requests are read strictly, answers leniently: a caller can
correct a mistake, an upstream cannot.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from trivium.dialects.common import MAX_TOKENS
from trivium.types.request import Effort, Sampling

Count = Annotated[int, msgspec.Meta(ge=1, le=MAX_TOKENS)]


class CacheControl(msgspec.Struct):
    """A prompt-cache mark, as routing services take it on a part."""

    type: Literal["ephemeral"] = "ephemeral"
    ttl: str | None = None


class _Part(msgspec.Struct, tag_field="type", kw_only=True):
    cache_control: CacheControl | None = None


class TextPart(_Part, tag="text"):
    text: str


class ImageUrl(msgspec.Struct):
    url: str
    detail: str | None = None


class ImagePart(_Part, tag="image_url"):
    image_url: ImageUrl


class InputAudio(msgspec.Struct):
    data: str
    format: str


class AudioPart(_Part, tag="input_audio"):
    input_audio: InputAudio


class FileObject(msgspec.Struct):
    file_data: str | None = None
    file_id: str | None = None
    filename: str | None = None


class FilePart(_Part, tag="file"):
    file: FileObject


class RefusalPart(_Part, tag="refusal"):
    refusal: str


class Function(msgspec.Struct):
    name: str
    arguments: str = ""


class Call(msgspec.Struct):
    id: str
    function: Function
    type: Literal["function"] = "function"


class ReasoningDetail(msgspec.Struct):
    """One of a routing service's `reasoning_details`: text, a summary, or an encrypted whole."""

    type: str = ""
    text: str | None = None
    summary: str | None = None
    encrypted: str | None = msgspec.field(default=None, name="data")
    signature: str | None = None
    id: str | None = None
    format: str | None = None
    index: int | None = None


class SystemMessage(msgspec.Struct, tag_field="role", tag="system"):
    content: str | list[TextPart]
    name: str | None = None


class DeveloperMessage(SystemMessage, tag="developer"):
    pass


class UserMessage(msgspec.Struct, tag_field="role", tag="user"):
    content: str | list[TextPart | ImagePart | AudioPart | FilePart]
    name: str | None = None


class AssistantMessage(msgspec.Struct, tag_field="role", tag="assistant"):
    content: str | list[TextPart | RefusalPart] | None = None
    refusal: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    reasoning_details: list[ReasoningDetail] | None = None
    tool_calls: list[Call] | None = None
    name: str | None = None


class ToolMessage(msgspec.Struct, tag_field="role", tag="tool"):
    tool_call_id: str
    content: str | list[TextPart | ImagePart]
    name: str | None = None


ChatMessage = SystemMessage | DeveloperMessage | UserMessage | AssistantMessage | ToolMessage


class FunctionDefinition(msgspec.Struct):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class ToolDefinition(msgspec.Struct):
    function: FunctionDefinition
    type: Literal["function"] = "function"
    cache_control: CacheControl | None = None


class JsonSchema(msgspec.Struct):
    name: str
    schema: dict[str, Any] | None = None
    description: str | None = None
    strict: bool | None = None


class Format(msgspec.Struct):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class ReasoningObject(msgspec.Struct):
    """A routing service's `reasoning`."""

    effort: Effort | None = None
    max_tokens: Count | None = None
    exclude: bool | None = None
    enabled: bool | None = None
    summary: str | None = None


class StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class Body(Sampling, frozen=True, kw_only=True):
    """A request. Our names of sampling parameters are this wire's; what is named nowhere ends in `Request.extra`."""

    model: str
    messages: list[ChatMessage]
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    tools: list[ToolDefinition] | None = None
    tool_choice: Literal["auto", "none", "required"] | ToolDefinition | None = None
    parallel_tool_calls: bool | None = None
    response_format: Format | None = None
    reasoning_effort: Effort | None = None
    reasoning: ReasoningObject | None = None
    include_reasoning: bool | None = None
    stop: str | list[str] | None = None
    n: Count | None = None
    user: str | None = None
    metadata: dict[str, str] | None = None
    service_tier: str | None = None


class AnswerFunction(msgspec.Struct):
    name: str | None = None
    arguments: Any = None
    """A text; some servers send the object itself."""


class AnswerCall(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: AnswerFunction | None = None


class AnswerAudio(msgspec.Struct):
    id: str | None = None
    data: str | None = None
    transcript: str | None = None
    expires_at: int | None = None


class UrlCitation(
    msgspec.Struct, rename={"source": "url", "quote": "content", "start": "start_index", "end": "end_index"}
):
    """Its members by the names of `Citation`."""

    source: str = ""
    title: str | None = None
    quote: str | None = None
    start: int | None = None
    end: int | None = None


class Annotation(msgspec.Struct):
    type: str = ""
    url_citation: UrlCitation | None = None


class Spoken(msgspec.Struct):
    """A whole message or a delta of one: their fields are the same."""

    content: str | list[dict[str, Any]] | None = None
    refusal: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    reasoning_details: list[ReasoningDetail] | None = None
    tool_calls: list[AnswerCall] | None = None
    annotations: list[Annotation] | None = None
    audio: AnswerAudio | None = None


class Logprobs(msgspec.Struct):
    content: Any = None


class AnswerChoice(msgspec.Struct):
    index: int = 0
    message: Spoken | None = None
    delta: Spoken | None = None
    finish_reason: str | None = None
    logprobs: Logprobs | None = None
    error: Any = None
    """A routing service reports a failure after part of the answer here."""


class Answer(msgspec.Struct):
    """A completion, or one chunk of it. Any value may stand where a broken one must not cost the content beside it."""

    id: str | None = None
    model: str | None = None
    created: float | None = None
    choices: list[AnswerChoice] | None = None
    usage: Any = None
    timings: Any = None
    error: Any = None


class Glimpse(msgspec.Struct):
    """A choice as a meter sees it."""

    index: int = 0
    finish_reason: str | None = None
    delta: msgspec.Raw = msgspec.Raw()
    text: str | None = None
    """What a legacy completion says, which has no delta."""
    error: Any = None


class Passing(msgspec.Struct):
    """A completion or chunk that is passed: what a bill and a verdict need, the rest stays bytes."""

    id: str | None = None
    choices: list[Glimpse] | None = None
    usage: Any = None
    timings: Any = None
    error: Any = None


class Verdict(msgspec.Struct):
    """A choice of a whole answer that is passed."""

    finish_reason: str | None = None
    error: Any = None


class Details(msgspec.Struct):
    cached_tokens: Any = None
    cache_write_tokens: Any = None
    audio_tokens: Any = None
    image_tokens: Any = None
    reasoning_tokens: Any = None


class UsageObject(msgspec.Struct):
    prompt_tokens: Any = None
    completion_tokens: Any = None
    total_tokens: Any = None
    prompt_tokens_details: Details | None = None
    completion_tokens_details: Details | None = None
    prompt_cache_hit_tokens: Any = None
    """Cached tokens where a server has no details."""
    cost: Any = None
    is_byok: Any = None
    cost_details: Any = None


class Passed(msgspec.Struct):
    """A whole answer that is passed, as almost all are: `Passing` reads what this refuses."""

    id: str | None = None
    choices: list[Verdict] | None = None
    usage: UsageObject | None = None
    timings: Any = None
    error: Any = None


class Timings(msgspec.Struct):
    """What a llama.cpp server measured; in its last chunk, also where usage is missing."""

    cache_n: Any = 0
    prompt_n: Any = None
    predicted_n: Any = None
