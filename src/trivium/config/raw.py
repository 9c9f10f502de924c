"""The vocabulary of trivium.toml: every table and key as written, before anything is resolved.

Keys of later capabilities are here too, so that a file written for them is understood; `config.later` refuses those
that would weaken a promise if they were ignored. Editors that complete and check while people write get their JSON
Schema from these structs.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from trivium.catalog.rows import AuthForm, Capability, Day, DialectName, QuirkName
from trivium.config.schema import FIGURE_MAX, Local
from trivium.routing.route import Failure, Likeness, Rescue, Strategy
from trivium.types.data import Access
from trivium.types.request import Operation

Count = Annotated[int, msgspec.Meta(ge=1)]
Natural = Annotated[int, msgspec.Meta(ge=0)]
Price = Annotated[float, msgspec.Meta(ge=0, le=FIGURE_MAX)]
Duration = Annotated[str, msgspec.Meta(description="250ms, 3s, 10m, 1h")]
Money = Annotated[str, msgspec.Meta(description="1 USD, 25 USD / month")]
Size = Annotated[str, msgspec.Meta(description="512MiB, 1GiB")]
DataClassWord = Literal["any", "no_training", "zero_retention", "premises"]
Action = Literal["observe", "redact", "block", "premises"]
UpstreamStream = Literal["never", "always"]


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of all tables."""


class Timeouts(Table, frozen=True):
    connect: Duration | None = None
    tls: Duration | None = None
    headers: Duration | None = None
    first_content: Duration | None = None
    idle: Duration | None = None
    total: Duration | None = None


class Filters(Table, frozen=True):
    pii: Action | None = None
    secrets: Action | None = None
    injection: Action | None = None


class Limits(Table, frozen=True):
    """What may stand on a key, a route and under `[policy]` alike."""

    data_class: DataClassWord | None = None
    budget: Money | None = None
    rpm: Count | None = None
    tpm: Count | None = None
    concurrency: Count | None = None
    regions: tuple[str, ...] | None = None
    filters: Filters | None = None


class Server(Table, frozen=True):
    listen: str = "127.0.0.1:3333"
    admin: str = "127.0.0.1:3334"
    workers: Count = 1
    hosts: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    drain: Duration = "30s"


class Data(Table, frozen=True):
    trains: bool | None = None
    retains_days: Natural | None = None
    premises: bool | None = None


class Provider(Table, frozen=True, kw_only=True):
    id: str
    name: str | None = None
    access: Access | None = None
    dialect: DialectName | None = None
    dialects: tuple[DialectName, ...] | None = None
    base_url: str | None = None
    auth: AuthForm | None = None
    api_key: str | Annotated[tuple[str, ...], msgspec.Meta(min_length=1)] | None = None
    token_command: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)] | None = None
    token_ttl: Duration | None = None
    default_model: str | None = None
    data: Data | None = None
    region: str | None = None
    jurisdiction: str | None = None
    capabilities: tuple[Capability, ...] | None = None
    headers: dict[str, str] | None = None
    quirks: tuple[QuirkName, ...] | None = None
    chooses: bool | None = None
    models_path: str | None = None
    key_check: str | None = None
    stream_usage: bool | None = None
    upstream_stream: UpstreamStream | None = None
    timeouts: Timeouts | None = None


class Engine(Table, frozen=True, kw_only=True):
    id: str
    model: str
    kind: Literal["llamacpp", "vllm", "ollama", "ray"] = "llamacpp"
    binary: str | None = None
    context: Count | None = None
    slots: Count = 1
    threads: Count | Literal["all"] | None = None
    idle_unload: Duration | Literal["never"] = "10m"
    pinned: bool = False
    max_cold_start: Duration | None = None
    pull: Literal["ask", "auto", "never"] | None = None
    options: dict[str, str | int | float | bool] = {}


class Breaker(Table, frozen=True):
    failures: Count = 5
    cooldown: Duration = "15s"


