"""The catalog: all shipped rows and prices, read from their files' bytes, for look-ups by a provider's own spelling."""

from __future__ import annotations

import re
import tomllib
from typing import Literal

import msgspec

from trivium.catalog.rows import Figures, LocalModel, Model, Price, Provider

Test = Literal["starts", "ends", "contains", "regex"]


class PriceRow(Figures, frozen=True, array_like=True):
    """A row of `prices.json`; `context` is in tokens."""

    context: int | None = None


class PriceRule(msgspec.Struct, frozen=True, array_like=True):
    """A model's name that is known by a pattern: every test must hold."""

    row: int
    tests: tuple[tuple[Test, str], ...]

    def matches(self, name: str) -> bool:
        return all(_holds(test, text, name) for test, text in self.tests)


class PriceList(msgspec.Struct, frozen=True):
    """One provider's prices. The lowest row that a name matches wins, exact names and patterns alike."""

    rows: tuple[PriceRow, ...]
    exact: dict[str, int]
    rules: tuple[PriceRule, ...] = ()

    def row(self, spelling: str) -> PriceRow | None:
        name = spelling.lower()
        best = self.exact.get(name, len(self.rows))
        for rule in self.rules:
            if rule.row >= best:
                break
            if rule.matches(name):
                best = rule.row
        return self.rows[best] if best < len(self.rows) else None


class PriceBook(msgspec.Struct, frozen=True):
    """`prices.json`: written by `tools/refresh_prices.py`. `counts` says what could not be told by flat prices."""

    version: str
    checked: str
    counts: dict[str, int]
    providers: dict[str, PriceList]

    def row(self, prices_id: str | None, spelling: str) -> PriceRow | None:
        prices = self.providers.get(prices_id or "")
        return prices.row(spelling) if prices else None


class Catalog(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is shipped. Immutable; `providers` keeps the stated order, which is the order of `auto`."""

    providers: dict[str, Provider]
    models: dict[str, Model]
    local_models: dict[str, LocalModel]
    prices: PriceBook
    spellings: dict[tuple[str, str], Model]
    """Models by provider id and that provider's own spelling."""

    def model(self, provider_id: str, spelling: str) -> Model | None:
        """The model that a provider calls so; None where the catalog does not know it."""
        return self.spellings.get((provider_id, spelling))

    def price(self, provider: Provider, spelling: str) -> Price | None:
        """The current price; None where it is unknown."""
        row = self.prices.row(provider.prices_id, spelling)
        if row is None or row.input is None:
            return None
        figures = {name: getattr(row, name) for name in Figures.__struct_fields__}
        return Price(**figures, version=self.prices.version)

    def context(self, provider: Provider, spelling: str) -> int | None:
        """How many tokens fit, as the price list says it; None where it is silent."""
        row = self.prices.row(provider.prices_id, spelling)
        return row.context if row else None


class _Providers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    providers: tuple[Provider, ...]


class _Models(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    models: tuple[Model, ...]
    local_models: tuple[LocalModel, ...]


def parse(providers: bytes, models: bytes, prices: bytes) -> Catalog:
    """A catalog from the texts of `providers.toml`, `models.toml` and `prices.json`.

    Raises msgspec.ValidationError or tomllib.TOMLDecodeError: the files are shipped, so either is a defect.
    """
    rows = msgspec.convert(tomllib.loads(providers.decode()), _Providers).providers
    known = msgspec.convert(tomllib.loads(models.decode()), _Models)
    return Catalog(
        providers={row.id: row for row in rows},
        models={model.id: model for model in known.models},
        local_models={model.name: model for model in known.local_models},
        prices=msgspec.json.decode(prices, type=PriceBook),
        spellings={(provider, text): model for model in known.models for provider, text in model.spellings.items()},
    )


def _holds(test: Test, text: str, name: str) -> bool:
    if test == "starts":
        return name.startswith(text)
    if test == "ends":
        return name.endswith(text)
    if test == "contains":
        return text in name
    return re.search(text, name) is not None
