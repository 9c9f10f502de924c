"""What every dialect needs beside its own wire: the first look, refusals that point at a field, upstream errors."""

from __future__ import annotations

import json
import re
from typing import Any, Generic, TypeVar, cast

import msgspec
from msgspec import UNSET, UnsetType

from trivium.dialects.base import Addressed, Twin
from trivium.dialects.error_types import ERROR_TYPES, availability_of, error_type
from trivium.errors import (
    InvalidRequest,
    UpstreamAuthError,
    UpstreamContextLength,
    UpstreamError,
    UpstreamNotFound,
    UpstreamOverloaded,
    UpstreamQuotaExhausted,
    UpstreamRateLimited,
    UpstreamRefused,
    UpstreamRejected,
    UpstreamServerError,
    UpstreamTimeout,
)
from trivium.wire.json import BROKEN, members

S = TypeVar("S", bound=msgspec.Struct)

MAX_EXCERPT_BYTES = 512
"""How much of an upstream's own words goes on: enough for a reason, too little for a leak."""

MESSAGES_MAX, PARTS_MAX = 10_000, 20_000
MESSAGES_BYTES_FREE = 256 * 1024
"""Below it nobody counts."""
_COUNT = msgspec.json.Decoder(list[msgspec.Raw])
MODEL_NAME_BYTES_MAX = 512
"""Names are keys of caches and stand in headers and the ledger; some providers have paths and ARNs."""

MODELS_MAX = 16
"""Further models that one request may name."""

MAX_TOKENS = 1_000_000_000
"""A count beyond this is no count; billing it would be worse than not knowing."""

