"""Before a start: find the model of an engine, look at its file, decide how to run it. Called in a thread."""

from __future__ import annotations

import re

from trivium.config.home import user_path
from trivium.config.schema import Engine
from trivium.engines import gguf, hardware, llamacpp
from trivium.engines.store import Manifest, Store
from trivium.errors import EngineUnavailable

_REVISION = re.compile(r"@[^/@]+(?=/)")


def prepare(store: Store, spec: Engine, *, threads_in_use: int, safe: bool) -> llamacpp.Launch | None:
    """How to start `spec`; None where its model is not in the store.

    Raises EngineUnavailable when its file is missing, changed, cut or too large for this machine, or the engine is
    of a kind that is not started here; ConfigError for an option that may not be set.
    """
    if spec.kind != "llamacpp" or spec.binary:
        raise EngineUnavailable(
            f"The engine `{spec.id}` cannot be started: only the embedded llama.cpp can be so far.",
            remedy="Start it yourself and name it as a provider with its `base_url`.",
        )
    try:
        manifest = model_of(store, spec)
        if manifest is None:
            return None
        path = store.weights(manifest)
        gguf.read(path)
    except (OSError, gguf.GGUFError) as error:
        raise EngineUnavailable(
            f"The model of the engine `{spec.id}` cannot be used: {error}.",
            remedy=f"Fetch it again: `trivium models remove {spec.model}`, `trivium models pull {spec.model}`.",
        ) from error
    cores = hardware.cores()
    threads = (cores if spec.threads == "all" else spec.threads) or hardware.threads(threads_in_use, available=cores)
    return llamacpp.launch(spec, manifest, path, threads=threads, available=hardware.memory_available(), safe=safe)


def model_of(store: Store, spec: Engine) -> Manifest | None:
    """The model of `spec` in the store: by its name, by its path, or by the reference that it was fetched by.

    A path is brought into the store. Raises OSError, GGUFError.
    """
    named = store.find(spec.model)
    if named is not None:
        return named
    path = user_path(spec.model.removeprefix("file:"))
    if path.is_file():
        return store.add_file(path, by_path=True)
    return next((found for found in store.list() if _means(spec.model, found.source)), None)


def _means(reference: str, source: str) -> bool:
    """Whether `reference` is `source`, with or without the revision that was resolved."""
    return reference in (source, _REVISION.sub("", source, count=1))
