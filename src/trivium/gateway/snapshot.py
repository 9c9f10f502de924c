"""A snapshot: configuration and catalog as one immutable whole; a request keeps the one it began with.

Pure look-ups with bounded caches. A new configuration is a new snapshot, swapped by reference.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

import msgspec

from trivium.access.bind import Binding, bind
from trivium.catalog.catalog import Catalog
from trivium.catalog.resolve import endpoint as resolve_endpoint
from trivium.catalog.rows import Endpoint, Timeouts
from trivium.config.schema import Config, TokenCommand
from trivium.dialects import suited
from trivium.dialects.base import Dialect
from trivium.errors import ConfigError, InvalidRequest, NoEndpoint, NotFound
from trivium.ledger.record import Place, packed
from trivium.policy.key import Key
from trivium.routing.names import AUTO, LOCAL, Suffixed, suffixed
from trivium.routing.names import parse as parse_name
from trivium.routing.plan import Facts, Plan, Rejected, plan
from trivium.routing.preferences import Preferences
from trivium.routing.route import Route
from trivium.types.data import DataClass
from trivium.types.request import Operation
from trivium.types.secret import Secret

CACHE_MAX = 4096
"""Entries of each cache; callers invent model ids, so every cache has a bound and is emptied when it is full."""

FIRST_CONTENT_S_REMOTE, FIRST_CONTENT_S_REMOTE_ALONE, FIRST_CONTENT_S_THINKER = 12.0, 60.0, 120.0
FIRST_CONTENT_S_LOCAL = 300.0
IDLE_S_REMOTE, IDLE_S_LOCAL = 20.0, 60.0
TOTAL_S_REMOTE, TOTAL_S_LOCAL = 600.0, 1800.0

_ASKED: dict[Operation, dict[str, Any]] = {
    "embed": {"dialect": "openai_embeddings", "dialects": ("cosine_rerank",)},
    "rerank": {"dialect": "rerank", "dialects": ()},
}
"""By what its model is for: how an engine of ours is asked, if not as its row says."""

Candidate = Endpoint | Rejected


class Limits(msgspec.Struct, frozen=True):
    """The deadlines of an attempt, in seconds."""

    first_content_s: float
    idle_s: float
    total_s: float


class Leg(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint in its place in a plan, with what every attempt there has in common."""

    endpoint: Endpoint
    place: Place
    packed_place: msgspec.Raw
    dialect: Dialect
    """In which it is asked."""
    binding: Binding | None
    """None: an engine, which has an address once it runs, or a provider whose credential changes."""
    limits: Limits
    streams: bool
    """It is asked for a stream also where the caller is not."""