_WHERE = re.compile(r"^(?P<what>.*) - at .*`\$\.?(?P<path>[^`]*)`$", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<field>[^`]+)`")
_NOT_EMPTY = re.compile(rb"\[[ \t\n\r]*[^\] \t\n\r]")
_JSON_REMEDY = "Send one JSON object, encoded as UTF-8 without a byte-order mark."


def invalid(error: Exception, where: str = "") -> InvalidRequest:
    """What a failed decode says to the caller: what is wrong, where (`messages[3].content[0].type`), what to do.

    `where` is the place of what was decoded, if that was not the whole body.
    """
    if isinstance(error, RecursionError):
        return InvalidRequest("The body is nested too deeply.", remedy="Flatten it; a few dozen levels are plenty.")
    if isinstance(error, UnicodeError):
        return InvalidRequest("The body is not valid UTF-8.", remedy=_JSON_REMEDY)
    text = str(error)
    if not isinstance(error, msgspec.ValidationError):
        return InvalidRequest(f"The body is not valid JSON: {text}.", remedy=_JSON_REMEDY)
    found = _WHERE.match(text)
    what, path = (found["what"], ".".join(filter(None, (where, found["path"])))) if found else (text, where)
    if missing := _MISSING.match(what):
        path = f"{path}.{missing['field']}" if path else missing["field"]
        return InvalidRequest(f"`{path}` is missing.", remedy="Add the field.", param=path)
    if len(what) > MAX_EXCERPT_BYTES:
        what = f"{what[:MAX_EXCERPT_BYTES]}…"  # it quotes a value that may be as long as the body
    if not path:
        return InvalidRequest(f"The body is not what it should be: {what}.", remedy=_JSON_REMEDY)
    return InvalidRequest(f"`{path}`: {what}.", remedy="Correct the value or leave the field out.", param=path)


def converted(value: Any, shape: type[S], where: str) -> S:
    """A decoded value as a struct; `where` is its place in the body. Raises InvalidRequest."""
    try:
        return msgspec.convert(value, shape)
    except msgspec.ValidationError as error:
        raise invalid(error, where) from None


class _Logprob(msgspec.Struct):
    token: str
    logprob: float
    bytes: list[int] | None = None
    top_logprobs: list[_Logprob] | None = None


def logprobs_of(said: Any) -> list[Json]:
    """The log-probabilities that an upstream says in OpenAI's shape, without what is of another."""
    return [entry for entry in said if _is_logprob(entry)] if isinstance(said, list) else []  # pyright: ignore[reportUnknownVariableType]


def _is_logprob(entry: Any) -> bool:
    try:
        msgspec.convert(entry, _Logprob)
    except msgspec.ValidationError:
        return False
    return True


def not_empty(values: msgspec.Raw) -> bool:
    """Whether raw JSON is an array with something in it."""
    return _NOT_EMPTY.match(values) is not None  # pyright: ignore[reportCallIssue, reportArgumentType]


def check_name(model: str, where: str = "model") -> None:
    """Raises InvalidRequest for an empty name of a model, and for one that is longer than 512 bytes."""
    long = len(model) * 4 > MODEL_NAME_BYTES_MAX and len(model.encode("utf-8", "replace")) > MODEL_NAME_BYTES_MAX
    if long or not model:
        what = f"longer than {MODEL_NAME_BYTES_MAX} bytes" if long else "empty"
        raise InvalidRequest(f"`{where}` is {what}.", remedy="Name a model, for example `auto`.", param=where)


def check_size(messages: msgspec.Raw, where: str = "messages") -> None:
    """Raises InvalidRequest for more messages or parts than a translation, which holds up everybody, may have."""
    if len(memoryview(messages)) > MESSAGES_BYTES_FREE and (
        len(_COUNT.decode(messages)) > MESSAGES_MAX or bytes(messages).count(b'"type"') > PARTS_MAX
    ):
        raise too_long(where)


def too_long(where: str) -> InvalidRequest:
    return InvalidRequest(
        f"A request that is translated may have {MESSAGES_MAX} messages and {PARTS_MAX} parts.",
        remedy="Shorten the conversation, or ask an endpoint that speaks your dialect.",
        param=where,
    )


class ModelName(str):
    """The type of a `model` whose decoding is counted, see `OnceDecoder`."""

    __slots__ = ()


UNSAID = msgspec.Raw()
"""The `provider` of a body without one."""


class CommonHead(msgspec.Struct, kw_only=True):
    """What a head has in every dialect; `…_sent` is the field as the caller wrote it, or UNSET."""

    model: ModelName
    messages: msgspec.Raw
    stream_sent: bool | UnsetType | None = msgspec.field(default=UNSET, name="stream")
    models_sent: tuple[str, ...] | UnsetType | None = msgspec.field(default=UNSET, name="models")
    twin_sent: Twin | UnsetType | None = msgspec.field(default=UNSET, name="trivium")
    metadata: msgspec.Raw = UNSAID
    session_id: msgspec.Raw = UNSAID
    prompt_cache_key: msgspec.Raw = UNSAID
    provider: msgspec.Raw = UNSAID

    @property
    def session(self) -> msgspec.Raw:
        return self.prompt_cache_key if self.session_id is UNSAID else self.session_id

    @property
    def stream(self) -> bool:
        return self.stream_sent is True

    @property
    def wants_usage(self) -> bool:
        return True

    @property
    def models(self) -> tuple[str, ...]:
        return self.models_sent or ()

    @property
    def trivium(self) -> Twin | None:
        return self.twin_sent or None

    @property
    def passes(self) -> bool:
        return True

    def check(self) -> None:
        """Raises InvalidRequest where nothing is asked."""
        if not not_empty(self.messages):
            raise InvalidRequest(
                "`messages` must be an array with at least one message.",
                remedy="Send the conversation, for example one message of the user.",
                param="messages",
            )


class _Wish:
    """The type of a `trivium` whose occurrences are counted."""


class _Wishing(msgspec.Struct):
    trivium: _Wish


def check_twin(body: bytes) -> None:
    """Refuse a `trivium`, or a member of it, that is there twice: of two wishes for privacy the weaker could count.

    The rest of the body, which may be long, is only stepped over.
    """
    wishes: list[Any] = []

    def count(_kind: type[Any], value: Any) -> _Wish:
        wishes.append(value)
        return _Wish()

    try:
        msgspec.json.decode(body, type=_Wishing, dec_hook=count)
        said: Any = json.loads(bytes(members(body)["trivium"]), object_pairs_hook=list)
    except (ValueError, RecursionError) as error:
        raise invalid(error) from None
    names = [name for name, _ in said] if isinstance(wishes[-1], dict) else []
    if len(wishes) != 1 or len(set(names)) != len(names):
        raise InvalidRequest("`trivium` says something twice.", remedy="Send each key once.", param="trivium")


H = TypeVar("H", bound=CommonHead)
Json = dict[str, Any]


class OnceDecoder(Generic[S]):
    """Decodes a struct with a `ModelName`, and says how often the body names one.

    JSON decoders keep the last of two equal keys while a splice finds the first, so a second `model`
    would name another model upstream than the one that passed policy and price. A hook on the field's
    type is called once an occurrence, also for a key spelled with escapes: counting its calls finds the
    second without a scan. Counter and decoder are used by one call at a time: `list.pop` is atomic.
    """

    def __init__(self, struct: type[S]) -> None:
        self._struct = struct
        self._idle: list[_Counting[S]] = []

    def once(self, body: bytes) -> tuple[S, int]:
        """Raises one of `BROKEN`."""
        counting = self._idle.pop() if self._idle else _Counting(self._struct)
        counting.models = 0
        try:
            return counting.decode(body), counting.models
        finally:
            self._idle.append(counting)


class HeadDecoder(OnceDecoder[H]):
    """Decodes a request's head and refuses what no upstream may see."""

    def __call__(self, body: bytes, _addressed: Addressed | None = None, /) -> H:
        """The head. Raises InvalidRequest with what is wrong, where, and what to do."""
        counting = self._idle.pop() if self._idle else _Counting(self._struct)  # as `once`, a call less a request
        try:
            if not body.isascii():
                body.decode()
            counting.models = 0
            head = counting.decode(body)
        except BROKEN as error:
            raise invalid(error) from None
        finally:
            models = counting.models
            self._idle.append(counting)
        if models > 1:
            raise InvalidRequest("The body has more than one `model`.", remedy="Send the key once.", param="model")
        if head.twin_sent is not UNSET:
            check_twin(body)
        check_name(head.model)
        if more := head.models:
            check_models(more)
        head.check()
        head.model = str(head.model)  # pyright: ignore[reportAttributeAccessIssue]  # a plain text again, for encoders
        return head


def check_models(more: tuple[str, ...]) -> None:
    if len(more) > MODELS_MAX:
        raise InvalidRequest(f"`models` has more than {MODELS_MAX}.", remedy="Name the best.", param="models")
    for number, name in enumerate(more):
        check_name(name, f"models[{number}]")


class _Counting(Generic[S]):
    """One decoder and how often it met `model` in the body at hand."""

    def __init__(self, struct: type[S]) -> None:
        self.models = 0
        self.decode = msgspec.json.Decoder(struct, dec_hook=self._model).decode

    def _model(self, wanted: type[Any], value: Any) -> Any:
        self.models += 1
        if not isinstance(value, str):
            raise TypeError(f"expected a string, got {type(value).__name__}")
        return wanted(value)


def tokens(value: Any) -> int | None:
    """A token count of an upstream; None for what is none (absent, negative, absurd)."""
    if type(value) is int and 0 <= value <= MAX_TOKENS:
        return value  # nearly always
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_TOKENS:
        return None
    return int(value)


def excerpt(text: str) -> str:
    """An upstream's own words in one line of at most 512 bytes; nothing of an HTML page."""
    if re.search(r"<\s*[a-zA-Z!/]", text):
        return ""
    line = " ".join(text.split())
    return line.encode("utf-8", "replace")[:MAX_EXCERPT_BYTES].decode("utf-8", "ignore")


_QUOTA = re.compile(r"insufficient_quota|quota_exceeded|billing|insufficient.credit|credit balance", re.IGNORECASE)
_CONTEXT = re.compile(
    r"context_length_exceeded|exceed_context_size|context_window|maximum context length|prompt is too long"
    r"|exceeds? the (available )?context",
    re.IGNORECASE,
)
_REFUSED = re.compile(r"content_filter|content_policy|content_management|moderation|responsibleai", re.IGNORECASE)

_IN_BAND_STATUS = (
    ("rate_limit", 429),
    ("too_many", 429),
    ("quota", 429),
    ("overloaded", 529),
    ("unavailable", 503),
    ("authentication", 401),
    ("permission", 403),
    ("not_found", 404),
    ("invalid", 400),
    ("context_length", 400),
    ("content_policy", 400),
    ("timeout", 504),
)
"""The HTTP status that an error inside a 200 amounts to, by a word in its code or type; else 500."""


_STATUS = re.compile(r"[45]\d\d", re.ASCII)


def error_words(body: bytes) -> tuple[str, str, str]:
    """Message, code and kind of an upstream's failed answer.

    Bodies vary: an envelope `{"error": {…}}`, `{"error": "text"}`, `{"detail": …}`, a bare `{"message": …}`, plain
    text, a page of HTML.
    """
    return said_words(error_in(body))


def with_availability(error: UpstreamError, body: bytes) -> UpstreamError:
    """An error with what a routing service says of why nobody served."""
    if b'"availability"' in body:
        error.availability = availability_of(error_in(body))
    return error


def error_in(body: bytes) -> Any:
    """The error of an upstream's failed answer, decoded: the member `error`, else all of it."""
    try:
        said: Any = msgspec.json.decode(body)
    except BROKEN:
        return body.decode("utf-8", "replace")
    return cast("Json", said).get("error", said) if isinstance(said, dict) else said


def said_words(said: Any) -> tuple[str, str, str]:
    """Message, code and kind of an error that was decoded, whatever its shape."""
    if not isinstance(said, dict):
        return said if isinstance(said, str) else "", "", ""
    fields = cast("Json", said)
    message = next((fields[name] for name in ("message", "detail", "error") if isinstance(fields.get(name), str)), "")
    code, kind = fields.get("code"), _typed(fields) or fields.get("type")
    code = str(code) if isinstance(code, str | int) and not isinstance(code, bool) else ""
    return message, code, kind if isinstance(kind, str) else ""


def _typed(fields: Json) -> Any:
    """The type of a routing service's error, which says more than its other words."""
    inner: Any = fields.get("metadata")
    named = cast("Json", inner).get("error_type") if isinstance(inner, dict) else fields.get("error_type")
    return named if isinstance(named, str) and named in ERROR_TYPES else None


def upstream_error(status: int, message: str, code: str = "", kind: str = "") -> UpstreamError:
    """The table from an upstream's failure to one of our errors: the status decides, then `code`, `kind` and words.

    A status below 400 stands for an error inside a 200. A refused credential is named without the
    upstream's words, since they may quote the key.
    """
    words, given = f"{code} {kind}", status
    if status < 400:
        meant = next((status for word, status in _IN_BAND_STATUS if word in words.lower()), 500)
        status = int(code) if _STATUS.fullmatch(code) else meant
    error = _leaf(status, words, message)
    said = excerpt(message)
    if error is UpstreamAuthError:
        text, remedy = (
            f"The upstream refused our credential ({status}).",
            "Check the key that is set for this provider.",
        )
    else:
        text, remedy = said or f"The upstream answered {given}{' with an error' if given == 200 else ''}.", ""
    code = kind if kind in ERROR_TYPES else code
    made = error(text, remedy=remedy, upstream_status=status, provider_code=excerpt(code or kind) or None)
    if error is UpstreamRejected:
        made.status = ERROR_TYPES[error_type(made)].status
    return made


def _leaf(status: int, words: str, message: str) -> type[UpstreamError]:
    if status in {401, 403}:
        return UpstreamRefused if status == 403 and _REFUSED.search(words) else UpstreamAuthError
    if status in {402, 429}:
        return UpstreamQuotaExhausted if status == 402 or _QUOTA.search(f"{words} {message}") else UpstreamRateLimited
    if status == 404:
        return UpstreamNotFound
    if status == 408:
        return UpstreamTimeout
    if status in {503, 529}:
        return UpstreamOverloaded
    if status >= 500:
        return UpstreamServerError
    if _CONTEXT.search(f"{words} {message}"):
        return UpstreamContextLength
    if _REFUSED.search(words):
        return UpstreamRefused
    return UpstreamQuotaExhausted if _QUOTA.search(f"{words} {message}") else UpstreamRejected
