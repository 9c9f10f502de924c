"""The reader of the catalog's files: bytes in, a Catalog out."""

from __future__ import annotations

import tomllib

import msgspec

from trivium.catalog.catalog import Catalog, PriceBook
from trivium.catalog.rows import LocalModel, Model, Provider


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
