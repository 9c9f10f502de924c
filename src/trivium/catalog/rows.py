"""The catalog's nouns: provider, model, price, endpoint. Data, not code."""

from __future__ import annotations

import re
from typing import Literal, get_args

import msgspec

from trivium.types.data import Access, DataClass, DataPolicy
from trivium.types.request import Operation
from trivium.types.usage import Usage

DialectName = Literal[
    "openai_chat", "openai_responses", "anthropic_messages", "cohere_v2", "gemini", "ollama",
    "openai_completions",
    "openai_embeddings", "cohere_embed", "gemini_embed", "ollama_embed", "rerank", "cohere_rerank", "cosine_rerank",
]  # fmt: skip
AuthForm = Literal["bearer", "x-api-key", "api-key", "x-goog-api-key", "none"]
Capability = Literal[
    "tools", "images", "audio", "files", "json_schema", "json_object", "reasoning", "logprobs", "n", "prefill"
]


QuirkName = Literal["max_completion_tokens", "continue_final_message", "prefill_grammar"]

PLACE = re.compile(r"\{(\w+)\}", re.ASCII)
"""A part of a base URL that its user's environment says, under this name."""


class Figures(msgspec.Struct, frozen=True):
    """Nano-dollars per million tokens of a kind; None is unknown, 0 is free. `request` is nano-dollars a request."""

    input: int | None = None
    output: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None
    input_audio: int | None = None
    output_audio: int | None = None
    request: int = 0


Day = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
UTC_DAYS: tuple[Day, ...] = get_args(Day)


