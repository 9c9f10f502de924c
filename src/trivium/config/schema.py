"""The trusted configuration: frozen structs that the rest of the program reads without checking again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from trivium.catalog.rows import Model, Provider, Timeouts
from trivium.policy.key import Key
from trivium.routing.route import Route
from trivium.types.data import DataClass
from trivium.types.money import NANOS_PER_USD
from trivium.types.secret import Secret

DEFAULT_BUDGET_NANOS = NANOS_PER_USD
"""What `auto` may spend a day where no trusted file says otherwise: 1 USD."""
TOKEN_TTL_S = 300.0
"""Clouds let a token live for an hour; how much of that is left when it is said, nobody knows."""

FIGURE_MAX = 1e9
"""More than any price, power or age that somebody means; TOML has `inf` too."""


class Server(msgspec.Struct, frozen=True, kw_only=True):
    listen: str = "127.0.0.1:3333"
    admin: str = "127.0.0.1:3334"
    workers: int = 1
    hosts: tuple[str, ...] = ()
    """Further `Host` values that the data plane answers on loopback."""
    cors_origins: tuple[str, ...] = ()
    """Origins that may read answers in a browser; none by default."""
    drain_s: float = 30.0


class TokenCommand(msgspec.Struct, frozen=True):
    """A program that says a provider's credential."""

    argv: tuple[str, ...]
    ttl_s: float = TOKEN_TTL_S
    """How long a token is good that does not say so itself."""


class BoundProvider(msgspec.Struct, frozen=True, kw_only=True):
    """A provider row with the credential that belongs to its origin, or the command that says it."""

    row: Provider
    credential: Secret | None = None
    more: tuple[Secret, ...] = ()
    """Further credentials of the same provider, which share its requests."""
    token: TokenCommand | None = None
    credential_from: str = ""
    """Where the key comes from, for people: `OPENAI_API_KEY`, `trivium login`, `trivium.toml`, `token_command`."""
    trusted_origin: bool = False
    """A trusted file names this `base_url`: loopback, private and `http:` are meant."""

    @property
    def credentials(self) -> tuple[Secret | None, ...]:
        """All of them, the first one first."""
        return (self.credential, *self.more)

    @property
    def has_key(self) -> bool:
        return self.credential is not None or self.token is not None


class Engine(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    kind: Literal["llamacpp", "vllm", "ollama", "ray"] = "llamacpp"
    model: str
    """A name in the store, a path, `hf:repo/file` or `ollama:name`."""
    binary: str | None = None
    context: int | None = None
    """Tokens *per request*; multiplied by `slots` for the engine."""
    slots: int = 1
    threads: int | Literal["all"] | None = None
    idle_unload_s: float | None = 600.0
    pinned: bool = False
    options: dict[str, str | int | float | bool] = {}


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    url: str = ""
    """`sqlite:///path` or `postgresql://…`; empty: `$TRIVIUM_HOME/ledger.db`."""
    durability: Literal["process", "power_loss"] = "process"
    journal_max_bytes: int = 1 << 30


class Defaults(msgspec.Struct, frozen=True, kw_only=True):
    model: str | None = None
    """The primary of `auto`."""
    budget_nanos_day: int | None = None
    """What `auto` may spend a day; None: no bound. Without a configuration file it is 1 USD."""


class Local(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What local tokens cost, as written in the file too; None: unknown, and said so."""

    watts: Annotated[float, msgspec.Meta(gt=0, le=FIGURE_MAX)] | None = None
    price_kwh: Annotated[float, msgspec.Meta(ge=0, le=FIGURE_MAX)] | None = None
    purchase: Annotated[float, msgspec.Meta(ge=0, le=FIGURE_MAX)] | None = None
    life_months: Annotated[float, msgspec.Meta(gt=0, le=FIGURE_MAX)] | None = None
    utilisation: Annotated[float, msgspec.Meta(gt=0, le=1)] | None = None


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for all requests; a route, key or request can only be stricter."""

    data_class: DataClass = DataClass.ANY
    timeouts: Timeouts = Timeouts()


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was configured, resolved once: catalog rows merged, keys hashed, durations in seconds."""

    home: Path
    file: Path | None = None
    trusted: bool = True
    """False: `file` was merely found in the working directory, and gave routes and defaults only."""
    offline: bool = False
    server: Server = Server()
    providers: dict[str, BoundProvider] = {}
    """Every provider that can be named: all catalog rows, bound where a key was found, and configured ones."""
    configured: frozenset[str] = frozenset()
    """Ids of providers that a trusted file names."""
    engines: dict[str, Engine] = {}
    routes: dict[str, Route] = {}
    conditional: tuple[Route, ...] = ()
    """Routes with conditions, looked at in this order before `routes`."""
    aliases: dict[str, str] = {}
    models: dict[str, Model] = {}
    """`[[models]]` of the configuration, by `provider/model`."""
    keys: tuple[Key, ...] = ()
    policy: Policy = Policy()
    ledger: Ledger = Ledger()
    defaults: Defaults = Defaults()
    local: Local = Local()
    notes: tuple[str, ...] = ()
    """What people should know about how the configuration was read."""