class Hold(Table, frozen=True):
    tokens: Count = 40
    ms: Count = 1500


class When(Table, frozen=True):
    """Conditions on a request, all of which must hold; names may end in `*`."""

    models: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    metadata: dict[str, str] = {}
    tokens_min: Count | None = None
    tokens_max: Count | None = None
    tools: bool | None = None
    images: bool | None = None


class Route(Limits, frozen=True, kw_only=True):
    name: str
    targets: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    strategy: Strategy = "order"
    rescue: Rescue = "auto"
    hold: Hold | Literal["complete"] | None = None
    rescue_other_model: bool = False
    timeouts: Timeouts | None = None
    attempts: Count = 4
    retries: Natural = 1
    breaker: Breaker = Breaker()
    fallback: Likeness = "any"
    upstream_stream: UpstreamStream | None = None
    max_wait: Duration | None = None
    cache: Literal["off", "exact"] = "off"
    when: When | None = None
    weight: dict[str, Annotated[float, msgspec.Meta(gt=0)]] = {}
    on_refusal: Literal["pass", "next"] = "pass"
    fallbacks: dict[Failure, tuple[str, ...]] = {}


class Key(Limits, frozen=True, kw_only=True):
    name: str
    key: str | None = None
    hash: str | None = None
    models: tuple[str, ...] = ()
    roads: tuple[Access, ...] = ()
    tags: tuple[str, ...] = ()
    team: str | None = None
    expires: Any = None
    soft: Any = None


Clock = Annotated[int, msgspec.Meta(ge=0, le=2400, description="HHMM: 1030 is half past ten")]


class PriceOverride(Table, frozen=True, kw_only=True):
    min_prompt_tokens: Natural | None = None
    utc_start: Clock | None = None
    utc_end: Clock | None = None
    utc_days: tuple[Day, ...] = ()
    input: Price | None = None
    output: Price | None = None
    cache_read: Price | None = None
    cache_write: Price | None = None
    cache_write_1h: Price | None = None
    input_audio: Price | None = None
    output_audio: Price | None = None
    request: Price | None = None


class ModelPrice(Table, frozen=True):
    """USD per million tokens; `request` is USD a request."""

    input: Price
    output: Price
    cache_read: Price | None = None
    cache_write: Price | None = None
    cache_write_1h: Price | None = None
    input_audio: Price | None = None
    output_audio: Price | None = None
    request: Price = 0.0
    discount: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    overrides: tuple[PriceOverride, ...] = ()


class Model(Table, frozen=True, kw_only=True):
    id: str
    name: str | None = None
    price: ModelPrice | None = None
    context: Count | None = None
    max_output: Count | None = None
    capabilities: tuple[Capability, ...] | None = None
    operations: tuple[Operation, ...] = ()
    family: str | None = None
    weights: str | None = None
    quantization: str | None = None
    retired: str | None = None


class Policy(Limits, frozen=True):
    timeouts: Timeouts | None = None


class Ledger(Table, frozen=True):
    url: str = ""
    durability: Literal["process", "power_loss"] = "process"
    journal_max: Size = "1GiB"
    retention: Duration | None = None
    bodies: Any = None


class Defaults(Table, frozen=True):
    model: str | None = None
    budget: Money | None = None


class File(Table, frozen=True):
    """All of trivium.toml."""

    server: Server = Server()
    providers: tuple[Provider, ...] = ()
    engines: tuple[Engine, ...] = ()
    routes: tuple[Route, ...] = ()
    keys: tuple[Key, ...] = ()
    aliases: dict[str, str] = {}
    models: tuple[Model, ...] = ()
    policy: Policy = Policy()
    ledger: Ledger = Ledger()
    defaults: Defaults = Defaults()
    local: Local = Local()


def schema() -> dict[str, Any]:
    """JSON Schema 2020-12. Values with `${…}` are texts, and pass only where a text is expected, as in the program."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "trivium.toml",
        **msgspec.json.schema(File),
    }