class Snapshot:
    """What every request reads and none changes.

    `local_models` are the names that the store can run, `found` the models of servers that were found running,
    `purposes` what models of the store are for, by their names and sources.
    """

    def __init__(
        self,
        config: Config,
        catalog: Catalog,
        local_models: tuple[str, ...] = (),
        found: tuple[str, ...] = (),
        purposes: Mapping[str, Operation] = {},
    ) -> None:
        self.config = config
        self.purposes = purposes
        self.found = found
        self.catalog = catalog
        self.local_models = local_models
        self._endpoints: dict[str, Candidate] = {}
        self._bindings: dict[tuple[str, str, int], Binding] = {}
        self._plans: dict[tuple[Any, ...], Plan] = {}
        self._legs: dict[tuple[str, int, str, bool, str], Leg] = {}

    # ---- names to endpoints

    def endpoint(self, name: str) -> Candidate:
        """The endpoint of a model id, or why there is none. Raises NotFound for an unknown prefix."""
        found = self._endpoints.get(name)
        if found is None:
            found = self._resolve(name)
            _remember(self._endpoints, name, found)
        return found

    def _resolve(self, name: str) -> Candidate:
        named = parse_name(name, self.config.providers)
        if named is None:
            raise NotFound(
                f"There is no model, route or alias `{name}`.",
                remedy="Use `provider/model` (for example `openai/gpt-5-mini`), a route, or `auto`; "
                "`trivium models` lists what is known.",
                param="model",
            )
        if named.provider == LOCAL:
            return self._local(named.model)
        bound = self.config.providers[named.provider]
        if bound.row.places:
            where = " and ".join(bound.row.places)
            return Rejected(name, "address", f"no address: set {where}, or its `base_url` in trivium.toml")
        if not bound.has_key and bound.row.auth != "none" and named.provider not in self.config.configured:
            where = " or ".join(bound.row.key_env) or "its `api_key` or `token_command` in trivium.toml"
            return Rejected(name, "credential", f"no key: set {where}, or run `trivium login {named.provider}`")
        override = self.config.models.get(f"{named.provider}/{named.model}")
        if override is not None and override.retired is not None:
            return Rejected(name, "retired", override.retired or "it is not served any more")
        found = resolve_endpoint(
            self.catalog, bound.row, named.model, override=override, trusted_origin=bound.trusted_origin
        )
        return msgspec.structs.replace(found, keys=len(bound.credentials)) if bound.more else found

    def _local(self, model: str) -> Candidate:
        """An engine of ours: one that is configured, or any model of the store."""
        name = f"{LOCAL}/{model}"
        engine = self.config.engines.get(model)
        if engine is None and model not in self.local_models:
            if model in self.catalog.local_models:
                return Rejected(
                    name, "not_pulled", f"the model is not on this machine: run `trivium models pull {model}`"
                )
            raise NotFound(
                f"There is no local model `{model}`.",
                remedy="`trivium models` lists those on this machine; `trivium models pull` fetches one.",
                param="model",
            )
        weights = engine.model if engine else model
        purpose = self.purpose(model)
        row = msgspec.structs.replace(self.config.providers[LOCAL].row, **_ASKED.get(purpose, {}))
        found = resolve_endpoint(self.catalog, row, weights, override=self.config.models.get(name), trusted_origin=True)
        context = engine.context if engine and engine.context else found.context
        operations: frozenset[Operation] = frozenset((purpose,) if purpose == "chat" else (purpose, "rerank"))
        same = found.weights or f"{LOCAL}/{weights}"  # two engines with one file
        slots = engine.slots if engine else 1
        changes: dict[str, Any] = {"context": context, "operations": operations, "weights": same, "slots": slots}
        return msgspec.structs.replace(found, id=name, engine=model, **changes)

    def purpose(self, model: str) -> Operation:
        """What the model of an engine of ours, or of the store, is for; of one that nobody knows yet, to chat."""
        engine = self.config.engines.get(model)
        return self.purposes.get(engine.model if engine else model, "chat")

    def route(self, name: str, *, slugs: bool = False) -> Route:
        """The route that a caller's `model` means: a configured one, `auto`, or one made of a single endpoint.

        With `slugs` a name may also be the catalog's `author/slug`: all endpoints of that model that can be asked.
        """
        name = self.config.aliases.get(name, name)
        found = self.config.routes.get(name)
        if found is not None:
            return found
        if name == AUTO:
            return self._auto()
        if any(route.name == name for route in self.config.conditional):
            raise NotFound(
                f"No route `{name}` is for this request.",
                remedy="Add one without `when`, which then is for all others.",
                param="model",
            )
        found = slugs and self._of_slug(name)
        return Route(name=name, targets=found, strategy="price") if found else Route(name=name, targets=(name,))

    def _of_slug(self, slug: str) -> tuple[str, ...]:
        """The endpoints of a model by the name that it has at routing services; none where nobody has it so."""
        usable = [name for name, bound in self.config.providers.items() if bound.has_key or name in self.found]
        services = [name for name, bound in self.config.providers.items() if bound.row.access == "routed"]
        for service in services:
            if (model := self.catalog.model(service, slug)) is not None:
                places = [f"{name}/{model.spellings[name]}" for name in usable if name in model.spellings]
                return tuple(places) or (f"{service}/{slug}",)
        if parse_name(slug, self.config.providers) is None:
            return tuple(f"{service}/{slug}" for service in services if service in usable)
        return ()

    @cached_property
    def slugs(self) -> frozenset[str]:
        """The catalog's models that can be asked by the name that they have at routing services."""
        services = [name for name, bound in self.config.providers.items() if bound.row.access == "routed"]
        usable = {name for name, bound in self.config.providers.items() if bound.has_key or name in self.found}
        models = [model.spellings for model in self.catalog.models.values() if usable & model.spellings.keys()]
        return frozenset(named[service] for named in models for service in services if service in named)

    def _known(self, name: str) -> bool:
        """Whether a name is the id of an endpoint in the catalog, whatever else it is a slug of."""
        named = parse_name(name, self.config.providers)
        return named is not None and self.catalog.model(named.provider, named.model) is not None

    def _auto(self) -> Route:
        targets = [*self.primary(), *self.default_local()]
        if not targets:
            targets = [f"{LOCAL}/{m.name}" for m in self.catalog.local_models.values() if m.operation == "chat"][:1]
        return Route(name=AUTO, targets=tuple(dict.fromkeys(targets)))

    def primary(self) -> list[str]:
        """The primary of `auto`: `[defaults] model`, else the default model of the first row whose key is set."""
        if self.config.defaults.model:
            return [self.config.defaults.model]
        for provider, bound in self.config.providers.items():
            if bound.has_key and bound.row.default_model and not bound.row.places:
                return [f"{provider}/{bound.row.default_model}"]
        return []

    def default_local(self) -> list[str]:
        """The last resort: the first configured engine, else a server that was found and the store's first model."""
        if engines := self._chatting(self.config.engines):
            return engines[:1]
        return [*self.found[:1], *self._chatting(self.local_models)[:1]]

    def _chatting(self, models: Iterable[str]) -> list[str]:
        return [f"{LOCAL}/{model}" for model in models if self.purpose(model) == "chat"]

    @property
    def rests_on_found(self) -> bool:
        """Whether `auto` has no better choice than a server that may be running."""
        return not self._chatting(self.config.engines) and not self.primary()

    # ---- plans

    def usual_plan(
        self,
        model: str,
        more: tuple[str, ...],
        data_class: DataClass,
        needs: frozenset[str],
        key: Key | None,
        operation: Operation = "chat",
        *,
        slugs: bool = False,
        choice: int | None = None,
        preferences: Preferences | None = None,
        parameters: frozenset[str] = frozenset(),
    ) -> Plan:
        """The plan for every request of this kind whose size it `holds`. Raises NotFound for an unknown model."""
        kind = (model, more, data_class, needs, key, operation, slugs, choice, preferences, parameters)
        found = self._plans.get(kind)
        if found is None:
            wishes: dict[str, Any] = {"slugs": slugs, "choice": choice, "preferences": preferences}
            facts = facts_of(model, data_class, needs, key, operation=operation, parameters=parameters, **wishes)
            found = self.plan(facts, more)
            _remember(self._plans, kind, found)
        return found

    def plan(self, facts: Facts, more: tuple[str, ...] = ()) -> Plan:
        """The plan for a request; `more` are further model ids. The strictest data class of request and routes holds.

        Raises NotFound for an unknown model.
        """
        routes: list[Route] = []
        candidates: dict[tuple[str, str | None], tuple[Candidate, int]] = {}
        for group, name in enumerate((facts.model, *more)):
            asked = self._suffixed(name)
            routes.append(self._routed(asked, facts, first=not group))
            if routes[-1].name == AUTO and facts.operation in _ASKED:
                raise InvalidRequest(
                    "`auto` is for chats only: what two models make of the same texts cannot be compared.",
                    remedy="Name a model, for example `local/minilm`.",
                    param="model",
                )
            allowed = not facts.models or name in facts.models or asked.name in facts.models
            alone = facts.slugs and self._known(routes[-1].name) and facts.models  # such a key names just an endpoint
            for target in routes[-1].targets:
                if (target, asked.road) not in candidates:
                    own = (allowed and (not alone or target == routes[-1].name)) or target in facts.models
                    candidates[target, asked.road] = self._candidate(target, asked.road, own), group
        data_class = max(facts.data_class, *(route.data_class for route in routes))
        facts = msgspec.structs.replace(facts, data_class=data_class)
        found = list(candidates.values())
        return plan(facts, routes[0], [candidate for candidate, _ in found], [group for _, group in found])

    def further(
        self,
        made: Plan,
        targets: tuple[str, ...],
        needs: frozenset[str],
        key: Key | None,
        preferences: Preferences | None = None,
        parameters: frozenset[str] = frozenset(),
    ) -> tuple[Endpoint, ...]:
        """Which of some more targets could serve a request that a plan was made for."""
        if preferences is not None and preferences.allow_fallbacks is False:
            return ()
        wishes: dict[str, Any] = {"preferences": preferences, "parameters": parameters}
        facts = facts_of(made.requested, made.data_class, needs, key, **wishes)
        free = not facts.models or made.requested in facts.models
        candidates = [self._candidate(target, None, free or target in facts.models) for target in targets]
        return plan(facts, msgspec.structs.replace(made.route, fallback="any"), candidates).endpoints

    def _routed(self, asked: Suffixed, facts: Facts, *, first: bool) -> Route:
        """The route of a name; one with a suffix that sorts is asked in that order, whatever its own is."""
        chosen = facts.choice if first else None
        route = self.route(asked.name, slugs=facts.slugs) if chosen is None else self.config.conditional[chosen]
        return route if asked.sort is None else msgspec.structs.replace(route, strategy=asked.sort, weights={})

    def _suffixed(self, name: str) -> Suffixed:
        """A name with our suffixes taken off, unless it is itself the name of something."""
        config = self.config
        return Suffixed(name) if name in config.routes or name in config.aliases else suffixed(name)

    def _candidate(self, target: str, road: str | None, allowed: bool) -> Candidate:
        if not allowed:
            return Rejected(target, "allowed_models", "the key does not allow this model")
        own = self._suffixed(self.config.aliases.get(target, target))
        found = self.endpoint(own.name)
        wanted = {asked for asked in (road, own.road) if asked}
        if isinstance(found, Endpoint) and wanted - {found.access}:
            asked = " and the ".join(sorted(wanted))
            return Rejected(
                found.id, "road", f"the model id asks for the {asked} road; this endpoint is {found.access}"
            )
        return found

    # ---- what an attempt needs

    def token_command(self, endpoint: Endpoint) -> TokenCommand | None:
        """What says the credential of a provider, where that is no constant."""
        return self.config.providers[endpoint.provider.id].token

    def binding(self, endpoint: Endpoint, dialect: Dialect, token: Secret | None = None, number: int = 0) -> Binding:
        """How to reach an endpoint whose address is configured, with its key of a `number` or with the `token` of now.

        Raises ConfigError for one that cannot be used.
        """
        name = (endpoint.id, dialect.name, number)
        found = self._bindings.get(name)
        if found is None or (token is not None and found.credential is not token):
            credential = token or self.config.providers[endpoint.provider.id].credentials[number]
            found = self.bind(endpoint, credential, dialect)
            _remember(self._bindings, name, found)
        return found

    def reached(self, endpoint: Endpoint) -> Binding | None:
        """How an endpoint was reached before, if it was."""
        return next((one for (name, _, _), one in self._bindings.items() if name == endpoint.id), None)

    def bind(self, endpoint: Endpoint, credential: Secret | None, dialect: Dialect, base_url: str = "") -> Binding:
        try:
            return bind(endpoint, credential, self._timeouts(endpoint, Timeouts()), dialect, base_url=base_url)
        except KeyError as error:
            raise ConfigError(f"`{endpoint.id}` needs the quirk {error}, which there is not.") from error

    def _timeouts(self, endpoint: Endpoint, own: Timeouts) -> Timeouts:
        """The route's deadlines over the provider's over the policy's."""
        scopes = (own, endpoint.provider.timeouts, self.config.policy.timeouts)
        chosen = {name: next((v for s in scopes if (v := getattr(s, name)) is not None), None) for name in _TIMEOUTS}
        return Timeouts(**chosen)

    def leg(self, plan: Plan, position: int, caller: Dialect | None = None, operation: Operation = "chat") -> Leg:
        """What an attempt at the plan's endpoint number `position` needs, for a caller's dialect or an operation.

        Raises ConfigError, NoEndpoint.
        """
        endpoint = plan.endpoints[position]
        alone = position + 1 == len(plan.endpoints)
        # A route's line too: several may have one name, each with its own deadlines.
        route, asks = plan.route, operation if caller is None else caller.name
        place = (route.name, route.line, endpoint.id, alone, asks)
        found = self._legs.get(place)
        if found is None:
            dialect = suited(endpoint.dialects, caller, operation if caller is None else caller.operation)
            if dialect is None:
                raise NoEndpoint(f"`{endpoint.id}` does not offer this.", remedy="Choose another model.")
            upstream_stream = plan.route.upstream_stream or endpoint.provider.upstream_stream
            found = Leg(
                endpoint=endpoint,
                place=(at := _place(endpoint)),
                packed_place=packed(at),
                dialect=dialect,
                binding=self.binding(endpoint, dialect) if self._is_constant(endpoint) else None,
                limits=self._limits(plan.route, endpoint, alone=alone),
                streams=upstream_stream == "always" and dialect.operation == "chat",
            )
            _remember(self._legs, place, found)
        return found

    def _is_constant(self, endpoint: Endpoint) -> bool:
        """Whether an endpoint is always reached in the same way: not an engine, and with one key that stays."""
        return endpoint.engine is None and endpoint.keys == 1 and self.token_command(endpoint) is None

    def _limits(self, route: Route, endpoint: Endpoint, *, alone: bool) -> Limits:
        """The deadlines of an attempt; `alone`: nobody else could answer, so it may take longer."""
        own = self._timeouts(endpoint, route.timeouts)
        local = endpoint.access == LOCAL
        if local:
            first = FIRST_CONTENT_S_LOCAL
        elif endpoint.silent_thinker:
            first = FIRST_CONTENT_S_THINKER
        else:
            first = FIRST_CONTENT_S_REMOTE_ALONE if alone else FIRST_CONTENT_S_REMOTE
        return Limits(
            own.first_content_s or first,
            own.idle_s or (IDLE_S_LOCAL if local else IDLE_S_REMOTE),
            own.total_s or (TOTAL_S_LOCAL if local else TOTAL_S_REMOTE),
        )


_TIMEOUTS = tuple(field.name for field in msgspec.structs.fields(Timeouts))


def _place(endpoint: Endpoint) -> Place:
    price = endpoint.price.version if endpoint.price is not None else ""
    return Place(endpoint.id, endpoint.provider.id, endpoint.model, endpoint.access, price)


def facts_of(
    model: str,
    data_class: DataClass,
    needs: frozenset[str],
    key: Key | None,
    input_tokens: int = 0,
    max_output_tokens: int | None = None,
    *,
    operation: Operation = "chat",
    slugs: bool = False,
    choice: int | None = None,
    preferences: Preferences | None = None,
    parameters: frozenset[str] = frozenset(),
) -> Facts:
    """What a plan needs to know of a request with a caller's key."""
    return Facts(
        model=model,
        slugs=slugs,
        choice=choice,
        operation=operation,
        data_class=data_class,
        needs=needs,
        input_tokens=input_tokens,
        max_output_tokens=max_output_tokens,
        models=key.models if key else (),
        roads=key.roads if key else (),
        preferences=preferences,
        parameters=parameters,
    )


def _remember(cache: dict[Any, Any], key: object, value: object) -> None:
    if len(cache) >= CACHE_MAX:
        cache.clear()
    cache[key] = value