class Override(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Other figures of a price where all its conditions hold; see `catalog.overrides`. None: as in the price."""

    min_prompt_tokens: int | None = None
    """It holds above that."""
    utc_start: int | None = None
    """HHMM as a number, included; `utc_end` is not, and may lie before it, past midnight."""
    utc_end: int | None = None
    utc_days: tuple[Day, ...] = ()
    input: int | None = None
    output: int | None = None
    cache_read: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None
    input_audio: int | None = None
    output_audio: int | None = None
    request: int | None = None


class Price(Figures, frozen=True, omit_defaults=True, kw_only=True):
    """What attempts are charged by.

    Kinds without a price of their own fall back: cache reads and writes to `input`, audio to the text price of its
    direction. `version` names the source and its date and is stored with every ledger row that used it.
    """

    version: str = ""
    discount_ppm: int = 0
    """What is taken off all figures, in millionths."""
    overrides: tuple[Override, ...] = ()

    @property
    def flat(self) -> bool:
        """Whether it is the same for every request; else `catalog.overrides` says what it is."""
        return not self.overrides and not self.discount_ppm

    def cost(self, usage: Usage) -> int | None:
        """Nano-dollars for one attempt, rounded half up once; None where the price is unknown."""
        if self.input is None or self.output is None:
            return None
        read = self.input if self.cache_read is None else self.cache_read
        write = self.input if self.cache_write is None else self.cache_write
        write_1h = write if self.cache_write_1h is None else self.cache_write_1h
        audio_in = self.input if self.input_audio is None else self.input_audio
        audio_out = self.output if self.output_audio is None else self.output_audio
        total = (
            (usage.input_tokens - usage.input_audio_tokens) * self.input
            + usage.input_audio_tokens * audio_in
            + usage.cache_read_tokens * read
            + usage.cache_write_tokens * write
            + usage.cache_write_1h_tokens * write_1h
            + (usage.output_tokens - usage.output_audio_tokens) * self.output
            + usage.output_audio_tokens * audio_out
        )
        return (total + 500_000) // 1_000_000 + self.request

    def upper_bound(self, input_tokens: int, output_tokens: int) -> int | None:
        """Nano-dollars that an attempt of that size can cost at most; None where the price is unknown."""
        if self.input is None or self.output is None:
            return None
        dearest_input = max(self.input, self.cache_write or 0, self.cache_write_1h or 0, self.input_audio or 0)
        dearest_output = max(self.output, self.output_audio or 0)
        total = input_tokens * dearest_input + output_tokens * dearest_output
        return (total + 999_999) // 1_000_000 + self.request


class Timeouts(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Deadlines in seconds; None means that the next wider scope decides (route, provider, policy, default)."""

    connect_s: float | None = None
    tls_s: float | None = None
    first_content_s: float | None = None
    idle_s: float | None = None
    total_s: float | None = None


class Provider(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Somebody who serves models at a base URL with a credential. One row of `providers.toml`."""

    id: str
    name: str = ""
    access: Access = "direct"
    dialect: DialectName = "openai_chat"
    dialects: tuple[DialectName, ...] = ()
    """Others that it speaks under the same base URL: their callers' bytes pass."""
    base_url: str = ""
    """With the version segment (`…/v1`), without a trailing slash. It may have places: `https://{NAME}.example/v1`."""
    auth: AuthForm = "bearer"
    host_env: str | None = None
    """An environment name that moves the row's server: a host, `host:port` or URL, without the version segment."""
    key_env: tuple[str, ...] = ()
    """Environment names that may hold the key; the first that is set wins."""
    key_form: str | None = None
    """A regular expression that a key of this provider matches, if it has a form of its own."""
    key_check: str | None = None
    """A path under `base_url` that a GET with a valid key answers with 200, free; `/..` leads out of its version."""
    models_path: str | None = "/models"
    default_model: str | None = None
    """A cheap model of its own, for `auto`; in the provider's spelling."""
    data: DataPolicy = DataPolicy()
    data_for: str | None = None
    """A regular expression of the models that `data` holds for; of others nothing is known. None: all models."""
    region: str | None = None
    jurisdiction: str | None = None
    capabilities: tuple[Capability, ...] = ()
    """What models of this provider can do where the catalog does not know the model."""
    stream_usage: bool = True
    """Whether usage may be asked for inside a stream (`stream_options.include_usage`)."""
    upstream_stream: Literal["never", "always"] = "never"
    chooses: bool = True
    """Of a routing service: it heeds a request's `provider`, so that what that says of others is left to it."""
    openrouter_slug: str | None = None
    prices_id: str | None = None
    """Its id in genai-prices."""
    otel_name: str | None = None
    headers: dict[str, str] = {}
    quirks: tuple[QuirkName, ...] = ()
    """Names of functions in `access.quirks` that bend a request for this provider."""
    timeouts: Timeouts = Timeouts()
    source: str = ""
    """Where the row's facts were read."""
    checked: str = ""
    """When, as an ISO date."""

    @property
    def slug(self) -> str:
        """What routing services' callers name it by."""
        return self.openrouter_slug or self.id

    @property
    def places(self) -> list[str]:
        """Environment names that `base_url` waits for; as long as there are any, it is no address."""
        return PLACE.findall(self.base_url)


class Model(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Weights with a name. `spellings` maps a provider's id to its own name for the model."""

    id: str
    name: str = ""
    family: str | None = None
    weights: str | None = None
    """The identity of the weights: equal texts mean the same weights, whoever serves them."""
    context: int | None = None
    max_output: int | None = None
    capabilities: tuple[Capability, ...] | None = None
    """None: unknown, the provider's row decides."""
    operations: tuple[Operation, ...] = ()
    """What it can be asked; empty: unknown, its provider's dialects decide."""
    silent_thinker: bool = False
    """Thinks without a sign of life, so that its first content may come late."""
    spellings: dict[str, str] = {}
    price: Price | None = None
    quantization: str | None = None
    """Of its weights, in OpenRouter's words (`fp8`, `int4`); None: unknown."""
    retired: str | None = None
    """It is not served any more: what to use instead."""
    note: str = ""


class LocalModel(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A model that `trivium models pull` knows by name: one GGUF file, and where it comes from, pinned."""

    name: str
    source: str
    """`pypi:<project>==<version>`: the file is a member of that wheel."""
    licence: str
    file: str
    """The name of the file in the store."""
    size_bytes: int
    sha256: str
    archive: str
    """The wheel's file name."""
    download_bytes: int
    archive_sha256: str
    member: str
    """The path of the file inside the wheel."""
    member_sha256: str = ""
    """Of a member that is no GGUF file: one is made of it on this machine (`engines.bert`), which `sha256` is of."""
    operation: Operation = "chat"
    context: int
    note: str = ""


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One model at one provider, with everything that a plan needs to know about it."""

    id: str
    """`provider/model`, as callers and the ledger name it."""
    provider: Provider
    model: str
    """The provider's own spelling, spliced into the request."""
    price: Price | None
    context: int | None
    max_output: int | None
    capabilities: frozenset[str]
    ceiling: DataClass
    operations: frozenset[Operation] = frozenset()
    """What it can be asked; empty: whatever its dialects can say."""
    weights: str | None = None
    family: str | None = None
    quantization: str | None = None
    silent_thinker: bool = False
    engine: str | None = None
    """The id of the engine of ours that serves it, if one does."""
    trusted_origin: bool = False
    """The operator named this origin in a trusted file: loopback and private addresses are meant."""
    keys: int = 1
    """How many credentials share what it is asked."""
    slots: int | None = None
    """How many requests an engine of ours answers at a time; None where nobody knows."""

    @property
    def access(self) -> Access:
        return self.provider.access

    @property
    def chooses(self) -> bool:
        """Whether it is a routing service that heeds a request's `provider` itself."""
        return self.provider.access == "routed" and self.provider.chooses

    @property
    def dialects(self) -> tuple[str, ...]:
        """All that it is said to speak, the preferred one first."""
        return (self.provider.dialect, *self.provider.dialects)
